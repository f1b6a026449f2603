//! The transparency log of a server: audit events become numbered leaves, tiles and signed checkpoints (C2SP formats, `kith_proto::log`).
//! Nodes and gateways keep one each, on tables of equal names; use-cases append events in their own transactions.
//! Never signs a tree that is not stored, never shows one that is not signed, never numbers an event twice.
//!
//! ```text
//! use-case ── append ──> audit_event ── sequencer ──> log_tile, log_epoch (one transaction) ──> checkpoint
//!                              └────── index ──────> log_index ──> trails
//! ```
//!
//! An event's number is its place in the order of commits, given under the row of a counter, so that leaf `i` of an epoch is event
//! `first + i`: two sequencers on one database make the same tree, and a compare-and-swap of its size lets one of them write it.
//!
//! | module | what it gives |
//! |---|---|
//! | [`append`] | rows of the trail |
//! | [`epoch`] | where the log stands: size, frontier, checkpoint |
//! | [`sequencer`] | leaves, tiles and the next checkpoint |
//! | [`tiles`] | tiles by their paths, and proofs made from them |
//! | [`index`] | by what events are found |
//! | [`export`] | a part of the log as a file that verifies offline |
//! | [`proofs`] | proofs of events under the checkpoint of their epoch |
//! | [`whole`] | whether everything stored fits together |
//! | [`ask`] | asking a witness elsewhere, over HTTPS |
//! | [`seen`] | the last head of somebody else's log, and forks |

pub mod append;
pub mod ask;
pub mod epoch;
pub mod export;
pub mod index;
pub mod proofs;
pub mod seen;
pub mod sequencer;
#[cfg(test)]
mod tests;
pub mod tiles;
pub mod whole;

use crate::store::{Store, StoreError};
use kith_proto::id::NetworkName;
use kith_proto::log::note::NoteError;
use kith_proto::log::origin::Keeper;
use kith_proto::log::proof::ProofError;
use kith_proto::log::tile::TileError;
use kith_proto::log::tree::TreeError;
use kith_proto::problem::Problem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Why the log was not read or carried on, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The store failed: as it says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event is missing, stands twice or cannot be read: the database was damaged or altered; look at it with `audit verify`.
    #[error("the trail is not whole at event {0}")]
    Broken(i64),
    /// The row that says where the log stands is gone: the database was damaged or altered; bring back a backup.
    #[error("the log has no epoch")]
    NoEpoch,
    /// A checkpoint could not be made or read.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A tile is missing or damaged.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// There is no such proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The tree is full, or its stored hashes do not cover it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl LogError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Broken(_) | Self::NoEpoch => Problem::Unavailable,
            Self::Note(error) => error.problem(),
            Self::Tile(error) => error.problem(),
            Self::Proof(error) => error.problem(),
            Self::Tree(error) => error.problem(),
        }
    }
}

/// Set for good once the benchmark has said so; see [`switch_off`].
static OFF: AtomicBool = AtomicBool::new(false);
/// The file in the working folder by which the benchmark says that from now on nothing is logged, to measure what the log costs.
pub const OFF_FILE: &str = "kith-without-log";

/// Whether events are thrown away. Never in a program that is shipped: only with the feature of the benchmark.
fn is_off() -> bool {
    cfg!(feature = "without-log") && OFF.load(Ordering::Relaxed)
}

/// Looks whether the log is to be off from now on; the keys that are believed by then stay believed.
fn switch_off() -> bool {
    if cfg!(feature = "without-log") && Path::new(OFF_FILE).exists() {
        OFF.store(true, Ordering::Relaxed);
    }
    is_off()
}

/// The log of one server. Its key is an argument of what signs.
#[derive(Clone)]
pub struct Log {
    /// Where it is kept.
    pub store: Store,
    /// The network it belongs to.
    pub network: NetworkName,
    /// Whose it is.
    pub keeper: Keeper,
    grown: watch::Sender<u64>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log(of {:?})", self.keeper)
    }
}

impl Log {
    /// Takes up the log that this store holds, or begins its first epoch.
    pub async fn open(store: &Store, network: &NetworkName, keeper: Keeper) -> Result<Self, LogError> {
        let log = Self {
            store: store.clone(),
            network: network.clone(),
            keeper,
            grown: watch::Sender::new(0),
        };
        let epoch: epoch::Epoch = store
            .tx("open log", |mut tx| async move {
                match epoch::newest(&mut tx).await? {
                    Some(epoch) => Ok(epoch),
                    // Whoever took the row away must not get another tree signed in its place.
                    None if epoch::was_begun(&mut tx).await? => Err(LogError::NoEpoch),
                    None => {
                        epoch::begin(&mut tx, 1, 1).await?;
                        epoch::newest(&mut tx).await?.ok_or(LogError::NoEpoch)
                    }
                }
            })
            .await?;
        log.grown.send_replace(epoch.frontier.size());
        Ok(log)
    }

    /// Tells of every new size of the newest epoch, after its checkpoint is stored; 0 first when a new epoch begins.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Where the newest epoch stands.
    pub async fn newest(&self) -> Result<epoch::Epoch, LogError> {
        let read = |mut tx| async move { epoch::must(&mut tx).await };
        self.store.read("log epoch", read).await
    }
}
