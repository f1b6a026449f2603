//! Rows of the trail. Called by [`audit::insert`](crate::audit::insert) alone; rows are never changed or deleted.
//! Never writes a row without its own salt.

use kith_service::store::{Insert, StoreError, Tx};

use crate::audit::Event;

static INSERT: Insert = Insert::into(
    "INSERT INTO audit_event (seq, event_id, at_ms, code, salt, preimage)",
    6,
    "",
);

/// One row: an event with its number, id and salt.
pub struct Row<'a> {
    seq: i64,
    /// 16 bytes event id, 16 bytes salt.
    random: [u8; 32],
    event: &'a Event,
}

impl<'a> Row<'a> {
    /// Numbers an event; the 32 bytes must be fresh.
    pub const fn new(seq: i64, random: [u8; 32], event: &'a Event) -> Self {
        Self { seq, random, event }
    }
}

/// Inserts rows.
pub async fn insert(tx: &mut Tx, rows: &[Row<'_>]) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let (event_id, salt) = row.random.split_at(16);
        let q = q.bind(row.seq).bind(event_id.to_vec()).bind(row.event.at_ms);
        q.bind(row.event.code.as_str())
            .bind(salt.to_vec())
            .bind(row.event.preimage.clone())
    });
    inserted.await.map(drop)
}
