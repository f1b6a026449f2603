//! What must hold after every run, each rule a function of the facts that names every breach it finds.
//! `tests` falsifies the facts of a sound run, so that each rule is known to find something.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::ThreadId;

use crate::desk::{AGREED, LEFT, MARK, PHONE};
use crate::facts::{Facts, NodeFacts, OutboxFacts, SlipFacts, ThreadFacts, Trail};
use crate::ledger::{Referral, Told};
use crate::op::Org;

#[path = "check/losses.rs"]
mod losses;
#[path = "check/tests.rs"]
mod tests;

use losses::{is_narrowed, is_withdrawn};

/// An event with its place, as [`ThreadFacts::events`] has it.
type Numbered = ((u64, u64), i32, Vec<u8>);

/// A rule.
type Rule = fn(&Facts) -> Vec<String>;

/// Every rule with its name.
const RULES: [(&str, Rule); 12] = [
    ("at rest", at_rest),
    ("received once", received_once),
    ("in order", in_order),
    ("consented", consented),
    ("withdrawn everywhere", withdrawn_everywhere),
    ("compatible", compatible),
    ("messages", messages),
    ("positions agree", positions_agree),
    ("trails", trails),
    ("logs grow", losses::logs_grow),
    ("no alarm", losses::no_alarm),
    ("nothing in clear", nothing_in_clear),
];

/// All breaches of all rules.
pub(crate) fn all(facts: &Facts) -> Vec<String> {
    let named = |(name, rule): &(&str, Rule)| -> Vec<String> {
        let breaches = rule(facts);
        breaches
            .iter()
            .map(|breach| format!("{name}: {breach}"))
            .collect()
    };
    RULES.iter().flat_map(named).collect()
}

/// The copies of a thread at a node.
fn copies(node: &NodeFacts, thread_id: ThreadId) -> impl Iterator<Item = &ThreadFacts> {
    node.threads
        .iter()
        .filter(move |thread| thread.thread_id == thread_id)
}

/// Each acknowledged referral, with its number, the sender's copy and the recipient's.
fn pairs(
    facts: &Facts,
) -> impl Iterator<Item = (usize, &Referral, Option<&ThreadFacts>, Option<&ThreadFacts>)> {
    let ledger = facts.ledger.iter().enumerate();
    ledger.filter_map(|(number, referral)| {
        let thread_id = referral.thread_id?;
        let sent = copies(&facts.nodes[&referral.from], thread_id).next();
        let inbox = copies(&facts.nodes[&referral.to], thread_id).next();
        Some((number, referral, sent, inbox))
    })
}

/// Whether consent to what a copy holds has ended there.
fn has_ended(copy: &ThreadFacts) -> bool {
    copy.consent != "live"
}

/// Once healed, nothing waits for ever, and no task has died of a panic.
fn at_rest(facts: &Facts) -> Vec<String> {
    let mut breaches: Vec<String> = facts.rested.clone().err().into_iter().collect();
    let delivered = |row: &&OutboxFacts| {
        let mut taken = facts.gateway.taken.iter();
        taken.any(|taken| taken.envelope_id == row.envelope_id && taken.delivered)
    };
    for (org, node) in &facts.nodes {
        let waits = |row: &&OutboxFacts| match row.state.as_str() {
            "queued" => true,
            "taken" => !(node.came_back && delivered(row)),
            _ => false,
        };
        let (org, rows) = (org.name(), node.outbox.iter().filter(waits));
        breaches.extend(rows.map(|row| format!("{} to {} is {} at {org}", row.kind, row.peer, row.state)));
    }
    for (number, _, _, inbox) in pairs(facts) {
        if inbox.is_some_and(|inbox| inbox.awaits_word) {
            breaches.push(format!(
                "referral {number} is still closed at a recipient that came back"
            ));
        }
    }
    if facts.panics > 0 {
        breaches.push(format!("{} tasks panicked", facts.panics));
    }
    let errors = facts.log.lines().filter(|line| line.contains(" ERROR "));
    breaches.extend(errors.map(|line| format!("logged: {line}")));
    breaches
}

/// Each referral that its sender's people were told is sent came to its recipient once, unless consent ended first, or a disk was lost
/// before it left; and nobody has one that was not sent to them.
fn received_once(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, referral, sent, inbox) in pairs(facts) {
        let lost = losses::of_sender(facts, referral, (sent, inbox));
        breaches.extend(lost.iter().map(|what| format!("referral {number} {what}")));
        let Some(sent) = sent else {
            continue;
        };
        let delivered = sent.delivery == "delivered";
        let withdrawn = is_withdrawn(facts, referral, [Some(sent), inbox]);
        if !delivered && !withdrawn && !is_narrowed(facts, referral) {
            breaches.push(format!(
                "referral {number} is {} and not delivered",
                sent.delivery
            ));
        }
        // A recipient that came back from before it lacks what is not there any more to be sent again: the bytes of what was narrowed
        // are deleted as those of what was withdrawn.
        let ended = withdrawn || is_narrowed(facts, referral);
        let is_gone = |sending: &Told| sending.forgotten && (sending.lost || ended);
        if delivered && inbox.is_none() && !referral.sending().is_some_and(is_gone) {
            breaches.push(format!("referral {number} is delivered and in no inbox"));
        }
        let count = copies(&facts.nodes[&referral.to], sent.thread_id).count();
        if count > 1 {
            breaches.push(format!("referral {number} came {count} times"));
        }
    }
    for (org, node) in &facts.nodes {
        for thread in &node.threads {
            let belongs = |referral: &Referral| {
                let own = if thread.side == "sent" {
                    (referral.from, referral.to)
                } else {
                    (referral.to, referral.from)
                };
                referral.thread_id == Some(thread.thread_id) && own.0 == *org && own.1.name() == thread.peer
            };
            if !facts.ledger.iter().any(belongs) {
                breaches.push(format!("{} has a thread that nobody sent it", org.name()));
            }
        }
    }
    breaches
}

/// What a member got from another, it got in the order in which it was sent. What a sender has lost is listed again in no order.
fn in_order(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    let lost = facts.ledger.iter().filter(|referral| referral.is_lost());
    let lost: BTreeSet<ThreadId> = lost.filter_map(|referral| referral.thread_id).collect();
    for (from, sender) in &facts.nodes {
        for (to, recipient) in &facts.nodes {
            let of = |node: &NodeFacts, side: &str, peer: Org| -> Vec<ThreadId> {
                let threads = node.threads.iter();
                threads
                    .filter(|thread| thread.side == side && thread.peer == peer.name())
                    .filter(|thread| !lost.contains(&thread.thread_id))
                    .map(|thread| thread.thread_id)
                    .collect()
            };
            let came = of(recipient, "inbox", *from);
            let arrived: BTreeSet<ThreadId> = came.iter().copied().collect();
            let mut sent = of(sender, "sent", *to);
            sent.retain(|id| arrived.contains(id));
            if sent != came {
                let (from, to) = (from.name(), to.name());
                breaches.push(format!("referrals of {from} came to {to} in another order"));
            }
        }
    }
    breaches
}

/// Recipients can read what was agreed and no more, and the gateway took nothing under a slip that it had stopped.
fn consented(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, referral, sent, inbox) in pairs(facts) {
        let Some(categories) = inbox.and_then(|inbox| inbox.categories.as_ref()) else {
            continue;
        };
        let agreed: &[_] = if is_narrowed(facts, referral) {
            &LEFT
        } else {
            &AGREED
        };
        let agreed: BTreeSet<i32> = agreed.iter().map(|category| category.number()).collect();
        let read: BTreeSet<i32> = categories.iter().copied().collect();
        if is_withdrawn(facts, referral, [sent, inbox]) {
            breaches.push(format!(
                "referral {number} can be read after consent was taken back"
            ));
        } else if read != agreed {
            breaches.push(format!(
                "of referral {number} {read:?} can be read and {agreed:?} were agreed"
            ));
        }
    }
    let taken: BTreeMap<_, _> = facts
        .gateway
        .taken
        .iter()
        .map(|taken| (&taken.envelope_id, taken))
        .collect();
    for (org, node) in &facts.nodes {
        // Bare moves, withdrawals and their proofs always pass; moves with words look the same from outside.
        let needy = |kind: &str| kind == "referral" || kind == "message";
        for row in node.outbox.iter().filter(|row| needy(&row.kind)) {
            let Some(taken) = taken
                .get(&row.envelope_id)
                .filter(|taken| taken.problem.is_none())
            else {
                continue;
            };
            let stop = row
                .slip_id
                .as_ref()
                .and_then(|slip_id| facts.gateway.stops.get(slip_id));
            if stop.is_some_and(|stopped_at_ms| taken.taken_at_ms > *stopped_at_ms) {
                let (org, peer, kind) = (org.name(), &row.peer, &row.kind);
                breaches.push(format!(
                    "a {kind} of {org} to {peer} was taken after its slip was stopped"
                ));
            }
        }
    }
    breaches
}

/// A withdrawal ends everything under its slip at both nodes, is proved, and stops the slip at the gateway.
fn withdrawn_everywhere(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    let all = || {
        facts
            .nodes
            .iter()
            .flat_map(|(org, node)| node.slips.iter().map(move |slip| (org, slip)))
    };
    for (org, slip) in all().filter(|(_, slip)| slip.state == "withdrawn") {
        let org = org.name();
        if !slip.erased {
            breaches.push(format!("{org} kept the keys of a slip that was withdrawn"));
        }
        if slip.side == "captured" && !slip.proved {
            breaches.push(format!("{org} has no proof of a withdrawal"));
        }
        if !facts.gateway.stops.contains_key(&slip.slip_id) {
            breaches.push(format!(
                "a slip is withdrawn at {org} and not stopped at the gateway"
            ));
        }
        let live = |(_, other): &(&Org, &SlipFacts)| other.slip_id == slip.slip_id && other.state == "live";
        if let Some((other, _)) = all().find(live) {
            breaches.push(format!(
                "a slip is withdrawn at {org} and live at {}",
                other.name()
            ));
        }
    }
    let withdrawn =
        |(_, referral, sent, inbox): &(_, &Referral, _, _)| is_withdrawn(facts, referral, [*sent, *inbox]);
    for (number, referral, sent, inbox) in pairs(facts).filter(withdrawn) {
        for copy in [sent, inbox]
            .into_iter()
            .flatten()
            .filter(|copy| !has_ended(copy))
        {
            let (from, to, side) = (referral.from.name(), referral.to.name(), &copy.side);
            breaches.push(format!(
                "referral {number} of {from} to {to} is withdrawn and still live ({side})"
            ));
        }
    }
    breaches
}

/// Both copies of a thread are in one state with one history, or consent to it has ended at both.
fn compatible(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, referral, sent, inbox) in pairs(facts) {
        let (Some(sent), Some(inbox)) = (sent, inbox) else {
            continue;
        };
        if has_ended(sent) || has_ended(inbox) {
            if !(has_ended(sent) && has_ended(inbox)) {
                let (here, there) = (&sent.consent, &inbox.consent);
                breaches.push(format!(
                    "consent to referral {number} is {here} at its sender, {there} at its recipient"
                ));
            }
            continue;
        }
        // An expired referral moves no more at its sender; what the recipient did with it since is kept there as late.
        if sent.state != inbox.state && sent.state != "expired" {
            let (here, there) = (&sent.state, &inbox.state);
            breaches.push(format!(
                "referral {number} is {here} at its sender, {there} at its recipient"
            ));
        }
        let numbered = |copy: &ThreadFacts| -> Vec<Numbered> {
            let mut events = copy.events.clone();
            events.retain(|((_, number), ..)| *number > 0);
            events.sort();
            events
        };
        let (here, there) = (numbered(sent), numbered(inbox));
        let came_back = facts.nodes[&referral.to].came_back;
        // A proposal that is offered to it again is numbered again, as the same event.
        let told = |events: &[Numbered]| -> BTreeSet<(i32, Vec<u8>)> {
            let events = events.iter();
            events.map(|(_, mv, id)| (*mv, id.clone())).collect()
        };
        let is_one = here == there || (came_back && told(&here) == told(&there));
        if !is_one {
            breaches.push(format!(
                "referral {number} has {} events at its sender, {} at its recipient, or others",
                here.len(),
                there.len()
            ));
        }
        // A writer that came back goes on in another epoch, and nobody may have had the last numbers of the one before.
        let places = there.iter().map(|(place, ..)| *place);
        let one_by_one = if came_back {
            places.clone().collect::<BTreeSet<_>>().len() == there.len()
        } else {
            places.map(|(_, number)| number).eq(1..=there.len() as u64)
        };
        if !one_by_one {
            breaches.push(format!(
                "the events of referral {number} are not numbered one by one"
            ));
        }
    }
    breaches
}

/// Each acknowledged message is at both nodes once, unless consent has ended, or a disk was lost before it left.
fn messages(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, referral, sent, inbox) in pairs(facts) {
        for copy in [sent, inbox]
            .into_iter()
            .flatten()
            .filter(|copy| !has_ended(copy))
        {
            let held: BTreeSet<&[u8]> = copy.messages.iter().map(Vec::as_slice).collect();
            let (must, may) = losses::messages_at(facts, referral, copy);
            let missing = must.iter().filter(|id| !held.contains(*id)).count();
            let strange = held
                .iter()
                .filter(|id| !must.contains(id) && !may.contains(id))
                .count();
            let twice = copy.messages.len() - held.len();
            if (missing, strange, twice) != (0, 0, 0) {
                let side = &copy.side;
                breaches.push(format!(
                    "of the messages on referral {number} {missing} are missing, {strange} strange, {twice} there twice ({side})"
                ));
            }
        }
    }
    breaches
}

/// Sender, gateway and recipient stand at the same place of each pair's order.
fn positions_agree(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for from in Org::ALL {
        for to in Org::ALL {
            let (sender, recipient) = (&facts.nodes[&from].sent, &facts.nodes[&to].received);
            let names = (from.name().to_owned(), to.name().to_owned());
            let stand = [
                sender.get(to.name()),
                facts.gateway.pairs.get(&names).filter(|(number, _)| *number > 0),
                recipient.get(from.name()),
            ];
            if stand[0] != stand[1] || stand[1] != stand[2] {
                let numbers = stand.map(|place| place.map_or(0, |(number, _)| *number));
                breaches.push(format!(
                    "{} to {}: sender, gateway and recipient stand at {numbers:?}",
                    names.0, names.1
                ));
            }
        }
    }
    breaches
}

/// Each trail is numbered without a gap and tells of as much as was done.
fn trails(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    let count = |trail: &Trail, code: &str| trail.codes.get(code).copied().unwrap_or_default();
    let gateway = &facts.gateway;
    let delivered = gateway.taken.iter().filter(|taken| taken.delivered).count() as i64;
    // A receipt that names a problem ends the gateway's part as well.
    let told =
        count(&gateway.trail, "envelope_delivered") + count(&gateway.trail, "envelope_delivered refused");
    if told != delivered {
        breaches.push(format!(
            "the gateway's trail tells of {told} deliveries, and {delivered} were made"
        ));
    }
    // Only for a disk that was lost is anything sent again, and told again.
    let has_lost = gateway.trail.epochs.len() > 1 || facts.nodes.values().any(|node| node.came_back);
    let nodes = facts.nodes.values().map(|node| &node.trail);
    if !has_lost && nodes.chain([&gateway.trail]).any(|trail| trail.again > 0) {
        breaches.push("a trail tells twice of one envelope".to_owned());
    }
    if !gateway.trail.whole {
        breaches.push("the gateway's trail has a gap".to_owned());
    }
    if !gateway.trail.proven {
        breaches.push("the gateway's log does not prove its trail".to_owned());
    }
    for (org, node) in &facts.nodes {
        let name = org.name();
        if !node.trail.whole {
            breaches.push(format!("the trail of {name} has a gap"));
        }
        if !node.trail.proven {
            breaches.push(format!("the log of {name} does not prove its trail"));
        }
        let (sent, queued) = (count(&node.trail, "envelope_sent"), node.outbox.len() as i64);
        if sent != queued {
            breaches.push(format!(
                "the trail of {name} tells of {sent} envelopes, its outbox of {queued}"
            ));
        }
        let rows = node.outbox.iter();
        let acknowledged = rows.filter(|row| row.state == "delivered").count() as i64;
        let told = count(&node.trail, "envelope_delivered");
        if told != acknowledged {
            breaches.push(format!(
                "the trail of {name} tells of {told} receipts, its outbox of {acknowledged}"
            ));
        }
    }
    breaches
}

/// No text that a person said or somebody wrote about them stands in clear in any file or in the log; and every database was
/// among what was searched.
fn nothing_in_clear(facts: &Facts) -> Vec<String> {
    let marked = |(name, bytes): &(String, Vec<u8>)| {
        let text = String::from_utf8_lossy(bytes);
        let found = [MARK, PHONE].into_iter().find(|mark| text.contains(mark));
        found.map(|mark| format!("{mark} stands in {name}"))
    };
    let mut breaches: Vec<String> = facts.written.iter().filter_map(marked).collect();
    let nodes = Org::ALL.map(|org| format!("{}/node.db", org.name()));
    for database in nodes.iter().map(String::as_str).chain(["gateway/gateway.db"]) {
        let searched = |(name, bytes): &(String, Vec<u8>)| name.ends_with(database) && !bytes.is_empty();
        if !facts.written.iter().any(searched) {
            breaches.push(format!("{database} was not searched"));
        }
    }
    breaches
}
