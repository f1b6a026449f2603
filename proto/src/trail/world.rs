//! One network for the tests of exports: a root, a gateway, two members with two bindings each, their logs and their witnesses.
//! Never a clock or a random number: the same world every time.

use super::event::Event;
use super::export::*;
use super::{Code, Leaf};
use crate::id::{InviteId, NetworkName, OrgId};
use crate::log::checkpoint::Checkpoint;
use crate::log::leaf_proof::LeafProof;
use crate::log::note::Note;
use crate::log::origin::Keeper;
use crate::log::policy::WitnessPolicy;
use crate::log::proof::Plan;
use crate::log::tree::{Frontier, Hash, TreeHead, head_of};
use crate::seal::SealingPublicKey;
use crate::sign::SigningKey;
use crate::trust::*;
use crate::v1;
use crate::words::OrganisationKind;
use std::collections::BTreeMap;

pub(super) const T0: i64 = 1_800_000_000_000;
pub(super) const HOUR: i64 = 3_600_000;
/// When exports are made.
pub(super) const NOW: i64 = T0 + 48 * HOUR;
const SALT: [u8; 16] = [7; 16];
/// Root 1, registrar 2, gateway 3, witness 4; a member's seed and two signing keys follow its number.
pub(super) const ROOT: u8 = 1;
const REGISTRAR: u8 = 2;
pub(super) const GATEWAY: u8 = 3;
const WITNESS: u8 = 4;
pub(super) const SENDER: u8 = 10;
pub(super) const RECIPIENT: u8 = 20;

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32]).unwrap()
}

pub(super) fn network() -> NetworkName {
    "lune-valley.example".parse().unwrap()
}

pub(super) fn org(number: u8) -> OrgId {
    let slug = if number == SENDER {
        "riverside-gp"
    } else {
        "harbour-welcome"
    };
    slug.parse().unwrap()
}

pub(super) fn root_key() -> RootKey {
    RootKey::Fingerprint(crate::sign::sha256(&[&key(ROOT).public().0]))
}

/// A log: its leaves, and the nodes over them level by level.
pub(super) struct Log {
    pub(super) keeper: Keeper,
    pub(super) epoch: u64,
    events: Vec<Event>,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
}

impl Log {
    pub(super) fn new(keeper: Keeper, events: Vec<Event>) -> Self {
        let mut log = Self {
            keeper,
            epoch: 1,
            events: Vec::new(),
            frontier: Frontier::default(),
            levels: Vec::new(),
        };
        for event in events {
            log.add(event);
        }
        log
    }

    pub(super) fn add(&mut self, event: Event) {
        let levels = &mut self.levels;
        let whole = |node: crate::log::tree::Node, hash| {
            let level = usize::from(node.level);
            if levels.len() <= level {
                levels.push(Vec::new());
            }
            levels[level].push(hash);
        };
        self.frontier.append(leaf(&event).hash(), whole).unwrap();
        self.events.push(event);
    }

    fn hashes(&self, plan: &Plan) -> Vec<Hash> {
        let read = |node: crate::log::tree::Node| {
            let level = self.levels.get(usize::from(node.level));
            level
                .and_then(|level| level.get(node.index as usize))
                .copied()
                .ok_or(())
        };
        plan.hashes(read).unwrap()
    }

    pub(super) fn head(&self, size: u64) -> TreeHead {
        head_of(self.levels[0].iter().copied().take(size as usize)).unwrap()
    }

    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        let head = if size == self.size() {
            self.frontier.head()
        } else {
            self.head(size)
        };
        Checkpoint::new(&self.keeper.origin(&network(), self.epoch), head).unwrap()
    }

    /// The note of a checkpoint: signed by its log, cosigned by the gateway or by the witness.
    pub(super) fn note(&self, size: u64, cosigned: bool) -> Note {
        let checkpoint = self.checkpoint(size);
        let (log, witness, name) = match &self.keeper {
            Keeper::Gateway => (GATEWAY, WITNESS, "w.example".parse().unwrap()),
            Keeper::Node(member) => (signing(member), GATEWAY, Keeper::Gateway.witness(&network())),
        };
        let mut signatures = vec![checkpoint.sign(&key(log)).unwrap()];
        if cosigned {
            signatures.push(checkpoint.cosign(&name, &key(witness), 1_800_000_000).unwrap());
        }
        checkpoint.note(signatures).unwrap()
    }

    pub(super) fn line_of_checkpoint(&self, old: Option<u64>, size: u64) -> Line {
        let proof = |old| self.hashes(&Plan::consistency(old, size).unwrap());
        Line::Checkpoint(LogCheckpoint {
            epoch: self.epoch,
            note: self.note(size, true),
            consistency: old.map(proof).unwrap_or_default(),
        })
    }

    pub(super) fn line_of_event(&self, index: u64, size: u64, open: bool) -> Line {
        let event = &self.events[index as usize];
        Line::Event(EventLeaf {
            epoch: self.epoch,
            index,
            entry: leaf(event),
            hashes: self.hashes(&Plan::inclusion(index, size).unwrap()),
            opened: open.then(|| Opened {
                salt: SALT,
                preimage: event.preimage().to_owned(),
            }),
        })
    }
}

fn leaf(event: &Event) -> Leaf {
    Leaf::new(event.code(), &SALT, event.preimage())
}

/// The last signing key of a member.
pub(super) fn signing(member: &OrgId) -> u8 {
    if *member == org(SENDER) {
        SENDER + 2
    } else {
        RECIPIENT + 2
    }
}

/// A member's chain: joined an hour after T0, with a second binding a day later.
pub(super) fn chain(number: u8) -> v1::BindingChain {
    let registrar = issue_registrar(
        &key(ROOT),
        &network(),
        &key(REGISTRAR).public(),
        T0,
        T0 + 8_760 * HOUR,
    );
    let registrar = registrar.unwrap();
    let seen = verify_registrar(&registrar, &key(ROOT).public(), &network(), T0).unwrap();
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes([number; 16]),
        network: network(),
        org: org(number),
        kind: OrganisationKind::Charity,
        name: if number == SENDER {
            "Riverside GP"
        } else {
            "Harbour Welcome"
        }
        .to_owned(),
        seed_public_key: key(number).public(),
    };
    let invite = issue_invite(&key(REGISTRAR), terms, T0).unwrap();
    let opened = verify_invite(&invite, &seen, T0 + HOUR).unwrap();
    let keys = |n: u8| NewKeys {
        signing_key: key(n).public(),
        sealing_key: SealingPublicKey::from_bytes(&[n; 1216]).unwrap(),
    };
    let first = first_binding(&key(number), &opened, &keys(number + 1), T0 + HOUR).unwrap();
    let mut chain = v1::BindingChain {
        registrar: Some(registrar),
        invite: Some(invite),
        bindings: vec![first],
        later_registrars: vec![],
        later_invites: vec![],
    };
    let member = verify_chain(&chain, &key(ROOT).public(), &network(), NOW).unwrap();
    let next = next_binding(&key(number + 1), &member, &keys(number + 2), T0 + 25 * HOUR).unwrap();
    chain.bindings.push(next);
    chain
}

/// The event of the gateway's log that names a binding.
pub(super) fn published(number: u8, binding: &v1::Signed, at: i64) -> Event {
    let code = if at == 1 {
        Code::MemberJoined
    } else {
        Code::BindingPublished
    };
    let event = Event::new(code, T0 + HOUR).org("organisation", &org(number));
    event.number("number", at).hash("binding", &binding_hash(binding))
}

/// The gateway's log, with both members' bindings and whatever else happened.
pub(super) fn gateway_log(rest: Vec<Event>) -> Log {
    let mut events = vec![Event::new(Code::EpochOpened, T0)];
    for number in [SENDER, RECIPIENT] {
        let numbered = chain(number).bindings;
        events.extend(
            numbered
                .iter()
                .zip(1..)
                .map(|(binding, at)| published(number, binding, at)),
        );
    }
    events.extend(rest);
    Log::new(Keeper::Gateway, events)
}

pub(super) fn header(exporter: Keeper) -> Header {
    Header {
        format: FORMAT.to_owned(),
        network: network(),
        exporter,
        exported_at_ms: NOW,
        question: BTreeMap::new(),
        root_public_key: key(ROOT).public(),
    }
}

pub(super) fn trust(witnessed: bool) -> Line {
    let witness = v1::Witness {
        name: "w.example".to_owned(),
        public_key: key(WITNESS).public().0.to_vec(),
    };
    let policy = v1::WitnessPolicy {
        network: network().to_string(),
        threshold: u32::from(witnessed),
        witnesses: if witnessed { vec![witness] } else { vec![] },
        disclosures_per_week: 3,
        number: 5,
        made_at_ms: T0,
    };
    let issuer = issue_issuer(
        &key(ROOT),
        &network(),
        b"certificate",
        &key(GATEWAY).public(),
        NOW + HOUR,
    );
    Line::Trust(Trust {
        issuer: issuer.unwrap(),
        policy: WitnessPolicy::issue(&key(ROOT), &policy).unwrap(),
    })
}

/// A member's lines: its chain, and its bindings in the gateway's log.
pub(super) fn member_lines(number: u8, gateway: &Log) -> Vec<Line> {
    let chain = chain(number);
    let first = if number == SENDER { 1 } else { 3 };
    let mut lines = vec![];
    for (binding, at) in chain.bindings.iter().zip(1_u64..) {
        let index = first + at - 1;
        let hashes = gateway.hashes(&Plan::inclusion(index, gateway.size()).unwrap());
        let proof = LeafProof::new(index, hashes, gateway.note(gateway.size(), true), Vec::new());
        lines.push(Line::Binding(BindingLeaf {
            organisation: org(number),
            number: at,
            salt: SALT,
            preimage: published(number, binding, at as i64).preimage().to_owned(),
            proof: proof.unwrap(),
        }));
    }
    lines.insert(0, Line::Member(MemberChain { chain }));
    lines
}

/// Everything of a log but its end, as lines.
pub(super) fn lines(log: &Log, gateway: &Log) -> Vec<Line> {
    let mut lines = vec![Line::Header(header(log.keeper.clone())), trust(true)];
    if let Keeper::Node(member) = &log.keeper {
        let number = if *member == org(SENDER) { SENDER } else { RECIPIENT };
        lines.extend(member_lines(number, gateway));
    }
    let half = log.size() / 2;
    lines.push(log.line_of_checkpoint(None, half));
    lines.push(log.line_of_checkpoint(Some(half), log.size()));
    lines.extend((0..log.size()).map(|index| log.line_of_event(index, log.size(), true)));
    lines
}

/// Writes lines and signs their end as their exporter.
pub(super) fn written(lines: Vec<Line>) -> Vec<String> {
    let mut lines = lines.into_iter();
    let Some(Line::Header(header)) = lines.next() else {
        panic!("a header first")
    };
    let by = match &header.exporter {
        Keeper::Gateway => GATEWAY,
        Keeper::Node(member) => signing(member),
    };
    signed_by(header, lines, by)
}

pub(super) fn signed_by(header: Header, lines: impl Iterator<Item = Line>, by: u8) -> Vec<String> {
    let (mut writer, first) = ExportWriter::new(header).unwrap();
    let mut texts = vec![first];
    texts.extend(lines.map(|line| writer.line(&line).unwrap()));
    texts.push(writer.end(&key(by)).unwrap());
    texts
}
