//! Databases that a node must not use: held by another process, of another organisation, network or program, of a newer version.
//! The binary says what is wrong and what to do, ends with a failure, and leaves the file as it was, byte for byte.

#[cfg(test)]
mod stories {
    use kith_node::keys::{DataFolder, Keys, Membership};
    use kith_proto::sign::SigningKey;
    use kith_proto::v1;
    use kith_proto::words::OrganisationKind;
    use kith_service::clock::Clock;
    use kith_service::rng::Rng;
    use sqlx::{AnyConnection, Connection as _};
    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output, Stdio};

    /// Every command that opens the node's database.
    const COMMANDS: [&[&str]; 5] = [
        &["status"],
        &["token", "list"],
        &["token", "new", "--role", "admin", "--label", "a second one"],
        &["token", "revoke", "00112233445566778899aabbccddeeff"],
        &["serve"],
    ];
    const FOREIGN: &str = "The database belongs to another organisation, network or program, so nothing was changed; \
                           name the one that is yours.";
    const NEWER: &str = "The database was written by a newer version of this program, so nothing was changed; \
                         install that version.";
    const LOCKED: &str =
        "Another process holds the database, so nothing was changed; stop it or wait for it, then try again.";

    /// The computer of one organisation, joined on paper; its database is there and holds one token.
    struct Computer(tempfile::TempDir);

    impl Computer {
        fn of(organisation: &str, network: &str) -> Self {
            let computer = Self(tempfile::tempdir().unwrap());
            let folder = DataFolder::at(computer.data());
            Keys::make(&folder, &Rng::system(), Clock::system().now_ms()).unwrap();
            let membership = Membership {
                network: network.parse().unwrap(),
                organisation: organisation.parse().unwrap(),
                kind: OrganisationKind::Gp,
                name: "Riverside GP practice".into(),
                // Port 9 is the discard service: nothing listens there, and the link keeps trying.
                gateway: "127.0.0.1:9".into(),
                root: SigningKey::from_seed([1; 32]).unwrap().public(),
                issuer: v1::Signed::default(),
                policy: v1::Signed::default(),
            };
            membership.save(&folder).unwrap();
            let made = computer.runs(&["token", "new", "--role", "admin", "--label", "the first"]);
            assert!(made.status.success(), "{}", complaint(&made));
            computer
        }

        fn data(&self) -> PathBuf {
            self.0.path().join("data")
        }

        fn database(&self) -> PathBuf {
            self.data().join("node.db")
        }

        fn command(&self, command: &[&str]) -> Command {
            let mut ready = Command::new(env!("CARGO_BIN_EXE_kith-node"));
            ready.args(command).arg("--data").arg(self.data());
            ready
        }

        fn runs(&self, command: &[&str]) -> Output {
            self.command(command).output().unwrap()
        }

        /// Every command says this sentence, fails, and leaves the database as it is.
        fn refuses(&self, sentence: &str) {
            let before = std::fs::read(self.database()).unwrap();
            self.all_say(sentence);
            let after = std::fs::read(self.database()).unwrap();
            assert!(after == before, "the file was altered");
        }

        /// Every command says this sentence and fails.
        fn all_say(&self, sentence: &str) {
            for command in COMMANDS {
                let output = self.runs(command);
                assert_eq!(output.status.code(), Some(1), "{command:?}");
                assert_eq!(complaint(&output), sentence, "{command:?}");
                assert!(output.stdout.is_empty(), "{command:?} did something");
            }
        }

        /// The node works with its own database, and holds its one token still.
        fn accepts(&self) {
            let listed = self.runs(&["token", "list"]);
            assert!(listed.status.success(), "{}", complaint(&listed));
            let lines = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert_eq!(lines.lines().count(), 1, "{lines}");
            assert!(lines.contains("the first"), "{lines}");
        }
    }

    fn complaint(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    /// A serving node, ended with its story.
    struct Served(Child);

    impl Drop for Served {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    async fn connect(file: &Path) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}?mode=rwc", file.display());
        AnyConnection::connect(&url).await.unwrap()
    }

    async fn run(file: &Path, statements: &'static str) {
        let mut connection = connect(file).await;
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    #[test]
    fn a_second_process_on_the_same_folder_says_so_and_harms_nothing() {
        let computer = Computer::of("riverside-gp", "lune-valley.example");
        let mut first = computer.command(&["serve"]);
        first.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut first = Served(first.spawn().unwrap());
        let mut line = String::new();
        let mut said = BufReader::new(first.0.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("riverside-gp is running"), "{line}");
        let address = std::fs::read(computer.data().join("grpc")).unwrap();
        let second = computer.runs(&["serve"]);
        assert_eq!(second.status.code(), Some(1));
        assert_eq!(
            complaint(&second),
            "Another process uses this data folder, so nothing was changed; stop that one first."
        );
        let still = std::fs::read(computer.data().join("grpc")).unwrap();
        assert_eq!(still, address, "the first is reached where it was");
        assert!(first.0.try_wait().unwrap().is_none(), "the first still runs");
        computer.accepts();
    }

    #[tokio::test]
    async fn a_database_that_another_process_holds_is_left_to_it() {
        let computer = Computer::of("riverside-gp", "lune-valley.example");
        // Read before and after, not while it is held: a process that closes a file lets go of its own locks on it.
        let before = std::fs::read(computer.database()).unwrap();
        let mut holder = connect(&computer.database()).await;
        let hold = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
        sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
        computer.all_say(LOCKED);
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        holder.close().await.unwrap();
        let after = std::fs::read(computer.database()).unwrap();
        assert!(after == before, "the file was altered");
        computer.accepts();
    }

    #[tokio::test]
    async fn the_database_of_another_organisation_or_network_is_not_used() {
        let computer = Computer::of("riverside-gp", "lune-valley.example");
        let own = std::fs::read(computer.database()).unwrap();
        for (organisation, network) in [
            ("hope-street-mosque", "lune-valley.example"),
            ("riverside-gp", "other-valley.example"),
        ] {
            let other = Computer::of(organisation, network);
            std::fs::copy(other.database(), computer.database()).unwrap();
            computer.refuses(FOREIGN);
            // Of an older version: it is not brought up to date before it is seen whose it is.
            let older =
                "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
            run(&other.database(), older).await;
            std::fs::copy(other.database(), computer.database()).unwrap();
            computer.refuses(FOREIGN);
        }
        std::fs::write(computer.database(), own).unwrap();
        computer.accepts();
    }

    #[tokio::test]
    async fn a_file_of_another_program_is_not_used() {
        let computer = Computer::of("riverside-gp", "lune-valley.example");
        let own = std::fs::read(computer.database()).unwrap();
        let files: [&'static str; 2] = [
            "CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('injera')",
            "CREATE TABLE kith_store (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), product TEXT NOT NULL); \
             INSERT INTO kith_store (id, product) VALUES (1, 'kith-gateway')",
        ];
        for statements in files {
            std::fs::remove_file(computer.database()).unwrap();
            run(&computer.database(), statements).await;
            computer.refuses(FOREIGN);
        }
        std::fs::write(
            computer.database(),
            "This is a letter and no database.\n".repeat(40),
        )
        .unwrap();
        computer.refuses(FOREIGN);
        std::fs::write(computer.database(), own).unwrap();
        computer.accepts();
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_waits_for_that_version() {
        let computer = Computer::of("riverside-gp", "lune-valley.example");
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of a newer version', TRUE, x'00', 0); \
                     CREATE TABLE of_a_newer_version (id BIGINT NOT NULL PRIMARY KEY)";
        run(&computer.database(), newer).await;
        computer.refuses(NEWER);
        let back = "DELETE FROM _sqlx_migrations WHERE version = 9999; DROP TABLE of_a_newer_version";
        run(&computer.database(), back).await;
        computer.accepts();
    }
}
