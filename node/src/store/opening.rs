//! Rows of `opening_to_report` and `opening_reported`: who opened, here and at recipients, what is held under slips of another member.
//! Called by `access`, receiving, the timers and wherever a slip ends.
//! Never holds a name or a token; never gives an opening twice.

use kith_proto::id::{EnvelopeId, SlipId, ThreadId};
use kith_service::store::{InList, Insert, Row, StoreError, Tx, column, query};

use super::{id, word};
use crate::access::{Opening, Report};

const TO_REPORT: &str = "opening_to_report";
const REPORTED: &str = "opening_reported";

/// An opening here that is still to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToReport {
    /// Its own id, so that two of one hour are two.
    pub opening_id: [u8; 16],
    /// What was opened.
    pub thread_id: ThreadId,
    /// When and why, in which role.
    pub opening: Opening,
}

/// A day of a slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlipDay {
    /// The first millisecond of the day.
    pub day_ms: i64,
    /// The slip.
    pub slip_id: SlipId,
}

const NOTE: &str = "INSERT INTO opening_to_report (day_ms, slip_id, opening_id, thread_id, hour, role, reason) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Notes an opening here.
pub async fn note(tx: &mut Tx, of: &SlipDay, row: &ToReport) -> Result<(), StoreError> {
    let note = query(NOTE)
        .bind(of.day_ms)
        .bind(of.slip_id.as_bytes().to_vec())
        .bind(row.opening_id.to_vec())
        .bind(row.thread_id.as_bytes().to_vec());
    let note = note
        .bind(i64::from(row.opening.hour))
        .bind(row.opening.role.as_str())
        .bind(row.opening.reason.as_str());
    tx.run(note).await.map(drop)
}

const DUE: &str = "SELECT DISTINCT day_ms, slip_id FROM opening_to_report \
     WHERE day_ms <= $1 AND (day_ms > $2 OR (day_ms = $2 AND slip_id > $3)) ORDER BY day_ms, slip_id LIMIT $4";

/// Days of slips with something to report that began at `begun_by_ms` at the latest, the oldest first, after this one.
pub async fn due(
    tx: &mut Tx,
    begun_by_ms: i64,
    after: Option<&SlipDay>,
    limit: i64,
) -> Result<Vec<SlipDay>, StoreError> {
    let (day_ms, slip_id) = after.map_or((i64::MIN, Vec::new()), |after| {
        (after.day_ms, after.slip_id.as_bytes().to_vec())
    });
    let asked = query(DUE)
        .bind(begun_by_ms)
        .bind(day_ms)
        .bind(slip_id)
        .bind(limit);
    let read = |row: &Row| {
        Ok(SlipDay {
            day_ms: column(row, TO_REPORT, "day_ms")?,
            slip_id: id(row, TO_REPORT, "slip_id")?,
        })
    };
    tx.all(asked).await?.iter().map(read).collect()
}

const OF_DAY: &str = "SELECT opening_id, thread_id, hour, role, reason FROM opening_to_report \
     WHERE day_ms = $1 AND slip_id = $2 ORDER BY opening_id LIMIT $3";

/// The first openings of a day that are still to be reported.
pub async fn of_day(tx: &mut Tx, of: &SlipDay, limit: usize) -> Result<Vec<ToReport>, StoreError> {
    let asked = query(OF_DAY)
        .bind(of.day_ms)
        .bind(of.slip_id.as_bytes().to_vec())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let read = |row: &Row| {
        Ok(ToReport {
            opening_id: id(row, TO_REPORT, "opening_id")?,
            thread_id: id(row, TO_REPORT, "thread_id")?,
            opening: opening(row, TO_REPORT)?,
        })
    };
    tx.all(asked).await?.iter().map(read).collect()
}

static DONE: InList = InList::new(
    "DELETE FROM opening_to_report WHERE day_ms = $1 AND slip_id = $2 AND opening_id IN",
    2,
    "",
);

/// Deletes openings of a day, as they are in a report now.
pub async fn done(tx: &mut Tx, of: &SlipDay, rows: &[ToReport]) -> Result<(), StoreError> {
    let slip_id = of.slip_id.as_bytes();
    DONE.run(
        tx,
        rows,
        |q| q.bind(of.day_ms).bind(slip_id.to_vec()),
        |q, row| q.bind(row.opening_id.to_vec()),
    )
    .await
    .map(drop)
}

const FORGET: &str = "DELETE FROM opening_to_report WHERE slip_id = $1";

/// Drops everything that is still to be reported of a slip: nothing goes under it any more.
pub async fn forget(tx: &mut Tx, slip_id: &SlipId) -> Result<(), StoreError> {
    tx.run(query(FORGET).bind(slip_id.as_bytes().to_vec()))
        .await
        .map(drop)
}

const OF_SLIP_DAY: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM opening_reported WHERE slip_id = $1 AND day_ms = $2";

/// How many openings of a day were reported of a slip so far.
pub async fn reported(tx: &mut Tx, of: &SlipDay) -> Result<usize, StoreError> {
    let asked = query(OF_SLIP_DAY)
        .bind(of.slip_id.as_bytes().to_vec())
        .bind(of.day_ms);
    let row = tx.one(asked).await?;
    let count: Option<i64> = row.map(|row| column(&row, REPORTED, "n")).transpose()?;
    Ok(usize::try_from(count.unwrap_or_default()).unwrap_or(usize::MAX))
}

static KEEP: Insert = Insert::into(
    "INSERT INTO opening_reported (slip_id, day_ms, envelope_id, place, hour, role, reason)",
    7,
    "ON CONFLICT (slip_id, day_ms, envelope_id, place) DO NOTHING",
);

/// Keeps what a recipient reported of a slip; the same report again changes nothing.
pub async fn keep(
    tx: &mut Tx,
    slip_id: &SlipId,
    envelope_id: &EnvelopeId,
    report: &Report,
) -> Result<(), StoreError> {
    let rows: Vec<(i64, &Opening)> = (0..).zip(&report.openings).collect();
    let kept = KEEP.rows(tx, &rows, |q, (place, opening)| {
        let q = q
            .bind(slip_id.as_bytes().to_vec())
            .bind(report.day_ms)
            .bind(envelope_id.as_bytes().to_vec())
            .bind(*place);
        q.bind(i64::from(opening.hour))
            .bind(opening.role.as_str())
            .bind(opening.reason.as_str())
    });
    kept.await.map(drop)
}

const NEWEST: &str = "SELECT day_ms, hour, role, reason FROM opening_reported WHERE slip_id = $1 \
     ORDER BY day_ms DESC, hour DESC, envelope_id, place LIMIT $2";

/// The newest openings that were reported of a slip, newest first, each with the first millisecond of its day.
pub async fn newest(tx: &mut Tx, slip_id: &SlipId, limit: i64) -> Result<Vec<(i64, Opening)>, StoreError> {
    let asked = query(NEWEST).bind(slip_id.as_bytes().to_vec()).bind(limit);
    let read = |row: &Row| Ok((column(row, REPORTED, "day_ms")?, opening(row, REPORTED)?));
    tx.all(asked).await?.iter().map(read).collect()
}

fn opening(row: &Row, table: &'static str) -> Result<Opening, StoreError> {
    let hour: i64 = column(row, table, "hour")?;
    Ok(Opening {
        hour: u8::try_from(hour).map_err(|_| StoreError::Corrupt {
            table,
            column: "hour",
        })?,
        role: word(row, table, "role")?,
        reason: word(row, table, "reason")?,
    })
}
