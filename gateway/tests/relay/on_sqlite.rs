//! The stories on SQLite.

use crate::network::Place;

/// A new database file for one test.
pub(crate) async fn place() -> Place {
    Place::sqlite()
}

#[path = "delivering.rs"]
mod delivering;
#[path = "enduring.rs"]
mod enduring;
#[path = "stopping.rs"]
mod stopping;
#[path = "taking.rs"]
mod taking;
