//! New rows of `outbox` and `outbox_envelope`. Called by [`outbox::queue`](crate::outbox::queue) alone; the link reads
//! and settles them.
//! Never sends anything: an envelope leaves after the commit.

use kith_service::store::{Insert, StoreError, Tx};
use prost::Message as _;

use crate::outbox::Outgoing;

static INSERT: Insert = Insert::into(
    "INSERT INTO outbox (seq, peer, kind, thread_id, slip_id, holding_id, envelope_id, envelope_hash, ordered, state, \
     expires_at_ms, at_ms)",
    12,
    "",
);
static INSERT_ENVELOPE: Insert = Insert::into("INSERT INTO outbox_envelope (seq, envelope, body)", 3, "");

/// Inserts queued envelopes with their places.
pub async fn insert(tx: &mut Tx, rows: &[(i64, &Outgoing)]) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, (seq, out)| {
        q.bind(*seq)
            .bind(out.to.to_string())
            .bind(out.kind.as_str())
            .bind(out.thread_id.as_bytes().to_vec())
            .bind(Some(out.slip_id.as_bytes().to_vec()))
            .bind(out.holding_id.map(|id| id.as_bytes().to_vec()))
            .bind(out.envelope_id.as_bytes().to_vec())
            .bind(out.hash.to_vec())
            .bind(i64::from(out.is_ordered()))
            .bind("queued")
            .bind(out.expires_at_ms)
            .bind(out.at_ms)
    });
    inserted.await?;
    let inserted = INSERT_ENVELOPE.rows(tx, rows, |q, (seq, out)| {
        q.bind(*seq)
            .bind(out.envelope.encode_to_vec())
            .bind(out.body.clone())
    });
    inserted.await.map(drop)
}
