//! The gateway's log as this node follows it: entry by entry up to each checkpoint, so that a member's keys are believed only where
//! everybody can see them. Pure: the link fetches, `store::keylog` keeps.
//! Never believes beyond a checkpoint that counts, never passes over an entry of the key log that is not opened, never goes back.
//!
//! | word | meaning |
//! |---|---|
//! | followed | every entry was read, and led to the root that the gateway signed |
//! | believed | followed, and the checkpoint counts by the root's witness policy |
//!
//! Reading every entry is the consistency proof with all that was followed before, and shows that no entry of the key log was kept
//! back. What is followed may be cosigned; only what is believed says whose keys are whose.
//!
//! A gateway that came back from a backup begins its log anew, by the root's word for the next epoch: that is followed from leaf 0, and
//! only its leaves say whose keys are whose.

mod own;
mod walk;

use kith_proto::id::OrgId;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::{Note, NoteError, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::policy::{Standing, WitnessPolicy};
use kith_proto::log::tree::{Frontier, TreeHead};
use kith_proto::trail::export::BindingLeaf;
use kith_proto::trail::leaf::Salt;
use kith_proto::trail::{Code, Leaf};
use kith_proto::trust;

use crate::keys::Membership;

pub use own::made_here;
pub use walk::{Altered, Walk};

/// The epoch that a gateway's log begins with. A later one is followed by the root's word alone.
pub const FIRST_EPOCH: u64 = 1;

/// A state of the gateway's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its size and what covers it.
    pub frontier: Frontier,
    /// The note that says so.
    pub note: Note,
    /// When it was taken over, ms UTC.
    pub at_ms: i64,
}

impl Mark {
    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }
}

/// Where this node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Of the gateway's log.
    pub epoch: u64,
    /// The furthest that was followed.
    pub followed: Mark,
    /// The furthest that is believed, never beyond the other.
    pub believed: Option<Mark>,
}

/// A leaf of the key log, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLeaf {
    /// Its index.
    pub number: u64,
    /// What happened.
    pub code: Code,
    /// Whom it is about.
    pub organisation: Option<OrgId>,
    /// The hash of the signed binding that it names.
    pub binding: Option<[u8; 32]>,
    /// What opens it.
    pub salt: Salt,
    /// What it says.
    pub preimage: String,
}

impl KeyLeaf {
    /// The leaf of a binding as an export carries it, with its proof; `None` for every other leaf.
    pub fn exported(self, proof: LeafProof) -> Option<BindingLeaf> {
        let (_, told) = Leaf::opened(&self.salt, &self.preimage).ok()?;
        let number = told.get("number")?.parse().ok()?;
        self.binding?;
        Some(BindingLeaf {
            organisation: self.organisation?,
            number,
            salt: self.salt,
            preimage: self.preimage,
            proof,
        })
    }
}

/// A checkpoint that the gateway shows, signed by its log.
#[derive(Clone, Debug)]
pub struct Shown {
    /// As it came, with its cosignatures.
    pub note: Note,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Whether it counts.
    pub standing: Standing,
}

impl Shown {
    /// Reads a note that the log has signed; how far it counts is said by the policy, and without one not at all. Where a cosignature
    /// in the name of a witness is not its own, none counts.
    pub fn read(
        text: &str,
        log_keys: &[VerifierKey],
        policy: Option<&WitnessPolicy>,
    ) -> Result<Self, NoteError> {
        let note = Note::parse(text.as_bytes())?;
        let checkpoint = Checkpoint::open(&note, log_keys)?;
        Ok(Self {
            standing: standing(&note, log_keys, policy),
            checkpoint,
            note,
        })
    }

    /// Size and root.
    pub const fn head(&self) -> TreeHead {
        *self.checkpoint.head()
    }
}

/// Whether a note of the log counts.
pub fn standing(note: &Note, log_keys: &[VerifierKey], policy: Option<&WitnessPolicy>) -> Standing {
    let uncounted = |policy: Option<&WitnessPolicy>| Standing::Unwitnessed {
        by: Vec::new(),
        needed: policy.map_or(1, |policy| policy.threshold().max(1)),
    };
    match policy.map(|policy| policy.open(note, log_keys)) {
        Some(Ok((_, standing))) => standing,
        Some(Err(_)) | None => uncounted(policy),
    }
}

/// What the gateway's log signs an epoch with, by the root's last word that this node has; `None` where that has run out.
pub fn log_keys(me: &Membership, epoch: u64, now_ms: i64) -> Option<[VerifierKey; 1]> {
    let issuer = trust::verify_issuer(&me.issuer, &me.root, &me.network, now_ms).ok()?;
    Some([Keeper::Gateway.log_key(&me.network, epoch, issuer.signing_key)])
}

/// How the furthest that was followed counts, in words for people; it may be further than what is believed.
pub fn standing_in_words(held: &Held, me: &Membership, now_ms: i64) -> String {
    let believed = held.believed.as_ref();
    let is_believed = believed.is_some_and(|mark| mark.head() == held.followed.head());
    let note = believed
        .filter(|_| is_believed)
        .map_or(&held.followed.note, |mark| &mark.note);
    match log_keys(me, held.epoch, now_ms) {
        Some(keys) => standing(note, &keys, me.witness_policy().as_ref()).to_string(),
        None => "unwitnessed: the gateway's key has run out".to_owned(),
    }
}

#[cfg(test)]
mod tests;
