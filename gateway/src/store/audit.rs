//! Numbers audit events and appends them. Called by every use-case in the transaction of what it audits.
//! Never updates or deletes a row: the table only grows.

use super::counter::{self, Counter};
use crate::audit::Salted;
use kith_service::log::append;
use kith_service::store::{StoreError, Tx};

/// Writes the events, numbered in their order after the last committed one. Takes the audit counter, which is held until the
/// commit, so call it last in a transaction.
pub async fn insert(tx: &mut Tx, events: &[Salted]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let first = counter::take(tx, Counter::Audit, events.len()).await?;
    let rows: Vec<_> = events.iter().map(|salted| (&salted.event, salted.salt)).collect();
    append::insert(tx, first, &rows).await
}
