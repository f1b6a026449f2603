//! Opens a store: connects, sets the database up for durability, migrates under a lock, refuses what is not ours.
//! Called once per process, at start (and by tests). Afterwards only the two doors touch the database.
//! Never migrates backwards and never writes to a database that belongs to something else.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Row as _};

use super::error::StoreError;
use super::slots::Slots;

/// Connections for reading beside the one writer of a SQLite store; each is a thread and a page cache.
const SQLITE_READERS: usize = 4;
/// Connections to PostgreSQL; one server of 100 connections then feeds ten processes.
const POSTGRES_CONNECTIONS_MAX: u32 = 8;
/// How long to wait for a free PostgreSQL connection: a call's default deadline.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before the first rerun of a transaction, doubled, trebled … before the next: 0.2 s for all four together,
/// which is long beside a commit and short beside a call's deadline.
const RERUN_PAUSE: Duration = Duration::from_millis(20);
/// Prepared statements kept per connection: each multi-row statement has up to ten texts.
const STATEMENTS_KEPT: usize = 2_000;

/// Set on every SQLite connection; none of it is kept in the file. The busy timeout is sqlx's own 5 s, written out; 64 MiB
/// of log file are kept (overwriting is faster than growing);
/// a checkpoint is made each 12,000 pages (48 MiB), so that pages which change often are copied seldom; each connection caches 16 MiB of pages.
const SQLITE_BOTH: &str = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 12000; \
     PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY";
/// Kept in the file itself, so set only once it is known to be ours and not newer than this program.
const SQLITE_JOURNAL: &str = "PRAGMA journal_mode = WAL";
/// Set on the reading connections of SQLite: a write through them is refused.
const SQLITE_READ_ONLY: &str = "PRAGMA query_only = ON";

/// Serialises migrations of processes that start together; any number will do, as long as it stays. The lock ends
/// with the transaction, and whoever waits for it longer than ten seconds is told so.
const POSTGRES_LOCK: &str = "SET LOCAL lock_timeout = '10s'; SELECT pg_advisory_xact_lock(7236272917)";
const SQLITE_TABLES: &str = "SELECT COUNT(*), COUNT(CASE WHEN name = 'kith_store' THEN 1 END) \
     FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
const POSTGRES_TABLES: &str = "SELECT COUNT(*), COUNT(CASE WHEN tablename = 'kith_store' THEN 1 END) \
     FROM pg_catalog.pg_tables WHERE schemaname = current_schema()";
const CLAIM_TABLE: &str =
    "CREATE TABLE kith_store (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), product TEXT NOT NULL)";
const CLAIM: &str = "INSERT INTO kith_store (id, product) VALUES (1, $1)";
const CLAIMED_BY: &str = "SELECT product FROM kith_store WHERE id = 1";

/// The two migration folders of a crate, with equal file names: `sqlx::migrate!("migrations/sqlite")` and
/// `sqlx::migrate!("migrations/postgres")`, each in a `static`.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// For SQLite.
    pub sqlite: &'static Migrator,
    /// For PostgreSQL.
    pub postgres: &'static Migrator,
}

/// Whose database of a product it must be. Asked before its schema is touched, so that another's stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Gives one text, or no row while nobody has claimed the database; must run on every schema since the first.
    pub find: &'static str,
    /// What that text is in a database of ours.
    pub name: &'a str,
}

/// What a database must say of itself.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) product: &'static str,
    pub(crate) owner: Option<Owner<'a>>,
}

/// Which of the two databases a store stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The open connections of a store.
pub(crate) enum Doors {
    Sqlite { writer: Arc<Slots>, readers: Arc<Slots> },
    Postgres(AnyPool),
}

impl Dialect {
    /// SQLITE_MAX_VARIABLE_NUMBER, and the 16-bit count of PostgreSQL's protocol.
    pub(crate) const fn binds_max(self) -> usize {
        match self {
            Self::Sqlite => 32_766,
            Self::Postgres => 65_535,
        }
    }

    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(StoreError::failed("url")),
        }
    }
}

impl Doors {
    pub(crate) async fn open(
        url: &str,
        claim: Claim<'_>,
        migrations: Migrations,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        let options = options(url, dialect)?;
        match dialect {
            Dialect::Sqlite => {
                sqlite_ready(&options, claim, migrations.sqlite)
                    .await
                    .map_err(while_opening)?;
                let options = SqliteConnectOptions::from_url(&options.database_url)?
                    .statement_cache_capacity(STATEMENTS_KEPT)
                    .disable_statement_logging();
                let writer = sqlite_connection(&options).await.map_err(while_opening)?;
                let mut readers = Vec::with_capacity(SQLITE_READERS);
                for _ in 0..SQLITE_READERS {
                    let mut reader = sqlite_connection(&options).await?;
                    sqlx::raw_sql(SQLITE_READ_ONLY).execute(&mut reader).await?;
                    readers.push(reader);
                }
                Ok(Self::Sqlite {
                    writer: Slots::new(vec![writer]),
                    readers: Slots::new(readers),
                })
            }
            Dialect::Postgres => {
                let mut first = options.connect().await?;
                claim_and_migrate(&mut first, dialect, claim, migrations.postgres)
                    .await
                    .map_err(while_opening)?;
                first.close().await?;
                let pool = AnyPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS_MAX)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    // Each use ends with a ping and a transaction retries over a broken connection; a second ping
                    // would cost every transaction a round trip.
                    .test_before_acquire(false);
                Ok(Self::Postgres(pool.connect_with(options).await?))
            }
        }
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Waits before a transaction is run again. SQLite has waited already; PostgreSQL must be given time to hand the
    /// rows to the transaction that was in the way, or the two meet again.
    pub(crate) async fn step_aside(&self, attempt: u32) {
        if matches!(self, Self::Postgres(_)) {
            #[expect(
                clippy::disallowed_methods,
                reason = "the pause before a transaction is run again"
            )]
            tokio::time::sleep(RERUN_PAUSE * attempt).await;
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The URL with our own defaults: SQLite makes a missing file, PostgreSQL keeps more prepared statements. Statements
/// are never logged: their text is known and their values are not for logs.
fn options(url: &str, dialect: Dialect) -> Result<AnyConnectOptions, StoreError> {
    let mut options: AnyConnectOptions = url.parse()?;
    let (key, value) = match dialect {
        Dialect::Sqlite => ("mode", "rwc".to_owned()),
        Dialect::Postgres => ("statement-cache-capacity", STATEMENTS_KEPT.to_string()),
    };
    if !options.database_url.query_pairs().any(|(given, _)| given == key) {
        options.database_url.query_pairs_mut().append_pair(key, &value);
    }
    Ok(options.disable_statement_logging())
}

/// Makes sure that a database is ours, migrated, with its log beside it.
async fn sqlite_ready(
    options: &AnyConnectOptions,
    claim: Claim<'_>,
    migrator: &'static Migrator,
) -> Result<(), StoreError> {
    let mut first = options.connect().await?;
    sqlx::raw_sql(SQLITE_BOTH).execute(&mut first).await?;
    claim_and_migrate(&mut first, Dialect::Sqlite, claim, migrator).await?;
    sqlx::raw_sql(SQLITE_JOURNAL).execute(&mut first).await?;
    Ok(first.close().await?)
}

async fn sqlite_connection(options: &SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let mut connection = options.connect().await?;
    sqlx::raw_sql(SQLITE_BOTH).execute(&mut connection).await?;
    Ok(connection)
}

/// Everything in one transaction, on both databases: take the lock, see whose database it is, migrate, claim.
async fn claim_and_migrate(
    connection: &mut AnyConnection,
    dialect: Dialect,
    claim: Claim<'_>,
    migrator: &'static Migrator,
) -> Result<(), StoreError> {
    let begin = if dialect == Dialect::Sqlite {
        "BEGIN IMMEDIATE"
    } else {
        "BEGIN"
    };
    let mut tx = connection.begin_with(begin).await?;
    if dialect == Dialect::Postgres {
        sqlx::raw_sql(POSTGRES_LOCK).execute(&mut *tx).await?;
    }
    let tables = if dialect == Dialect::Sqlite {
        SQLITE_TABLES
    } else {
        POSTGRES_TABLES
    };
    let row = sqlx::query(tables).fetch_one(&mut *tx).await?;
    match (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?) {
        (0, _) => {
            sqlx::query(CLAIM_TABLE).execute(&mut *tx).await?;
            sqlx::query(CLAIM).bind(claim.product).execute(&mut *tx).await?;
        }
        (_, 0) => return Err(StoreError::Foreign),
        _ => {
            let claimed_by = sqlx::query(CLAIMED_BY)
                .fetch_optional(&mut *tx)
                .await?
                .ok_or(StoreError::Foreign)?;
            if claimed_by.try_get::<String, _>(0)? != claim.product {
                return Err(StoreError::Foreign);
            }
            if let Some(owner) = claim.owner {
                let found = sqlx::query(owner.find).fetch_optional(&mut *tx).await?;
                let name = found.map(|row| row.try_get::<String, _>(0)).transpose()?;
                if name.is_some_and(|name| name != owner.name) {
                    return Err(StoreError::Foreign);
                }
            }
        }
    }
    migrator.run_direct(None, &mut *tx, false).await?;
    Ok(tx.commit().await?)
}

/// While opening, a database that stays busy is held by another process, and a file that is no database is somebody else's.
fn while_opening(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(cause) if cause.is_held_by_another() => StoreError::Locked,
        StoreError::Failed(cause) if cause.is_no_database() => StoreError::Foreign,
        other => other,
    }
}
