//! The commands as an operator runs them: the binary, its output, its files.
#[cfg(test)]
#[expect(dead_code, reason = "these stories use its nodes, not its network")]
#[path = "fixture/mod.rs"]
mod fixture;

#[cfg(test)]
mod stories {
    use crate::fixture::Node;
    use kith_proto::trust::InviteToken;
    use kith_proto::v1::enrolment_service_client::EnrolmentServiceClient;
    use kith_proto::v1::relay_service_client::RelayServiceClient;
    use kith_service::clock::Clock;
    use kith_service::tls::dial::{self, Dial};
    use kith_service::tls::{KeyedChain, client_config};
    use std::collections::BTreeSet;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output, Stdio};
    use tonic::transport::Channel;

    fn gateway(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith-gateway"));
        command.args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns its output.
    fn said(arguments: &[&str]) -> String {
        let output = gateway(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail and returns its complaint.
    fn complained(arguments: &[&str]) -> String {
        let output = gateway(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A new network in a folder whose name has what a URL would misread.
    struct Office {
        folder: tempfile::TempDir,
    }

    impl Office {
        fn init(address: &str) -> (Self, String) {
            let office = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            let out = office.path("");
            let network = "lune-valley.example";
            let told = said(&["init", "--network", network, "--address", address, "--out", &out]);
            (office, told)
        }

        fn path(&self, name: &str) -> String {
            self.folder
                .path()
                .join("our net #1?")
                .join(name)
                .display()
                .to_string()
        }

        fn invite(&self, org: &str) -> InviteToken {
            let registrar = self.path("registrar");
            let name = "Riverside GP practice";
            let told = said(&[
                "invite",
                org,
                "--kind",
                "gp",
                "--name",
                name,
                "--registrar",
                &registrar,
            ]);
            InviteToken::decode(told.lines().last().unwrap()).unwrap()
        }

        fn serve(&self) -> Served {
            let data = self.path("gateway");
            let mut child = Command::new(env!("CARGO_BIN_EXE_kith-gateway"))
                .args(["serve", "--data", &data, "--listen", "127.0.0.1:0"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            let address = line.trim().strip_prefix("listening ").unwrap().to_owned();
            Served { child, address }
        }
    }

    /// A serving process, ended with its story.
    struct Served {
        child: Child,
        address: String,
    }

    impl Served {
        async fn channel(&self, token: &InviteToken, identity: Option<KeyedChain<'_>>) -> Channel {
            let network = "lune-valley.example".parse().unwrap();
            let now_ms = Clock::system().now_ms();
            let issuer =
                kith_proto::trust::verify_issuer(&token.issuer, &token.root, &network, now_ms).unwrap();
            let config = client_config(issuer.certificate_der.into(), identity, || {
                Clock::system().now_ms()
            })
            .unwrap();
            let name = "gateway.lune-valley.example";
            dial::channel(&Dial::tcp(), &self.address, name, config)
                .await
                .unwrap()
        }

        fn stop(mut self) {
            let id = self.child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-TERM", &id])
                    .status()
                    .unwrap()
                    .success()
            );
            assert!(self.child.wait().unwrap().success());
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(files(&path));
            } else {
                all.push(path);
            }
        }
        all
    }

    #[test]
    fn init_keeps_the_keys_apart_and_readable_by_their_owner_alone() {
        let (office, told) = Office::init("gateway.example:7400");
        assert!(told.contains("offline"), "{told}");
        assert!(told.contains("--listen 0.0.0.0:7400"), "{told}");
        let secret = |name: &str| std::fs::read(office.path(name)).unwrap();
        let secrets = [
            secret("root/root.key"),
            secret("registrar/registrar.key"),
            secret("gateway/signing.key"),
            secret("gateway/issuing.key"),
        ];
        // No other file holds what a secret file holds, in any spelling of it as text.
        for file in files(Path::new(&office.path(""))) {
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
            let bytes = std::fs::read(&file).unwrap();
            let holding = secrets.iter().filter(|secret| {
                let text = secret.trim_ascii();
                bytes.windows(text.len()).any(|window| window == text)
            });
            let expected = usize::from(file.extension().is_some_and(|e| e == "key"));
            assert_eq!(holding.count(), expected, "{}", file.display());
        }
        for folder in ["root", "registrar", "gateway"] {
            let mode = std::fs::metadata(office.path(folder))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{folder}");
        }
        let gateway: BTreeSet<String> = files(Path::new(&office.path("gateway")))
            .into_iter()
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert!(!gateway.contains("root.key") && !gateway.contains("registrar.key"));
    }

    #[test]
    fn init_refuses_a_folder_that_holds_something_and_an_address_without_a_port() {
        let (office, _) = Office::init("127.0.0.1:7400");
        let before = std::fs::read(office.path("root/root.key")).unwrap();
        let (out, network) = (office.path(""), "lune-valley.example");
        let complaint = complained(&["init", "--network", network, "--address", "a:1", "--out", &out]);
        assert!(
            complaint.contains("is not empty; nothing was written"),
            "{complaint}"
        );
        assert_eq!(std::fs::read(office.path("root/root.key")).unwrap(), before);
        let out = office.folder.path().join("other").display().to_string();
        let complaint = complained(&["init", "--network", network, "--address", "a", "--out", &out]);
        assert!(complaint.contains("host:port"), "{complaint}");
        assert!(!Path::new(&out).exists());
    }

    #[test]
    fn keys_that_the_root_did_not_sign_are_not_served() {
        let (office, _) = Office::init("127.0.0.1:7400");
        let (other, _) = Office::init("127.0.0.1:7400");
        std::fs::copy(
            other.path("gateway/signing.key"),
            office.path("gateway/signing.key"),
        )
        .unwrap();
        let complaint = complained(&["members", "--data", &office.path("gateway")]);
        assert!(
            complaint.contains("not those that the root signed"),
            "{complaint}"
        );
        std::fs::copy(
            other.path("gateway/issuer.signed"),
            office.path("gateway/issuer.signed"),
        )
        .unwrap();
        let complaint = complained(&["members", "--data", &office.path("gateway")]);
        assert!(complaint.contains("is not the root's"), "{complaint}");
    }

    #[test]
    fn a_word_that_is_not_allowed_is_answered_with_what_is() {
        let (office, _) = Office::init("127.0.0.1:7400");
        let registrar = office.path("registrar");
        let invite = |org: &str, kind: &str, name: &str| {
            complained(&[
                "invite",
                org,
                "--kind",
                kind,
                "--name",
                name,
                "--registrar",
                &registrar,
            ])
        };
        let kind = invite("riverside-gp", "doctor", "Riverside");
        assert!(kind.contains("choose one of: gp, hospital, school,"), "{kind}");
        let org = invite("Riverside GP", "gp", "Riverside");
        assert!(org.contains("such as riverside-gp"), "{org}");
        let name = invite("riverside-gp", "gp", "\u{202e}PG edisreviR");
        assert!(name.contains("a hidden character"), "{name}");
        let name = invite("riverside-gp", "gp", &"x".repeat(500));
        assert!(name.contains("it is too long"), "{name}");
        let suspend = complained(&["suspend", "GP", "--data", &office.path("gateway")]);
        assert!(suspend.contains("such as riverside-gp"), "{suspend}");
        let network = complained(&[
            "init",
            "--network",
            "Lune",
            "--address",
            "a:1",
            "--out",
            &office.path("x"),
        ]);
        assert!(network.contains("named like a domain"), "{network}");
        // As people type it.
        said(&[
            "invite",
            "circle",
            "--kind",
            "Peer-group",
            "--name",
            "Circle",
            "--registrar",
            &registrar,
        ]);
    }

    #[test]
    fn a_folder_one_too_high_is_told_where_the_right_one_is_and_stays_as_it_was() {
        let (office, _) = Office::init("127.0.0.1:7400");
        let above = office.path("");
        let before = files(Path::new(&above));
        for arguments in [
            ["serve", "--data", &above, "--listen", "127.0.0.1:0"].as_slice(),
            &["members", "--data", &above],
            &["suspend", "riverside-gp", "--data", &above],
        ] {
            let complaint = complained(arguments);
            assert!(
                complaint.contains("is not the folder `gateway` that `init` made: there is no file signing.key in it; it is in "),
                "{complaint}"
            );
        }
        let invite = [
            "invite",
            "riverside-gp",
            "--kind",
            "gp",
            "--name",
            "Riverside",
            "--registrar",
            &above,
        ];
        let complaint = complained(&invite);
        assert!(
            complaint.contains("is not the folder `registrar`")
                && complaint.contains("registrar, so give that"),
            "{complaint}"
        );
        let nowhere = complained(&["members", "--data", "/nowhere"]);
        assert!(
            nowhere.contains("/nowhere is not the folder `gateway`") && !nowhere.contains("os error"),
            "{nowhere}"
        );
        assert_eq!(files(Path::new(&above)), before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_starts_invites_suspends_and_resumes_on_a_live_gateway() {
        let (office, _) = Office::init("127.0.0.1:7400");
        let served = office.serve();
        let data = office.path("gateway");
        let written = std::fs::read_to_string(office.path("gateway/address")).unwrap();
        assert_eq!(written.trim(), served.address);
        // One process at a time.
        let complaint = complained(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]);
        assert!(complaint.contains("another process serves"), "{complaint}");

        let token = office.invite("riverside-gp");
        let mut node = Node::new("riverside-gp");
        let request = node.enrol_request(&token, Clock::system().now_ms());
        let mut enrolment = EnrolmentServiceClient::new(served.channel(&token, None).await);
        node.chain_pem = enrolment
            .enrol(request)
            .await
            .unwrap()
            .into_inner()
            .certificate_chain_pem;

        let listed = said(&["members", "--data", &data]);
        assert!(
            listed.contains("riverside-gp") && listed.contains("active"),
            "{listed}"
        );
        assert!(said(&["suspend", "riverside-gp", "--data", &data]).contains("is suspended"));
        assert!(said(&["members", "--data", &data]).contains("suspended"));
        let mut relay = RelayServiceClient::new(served.channel(&token, Some(node.identity())).await);
        let seen = crate::fixture::list(&mut relay).await.unwrap();
        assert!(seen.members[0].suspended);
        assert!(said(&["resume", "riverside-gp", "--data", &data]).contains("takes part again"));
        let complaint = complained(&["suspend", "nobody-here", "--data", &data]);
        assert!(complaint.contains("no such member"), "{complaint}");
        drop((relay, enrolment));
        served.stop();

        // After a restart everything is as it was.
        let served = office.serve();
        let mut relay = RelayServiceClient::new(served.channel(&token, Some(node.identity())).await);
        assert_eq!(crate::fixture::list(&mut relay).await.unwrap().members.len(), 1);
        drop(relay);
        served.stop();
    }
}
