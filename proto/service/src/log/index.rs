//! The index of the trail: by what an event is found (`kith_proto::trail::key`). Filled after the fact, in large steps, because its
//! keys are random and each would dirty a page of its own; trails read the few events behind it themselves.
//! Never the ground for a statement: what is found by it is read and proven.

use super::{Log, LogError, append};
use crate::store::{Insert, StoreError, Tx, column, query};
use kith_proto::trail::event::Told;
use kith_proto::trail::key;

const TABLE: &str = "log_index_end";
/// Events of one step: some 8,000 rows, 20 ms of the store's one writer.
const STEP: i64 = 2048;
/// How far the index may be behind while the server is busy: what a trail reads by itself, in some 15 ms.
pub const BEHIND_MAX: i64 = 4 * STEP;

const END: &str = "SELECT seq FROM log_index_end WHERE id = 1";
const MOVE: &str = "UPDATE log_index_end SET seq = $1 WHERE id = 1 AND seq = $2";

static PUT: Insert = Insert::into(
    "INSERT INTO log_index (found_by, seq)",
    2,
    "ON CONFLICT (found_by, seq) DO NOTHING",
);

/// The last event that is in the index.
pub async fn end(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = tx.one(query(END)).await?;
    let missing = StoreError::Corrupt {
        table: TABLE,
        column: "id",
    };
    column(&row.ok_or(missing)?, TABLE, "seq")
}

/// Brings the index up to the trail, when the server is idle or the index too far behind.
pub async fn follow(log: &Log, idle: bool) -> Result<(), LogError> {
    loop {
        let (end, events) = log
            .store
            .read("read events", |mut tx| async move {
                let end = end(&mut tx).await?;
                Ok::<_, LogError>((end, append::after(&mut tx, end, BEHIND_MAX).await?))
            })
            .await?;
        let behind = i64::try_from(events.len()).unwrap_or(i64::MAX);
        if let Some((expected, _)) = (end + 1..)
            .zip(&events)
            .find(|(expected, event)| event.seq != *expected)
        {
            return Err(LogError::Broken(expected));
        }
        if behind == 0 || (behind < BEHIND_MAX && !idle) {
            return Ok(());
        }
        for part in events.chunks(STEP.unsigned_abs() as usize) {
            let mut rows: Vec<(i64, i64)> = Vec::new();
            for event in part {
                let told = Told::read(&event.preimage).map_err(|_| LogError::Broken(event.seq))?;
                rows.extend(key::keys(&told).into_iter().map(|key| (key, event.seq)));
            }
            // In the order of the keys, so that neighbours share a page.
            rows.sort_unstable();
            let (from, to) = (
                part.first().map_or(end, |e| e.seq - 1),
                part.last().map_or(end, |e| e.seq),
            );
            let rows = &rows;
            let was_first: bool = log
                .store
                .tx("index events", |mut tx| async move {
                    put(&mut tx, rows, (from, to)).await
                })
                .await?;
            if !was_first {
                // Another replica indexes; this one looks again at its next turn.
                return Ok(());
            }
        }
        if behind < BEHIND_MAX {
            return Ok(());
        }
    }
}

/// Puts rows in and moves the end; `false` when another replica was first, which has put the same rows in.
async fn put(tx: &mut Tx, rows: &[(i64, i64)], (from, to): (i64, i64)) -> Result<bool, StoreError> {
    if tx.run(query(MOVE).bind(to).bind(from)).await? == 0 {
        return Ok(false);
    }
    PUT.rows(tx, rows, |query, (key, seq)| query.bind(*key).bind(*seq))
        .await?;
    Ok(true)
}

const FOUND: &str = "SELECT seq FROM log_index WHERE found_by = $1 AND seq < $2 AND seq > $3 \
    ORDER BY seq DESC LIMIT $4";

/// The newest events with this key that lie between the two numbers (exclusive), newest first, at most `limit`.
pub async fn found(
    tx: &mut Tx,
    key: i64,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let found = query(FOUND).bind(key).bind(before).bind(after).bind(limit);
    let rows = tx.all(found).await?;
    rows.iter().map(|row| column(row, "log_index", "seq")).collect()
}

const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM \
    (SELECT seq FROM log_index WHERE found_by = $1 AND seq < $2 AND seq > $3 LIMIT $4) AS found";

/// How many events with this key lie between the two numbers (exclusive); counts no further than `limit`.
pub async fn count(
    tx: &mut Tx,
    key: i64,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<i64, StoreError> {
    let count = query(COUNT).bind(key).bind(before).bind(after).bind(limit);
    let row = tx.one(count).await?;
    row.map_or(Ok(0), |row| column(&row, "log_index", "number"))
}
