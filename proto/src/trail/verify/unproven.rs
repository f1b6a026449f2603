//! Why a line of an export is not believed, in words for whoever was handed the file.
//! Never carries a value of the file: the line's number says which it is.

use crate::log::note::NoteError;
use crate::log::proof::ProofError;
use crate::problem::Problem;
use crate::trail::export::ExportError;
use crate::trust::TrustError;

/// Which signed statement did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The root's, of the gateway's key.
    Issuer,
    /// The root's, of witnesses.
    Policy,
    /// A member's chain.
    Chain,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Issuer => "the root's word about the gateway's key",
            Self::Policy => "the root's word about witnesses",
            Self::Chain => "the chain of a member's keys",
        })
    }
}

/// Why a line does not hold, by what its reader can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It cannot be read, or a limit is passed: fetch the file again, or upgrade.
    #[error(transparent)]
    Line(#[from] ExportError),
    /// It may not stand here, or not twice: the file was put together wrongly, or altered.
    #[error("the line does not belong in this place")]
    OutOfPlace,
    /// The file's root key is not the expected one: it is of another network, or a forgery.
    #[error("the file is not of the network with this root key")]
    OtherRoot,
    /// A signed statement does not hold: ask the exporter, and tell the network's operator if it repeats.
    #[error("{of} does not hold: {why}")]
    Statement {
        /// Which.
        of: Statement,
        /// Why.
        why: TrustError,
    },
    /// The first member is not the exporter, or the exporter's keys are not in the file.
    #[error("the exporter's own keys are not proven")]
    ExporterUnknown,
    /// Not every binding of a member is proven to be in the gateway's log: somebody may have made one in secret.
    #[error("not every key of a member is proven to be in the gateway's log")]
    BindingMissing,
    /// The leaf of the gateway's log is about another member or binding.
    #[error("the gateway's log says something else about these keys")]
    OtherBinding,
    /// The checkpoint is not its log's, or not signed.
    #[error("the checkpoint is not believed: {0}")]
    Checkpoint(NoteError),
    /// The gateway's checkpoint lacks witnesses: fetch a newer export once they have cosigned.
    #[error("the gateway's checkpoint is unwitnessed: {by} of {needed} cosignatures")]
    Unwitnessed {
        /// How many cosigned.
        by: usize,
        /// How many must.
        needed: usize,
    },
    /// The gateway did not cosign the node's checkpoint: nobody but the node vouches for it.
    #[error("the gateway has not cosigned the checkpoint")]
    NotCosigned,
    /// Two checkpoints of one log contradict each other: keep the file and tell a person.
    #[error("two checkpoints of one log contradict each other")]
    Forked,
    /// The epoch has no checkpoint in the file.
    #[error("there is no checkpoint for this epoch")]
    NoCheckpoint,
    /// The leaf is not in the tree that the checkpoint speaks of.
    #[error("the line is not in the log: {0}")]
    NotInLog(ProofError),
    /// The opened event is not the one that its leaf commits to.
    #[error("the event is not the one that stands in the log")]
    OtherEvent,
    /// The exporter did not sign these lines: one was altered, left out or added.
    #[error("the exporter did not sign these lines: some were altered, left out or added")]
    Altered,
    /// The file ends before its last line: fetch it again.
    #[error("the file is cut off before its last line")]
    Cut,
    /// An earlier line does not hold: look at that one.
    #[error("an earlier line is not proven")]
    Stopped,
}

impl Unproven {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Line(error) => error.problem(),
            Self::Statement { why, .. } => why.problem(),
            Self::Checkpoint(error) => error.problem(),
            Self::NotInLog(error) => error.problem(),
            Self::OutOfPlace | Self::NoCheckpoint | Self::Cut | Self::Stopped => Problem::Invalid,
            Self::Forked | Self::OtherBinding | Self::OtherEvent => Problem::Conflict,
            Self::OtherRoot
            | Self::ExporterUnknown
            | Self::BindingMissing
            | Self::Unwitnessed { .. }
            | Self::NotCosigned
            | Self::Altered => Problem::Unauthenticated,
        }
    }
}
