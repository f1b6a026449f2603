//! A part of the gateway's log as a file that verifies offline: what of its events belongs to a thread, a member or a span of time.
//! Called by `audit export`. Never more than the gateway knows: ids, members, times; and only up to a checkpoint that counts.

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::members::KnownMember;
use crate::store;
use data_encoding::HEXLOWER;
use kith_proto::id::{OrgId, ThreadId};
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::origin::Keeper;
use kith_proto::problem::Problem;
use kith_proto::trail::event::Told;
use kith_proto::trail::export::{BindingLeaf, FORMAT, Header, Line, MemberChain, Trust};
use kith_proto::trail::key;
use kith_proto::trust::binding_hash;
use kith_service::log::LogError;
use kith_service::log::append::{self, Stored};
use kith_service::log::export::{Part, WriteError, Written};
use kith_service::log::proofs::{Basis, Proofs};
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};

/// Events read in one step.
const STEP: i64 = 4096;

/// Which events are wanted; what is set must all hold.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Of this thread, with what became of its envelopes and of the slips they went under.
    pub thread: Option<ThreadId>,
    /// That name this member.
    pub organisation: Option<OrgId>,
    /// From this time on, ms UTC.
    pub from_ms: Option<i64>,
    /// Before this time, ms UTC.
    pub until_ms: Option<i64>,
}

/// Why nothing was exported, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl TrailError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Log(error) => error.problem(),
            Self::Write(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

impl Question {
    /// The question as the file states it.
    fn stated(&self) -> BTreeMap<String, String> {
        let mut stated = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            stated.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("thread", self.thread.map(|id| HEXLOWER.encode(id.as_bytes())));
        put(
            "organisation",
            self.organisation.as_ref().map(ToString::to_string),
        );
        put("from_ms", self.from_ms.map(|at| at.to_string()));
        put("until_ms", self.until_ms.map(|at| at.to_string()));
        stated
    }

    fn is_met(&self, event: &Stored) -> bool {
        Told::read(&event.preimage).is_ok_and(|told| self.fits(&told))
    }

    fn fits(&self, told: &Told<'_>) -> bool {
        let named = |org: &OrgId| {
            let names = told.lines().filter(|(name, _)| key::ORGANISATIONS.contains(name));
            names.into_iter().any(|(_, value)| value == org.as_str())
        };
        self.organisation.as_ref().is_none_or(named)
            && self.from_ms.is_none_or(|from| told.at_ms >= from)
            && self.until_ms.is_none_or(|until| told.at_ms < until)
    }
}

/// Writes the events that are asked for into `sink`, line by line. That it was done stands in the log before the first line.
pub async fn export(
    gateway: &Gateway,
    question: &Question,
    sink: impl FnMut(String) -> bool,
) -> Result<Written, TrailError> {
    let events = wanted(gateway, question).await?;
    let now_ms = gateway.clock.now_ms();
    let event = Event::new(Code::TrailExported, now_ms)
        .number("count", i64::try_from(events.len()).unwrap_or(i64::MAX));
    let event = match &question.thread {
        Some(thread) => event.id("thread", thread.as_bytes()),
        None => event,
    };
    let event = match &question.organisation {
        Some(org) => event.org("organisation", org),
        None => event,
    };
    let exported = &[Salted::new(&gateway.rng, event)?];
    gateway
        .store
        .tx("note export", |mut tx| async move {
            store::audit::insert(&mut tx, exported).await
        })
        .await?;
    let mut preface = vec![Line::Trust(Trust {
        issuer: gateway.keys.issuer.clone(),
        policy: gateway.policy().signed.clone(),
    })];
    let named: BTreeSet<String> = events.iter().flat_map(organisations).collect();
    for known in gateway.members.all().values() {
        if named.contains(known.member.org.as_str()) {
            preface.extend(member(gateway, known).await?);
        }
    }
    let part = Part {
        header: Header {
            format: FORMAT.to_owned(),
            network: gateway.network.clone(),
            exporter: Keeper::Gateway,
            exported_at_ms: now_ms,
            question: question.stated(),
            root_public_key: gateway.keys.root,
        },
        preface,
        seqs: events.iter().map(|event| event.seq).collect(),
    };
    let key = &gateway.keys.signing;
    Ok(gateway.log.export(part, key, |_| true, sink).await?)
}

/// The organisations that an event names.
fn organisations(event: &Stored) -> Vec<String> {
    let told = Told::read(&event.preimage);
    let names = told.iter().flat_map(|told| told.lines());
    names
        .filter(|(name, _)| key::ORGANISATIONS.contains(name))
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// The events that are asked for, in their order.
async fn wanted(gateway: &Gateway, question: &Question) -> Result<Vec<Stored>, TrailError> {
    let events = match (&question.thread, &question.organisation) {
        (Some(thread), _) => of_thread(gateway, thread).await?,
        (None, Some(org)) => {
            let seqs = gateway.log.found(key::key("organisation", org.as_str())).await?;
            those(gateway, &seqs).await?
        }
        (None, None) => return Ok(of_time(gateway, question).await?),
    };
    Ok(events
        .into_iter()
        .filter(|event| question.is_met(event))
        .collect())
}

/// The events of a thread, of its envelopes, and of the slips that they went under.
async fn of_thread(gateway: &Gateway, thread: &ThreadId) -> Result<Vec<Stored>, TrailError> {
    let hex = HEXLOWER.encode(thread.as_bytes());
    let seqs = gateway.log.found(key::key("thread", &hex)).await?;
    let mut events = those(gateway, &seqs).await?;
    events.retain(|event| says(event, "thread", &hex));
    let mut subjects: BTreeSet<(&str, String)> = BTreeSet::new();
    for event in &events {
        for name in ["envelope", "slip"] {
            let told = Told::read(&event.preimage);
            subjects.extend(
                told.iter()
                    .flat_map(|told| told.all(name))
                    .map(|value| (name, value.to_owned())),
            );
        }
    }
    let mut found: BTreeMap<i64, Stored> = BTreeMap::new();
    for (name, value) in subjects {
        let seqs = gateway.log.found(key::key(name, &value)).await?;
        let more = those(gateway, &seqs).await?;
        let more = more.into_iter().filter(|event| says(event, name, &value));
        found.extend(more.map(|event| (event.seq, event)));
    }
    found.extend(events.into_iter().map(|event| (event.seq, event)));
    Ok(found.into_values().collect())
}

/// Whether an event has a line; two lines may share a key of the index.
fn says(event: &Stored, name: &str, value: &str) -> bool {
    Told::read(&event.preimage).is_ok_and(|told| told.all(name).any(|said| said == value))
}

async fn those(gateway: &Gateway, seqs: &[i64]) -> Result<Vec<Stored>, StoreError> {
    let read = |mut tx: Tx| async move { append::those(&mut tx, seqs).await };
    gateway.store.read("read events", read).await
}

/// The events of a span of time, or all.
async fn of_time(gateway: &Gateway, question: &Question) -> Result<Vec<Stored>, StoreError> {
    let (mut events, mut last) = (Vec::new(), 0);
    loop {
        let read = |mut tx: Tx| async move { append::after(&mut tx, last, STEP).await };
        let page: Vec<Stored> = gateway.store.read("read events", read).await?;
        let Some(end) = page.last().map(|event| event.seq) else {
            return Ok(events);
        };
        last = end;
        events.extend(page.into_iter().filter(|event| question.is_met(event)));
    }
}

/// A member's chain and the leaves that name its bindings, each proven; nothing where one is not under a checkpoint that counts yet.
async fn member(gateway: &Gateway, known: &KnownMember) -> Result<Vec<Line>, TrailError> {
    let org = &known.member.org;
    let row = |mut tx: Tx| async move { store::member::by_org(&mut tx, org).await };
    let Some(row) = gateway.store.read::<_, StoreError, _, _>("member", row).await? else {
        return Ok(Vec::new());
    };
    let seqs = gateway.log.found(key::key("organisation", org.as_str())).await?;
    let events = those(gateway, &seqs).await?;
    let bindings: Vec<[u8; 32]> = row.chain.bindings.iter().map(binding_hash).collect();
    let mut lines = vec![Line::Member(MemberChain { chain: row.chain })];
    let load = |mut tx: Tx| async move { Proofs::load(&mut tx, Basis::Counted).await };
    let proofs: Proofs = gateway
        .store
        .read::<_, LogError, _, _>("checkpoints", load)
        .await?;
    for (number, binding) in (1..).zip(bindings) {
        let mut found = None;
        // The newest first: a later epoch repeats what makes a key known.
        for leaf in events.iter().rev().filter(|event| names(event, org, binding)) {
            let prove = |mut tx: Tx| {
                let mut proofs = proofs.clone();
                async move { proofs.receipt(&mut tx, leaf.seq).await }
            };
            let proof: Option<LeafProof> = gateway.store.read::<_, LogError, _, _>("prove", prove).await?;
            found = proof.map(|proof| (leaf, proof));
            if found.is_some() {
                break;
            }
        }
        let Some((leaf, proof)) = found else {
            return Ok(Vec::new());
        };
        lines.push(Line::Binding(BindingLeaf {
            organisation: org.clone(),
            number,
            salt: leaf.salt,
            preimage: leaf.preimage.clone(),
            proof,
        }));
    }
    Ok(lines)
}

/// Whether an event makes this binding of a member known.
fn names(event: &Stored, org: &OrgId, binding: [u8; 32]) -> bool {
    Told::read(&event.preimage).is_ok_and(|told| {
        matches!(told.code, Code::MemberJoined | Code::BindingPublished)
            && told.get("organisation") == Some(org.as_str())
            && told.hash("binding") == Some(binding)
    })
}
