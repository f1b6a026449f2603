//! The tree of one epoch, made again from its events, and compared with its tiles as each becomes full: no more of it is held than the
//! right edge. Called by `whole` alone.
//! Where an event is gone or altered it is named, and what stands in the log takes its place, so that those after it and the tiles
//! are judged by themselves.

use super::super::LogError;
use super::super::epoch::Epoch;
use super::super::tiles::{self, Place};
use super::{BTreeMap, BTreeSet, Code, Fault, Frontier, Hash, Leaf, TreeHead, Tx, Whole, head_of, notes};
use kith_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH, TileKind};

const WIDTH: u64 = TILE_WIDTH as u64;

/// What the events of an epoch make.
pub(super) struct Made {
    pub(super) epoch: Epoch,
    pub(super) frontier: Frontier,
    /// The tiles that there must be.
    pub(super) tiles: BTreeSet<Place>,
    /// The heads at the sizes that a checkpoint claims.
    pub(super) heads: BTreeMap<u64, TreeHead>,
    claimed: BTreeSet<u64>,
    /// Tiles that are not full yet.
    open: BTreeMap<(TileKind, u64), Vec<u8>>,
    /// The bundle of stored entries that events are compared with: its number and what it holds.
    bundle: (u64, Vec<Vec<u8>>),
}

impl Made {
    /// Begins with no event.
    pub(super) fn of(epoch: Epoch) -> Self {
        let claimed = notes(&epoch).into_iter().filter_map(|(_, note)| head_of(note?));
        Self {
            claimed: claimed.map(|head| head.size).collect(),
            epoch,
            frontier: Frontier::default(),
            tiles: BTreeSet::new(),
            heads: BTreeMap::new(),
            open: BTreeMap::new(),
            bundle: (u64::MAX, Vec::new()),
        }
    }

    /// Takes the leaf of an event, as long as the epoch's tree goes.
    pub(super) async fn take(
        &mut self,
        tx: &mut Tx,
        seq: i64,
        leaf: Option<Leaf>,
        whole: &mut Whole,
    ) -> Result<(), LogError> {
        let index = seq.abs_diff(self.epoch.first_seq);
        if index >= self.epoch.frontier.size() || index != self.frontier.size() {
            return Ok(());
        }
        let begins = leaf.is_some_and(|leaf| leaf.code == Code::EpochOpened);
        if self.epoch.number > 1 && index == 0 && !begins {
            whole.name(Fault::Tree(self.epoch.number));
        }
        let stored = self.stored(tx, index).await?;
        let entry = match (leaf.map(|leaf| leaf.to_string().into_bytes()), stored) {
            (Some(entry), Some(stored)) if entry != stored => {
                whole.name(Fault::Altered(seq));
                stored
            }
            (Some(entry), _) | (None, Some(entry)) => entry,
            (None, None) => Vec::new(),
        };
        self.push(tx, &entry, whole).await?;
        if self.claimed.contains(&self.frontier.size()) {
            self.heads.insert(self.frontier.size(), self.frontier.head());
        }
        Ok(())
    }

    /// The entry that stands in the log at this index.
    async fn stored(&mut self, tx: &mut Tx, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        let number = index / WIDTH;
        if self.bundle.0 != number {
            let bytes = tiles::stored(tx, self.epoch.number, TileKind::Entries, number).await?;
            self.bundle = (number, tiles::readable(&bytes.unwrap_or_default()));
        }
        let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        Ok(self.bundle.1.get(at).cloned())
    }

    async fn push(&mut self, tx: &mut Tx, entry: &[u8], whole: &mut Whole) -> Result<(), LogError> {
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        let index = self.frontier.size();
        let of_bundle = [&length.to_be_bytes(), entry].concat();
        let mut parts = vec![(TileKind::Entries, index, of_bundle)];
        self.frontier.append(Hash::of_leaf(entry), |node, hash| {
            if node.level % TILE_HEIGHT == 0 {
                let kind = TileKind::Hashes(node.level / TILE_HEIGHT);
                parts.push((kind, node.index, hash.0.to_vec()));
            }
        })?;
        for (kind, at, bytes) in parts {
            let key = (kind, at / WIDTH);
            self.open.entry(key).or_default().extend_from_slice(&bytes);
            if at % WIDTH == WIDTH - 1 {
                self.close(tx, key, whole).await?;
            }
        }
        Ok(())
    }

    /// Compares the tiles of the right edge as well.
    pub(super) async fn close_all(&mut self, tx: &mut Tx, whole: &mut Whole) -> Result<(), LogError> {
        let open: Vec<(TileKind, u64)> = self.open.keys().copied().collect();
        for key in open {
            self.close(tx, key, whole).await?;
        }
        Ok(())
    }

    /// Compares a tile with its row.
    async fn close(
        &mut self,
        tx: &mut Tx,
        (kind, number): (TileKind, u64),
        whole: &mut Whole,
    ) -> Result<(), LogError> {
        let made = self.open.remove(&(kind, number));
        let stored = tiles::stored(tx, self.epoch.number, kind, number).await?;
        let place = Place::of(kind, number);
        if stored != made {
            whole.name(Fault::Tile(self.epoch.number, place.clone()));
        }
        self.tiles.insert(place);
        Ok(())
    }
}
