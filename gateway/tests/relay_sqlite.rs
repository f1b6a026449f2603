//! The relay over real TLS sockets with hand-made node clients, on SQLite. The stories are those of `relay_postgres.rs`.
//! Cargo runs it; it never touches a server of the machine.

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

/// A new database file for one test.
#[cfg(test)]
async fn place() -> network::Place {
    let dir = tempfile::TempDir::new().unwrap();
    let url = format!("sqlite://{}", dir.path().join("gateway.db").display());
    network::Place::new(dir, url, false)
}
