//! Every envelope that ever came, so that none has its effect twice. Called inside the transaction of receiving.
//! Never forgets one before the gateway does (60 days).

use kith_proto::id::{EnvelopeId, OrgId};
use kith_proto::problem::Problem;
use kith_service::store::{InList, Insert, Row, StoreError, Tx, bytes, column, query};

use super::{id, word_or_null};

const TABLE: &str = "received";

/// An envelope that came, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The envelope.
    pub envelope_id: EnvelopeId,
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Who sent it.
    pub peer: OrgId,
    /// Why it was refused.
    pub problem: Option<Problem>,
    /// When, ms UTC by the gateway's time.
    pub at_ms: i64,
}

/// What was answered to an envelope that came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The envelope.
    pub envelope_id: EnvelopeId,
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Why it was refused.
    pub problem: Option<Problem>,
    /// When it came.
    pub at_ms: i64,
}

static FIND: InList = InList::new(
    "SELECT envelope_id, envelope_hash, problem, at_ms FROM received WHERE envelope_id IN",
    0,
    "",
);

/// Those of these envelopes that came before, in no order.
pub async fn known(tx: &mut Tx, ids: &[EnvelopeId]) -> Result<Vec<Known>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let read = |row: &Row| {
        Ok(Known {
            envelope_id: id(row, TABLE, "envelope_id")?,
            envelope_hash: bytes(row, TABLE, "envelope_hash")?,
            problem: word_or_null(row, TABLE, "problem")?,
            at_ms: column(row, TABLE, "at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

static INSERT: Insert = Insert::into(
    "INSERT INTO received (envelope_id, envelope_hash, peer, problem, at_ms)",
    5,
    "",
);

/// Writes down envelopes that came; none of them may be known.
pub async fn insert(tx: &mut Tx, rows: &[Received]) -> Result<(), StoreError> {
    let insert = INSERT.rows(tx, rows, |q, row| {
        q.bind(row.envelope_id.as_bytes().to_vec())
            .bind(row.envelope_hash.to_vec())
            .bind(row.peer.to_string())
            .bind(row.problem.map(Problem::as_str))
            .bind(row.at_ms)
    });
    insert.await.map(drop)
}

const PRUNE: &str = "DELETE FROM received WHERE at_ms < $1";

/// Forgets what came before `before_ms`; answers how many.
pub async fn prune(tx: &mut Tx, before_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(PRUNE).bind(before_ms)).await
}
