//! What does not fit: openings without live consent, deliveries without a receipt, withdrawals without proof.
//! Called by the gRPC edge. Never says that somebody did wrong: it shows the events, and a person asks why.
//!
//! | gap | it is one where |
//! |---|---|
//! | opening without consent | an `opened` says that consent was live, and the thread's slip had ended before it, by time and by the trail's order |
//! | delivery without a receipt | an envelope was taken 30 days ago and neither delivered, dropped nor refused since; or a referral is a day old and held for delivered, and no `envelope_delivered` is about it: an answer may come before the receipt |
//! | withdrawal without proof | a slip was withdrawn 3 days ago and its recipient has proved nothing |
//!
//! An opening that says that consent was cut showed no content, and that of a grant shows the record of the consent itself, which is
//! kept as evidence; neither is one. Looked at are the newest openings, envelopes and referrals up to the limits below, so that a check
//! ends within a second; what is older has been looked at by every check before.

use kith_proto::trail::event::Told;
use kith_proto::trail::key;
use kith_proto::v1;
use kith_service::log::append::Stored;
use kith_service::log::proofs::{Basis, Proofs};
use kith_service::log::{LogError, index};
use kith_service::store::Tx;
use std::collections::{BTreeMap, BTreeSet};

use super::question::Question;
use super::walk::Walk;
use super::{Filter, TrailError, line, note_reading};
use crate::audit::Code;
use crate::node::Node;
use crate::store::{trail, trail_gaps};
use crate::tokens::Caller;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The gateway keeps an envelope for so long; after it, one must have an end.
const MAILBOX_MS: i64 = 30 * DAY_MS;
/// A recipient's node proves within minutes; three days leave room for a weekend switched off.
const PROOF_MS: i64 = 3 * DAY_MS;
/// Lines that show a gap.
const SHOWN_MAX: usize = 50;
/// Openings looked at: a busy month, some 0.2 s.
const OPENINGS_MAX: usize = 16_384;
/// Envelopes looked at whose window is over: some 0.3 s.
const ENVELOPES_MAX: usize = 8_192;
/// Delivered referrals looked at: some 0.3 s.
const DELIVERED_MAX: i64 = 16_384;
/// Keys of one look into the index.
const KEYS: usize = 512;

/// One sort of gap as it was found: kind, what it means, how many, and the numbers of the events that show it.
struct Found {
    kind: &'static str,
    sentence: &'static str,
    count: usize,
    shown: BTreeSet<i64>,
}

/// Looks for gaps; each sort is named, in this order, also where there is none. That it was looked at is in the trail before
/// anything is returned.
pub async fn check(node: &Node, caller: &Caller) -> Result<Vec<v1::Gap>, TrailError> {
    let now_ms = node.now_ms();
    let read = |mut tx: Tx| async move {
        let tx = &mut tx;
        let tail = Tail::read(tx).await?;
        let found = [
            openings(tx).await?,
            deliveries(tx, &tail, now_ms).await?,
            withdrawals(tx, now_ms).await?,
        ];
        let mut proofs = Proofs::load(tx, Basis::CountedOrSigned).await?;
        let mut gaps = Vec::with_capacity(found.len());
        for gap in found {
            gaps.push(shown(tx, node, &mut proofs, gap).await?);
        }
        Ok::<_, TrailError>(gaps)
    };
    let gaps: Vec<v1::Gap> = node.store.read("check gaps", read).await?;
    let lines = gaps.iter().map(|gap| gap.lines.len()).sum();
    note_reading(node, caller, ("gaps", &Filter::default()), lines).await?;
    Ok(gaps)
}

async fn shown(tx: &mut Tx, node: &Node, proofs: &mut Proofs, gap: Found) -> Result<v1::Gap, TrailError> {
    let newest: Vec<i64> = gap.shown.iter().rev().take(SHOWN_MAX).copied().collect();
    let mut lines = Vec::with_capacity(newest.len());
    for event in trail::numbered(tx, &newest).await? {
        let proof = proofs.receipt(tx, event.seq).await?;
        lines.push(line(
            node,
            &event,
            proof.map(|proof| proof.to_string()).unwrap_or_default(),
        ));
    }
    Ok(v1::Gap {
        kind: gap.kind.to_owned(),
        sentence: gap.sentence.to_owned(),
        // widens: a count of rows.
        count: gap.count as u64,
        lines,
    })
}

/// The events that are not in the index yet.
struct Tail(Vec<Stored>);

impl Tail {
    async fn read(tx: &mut Tx) -> Result<Self, TrailError> {
        let end = index::end(tx).await?;
        let all = (i64::MIN, i64::MAX);
        Ok(Self(
            trail::span(tx, (end, i64::MAX), all, index::BEHIND_MAX).await?,
        ))
    }

    /// The values that the tail's events of these codes have under a name.
    fn named(&self, codes: &[Code], name: &str) -> BTreeSet<[u8; 16]> {
        let events = self.0.iter().filter(|event| codes.contains(&event.code));
        events
            .filter_map(|event| Told::read(&event.preimage).ok()?.id(name))
            .collect()
    }
}

fn told(event: &Stored) -> Result<Told<'_>, TrailError> {
    Ok(Told::read(&event.preimage).map_err(|_| LogError::Broken(event.seq))?)
}

/// The newest events of a code before a time, at most so many.
async fn newest(tx: &mut Tx, code: Code, until_ms: i64, read_max: usize) -> Result<Vec<Stored>, TrailError> {
    let filter = Filter {
        code: Some(code),
        until_ms,
        ..Filter::default()
    };
    let question = Question::of(tx, &filter).await?;
    let before = trail::before(tx, question.span_ms().1).await?;
    let mut walk = Walk::new(tx, &question, Some(before)).await?.unbounded();
    let mut found = Vec::new();
    while walk.read() < read_max
        && let Some(batch) = walk.next(tx).await?
    {
        found.extend(question.matching(tx, batch).await?);
    }
    Ok(found)
}

async fn openings(tx: &mut Tx) -> Result<Found, TrailError> {
    let ended = trail_gaps::ended(tx).await?;
    let ended: BTreeMap<[u8; 16], ([u8; 16], i64)> = ended
        .iter()
        .map(|one| (*one.thread.as_bytes(), (*one.slip.as_bytes(), one.ended_at_ms)))
        .collect();
    let mut shown = BTreeSet::new();
    for event in newest(tx, Code::Opened, 0, OPENINGS_MAX).await? {
        let told = told(&event)?;
        let thread = told.id("thread").and_then(|thread| ended.get(&thread));
        if let Some((slip, ended_at_ms)) = thread
            && told.get("consent") == Some("live")
            && told.at_ms > *ended_at_ms
            && ended_before(tx, slip, event.seq).await?
        {
            shown.insert(event.seq);
        }
    }
    Ok(Found {
        kind: "opening_without_consent",
        sentence: "A referral was opened with its content after its consent had ended. Ask who opened it and why, and tell the person.",
        count: shown.len(),
        shown,
    })
}

/// Whether the trail has the end of a slip before this event, or not at all. Times alone may have been set back by a clock.
async fn ended_before(tx: &mut Tx, slip: &[u8; 16], seq: i64) -> Result<bool, TrailError> {
    let key = key::key("slip", &data_encoding::HEXLOWER.encode(slip));
    let about = index::found(tx, key, (0, i64::MAX), 256).await?;
    let ends = trail::numbered(tx, &about).await?;
    let mut ends = ends
        .iter()
        .filter(|event| matches!(event.code, Code::GrantWithdrawn | Code::HoldingDestroyed))
        .peekable();
    Ok(ends.peek().is_none() || ends.any(|end| end.seq < seq))
}

const ENDS: [Code; 3] = [
    Code::EnvelopeDelivered,
    Code::EnvelopeDropped,
    Code::EnvelopeRefused,
];

async fn deliveries(tx: &mut Tx, tail: &Tail, now_ms: i64) -> Result<Found, TrailError> {
    let over_ms = now_ms.saturating_sub(MAILBOX_MS);
    let mut without: BTreeMap<[u8; 16], i64> = BTreeMap::new();
    let taken = newest(tx, Code::EnvelopeTaken, over_ms.max(1), ENVELOPES_MAX).await?;
    for part in taken.chunks(KEYS) {
        let mut ended = tail.named(&ENDS, "envelope");
        ended.extend(ends_of_threads(tx, part).await?);
        for event in part {
            if let Some(envelope) = told(event)?.id("envelope").filter(|id| !ended.contains(id)) {
                without.insert(envelope, event.seq);
            }
        }
    }
    for envelope in trail_gaps::stuck(tx, over_ms).await? {
        without.entry(*envelope.as_bytes()).or_insert(0);
    }
    let unsaid = delivered_unsaid(tx, tail, now_ms.saturating_sub(DAY_MS)).await?;
    let mut shown: BTreeSet<i64> = without.values().copied().filter(|seq| *seq > 0).collect();
    for thread in unsaid.iter().take(SHOWN_MAX) {
        let key = thread_key(thread);
        shown.extend(index::found(tx, key, (0, i64::MAX), 1).await?);
    }
    Ok(Found {
        kind: "delivery_without_receipt",
        sentence: "The gateway took an envelope and nobody has signed for its arrival. Call the other organisation, and send it again if they do not have it.",
        count: without.len() + unsaid.len(),
        shown,
    })
}

/// The envelopes of these events' threads that have an end.
async fn ends_of_threads(tx: &mut Tx, events: &[Stored]) -> Result<BTreeSet<[u8; 16]>, TrailError> {
    let mut keys = Vec::with_capacity(events.len());
    for event in events {
        keys.extend(told(event)?.id("thread").map(|thread| thread_key(&thread)));
    }
    keys.sort_unstable();
    keys.dedup();
    let codes = ENDS.map(|code| key::key("code", code.as_str()));
    let both = trail_gaps::found_by_both(tx, &keys, codes).await?;
    let mut numbers: Vec<i64> = both.into_iter().map(|(_, seq)| seq).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ended = BTreeSet::new();
    for event in trail::numbered(tx, &numbers).await? {
        ended.extend(told(&event)?.id("envelope"));
    }
    Ok(ended)
}

/// Threads that were sent a day ago or more, are held for delivered, and of whose delivery the trail says nothing.
async fn delivered_unsaid(tx: &mut Tx, tail: &Tail, before_ms: i64) -> Result<Vec<[u8; 16]>, TrailError> {
    let mut unsaid = Vec::new();
    let in_tail = tail.named(&[Code::EnvelopeDelivered], "thread");
    let code = key::key("code", Code::EnvelopeDelivered.as_str());
    for part in trail_gaps::delivered(tx, before_ms, DELIVERED_MAX)
        .await?
        .chunks(KEYS)
    {
        let keys: Vec<i64> = part.iter().map(|thread| thread_key(thread.as_bytes())).collect();
        let said = trail_gaps::found_by_both(tx, &keys, [code; 3]).await?;
        let said: BTreeSet<i64> = said.into_iter().map(|(key, _)| key).collect();
        for (thread, key) in part.iter().zip(&keys) {
            if !said.contains(key) && !in_tail.contains(thread.as_bytes()) {
                unsaid.push(*thread.as_bytes());
            }
        }
    }
    Ok(unsaid)
}

async fn withdrawals(tx: &mut Tx, now_ms: i64) -> Result<Found, TrailError> {
    let unproved = trail_gaps::unproved(tx, now_ms.saturating_sub(PROOF_MS)).await?;
    let mut shown = BTreeSet::new();
    for slip in unproved.iter().take(SHOWN_MAX) {
        let key = key::key("slip", &data_encoding::HEXLOWER.encode(slip.as_bytes()));
        let about = index::found(tx, key, (0, i64::MAX), 64).await?;
        let about = trail::numbered(tx, &about).await?;
        let withdrawn = about.iter().find(|event| event.code == Code::GrantWithdrawn);
        shown.extend(withdrawn.or(about.first()).map(|event| event.seq));
    }
    Ok(Found {
        kind: "withdrawal_without_proof",
        sentence: "Consent was withdrawn three days ago or more, and the other organisation has not proved what it did. Call them; until they prove it, hold it for not done.",
        count: unproved.len(),
        shown,
    })
}

fn thread_key(thread: &[u8; 16]) -> i64 {
    key::key("thread", &data_encoding::HEXLOWER.encode(thread))
}
