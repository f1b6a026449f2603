//! What taking consent back changes in the store: slips, grants, what waits in the outbox. Called by `withdrawals`, and by
//! the timers for what ran out.
//! Never brings an ended slip back, never withholds what only ends things (withdrawals, proofs, bare events).

use kith_proto::envelope::Head;
use kith_proto::id::{GrantId, SlipId, WithdrawalId};
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{InList, Row, StoreError, Tx, column, query};
use prost::Message as _;

use super::{id, word};

/// Slips of one grant that are read at once; a grant has one for each recipient.
const SLIPS_MAX: i64 = 256;

const WITHDRAW: &str = "UPDATE slip SET state = 'withdrawn', ended_at_ms = $1, withdrawal_id = $2, \
     withdrawal_sent_at_ms = NULL, withdrawal_reached_at_ms = NULL, proof = NULL \
     WHERE slip_id = $3 AND state IN ('live', 'expired')";

/// Ends a slip for good; says whether it had not ended so before.
pub async fn withdraw(
    tx: &mut Tx,
    slip_id: &SlipId,
    withdrawal_id: &WithdrawalId,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let asked = query(WITHDRAW)
        .bind(now_ms)
        .bind(withdrawal_id.as_bytes().to_vec());
    Ok(tx.run(asked.bind(slip_id.as_bytes().to_vec())).await? == 1)
}

const STOP_PENDING: &str = "UPDATE slip SET stop_state = 'pending' WHERE slip_id = $1 AND side = 'captured' \
     AND stop_state = 'none'";

/// Notes that the gateway is to be told to stop a slip, if it was captured here: only its capturing member can.
pub async fn stop_pending(tx: &mut Tx, slip_id: &SlipId) -> Result<(), StoreError> {
    tx.run(query(STOP_PENDING).bind(slip_id.as_bytes().to_vec()))
        .await
        .map(drop)
}

const NARROW: &str = "UPDATE slip SET withdrawal_id = $1, withdrawal_sent_at_ms = NULL, withdrawal_reached_at_ms = NULL, \
     proof = NULL WHERE slip_id = $2 AND state = 'live'";

/// Notes that a live slip's recipient is to be told of fewer categories; says whether it is live.
pub async fn narrow(tx: &mut Tx, slip_id: &SlipId, withdrawal_id: &WithdrawalId) -> Result<bool, StoreError> {
    let asked = query(NARROW)
        .bind(withdrawal_id.as_bytes().to_vec())
        .bind(slip_id.as_bytes().to_vec());
    Ok(tx.run(asked).await? == 1)
}

const END_GRANT: &str = "UPDATE grant_record SET state = 'withdrawn', ended_at_ms = $1 \
     WHERE grant_id = (SELECT grant_id FROM slip WHERE slip_id = $2) AND state IN ('live', 'expired') \
     AND NOT EXISTS (SELECT 1 FROM slip WHERE slip.grant_id = grant_record.grant_id AND slip.state <> 'withdrawn')";

/// Ends the grant of a slip that was captured here, once none of its slips stands.
pub async fn end_grant_of(tx: &mut Tx, slip_id: &SlipId, now_ms: i64) -> Result<(), StoreError> {
    tx.run(query(END_GRANT).bind(now_ms).bind(slip_id.as_bytes().to_vec()))
        .await
        .map(drop)
}

const INVALIDATE: &str = "UPDATE grant_record SET state = 'invalidated' WHERE grant_id = $1 AND state = 'withdrawn' AND ended_at_ms = $2";

/// Notes of a grant that ended in this transaction that it had been recorded wrongly.
pub async fn invalidate(tx: &mut Tx, grant_id: &GrantId, now_ms: i64) -> Result<(), StoreError> {
    tx.run(query(INVALIDATE).bind(grant_id.as_bytes().to_vec()).bind(now_ms))
        .await
        .map(drop)
}

/// An envelope of a slip in the outbox.
pub struct Waiting {
    /// Its place.
    pub seq: i64,
    /// What it carries.
    pub kind: EnvelopeKind,
    /// Its clear head, where its bytes are still there.
    pub head: Option<Head>,
}

impl Waiting {
    /// Whether it only ends things, and so passes under any slip.
    pub fn always_passes(&self) -> bool {
        match self.kind {
            EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof => true,
            EnvelopeKind::Event => self.head.as_ref().is_some_and(|head| head.categories.is_empty()),
            _ => false,
        }
    }
}

const QUEUED: &str = "SELECT o.seq, o.kind, e.envelope FROM outbox o LEFT JOIN outbox_envelope e ON e.seq = o.seq \
     WHERE o.slip_id = $1 AND o.state = 'queued' AND o.seq > $2 ORDER BY o.seq LIMIT $3";
const ANSWERED: &str = "SELECT o.seq, o.kind, e.envelope FROM outbox o JOIN outbox_envelope e ON e.seq = o.seq \
     WHERE o.slip_id = $1 AND o.state IN ('taken', 'delivered', 'refused') AND o.seq > $2 ORDER BY o.seq LIMIT $3";
/// Envelopes read at once; each may have 1 MiB.
const QUEUED_ROWS: i64 = 16;

/// Every envelope of a slip that is still queued, by its place; no bodies are kept of what is read.
pub async fn queued(tx: &mut Tx, slip_id: &SlipId) -> Result<Vec<Waiting>, StoreError> {
    read_all(tx, slip_id, QUEUED).await
}

/// Every envelope of a slip that has its answer and is still kept, by its place.
pub async fn answered(tx: &mut Tx, slip_id: &SlipId) -> Result<Vec<Waiting>, StoreError> {
    read_all(tx, slip_id, ANSWERED).await
}

async fn read_all(tx: &mut Tx, slip_id: &SlipId, text: &'static str) -> Result<Vec<Waiting>, StoreError> {
    let mut all: Vec<Waiting> = Vec::new();
    loop {
        let after = all.last().map_or(-1, |last| last.seq);
        let asked = query(text)
            .bind(slip_id.as_bytes().to_vec())
            .bind(after)
            .bind(QUEUED_ROWS);
        let rows = tx.all(asked).await?;
        for row in &rows {
            all.push(waiting(row)?);
        }
        if (rows.len() as i64) < QUEUED_ROWS {
            return Ok(all);
        }
    }
}

fn waiting(row: &Row) -> Result<Waiting, StoreError> {
    let corrupt = StoreError::Corrupt {
        table: "outbox_envelope",
        column: "envelope",
    };
    let envelope: Option<Vec<u8>> = column(row, "outbox_envelope", "envelope")?;
    let head = match envelope {
        None => None,
        Some(bytes) => {
            let envelope = v1::Envelope::decode(bytes.as_slice()).map_err(|_| corrupt.clone())?;
            Some(Head::parse(&envelope.head).map_err(|_| corrupt)?)
        }
    };
    Ok(Waiting {
        seq: column(row, "outbox", "seq")?,
        kind: word(row, "outbox", "kind")?,
        head,
    })
}

static WITHHOLD: InList = InList::new(
    "UPDATE outbox SET state = 'withheld', problem = $1 WHERE state = 'queued' AND seq IN",
    1,
    "",
);
static FORGET: InList = InList::new("DELETE FROM outbox_envelope WHERE seq IN", 0, "");

/// Withholds queued envelopes for this problem and erases their bytes; their lines stay, so that the order has no gap.
pub async fn withhold(tx: &mut Tx, seqs: &[i64], problem: &'static str) -> Result<u64, StoreError> {
    let withheld = WITHHOLD
        .run(tx, seqs, |q| q.bind(problem), |q, seq| q.bind(*seq))
        .await?;
    FORGET.run(tx, seqs, |q| q, |q, seq| q.bind(*seq)).await?;
    Ok(withheld)
}

const FORGET_TAKEN: &str = "DELETE FROM outbox_envelope WHERE seq IN (SELECT seq FROM outbox WHERE slip_id = $1 \
     AND state IN ('taken', 'delivered', 'refused'))";

/// Erases the bytes of a slip's envelopes that have their answer already: none of them may be offered again.
pub async fn forget_taken(tx: &mut Tx, slip_id: &SlipId) -> Result<(), StoreError> {
    tx.run(query(FORGET_TAKEN).bind(slip_id.as_bytes().to_vec()))
        .await
        .map(drop)
}

/// How far a withdrawal got at one recipient.
pub struct Reached {
    /// The recipient.
    pub recipient: String,
    /// Its slip.
    pub slip_id: SlipId,
    /// When the gateway took the withdrawal.
    pub sent_at_ms: Option<i64>,
    /// When the recipient's node took it.
    pub reached_at_ms: Option<i64>,
    /// What the recipient did, once it has said so.
    pub proof: Option<v1::WithdrawalProof>,
}

const REACHED: &str = "SELECT peer, slip_id, withdrawal_sent_at_ms, withdrawal_reached_at_ms, proof FROM slip \
     WHERE grant_id = $1 AND side = 'captured' ORDER BY peer, issued_at_ms, slip_id LIMIT $2";

/// Every recipient of a grant, by its id.
pub async fn reached(tx: &mut Tx, grant_id: &GrantId) -> Result<Vec<Reached>, StoreError> {
    let rows = tx
        .all(query(REACHED).bind(grant_id.as_bytes().to_vec()).bind(SLIPS_MAX))
        .await?;
    let corrupt = || StoreError::Corrupt {
        table: "slip",
        column: "proof",
    };
    let reached = |row: &Row| {
        let proof: Option<Vec<u8>> = column(row, "slip", "proof")?;
        let decode = |bytes: Vec<u8>| v1::WithdrawalProof::decode(bytes.as_slice()).map_err(|_| corrupt());
        Ok(Reached {
            recipient: column(row, "slip", "peer")?,
            slip_id: id(row, "slip", "slip_id")?,
            sent_at_ms: column(row, "slip", "withdrawal_sent_at_ms")?,
            reached_at_ms: column(row, "slip", "withdrawal_reached_at_ms")?,
            proof: proof.map(decode).transpose()?,
        })
    };
    rows.iter().map(reached).collect()
}
