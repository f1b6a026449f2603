//! Pairs whose recipient came back from a backup, and what is missing there until their senders have offered it again. Written by
//! `restore`, moved on by the take door, given up by the sweeper; the courier holds back what stands behind.
//! Whoever changes a row, or what waits of its pair, holds the pair's lock.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::OrgId;
use kith_proto::order::{self, Position, RUN_LINES, Stretch};
use kith_service::store::{InList, Insert, Row, StoreError, Tx, WithRows, bytes, column, query};

use super::mailbox;
use super::pair::{Pair, number, of_row, stored};

const TABLE: &str = "reoffer";

/// What is to be offered again of a pair: the numbers from `after` + 1 up to `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReofferRow {
    /// The restore that asks for it.
    pub restore_id: [u8; 16],
    /// The last number that the recipient holds, or that was offered again.
    pub after: u64,
    /// The last number that is missing.
    pub through: u64,
}

static OF: InList = InList::new(
    "SELECT sender, recipient, restore_id, after_number AS number, through FROM reoffer WHERE recipient IN",
    0,
    "",
);

/// What is to be offered again to these recipients.
pub async fn of(
    tx: &mut Tx,
    recipients: &BTreeSet<&OrgId>,
) -> Result<BTreeMap<Pair, ReofferRow>, StoreError> {
    let recipients: Vec<&OrgId> = recipients.iter().copied().collect();
    let rows = OF
        .all(
            tx,
            &recipients,
            |query| query,
            |query, recipient| query.bind(recipient.as_str().to_owned()),
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(Pair, ReofferRow), StoreError> {
    let pair = of_row(row, TABLE)?;
    let through: i64 = column(row, TABLE, "through")?;
    let row = ReofferRow {
        restore_id: bytes(row, TABLE, "restore_id")?,
        after: number(row, TABLE)?,
        through: through.unsigned_abs(),
    };
    Ok((pair, row))
}

static PUT: Insert = Insert::into(
    "INSERT INTO reoffer (sender, recipient, restore_id, after_number, through, since_ms, asked_at_ms, \
     moved_at_ms)",
    8,
    "ON CONFLICT (sender, recipient) DO UPDATE SET restore_id = excluded.restore_id, \
     after_number = excluded.after_number, through = excluded.through, since_ms = excluded.since_ms, \
     asked_at_ms = excluded.asked_at_ms, moved_at_ms = excluded.moved_at_ms",
);

/// Asks for pairs again, in the place of what was asked for before.
pub async fn put(
    tx: &mut Tx,
    rows: &[(Pair, ReofferRow)],
    (since_ms, asked_at_ms): (i64, i64),
) -> Result<(), StoreError> {
    PUT.rows(tx, rows, |query, (pair, row)| {
        query
            .bind(pair.sender.as_str().to_owned())
            .bind(pair.recipient.as_str().to_owned())
            .bind(row.restore_id.to_vec())
            .bind(stored(row.after))
            .bind(stored(row.through))
            .bind(since_ms)
            .bind(asked_at_ms)
            .bind(asked_at_ms)
    })
    .await
    .map(drop)
}

const MOVE: &str =
    "UPDATE reoffer SET after_number = $1, moved_at_ms = $2 WHERE sender = $3 AND recipient = $4";
const REMOVE: &str = "DELETE FROM reoffer WHERE sender = $1 AND recipient = $2";

/// Writes how far a pair came; the row goes with the last number.
pub async fn move_on(tx: &mut Tx, pair: &Pair, row: &ReofferRow, now_ms: i64) -> Result<(), StoreError> {
    if row.after >= row.through {
        return remove(tx, pair).await;
    }
    let update = query(MOVE)
        .bind(stored(row.after))
        .bind(now_ms)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned());
    tx.run(update).await.map(drop)
}

/// Asks no more for a pair.
pub async fn remove(tx: &mut Tx, pair: &Pair) -> Result<(), StoreError> {
    let delete = query(REMOVE)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned());
    tx.run(delete).await.map(drop)
}

const NOTHING: &str =
    "UPDATE reoffer SET asked_at_ms = 0 WHERE sender = $1 AND recipient = $2 AND restore_id = $3";

/// Makes a wish overdue, as its sender has nothing to offer; says whether there is one of this restore.
pub async fn nothing_comes(tx: &mut Tx, pair: &Pair, restore_id: &[u8; 16]) -> Result<bool, StoreError> {
    let update = query(NOTHING)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned())
        .bind(restore_id.to_vec());
    Ok(tx.run(update).await? == 1)
}

const OVERDUE: &str = "SELECT sender, recipient, restore_id, after_number AS number, through FROM reoffer \
     WHERE asked_at_ms <= $1 OR (moved_at_ms <= $2 AND NOT EXISTS (SELECT 1 FROM notice \
     WHERE notice.organisation = reoffer.sender)) ORDER BY sender, recipient LIMIT 1";

/// A pair that was asked for before a time and did not come; or one whose sender has held the wish since another time and offered
/// nothing, so that it has nothing to offer.
pub async fn overdue(
    tx: &mut Tx,
    (asked_ms, moved_ms): (i64, i64),
) -> Result<Option<(Pair, ReofferRow)>, StoreError> {
    let row = tx.one(query(OVERDUE).bind(asked_ms).bind(moved_ms)).await?;
    row.as_ref().map(read).transpose()
}

// The numbers of a run are those between two multiples of `order::RUN_LINES`.
const KNOWN: &str = "SELECT MIN(number) AS first_number, MAX(number) AS last_number, CAST(COUNT(*) AS BIGINT) AS n FROM taken \
     WHERE sender = $1 AND recipient = $2 AND number > $3 AND number <= $4 GROUP BY number / $5 ORDER BY 1";

/// Of which numbers behind the first, up to the last, the outcome is still known: run by run, the earliest first.
pub async fn known(
    tx: &mut Tx,
    pair: &Pair,
    (after, through): (u64, u64),
) -> Result<Vec<Stretch>, StoreError> {
    let select = query(KNOWN)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned())
        .bind(stored(after))
        .bind(stored(through))
        .bind(stored(RUN_LINES));
    let read = |row: &Row| {
        let of = |name| column::<i64>(row, "taken", name).map(i64::unsigned_abs);
        Ok(Stretch {
            first: of("first_number")?,
            last: of("last_number")?,
            count: of("n")?,
        })
    };
    tx.all(select).await?.iter().map(read).collect()
}

const WAITING: &str = "SELECT number, envelope_id, batch_id FROM mailbox WHERE recipient = $1 AND sender = $2 AND number > $3 \
     ORDER BY number DESC LIMIT 1000000";

/// What waits of a pair behind a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub envelope_id: [u8; 16],
    /// The order batch with its line.
    pub batch_id: Option<[u8; 16]>,
}

/// What waits of a pair behind a number, the last one first.
pub async fn behind(tx: &mut Tx, pair: &Pair, after: u64) -> Result<Vec<Behind>, StoreError> {
    let select = query(WAITING)
        .bind(pair.recipient.as_str().to_owned())
        .bind(pair.sender.as_str().to_owned())
        .bind(stored(after));
    let read = |row: &Row| {
        Ok(Behind {
            number: number(row, "mailbox")?,
            envelope_id: bytes(row, "mailbox", "envelope_id")?,
            batch_id: mailbox::batch_id(row)?,
        })
    };
    tx.all(select).await?.iter().map(read).collect()
}

static PLACE: WithRows = WithRows::new(
    "WITH v(envelope_id, position) AS (VALUES",
    2,
    "UPDATE mailbox SET position = v.position FROM v WHERE mailbox.envelope_id = v.envelope_id",
);

/// Puts what waits at later positions: it is delivered after all that was put in before.
pub async fn place(tx: &mut Tx, rows: &[([u8; 16], i64)]) -> Result<(), StoreError> {
    PLACE
        .run(tx, rows, |query, (envelope_id, position)| {
            query.bind(envelope_id.to_vec()).bind(*position)
        })
        .await
        .map(drop)
}

/// The position in front of a line that waits, by its order batch; in front of the first line of a run there is nothing to look up.
pub async fn before(tx: &mut Tx, line: &Behind) -> Result<Option<Position>, StoreError> {
    if order::begins_run(line.number) {
        return Ok(Position::of_wire(line.number.saturating_sub(1), &[]));
    }
    let Some(batch_id) = line.batch_id else {
        return Ok(None);
    };
    let batches = mailbox::batches(tx, &BTreeSet::from([batch_id])).await?;
    let lines = batches.values().flat_map(|batch| &batch.lines);
    let found = lines.into_iter().find(|found| found.number == line.number);
    Ok(found.and_then(|found| {
        let hash = found.previous_hash.as_slice().try_into().ok()?;
        Some(Position::at(line.number.saturating_sub(1), hash))
    }))
}

const BATCHES: &str = "SELECT batch_id, batch FROM order_batch WHERE sender = $1 AND recipient = $2 AND batch_id > $3 \
     ORDER BY batch_id LIMIT 256";

/// The order batches of a pair that are kept, after an id, some at a time; none after the last.
pub async fn batches_of(
    tx: &mut Tx,
    pair: &Pair,
    after: &[u8],
) -> Result<Vec<mailbox::KeptBatch>, StoreError> {
    let select = query(BATCHES)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned())
        .bind(after.to_vec());
    tx.all(select).await?.iter().map(mailbox::kept_batch).collect()
}
