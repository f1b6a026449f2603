//! One contract suite, on both databases: `contract.rs` is included twice, each time beside its own `provider`.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![expect(clippy::duplicate_mod, reason = "the same contract runs on both databases")]

use super::*;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("src/store/tests/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("src/store/tests/postgres");
static NEWER_SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("src/store/tests/newer_sqlite");
static NEWER_POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("src/store/tests/newer_postgres");

const MIGRATIONS: Migrations = Migrations {
    sqlite: &SQLITE,
    postgres: &POSTGRES,
};
const NEWER: Migrations = Migrations {
    sqlite: &NEWER_SQLITE,
    postgres: &NEWER_POSTGRES,
};

/// A database of a test's own, and what must live as long as it is used.
struct Fresh {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

mod sqlite {
    //! The contract on SQLite.
    use super::*;

    async fn provider() -> Fresh {
        let folder = tempfile::tempdir().unwrap();
        Fresh {
            url: format!("sqlite://{}", folder.path().join("contract.db").display()),
            _folder: Some(folder),
        }
    }

    #[path = "../contract.rs"]
    mod contract;

    #[tokio::test(flavor = "current_thread")]
    async fn the_simulations_store_gives_the_same_answers() {
        const PUT: &str = "INSERT INTO thing (id, n) VALUES ($1, 1)";
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS)
            .await
            .unwrap()
            .blocking();
        let put = async |id: &'static [u8]| -> Result<u64, StoreError> {
            store
                .tx("put", |mut tx| async move { tx.run(query(PUT).bind(id)).await })
                .await
        };
        assert_eq!(put(b"a").await, Ok(1));
        assert_eq!(put(b"a").await, Err(StoreError::Unique));
        assert_eq!(put(b"b").await, Ok(1));
    }

    #[tokio::test]
    async fn a_database_that_another_process_holds_is_locked() {
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let url = fresh.url.clone();
        let second = store
            .tx("hold", |tx| {
                let url = url.clone();
                async move {
                    let second = Store::open(&url, "kith-test", MIGRATIONS).await.err();
                    drop(tx);
                    Ok::<_, StoreError>(second)
                }
            })
            .await
            .unwrap();
        assert_eq!(second, Some(StoreError::Locked));
    }
}

mod postgres {
    //! The contract on PostgreSQL, each test in a database of its own.
    use super::*;
    use sqlx::Connection as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    static DATABASES: AtomicU32 = AtomicU32::new(0);

    async fn provider() -> Fresh {
        let server =
            std::env::var("KITH_TEST_POSTGRES").expect("KITH_TEST_POSTGRES names no server; run tests/run");
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("kith_service_{}_{number}", std::process::id());
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Fresh {
            url: format!("{before}/{name}"),
            _folder: None,
        }
    }

    #[path = "../contract.rs"]
    mod contract;
}
