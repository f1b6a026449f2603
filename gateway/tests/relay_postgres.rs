//! The relay over real TLS sockets with hand-made node clients, on PostgreSQL. The stories are those of `relay_sqlite.rs`.
//! Cargo runs it against the server at `KITH_TEST_POSTGRES`, where each test makes a database of its own. Without the variable it
//! fails, as a skipped database is an untested one.

#[cfg(test)]
#[path = "relay/auditing.rs"]
mod auditing;
#[cfg(test)]
#[path = "relay/delivering.rs"]
mod delivering;
#[cfg(test)]
#[path = "relay/enduring.rs"]
mod enduring;
#[cfg(test)]
#[path = "relay/forgotten.rs"]
mod forgotten;
#[cfg(test)]
#[path = "relay/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "relay/network.rs"]
mod network;
#[cfg(test)]
#[path = "relay/node.rs"]
mod node;
#[cfg(test)]
#[path = "relay/refusing.rs"]
mod refusing;
#[cfg(test)]
#[path = "relay/reoffering.rs"]
mod reoffering;
#[cfg(test)]
#[path = "relay/runs.rs"]
mod runs;
#[cfg(test)]
#[path = "relay/stopping.rs"]
mod stopping;
#[cfg(test)]
#[path = "relay/taking.rs"]
mod taking;

/// A new database for one test.
#[cfg(test)]
async fn place() -> network::Place {
    use sqlx::Connection as _;
    let server = std::env::var("KITH_TEST_POSTGRES")
        .expect("KITH_TEST_POSTGRES must name a PostgreSQL server: a skipped database is untested");
    let name = u64::from_be_bytes(node::random());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE kith_relay_{name:016x}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    let (front, options) = server
        .split_once('?')
        .map_or((server.as_str(), String::new()), |(front, options)| {
            (front, format!("?{options}"))
        });
    let (host, _) = front.rsplit_once('/').unwrap();
    let url = format!("{host}/kith_relay_{name:016x}{options}");
    network::Place::new(tempfile::TempDir::new().unwrap(), url, true)
}
