//! Writes and reads audit events. Called by every use-case in the transaction of what it audits.
//! Never update or delete a row: the table only grows.

use super::counter::{self, Counter};
use crate::audit::Event;
use kith_service::store::{Insert, Row, StoreError, Tx, bytes, column, query};

static INSERT: Insert = Insert::into(
    "INSERT INTO audit_event (event_id, seq, at_ms, code, salt, preimage)",
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

const TABLE: &str = "audit_event";
const AFTER: &str = "SELECT event_id, seq, at_ms, code, salt, preimage FROM audit_event \
    WHERE seq > $1 ORDER BY seq LIMIT $2";

/// An event as stored: what a log's leaf is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its random id.
    pub event_id: [u8; 16],
    /// Its place in the order of commits.
    pub seq: i64,
    /// When it happened.
    pub at_ms: i64,
    /// What happened.
    pub code: String,
    /// Hides the preimage until it is opened.
    pub salt: [u8; 16],
    /// As [`Event::preimage`].
    pub preimage: String,
}

/// Returns at most `limit` events after the numbered one, in order.
pub async fn after(tx: &mut Tx, seq: i64, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
    let rows = tx.all(query(AFTER).bind(seq).bind(limit)).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AuditRow, StoreError> {
    let preimage: Vec<u8> = column(row, TABLE, "preimage")?;
    Ok(AuditRow {
        event_id: bytes(row, TABLE, "event_id")?,
        seq: column(row, TABLE, "seq")?,
        at_ms: column(row, TABLE, "at_ms")?,
        code: column(row, TABLE, "code")?,
        salt: bytes(row, TABLE, "salt")?,
        preimage: String::from_utf8(preimage).map_err(|_| StoreError::Corrupt {
            table: TABLE,
            column: "preimage",
        })?,
    })
}
