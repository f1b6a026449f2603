//! Offline verification of an export with nothing but the network's root key: line by line, each proven by what stands before it.
//! `audit verify` and `audit compare` call it, and auditors in other programs.
//! Never believe a line for standing in the file, never go on after one that does not hold, never read a clock.
//!
//! ```text
//! root fingerprint → root key → issuer (the gateway's key) and witness policy
//!   → each member's chain, each of its bindings in the gateway's log under a checkpoint that counts
//!     → the exporter's checkpoints: signed by its key; a node's cosigned by the gateway, the gateway's counted by the policy
//!       → each event in the log; an opened one says what its leaf commits to
//!         → the last line: the exporter signed the whole file
//! ```
//!
//! Times are judged at the time that the file says it was exported at. What is not in the file is not proven to be absent from the
//! log: the exporter answers for that with its signature over question and answer.

use super::event::Told;
use super::export::{EXPORT_BYTES_MAX, End, ExportError, Header, LINES_MAX, Line};
use super::{Code, Leaf};
use crate::id::{NetworkName, OrgId};
use crate::log::checkpoint::Checkpoint;
use crate::log::origin::Keeper;
use crate::log::policy::Standing;
use crate::sign::{Context, PublicKey};
use crate::trust::{Member, RootKey};
use aws_lc_rs::digest;
use std::collections::BTreeMap;

mod shown;
mod trusted;
mod unproven;

pub(super) use trusted::Heads;
use trusted::Trusted;
pub use unproven::{Statement, Unproven};

/// Whether a line holds, and what it then says; or why not.
pub type LineVerdict = Result<Proven, Unproven>;

/// What a line that holds says; written as one line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    /// The file is of this network, by this exporter, under the expected root.
    Header {
        /// The network.
        network: NetworkName,
        /// Whose log it is from.
        exporter: Keeper,
    },
    /// The root vouches for the gateway's key and the witness policy.
    Trust {
        /// How many witnesses must cosign; 0 when the network has none, which must be said.
        threshold: usize,
        /// The policy's number, to hold against the highest that is known.
        policy_number: u64,
    },
    /// The member's keys follow from the root; its bindings are yet to be found in the gateway's log.
    Member {
        /// The member.
        organisation: OrgId,
        /// Its display name.
        name: String,
    },
    /// The binding stands in the gateway's log.
    Binding {
        /// The member.
        organisation: OrgId,
        /// The binding's number.
        number: u64,
        /// How the gateway's checkpoint counts.
        standing: Standing,
    },
    /// The log was in this state.
    Checkpoint {
        /// The epoch.
        epoch: u64,
        /// How many leaves it had.
        size: u64,
        /// How the gateway's checkpoint counts; none of a node, whose checkpoint the gateway cosigned.
        standing: Option<Standing>,
    },
    /// The event is in the log.
    Event(ProvenEvent),
    /// The file is whole.
    End {
        /// How many lines it has.
        lines: u64,
    },
}

/// An event that is in its exporter's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEvent {
    /// The epoch.
    pub epoch: u64,
    /// Its leaf's number in that epoch.
    pub index: u64,
    /// What stands in the log.
    pub leaf: Leaf,
    pub(super) preimage: Option<String>,
}

impl ProvenEvent {
    /// What happened.
    pub const fn code(&self) -> Code {
        self.leaf.code
    }

    /// What it says; none where the exporter did not open it.
    pub fn told(&self) -> Option<Told<'_>> {
        // cannot fail: it was read when it was proven.
        self.preimage.as_deref().and_then(|text| Told::read(text).ok())
    }
}

/// An export of which every line holds.
#[derive(Clone, Debug)]
pub struct Verified {
    pub(super) header: Header,
    pub(super) members: BTreeMap<OrgId, Member>,
    pub(super) checkpoints: BTreeMap<u64, Checkpoint>,
    pub(super) heads: Heads,
    pub(super) events: Vec<ProvenEvent>,
    pub(super) threshold: usize,
    pub(super) policy_number: u64,
}

impl Verified {
    /// The file's header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whose log it is from.
    pub const fn keeper(&self) -> &Keeper {
        &self.header.exporter
    }

    /// The members whose keys it proves, the exporter among them.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member's display name, if it proves one.
    pub fn name_of(&self, org: &OrgId) -> Option<&str> {
        self.members.get(org).map(|member| member.name.as_str())
    }

    /// The last checkpoint of each epoch that it speaks of.
    pub fn checkpoints(&self) -> impl Iterator<Item = (u64, &Checkpoint)> {
        self.checkpoints
            .iter()
            .map(|(epoch, checkpoint)| (*epoch, checkpoint))
    }

    /// The events, in the log's order.
    pub fn events(&self) -> &[ProvenEvent] {
        &self.events
    }

    /// Whether the network's policy names no witness: everything holds, but nobody outside vouches for the gateway's log. Say so.
    pub const fn is_unwitnessed(&self) -> bool {
        self.threshold == 0
    }

    /// The number of the witness policy it was judged by: an old one may ask for less.
    pub const fn policy_number(&self) -> u64 {
        self.policy_number
    }
}

/// Where the file stands.
#[derive(Clone)]
enum Stage {
    Start,
    Headed(Header),
    Trusted(Box<Trusted>),
    Ended(Box<Verified>),
    Failed,
}

/// A verification under way. Give it every line in order, then [`Verifier::finish`].
#[derive(Clone)]
pub struct Verifier {
    root: RootKey,
    hash: digest::Context,
    lines: u64,
    bytes: u64,
    stage: Stage,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} lines)", self.lines)
    }
}

impl Verifier {
    /// Begins, with the root's key or its fingerprint as it was handed over, never as the file says it.
    pub fn new(root: RootKey) -> Self {
        Self {
            root,
            hash: digest::Context::new(&digest::SHA256),
            lines: 0,
            bytes: 0,
            stage: Stage::Start,
        }
    }

    /// Judges the next line, without its newline. After one that does not hold every other is [`Unproven::Stopped`].
    pub fn line(&mut self, line: &[u8]) -> LineVerdict {
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        if matches!(stage, Stage::Failed) {
            return Err(Unproven::Stopped);
        }
        // widens: a line's length.
        self.bytes = self.bytes.saturating_add(line.len() as u64 + 1);
        if self.bytes > EXPORT_BYTES_MAX || self.lines > LINES_MAX {
            return Err(Unproven::Line(ExportError::TooLarge));
        }
        let (next, proven) = self.step(stage, Line::read(line).map_err(Unproven::Line)?)?;
        self.stage = next;
        self.lines += 1;
        self.hash.update(line);
        self.hash.update(b"\n");
        Ok(proven)
    }

    /// Says that the file is at its end. [`Unproven::Cut`] when its last line has not come, [`Unproven::Stopped`] when one did not hold.
    pub fn finish(self) -> Result<Verified, Unproven> {
        match self.stage {
            Stage::Ended(verified) => Ok(*verified),
            Stage::Failed => Err(Unproven::Stopped),
            Stage::Start | Stage::Headed(_) | Stage::Trusted(_) => Err(Unproven::Cut),
        }
    }

    fn step(&self, stage: Stage, line: Line) -> Result<(Stage, Proven), Unproven> {
        match (stage, line) {
            (Stage::Start, Line::Header(header)) => {
                self.root
                    .accept(&header.root_public_key)
                    .map_err(|_| Unproven::OtherRoot)?;
                let proven = Proven::Header {
                    network: header.network.clone(),
                    exporter: header.exporter.clone(),
                };
                Ok((Stage::Headed(header), proven))
            }
            (Stage::Headed(header), Line::Trust(trust)) => {
                let trusted = Trusted::new(header, &trust)?;
                let proven = trusted.proven();
                Ok((Stage::Trusted(Box::new(trusted)), proven))
            }
            (Stage::Trusted(trusted), Line::End(end)) => {
                self.whole(&trusted, &end)?;
                let lines = end.lines + 1;
                Ok((Stage::Ended(Box::new(trusted.verified())), Proven::End { lines }))
            }
            (Stage::Trusted(mut trusted), line) => {
                let proven = match line {
                    Line::Member(member) => trusted.member(&member.chain)?,
                    Line::Binding(leaf) => trusted.binding(&leaf)?,
                    Line::Checkpoint(checkpoint) => trusted.checkpoint(&checkpoint)?,
                    Line::Event(event) => trusted.event(event)?,
                    Line::Header(_) | Line::Trust(_) | Line::End(_) => return Err(Unproven::OutOfPlace),
                };
                Ok((Stage::Trusted(trusted), proven))
            }
            _ => Err(Unproven::OutOfPlace),
        }
    }

    /// Holds the last line against all that came before it.
    fn whole(&self, trusted: &Trusted, end: &End) -> Result<(), Unproven> {
        let keys: Vec<PublicKey> = trusted.ready_to_end()?;
        if end.lines != self.lines {
            return Err(Unproven::Altered);
        }
        let hash = self.hash.clone().finish();
        let signed = |key: &PublicKey| {
            key.verify(Context::Export, &[hash.as_ref()], &end.signature)
                .is_ok()
        };
        if keys.iter().any(signed) {
            Ok(())
        } else {
            Err(Unproven::Altered)
        }
    }
}
