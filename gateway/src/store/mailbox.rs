//! What waits for each member: envelopes or, in their place, signed tombstones; and the signed order batches that prove where
//! they stand. Filled by the take door, read by deliveries, emptied by the settle door, buried by stops and sweeps.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{OrgId, SlipId};
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{InList, Insert, Row, StoreError, Tx, WithRows, bytes, column, query};
use prost::Message as _;

use super::pair::{Pair, of_row, org, stored};

const TABLE: &str = "mailbox";

/// A row to be put in.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Its place in the order of commits.
    pub position: i64,
    /// Its pair.
    pub pair: Pair,
    /// Its number in the pair; `None` outside the order.
    pub number: Option<u64>,
    /// Its id, or the stand-in of a tombstone.
    pub envelope_id: [u8; 16],
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// The word of its kind; `unknown` for the tombstone of a line whose envelope was withheld or refused.
    pub kind: &'static str,
    /// Its slip.
    pub slip_id: Option<SlipId>,
    /// Whether it passes whatever becomes of slip and members.
    pub exempt: bool,
    /// The order batch with its line.
    pub batch_id: Option<[u8; 16]>,
    /// When it was taken.
    pub taken_at_ms: i64,
    /// When it is no longer delivered.
    pub expires_at_ms: i64,
    /// The envelope as sent, or why there is none.
    pub content: Content,
}

/// What a row holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A serialised `Envelope`.
    Envelope(Vec<u8>),
    /// A serialised `Dropped`.
    Tombstone(Vec<u8>),
}

impl Content {
    /// Bytes that count against the mailbox; a tombstone has none.
    pub fn counted(&self) -> i64 {
        match self {
            Self::Envelope(bytes) => i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            Self::Tombstone(_) => 0,
        }
    }
}

static POST: Insert = Insert::into(
    "INSERT INTO mailbox (position, recipient, sender, number, envelope_id, envelope_hash, kind, slip_id, exempt, \
     batch_id, taken_at_ms, expires_at_ms, bytes, envelope, tombstone)",
    15,
    "",
);

/// Puts rows in.
pub async fn post(tx: &mut Tx, rows: &[Posted]) -> Result<(), StoreError> {
    POST.rows(tx, rows, |query, row| {
        let (envelope, tombstone) = match &row.content {
            Content::Envelope(bytes) => (Some(bytes.clone()), None),
            Content::Tombstone(bytes) => (None, Some(bytes.clone())),
        };
        query
            .bind(row.position)
            .bind(row.pair.recipient.as_str().to_owned())
            .bind(row.pair.sender.as_str().to_owned())
            .bind(row.number.map(stored))
            .bind(row.envelope_id.to_vec())
            .bind(row.envelope_hash.to_vec())
            .bind(row.kind)
            .bind(row.slip_id.map(|id| id.as_bytes().to_vec()))
            .bind(i64::from(row.exempt))
            .bind(row.batch_id.map(|id| id.to_vec()))
            .bind(row.taken_at_ms)
            .bind(row.expires_at_ms)
            .bind(row.content.counted())
            .bind(envelope)
            .bind(tombstone)
    })
    .await
    .map(drop)
}

/// A signed order batch, to be kept for the recipient.
#[derive(Clone, Debug)]
pub struct BatchRow {
    /// A random id.
    pub batch_id: [u8; 16],
    /// Its pair.
    pub pair: Pair,
    /// A serialised `OrderBatch`, as sent.
    pub batch: Vec<u8>,
}

static KEEP: Insert = Insert::into(
    "INSERT INTO order_batch (batch_id, sender, recipient, taken_at_ms, batch)",
    5,
    "",
);

/// Keeps order batches.
pub async fn keep_batches(tx: &mut Tx, rows: &[BatchRow], now_ms: i64) -> Result<(), StoreError> {
    KEEP.rows(tx, rows, |query, row| {
        query
            .bind(row.batch_id.to_vec())
            .bind(row.pair.sender.as_str().to_owned())
            .bind(row.pair.recipient.as_str().to_owned())
            .bind(now_ms)
            .bind(row.batch.clone())
    })
    .await
    .map(drop)
}

static BATCHES: InList = InList::new("SELECT batch_id, batch FROM order_batch WHERE batch_id IN", 0, "");

/// The order batches with these ids.
pub async fn batches(
    tx: &mut Tx,
    ids: &BTreeSet<[u8; 16]>,
) -> Result<BTreeMap<[u8; 16], v1::OrderBatch>, StoreError> {
    let ids: Vec<[u8; 16]> = ids.iter().copied().collect();
    let rows = BATCHES
        .all(tx, &ids, |query| query, |query, id| query.bind(id.to_vec()))
        .await?;
    rows.iter().map(kept_batch).collect()
}

/// An order batch with its id.
pub type KeptBatch = ([u8; 16], v1::OrderBatch);

/// Reads a row of kept order batches.
pub(super) fn kept_batch(row: &Row) -> Result<KeptBatch, StoreError> {
    let batch: Vec<u8> = column(row, "order_batch", "batch")?;
    let batch = v1::OrderBatch::decode(batch.as_slice()).map_err(|_| StoreError::Corrupt {
        table: "order_batch",
        column: "batch",
    })?;
    Ok((bytes(row, "order_batch", "batch_id")?, batch))
}

/// A row on its way to the recipient.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its place in the order of commits.
    pub position: i64,
    /// Who sent it.
    pub sender: OrgId,
    /// Its id.
    pub envelope_id: [u8; 16],
    /// Whether it stands in the pair order.
    pub ordered: bool,
    /// Whether something in front of it in its pair is still to be offered again.
    pub behind: bool,
    /// Whether it passes whatever becomes of slip and members.
    pub exempt: bool,
    /// The order batch with its line.
    pub batch_id: Option<[u8; 16]>,
    /// When it was taken.
    pub taken_at_ms: i64,
    /// When it is no longer delivered.
    pub expires_at_ms: i64,
    /// Whether one of its parties, or the stop secret, has stopped its slip.
    pub stopped: bool,
    /// What goes onto the stream.
    pub what: v1::delivered_envelope::What,
}

// The sum runs over the narrow index and `bytes` only; bodies are read once the rows are chosen.
const CHUNK: &str = "SELECT m.position, m.sender, m.envelope_id, m.number, m.exempt, m.batch_id, m.taken_at_ms, \
     m.expires_at_ms, m.envelope, m.tombstone, (SELECT MIN(s.stopped_at_ms) FROM stop s WHERE s.slip_id = m.slip_id \
     AND (s.said_by = '' OR s.said_by = m.sender OR s.said_by = m.recipient)) AS stopped_at_ms, \
     (SELECT r.after_number FROM reoffer r WHERE r.sender = m.sender AND r.recipient = m.recipient) AS after_number \
     FROM (SELECT position, CAST(SUM(bytes) OVER (ORDER BY position) AS BIGINT) - bytes AS before FROM mailbox \
     WHERE recipient = $1 AND position > $2 ORDER BY position LIMIT $3) w \
     JOIN mailbox m ON m.position = w.position WHERE w.before < $4";

/// What waits for a recipient after a position: at most `rows_max` rows, and no further row once `bytes_max` are reached.
pub async fn chunk(
    tx: &mut Tx,
    recipient: &OrgId,
    after: i64,
    (rows_max, bytes_max): (usize, i64),
) -> Result<Vec<Waiting>, StoreError> {
    let select = query(CHUNK)
        .bind(recipient.as_str().to_owned())
        .bind(after)
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX))
        .bind(bytes_max);
    let rows = tx.all(select).await?;
    let mut waiting = rows.iter().map(read_waiting).collect::<Result<Vec<_>, _>>()?;
    // Sorted here: the database would copy every body once more to do it.
    waiting.sort_unstable_by_key(|row| row.position);
    Ok(waiting)
}

fn read_waiting(row: &Row) -> Result<Waiting, StoreError> {
    let stopped_at_ms: Option<i64> = column(row, TABLE, "stopped_at_ms")?;
    let number: Option<i64> = column(row, TABLE, "number")?;
    let exempt: i64 = column(row, TABLE, "exempt")?;
    let offered: Option<i64> = column(row, TABLE, "after_number")?;
    Ok(Waiting {
        position: column(row, TABLE, "position")?,
        sender: org(row, TABLE, "sender")?,
        envelope_id: bytes(row, TABLE, "envelope_id")?,
        ordered: number.is_some(),
        behind: number
            .zip(offered)
            .is_some_and(|(number, offered)| number > offered),
        exempt: exempt == 1,
        batch_id: batch_id(row)?,
        taken_at_ms: column(row, TABLE, "taken_at_ms")?,
        expires_at_ms: column(row, TABLE, "expires_at_ms")?,
        stopped: stopped_at_ms.is_some(),
        what: what(row)?,
    })
}

pub(super) fn batch_id(row: &Row) -> Result<Option<[u8; 16]>, StoreError> {
    let bytes: Option<Vec<u8>> = column(row, TABLE, "batch_id")?;
    let bad = StoreError::Corrupt {
        table: TABLE,
        column: "batch_id",
    };
    bytes
        .map(|bytes| bytes.as_slice().try_into())
        .transpose()
        .map_err(|_| bad)
}

fn what(row: &Row) -> Result<v1::delivered_envelope::What, StoreError> {
    use v1::delivered_envelope::What;
    let bad = |column| StoreError::Corrupt { table: TABLE, column };
    let tombstone: Option<Vec<u8>> = column(row, TABLE, "tombstone")?;
    if let Some(tombstone) = tombstone {
        let dropped = v1::Dropped::decode(tombstone.as_slice()).map_err(|_| bad("tombstone"))?;
        return Ok(What::Tombstone(dropped));
    }
    let envelope: Option<Vec<u8>> = column(row, TABLE, "envelope")?;
    let envelope = envelope.ok_or(bad("envelope"))?;
    // Decoding from `Bytes` shares the buffer instead of copying the ciphertext.
    let envelope = v1::Envelope::decode(prost::bytes::Bytes::from(envelope)).map_err(|_| bad("envelope"))?;
    Ok(What::Envelope(envelope))
}

/// What settling and burying need of a row.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its place in the order of commits.
    pub position: i64,
    /// Its pair.
    pub pair: Pair,
    /// Its number in the pair; `None` outside the order.
    pub number: Option<u64>,
    /// Its id.
    pub envelope_id: [u8; 16],
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Bytes counted against the mailbox.
    pub bytes: i64,
    /// Whether it is a tombstone.
    pub buried: bool,
}

static HELD: InList = InList::new(
    "SELECT position, sender, recipient, number, envelope_id, envelope_hash, bytes, \
     CAST(CASE WHEN tombstone IS NULL THEN 0 ELSE 1 END AS BIGINT) AS buried FROM mailbox WHERE envelope_id IN",
    0,
    "",
);

/// The rows of those of the ids that wait.
pub async fn held(tx: &mut Tx, ids: &[[u8; 16]]) -> Result<BTreeMap<[u8; 16], Held>, StoreError> {
    let rows = HELD
        .all(tx, ids, |query| query, |query, id| query.bind(id.to_vec()))
        .await?;
    rows.iter()
        .map(|row| read_held(row).map(|held| (held.envelope_id, held)))
        .collect()
}

fn read_held(row: &Row) -> Result<Held, StoreError> {
    let number: Option<i64> = column(row, TABLE, "number")?;
    let buried: i64 = column(row, TABLE, "buried")?;
    Ok(Held {
        position: column(row, TABLE, "position")?,
        pair: of_row(row, TABLE)?,
        number: number
            .map(u64::try_from)
            .transpose()
            .map_err(|_| StoreError::Corrupt {
                table: TABLE,
                column: "number",
            })?,
        envelope_id: bytes(row, TABLE, "envelope_id")?,
        envelope_hash: bytes(row, TABLE, "envelope_hash")?,
        bytes: column(row, TABLE, "bytes")?,
        buried: buried == 1,
    })
}

const OF_SLIP: &str = "SELECT position, sender, recipient, number, envelope_id, envelope_hash, bytes, CAST(0 AS BIGINT) AS buried \
     FROM mailbox WHERE slip_id = $1 AND exempt = 0 AND tombstone IS NULL ORDER BY position";

/// The envelopes under a slip that a stop ends.
pub async fn of_slip(tx: &mut Tx, slip_id: SlipId) -> Result<Vec<Held>, StoreError> {
    let rows = tx.all(query(OF_SLIP).bind(slip_id.as_bytes().to_vec())).await?;
    rows.iter().map(read_held).collect()
}

const OVERDUE: &str = "SELECT position, sender, recipient, number, envelope_id, envelope_hash, bytes, CAST(0 AS BIGINT) AS buried \
     FROM mailbox WHERE tombstone IS NULL AND (taken_at_ms <= $1 OR (exempt = 0 AND expires_at_ms <= $2)) \
     ORDER BY position LIMIT $3";

/// Envelopes taken before `taken_ms`, and those that may end which have expired by `now_ms`; at most `rows_max`.
pub async fn overdue(
    tx: &mut Tx,
    taken_ms: i64,
    now_ms: i64,
    rows_max: usize,
) -> Result<Vec<Held>, StoreError> {
    let select = query(OVERDUE)
        .bind(taken_ms)
        .bind(now_ms)
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let rows = tx.all(select).await?;
    rows.iter().map(read_held).collect()
}

static BURY: WithRows = WithRows::new(
    "WITH v(envelope_id, tombstone) AS (VALUES",
    2,
    "UPDATE mailbox SET envelope = NULL, tombstone = v.tombstone, bytes = 0 FROM v \
     WHERE mailbox.envelope_id = v.envelope_id",
);

/// Puts tombstones in the place of envelopes. By their ids, as a re-offer may have given them other positions meanwhile.
pub async fn bury(tx: &mut Tx, rows: &[([u8; 16], Vec<u8>)]) -> Result<(), StoreError> {
    BURY.run(tx, rows, |query, (envelope_id, tombstone)| {
        query.bind(envelope_id.to_vec()).bind(tombstone.clone())
    })
    .await
    .map(drop)
}

static REMOVE: InList = InList::new("DELETE FROM mailbox WHERE envelope_id IN", 0, "");

/// Takes envelopes and tombstones out, by their ids.
pub async fn remove(tx: &mut Tx, ids: &[[u8; 16]]) -> Result<(), StoreError> {
    REMOVE
        .run(tx, ids, |query| query, |query, id| query.bind(id.to_vec()))
        .await
        .map(drop)
}

const PASSED: &str =
    "DELETE FROM mailbox WHERE recipient = $1 AND sender = $2 AND number <= $3 AND tombstone IS NOT NULL";

/// Takes out the tombstones of a pair that its recipient has passed.
pub async fn passed(tx: &mut Tx, pair: &Pair, number: u64) -> Result<(), StoreError> {
    let delete = query(PASSED)
        .bind(pair.recipient.as_str().to_owned())
        .bind(pair.sender.as_str().to_owned())
        .bind(stored(number));
    tx.run(delete).await.map(drop)
}

const FORGET_BATCHES: &str = "DELETE FROM order_batch WHERE taken_at_ms <= $1 AND batch_id NOT IN \
     (SELECT batch_id FROM mailbox WHERE batch_id IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM reoffer \
     WHERE reoffer.sender = order_batch.sender AND reoffer.recipient = order_batch.recipient)";

/// Forgets order batches from before `taken_ms` of which nothing waits, but of no pair that is to be offered again.
pub async fn forget_batches(tx: &mut Tx, taken_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET_BATCHES).bind(taken_ms)).await
}

/// The word of a kind in the `kind` column.
pub const fn kind_word(kind: Option<EnvelopeKind>) -> &'static str {
    match kind {
        Some(kind) => kind.as_str(),
        None => "unknown",
    }
}
