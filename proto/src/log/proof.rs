//! Inclusion and consistency proofs (RFC 6962, 2.1.1 and 2.1.2): planned as nodes, made from their hashes, verified.
//! Logs make them for trails, receipts and witnesses; nodes, gateways, witnesses and the offline verifier verify them.
//! Never believe a proof without the tree head of a verified checkpoint.
//!
//! A [`Plan`] names nodes and reads nothing, so that a store fetches them first (tiles, rows) and its own way.

use super::tree::{EMPTY_ROOT, Hash, LEAVES_MAX, Node, TreeHead, joined};
use crate::problem::Problem;

/// Most hashes of one proof: 62 levels under [`LEAVES_MAX`] leaves and the one that a consistency proof may start with.
pub const PROOF_HASHES_MAX: usize = 63;

/// Why a proof was not made or not believed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such proof: the index or the old size lies beyond the tree, or a size is over [`LEAVES_MAX`]. Ask for another.
    #[error("the tree has no such leaf or size")]
    OutOfRange,
    /// The hashes do not lead to the root: believe nothing that rests on it; between two checkpoints of one origin keep both and
    /// tell a person.
    #[error("the proof does not hold")]
    Unproven,
}

impl ProofError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::OutOfRange => Problem::Invalid,
            Self::Unproven => Problem::Unauthenticated,
        }
    }
}

/// The nodes that a proof or a root is made of. Each of its hashes is one node, but for at most one at the ragged right edge of
/// the tree, which is joined from several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(Vec<Vec<Node>>);

impl Plan {
    /// Plans the root of a tree: one hash.
    pub fn root(size: u64) -> Result<Self, ProofError> {
        within(size)?;
        Ok(Self(vec![Node::covering(size).collect()]))
    }

    /// Plans the frontier of a tree: the nodes that cover it, from left to right, each by itself.
    pub fn frontier(size: u64) -> Result<Self, ProofError> {
        within(size)?;
        Ok(Self(Node::covering(size).map(|node| vec![node]).collect()))
    }

    /// Plans the proof that leaf `index` is in the tree of `size`: from the leaf's sibling up to a child of the root
    /// (RFC 6962, 2.1.1). [`ProofError::OutOfRange`] when there is no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        within(size)?;
        if index >= size {
            return Err(ProofError::OutOfRange);
        }
        let mut plan = Self(Vec::new());
        plan.climb(Node { level: 0, index }, size);
        Ok(plan)
    }

    /// Plans the proof that the tree of `size` begins with that of `old_size` (RFC 6962, 2.1.2); without hashes where the
    /// sizes are equal or the old one is 0. [`ProofError::OutOfRange`] when the old tree is larger.
    pub fn consistency(old_size: u64, size: u64) -> Result<Self, ProofError> {
        within(size)?;
        if old_size > size {
            return Err(ProofError::OutOfRange);
        }
        let mut plan = Self(Vec::new());
        // Where the old tree is one node, its root is that node's hash, and the verifier has it.
        if let Some(last) = Node::covering(old_size).next_back()
            && old_size < size
        {
            if last.index > 0 {
                plan.0.push(vec![last]);
            }
            plan.climb(last, size);
        }
        Ok(plan)
    }

    /// Every node whose hash must be read; at most 124, none twice.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().copied()
    }

    /// Makes the hashes, at most [`PROOF_HASHES_MAX`]; the error is the reader's.
    pub fn hashes<E>(&self, mut read: impl FnMut(Node) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
        let one = |nodes: &Vec<Node>| {
            let hashes: Vec<Hash> = nodes.iter().map(|node| read(*node)).collect::<Result<_, E>>()?;
            Ok(joined(hashes.into_iter()).unwrap_or(EMPTY_ROOT))
        };
        self.0.iter().map(one).collect()
    }

    /// Adds the siblings on the way from a node up to the root.
    fn climb(&mut self, from: Node, size: u64) {
        let mut node = from;
        while (size - 1) >> node.level > 0 {
            let last = (size - 1) >> node.level;
            let sibling = node.index ^ 1;
            if sibling < last {
                self.0.push(vec![Node {
                    index: sibling,
                    ..node
                }]);
            } else if sibling == last {
                self.0
                    .push(Node::covering_from(last << node.level, size).collect());
            }
            // A node without a sibling rises as it is.
            node = Node {
                level: node.level + 1,
                index: node.index >> 1,
            };
        }
    }
}

/// Verifies that the tree has this leaf at this index: `proof` from the leaf's sibling up (RFC 6962, 2.1.1).
/// [`ProofError::OutOfRange`] when there is no such leaf, [`ProofError::Unproven`] when the hashes, or how many there are, do not fit.
pub fn verify_inclusion(head: &TreeHead, index: u64, leaf: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    within(head.size)?;
    if index >= head.size {
        return Err(ProofError::OutOfRange);
    }
    let way = Way::new(index, head.size);
    let (below, border) = way.split(proof)?;
    must(way.new_root(*leaf, below, border) == head.root)
}

/// Verifies that the new tree begins with the old one: nothing in it was altered, left out or put in between
/// (RFC 6962, 2.1.2). A tree of size 0 has [`EMPTY_ROOT`] and needs an empty proof, as do equal trees.
/// [`ProofError::OutOfRange`] when the old tree is larger, [`ProofError::Unproven`] when the hashes, or how many there are, do not fit.
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, proof: &[Hash]) -> Result<(), ProofError> {
    within(new.size)?;
    if old.size > new.size {
        return Err(ProofError::OutOfRange);
    }
    must(new.size != 0 || new.root == EMPTY_ROOT)?;
    let Some(last) = Node::covering(old.size).next_back() else {
        return must(old.root == EMPTY_ROOT && proof.is_empty());
    };
    if old.size == new.size {
        return must(old.root == new.root && proof.is_empty());
    }
    let (seed, rest) = match proof.split_first() {
        _ if last.index == 0 => (&old.root, proof),
        Some(split) => split,
        None => return Err(ProofError::Unproven),
    };
    let way = Way::new(old.size - 1, new.size).above(last.level);
    let (below, border) = way.split(rest)?;
    must(way.old_root(*seed, below, border) == old.root)?;
    must(way.new_root(*seed, below, border) == new.root)
}

/// The way from a node up to the root: first `below` steps with siblings on either side, one at each level, then `border`
/// steps along the right edge of the tree, with siblings on the left only.
struct Way {
    index: u64,
    below: u32,
    border: u32,
}

impl Way {
    /// The way from a leaf that the tree has.
    fn new(index: u64, size: u64) -> Self {
        // The level at which the way meets that of the last leaf.
        let below = u64::BITS - (index ^ (size - 1)).leading_zeros();
        Self {
            index,
            below,
            border: (index >> below).count_ones(),
        }
    }

    /// The same way from a node of this level on. The old tree's last leaf is a right child up to there, and the new tree
    /// goes on beyond it, so the level is no higher than `below`.
    fn above(self, level: u8) -> Self {
        Self {
            index: self.index >> level,
            below: self.below - u32::from(level),
            border: self.border,
        }
    }

    fn split<'a>(&self, proof: &'a [Hash]) -> Result<(&'a [Hash], &'a [Hash]), ProofError> {
        let below = self.below as usize;
        must(proof.len() == below + self.border as usize)?;
        proof.split_at_checked(below).ok_or(ProofError::Unproven)
    }

    /// Whether the way is a right child at its nth step.
    const fn is_right(&self, step: usize) -> bool {
        self.index >> step & 1 == 1
    }

    /// The root that takes in every sibling.
    fn new_root(&self, seed: Hash, below: &[Hash], border: &[Hash]) -> Hash {
        let met = below.iter().enumerate().fold(seed, |hash, (step, sibling)| {
            if self.is_right(step) {
                Hash::of_node(sibling, &hash)
            } else {
                Hash::of_node(&hash, sibling)
            }
        });
        border
            .iter()
            .fold(met, |hash, sibling| Hash::of_node(sibling, &hash))
    }

    /// The root that takes in what stands left of the way, and nothing after it.
    fn old_root(&self, seed: Hash, below: &[Hash], border: &[Hash]) -> Hash {
        let left = below.iter().enumerate().filter(|(step, _)| self.is_right(*step));
        let left = left.map(|(_, sibling)| sibling).chain(border);
        left.fold(seed, |hash, sibling| Hash::of_node(sibling, &hash))
    }
}

const fn within(size: u64) -> Result<(), ProofError> {
    if size > LEAVES_MAX {
        Err(ProofError::OutOfRange)
    } else {
        Ok(())
    }
}

const fn must(holds: bool) -> Result<(), ProofError> {
    if holds { Ok(()) } else { Err(ProofError::Unproven) }
}
