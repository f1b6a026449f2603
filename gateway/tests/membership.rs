//! Stories of membership, each on SQLite and on PostgreSQL, over real TLS sockets.
//! The same files are included twice; a story says `DATABASE`. PostgreSQL is named by `KITH_TEST_POSTGRES` and never skipped.
#![expect(clippy::duplicate_mod, reason = "the same stories run on both databases")]

#[cfg(test)]
#[expect(dead_code, reason = "stories of the log use the rest")]
#[path = "fixture/mod.rs"]
mod fixture;

#[cfg(test)]
#[path = "membership"]
mod sqlite {
    const DATABASE: crate::fixture::Database = crate::fixture::Database::Sqlite;
    mod bundles;
    mod directory;
    mod edge;
    mod enrol;
    mod lost;
    mod renew;
    mod standing;
}

#[cfg(test)]
#[path = "membership"]
mod postgres {
    const DATABASE: crate::fixture::Database = crate::fixture::Database::Postgres;
    mod bundles;
    mod directory;
    mod edge;
    mod enrol;
    mod lost;
    mod renew;
    mod standing;
}
