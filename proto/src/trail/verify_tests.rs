//! Exports that hold, and every way in which one is made not to: by altering the file, or by an exporter or gateway that lies.

use super::Code;
use super::event::Event;
use super::export::*;
use super::verify::*;
use super::world::*;
use crate::log::note::NoteError;
use crate::log::origin::Keeper;
use crate::log::proof::ProofError;
use crate::problem::Problem;
use crate::trust::{RootKey, TrustError};

fn events(count: i64) -> Vec<Event> {
    let event = |n| Event::new(Code::Opened, n).id("person", &[9; 16]);
    (0..count).map(event).collect()
}

fn sender_log() -> Log {
    Log::new(Keeper::Node(org(SENDER)), events(3))
}

fn sender_lines() -> Vec<Line> {
    lines(&sender_log(), &gateway_log(vec![]))
}

/// The first line that does not hold and why; the number of lines for the end of the file.
fn refused(texts: &[String]) -> (usize, Unproven) {
    let mut verifier = Verifier::new(root_key());
    for (number, text) in texts.iter().enumerate() {
        if let Err(why) = verifier.line(text.trim_end_matches('\n').as_bytes()) {
            assert_eq!(verifier.line(text.as_bytes()), Err(Unproven::Stopped));
            assert_eq!(verifier.finish().unwrap_err(), Unproven::Stopped);
            assert_ne!(why.problem(), Problem::Unavailable, "{why}");
            return (number, why);
        }
    }
    (texts.len(), verifier.finish().unwrap_err())
}

fn verified(texts: &[String]) -> (Vec<Proven>, Verified) {
    let mut verifier = Verifier::new(root_key());
    let line = |text: &String| verifier.line(text.trim_end().as_bytes()).unwrap();
    let proven = texts.iter().map(line).collect();
    (proven, verifier.finish().unwrap())
}

fn place(lines: &[Line], wanted: impl Fn(&Line) -> bool) -> usize {
    lines.iter().position(wanted).unwrap()
}

fn first_event(lines: &[Line]) -> usize {
    place(lines, |line| matches!(line, Line::Event(_)))
}

#[test]
fn a_nodes_export_holds_line_by_line() {
    let (proven, whole) = verified(&written(sender_lines()));
    let node = Keeper::Node(org(SENDER));
    assert_eq!(proven.len(), 11);
    let header = Proven::Header {
        network: network(),
        exporter: node.clone(),
    };
    assert_eq!(proven[0], header);
    assert_eq!(
        proven[1],
        Proven::Trust {
            threshold: 1,
            policy_number: 5
        }
    );
    let name = "Riverside GP".to_owned();
    assert_eq!(
        proven[2],
        Proven::Member {
            organisation: org(SENDER),
            name
        }
    );
    assert!(matches!(&proven[4], Proven::Binding { number: 2, standing, .. } if standing.is_counted()));
    assert_eq!(
        proven[6],
        Proven::Checkpoint {
            epoch: 1,
            size: 3,
            standing: None
        }
    );
    assert!(matches!(&proven[9], Proven::Event(event) if event.told().unwrap().at_ms == 2));
    assert_eq!(proven[10], Proven::End { lines: 11 });
    assert_eq!((whole.keeper(), whole.events().len()), (&node, 3));
    assert_eq!(whole.name_of(&org(SENDER)), Some("Riverside GP"));
    assert!(!whole.is_unwitnessed());
    assert_eq!(whole.policy_number(), 5);
}

#[test]
fn the_gateways_export_holds_and_says_how_it_is_witnessed() {
    let log = gateway_log(vec![Event::new(Code::NetworkCreated, 1)]);
    let (proven, whole) = verified(&written(lines(&log, &log)));
    let counted =
        |proven: &Proven| matches!(proven, Proven::Checkpoint { standing: Some(s), .. } if s.is_counted());
    assert_eq!(proven.iter().filter(|one| counted(one)).count(), 2);
    assert_eq!((whole.keeper(), whole.events().len()), (&Keeper::Gateway, 6));

    let mut unwitnessed = lines(&log, &log);
    unwitnessed[1] = trust(false);
    let (proven, whole) = verified(&written(unwitnessed));
    assert!(whole.is_unwitnessed(), "it holds, and it is said");
    assert_eq!(
        proven[1],
        Proven::Trust {
            threshold: 0,
            policy_number: 5
        }
    );
}

#[test]
fn an_event_that_may_not_be_shown_is_proven_all_the_same() {
    let log = sender_log();
    let mut lines = sender_lines();
    let at = first_event(&lines);
    lines[at] = log.line_of_event(0, log.size(), false);
    let (_, whole) = verified(&written(lines));
    assert_eq!(
        (whole.events()[0].code(), whole.events()[0].told()),
        (Code::Opened, None)
    );
}

#[test]
fn several_epochs_are_each_proven_under_their_own_checkpoint() {
    let (first, mut second) = (sender_log(), sender_log());
    second.epoch = 2;
    let mut all = sender_lines();
    let at = first_event(&all);
    all.insert(at, second.line_of_checkpoint(None, 3));
    all.push(second.line_of_event(1, 3, true));
    let (_, whole) = verified(&written(all.clone()));
    assert_eq!(
        whole.checkpoints().map(|(epoch, _)| epoch).collect::<Vec<_>>(),
        [1, 2]
    );
    // An event of an epoch without a checkpoint, and epochs that go back.
    all.remove(at);
    let last = all.len() - 1;
    assert_eq!(refused(&written(all.clone())), (last, Unproven::NoCheckpoint));
    all.insert(at - 2, second.line_of_checkpoint(None, 3));
    assert_eq!(refused(&written(all)), (at - 1, Unproven::OutOfPlace));
    assert_eq!(first.size(), 3);
}

#[test]
fn every_line_that_holds_is_named() {
    let log = sender_log();
    let mut lines = sender_lines();
    let last = lines.len() - 1;
    lines[last] = log.line_of_event(2, log.size(), false);
    let (proven, _) = verified(&written(lines));
    let named: Vec<String> = proven.iter().map(ToString::to_string).collect();
    let expected = [
        "the trail of riverside-gp in lune-valley.example",
        "the root's word: witness policy 5 asks for cosignatures of 1",
        "the keys of Riverside GP (riverside-gp)",
        "binding 1 of riverside-gp, in the gateway's log (counted: cosigned by w.example)",
        "binding 2 of riverside-gp, in the gateway's log (counted: cosigned by w.example)",
        "the log of epoch 1 with 1 leaves (cosigned by the gateway)",
        "the log of epoch 1 with 3 leaves (cosigned by the gateway)",
        "leaf 0 of epoch 1, opened",
        "leaf 1 of epoch 1, opened",
        "leaf 2 of epoch 1, opened (content not shown)",
        "the end: 11 lines, all signed by the exporter",
    ];
    assert_eq!(named, expected);
    let unwitnessed = Proven::Trust {
        threshold: 0,
        policy_number: 5,
    };
    assert!(unwitnessed.to_string().contains("no witness"));
}

/// Every byte, one bit of it for long lines and all eight for the last two. A line that stands is refused by the end of the file.
#[test]
fn every_altered_byte_is_refused() {
    let texts = written(sender_lines());
    let mut before = Verifier::new(root_key());
    for (number, text) in texts.iter().enumerate() {
        let line = text.trim_end().as_bytes();
        for at in 0..line.len() {
            let bits = if number + 2 < texts.len() {
                at % 8..at % 8 + 1
            } else {
                0..8
            };
            for bit in bits {
                let mut bad = line.to_vec();
                bad[at] ^= 1 << bit;
                let mut verifier = before.clone();
                let stands = verifier.line(&bad).is_ok();
                let rest = &texts[number + 1..];
                let whole = stands
                    && rest
                        .iter()
                        .all(|text| verifier.line(text.trim_end().as_bytes()).is_ok());
                assert!(!whole, "line {number}, byte {at}, bit {bit}");
            }
        }
        before.line(line).unwrap();
    }
    assert!(before.finish().is_ok());
}

#[test]
fn a_line_taken_away_put_in_moved_or_repeated_is_refused() {
    let texts = written(sender_lines());
    for at in 0..texts.len() {
        let mut removed = texts.clone();
        removed.remove(at);
        refused(&removed);
        refused(&texts[..at]);
        for to in 0..texts.len() {
            let mut repeated = texts.clone();
            repeated.insert(to, texts[at].clone());
            refused(&repeated);
            let mut moved = texts.clone();
            moved.swap(at, to);
            if at != to {
                refused(&moved);
            }
        }
    }
    let without_last = refused(&texts[..texts.len() - 1]);
    assert_eq!(without_last, (texts.len() - 1, Unproven::Cut));
    let mut fewer = texts.clone();
    fewer.remove(texts.len() - 2);
    assert_eq!(refused(&fewer), (texts.len() - 2, Unproven::Altered));
    let mut after = texts.clone();
    after.push(texts[2].clone());
    assert_eq!(refused(&after), (texts.len(), Unproven::OutOfPlace));
}

#[test]
fn another_root_or_another_exporters_signature_is_refused() {
    let texts = written(sender_lines());
    let mut verifier = Verifier::new(RootKey::Fingerprint([0; 32]));
    assert_eq!(
        verifier.line(texts[0].trim_end().as_bytes()),
        Err(Unproven::OtherRoot)
    );
    for by in [SENDER + 1, RECIPIENT + 2, GATEWAY, ROOT] {
        let Some((Line::Header(header), rest)) =
            sender_lines().split_first().map(|(h, r)| (h.clone(), r.to_vec()))
        else {
            panic!("a header")
        };
        let texts = signed_by(header, rest.into_iter(), by);
        assert_eq!(refused(&texts), (texts.len() - 1, Unproven::Altered), "key {by}");
    }
}

#[test]
fn a_key_is_good_for_an_hour_after_the_next_one() {
    for (exported_at_ms, by, holds) in [
        (T0 + 25 * HOUR, SENDER + 1, true),
        (T0 + 25 * HOUR, SENDER + 2, true),
        (T0 + 26 * HOUR + 1, SENDER + 1, false),
        (T0 + 25 * HOUR - 1, SENDER + 1, true),
        (T0 + 25 * HOUR - 1, SENDER + 2, false),
    ] {
        let log = sender_log();
        let mut header = header(log.keeper.clone());
        header.exported_at_ms = exported_at_ms;
        let texts = signed_by(header, sender_lines().into_iter().skip(1), by);
        let mut verifier = Verifier::new(root_key());
        let all = texts
            .iter()
            .all(|text| verifier.line(text.trim_end().as_bytes()).is_ok());
        // Before the second binding is in force the log is not believed under its key either.
        assert_eq!(
            all,
            holds && exported_at_ms >= T0 + 25 * HOUR,
            "{exported_at_ms} {by}"
        );
    }
}

#[test]
fn events_of_another_log_are_refused() {
    let other = Log::new(
        Keeper::Node(org(RECIPIENT)),
        (5..8).map(|n| Event::new(Code::Opened, n)).collect(),
    );
    let mut pasted = sender_lines();
    let at = first_event(&pasted);
    pasted[at] = other.line_of_event(0, 3, true);
    let why = Unproven::NotInLog(ProofError::Unproven);
    assert_eq!(refused(&written(pasted)), (at, why));
    // With its checkpoint too, which another key signed under another origin.
    let mut pasted = sender_lines();
    pasted[at - 2] = other.line_of_checkpoint(None, 3);
    assert_eq!(
        refused(&written(pasted)),
        (at - 2, Unproven::Checkpoint(NoteError::Unsigned))
    );
    // With its keys too: then it is not the exporter's.
    let mut pasted = sender_lines();
    pasted.splice(2..5, member_lines(RECIPIENT, &gateway_log(vec![])));
    assert_eq!(refused(&written(pasted)), (2, Unproven::ExporterUnknown));
    // An event that says more than its leaf commits to.
    let mut altered = sender_lines();
    let Line::Event(event) = &mut altered[at] else {
        panic!("an event")
    };
    event.opened.as_mut().unwrap().preimage.push_str("\ncount=1");
    assert_eq!(refused(&written(altered)), (at, Unproven::OtherEvent));
    // A leaf that is there, under another index.
    let mut moved = sender_lines();
    let Line::Event(event) = &mut moved[at] else {
        panic!("an event")
    };
    event.index = 1;
    assert_eq!(refused(&written(moved)).0, at);
}

#[test]
fn a_checkpoint_without_its_cosignatures_is_refused() {
    let mut lines_of_node = sender_lines();
    let at = place(&lines_of_node, |line| matches!(line, Line::Checkpoint(_)));
    let Line::Checkpoint(line) = &mut lines_of_node[at] else {
        panic!("a checkpoint")
    };
    line.note = sender_log().note(1, false);
    assert_eq!(refused(&written(lines_of_node)), (at, Unproven::NotCosigned));

    let log = gateway_log(vec![]);
    let mut of_gateway = lines(&log, &log);
    let Line::Checkpoint(line) = &mut of_gateway[2] else {
        panic!("a checkpoint")
    };
    line.note = log.note(log.size() / 2, false);
    let why = Unproven::Unwitnessed { by: 0, needed: 1 };
    assert_eq!(refused(&written(of_gateway)), (2, why));
}

#[test]
fn a_log_that_did_not_only_grow_is_refused() {
    let (log, other) = (
        sender_log(),
        Log::new(Keeper::Node(org(SENDER)), events(9).split_off(6)),
    );
    let mut forked = sender_lines();
    let at = first_event(&forked) - 2;
    forked[at] = other.line_of_checkpoint(None, 1);
    assert_eq!(refused(&written(forked)), (at + 1, Unproven::Forked));
    let mut same_size = sender_lines();
    same_size.insert(at + 2, other.line_of_checkpoint(None, 3));
    assert_eq!(refused(&written(same_size)), (at + 2, Unproven::Forked));
    let mut shrunk = sender_lines();
    shrunk[at] = log.line_of_checkpoint(None, 3);
    shrunk[at + 1] = log.line_of_checkpoint(None, 2);
    assert_eq!(refused(&written(shrunk)), (at + 1, Unproven::Forked));
}

#[test]
fn a_binding_that_the_gateways_log_does_not_name_is_refused() {
    // A gateway whose log says nothing of the member's second binding, or of another.
    let mut missing = sender_lines();
    missing.remove(4);
    assert_eq!(refused(&written(missing)), (4, Unproven::BindingMissing));
    let mut none = sender_lines();
    none.drain(3..5);
    assert_eq!(refused(&written(none)).1, Unproven::BindingMissing);
    type Change = fn(&mut BindingLeaf);
    let changes: [(Change, Unproven); 5] = [
        (|leaf| leaf.organisation = org(RECIPIENT), Unproven::OtherBinding),
        (|leaf| leaf.number = 1, Unproven::OtherBinding),
        (
            |leaf| leaf.preimage = leaf.preimage.replace("riverside-gp", "harbour-welcome"),
            Unproven::OtherBinding,
        ),
        (
            |leaf| leaf.preimage = leaf.preimage.replace("binding_published", "member_joined"),
            Unproven::OtherBinding,
        ),
        (
            |leaf| leaf.salt = [8; 16],
            Unproven::NotInLog(ProofError::Unproven),
        ),
    ];
    for (change, why) in changes {
        let mut lines = sender_lines();
        let Line::Binding(leaf) = &mut lines[4] else {
            panic!("a binding")
        };
        change(leaf);
        assert_eq!(refused(&written(lines)), (4, why));
    }
    // The leaf of the first binding for the second.
    let mut twice = sender_lines();
    let Line::Binding(first) = twice[3].clone() else {
        panic!("a binding")
    };
    twice[4] = Line::Binding(BindingLeaf { number: 2, ..first });
    assert_eq!(refused(&written(twice)), (4, Unproven::OtherBinding));
}

#[test]
fn a_chain_or_statement_that_another_signed_is_refused() {
    let mut forged = sender_lines();
    let Line::Member(member) = &mut forged[2] else {
        panic!("a member")
    };
    member.chain.bindings[1].signature[0] ^= 1;
    let why = Unproven::Statement {
        of: Statement::Chain,
        why: TrustError::Forged,
    };
    assert_eq!(refused(&written(forged)), (2, why));
    let mut swapped = sender_lines();
    let Line::Trust(trust) = &mut swapped[1] else {
        panic!("trust")
    };
    std::mem::swap(&mut trust.issuer, &mut trust.policy);
    let why = Unproven::Statement {
        of: Statement::Issuer,
        why: TrustError::Forged,
    };
    assert_eq!(refused(&written(swapped)), (1, why));
    let mut late = sender_lines();
    let Line::Header(header) = &mut late[0] else {
        panic!("a header")
    };
    header.exported_at_ms = NOW + HOUR;
    let why = Unproven::Statement {
        of: Statement::Issuer,
        why: TrustError::Expired,
    };
    assert_eq!(refused(&written(late)), (1, why));
}

#[test]
fn a_file_without_a_checkpoint_or_the_exporters_keys_proves_nothing() {
    let all = sender_lines();
    let at = first_event(&all);
    assert_eq!(
        refused(&written(all[..at - 2].to_vec())),
        (at - 2, Unproven::NoCheckpoint)
    );
    let without_keys: Vec<Line> = all
        .iter()
        .enumerate()
        .filter(|(n, _)| !(2..5).contains(n))
        .map(|(_, l)| l.clone())
        .collect();
    assert_eq!(refused(&written(without_keys)), (2, Unproven::ExporterUnknown));
    assert_eq!(refused(&[]), (0, Unproven::Cut));
}

/// Ten thousand where the build is a fast one: that takes less than a second.
#[test]
fn a_long_export_holds() {
    let count = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    let log = Log::new(Keeper::Node(org(SENDER)), events(count));
    let texts = written(lines(&log, &gateway_log(vec![])));
    assert_eq!(verified(&texts).1.events().len(), count as usize);
}
