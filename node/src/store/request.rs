//! First answers to writes. Called by [`requests`](crate::requests) and the batch door of sending.
//! Never stores a request's body: only its hash.

use std::collections::BTreeMap;

use kith_proto::id::RequestId;
use kith_service::store::{InList, Insert, StoreError, Tx, bytes, column};

use super::id;

const TABLE: &str = "request";

static INSERT: Insert = Insert::into(
    "INSERT INTO request (request_id, call, body_hash, answer, at_ms)",
    5,
    "",
);
static FIND: InList = InList::new(
    "SELECT request_id, call, body_hash, answer FROM request WHERE request_id IN",
    0,
    "",
);

/// One answered write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The caller's id.
    pub request_id: RequestId,
    /// Which call.
    pub call: String,
    /// SHA-256 of what was asked.
    pub body_hash: [u8; 32],
    /// The serialised answer.
    pub answer: Vec<u8>,
}

/// Finds the answered ones among these.
pub async fn find(tx: &mut Tx, ids: &[RequestId]) -> Result<BTreeMap<RequestId, Answered>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let read = rows.iter().map(|row| {
        let request_id = id(row, TABLE, "request_id")?;
        let answered = Answered {
            request_id,
            call: column(row, TABLE, "call")?,
            body_hash: bytes(row, TABLE, "body_hash")?,
            answer: column(row, TABLE, "answer")?,
        };
        Ok((request_id, answered))
    });
    read.collect()
}

/// Inserts answers; [`StoreError::Unique`] when one was answered before.
pub async fn insert(tx: &mut Tx, rows: &[Answered], at_ms: i64) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let q = q.bind(row.request_id.as_bytes().to_vec()).bind(row.call.clone());
        q.bind(row.body_hash.to_vec())
            .bind(row.answer.clone())
            .bind(at_ms)
    });
    inserted.await.map(drop)
}
