//! What does not fit in a stored log, by table and row, in words for whoever looks after the server.
//! Never a value of the row: its place is enough to look at it.

use super::super::tiles::Place;
use std::fmt;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An event is missing, or stands at another number.
    Missing(i64),
    /// An event cannot be read, or its code or time is not what it says.
    Unreadable(i64),
    /// An event is not the one that the log has.
    Altered(i64),
    /// An event has a number that was never given out.
    Unnumbered(i64),
    /// An epoch is missing.
    Epochs,
    /// An epoch's tree is not the one that was stored, or nobody who restored this server opened it.
    Tree(u64),
    /// A checkpoint of an epoch is not signed by the log, or not of its tree.
    Checkpoint(u64, &'static str),
    /// A tile or bundle is missing, altered or too many.
    Tile(u64, Place),
    /// The index says that it has events which do not exist.
    Index,
}

impl Fault {
    /// The table of the row.
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Unreadable(_) | Self::Altered(_) | Self::Unnumbered(_) => "audit_event",
            Self::Epochs | Self::Tree(_) | Self::Checkpoint(..) => "log_epoch",
            Self::Tile(..) => "log_tile",
            Self::Index => "log_index_end",
        }
    }

    /// The row's key, as far as there is one.
    pub fn row(&self) -> String {
        match self {
            Self::Missing(seq) | Self::Unreadable(seq) | Self::Altered(seq) | Self::Unnumbered(seq) => {
                seq.to_string()
            }
            Self::Tree(epoch) | Self::Checkpoint(epoch, _) => epoch.to_string(),
            Self::Tile(epoch, place) => format!("{epoch}/{place}"),
            Self::Epochs | Self::Index => "1".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(seq) => write!(f, "event {seq} is missing, or stands at another number"),
            Self::Unreadable(seq) => {
                write!(
                    f,
                    "event {seq} cannot be read, or says another code or time than its row"
                )
            }
            Self::Altered(seq) => write!(f, "event {seq} is not the one that the log has"),
            Self::Unnumbered(seq) => write!(f, "event {seq} has a number that was never given out"),
            Self::Epochs => f.write_str("epoch 1 of the log, or a later one, is missing"),
            Self::Tree(epoch) => {
                write!(f, "the tree of epoch {epoch} is not the one that its events make")
            }
            Self::Checkpoint(epoch, which) => write!(
                f,
                "the {which} checkpoint of epoch {epoch} is not signed by this log, or not of its tree"
            ),
            Self::Tile(epoch, place) => {
                write!(f, "tile {place} of epoch {epoch} is missing, altered or too many")
            }
            Self::Index => {
                f.write_str("the index is ahead of the trail, so that new events would not be found")
            }
        }
    }
}
