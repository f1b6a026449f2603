//! What a lost disk may take with it, and what must stand all the same.
//!
//! | of what a node's people were told after its backup | must stand |
//! |---|---|
//! | sent, and taken by the gateway | at the recipient, and listed at the sender, without words there |
//! | sent, and never taken | nowhere |
//! | consent has ended, and the gateway heard of it | everywhere |
//! | the need is left out, and the gateway took that | at the recipient |
//! | a message is sent, and the gateway took it | at the other side |
//!
//! What only the two who came back from older backups had is nobody's any more. Of a referral that is listed again without its words the
//! conversation of before is gone at its sender, too.

use std::collections::BTreeMap;

use kith_proto::id::OrgId;
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::{Hash, TreeHead, head_of};

use crate::facts::{Facts, ThreadFacts};
use crate::ledger::{Referral, Told, What};
use crate::world::NETWORK;

/// Whether consent to a referral has ended by a word that counts.
pub(super) fn is_withdrawn(facts: &Facts, referral: &Referral, copies: [Option<&ThreadFacts>; 2]) -> bool {
    let stopped = |copy: &ThreadFacts| facts.gateway.stops.contains_key(&copy.slip_id);
    let is_stopped = copies.into_iter().flatten().any(stopped);
    let counts = |told: &Told| told.what == What::Withdrawn && (!told.lost || is_stopped);
    referral.told.iter().any(counts)
}

/// Whether the need is left out by a word that counts.
pub(super) fn is_narrowed(facts: &Facts, referral: &Referral) -> bool {
    let counts = |told: &Told| told.what == What::Narrowed && (!told.lost || facts.has_left(told));
    referral.told.iter().any(counts)
}

/// Ids of the messages that a copy must hold, and of those that it may hold beside them.
pub(super) fn messages_at<'a>(
    facts: &Facts,
    referral: &'a Referral,
    copy: &ThreadFacts,
) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
    let own = if copy.side == "sent" {
        referral.from
    } else {
        referral.to
    };
    let (mut must, mut may) = (Vec::new(), Vec::new());
    for told in &referral.told {
        let What::Said { message_id } = &told.what else {
            continue;
        };
        let is_held = match (told.by == own, told.lost) {
            // It is sent again, but nobody can take it before the thread is there.
            (false, false) => !(own == referral.from && told.forgotten && referral.is_lost()),
            (true, false) => true,
            (true, true) => false,
            (false, true) => facts.has_left(told) && !told.forgotten,
        };
        if is_held { &mut must } else { &mut may }.push(message_id.as_slice());
    }
    (must, may)
}

/// What a sender's disk lost of a referral is made good as far as the network can, and no further.
pub(super) fn of_sender(
    facts: &Facts,
    referral: &Referral,
    (sent, inbox): (Option<&ThreadFacts>, Option<&ThreadFacts>),
) -> Vec<&'static str> {
    let Some(sending) = referral.sending().filter(|sending| sending.lost) else {
        let is_there = sent.is_some();
        return (!is_there)
            .then_some("was acknowledged and is lost at its sender")
            .into_iter()
            .collect();
    };
    let ended = is_withdrawn(facts, referral, [sent, inbox]) || is_narrowed(facts, referral);
    let mut breaches = Vec::new();
    if !facts.has_left(sending) && (sent.is_some() || inbox.is_some()) {
        breaches.push("never left the disk that was lost, and stands all the same");
    }
    if facts.has_left(sending) && inbox.is_none() && !ended && !sending.forgotten {
        breaches.push("was taken before its sender's disk was lost, and is in no inbox");
    }
    if inbox.is_some() && sent.is_none() {
        breaches.push("is not listed again at its sender, whose disk was lost");
    }
    let words = sent.and_then(|sent| sent.categories.as_ref());
    if words.is_some_and(|words| !words.is_empty()) {
        breaches.push("is listed again with words that were lost");
    }
    breaches
}

/// An alarm is for a person to look at; once everything is healed there is nothing to look at.
pub(super) fn no_alarm(facts: &Facts) -> Vec<String> {
    let of = |(org, kinds): (&crate::op::Org, &Vec<String>)| -> Vec<String> {
        let name = org.name();
        kinds
            .iter()
            .map(|kind| format!("the alarm {kind} stands at {name}"))
            .collect()
    };
    let nodes = facts.nodes.iter();
    nodes.flat_map(|(org, node)| of((org, &node.alarms))).collect()
}

/// Within its epoch a log only grew: what somebody else saw of it is how it begins. What it had and lost is of an epoch that has ended.
pub(super) fn logs_grow(facts: &Facts) -> Vec<String> {
    let network = NETWORK.parse().unwrap();
    let mut breaches = Vec::new();
    let witnesses = facts.nodes.values().map(|node| &node.trail);
    for trail in witnesses.chain([&facts.gateway.trail]) {
        for (origin, seen) in &trail.seen {
            let Some((keeper, epoch)) = Keeper::of_origin(origin, &network) else {
                breaches.push(format!("{origin} is nobody's log"));
                continue;
            };
            let log = match &keeper {
                Keeper::Gateway => Some(&facts.gateway.trail.epochs),
                Keeper::Node(org) => epochs_of(facts, org),
            };
            if !log.is_some_and(|log| begins_with(log, epoch, seen)) {
                breaches.push(format!("{origin} does not go on from size {}", seen.size));
            }
        }
    }
    breaches
}

fn epochs_of<'a>(facts: &'a Facts, org: &OrgId) -> Option<&'a BTreeMap<u64, Vec<Hash>>> {
    let mut nodes = facts.nodes.iter();
    let found = nodes.find(|(held, _)| held.name() == org.as_str());
    found.map(|(_, node)| &node.trail.epochs)
}

fn begins_with(log: &BTreeMap<u64, Vec<Hash>>, epoch: u64, seen: &TreeHead) -> bool {
    let has_ended = log.keys().any(|later| *later > epoch);
    let Some(leaves) = log.get(&epoch) else {
        return has_ended;
    };
    let size = usize::try_from(seen.size).unwrap();
    match leaves.get(..size) {
        None => has_ended,
        // A copy that comes back still ends its old epoch with what it did before it asked.
        Some(first) => has_ended || head_of(first.iter().copied()).unwrap() == *seen,
    }
}
