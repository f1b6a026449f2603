//! New rows of `event`. Called by sending; what comes later goes through compare-and-swap of the thread.
//! Never replaces an event.

use kith_proto::lifecycle::Reason;
use kith_service::store::{Insert, StoreError, Tx};

use crate::threads::EventRow;

static INSERT: Insert = Insert::into(
    "INSERT INTO event (thread_id, event_id, epoch, number, move, state, reason, party, late, provisional, \
     happened_at_ms, deadline_ms, words_id)",
    13,
    "",
);

/// Inserts events that are reached through rows of another kind.
pub async fn insert<R>(tx: &mut Tx, rows: &[R], of: impl Fn(&R) -> &EventRow) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let event = of(row);
        q.bind(event.thread_id.as_bytes().to_vec())
            .bind(event.event_id.as_bytes().to_vec())
            .bind(super::stored(event.epoch))
            .bind(super::stored(event.number))
            .bind(event.mv.as_str())
            .bind(event.state.as_str())
            .bind(event.reason.map(Reason::as_str))
            .bind(event.party.as_str())
            .bind(i64::from(event.late))
            .bind(i64::from(event.provisional))
            .bind(event.happened_at_ms)
            .bind(event.deadline_ms)
            .bind(event.words_id.map(|id| id.to_vec()))
    });
    inserted.await.map(drop)
}
