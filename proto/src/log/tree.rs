//! The hash tree of RFC 6962: hashes of leaves and nodes, the root of a list, and the frontier that appends.
//! Sequencers keep a [`Frontier`]; proofs and tiles are built on [`struct@Hash`] and [`Node`].
//! Never hash a leaf as a node or the other way round: their first bytes keep the two apart.

use crate::sign::sha256;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// Most leaves of one log: 2^62. With it a proof has at most 63 hashes, what tlog-witness allows, and a size fits a signed
/// 64-bit column.
pub const LEAVES_MAX: u64 = 1 << 62;

/// The root of a tree without leaves: SHA-256 of nothing (RFC 6962, 2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Why a tree could not be made or a hash not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The log has [`LEAVES_MAX`] leaves, or a size says more: open a new epoch.
    #[error("the log is over its largest size")]
    Full,
    /// Another number of hashes than the size asks for: read them again; if it repeats, the store is damaged.
    #[error("the hashes do not cover the size")]
    Uncovered,
    /// Not the base64 of 32 bytes: refuse the input.
    #[error("the hash cannot be read")]
    Malformed,
}

impl TreeError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> crate::problem::Problem {
        match self {
            Self::Full => crate::problem::Problem::TooLarge,
            Self::Uncovered | Self::Malformed => crate::problem::Problem::Invalid,
        }
    }
}

/// A SHA-256 hash of a leaf, a node or a whole tree: 32 bytes, written in standard base64 (44 characters).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Hashes a leaf: SHA-256(0x00 ‖ entry) (RFC 6962, 2.1).
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(sha256(&[&[0], entry]))
    }

    /// Hashes a node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962, 2.1).
    pub fn of_node(left: &Self, right: &Self) -> Self {
        let mut message = [1; 65];
        message[1..33].copy_from_slice(&left.0);
        message[33..].copy_from_slice(&right.0);
        let mut hash = Self([0; 32]);
        // cannot fail: a SHA-256 digest has 32 bytes, as many as `hash`.
        hash.0.copy_from_slice(digest(&SHA256, &message).as_ref());
        hash
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = TreeError;

    /// Parses the one spelling of standard base64 (RFC 4648, section 4) with padding and no stray bits.
    fn from_str(text: &str) -> Result<Self, TreeError> {
        let bytes = bytes_of(text).ok_or(TreeError::Malformed)?;
        bytes
            .as_slice()
            .try_into()
            .map(Self)
            .map_err(|_| TreeError::Malformed)
    }
}

/// Decodes standard base64 (RFC 4648, section 4) in its one spelling; none for any other. The library alone would also take several
/// padded pieces one after another, and two notes that differ would say the same.
pub(super) fn bytes_of(base64: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(base64.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == base64).then_some(bytes)
}

/// The place of a node: it covers the leaves from index · 2^level to (index + 1) · 2^level, all of them there.
/// Level 0 are the leaves' own hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// How many levels above the leaves, at most 62.
    pub level: u8,
    /// Its place on that level, from 0.
    pub index: u64,
}

impl Node {
    /// The nodes of the frontier of a tree of this size, from left to right, largest first: as many as the size has ones in binary.
    pub fn covering(size: u64) -> impl DoubleEndedIterator<Item = Self> + Clone {
        Self::covering_from(0, size)
    }

    /// The fewest nodes that cover the leaves from `start` to `size`, from left to right. `start` is a multiple of a power
    /// of two that is no less than what is left.
    pub(crate) fn covering_from(start: u64, size: u64) -> impl DoubleEndedIterator<Item = Self> + Clone {
        let left = size.saturating_sub(start);
        (0_u8..63)
            .rev()
            .filter(move |level| left >> level & 1 == 1)
            .map(move |level| Self {
                level,
                // All larger powers of two of what is left stand before it.
                index: (start + (left >> level >> 1 << 1 << level)) >> level,
            })
    }
}

/// Joins neighbours from the right, as RFC 6962 splits a list at the largest power of two; none for no hashes.
pub(crate) fn joined(hashes: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    hashes.rev().reduce(|right, left| Hash::of_node(&left, &right))
}

/// What a checkpoint says of a tree: its size and root. A root alone names no size (RFC 6962 hashes none), so the two are believed
/// together, from one verified note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TreeHead {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// What a log must remember in order to go on: its size and the hashes of the nodes that cover it, at most 62.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// Takes up a log of this size from the hashes of [`Node::covering`], in its order. [`TreeError::Uncovered`] for another number
    /// of hashes, [`TreeError::Full`] over [`LEAVES_MAX`].
    pub fn new(size: u64, hashes: Vec<Hash>) -> Result<Self, TreeError> {
        if size > LEAVES_MAX {
            return Err(TreeError::Full);
        }
        if hashes.len() != Node::covering(size).count() {
            return Err(TreeError::Uncovered);
        }
        Ok(Self { size, hashes })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of [`Node::covering`], in its order.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf by its hash and tells every node that became whole, the leaf first, then upwards: what a store of tiles
    /// writes down (of levels 0, 8, 16 …). [`TreeError::Full`] at [`LEAVES_MAX`]; then nothing is changed or told.
    pub fn append(&mut self, leaf: Hash, mut whole: impl FnMut(Node, Hash)) -> Result<(), TreeError> {
        if self.size >= LEAVES_MAX {
            return Err(TreeError::Full);
        }
        let mut node = Node {
            level: 0,
            index: self.size,
        };
        let mut hash = leaf;
        whole(node, hash);
        while node.index & 1 == 1
            && let Some(left) = self.hashes.pop()
        {
            hash = Hash::of_node(&left, &hash);
            node = Node {
                level: node.level + 1,
                index: node.index >> 1,
            };
            whole(node, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
        Ok(())
    }

    /// The size and root of the tree.
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: joined(self.hashes.iter().copied()).unwrap_or(EMPTY_ROOT),
        }
    }
}

/// The size and root of the tree over these leaf hashes; [`TreeError::Full`] over [`LEAVES_MAX`].
pub fn head_of(leaves: impl IntoIterator<Item = Hash>) -> Result<TreeHead, TreeError> {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(leaf, |_, _| ())?;
    }
    Ok(frontier.head())
}
