//! Slips as the link finds and changes them: held ones for what arrives, stops, how far withdrawals got.
//! Called by receiving and settling, and by the link for the stops that wait. Rows are put in by `slip`.
//! Never brings an ended slip back.

use kith_proto::id::{HoldingId, OrgId, SlipId};
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::holding::{self, Holding};
use super::slip::SlipStanding;
use super::{id, word};

const TABLE: &str = "slip";

/// A slip that is held, with the keys of what is held under it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The slip.
    pub slip_id: SlipId,
    /// Whether this node captured it.
    pub captured: bool,
    /// The other member.
    pub peer: OrgId,
    /// The signed bytes.
    pub slip: Vec<u8>,
    /// Their signature.
    pub signature: Vec<u8>,
    /// Whether it was taken back.
    pub withdrawn: bool,
    /// What is held under it.
    pub holding: Holding,
}

static HELD: InList = InList::new(
    "SELECT slip.slip_id AS slip_id, side, peer, slip, signature, state, holding.holding_id AS holding_id, kind, epoch, \
     wrapped_key, category_keys, destroyed_at_ms FROM slip JOIN holding ON holding.holding_id = slip.holding_id \
     WHERE slip.slip_id IN",
    0,
    "",
);

/// Those of these slips that are held, in no order.
pub async fn held(tx: &mut Tx, ids: &[SlipId]) -> Result<Vec<Held>, StoreError> {
    let rows = HELD
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let read = |row: &Row| {
        let (side, state): (&str, &str) = (column(row, TABLE, "side")?, column(row, TABLE, "state")?);
        Ok(Held {
            slip_id: id(row, TABLE, "slip_id")?,
            captured: side == "captured",
            peer: word(row, TABLE, "peer")?,
            slip: column(row, TABLE, "slip")?,
            signature: column(row, TABLE, "signature")?,
            withdrawn: state == "withdrawn",
            holding: holding::read(row)?,
        })
    };
    rows.iter().map(read).collect()
}

static STANDING: InList = InList::new(
    "SELECT slip_id, state, holding_id FROM slip WHERE slip_id IN",
    0,
    "",
);

/// Where these slips stand and what is held under them, in no order; true until the commit under the counters' lock.
pub async fn standing(
    tx: &mut Tx,
    ids: &[SlipId],
) -> Result<Vec<(SlipId, SlipStanding, HoldingId)>, StoreError> {
    let rows = STANDING
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let read = |row: &Row| {
        Ok((
            id(row, TABLE, "slip_id")?,
            word(row, TABLE, "state")?,
            id(row, TABLE, "holding_id")?,
        ))
    };
    rows.iter().map(read).collect()
}

const STOPS: &str =
    "SELECT slip_id, ended_at_ms FROM slip WHERE stop_state = 'pending' ORDER BY slip_id LIMIT $1";

/// Slips that the gateway is still to stop, with the time of their withdrawal.
pub async fn stops(tx: &mut Tx, limit: i64) -> Result<Vec<(SlipId, i64)>, StoreError> {
    let read = |row: &Row| {
        let ended_at_ms: Option<i64> = column(row, TABLE, "ended_at_ms")?;
        Ok((id(row, TABLE, "slip_id")?, ended_at_ms.unwrap_or_default()))
    };
    tx.all(query(STOPS).bind(limit)).await?.iter().map(read).collect()
}

static STOPPED: InList = InList::new("UPDATE slip SET stop_state = 'done' WHERE slip_id IN", 0, "");

/// The gateway has stopped these slips.
pub async fn stopped(tx: &mut Tx, ids: &[SlipId]) -> Result<(), StoreError> {
    STOPPED
        .run(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await
        .map(drop)
}

const STOPS_AGAIN: &str = "UPDATE slip SET stop_state = 'pending' WHERE stop_state = 'done' AND state = 'withdrawn' \
     AND ended_at_ms >= $1";

/// Has the gateway told again of every stop since a time, whoever said it first: for a gateway that came back from a backup of before.
/// Says how many; the link tells them at its next look.
pub async fn stops_again(tx: &mut Tx, since_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(STOPS_AGAIN).bind(since_ms)).await
}

static SENT: InList = InList::new(
    "UPDATE slip SET withdrawal_sent_at_ms = COALESCE(withdrawal_sent_at_ms, $1) WHERE slip_id IN",
    1,
    "",
);
static REACHED: InList = InList::new(
    "UPDATE slip SET withdrawal_reached_at_ms = COALESCE(withdrawal_reached_at_ms, $1) WHERE slip_id IN",
    1,
    "",
);

/// The gateway took the withdrawals of these slips.
pub async fn withdrawal_sent(tx: &mut Tx, ids: &[SlipId], at_ms: i64) -> Result<(), StoreError> {
    SENT.run(tx, ids, |q| q.bind(at_ms), |q, id| q.bind(id.as_bytes().to_vec()))
        .await
        .map(drop)
}

/// The recipient took the withdrawals of these slips.
pub async fn withdrawal_reached(tx: &mut Tx, ids: &[SlipId], at_ms: i64) -> Result<(), StoreError> {
    REACHED
        .run(tx, ids, |q| q.bind(at_ms), |q, id| q.bind(id.as_bytes().to_vec()))
        .await
        .map(drop)
}

const PROOF: &str = "UPDATE slip SET proof = $1, withdrawal_reached_at_ms = COALESCE(withdrawal_reached_at_ms, $5) WHERE slip_id = $2 AND withdrawal_id = $3 AND peer = $4 \
     AND side = 'captured'";

/// A withdrawal that this node had asked for after its backup, as its recipient proves it.
pub struct Forgotten<'a> {
    /// The slip.
    pub slip_id: &'a SlipId,
    /// Its recipient.
    pub peer: &'a OrgId,
    /// The withdrawal.
    pub withdrawal_id: &'a [u8; 16],
    /// When the recipient did it.
    pub at_ms: i64,
    /// Whether it took a part away, or all.
    pub narrowed: bool,
    /// What the recipient says.
    pub proof: Vec<u8>,
}

const REMEMBER: &str = "UPDATE slip SET withdrawal_id = $1, withdrawal_sent_at_ms = $2, withdrawal_reached_at_ms = $2, proof = $3 \
     WHERE slip_id = $4 AND peer = $5 AND side = 'captured' AND state = $6 AND proof IS NULL";

/// Writes down a withdrawal that was forgotten, with its proof; says whether the slip is one of this node that it fits.
pub async fn remember(tx: &mut Tx, one: Forgotten<'_>) -> Result<bool, StoreError> {
    let state = if one.narrowed { "live" } else { "withdrawn" };
    let put = query(REMEMBER)
        .bind(one.withdrawal_id.to_vec())
        .bind(one.at_ms)
        .bind(one.proof)
        .bind(one.slip_id.as_bytes().to_vec());
    let put = put.bind(one.peer.to_string()).bind(state);
    Ok(tx.run(put).await? == 1)
}

/// Writes down what the recipient says it did; says whether it was asked to. A later proof takes an earlier one's place. What is proved
/// has reached it, though its receipt may have been lost with a disk.
pub async fn put_proof(
    tx: &mut Tx,
    slip_id: &SlipId,
    peer: &OrgId,
    withdrawal_id: &[u8; 16],
    (proof, at_ms): (Vec<u8>, i64),
) -> Result<bool, StoreError> {
    let put = query(PROOF)
        .bind(proof)
        .bind(slip_id.as_bytes().to_vec())
        .bind(withdrawal_id.to_vec());
    let put = put.bind(peer.to_string()).bind(at_ms);
    Ok(tx.run(put).await? == 1)
}
