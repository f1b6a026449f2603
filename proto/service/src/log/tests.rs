//! The log on both databases: `contract.rs` is included twice, each time beside its own `provider`.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![expect(clippy::duplicate_mod, reason = "the same contract runs on both databases")]

use super::*;
use crate::store::Migrations;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("src/log/tests/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("src/log/tests/postgres");

const MIGRATIONS: Migrations = Migrations {
    sqlite: &SQLITE,
    postgres: &POSTGRES,
};

#[test]
fn node_gateway_and_these_tests_have_the_same_tables() {
    let sqlite = include_str!("tests/sqlite/0002_log.sql");
    let postgres = include_str!("tests/postgres/0002_log.sql");
    assert_eq!(
        sqlite,
        include_str!("../../../../node/migrations/sqlite/0002_log.sql")
    );
    assert_eq!(
        sqlite,
        include_str!("../../../../gateway/migrations/sqlite/0002_log.sql")
    );
    assert_eq!(
        postgres,
        include_str!("../../../../node/migrations/postgres/0002_log.sql")
    );
    assert_eq!(
        postgres,
        include_str!("../../../../gateway/migrations/postgres/0002_log.sql")
    );
    let as_postgres = sqlite
        .replace("BLOB", "BYTEA")
        .replace("INTEGER", "BIGINT")
        .replace(" WITHOUT ROWID", "");
    assert_eq!(as_postgres, postgres);
}

mod sqlite {
    //! The log on SQLite.
    use super::*;

    async fn provider() -> (Store, Option<tempfile::TempDir>) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("log.db").display());
        (
            Store::open(&url, "kith-test", MIGRATIONS).await.unwrap(),
            Some(folder),
        )
    }

    #[path = "../contract.rs"]
    mod contract;
    #[path = "../tampered.rs"]
    mod tampered;
}

mod postgres {
    //! The log on PostgreSQL.
    use super::*;

    async fn provider() -> (Store, Option<tempfile::TempDir>) {
        let url = crate::store::tests::fresh_postgres().await;
        (Store::open(&url, "kith-test", MIGRATIONS).await.unwrap(), None)
    }

    #[path = "../contract.rs"]
    mod contract;
    #[path = "../tampered.rs"]
    mod tampered;
}
