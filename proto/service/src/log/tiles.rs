//! Tiles and bundles in the store, by the first segment of their path (`0` to `7`, `entries`) and their number, and the proofs that
//! are made from them. Written by the sequencer, read by edges that serve them and by whatever proves.
//! Never serves more of a tile than the tree of a signed checkpoint has.

use super::epoch;
use super::{Log, LogError};
use crate::store::{Insert, Row, StoreError, Tx, column, query};
use kith_proto::log::proof::Plan;
use kith_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileKind, Tiles};
use kith_proto::log::tree::{Frontier, Hash};
use kith_proto::trail::Leaf;
use std::collections::BTreeMap;

const TABLE: &str = "log_tile";

/// What a step adds to the tiles of a tree: by kind and number, how many items stood there before, and the new bytes.
#[derive(Debug)]
pub(super) struct Grown {
    size: u64,
    parts: BTreeMap<(TileKind, u64), Part>,
}

#[derive(Debug)]
struct Part {
    /// How many hashes or entries the tile held before.
    held: usize,
    added: usize,
    bytes: Vec<u8>,
}

impl Grown {
    /// Begins with nothing, on a tree of this size.
    pub(super) const fn of(size: u64) -> Self {
        Self {
            size,
            parts: BTreeMap::new(),
        }
    }

    /// Appends a leaf to the frontier and to the tiles.
    pub(super) fn push(&mut self, leaf: &Leaf, frontier: &mut Frontier) -> Result<(), LogError> {
        let entry = leaf.to_string();
        let length = u16::try_from(entry.len()).map_err(|_| TileError::TooLarge)?;
        let at = frontier.size();
        let bundle = self.part(TileKind::Entries, at);
        bundle.bytes.extend_from_slice(&length.to_be_bytes());
        bundle.bytes.extend_from_slice(entry.as_bytes());
        let mut whole: Vec<(u8, u64, Hash)> = Vec::new();
        frontier.append(Hash::of_leaf(entry.as_bytes()), |node, hash| {
            if node.level % TILE_HEIGHT == 0 {
                whole.push((node.level / TILE_HEIGHT, node.index, hash));
            }
        })?;
        for (level, index, hash) in whole {
            self.part(TileKind::Hashes(level), index)
                .bytes
                .extend_from_slice(&hash.0);
        }
        Ok(())
    }

    /// The tile with the item of this index, which is about to be added to it.
    fn part(&mut self, kind: TileKind, index: u64) -> &mut Part {
        let (width, size) = (u64::from(TILE_WIDTH), self.size);
        let number = index / width;
        let part = self.parts.entry((kind, number)).or_insert_with(|| {
            let held = match kind {
                TileKind::Entries => size,
                TileKind::Hashes(level) => size >> (TILE_HEIGHT * level.min(7)),
            };
            Part {
                held: usize::try_from(held.saturating_sub(number * width).min(width)).unwrap_or(0),
                added: 0,
                bytes: Vec::new(),
            }
        });
        part.added += 1;
        part
    }

    /// Writes the tiles, each after what stands in its row.
    pub(super) async fn write(&self, tx: &mut Tx, epoch: u64) -> Result<(), LogError> {
        let mut rows: Vec<(&'static str, u64, Vec<u8>)> = Vec::with_capacity(self.parts.len());
        for ((kind, number), part) in &self.parts {
            let mut bytes = Vec::new();
            if part.held > 0 {
                bytes = stored(tx, epoch, *kind, *number)
                    .await?
                    .ok_or(TileError::Missing)?;
                let held = match kind {
                    TileKind::Hashes(_) => bytes.len() == part.held * 32,
                    TileKind::Entries => parts(&bytes).filter(Result::is_ok).count() == part.held,
                };
                if !held {
                    return Err(TileError::Damaged.into());
                }
            }
            bytes.extend_from_slice(&part.bytes);
            rows.push((segment(*kind), *number, bytes));
        }
        PUT.rows(tx, &rows, |query, (kind, number, bytes)| {
            query
                .bind(epoch.cast_signed())
                .bind(*kind)
                .bind(number.cast_signed())
                .bind(bytes.clone())
        })
        .await?;
        Ok(())
    }
}

/// Where a tile or bundle stands: its kind's segment and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    kind: String,
    number: u64,
}

impl Place {
    pub(super) fn of(kind: TileKind, number: u64) -> Self {
        Self {
            kind: segment(kind).to_owned(),
            number,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.number)
    }
}

/// Most tiles whose places are read at once: of a log of some 4 billion leaves.
const PLACES_MAX: i64 = 16_000_000;
const PLACES: &str = "SELECT epoch, kind, number FROM log_tile LIMIT $1";

/// Where tiles stand, of every epoch, in no order.
pub(super) async fn places(tx: &mut Tx) -> Result<Vec<(u64, Place)>, StoreError> {
    let read = |row: &Row| {
        let (epoch, number): (i64, i64) = (column(row, TABLE, "epoch")?, column(row, TABLE, "number")?);
        let place = Place {
            kind: column(row, TABLE, "kind")?,
            number: number.cast_unsigned(),
        };
        Ok((epoch.cast_unsigned(), place))
    };
    tx.all(query(PLACES).bind(PLACES_MAX))
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The entries of a bundle, in order; [`TileError::Damaged`] last, where it cannot be read to its end.
fn parts(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], TileError>> {
    let mut rest = Some(bundle).filter(|bundle| !bundle.is_empty());
    std::iter::from_fn(move || {
        let (length, after) = match rest.take()?.split_first_chunk() {
            Some((length, after)) => (usize::from(u16::from_be_bytes(*length)), after),
            None => return Some(Err(TileError::Damaged)),
        };
        let Some((entry, after)) = after.split_at_checked(length) else {
            return Some(Err(TileError::Damaged));
        };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(Ok(entry))
    })
}

/// The entries of a bundle as far as they can be read.
pub(super) fn readable(bundle: &[u8]) -> Vec<Vec<u8>> {
    parts(bundle).map_while(Result::ok).map(<[u8]>::to_vec).collect()
}

/// The first segment of a tile's path.
const fn segment(kind: TileKind) -> &'static str {
    match kind {
        TileKind::Entries => "entries",
        TileKind::Hashes(0) => "0",
        TileKind::Hashes(1) => "1",
        TileKind::Hashes(2) => "2",
        TileKind::Hashes(3) => "3",
        TileKind::Hashes(4) => "4",
        TileKind::Hashes(5) => "5",
        TileKind::Hashes(6) => "6",
        TileKind::Hashes(_) => "7",
    }
}

static PUT: Insert = Insert::into(
    "INSERT INTO log_tile (epoch, kind, number, bytes)",
    4,
    "ON CONFLICT (epoch, kind, number) DO UPDATE SET bytes = excluded.bytes",
);
const ONE: &str = "SELECT bytes FROM log_tile WHERE epoch = $1 AND kind = $2 AND number = $3";

pub(super) async fn stored(
    tx: &mut Tx,
    epoch: u64,
    kind: TileKind,
    number: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let one = query(ONE).bind(epoch.cast_signed()).bind(segment(kind));
    let row = tx.one(one.bind(number.cast_signed())).await?;
    row.map(|row| column(&row, TABLE, "bytes")).transpose()
}

/// The bytes of a tile as its path names it, cut to its width. `None` where the log has no such tile, or not yet that much of it.
pub async fn tile(tx: &mut Tx, epoch: u64, tile: Tile) -> Result<Option<Vec<u8>>, LogError> {
    let Some(mut bytes) = stored(tx, epoch, tile.kind(), tile.index()).await? else {
        return Ok(None);
    };
    let wanted = match tile.kind() {
        TileKind::Hashes(_) => usize::from(tile.width()) * 32,
        TileKind::Entries => match bundle_bytes(&bytes, tile.width()) {
            Some(length) => length,
            None => return Ok(None),
        },
    };
    if bytes.len() < wanted {
        return Ok(None);
    }
    bytes.truncate(wanted);
    Ok(Some(bytes))
}

/// How many bytes the first `count` entries of a bundle take; `None` when there are fewer.
fn bundle_bytes(bundle: &[u8], count: u16) -> Option<usize> {
    let lengths = parts(bundle)
        .take(count.into())
        .map_while(Result::ok)
        .map(|entry| 2 + entry.len());
    let (found, bytes) = lengths.fold((0, 0), |(found, bytes), length| (found + 1, bytes + length));
    (found == count).then_some(bytes)
}

/// The entries of an epoch from index `first` on, at most `count` and no further than the end of the bundle that has the first.
pub async fn entries(tx: &mut Tx, epoch: u64, first: u64, count: usize) -> Result<Vec<String>, LogError> {
    let width = u64::from(TILE_WIDTH);
    let Some(bundle) = stored(tx, epoch, TileKind::Entries, first / width).await? else {
        return Ok(Vec::new());
    };
    let skipped = usize::try_from(first % width).unwrap_or(usize::MAX);
    let wanted = parts(&bundle).skip(skipped).take(count);
    let text =
        |entry: Result<&[u8], TileError>| String::from_utf8(entry?.to_vec()).map_err(|_| TileError::Damaged);
    Ok(wanted.map(text).collect::<Result<_, _>>()?)
}

/// Tiles of one tree as they are needed, for many proofs in a row.
#[derive(Clone, Debug)]
pub struct Prover {
    epoch: u64,
    tiles: Tiles,
}

impl Prover {
    /// Proves in the tree of this size, of this epoch.
    pub const fn new(epoch: u64, size: u64) -> Self {
        Self {
            epoch,
            tiles: Tiles::of(size),
        }
    }

    /// Makes the hashes of a plan, reading the tiles that it needs and that were not read before.
    pub async fn hashes(&mut self, tx: &mut Tx, plan: &Plan) -> Result<Vec<Hash>, LogError> {
        for tile in self.tiles.missing(plan)? {
            let bytes = stored(tx, self.epoch, tile.kind(), tile.index())
                .await?
                .ok_or(TileError::Missing)?;
            let width = u16::try_from(bytes.len() / 32).map_err(|_| TileError::Damaged)?;
            let held = Tile::new(tile.kind(), tile.index(), width)?;
            self.tiles.put(held, &bytes)?;
        }
        Ok(plan.hashes(|node| self.tiles.read(node))?)
    }
}

impl Log {
    /// Proves that the tree of `size` begins with that of `old_size`, both of the newest epoch.
    pub async fn prove_consistency(
        &self,
        epoch: u64,
        old_size: u64,
        size: u64,
    ) -> Result<Vec<Hash>, LogError> {
        let plan = Plan::consistency(old_size, size)?;
        let plan = &plan;
        self.store
            .read("prove", |mut tx| async move {
                Prover::new(epoch, size).hashes(&mut tx, plan).await
            })
            .await
    }

    /// The frontier that the stored tiles give for a size: what the epoch's row must say.
    pub async fn frontier_of_tiles(&self, epoch: u64, size: u64) -> Result<Frontier, LogError> {
        let read = self.store.read("frontier", |mut tx| async move {
            if epoch::one(&mut tx, epoch).await?.is_none() {
                return Err(LogError::NoEpoch);
            }
            let plan = Plan::frontier(size)?;
            let hashes = Prover::new(epoch, size).hashes(&mut tx, &plan).await?;
            Ok(Frontier::new(size, hashes)?)
        });
        read.await
    }
}
