//! What an export has proven so far, from the root's statements on, and how each further line is held against it.
//! Only [`super::Verifier`] calls it, with lines in the file's order.
//! Never takes a key from a line that is not signed by a key proven before.

use super::{Proven, ProvenEvent, Statement, Unproven, Verified};
use crate::id::{NetworkName, OrgId};
use crate::log::checkpoint::Checkpoint;
use crate::log::note::{Note, NoteError, VerifierKey};
use crate::log::origin::Keeper;
use crate::log::policy::{Standing, WitnessPolicy};
use crate::log::proof::{verify_consistency, verify_inclusion};
use crate::log::tree::Hash;
use crate::sign::PublicKey;
use crate::trail::export::{BindingLeaf, EventLeaf, Header, LogCheckpoint, Trust};
use crate::trail::{Code, Leaf};
use crate::trust::{Binding, CLOCK_SKEW_MS, Member, TrustError, verify_chain, verify_issuer};
use crate::v1;
use std::collections::BTreeMap;

/// Which part of the file lines now belong to; it only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Members,
    Checkpoints,
    Events,
}

/// The roots of checkpoints of any log, by origin and size.
pub(crate) type Heads = BTreeMap<(String, u64), Hash>;

/// What is proven so far.
#[derive(Clone)]
pub(super) struct Trusted {
    header: Header,
    gateway: PublicKey,
    policy: WitnessPolicy,
    part: Part,
    members: BTreeMap<OrgId, Member>,
    /// The member whose bindings are being proven, and how many are.
    proving: Option<(OrgId, usize)>,
    checkpoints: BTreeMap<u64, Checkpoint>,
    /// Every checkpoint seen, the exporter's and the gateway's.
    heads: Heads,
    events: Vec<ProvenEvent>,
}

impl Trusted {
    /// Believes the root's two statements.
    pub(super) fn new(header: Header, trust: &Trust) -> Result<Self, Unproven> {
        let (root, network, at_ms) = (&header.root_public_key, &header.network, header.exported_at_ms);
        let issuer = verify_issuer(&trust.issuer, root, network, at_ms);
        let issuer = issuer.map_err(|why| not_held(Statement::Issuer, why))?;
        let policy = WitnessPolicy::verify(&trust.policy, root, network);
        Ok(Self {
            gateway: issuer.signing_key,
            policy: policy.map_err(|why| not_held(Statement::Policy, why))?,
            part: Part::Members,
            members: BTreeMap::new(),
            proving: None,
            checkpoints: BTreeMap::new(),
            heads: BTreeMap::new(),
            events: Vec::new(),
            header,
        })
    }

    pub(super) fn proven(&self) -> Proven {
        Proven::Trust {
            threshold: self.policy.threshold(),
            policy_number: self.policy.number(),
        }
    }

    /// Believes a member's chain; its bindings must follow.
    pub(super) fn member(&mut self, chain: &v1::BindingChain) -> Result<Proven, Unproven> {
        if self.part != Part::Members {
            return Err(Unproven::OutOfPlace);
        }
        self.all_bindings_proven()?;
        let (root, at_ms) = (&self.header.root_public_key, self.header.exported_at_ms);
        let member = verify_chain(chain, root, self.network(), at_ms);
        let member = member.map_err(|why| not_held(Statement::Chain, why))?;
        let of_exporter = match &self.header.exporter {
            Keeper::Node(exporter) => !self.members.is_empty() || member.org == *exporter,
            Keeper::Gateway => true,
        };
        if !of_exporter {
            return Err(Unproven::ExporterUnknown);
        }
        let proven = Proven::Member {
            organisation: member.org.clone(),
            name: member.name.clone(),
        };
        self.proving = Some((member.org.clone(), 0));
        if self.members.insert(member.org.clone(), member).is_some() {
            return Err(Unproven::OutOfPlace);
        }
        Ok(proven)
    }

    /// Believes that the next binding of the member before stands in the gateway's log.
    pub(super) fn binding(&mut self, leaf: &BindingLeaf) -> Result<Proven, Unproven> {
        let Some((org, count)) = self.proving.clone().filter(|_| self.part == Part::Members) else {
            return Err(Unproven::OutOfPlace);
        };
        let bindings = self.members.get(&org).map(|member| member.bindings.as_slice());
        let Some(binding) = bindings.unwrap_or_default().get(count) else {
            return Err(Unproven::OutOfPlace);
        };
        if leaf.organisation != org || leaf.number != binding.number {
            return Err(Unproven::OtherBinding);
        }
        let entry = names(leaf, binding)?;
        let claimed = leaf.proof.note().text().lines().next().unwrap_or_default();
        let Some((Keeper::Gateway, epoch)) = Keeper::of_origin(claimed, self.network()) else {
            return Err(Unproven::Checkpoint(NoteError::Foreign));
        };
        let (checkpoint, standing) = self.of_gateway(epoch, leaf.proof.note())?;
        let (index, hashes) = (leaf.proof.index(), leaf.proof.hashes());
        verify_inclusion(checkpoint.head(), index, &entry.hash(), hashes).map_err(Unproven::NotInLog)?;
        self.seen(&checkpoint)?;
        self.proving = Some((org.clone(), count + 1));
        Ok(Proven::Binding {
            organisation: org,
            number: leaf.number,
            standing,
        })
    }

    /// Believes a checkpoint of the exporter's log.
    pub(super) fn checkpoint(&mut self, line: &LogCheckpoint) -> Result<Proven, Unproven> {
        if self.part > Part::Checkpoints {
            return Err(Unproven::OutOfPlace);
        }
        self.all_bindings_proven()?;
        self.part = Part::Checkpoints;
        let (checkpoint, standing) = match self.header.exporter.clone() {
            Keeper::Gateway => {
                let (checkpoint, standing) = self.of_gateway(line.epoch, &line.note)?;
                (checkpoint, Some(standing))
            }
            Keeper::Node(org) => (self.of_node(&org, line)?, None),
        };
        self.seen(&checkpoint)?;
        match self.checkpoints.last_key_value() {
            Some((epoch, before)) if *epoch == line.epoch => {
                verify_consistency(before.head(), checkpoint.head(), &line.consistency)
                    .map_err(|_| Unproven::Forked)?;
            }
            Some((epoch, _)) if *epoch > line.epoch => return Err(Unproven::OutOfPlace),
            _ if line.consistency.is_empty() => (),
            _ => return Err(Unproven::OutOfPlace),
        }
        let size = checkpoint.head().size;
        self.checkpoints.insert(line.epoch, checkpoint);
        Ok(Proven::Checkpoint {
            epoch: line.epoch,
            size,
            standing,
        })
    }

    /// Believes an event of the exporter's log.
    pub(super) fn event(&mut self, line: EventLeaf) -> Result<Proven, Unproven> {
        self.part = Part::Events;
        let last = self.events.last().map(|last| (last.epoch, last.index));
        if last.is_some_and(|last| last >= (line.epoch, line.index)) {
            return Err(Unproven::OutOfPlace);
        }
        let checkpoint = self.checkpoints.get(&line.epoch).ok_or(Unproven::NoCheckpoint)?;
        if let Some(opened) = &line.opened {
            let read = Leaf::opened(&opened.salt, &opened.preimage);
            match read {
                Ok((leaf, _)) if leaf == line.entry => (),
                _ => return Err(Unproven::OtherEvent),
            }
        }
        verify_inclusion(checkpoint.head(), line.index, &line.entry.hash(), &line.hashes)
            .map_err(Unproven::NotInLog)?;
        let event = ProvenEvent {
            epoch: line.epoch,
            index: line.index,
            leaf: line.entry,
            preimage: line.opened.map(|opened| opened.preimage),
        };
        self.events.push(event.clone());
        Ok(Proven::Event(event))
    }

    /// The keys of which one must have signed the end; refuses when the file may not end here.
    pub(super) fn ready_to_end(&self) -> Result<Vec<PublicKey>, Unproven> {
        self.all_bindings_proven()?;
        if self.checkpoints.is_empty() {
            return Err(Unproven::NoCheckpoint);
        }
        let Keeper::Node(org) = &self.header.exporter else {
            return Ok(vec![self.gateway]);
        };
        let member = self.members.get(org).ok_or(Unproven::ExporterUnknown)?;
        // A node that has just announced its next key may sign with the one before until it is told that the next is published.
        let now_ms = self.header.exported_at_ms;
        let in_force = [now_ms.saturating_sub(CLOCK_SKEW_MS), now_ms];
        let keys = in_force.iter().filter_map(|at_ms| member.key_at(*at_ms));
        Ok(keys.map(|binding| binding.signing_key).collect())
    }

    pub(super) fn verified(self) -> Verified {
        Verified {
            header: self.header,
            members: self.members,
            checkpoints: self.checkpoints,
            heads: self.heads,
            events: self.events,
            threshold: self.policy.threshold(),
            policy_number: self.policy.number(),
        }
    }

    const fn network(&self) -> &NetworkName {
        &self.header.network
    }

    fn all_bindings_proven(&self) -> Result<(), Unproven> {
        let Some((org, count)) = &self.proving else {
            return Ok(());
        };
        match self.members.get(org) {
            Some(member) if member.bindings.len() == *count => Ok(()),
            _ => Err(Unproven::BindingMissing),
        }
    }

    /// Opens a checkpoint of the gateway's log, which must count.
    fn of_gateway(&self, epoch: u64, note: &Note) -> Result<(Checkpoint, Standing), Unproven> {
        let key = Keeper::Gateway.log_key(self.network(), epoch, self.gateway);
        let opened = self.policy.open(note, &[key]);
        let (checkpoint, standing) = opened.map_err(Unproven::Checkpoint)?;
        match standing {
            Standing::Unwitnessed { by, needed } => Err(Unproven::Unwitnessed { by: by.len(), needed }),
            Standing::Counted { .. } | Standing::NoWitness => Ok((checkpoint, standing)),
        }
    }

    /// Opens a checkpoint of a node's log, signed with a key that it has or had and cosigned by the gateway.
    fn of_node(&self, org: &OrgId, line: &LogCheckpoint) -> Result<Checkpoint, Unproven> {
        let member = self.members.get(org).ok_or(Unproven::ExporterUnknown)?;
        let keeper = &self.header.exporter;
        let in_force = |binding: &&Binding| binding.effective_at_ms <= self.header.exported_at_ms;
        let mut keys: Vec<VerifierKey> = Vec::new();
        for binding in member.bindings.iter().filter(in_force) {
            let key = keeper.log_key(self.network(), line.epoch, binding.signing_key);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let checkpoint = Checkpoint::open(&line.note, &keys).map_err(Unproven::Checkpoint)?;
        let witness = Keeper::Gateway.witness_key(self.network(), self.gateway);
        match line.note.verify(&[witness]) {
            Ok(_) => Ok(checkpoint),
            Err(NoteError::Unsigned) => Err(Unproven::NotCosigned),
            Err(error) => Err(Unproven::Checkpoint(error)),
        }
    }

    /// Remembers a checkpoint; [`Unproven::Forked`] when another of the same log and size has another root.
    fn seen(&mut self, checkpoint: &Checkpoint) -> Result<(), Unproven> {
        let (origin, head) = (checkpoint.origin().to_owned(), checkpoint.head());
        let root = *self.heads.entry((origin, head.size)).or_insert(head.root);
        if root == head.root {
            Ok(())
        } else {
            Err(Unproven::Forked)
        }
    }
}

/// The entry of a leaf that is about this binding.
fn names(leaf: &BindingLeaf, binding: &Binding) -> Result<Leaf, Unproven> {
    let opened = Leaf::opened(&leaf.salt, &leaf.preimage);
    let (entry, told) = opened.map_err(|_| Unproven::OtherBinding)?;
    let code = if binding.number == 1 {
        Code::MemberJoined
    } else {
        Code::BindingPublished
    };
    let same = told.code == code
        && told.get("organisation") == Some(leaf.organisation.as_str())
        && told.hash("binding") == Some(binding.hash);
    if same {
        Ok(entry)
    } else {
        Err(Unproven::OtherBinding)
    }
}

const fn not_held(of: Statement, why: TrustError) -> Unproven {
    Unproven::Statement { of, why }
}
