//! Databases that a gateway must not use: held by another process, of another network, of another program, of a newer version.
//! The binary says what is wrong and what to do, ends with a failure, and leaves the file as it was, byte for byte.

#[cfg(test)]
mod stories {
    use sqlx::{AnyConnection, Connection as _};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    /// Every command that opens the gateway's database.
    const COMMANDS: [&[&str]; 4] = [
        &["members"],
        &["suspend", "riverside-gp"],
        &["resume", "riverside-gp"],
        &["serve", "--listen", "127.0.0.1:0"],
    ];
    const FOREIGN: &str = "kith-gateway: the database belongs to another organisation, network or program, \
                           so nothing was changed; name the one that is yours";
    const NEWER: &str = "kith-gateway: the database was written by a newer version of this program, \
                         so nothing was changed; install that version";
    const LOCKED: &str = "kith-gateway: another process holds the database, so nothing was changed; \
                          stop it or wait for it, then try again";

    /// A new network's folders; its gateway has run a command, so that its database is there.
    struct Office(tempfile::TempDir);

    impl Office {
        fn of(network: &str) -> Self {
            let office = Self(tempfile::tempdir().unwrap());
            let out = office.0.path().join("net").display().to_string();
            let address = "127.0.0.1:7400";
            let init = ["init", "--network", network, "--address", address, "--out", &out];
            assert!(gateway(&init).status.success());
            assert!(office.runs(&["members"]).status.success());
            office
        }

        fn data(&self) -> PathBuf {
            self.0.path().join("net/gateway")
        }

        fn database(&self) -> PathBuf {
            self.data().join("gateway.db")
        }

        fn runs(&self, command: &[&str]) -> Output {
            let data = self.data().display().to_string();
            let command: Vec<&str> = command.iter().copied().chain(["--data", &data]).collect();
            gateway(&command)
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
                assert_eq!(
                    String::from_utf8_lossy(&output.stderr).trim(),
                    sentence,
                    "{command:?}"
                );
                assert!(output.stdout.is_empty(), "{command:?} did something");
            }
        }

        /// The gateway works with its own database.
        fn accepts(&self) {
            let output = self.runs(&["members"]);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{complaint}");
        }
    }

    fn gateway(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith-gateway"));
        command.args(arguments).output().unwrap()
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

    #[tokio::test]
    async fn a_database_that_another_process_holds_is_left_to_it() {
        let office = Office::of("lune-valley.example");
        // Read before and after, not while it is held: a process that closes a file lets go of its own locks on it.
        let before = std::fs::read(office.database()).unwrap();
        let mut holder = connect(&office.database()).await;
        let hold = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
        sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
        office.all_say(LOCKED);
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        holder.close().await.unwrap();
        let after = std::fs::read(office.database()).unwrap();
        assert!(after == before, "the file was altered");
        office.accepts();
    }

    #[tokio::test]
    async fn the_database_of_another_network_is_not_used() {
        let (office, other) = (
            Office::of("lune-valley.example"),
            Office::of("other-valley.example"),
        );
        let namesake = Office::of("lune-valley.example");
        let own = std::fs::read(office.database()).unwrap();
        for foreign in [&other, &namesake] {
            std::fs::copy(foreign.database(), office.database()).unwrap();
            office.refuses(FOREIGN);
        }
        // Of an older version: it is not brought up to date before it is seen whose it is.
        let older =
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
        run(&other.database(), older).await;
        std::fs::copy(other.database(), office.database()).unwrap();
        office.refuses(FOREIGN);
        std::fs::write(office.database(), own).unwrap();
        office.accepts();
    }

    #[tokio::test]
    async fn a_file_of_another_program_is_not_used() {
        let office = Office::of("lune-valley.example");
        let own = std::fs::read(office.database()).unwrap();
        let files: [&'static str; 2] = [
            "CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('injera')",
            "CREATE TABLE kith_store (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), product TEXT NOT NULL); \
             INSERT INTO kith_store (id, product) VALUES (1, 'kith-node')",
        ];
        for statements in files {
            std::fs::remove_file(office.database()).unwrap();
            run(&office.database(), statements).await;
            office.refuses(FOREIGN);
        }
        std::fs::write(
            office.database(),
            "This is a letter and no database.\n".repeat(40),
        )
        .unwrap();
        office.refuses(FOREIGN);
        std::fs::write(office.database(), own).unwrap();
        office.accepts();
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_waits_for_that_version() {
        let office = Office::of("lune-valley.example");
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of a newer version', TRUE, x'00', 0); \
                     CREATE TABLE of_a_newer_version (id BIGINT NOT NULL PRIMARY KEY)";
        run(&office.database(), newer).await;
        office.refuses(NEWER);
        let back = "DELETE FROM _sqlx_migrations WHERE version = 9999; DROP TABLE of_a_newer_version";
        run(&office.database(), back).await;
        office.accepts();
    }
}
