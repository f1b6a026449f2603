//! The file that a part of a trail is given out as: JSON Lines in UTF-8, enough by itself to be verified offline with nothing but
//! the fingerprint of the network's root key. Nodes and gateways write it, `audit verify` and `audit compare` read it.
//! Never a line that is not one of these, never a second spelling of one: what is read and written again is the same to the byte.
//!
//! Each line is an object with one name, and ends in a newline. In this order:
//!
//! | line | how many | holds |
//! |---|---|---|
//! | `header` | one | `format` (`kith/trail/1`), `network`, `exporter` (a slug, empty for the gateway), `exported_at_ms`, `question` (filter → value), `root_public_key` |
//! | `trust` | one | `issuer` and `policy` (`Signed`): what the root says of the gateway's key and of witnesses |
//! | `member` | the exporter's first, none needed of a gateway | `chain` (`BindingChain`) |
//! | `binding` | after its member, one for each binding | `organisation`, `number`, `salt`, `preimage`, `proof` (`.tlog-proof`): the leaf of the gateway's log that names it |
//! | `checkpoint` | one or more for each epoch, ascending | `epoch`, `note`, `consistency` (hashes from the checkpoint before of this epoch) |
//! | `event` | any, ascending by epoch and index | `epoch`, `index`, `entry`, `hashes` (inclusion under the epoch's last checkpoint) and, where it may be shown, `opened` (`salt`, `preimage`) |
//! | `end` | one | `lines` before this one, `signature` |
//!
//! Bytes and messages are standard base64, hashes and ids as their formats write them. The signature is the exporter's, Ed25519 in
//! the context `kith/v1/export` over SHA-256 of all bytes before the line.

use super::Leaf;
use super::leaf::Salt;
use crate::id::{NetworkName, OrgId};
use crate::log::leaf_proof::LeafProof;
use crate::log::note::Note;
use crate::log::origin::Keeper;
use crate::log::proof::PROOF_HASHES_MAX;
use crate::log::tree::Hash;
use crate::problem::Problem;
use crate::sign::{PublicKey, Signature};
use crate::v1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod fields;
mod read;
mod write;

pub use read::ExportReader;
pub use write::ExportWriter;

/// The format that this program writes and reads.
pub const FORMAT: &str = "kith/trail/1";
/// Longest line, in bytes: a chain of the most bindings and registrars, each statement of the longest (1,102 of 4.2 kB), in base64.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest file, in bytes: some 170,000 events of 1.5 kB, which is what an event with its proof in a log of a million leaves takes:
/// several years of a busy organisation. More is exported in parts, by time.
pub const EXPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most lines: every event has more than 250 bytes.
pub const LINES_MAX: u64 = EXPORT_BYTES_MAX / 250;
/// Most filters of a question: every word a trail can be asked by, some of them twice.
pub const QUESTION_FILTERS_MAX: usize = 16;
/// Longest name or value of a filter, in bytes: a hash in hexadecimal, or a slug and a network's name.
pub const QUESTION_BYTES_MAX: usize = 128;

/// Why a line was not read or written, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Not a line of this format: refuse the file.
    #[error("the line cannot be read")]
    Malformed,
    /// A line or the file is over its limit: refuse it, or export less at a time.
    #[error("the line or the file is too large")]
    TooLarge,
    /// The file ends within a line: fetch it again.
    #[error("the file ends in the middle of a line")]
    Cut,
    /// The file could not be read: look at the disk.
    #[error("the file cannot be read")]
    Unreadable,
    /// The cryptographic library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl ExportError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed | Self::Cut => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Unreadable | Self::Library => Problem::Unavailable,
        }
    }
}

/// One line, as read: nothing of it is believed before [`super::verify`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What the file is.
    Header(Header),
    /// What the root says.
    Trust(Trust),
    /// A member's keys.
    Member(MemberChain),
    /// That a binding stands in the gateway's log.
    Binding(BindingLeaf),
    /// A state of the exporter's log.
    Checkpoint(LogCheckpoint),
    /// An event of the exporter's log.
    Event(EventLeaf),
    /// That the file is whole.
    End(End),
}

/// What the file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The network.
    #[serde(with = "fields::text")]
    pub network: NetworkName,
    /// Whose log it is from.
    #[serde(with = "fields::keeper")]
    pub exporter: Keeper,
    /// When it was exported, in milliseconds UTC, as the exporter says.
    pub exported_at_ms: i64,
    /// What was asked for: filter to value, ids in hexadecimal. Empty for everything.
    pub question: BTreeMap<String, String>,
    /// The root's key, believed by its fingerprint alone.
    #[serde(with = "fields::public_key")]
    pub root_public_key: PublicKey,
}

/// What the root says of the gateway's key and of the witnesses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The issuer in force when the file was exported.
    #[serde(with = "fields::message")]
    pub issuer: v1::Signed,
    /// The witness policy.
    #[serde(with = "fields::message")]
    pub policy: v1::Signed,
}

/// A member's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberChain {
    /// Its chain from the root on.
    #[serde(with = "fields::message")]
    pub chain: v1::BindingChain,
}

/// The opened leaf of the gateway's log that names a binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingLeaf {
    /// The member.
    #[serde(with = "fields::text")]
    pub organisation: OrgId,
    /// The binding's number in its chain.
    pub number: u64,
    /// The leaf's salt.
    #[serde(with = "fields::bytes")]
    pub salt: Salt,
    /// The event, of code `member_joined` or `binding_published`.
    pub preimage: String,
    /// That it is in the gateway's log.
    #[serde(with = "fields::text")]
    pub proof: LeafProof,
}

/// A state of the exporter's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogCheckpoint {
    /// The epoch, as its origin says it.
    pub epoch: u64,
    /// The checkpoint with its cosignatures.
    #[serde(with = "fields::note")]
    pub note: Note,
    /// That it continues the checkpoint before of this epoch; empty for the first.
    #[serde(with = "fields::hashes")]
    pub consistency: Vec<Hash>,
}

/// An event of the exporter's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLeaf {
    /// The epoch of its log.
    pub epoch: u64,
    /// Its leaf's number in that epoch.
    pub index: u64,
    /// What stands in the log.
    #[serde(with = "fields::text")]
    pub entry: Leaf,
    /// That it is under the epoch's last checkpoint.
    #[serde(with = "fields::hashes")]
    pub hashes: Vec<Hash>,
    /// What it says; none where the exporter may not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

/// What opens a leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// The leaf's salt.
    #[serde(with = "fields::bytes")]
    pub salt: Salt,
    /// The event as text.
    pub preimage: String,
}

/// That the file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many lines stand before this one.
    pub lines: u64,
    /// The exporter's, over everything before this line.
    #[serde(with = "fields::signature")]
    pub signature: Signature,
}

impl Line {
    /// Reads a line without its newline, in its one spelling. [`ExportError::Malformed`] or [`ExportError::TooLarge`].
    pub fn read(line: &[u8]) -> Result<Self, ExportError> {
        if line.len() >= LINE_BYTES_MAX {
            return Err(ExportError::TooLarge);
        }
        let read: Self = serde_json::from_slice(line).map_err(|_| ExportError::Malformed)?;
        // Other spaces, escapes or an order of its own would let two files say the same.
        if read.written()?.as_bytes() == line {
            Ok(read)
        } else {
            Err(ExportError::Malformed)
        }
    }

    /// Writes the line without its newline. [`ExportError::Malformed`] or [`ExportError::TooLarge`] when it would not be read.
    pub fn written(&self) -> Result<String, ExportError> {
        self.within_limits()?;
        let line = serde_json::to_string(self).map_err(|_| ExportError::Malformed)?;
        if line.len() < LINE_BYTES_MAX {
            Ok(line)
        } else {
            Err(ExportError::TooLarge)
        }
    }

    fn within_limits(&self) -> Result<(), ExportError> {
        match self {
            Self::Header(header) => header.within_limits(),
            Self::Checkpoint(LogCheckpoint {
                consistency: hashes, ..
            })
            | Self::Event(EventLeaf { hashes, .. })
                if hashes.len() > PROOF_HASHES_MAX =>
            {
                Err(ExportError::TooLarge)
            }
            _ => Ok(()),
        }
    }
}

impl Header {
    fn within_limits(&self) -> Result<(), ExportError> {
        let long = |text: &str| text.len() > QUESTION_BYTES_MAX;
        if self.question.len() > QUESTION_FILTERS_MAX
            || self
                .question
                .iter()
                .any(|(name, value)| long(name) || long(value))
        {
            return Err(ExportError::TooLarge);
        }
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let asked = self
            .question
            .iter()
            .all(|(name, value)| plain(name) && plain(value));
        if self.format == FORMAT && self.exported_at_ms >= 0 && asked {
            Ok(())
        } else {
            Err(ExportError::Malformed)
        }
    }
}
