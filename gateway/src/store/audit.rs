//! Writes audit events. Called by every use-case in the transaction of what it audits.
//! Never update or delete a row: the table only grows.

use super::counter::{self, Counter};
use crate::audit::Event;
use kith_service::store::{Insert, StoreError, Tx};

static INSERT: Insert = Insert::into(
    "INSERT INTO audit_event (event_id, seq, at_ms, code, salt, preimage) VALUES",
    6,
    "",
);

/// Writes the events, numbered in their order after the last committed one. Takes the audit counter, which is held until the
/// commit, so call it last in a transaction.
pub async fn insert(tx: &mut Tx, events: &[Event]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let first = counter::take(tx, Counter::Audit, events.len()).await?;
    let rows: Vec<(i64, &Event)> = (first..).zip(events).collect();
    INSERT
        .rows(tx, &rows, |query, (seq, event)| {
            query
                .bind(event.event_id.to_vec())
                .bind(*seq)
                .bind(event.at_ms)
                .bind(event.code.as_str())
                .bind(event.salt.to_vec())
                .bind(event.preimage.as_bytes().to_vec())
        })
        .await?;
    Ok(())
}
