//! A stand-alone witness and a gateway as two operators run them: two processes, killed and started again at any step.
//! The gateway's database comes back from an old copy at the end, and the witness does not follow it.

#[cfg(test)]
mod stories {
    use kith_proto::sign::PublicKey;
    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output, Stdio};
    use std::time::Duration;

    fn run(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith-gateway"));
        command.args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns its output.
    fn said(arguments: &[&str]) -> String {
        let output = run(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A serving process; killed when dropped, as by a power cut.
    struct Serving {
        child: Child,
        address: String,
    }

    impl Serving {
        fn start(arguments: &[&str]) -> Self {
            let mut child = Command::new(env!("CARGO_BIN_EXE_kith-gateway"))
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            let address = line.trim().strip_prefix("listening ").unwrap().to_owned();
            Self { child, address }
        }
    }

    impl Drop for Serving {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    /// Both operators' folders.
    struct Offices {
        folder: tempfile::TempDir,
        witness_key: String,
        log_key: String,
        root: String,
    }

    impl Offices {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name).display().to_string();
            let network = ["init", "--network", "lune-valley.example"];
            said(
                &[
                    network.as_slice(),
                    &["--address", "127.0.0.1:7400", "--out", &path("net")],
                ]
                .concat(),
            );
            let told = said(&[
                "witness",
                "init",
                "--name",
                "w.example",
                "--data",
                &path("witness"),
            ]);
            let witness_key = told.lines().last().unwrap().to_owned();
            let told = said(&["log", "--data", &path("net/gateway")]);
            let log_key = told.lines().next().unwrap().strip_prefix("log ").unwrap().trim();
            let log_key = log_key.to_owned();
            assert!(log_key.starts_with("lune-valley.example/log/1+"), "{log_key}");
            let root = std::fs::read_to_string(path("net/gateway/root.pub")).unwrap();
            let root = data_encoding::HEXLOWER.decode(root.trim().as_bytes()).unwrap();
            let root = PublicKey(root.try_into().unwrap()).fingerprint();
            let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(path("w.pem"), certified.cert.pem()).unwrap();
            std::fs::write(path("w.key"), certified.signing_key.serialize_pem()).unwrap();
            Self {
                folder,
                witness_key,
                log_key,
                root,
            }
        }

        fn path(&self, name: &str) -> String {
            self.folder.path().join(name).display().to_string()
        }

        /// Starts the witness; again on the port that the gateway was told.
        fn witness(&self, listen: &str) -> Serving {
            let (data, chain, key) = (self.path("witness"), self.path("w.pem"), self.path("w.key"));
            let tls = ["--tls-cert", &chain, "--tls-key", &key];
            let serve = ["witness", "serve", "--data", &data, "--log-key", &self.log_key];
            let root = ["--root", &self.root];
            Serving::start(&[serve.as_slice(), &["--listen", listen], &tls, &root].concat())
        }

        /// Takes up the database as it is: one word of the root, signed where its key is, and carried here.
        fn restore(&self) -> String {
            let (root, word, data) = (self.path("net/root"), self.path("word"), self.path("net/gateway"));
            said(&["epoch", "--root", &root, "--above", "1", "--out", &word]);
            let restore = ["restore", "--data", &data, "--epoch", &word, "--reason", "lost"];
            let told = said(&restore);
            let again = said(&restore);
            assert!(again.contains("in that epoch already"), "{again}");
            told
        }

        fn gateway(&self, witness: &str) -> Serving {
            let port = witness.rsplit_once(':').unwrap().1;
            let url = format!("https://localhost:{port}");
            let (data, ca) = (self.path("net/gateway"), self.path("w.pem"));
            let serve = ["serve", "--data", &data, "--listen", "127.0.0.1:0"];
            Serving::start(&[serve.as_slice(), &["--witness", &url, "--witness-ca", &ca]].concat())
        }

        /// Has the root sign the next policy, which is an event more in the log.
        fn policy(&self) -> String {
            let (root, registrar) = (self.path("net/root"), self.path("net/registrar"));
            let data = self.path("net/gateway");
            let folders = ["--root", &root, "--registrar", &registrar, "--data", &data];
            said(&[["policy"].as_slice(), &folders, &["--witness", &self.witness_key]].concat())
        }

        /// What the command says after a word.
        fn log(&self, word: &str) -> String {
            let told = said(&["log", "--data", &self.path("net/gateway")]);
            let line = told.lines().find_map(|line| line.strip_prefix(word));
            line.unwrap_or_default().trim().to_owned()
        }

        fn size(&self) -> u64 {
            self.log("size").parse().unwrap()
        }

        /// Waits until a checkpoint of at least this size is cosigned by the witness and counts.
        fn counts(&self, size: u64) {
            until(&format!("size {size} counts"), || {
                let line = self.log("counted");
                let (counted, standing) = line.split_once(", ").unwrap_or_default();
                standing == "counted: cosigned by w.example"
                    && counted.parse::<u64>().is_ok_and(|counted| counted >= size)
            });
        }
    }

    fn until(what: &str, happened: impl Fn() -> bool) {
        for _ in 0..300 {
            if happened() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it did not happen: {what}");
    }

    /// Copies the database with what stands beside it.
    fn copy(from: &Path, to: &Path) {
        for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
            std::fs::remove_file(to.join(name)).ok();
            std::fs::copy(from.join(name), to.join(name)).ok();
        }
    }

    #[test]
    fn a_log_is_witnessed_by_another_operator_through_kills_and_not_after_a_roll_back() {
        let offices = Offices::open();
        let witness = offices.witness("127.0.0.1:0");
        let address = witness.address.clone();
        let told = offices.policy();
        assert!(
            told.contains("counts once 1 of these 1 have cosigned it"),
            "{told}"
        );
        let gateway = offices.gateway(&address);
        offices.counts(offices.size());

        // Without the witness nothing counts; with it again everything does.
        drop(witness);
        let before = offices.size();
        offices.policy();
        until("the log has grown", || offices.size() > before);
        until("the new size is on offer", || {
            offices
                .log("offered")
                .starts_with(&format!("{}, unwitnessed", offices.size()))
        });
        let counted = offices.log("counted");
        assert!(counted.starts_with(&format!("{before}, counted")), "{counted}");
        let witness = offices.witness(&address);
        offices.counts(offices.size());

        // The gateway dies and comes back, asks without knowing the size, and goes on.
        drop(gateway);
        let old: PathBuf = offices.folder.path().join("old");
        std::fs::create_dir(&old).unwrap();
        let data: PathBuf = offices.folder.path().join("net/gateway");
        copy(&data, &old);
        let gateway = offices.gateway(&address);
        let before = offices.size();
        for _ in 0..2 {
            offices.policy();
            let size = offices.size();
            until("the log has grown", || {
                offices.size() > size || offices.size() >= before + 2
            });
        }
        offices.counts(before + 1);

        // An old copy of the database: the witness has seen more, and then something else.
        drop(gateway);
        let counted = offices.size();
        copy(&old, &data);
        let gateway = offices.gateway(&address);
        while offices.size() <= counted + 1 {
            let size = offices.size();
            offices.policy();
            until("the log has grown", || offices.size() > size);
        }
        until("the witness keeps what it refused", || forks(&offices) > 0);
        let standing = offices.log("offered");
        assert!(standing.contains("unwitnessed: 0 of 1"), "{standing}");

        begins_anew(&offices, gateway, (&address, &old));
        drop(witness);
    }

    /// Restores the gateway that serves there; then sets its database back once more.
    fn begins_anew(offices: &Offices, gateway: Serving, (address, old): (&str, &Path)) {
        // While a gateway serves nothing is restored. Then the root's word lets the log begin anew, and the witness follows it.
        let data = offices.path("net/gateway");
        let root = offices.path("net/root");
        let beside = run(&["restore", "--data", &data, "--root", &root, "--reason", "lost"]);
        let complaint = String::from_utf8(beside.stderr).unwrap();
        assert!(complaint.contains("stop that one first"), "{complaint}");
        drop(gateway);
        let told = offices.restore();
        assert!(told.contains("begins anew as epoch"), "{told}");
        let gateway = offices.gateway(address);
        assert!(offices.log("log").starts_with("lune-valley.example/log/2+"));
        offices.counts(offices.size());
        let verified = said(&["audit", "verify", "--data", &data]);
        assert!(verified.contains("are as the log signed them"), "{verified}");

        // The old epoch is over for the witness, also from the copy that it cosigned before.
        drop(gateway);
        copy(old, Path::new(&data));
        let _gateway = offices.gateway(address);
        let before = offices.size();
        offices.policy();
        until("the log has grown", || offices.size() > before);
        let standing = || offices.log("offered");
        until("it is on offer", || {
            standing().starts_with(&format!("{},", offices.size()))
        });
        assert!(standing().contains("unwitnessed: 0 of 1"), "{}", standing());
    }

    /// How many forks the witness has kept.
    fn forks(offices: &Offices) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let url = format!("sqlite://{}", offices.path("witness/witness.db"));
            let store = kith_gateway::store::open_witness(&url).await.unwrap();
            let forks = store.read("forks", |mut tx| async move {
                kith_service::log::seen::forks(&mut tx).await
            });
            let count = forks.await.unwrap().len();
            store.close().await;
            count
        })
    }

    #[test]
    fn a_witness_that_cannot_be_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("w").display().to_string();
        let complained = |arguments: &[&str]| {
            let output = run(arguments);
            assert!(!output.status.success(), "{arguments:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let name = complained(&["witness", "init", "--name", "a b", "--data", &data]);
        assert!(name.contains("a witness is named like a web address"), "{name}");
        let told = said(&["witness", "init", "--name", "w.example", "--data", &data]);
        let vkey = told.lines().last().unwrap();
        assert!(vkey.starts_with("w.example+"), "{vkey}");
        let kind = complained(&["witness", "serve", "--data", &data, "--log-key", vkey]);
        assert!(kind.contains("this is the key of a witness"), "{kind}");
        let log = "lune-valley.example/log/1+7b0f5d8e+AQ==";
        let unread = complained(&["witness", "serve", "--data", &data, "--log-key", log]);
        assert!(unread.contains("copy it again"), "{unread}");
        let offices = Offices::open();
        let serve = ["witness", "serve", "--data", &data, "--log-key", &offices.log_key];
        let open = complained(&[serve.as_slice(), &["--listen", "0.0.0.0:0"]].concat());
        assert!(open.contains("listens on this computer only"), "{open}");
        let data = offices.path("net/gateway");
        let plain = ["serve", "--data", &data, "--witness", "http://w.example"];
        assert!(complained(&plain).contains("https://HOST"));
        let root = offices.path("net/root");
        let none = complained(&["policy", "--root", &root, "--of", "1"]);
        assert!(none.contains("there is no witness"), "{none}");
        let twice = ["--witness", vkey, "--witness", vkey];
        let twice = complained(&[["policy", "--root", &root].as_slice(), &twice].concat());
        assert!(twice.contains("one name or one key"), "{twice}");
    }
}
