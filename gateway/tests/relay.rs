//! The relay over real TLS sockets with hand-made node clients, on SQLite and on PostgreSQL: the same stories twice.
//! PostgreSQL is the server at `KITH_TEST_POSTGRES`; without it these tests fail, as a skipped database is an untested one.

#[cfg(test)]
#[path = "relay/network.rs"]
mod network;
#[cfg(test)]
#[path = "relay/node.rs"]
mod node;
#[cfg(test)]
#[path = "relay/on_postgres.rs"]
mod postgres;
#[cfg(test)]
#[path = "relay/on_sqlite.rs"]
mod sqlite;
