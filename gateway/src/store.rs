//! The gateway's store: which product it is, its migrations, and one file of queries per noun.
//! Use-cases call these functions inside one transaction each. No rule and no statement to a peer is made here.

use kith_proto::id::NetworkName;
use kith_service::store::{Migrations, Store, StoreError};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::sync::LazyLock;

pub mod audit;
pub mod bundle;
pub mod counter;
pub mod epoch_word;
pub mod log;
pub mod lost;
pub mod mailbox;
pub mod member;
pub mod network;
pub mod notice;
pub mod pair;
pub mod policy;
pub mod reoffer;
pub mod restore;
pub mod service;
pub mod slip;
pub mod taken;
pub mod whole;

/// The name that a gateway's database carries; another product's database is refused.
pub const PRODUCT: &str = "kith-gateway";

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| {
    migrator([
        ("gateway", include_str!("../migrations/sqlite/0001_gateway.sql")),
        ("log", include_str!("../migrations/sqlite/0002_log.sql")),
        ("policy", include_str!("../migrations/sqlite/0003_policy.sql")),
        ("recovery", include_str!("../migrations/sqlite/0004_recovery.sql")),
        ("lost", include_str!("../migrations/sqlite/0005_lost.sql")),
        (
            "stops_told",
            include_str!("../migrations/sqlite/0006_stops_told.sql"),
        ),
    ])
});
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| {
    migrator([
        ("gateway", include_str!("../migrations/postgres/0001_gateway.sql")),
        ("log", include_str!("../migrations/postgres/0002_log.sql")),
        ("policy", include_str!("../migrations/postgres/0003_policy.sql")),
        (
            "recovery",
            include_str!("../migrations/postgres/0004_recovery.sql"),
        ),
        ("lost", include_str!("../migrations/postgres/0005_lost.sql")),
        (
            "stops_told",
            include_str!("../migrations/postgres/0006_stops_told.sql"),
        ),
    ])
});

/// Numbers migrations in their order; each with what it is for.
fn migrator<const N: usize>(texts: [(&'static str, &'static str); N]) -> Migrator {
    let migration = |(version, (name, text)): (i64, (&'static str, &'static str))| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations((1..).zip(texts).map(migration).collect())
}

/// The name that the database of a stand-alone witness carries.
pub const WITNESS_PRODUCT: &str = "kith-witness";

static WITNESS_SQLITE: LazyLock<Migrator> = LazyLock::new(|| {
    migrator([
        (
            "witness",
            include_str!("../migrations/witness/sqlite/0001_witness.sql"),
        ),
        (
            "epoch",
            include_str!("../migrations/witness/sqlite/0002_epoch.sql"),
        ),
    ])
});
static WITNESS_POSTGRES: LazyLock<Migrator> = LazyLock::new(|| {
    migrator([
        (
            "witness",
            include_str!("../migrations/witness/postgres/0001_witness.sql"),
        ),
        (
            "epoch",
            include_str!("../migrations/witness/postgres/0002_epoch.sql"),
        ),
    ])
});

/// Opens the store of a stand-alone witness and brings its schema up to date.
pub async fn open_witness(url: &str) -> Result<Store, StoreError> {
    let migrations = Migrations {
        sqlite: &WITNESS_SQLITE,
        postgres: &WITNESS_POSTGRES,
    };
    Store::open(url, WITNESS_PRODUCT, migrations).await
}

/// Opens this network's store at `sqlite:///path` or `postgres://…` and brings its schema up to date.
pub async fn open(url: &str, network: &NetworkName) -> Result<Store, StoreError> {
    let migrations = Migrations {
        sqlite: &SQLITE,
        postgres: &POSTGRES,
    };
    Store::open_of(url, PRODUCT, network::owner(network), migrations).await
}
