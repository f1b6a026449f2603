//! The stories on PostgreSQL.

use crate::network::Place;

/// A new database for one test.
pub(crate) async fn place() -> Place {
    Place::postgres().await
}

#[path = "delivering.rs"]
mod delivering;
#[path = "enduring.rs"]
mod enduring;
#[path = "stopping.rs"]
mod stopping;
#[path = "taking.rs"]
mod taking;
