//! Coming back after a loss: the sheet, the bundles that it opens, where they lie, and loading one into an empty place.
//!
//! | module | what it does |
//! |---|---|
//! | `sheet` | makes a recovery sheet; keeps the part of it that seals |
//! | `make` | one bundle: keys and every row, on one view of the database |
//! | `body` | the records inside |
//! | `keep` | daily, and before a new key is published; the newest two in a folder, the newest at the gateway |
//! | `load` | checks a bundle, or loads it into an empty folder and database |
//! | `fetch` | the kept bundle from the gateway |
//!
//! Called by the command line, the timers and the link. Never writes what opens a bundle to this computer, never leaves a half-written
//! bundle under a bundle's name, never keeps one longer than erasure may be kept waiting.

mod body;
pub mod fetch;
pub mod keep;
pub mod load;
mod make;
mod sheet;

use std::io;

use kith_proto::problem::Problem;
use kith_proto::recovery::{BundleError, ShareError, SheetError};
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::StoreError;

use crate::keys::KeysError;
use crate::keys::{DataFolder, Membership};
use crate::node::Node;
use kith_service::rng::Rng;
use kith_service::store::Store;

pub use make::{Made, file_name, make};
pub use sheet::{MadeSheet, kept_sheet, make_sheet};

/// What a bundle is made of; a running node has it all, a command beside it too.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The database.
    pub store: &'a Store,
    /// The data folder.
    pub folder: &'a DataFolder,
    /// Whose it is.
    pub me: &'a Membership,
    /// Randomness.
    pub rng: &'a Rng,
    /// The time.
    pub now_ms: i64,
}

impl<'a> Source<'a> {
    /// What a running node's bundle is made of.
    pub fn of(node: &'a Node, now_ms: i64) -> Self {
        Self {
            store: &node.store,
            folder: &node.folder,
            me: &node.membership,
            rng: &node.rng,
            now_ms,
        }
    }
}

/// Why nothing was made, loaded or fetched, by what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no sheet yet.
    #[error(
        "this node has no recovery sheet: make one with `kith-node recovery sheet`, print it and cut it apart"
    )]
    NoSheet,
    /// The sheet in the data folder cannot be read.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// The shares do not open anything.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The bundle cannot be made or opened.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle opens, but what it holds cannot be read.
    #[error("what this bundle holds cannot be read: take another copy, or an older one")]
    Malformed,
    /// The bundle was made by a later program.
    #[error("this bundle was made by a later version of this program: use that one")]
    Newer,
    /// The folder is not empty.
    #[error("this data folder is not empty, so nothing was changed: name a new one")]
    FolderTaken,
    /// The database is not empty.
    #[error("this database is not empty, so nothing was changed: name a new one")]
    StoreTaken,
    /// The folder cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of bundles cannot be read or written.
    #[error(
        "the recovery bundle cannot be read or written there: see that the place exists, is writable and has room"
    )]
    Io(#[from] io::Error),
    /// The gateway could not be asked, or said no.
    #[error("the gateway did not give or take the bundle")]
    Gateway(Box<Failure>),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl RecoveryError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoSheet => Problem::WrongState,
            Self::Sheet(error) => error.problem(),
            Self::Share(error) => error.problem(),
            Self::Bundle(error) => error.problem(),
            Self::Malformed | Self::Newer => Problem::Invalid,
            Self::FolderTaken | Self::StoreTaken => Problem::Conflict,
            Self::Keys(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Gateway(failure) => failure.problem,
            Self::Io(_) | Self::Random(_) => Problem::Unavailable,
        }
    }
}
