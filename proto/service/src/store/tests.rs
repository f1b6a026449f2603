//! One contract suite, on both databases: `contract.rs` is included twice, each time beside its own `provider`.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![expect(clippy::duplicate_mod, reason = "the same contract runs on both databases")]

use super::*;
use sqlx::Connection as _;
use std::sync::atomic::{AtomicU32, Ordering};

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

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Makes an empty database on the server that `KITH_TEST_POSTGRES` names; its URL.
pub(crate) async fn fresh_postgres() -> String {
    let server =
        std::env::var("KITH_TEST_POSTGRES").expect("KITH_TEST_POSTGRES names no server; run tests/run");
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name = format!("kith_service_{}_{number}", std::process::id());
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    let (before, _) = server.rsplit_once('/').unwrap();
    format!("{before}/{name}")
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
    async fn a_writer_that_another_process_keeps_waiting_is_told_that_the_store_is_busy() {
        const ADD: &str = "UPDATE thing SET n = n + 1";
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let other = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let add = async || -> Result<u64, StoreError> {
            let add = store.tx("add", |mut tx| async move { tx.run(query(ADD)).await });
            add.await
        };
        let impatient: Result<Vec<Row>, StoreError> = store
            .tx("impatient", |mut tx| async move {
                tx.all(query("PRAGMA busy_timeout = 0")).await
            })
            .await;
        assert!(impatient.is_ok());
        let busy = other
            .tx("hold", |tx| {
                let add = &add;
                async move {
                    let busy = add().await;
                    drop(tx);
                    Ok::<_, StoreError>(busy)
                }
            })
            .await;
        assert!(matches!(busy, Ok(Err(StoreError::Unavailable(_)))), "{busy:?}");
        assert_eq!(add().await, Ok(0));
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

    async fn provider() -> Fresh {
        Fresh {
            url: fresh_postgres().await,
            _folder: None,
        }
    }

    #[path = "../contract.rs"]
    mod contract;

    /// Each of two transactions holds what the other wants, the first time round; PostgreSQL ends one of them.
    #[tokio::test]
    async fn a_transaction_ended_for_a_deadlock_is_run_again() {
        const PUT: &str = "INSERT INTO thing (id, n) VALUES ($1, 0), ($2, 0)";
        const ADD: &str = "UPDATE thing SET n = n + 1 WHERE id = $1";
        const TOTAL: &str = "SELECT CAST(SUM(n) AS BIGINT) AS n FROM thing";
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let (a, b) = (&b"a"[..], &b"b"[..]);
        let put = store.tx(
            "put",
            |mut tx| async move { tx.run(query(PUT).bind(a).bind(b)).await },
        );
        assert_eq!(put.await, Ok::<_, StoreError>(2));
        let (runs, both) = (&AtomicU32::new(0), &tokio::sync::Barrier::new(2));
        let add = |first, second| {
            store.tx("add", move |mut tx| async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                tx.run(query(ADD).bind(first)).await?;
                if run < 2 {
                    both.wait().await;
                }
                tx.run(query(ADD).bind(second)).await
            })
        };
        let (one, two): (Result<_, StoreError>, Result<_, StoreError>) = tokio::join!(add(a, b), add(b, a));
        assert_eq!((one, two), (Ok(1), Ok(1)));
        assert!(runs.load(Ordering::SeqCst) > 2, "neither was ended");
        let total = store.read("total", |mut tx| async move { tx.one(query(TOTAL)).await });
        let row: Result<Option<Row>, StoreError> = total.await;
        assert_eq!(
            column::<i64>(&row.unwrap().unwrap(), "thing", "n"),
            Ok(4),
            "each counted once"
        );
    }

    #[tokio::test]
    async fn a_transaction_always_in_the_way_is_given_up_after_five_runs() {
        const REFUSE: &str = "DO $$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = '40001'; END $$";
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let runs = &AtomicU32::new(0);
        let outcome: Result<u64, StoreError> = store
            .tx("refuse", |mut tx| async move {
                runs.fetch_add(1, Ordering::SeqCst);
                tx.run(query(REFUSE)).await
            })
            .await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        assert_eq!(runs.load(Ordering::SeqCst), TX_ATTEMPTS);
    }

    /// A value in a message of class 22 ("invalid input syntax … \"canary\"") stays inside the store.
    #[tokio::test]
    async fn what_postgresql_says_about_a_value_is_not_passed_on() {
        let fresh = provider().await;
        let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
        let cast: Result<Option<Row>, StoreError> = store
            .read("cast", |mut tx| async move {
                tx.one(query("SELECT CAST($1 AS BIGINT)").bind("Letesh-Canary"))
                    .await
            })
            .await;
        let error = cast.err().unwrap();
        assert!(format!("{error:?}").contains("22P02"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("Canary"), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_whose_migration_lock_is_held_is_locked() {
        let fresh = provider().await;
        let mut holder = sqlx::AnyConnection::connect(&fresh.url).await.unwrap();
        let mut held = holder.begin().await.unwrap();
        let lock = "SELECT pg_advisory_xact_lock(7236272917)";
        sqlx::raw_sql(lock).execute(&mut *held).await.unwrap();
        let opened = Store::open(&fresh.url, "kith-test", MIGRATIONS).await;
        assert_eq!(opened.err(), Some(StoreError::Locked));
        held.rollback().await.unwrap();
        assert!(Store::open(&fresh.url, "kith-test", MIGRATIONS).await.is_ok());
    }

    #[tokio::test]
    async fn two_processes_that_start_together_both_get_in() {
        let fresh = provider().await;
        let open = || Store::open(&fresh.url, "kith-test", MIGRATIONS);
        let (one, two) = tokio::join!(open(), open());
        assert_eq!((one.err(), two.err()), (None, None));
    }
}
