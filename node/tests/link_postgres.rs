//! The link against a hand-made gateway over real TLS sockets, on PostgreSQL. The stories are those of `link_sqlite.rs`.
//! Cargo runs it against the server at `KITH_TEST_POSTGRES`, where each test makes a database of its own. Without the
//! variable it fails, as a skipped database is an untested one.

#[cfg(test)]
#[path = "link/epoch.rs"]
mod epoch;
#[cfg(test)]
#[path = "link/forgotten.rs"]
mod forgotten;
#[cfg(test)]
#[path = "link/gateway.rs"]
mod gateway;
#[cfg(test)]
#[path = "link/host.rs"]
mod host;
#[cfg(test)]
#[path = "link/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "link/joining.rs"]
mod joining;
#[cfg(test)]
#[path = "link/keylog.rs"]
mod keylog;
#[cfg(test)]
#[path = "link/logs.rs"]
mod logs;
#[cfg(test)]
#[path = "link/own_log.rs"]
mod own_log;
#[cfg(test)]
#[path = "link/peer.rs"]
mod peer;
#[cfg(test)]
#[path = "link/receiving.rs"]
mod receiving;
#[cfg(test)]
#[path = "link/refusing.rs"]
mod refusing;
#[cfg(test)]
#[path = "link/rekeying.rs"]
mod rekeying;
#[cfg(test)]
#[path = "link/reoffering.rs"]
mod reoffering;
#[cfg(test)]
#[path = "link/reporting.rs"]
mod reporting;
#[cfg(test)]
#[path = "link/resealing.rs"]
mod resealing;
#[cfg(test)]
#[path = "link/restoring.rs"]
mod restoring;
#[cfg(test)]
#[path = "link/returned.rs"]
mod returned;
#[cfg(test)]
#[path = "link/runs.rs"]
mod runs;
#[cfg(test)]
#[path = "link/sending.rs"]
mod sending;
#[cfg(test)]
#[path = "link/services.rs"]
mod services;
#[cfg(test)]
#[path = "link/threads.rs"]
mod threads;
#[cfg(test)]
#[path = "link/turning.rs"]
mod turning;
#[cfg(test)]
#[path = "link/typed.rs"]
mod typed;

/// The URL of a new store: a database of its own.
#[cfg(test)]
async fn store_url() -> Option<String> {
    use sqlx::Connection as _;
    let server = std::env::var("KITH_TEST_POSTGRES")
        .expect("KITH_TEST_POSTGRES must name a PostgreSQL server: a skipped database is untested");
    let name = u64::from_be_bytes(peer::random());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE kith_link_{name:016x}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    let (front, options) = server
        .split_once('?')
        .map_or((server.as_str(), String::new()), |(front, options)| {
            (front, format!("?{options}"))
        });
    let (host, _) = front.rsplit_once('/').unwrap();
    Some(format!("{host}/kith_link_{name:016x}{options}"))
}
