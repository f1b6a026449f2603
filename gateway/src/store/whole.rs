//! The rows that the trail vouches for, as they stand, unread and unbelieved. Called by `audit verify` alone.
//! Never changes anything, never decides what fits.

use super::member::{self, MemberRow};
use kith_service::store::{Row, StoreError, Tx, column, query};

/// Rows read in one step.
const STEP: i64 = 4096;

/// An outcome as it stands.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The envelope's id.
    pub envelope_id: Vec<u8>,
    /// Its hash.
    pub envelope_hash: Vec<u8>,
    /// Its sender.
    pub sender: String,
    /// Its recipient.
    pub recipient: String,
    /// Why it was refused or dropped.
    pub problem: Option<String>,
    /// Whether its recipient's node has signed for it.
    pub delivered: bool,
}

const OUTCOMES: &str = "SELECT envelope_id, envelope_hash, sender, recipient, problem, delivered_at_ms FROM taken \
    WHERE envelope_id > $1 ORDER BY envelope_id LIMIT $2";

/// The outcomes after an envelope id, in the order of ids, some thousands; none after the last.
pub async fn outcomes(tx: &mut Tx, after: &[u8]) -> Result<Vec<Outcome>, StoreError> {
    let read = |row: &Row| {
        Ok(Outcome {
            envelope_id: column(row, "taken", "envelope_id")?,
            envelope_hash: column(row, "taken", "envelope_hash")?,
            sender: column(row, "taken", "sender")?,
            recipient: column(row, "taken", "recipient")?,
            problem: column(row, "taken", "problem")?,
            delivered: column::<Option<i64>>(row, "taken", "delivered_at_ms")?.is_some(),
        })
    };
    let rows = tx.all(query(OUTCOMES).bind(after.to_vec()).bind(STEP)).await?;
    rows.iter().map(read).collect()
}

const STOPS: &str = "SELECT slip_id, said_by FROM stop ORDER BY slip_id, said_by LIMIT 1000000";
const SLIPS: &str =
    "SELECT slip_id, sender, recipient, expires_at_ms, stop_hash FROM slip ORDER BY slip_id LIMIT 1000000";
const PAIRS: &str =
    "SELECT sender, recipient, number, envelope_hash FROM pair ORDER BY sender, recipient LIMIT 1000000";

/// Each stop: the slip, and who said it (nobody's name where the stop secret did).
pub async fn stops(tx: &mut Tx) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
    let read = |row: &Row| Ok((column(row, "stop", "slip_id")?, column(row, "stop", "said_by")?));
    tx.all(query(STOPS)).await?.iter().map(read).collect()
}

/// A slip as the gate has seen it.
#[derive(Clone, Debug)]
pub struct Slip {
    /// Its id.
    pub slip_id: Vec<u8>,
    /// Its capturing member.
    pub sender: String,
    /// The other one.
    pub recipient: String,
    /// When it ends.
    pub expires_at_ms: i64,
    /// The hash of what stops it.
    pub stop_hash: Vec<u8>,
}

/// Every slip.
pub async fn slips(tx: &mut Tx) -> Result<Vec<Slip>, StoreError> {
    let read = |row: &Row| {
        Ok(Slip {
            slip_id: column(row, "slip", "slip_id")?,
            sender: column(row, "slip", "sender")?,
            recipient: column(row, "slip", "recipient")?,
            expires_at_ms: column(row, "slip", "expires_at_ms")?,
            stop_hash: column(row, "slip", "stop_hash")?,
        })
    };
    tx.all(query(SLIPS)).await?.iter().map(read).collect()
}

/// The last position of a pair: sender, recipient, number, hash.
pub type Position = (String, String, i64, Vec<u8>);

/// The last position of every pair.
pub async fn pairs(tx: &mut Tx) -> Result<Vec<Position>, StoreError> {
    let read = |row: &Row| {
        Ok((
            column(row, "pair", "sender")?,
            column(row, "pair", "recipient")?,
            column(row, "pair", "number")?,
            column(row, "pair", "envelope_hash")?,
        ))
    };
    tx.all(query(PAIRS)).await?.iter().map(read).collect()
}

const WAITING: &str = "SELECT envelope_id, envelope_hash FROM mailbox ORDER BY position LIMIT 1000000";

/// What waits in mailboxes: id and hash.
pub async fn waiting(tx: &mut Tx) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let read = |row: &Row| {
        let id = column(row, "mailbox", "envelope_id")?;
        Ok((id, column(row, "mailbox", "envelope_hash")?))
    };
    tx.all(query(WAITING)).await?.iter().map(read).collect()
}

/// Every member's row.
pub async fn members(tx: &mut Tx) -> Result<Vec<MemberRow>, StoreError> {
    member::changed_after(tx, i64::MIN, crate::limits::MEMBERS_MAX + 1).await
}
