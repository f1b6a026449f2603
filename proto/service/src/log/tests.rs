//! The log on both databases: `contract.rs` is included twice, each time beside its own `provider`.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![expect(clippy::duplicate_mod, reason = "the same contract runs on both databases")]

use super::*;
use crate::store::Migrations;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::sync::LazyLock;

/// The trail as the servers begin it, and the log's tables as they are in both: these tests have none of their own.
const SQLITE_LOG: &str = include_str!("../../../../node/migrations/sqlite/0002_log.sql");
const POSTGRES_LOG: &str = include_str!("../../../../node/migrations/postgres/0002_log.sql");

static SQLITE: LazyLock<Migrator> =
    LazyLock::new(|| migrator([include_str!("tests/sqlite/0001_audit.sql"), SQLITE_LOG]));
static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| migrator([include_str!("tests/postgres/0001_audit.sql"), POSTGRES_LOG]));

fn migrator(texts: [&'static str; 2]) -> Migrator {
    let migration = |(version, text): (i64, &'static str)| {
        let simple = MigrationType::Simple;
        Migration::new(version, "log".into(), simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(texts).map(migration).collect())
}

fn migrations() -> Migrations {
    Migrations {
        sqlite: &SQLITE,
        postgres: &POSTGRES,
    }
}

#[test]
fn node_and_gateway_have_the_same_tables_on_both_databases() {
    let gateway = include_str!("../../../../gateway/migrations/sqlite/0002_log.sql");
    assert_eq!(SQLITE_LOG, gateway);
    let gateway = include_str!("../../../../gateway/migrations/postgres/0002_log.sql");
    assert_eq!(POSTGRES_LOG, gateway);
    let as_postgres = SQLITE_LOG
        .replace("BLOB", "BYTEA")
        .replace("INTEGER", "BIGINT")
        .replace(" WITHOUT ROWID", "");
    assert_eq!(as_postgres, POSTGRES_LOG);
}

mod sqlite {
    //! The log on SQLite.
    use super::*;

    async fn provider() -> (Store, Option<tempfile::TempDir>) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("log.db").display());
        (
            Store::open(&url, "kith-test", migrations()).await.unwrap(),
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
        (Store::open(&url, "kith-test", migrations()).await.unwrap(), None)
    }

    #[path = "../contract.rs"]
    mod contract;
    #[path = "../tampered.rs"]
    mod tampered;
}
