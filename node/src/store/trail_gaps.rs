//! What the check for gaps holds the trail against: ended slips, deliveries and withdrawals, by their tables and by the index.
//! Called by `trail` alone. Never reads a sealed column, never changes a row.

use kith_proto::id::{EnvelopeId, SlipId, ThreadId};
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::{From16, id};

/// Most rows that one of these statements gives; the newest where there are more.
const ROWS_MAX: i64 = 100_000;

/// A thread whose slip has ended.
pub(crate) struct Ended {
    pub(crate) thread: ThreadId,
    pub(crate) slip: SlipId,
    pub(crate) ended_at_ms: i64,
}

const ENDED: &str = "SELECT referral.thread_id AS thread_id, slip.slip_id AS slip_id, slip.ended_at_ms AS ended_at_ms \
     FROM referral JOIN slip ON slip.slip_id = referral.slip_id WHERE slip.ended_at_ms IS NOT NULL \
     ORDER BY slip.ended_at_ms DESC LIMIT $1";

/// Threads whose slip has ended, the newest endings first.
pub(crate) async fn ended(tx: &mut Tx) -> Result<Vec<Ended>, StoreError> {
    let read = |row: &Row| {
        Ok(Ended {
            thread: id(row, "referral", "thread_id")?,
            slip: id(row, "slip", "slip_id")?,
            ended_at_ms: column(row, "slip", "ended_at_ms")?,
        })
    };
    let rows = tx.all(query(ENDED).bind(ROWS_MAX)).await?;
    rows.iter().map(read).collect()
}

const STUCK: &str = "SELECT envelope_id AS id FROM referral WHERE side = 'sent' AND delivery = 'taken' AND created_at_ms < $1 \
     ORDER BY arrival DESC LIMIT $2";

/// The envelopes of referrals that the gateway took before this time and of which nothing came back.
pub(crate) async fn stuck(tx: &mut Tx, before_ms: i64) -> Result<Vec<EnvelopeId>, StoreError> {
    let rows = tx.all(query(STUCK).bind(before_ms).bind(ROWS_MAX)).await?;
    ids(&rows, "referral")
}

const DELIVERED: &str = "SELECT thread_id AS id FROM referral WHERE side = 'sent' AND delivery = 'delivered' AND created_at_ms < $1 \
     ORDER BY arrival DESC LIMIT $2";

/// The threads from before a time that this node says were delivered, the newest first.
pub(crate) async fn delivered(tx: &mut Tx, before_ms: i64, limit: i64) -> Result<Vec<ThreadId>, StoreError> {
    let rows = tx.all(query(DELIVERED).bind(before_ms).bind(limit)).await?;
    ids(&rows, "referral")
}

const UNPROVED: &str = "SELECT slip_id AS id FROM slip WHERE side = 'captured' AND state = 'withdrawn' AND proof IS NULL \
     AND ended_at_ms < $1 ORDER BY ended_at_ms DESC LIMIT $2";

/// Slips that were withdrawn before this time and of which the other side has proved nothing, the newest first.
pub(crate) async fn unproved(tx: &mut Tx, before_ms: i64) -> Result<Vec<SlipId>, StoreError> {
    let rows = tx.all(query(UNPROVED).bind(before_ms).bind(ROWS_MAX)).await?;
    ids(&rows, "slip")
}

static WITH_CODE: InList = InList::new(
    "SELECT log_index.found_by AS found_by, log_index.seq AS seq FROM log_index WHERE log_index.found_by IN",
    3,
    "AND EXISTS (SELECT 1 FROM log_index AS other WHERE other.found_by IN ($1, $2, $3) AND other.seq = log_index.seq)",
);

/// Of the events that these keys lead to, those that one of three others leads to as well: key and number, in no order.
pub(crate) async fn found_by_both(
    tx: &mut Tx,
    keys: &[i64],
    [a, b, c]: [i64; 3],
) -> Result<Vec<(i64, i64)>, StoreError> {
    let rows = WITH_CODE.all(tx, keys, |q| q.bind(a).bind(b).bind(c), |q, key| q.bind(*key));
    let read = |row: &Row| {
        Ok((
            column(row, "log_index", "found_by")?,
            column(row, "log_index", "seq")?,
        ))
    };
    rows.await?.iter().map(read).collect()
}

fn ids<T: From16>(rows: &[Row], table: &'static str) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| id(row, table, "id")).collect()
}
