//! Reads entries one after another and opens those of the key log. Called by the link's follower with pages of the gateway.
//! Never judges a root: what it has walked stands only when its head is that of a signed checkpoint.

use kith_proto::log::tree::{Frontier, Hash};
use kith_proto::problem::Problem;
use kith_proto::trail::event::Told;
use kith_proto::trail::{Code, Leaf};
use kith_proto::v1;

use super::KeyLeaf;

/// An entry of the key log is not opened, or does not open to what stands in the log; or the log is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {0} of the key log does not open")]
pub struct Altered(pub u64);

impl Altered {
    /// The problem code.
    pub const fn problem(self) -> Problem {
        Problem::Unauthenticated
    }
}

/// How far the reading has come.
#[derive(Clone, Debug)]
pub struct Walk {
    frontier: Frontier,
    leaves: Vec<KeyLeaf>,
}

impl Walk {
    /// Goes on from a state of the tree.
    pub const fn from(frontier: Frontier) -> Self {
        Self {
            frontier,
            leaves: Vec::new(),
        }
    }

    /// What covers the tree so far.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The leaves of the key log that were read.
    pub fn leaves(&self) -> &[KeyLeaf] {
        &self.leaves
    }

    /// Appends the next entry.
    pub fn take(&mut self, entry: &v1::LogEntry) -> Result<(), Altered> {
        let number = self.frontier.size();
        self.leaves.extend(opened(number, entry)?);
        let hash = Hash::of_leaf(entry.entry.as_bytes());
        self.frontier.append(hash, |_, _| ()).map_err(|_| Altered(number))
    }
}

/// Opens an entry of the key log; `None` for every other, also for one whose code this version does not know.
fn opened(number: u64, entry: &v1::LogEntry) -> Result<Option<KeyLeaf>, Altered> {
    let word = entry.entry.split(' ').next().unwrap_or_default();
    if !word.parse().is_ok_and(Code::is_of_key_log) {
        return Ok(None);
    }
    let altered = Altered(number);
    let salt = entry.salt.as_slice().try_into().map_err(|_| altered)?;
    let (leaf, told) = Leaf::opened(&salt, &entry.preimage).map_err(|_| altered)?;
    if leaf.to_string() != entry.entry {
        return Err(altered);
    }
    Ok(Some(KeyLeaf {
        number,
        code: leaf.code,
        organisation: told.get("organisation").and_then(|org| org.parse().ok()),
        binding: binding(&told),
        salt,
        preimage: entry.preimage.clone(),
    }))
}

/// The binding that an event makes known.
fn binding(told: &Told<'_>) -> Option<[u8; 32]> {
    let names_keys = matches!(told.code, Code::MemberJoined | Code::BindingPublished);
    told.hash("binding").filter(|_| names_keys)
}
