//! Tiles and entry bundles (C2SP tlog-tiles): where they lie, what is in them, and which node stands in which tile.
//! Stores write them, edges serve them by their paths, verifiers and witnesses fetch them and read nodes from them.
//! Never believe a tile by itself: only a proof or root that was made from it and verified.
//!
//! Tile `index` of level L holds the nodes (level 8·L) from 256 · index on, 32 bytes each, 256 at most; what stands between level
//! 8·L and 8·L + 8 is hashed from it. A *partial* tile is one of the right edge: it belongs to a tree of one size only.

use super::proof::Plan;
use super::tree::{Hash, LEAVES_MAX, Node};
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Hashes of a full tile and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// How many levels of the tree lie in one tile: 2^8 is [`TILE_WIDTH`].
pub const TILE_HEIGHT: u8 = 8;
/// Bytes of a full tile.
pub const TILE_BYTES_MAX: usize = TILE_WIDTH as usize * 32;
/// Longest entry, in bytes: its length stands in 16 bits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Longest path: seven groups of an index below 2^54, and the width.
const PATH_BYTES_MAX: usize = 64;

/// Why a tile was not read or made, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not the path of a tile that a log can have: there is nothing there.
    #[error("there is no such tile")]
    NoSuchTile,
    /// Not as many hashes or entries as the path says: fetch it again, or read it again; if it repeats, it is damaged.
    #[error("the tile has another size than its path says")]
    Damaged,
    /// An entry is over [`ENTRY_BYTES_MAX`]: make it smaller.
    #[error("the entry is too large")]
    TooLarge,
    /// The node's tile has not been put in: fetch what [`Tiles::missing`] names.
    #[error("the tile has not been fetched")]
    Missing,
}

impl TileError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::NoSuchTile => Problem::NotFound,
            Self::Damaged => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Missing => Problem::Unavailable,
        }
    }
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of nodes: of level 8 times this number, 0 to 7.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

impl TileKind {
    /// How many hashes or entries there are at most, in a log of [`LEAVES_MAX`] leaves.
    const fn count_max(self) -> u64 {
        match self {
            Self::Hashes(level) if level > 7 => 0,
            Self::Hashes(level) => LEAVES_MAX >> (TILE_HEIGHT * level),
            Self::Entries => LEAVES_MAX,
        }
    }
}

/// One tile or entry bundle: its place and how much is in it. Written as its path below the log's prefix:
/// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// Names a tile of 1 to [`TILE_WIDTH`] hashes or entries. [`TileError::NoSuchTile`] for any other, and beyond [`LEAVES_MAX`].
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        let end = index
            .checked_mul(u64::from(TILE_WIDTH))
            .and_then(|start| start.checked_add(u64::from(width)));
        let within = end.is_some_and(|end| end <= kind.count_max());
        if within && (1..=TILE_WIDTH).contains(&width) {
            Ok(Self { kind, index, width })
        } else {
            Err(TileError::NoSuchTile)
        }
    }

    /// The tile with this node, as it is in a tree of this size; none when the tree has no such node.
    pub fn holding(node: Node, size: u64) -> Option<Self> {
        let kind = TileKind::Hashes(node.level / TILE_HEIGHT);
        let end = (node.index.checked_add(1)?).checked_mul(1_u64.checked_shl(node.level.into())?)?;
        if end > size || size > LEAVES_MAX {
            return None;
        }
        let index = node.index >> (TILE_HEIGHT - node.level % TILE_HEIGHT);
        Self::in_tree(kind, index, size)
    }

    /// What a log that grew from one size to another must store anew: full tiles, and the partial one of each level where there is
    /// one; bundles first, then level by level. Nothing when it did not grow.
    pub fn grown(old_size: u64, size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..8).map(TileKind::Hashes);
        let kinds = std::iter::once(TileKind::Entries).chain(levels);
        kinds.flat_map(move |kind| {
            let (old, new) = (kind.count_in(old_size), kind.count_in(size));
            let width = u64::from(TILE_WIDTH);
            let changed = if old < new {
                old / width..new.div_ceil(width)
            } else {
                0..0
            };
            changed.filter_map(move |index| Self::in_tree(kind, index, size))
        })
    }

    /// What it holds.
    pub const fn kind(self) -> TileKind {
        self.kind
    }

    /// Its place among those of its kind, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds, 1 to [`TILE_WIDTH`].
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it is one of the right edge, to be replaced by a wider one.
    pub const fn is_partial(self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The tile of the same place when it is full: what a log may serve instead of a partial one. None where it never fills.
    pub fn full(self) -> Option<Self> {
        Self::new(self.kind, self.index, TILE_WIDTH).ok()
    }

    /// The nodes whose hashes it holds, in their order; of a bundle the leaves.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let level = match self.kind {
            TileKind::Hashes(level) => level * TILE_HEIGHT,
            TileKind::Entries => 0,
        };
        let start = self.index * u64::from(TILE_WIDTH);
        (start..start + u64::from(self.width)).map(move |index| Node { level, index })
    }

    /// Makes the bytes of a tile of hashes: 32 for each node; the error is the reader's.
    pub fn bytes<E>(self, mut read: impl FnMut(Node) -> Result<Hash, E>) -> Result<Vec<u8>, E> {
        let mut bytes = Vec::with_capacity(usize::from(self.width) * 32);
        for node in self.nodes() {
            bytes.extend_from_slice(&read(node)?.0);
        }
        Ok(bytes)
    }

    fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let left = kind
            .count_in(size)
            .checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
        let width = u16::try_from(left).map_or(TILE_WIDTH, |left| left.min(TILE_WIDTH));
        Self::new(kind, index, width).ok()
    }
}

impl TileKind {
    /// How many hashes or entries there are in a tree of this size.
    fn count_in(self, size: u64) -> u64 {
        match self {
            Self::Hashes(level) => size >> (TILE_HEIGHT * level.min(7)),
            Self::Entries => size,
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
        }
        let groups = (1..7)
            .rev()
            .map(|n| 1000_u64.pow(n))
            .filter(|group| self.index >= *group);
        for group in groups {
            write!(f, "x{:03}/", self.index / group % 1000)?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_partial() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for Tile {
    type Err = TileError;

    /// Reads a path in its one spelling.
    fn from_str(path: &str) -> Result<Self, TileError> {
        let refused = TileError::NoSuchTile;
        if path.len() > PATH_BYTES_MAX {
            return Err(refused);
        }
        let rest = path.strip_prefix("tile/").ok_or(refused)?;
        let (kind, rest) = rest.split_once('/').ok_or(refused)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| refused)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| refused)?),
            None => (rest, TILE_WIDTH),
        };
        let mut number = 0_u64;
        for group in index.split('/') {
            let digits: u64 = group.trim_start_matches('x').parse().map_err(|_| refused)?;
            let next = number.checked_mul(1000).and_then(|n| n.checked_add(digits));
            number = next.ok_or(refused)?;
        }
        // Whatever else was spelled otherwise (signs, zeros, groups) is not written like that.
        let tile = Self::new(kind, number, width)?;
        if tile.to_string() == path {
            Ok(tile)
        } else {
            Err(refused)
        }
    }
}

/// Makes an entry bundle: each entry after its length (u16, big-endian). [`TileError::TooLarge`] for an entry over
/// [`ENTRY_BYTES_MAX`], [`TileError::Damaged`] for more than [`TILE_WIDTH`] entries or none.
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::TooLarge)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
        count += 1;
    }
    if (1..=usize::from(TILE_WIDTH)).contains(&count) {
        Ok(bytes)
    } else {
        Err(TileError::Damaged)
    }
}

/// Takes a bundle apart into its entries, as many as the tile's width; [`TileError::Damaged`] when there are others.
pub fn entries(tile: Tile, bundle: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(tile.width.into());
    for _ in 0..tile.width {
        let (length, after) = rest.split_first_chunk().ok_or(TileError::Damaged)?;
        let length = u16::from_be_bytes(*length).into();
        let (entry, after) = after.split_at_checked(length).ok_or(TileError::Damaged)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(TileError::Damaged)
    }
}

/// Tiles of one tree that were fetched, with every node that lies in them: what proofs are made from.
#[derive(Clone, Debug)]
pub struct Tiles {
    size: u64,
    /// By (level, index): the hashes of the tile, then of each level above it, as long as two make one.
    fetched: BTreeMap<(u8, u64), Vec<Vec<Hash>>>,
}

impl Tiles {
    /// Begins with none, for a tree of this size.
    pub const fn of(size: u64) -> Self {
        Self {
            size,
            fetched: BTreeMap::new(),
        }
    }

    /// The tiles that a plan needs and that are not here yet, each once, in order.
    /// [`TileError::NoSuchTile`] when the plan is for a larger tree.
    pub fn missing(&self, plan: &Plan) -> Result<Vec<Tile>, TileError> {
        let held = |node| Tile::holding(node, self.size).ok_or(TileError::NoSuchTile);
        let mut tiles: Vec<Tile> = plan.nodes().map(held).collect::<Result<_, _>>()?;
        tiles.retain(|tile| self.read_all(tile).is_none());
        tiles.sort_unstable();
        tiles.dedup();
        Ok(tiles)
    }

    /// Puts a tile in; a wider one than the tree needs is cut. [`TileError::Damaged`] when the bytes are not those of its width or
    /// too few for the tree, [`TileError::NoSuchTile`] for a bundle or a tile that the tree does not have.
    pub fn put(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
        let TileKind::Hashes(level) = tile.kind else {
            return Err(TileError::NoSuchTile);
        };
        let needed = Tile::in_tree(tile.kind, tile.index, self.size).ok_or(TileError::NoSuchTile)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(tile.width) || tile.width < needed.width {
            return Err(TileError::Damaged);
        }
        let leaves = hashes.iter().take(needed.width.into()).copied().map(Hash);
        let mut levels: Vec<Vec<Hash>> = vec![leaves.collect()];
        while let Some(below) = levels.last().filter(|below| below.len() > 1)
            && levels.len() < usize::from(TILE_HEIGHT)
        {
            let pairs = below.as_chunks::<2>().0;
            levels.push(
                pairs
                    .iter()
                    .map(|[left, right]| Hash::of_node(left, right))
                    .collect(),
            );
        }
        self.fetched.insert((level, tile.index), levels);
        Ok(())
    }

    /// The hash of a node. [`TileError::Missing`] when its tile is not here, [`TileError::NoSuchTile`] when the tree has no such node.
    pub fn read(&self, node: Node) -> Result<Hash, TileError> {
        let tile = Tile::holding(node, self.size).ok_or(TileError::NoSuchTile)?;
        let levels = self.read_all(&tile).ok_or(TileError::Missing)?;
        let above = node.level % TILE_HEIGHT;
        let first = tile.index << (TILE_HEIGHT - above);
        let place = usize::try_from(node.index - first).ok();
        let hash = levels.get(usize::from(above)).zip(place);
        hash.and_then(|(hashes, place)| hashes.get(place))
            .copied()
            .ok_or(TileError::NoSuchTile)
    }

    fn read_all(&self, tile: &Tile) -> Option<&Vec<Vec<Hash>>> {
        match tile.kind {
            TileKind::Hashes(level) => self.fetched.get(&(level, tile.index)),
            TileKind::Entries => None,
        }
    }
}
