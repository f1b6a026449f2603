//! Sending again what a member, or the gateway, has lost: pairs go back to an earlier position, and rows that had their answer are
//! read by the link once more. Called inside the transaction of settling, and when a stream opens.
//! Never gives a line another number than it had, but in a run or behind a hole, where it has a new place as well: a line that is to be offered again keeps it below zero until it is answered again.

use kith_proto::id::OrgId;
use kith_proto::order::{self, Position, RUN_LINES, Stretch};
use kith_service::store::{Row, StoreError, Tx, bytes, column, query};

use super::counter::Counter;
use super::stored;

const TABLE: &str = "outbox";

const RETURNING: &str = "INSERT INTO returning_to (peer, restore_id, since_ms, asked_at_ms) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (peer, restore_id) DO NOTHING";

const SINCE: &str = "SELECT CAST(MIN(since_ms) AS BIGINT) AS since_ms FROM returning_to WHERE peer = $1 AND done_at_ms IS NULL";
const CLOSE: &str =
    "UPDATE returning_to SET done_at_ms = $1 WHERE peer = $2 AND restore_id <> $3 AND done_at_ms IS NULL";

/// Notes that a member came back, so that the standing of its threads is returned; says whether that was not noted before. It takes
/// the place of an earlier coming back for which something is still to be returned: that one is over, and what it lacked is returned now.
pub async fn returning(
    tx: &mut Tx,
    peer: &OrgId,
    restore_id: &[u8; 16],
    (since_ms, asked_at_ms): (i64, i64),
) -> Result<bool, StoreError> {
    let open = tx.one(query(SINCE).bind(peer.to_string())).await?;
    let earlier_ms: Option<i64> = open.map_or(Ok(None), |row| column(&row, "returning_to", "since_ms"))?;
    let insert = query(RETURNING)
        .bind(peer.to_string())
        .bind(restore_id.to_vec())
        .bind(earlier_ms.map_or(since_ms, |earlier_ms| earlier_ms.min(since_ms)))
        .bind(asked_at_ms);
    if tx.run(insert).await? == 0 {
        return Ok(false);
    }
    let close = query(CLOSE).bind(asked_at_ms).bind(peer.to_string());
    tx.run(close.bind(restore_id.to_vec())).await?;
    Ok(true)
}

const FOLLOWED: &str = "SELECT since_ms FROM returning_to WHERE peer = $1 AND restore_id = $2";

/// Whether a member's restore was noted before.
pub async fn is_followed(tx: &mut Tx, peer: &OrgId, restore_id: &[u8; 16]) -> Result<bool, StoreError> {
    let select = query(FOLLOWED).bind(peer.to_string()).bind(restore_id.to_vec());
    Ok(tx.one(select).await?.is_some())
}

/// What came of going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewound {
    /// What follows is sent again. The gateway had taken what stands at the position at this time; 0 at the start.
    To {
        /// ms UTC.
        taken_at_ms: i64,
    },
    /// The pair had not come further.
    Nothing,
    /// Another envelope stands at the position: two histories.
    Unlike,
    /// What follows the position is not kept any more, or a part of it is not.
    TooOld,
}

const LINE: &str = "SELECT envelope_hash, taken_at_ms FROM outbox WHERE peer = $1 AND ordered = 1 AND (number = $2 OR number = $3)";

/// The hash at a number of a pair, and when it was taken.
async fn line(tx: &mut Tx, peer: &OrgId, number: u64) -> Result<Option<([u8; 32], i64)>, StoreError> {
    let number = stored(number);
    let select = query(LINE).bind(peer.to_string()).bind(number);
    let Some(row) = tx.one(select.bind(number.saturating_neg())).await? else {
        return Ok(None);
    };
    let taken_at_ms: Option<i64> = column(&row, TABLE, "taken_at_ms")?;
    Ok(Some((
        bytes(&row, TABLE, "envelope_hash")?,
        taken_at_ms.unwrap_or_default(),
    )))
}

const LAST: &str = "SELECT number FROM pair_sent WHERE peer = $1";
// The numbers of a run are those between two multiples of `order::RUN_LINES`.
const KEPT: &str = "SELECT MIN(number) AS first_number, MAX(number) AS last_number, CAST(COUNT(*) AS BIGINT) AS n FROM outbox \
     WHERE peer = $1 AND ordered = 1 AND number > $2 AND number <= $3 GROUP BY number / $4 ORDER BY 1";
const LINES: &str = "UPDATE outbox SET number = 0 - number WHERE peer = $1 AND ordered = 1 AND number > $2";
const POSITION: &str = "UPDATE pair_sent SET number = $1, envelope_hash = $2 WHERE peer = $3";

/// Takes a pair back to a position that it had, so that what follows is sent again under the same numbers and hashes.
pub async fn rewind(tx: &mut Tx, peer: &OrgId, to: Position) -> Result<Rewound, StoreError> {
    let last = last(tx, peer).await?;
    if last <= stored(to.number()) {
        return Ok(Rewound::Nothing);
    }
    let here = line(tx, peer, to.number()).await?;
    if to.number() > 0 && here.is_some_and(|(hash, _)| to.hash() != Some(hash)) {
        return Ok(Rewound::Unlike);
    }
    // All of it or nothing: behind a hole the pair could not go on.
    if !is_kept(tx, peer, (to.number(), last.unsigned_abs())).await? {
        return Ok(Rewound::TooOld);
    }
    tx.run(query(LINES).bind(peer.to_string()).bind(stored(to.number())))
        .await?;
    let position = query(POSITION)
        .bind(stored(to.number()))
        .bind(to.hash().unwrap_or_default().to_vec());
    tx.run(position.bind(peer.to_string())).await?;
    Ok(Rewound::To {
        taken_at_ms: here.map_or(0, |(_, at_ms)| at_ms),
    })
}

const BELOW_ZERO: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM outbox WHERE peer = $1 AND ordered = 1 AND number < 0";

/// Whether what follows a position can be offered again under the numbers that it had, or was: it is on its way, or all of it is kept.
pub async fn offers(tx: &mut Tx, peer: &OrgId, held: Position) -> Result<bool, StoreError> {
    let last = last(tx, peer).await?;
    if last > stored(held.number()) {
        return is_kept(tx, peer, (held.number(), last.unsigned_abs())).await;
    }
    let count: i64 = match tx.one(query(BELOW_ZERO).bind(peer.to_string())).await? {
        Some(row) => column(&row, TABLE, "n")?,
        None => 0,
    };
    Ok(count > 0)
}

/// The last number of a pair that was answered; 0 before the first.
async fn last(tx: &mut Tx, peer: &OrgId) -> Result<i64, StoreError> {
    match tx.one(query(LAST).bind(peer.to_string())).await? {
        Some(row) => column(&row, "pair_sent", "number"),
        None => Ok(0),
    }
}

/// Whether everything behind a number, up to the last, is kept.
async fn is_kept(tx: &mut Tx, peer: &OrgId, (to, last): (u64, u64)) -> Result<bool, StoreError> {
    let kept = query(KEPT).bind(peer.to_string()).bind(stored(to));
    let kept = tx.all(kept.bind(stored(last)).bind(stored(RUN_LINES))).await?;
    let read = |row: &Row| {
        let of = |name| column::<i64>(row, TABLE, name).map(i64::unsigned_abs);
        Ok(Stretch {
            first: of("first_number")?,
            last: of("last_number")?,
            count: of("n")?,
        })
    };
    let kept: Vec<Stretch> = kept.iter().map(read).collect::<Result<_, StoreError>>()?;
    Ok(order::is_whole((to, last), &kept))
}

const IN_RUN: &str = "UPDATE outbox SET number = NULL WHERE peer = $1 AND ordered = 1 \
     AND ((number > $2 AND number <= $3) OR (number < 0 - $2 AND 0 - number <= $3))";
const ANSWERED: &str = "UPDATE outbox SET number = 0 - number WHERE peer = $1 AND ordered = 1 AND number < 0 AND 0 - number <= $2";

/// What the gateway does not hold, from before a run of this node's numbers, gets new ones in the run. What it holds has its answer, also
/// where it was to be offered again: whoever lacks it asks a gateway that came back for it once more.
pub async fn in_run(tx: &mut Tx, peer: &OrgId, theirs: Position, start: Position) -> Result<(), StoreError> {
    let theirs = stored(theirs.number());
    let again = query(IN_RUN).bind(peer.to_string()).bind(theirs);
    tx.run(again.bind(stored(start.number()))).await?;
    let answered = query(ANSWERED).bind(peer.to_string()).bind(theirs);
    tx.run(answered).await.map(drop)
}

const BEHIND: &str = "SELECT CAST(MIN(seq) AS BIGINT) AS first_seq, CAST(MAX(seq) AS BIGINT) AS last_seq FROM outbox \
     WHERE peer = $1 AND ordered = 1 AND number > $2 AND seq IN (SELECT seq FROM outbox_envelope)";
const MOVE_ENVELOPES: &str = "UPDATE outbox_envelope SET seq = seq + $3 WHERE seq IN \
     (SELECT seq FROM outbox WHERE peer = $1 AND ordered = 1 AND number > $2)";
// Their envelopes have moved already. A line in front of them all has none; the place that it would come to may be another's.
const MOVE: &str = "UPDATE outbox SET seq = seq + $3, number = NULL WHERE peer = $1 AND ordered = 1 AND number > $2 AND seq >= $4 \
     AND seq + $3 IN (SELECT seq FROM outbox_envelope)";
const HIGHEST: &str = "SELECT number, envelope_hash FROM outbox WHERE peer = $1 AND ordered = 1 AND number < 0 ORDER BY number LIMIT 1";
const FORWARD: &str = "UPDATE outbox SET number = 0 - number WHERE peer = $1 AND ordered = 1 AND number < 0";

/// Ends a going back that is not over: its lines have their answers again. They are offered by what comes in its place.
async fn forward(tx: &mut Tx, peer: &OrgId) -> Result<(), StoreError> {
    let Some(row) = tx.one(query(HIGHEST).bind(peer.to_string())).await? else {
        return Ok(());
    };
    let number: i64 = column(&row, TABLE, "number")?;
    let hash: [u8; 32] = bytes(&row, TABLE, "envelope_hash")?;
    let position = query(POSITION).bind(number.saturating_neg()).bind(hash.to_vec());
    tx.run(position.bind(peer.to_string())).await?;
    tx.run(query(FORWARD).bind(peer.to_string())).await.map(drop)
}

/// Has what is kept behind a position sent again under new numbers: where the pair cannot go back over a hole. Whoever holds one of them knows it by its
/// id. Their places are behind everything in the outbox: what waits for its answer may have the next number at the gateway already, and the order
/// of places stays the order of numbers. Says how many.
pub async fn anew(
    tx: &mut Tx,
    counter: &mut Counter,
    peer: &OrgId,
    held: Position,
) -> Result<u64, StoreError> {
    forward(tx, peer).await?;
    let of_pair = |text| query(text).bind(peer.to_string()).bind(stored(held.number()));
    let Some(row) = tx.one(of_pair(BEHIND)).await? else {
        return Ok(0);
    };
    let of = |name| column::<Option<i64>>(&row, TABLE, name);
    let (Some(first), Some(last)) = (of("first_seq")?, of("last_seq")?) else {
        return Ok(0);
    };
    let by = counter.skip_outbox(first, last);
    tx.run(of_pair(MOVE_ENVELOPES).bind(by)).await?;
    tx.run(of_pair(MOVE).bind(by).bind(first)).await
}

const LOOSE: &str = "UPDATE outbox SET state = 'queued', number = CASE WHEN state = 'delivered' THEN -1 ELSE number END WHERE peer = $1 AND ordered = 0 AND state IN ('taken', 'delivered') \
     AND taken_at_ms >= $2 AND seq IN (SELECT seq FROM outbox_envelope)";

/// Sends again what stands outside the order, was taken since a time, and is still there. Threads stay where they are. What was delivered has
/// -1 for its number, which it has none of, and is delivered once more when it is answered: no receipt comes of what the gateway knows to
/// be delivered.
pub async fn loose(tx: &mut Tx, peer: &OrgId, since_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(LOOSE).bind(peer.to_string()).bind(since_ms)).await
}

const ALL_LOOSE: &str = "UPDATE outbox SET state = 'queued', number = CASE WHEN state = 'delivered' THEN -1 ELSE number END WHERE ordered = 0 AND state IN ('taken', 'delivered') \
     AND taken_at_ms >= $1 AND seq IN (SELECT seq FROM outbox_envelope)";

/// As [`loose`], for every member: for a gateway that came back from a backup of before that time.
pub async fn all_loose(tx: &mut Tx, since_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(ALL_LOOSE).bind(since_ms)).await
}
