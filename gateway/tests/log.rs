//! Stories of the gateway's log, each on SQLite and on PostgreSQL, over real TLS sockets.
//! The same files are included twice; a story says `DATABASE`. PostgreSQL is named by `KITH_TEST_POSTGRES` and never skipped.
#![expect(clippy::duplicate_mod, reason = "the same stories run on both databases")]

#[cfg(test)]
#[expect(dead_code, reason = "stories of membership use the rest")]
#[path = "fixture/mod.rs"]
mod fixture;

#[cfg(test)]
#[path = "log"]
mod sqlite {
    const DATABASE: crate::fixture::Database = crate::fixture::Database::Sqlite;
    mod member_logs;
    mod policy;
    mod reading;
    mod rekeyed;
    mod restore;
    mod witnessing;
}

#[cfg(test)]
#[path = "log"]
mod postgres {
    const DATABASE: crate::fixture::Database = crate::fixture::Database::Postgres;
    mod member_logs;
    mod policy;
    mod reading;
    mod rekeyed;
    mod restore;
    mod witnessing;
}
