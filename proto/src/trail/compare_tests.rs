//! Three accounts of one referral that agree, and each way in which one lacks or contradicts what the others say.

use super::Code;
use super::compare::*;
use super::event::Event;
use super::export::*;
use super::verify::{Verified, Verifier};
use super::world::*;
use crate::id::ThreadId;
use crate::log::origin::Keeper;

const THREAD: [u8; 16] = [0xab; 16];
/// The referral, the answer's event, and the proof of a withdrawal.
const REFERRAL: [u8; 16] = [1; 16];
const ANSWER: [u8; 16] = [2; 16];
const PROOF: [u8; 16] = [3; 16];
const SLIP: [u8; 16] = [0x0e; 16];
const EVENT: [u8; 16] = [0x0f; 16];

/// The events of the three accounts.
#[derive(Clone)]
struct Story {
    sender: Vec<Event>,
    gateway: Vec<Event>,
    recipient: Vec<Event>,
}

/// A node's line about an envelope that it sent to, or received from, another.
fn line(code: Code, envelope: [u8; 16], name: &'static str, peer: u8) -> Event {
    Event::new(code, T0)
        .id("thread", &THREAD)
        .id("envelope", &envelope)
        .org(name, &org(peer))
}

fn sent(envelope: [u8; 16], to: u8, kind: &'static str) -> Event {
    line(Code::EnvelopeSent, envelope, "to", to)
        .id("slip", &SLIP)
        .word("kind", kind)
}

/// The gateway's line about an envelope.
fn relayed(code: Code, envelope: [u8; 16], from: u8, to: u8) -> Event {
    Event::new(code, T0)
        .org("from", &org(from))
        .org("to", &org(to))
        .id("envelope", &envelope)
        .hash("envelope_hash", &[envelope[0]; 32])
}

fn moved(step: &'static str, state: &'static str) -> Event {
    Event::new(Code::ReferralMoved, T0)
        .id("thread", &THREAD)
        .id("event", &EVENT)
        .word("move", step)
        .word("state", state)
}

fn story() -> Story {
    let own = |envelope: [u8; 16], to, kind| {
        vec![
            sent(envelope, to, kind),
            line(Code::EnvelopeTaken, envelope, "to", to),
            line(Code::EnvelopeDelivered, envelope, "to", to),
        ]
    };
    let received = |envelope: [u8; 16], from| {
        line(Code::EnvelopeReceived, envelope, "from", from).hash("envelope_hash", &[envelope[0]; 32])
    };
    let passed = |envelope: [u8; 16], from, to| {
        [Code::EnvelopeTaken, Code::EnvelopeDelivered].map(|code| relayed(code, envelope, from, to))
    };
    let mut sender = own(REFERRAL, RECIPIENT, "referral");
    sender.push(received(ANSWER, RECIPIENT));
    sender.push(moved("accept", "accepted"));
    sender.push(
        Event::new(Code::GrantWithdrawn, T0)
            .id("slip", &SLIP)
            .org("with", &org(RECIPIENT)),
    );
    sender.push(received(PROOF, RECIPIENT));
    sender.push(
        Event::new(Code::WithdrawalProved, T0)
            .id("slip", &SLIP)
            .org("by", &org(RECIPIENT)),
    );
    let mut recipient = vec![received(REFERRAL, SENDER)];
    recipient.extend(own(ANSWER, SENDER, "event"));
    recipient.push(moved("accept", "accepted"));
    recipient.push(Event::new(Code::HoldingDestroyed, T0).id("slip", &SLIP));
    recipient.extend(own(PROOF, SENDER, "withdrawal_proof"));
    let mut gateway = passed(REFERRAL, SENDER, RECIPIENT).to_vec();
    gateway.extend(passed(ANSWER, RECIPIENT, SENDER));
    gateway.push(
        Event::new(Code::SlipStopped, T0)
            .id("slip", &SLIP)
            .org("by", &org(SENDER)),
    );
    gateway.extend(passed(PROOF, RECIPIENT, SENDER));
    Story {
        sender,
        gateway,
        recipient,
    }
}

fn export(lines: Vec<Line>) -> Verified {
    let mut verifier = Verifier::new(root_key());
    for text in written(lines) {
        verifier.line(text.trim_end().as_bytes()).unwrap();
    }
    verifier.finish().unwrap()
}

fn accounts(story: &Story) -> [Verified; 3] {
    let gateway = gateway_log(story.gateway.clone());
    let node = |number, events: &[Event]| Log::new(Keeper::Node(org(number)), events.to_vec());
    let sender = node(SENDER, &story.sender);
    let recipient = node(RECIPIENT, &story.recipient);
    [&sender, &gateway, &recipient].map(|log| export(lines(log, &gateway)))
}

fn compared(story: &Story) -> Comparison {
    let [sender, gateway, recipient] = accounts(story);
    let thread = ThreadId::from_bytes(THREAD);
    let comparison = compare(&thread, &[&sender, &gateway, &recipient]).unwrap();
    let turned = compare(&thread, &[&recipient, &gateway, &sender]).unwrap();
    assert_eq!(turned, comparison, "in whatever order the files are given");
    comparison
}

fn sentences(story: &Story) -> Vec<String> {
    compared(story)
        .findings
        .into_iter()
        .map(|finding| finding.sentence)
        .collect()
}

#[test]
fn three_accounts_that_agree_have_no_finding() {
    let comparison = compared(&story());
    assert_eq!(comparison.findings, []);
    assert!(comparison.agrees());
    assert_eq!((comparison.envelopes, comparison.moves), (3, 1));
}

/// Whose account loses which line; what it then does not say, and whose account does.
const MISSING: &str = "
sender 0|envelope 01010101 was sent|gateway
sender 1|the gateway took envelope 01010101|gateway
sender 2|envelope 01010101 was delivered|gateway
sender 3|envelope 02020202 was delivered|gateway
sender 4|event 0f0f0f0f made the move \"accept\" to \"accepted\"|recipient
sender 5|the consent of slip 0e0e0e0e was withdrawn|gateway
sender 7|the withdrawal of slip 0e0e0e0e was proved|recipient
gateway 0|the gateway took envelope 01010101|sender
gateway 1|envelope 01010101 was delivered|recipient
gateway 3|envelope 02020202 was delivered|recipient
gateway 4|consent slip 0e0e0e0e was stopped|sender
recipient 0|envelope 01010101 was delivered|gateway
recipient 1|envelope 02020202 was sent|gateway
recipient 2|the gateway took envelope 02020202|gateway
recipient 3|envelope 02020202 was delivered|gateway
recipient 4|event 0f0f0f0f made the move \"accept\" to \"accepted\"|sender
recipient 7|the gateway took envelope 03030303|gateway
recipient 8|envelope 03030303 was delivered|gateway
";

fn account(word: &str) -> &'static str {
    match word {
        "sender" => "the account of Riverside GP",
        "recipient" => "the account of Harbour Welcome",
        _ => "the gateway's account",
    }
}

fn without(word: &str, at: usize) -> Story {
    let mut story = story();
    let lines = match word {
        "sender" => &mut story.sender,
        "recipient" => &mut story.recipient,
        _ => &mut story.gateway,
    };
    lines.remove(at);
    story
}

#[test]
fn a_line_that_is_missing_is_named_with_its_account() {
    for row in MISSING.trim().lines() {
        let [line, what, by] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let (word, at) = line.split_once(' ').unwrap();
        let comparison = compared(&without(word, at.parse().unwrap()));
        let expected = format!(
            "{} does not say that {what}, but {} does.",
            account(word).replacen('t', "T", 1),
            account(by)
        );
        let found: Vec<&str> = comparison
            .findings
            .iter()
            .map(|one| one.sentence.as_str())
            .collect();
        assert_eq!(found, [expected], "{row}");
        assert!(!comparison.agrees());
    }
    let found = sentences(&without("recipient", 6));
    assert_eq!(found.len(), 2, "the envelope and what it proves: {found:?}");
}

#[test]
fn lines_that_say_otherwise_are_named() {
    let mut other_state = story();
    other_state.recipient[4] = moved("decline", "declined");
    let expected = "The account of Riverside GP contradicts the account of Harbour Welcome: event 0f0f0f0f is the move \"decline\" to \"declined\" there and \"accept\" to \"accepted\" here.";
    assert_eq!(sentences(&other_state), [expected]);

    let mut other_hash = story();
    other_hash.recipient[0] =
        line(Code::EnvelopeReceived, REFERRAL, "from", SENDER).hash("envelope_hash", &[9; 32]);
    let expected = "The account of Harbour Welcome contradicts the gateway's account: envelope 01010101 has another content.";
    assert_eq!(sentences(&other_hash), [expected]);

    let mut refused = story();
    refused.recipient[0] =
        line(Code::EnvelopeRejected, REFERRAL, "from", SENDER).word("problem", "stale_key");
    let refusal = "envelope 01010101 was refused by its recipient as \"stale key\"";
    let alone = format!(
        "The account of Harbour Welcome contradicts the gateway's account: it says that {refusal}, and the other that it was delivered."
    );
    let other = "The account of Riverside GP contradicts the account of Harbour Welcome: it says that envelope 01010101 was delivered, and the other that it was refused by its recipient as \"stale key\"."
        .to_owned();
    assert_eq!(
        sentences(&refused),
        [alone, other],
        "the one that stands alone is in both"
    );

    let mut dropped = story();
    dropped.gateway[1] =
        relayed(Code::EnvelopeDropped, REFERRAL, SENDER, RECIPIENT).word("problem", "deadline_exceeded");
    assert_eq!(compared(&dropped).findings[0].kind, FindingKind::Contradicts);

    let mut elsewhere = story();
    for at in 0..2 {
        let code = story().gateway[at].code();
        elsewhere.gateway[at] = relayed(code, REFERRAL, RECIPIENT, SENDER);
    }
    assert!(sentences(&elsewhere)[0].ends_with("envelope 01010101 is between other organisations."));
}

#[test]
fn an_envelope_under_way_or_tried_again_is_no_finding() {
    let mut waiting = story();
    waiting.sender.push(sent([5; 16], RECIPIENT, "message"));
    waiting.sender.push(sent([6; 16], RECIPIENT, "message"));
    waiting
        .sender
        .push(line(Code::EnvelopeTaken, [6; 16], "to", RECIPIENT));
    waiting
        .gateway
        .push(relayed(Code::EnvelopeTaken, [6; 16], SENDER, RECIPIENT));
    assert_eq!(sentences(&waiting), [""; 0]);

    let mut again = story();
    let stale = line(Code::EnvelopeRefused, REFERRAL, "to", RECIPIENT).word("problem", "stale_key");
    again.sender.insert(1, stale);
    let refused = relayed(Code::EnvelopeRefused, REFERRAL, SENDER, RECIPIENT).word("problem", "stale_key");
    again.gateway.insert(0, refused);
    assert_eq!(sentences(&again), [""; 0]);

    let mut proposed = story();
    proposed
        .sender
        .insert(4, moved("request_cancel", "accepted").word("as", "proposed"));
    assert_eq!(sentences(&proposed), [""; 0]);

    let mut own = story();
    own.sender.push(
        Event::new(Code::ReferralMoved, T0)
            .id("thread", &THREAD)
            .id("event", &[8; 16])
            .word("move", "send"),
    );
    assert_eq!(sentences(&own), [""; 0]);
}

#[test]
fn refusals_and_drops_are_looked_for_at_both_ends() {
    let mut refused = story();
    refused.sender.push(sent([5; 16], RECIPIENT, "message"));
    refused
        .sender
        .push(line(Code::EnvelopeRefused, [5; 16], "to", RECIPIENT).word("problem", "consent_expired"));
    let expected = "The gateway's account does not say that envelope 05050505 was refused by the gateway as \"consent expired\", but the account of Riverside GP does.";
    assert_eq!(sentences(&refused), [expected]);
    refused
        .gateway
        .push(relayed(Code::EnvelopeRefused, [5; 16], SENDER, RECIPIENT).word("problem", "consent_expired"));
    assert_eq!(sentences(&refused), [""; 0]);
}

#[test]
fn what_could_not_be_compared_is_said() {
    let [sender, gateway, recipient] = accounts(&story());
    let thread = ThreadId::from_bytes(THREAD);
    let both = compare(&thread, &[&sender, &recipient]).unwrap();
    let said: Vec<&str> = both.findings.iter().map(|one| one.sentence.as_str()).collect();
    assert_eq!(
        said,
        ["The gateway's account is not here: what it took and delivered could not be compared."]
    );
    assert!(both.agrees());
    let half = compare(&thread, &[&sender, &gateway]).unwrap();
    assert!(half.agrees() && half.findings[0].sentence.contains("harbour-welcome is not here"));

    let gateway = gateway_log(story().gateway);
    let log = Log::new(Keeper::Node(org(RECIPIENT)), story().recipient);
    let mut narrow = lines(&log, &gateway);
    let Line::Header(header) = &mut narrow[0] else {
        panic!("a header")
    };
    header.question.insert("code".to_owned(), "opened".to_owned());
    let last = narrow.len() - 1;
    narrow[last] = log.line_of_event(log.size() - 1, log.size(), false);
    let narrow = compare(&thread, &[&sender, &export(narrow)]).unwrap();
    let not_compared = narrow
        .findings
        .iter()
        .filter(|one| one.kind == FindingKind::NotCompared);
    assert_eq!(not_compared.count(), 3);
    assert!(
        narrow
            .findings
            .iter()
            .any(|one| one.sentence.contains("has 1 lines that are not opened"))
    );
}

#[test]
fn a_gateway_that_shows_two_logs_is_found_out() {
    let [sender, ..] = accounts(&story());
    let mut other = story();
    other.gateway[1] = relayed(Code::EnvelopeDropped, REFERRAL, SENDER, RECIPIENT);
    let [_, _, recipient] = accounts(&other);
    let comparison = compare(&ThreadId::from_bytes(THREAD), &[&sender, &recipient]).unwrap();
    let expected = "The account of Riverside GP contradicts the account of Harbour Welcome: they rest on two versions of one log, which must have one.";
    assert_eq!(comparison.findings[0].sentence, expected);
    assert!(!comparison.agrees());
}

#[test]
fn accounts_that_do_not_belong_together_are_not_compared() {
    let [sender, gateway, _] = accounts(&story());
    let thread = ThreadId::from_bytes(THREAD);
    assert_eq!(compare(&thread, &[]), Err(CompareError::TooFew));
    assert_eq!(compare(&thread, &[&sender]), Err(CompareError::TooFew));
    assert_eq!(
        compare(&thread, &[&sender, &gateway, &sender]),
        Err(CompareError::Twice)
    );
}
