//! What a person must look at, each once. Written by `alarms`, read by `status` and `doctor`.
//! Never more than a word, a time and the evidence: notes and hashes.

use kith_proto::sign::sha256;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::word;
use crate::alarms::Kind;

const TABLE: &str = "alarm";
/// Most alarms kept of one kind: the first ones prove it, and a gateway that lies fills no disk.
const OF_A_KIND_MAX: i64 = 16;

const PUT: &str = "INSERT INTO alarm (kind, evidence_hash, evidence, raised_at_ms) SELECT $1, $2, $3, $4 \
    WHERE (SELECT COUNT(*) FROM alarm WHERE kind = $1) < $5 ON CONFLICT (kind, evidence_hash) DO NOTHING";

/// Keeps an alarm; `true` the first time.
pub async fn put(tx: &mut Tx, kind: Kind, evidence: &[u8], at_ms: i64) -> Result<bool, StoreError> {
    let put = query(PUT)
        .bind(kind.as_str())
        .bind(sha256(&[evidence]).to_vec())
        .bind(evidence.to_vec());
    Ok(tx.run(put.bind(at_ms).bind(OF_A_KIND_MAX)).await? == 1)
}

/// An alarm as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What was seen.
    pub kind: Kind,
    /// When first, ms UTC.
    pub raised_at_ms: i64,
}

const ALL: &str = "SELECT kind, MIN(raised_at_ms) AS raised_at_ms FROM alarm GROUP BY kind ORDER BY kind";

/// Every kind that was raised, with its first time.
pub async fn all(tx: &mut Tx) -> Result<Vec<Alarm>, StoreError> {
    let rows = tx.all(query(ALL)).await?;
    let read = |row: &Row| {
        Ok(Alarm {
            kind: word(row, TABLE, "kind")?,
            raised_at_ms: column(row, TABLE, "raised_at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

const END_OWN_LOG: &str = "DELETE FROM alarm WHERE kind IN ('own_log_behind', 'own_log_forked')";

/// Puts away what was raised about this node's own log: a later epoch of it begins. That it was raised stays in the trail.
pub async fn end_own_log(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(query(END_OWN_LOG)).await.map(drop)
}
