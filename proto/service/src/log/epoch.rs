//! Where the log stands: one row for each epoch, with size, frontier and checkpoints. Called by the sequencer, which alone moves the
//! size, by whoever collects cosignatures, and by everything that proves.
//! Never moves a size but by compare-and-swap: of two sequencers one is refused.

use super::LogError;
use crate::store::{Row, StoreError, Tx, column, query};
use kith_proto::log::note::Note;
use kith_proto::log::tree::{Frontier, Hash};

const TABLE: &str = "log_epoch";

/// One epoch of the log. A new one is opened only when a server comes back from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number, from 1; it stands in the origin.
    pub number: u64,
    /// The event that is leaf 0.
    pub first_seq: i64,
    /// Size, and what covers it.
    pub frontier: Frontier,
    /// The checkpoint of exactly this size; none before the first leaf.
    pub signed: Option<Note>,
    /// The checkpoint that witnesses are asked to cosign, with the cosignatures it has so far.
    pub offered: Option<Note>,
    /// The newest checkpoint that counts, with its cosignatures: what proofs are made under.
    pub counted: Option<Note>,
}

impl Epoch {
    /// The number of the last event that is in the tree.
    pub fn last_seq(&self) -> i64 {
        let size = i64::try_from(self.frontier.size()).unwrap_or(i64::MAX);
        self.first_seq.saturating_sub(1).saturating_add(size)
    }
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT epoch, first_seq, size, frontier, signed, offered, counted FROM log_epoch ",
            $rest
        )
    };
}

const NEWEST: &str = columns!("ORDER BY epoch DESC LIMIT 1");
const ALL: &str = columns!("ORDER BY epoch LIMIT 1000");
const ONE: &str = columns!("WHERE epoch = $1");

/// Returns the newest epoch; `None` before the log was opened.
pub async fn newest(tx: &mut Tx) -> Result<Option<Epoch>, StoreError> {
    let row = tx.one(query(NEWEST)).await?;
    row.map(|row| read(&row)).transpose()
}

/// Returns every epoch, the first one first, at most a thousand.
pub async fn all(tx: &mut Tx) -> Result<Vec<Epoch>, StoreError> {
    let rows = tx.all(query(ALL)).await?;
    rows.iter().map(read).collect()
}

/// Returns one epoch.
pub async fn one(tx: &mut Tx, number: u64) -> Result<Option<Epoch>, StoreError> {
    let row = tx.one(query(ONE).bind(number.cast_signed())).await?;
    row.map(|row| read(&row)).transpose()
}

const BEGUN: &str = "SELECT (SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT number FROM log_tile LIMIT 1) AS few) \
    + (SELECT seq FROM log_index_end WHERE id = 1) AS n";

/// Whether anything tells that the log once had an epoch.
pub(super) async fn was_begun(tx: &mut Tx) -> Result<bool, StoreError> {
    let row = tx.one(query(BEGUN)).await?;
    let count: i64 = row.map_or(Ok(1), |row| column(&row, TABLE, "n"))?;
    Ok(count > 0)
}

const BEGIN: &str = "INSERT INTO log_epoch (epoch, first_seq, size, frontier) VALUES ($1, $2, 0, $3) \
    ON CONFLICT (epoch) DO NOTHING";

/// Begins an epoch whose first leaf is this event; nothing where another replica has begun it.
pub async fn begin(tx: &mut Tx, number: u64, first_seq: i64) -> Result<(), StoreError> {
    let begun = query(BEGIN).bind(number.cast_signed()).bind(first_seq);
    tx.run(begun.bind(Vec::<u8>::new())).await.map(drop)
}

const ADVANCE: &str =
    "UPDATE log_epoch SET size = $1, frontier = $2, signed = $3 WHERE epoch = $4 AND size = $5";

/// Moves an epoch from the size of `held` to that of `next`, with the checkpoint for it; `false` when another sequencer was first.
pub(super) async fn advance(
    tx: &mut Tx,
    held: &Epoch,
    next: &Frontier,
    signed: &Note,
) -> Result<bool, StoreError> {
    let hashes: Vec<u8> = next.hashes().iter().flat_map(|hash| hash.0).collect();
    let moved = query(ADVANCE)
        .bind(next.size().cast_signed())
        .bind(hashes)
        .bind(signed.to_string().into_bytes());
    let moved = moved
        .bind(held.number.cast_signed())
        .bind(held.frontier.size().cast_signed());
    Ok(tx.run(moved).await? == 1)
}

const OFFER: &str = "UPDATE log_epoch SET offered = $1 WHERE epoch = $2";
const COUNT: &str = "UPDATE log_epoch SET counted = $1 WHERE epoch = $2";

/// Writes down what witnesses are asked to cosign, with what they have answered.
pub async fn offer(tx: &mut Tx, number: u64, note: &Note) -> Result<(), StoreError> {
    put(tx, OFFER, number, note).await
}

/// Writes down a checkpoint that counts. The caller has verified that it is of this log and no smaller than the last.
pub async fn count(tx: &mut Tx, number: u64, note: &Note) -> Result<(), StoreError> {
    put(tx, COUNT, number, note).await
}

async fn put(tx: &mut Tx, text: &'static str, number: u64, note: &Note) -> Result<(), StoreError> {
    let note = note.to_string().into_bytes();
    let put = query(text).bind(note).bind(number.cast_signed());
    tx.run(put).await.map(drop)
}

fn read(row: &Row) -> Result<Epoch, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: TABLE, column };
    let number: i64 = column(row, TABLE, "epoch")?;
    let size: i64 = column(row, TABLE, "size")?;
    let hashes: Vec<u8> = column(row, TABLE, "frontier")?;
    let (hashes, rest) = hashes.as_chunks::<32>();
    if !rest.is_empty() || size < 0 || number < 1 {
        return Err(corrupt("frontier"));
    }
    let hashes = hashes.iter().copied().map(Hash).collect();
    let note = |name| -> Result<Option<Note>, StoreError> {
        let bytes: Option<Vec<u8>> = column(row, TABLE, name)?;
        let read = bytes.map(|bytes| Note::parse(&bytes)).transpose();
        read.map_err(|_| corrupt(name))
    };
    Ok(Epoch {
        number: number.cast_unsigned(),
        first_seq: column(row, TABLE, "first_seq")?,
        frontier: Frontier::new(size.cast_unsigned(), hashes).map_err(|_| corrupt("frontier"))?,
        signed: note("signed")?,
        offered: note("offered")?,
        counted: note("counted")?,
    })
}

/// As [`newest`], where an epoch must be.
pub(super) async fn must(tx: &mut Tx) -> Result<Epoch, LogError> {
    newest(tx).await?.ok_or(LogError::NoEpoch)
}
