//! Each rule finds what it is for: the facts of one sound run are falsified in one place at a time.

use super::*;
use crate::op::{By, Host, Op};
use crate::run;
use kith_proto::lifecycle::Move;

/// A run with a referral under way, one narrowed, one withdrawn, and a message.
fn sound() -> Facts {
    let refer = Op::Refer {
        from: Org::Gp,
        to: Org::Circle,
    };
    let by = By::Recipient;
    let ops = [
        refer,
        refer,
        refer,
        Op::Wait { ms: 1_000 },
        Op::Move {
            referral: 0,
            by,
            mv: Move::Accept,
        },
        Op::Say { referral: 0, by },
        Op::Narrow { referral: 1 },
        Op::Withdraw {
            referral: 2,
            by: By::Sender,
        },
    ];
    run::holds(7, &ops).facts
}

/// Makes one thing wrong.
type Falsify = fn(&mut Facts);

/// Falsifies a copy of the facts and gives what is found then.
fn found(facts: &Facts, falsify: impl Fn(&mut Facts)) -> Vec<String> {
    let mut falsified = facts.clone();
    falsify(&mut falsified);
    all(&falsified)
}

fn assert_found(breaches: &[String], rule: &str) {
    let of_rule = |breach: &String| breach.starts_with(&format!("{rule}: "));
    assert!(breaches.iter().any(of_rule), "{rule} is not among {breaches:?}");
}

fn gp(facts: &mut Facts) -> &mut NodeFacts {
    facts.nodes.get_mut(&Org::Gp).unwrap()
}

fn circle(facts: &mut Facts) -> &mut NodeFacts {
    facts.nodes.get_mut(&Org::Circle).unwrap()
}

/// What each rule must find, once it is made wrong.
const FALSIFIED: [(&str, Falsify); 36] = [
    ("at rest", |f| {
        circle(f).threads.iter_mut().for_each(|t| t.awaits_word = true);
    }),
    ("at rest", |f| f.rested = Err("a withdrawal".into())),
    ("at rest", |f| f.panics = 1),
    ("at rest", |f| gp(f).outbox[0].state = "taken".into()),
    ("at rest", |f| f.log.push_str("00:01.000 ERROR two histories\n")),
    ("received once", |f| circle(f).threads.clear()),
    ("received once", |f| gp(f).threads.clear()),
    ("received once", |f| gp(f).threads[0].delivery = "taken".into()),
    ("received once", |f| {
        let again = circle(f).threads[0].clone();
        circle(f).threads.push(again);
    }),
    ("received once", |f| {
        let stray = circle(f).threads[0].clone();
        f.nodes.get_mut(&Org::Charity).unwrap().threads.push(stray);
    }),
    ("in order", |f| circle(f).threads.swap(0, 1)),
    ("consented", |f| {
        circle(f).threads[1].categories = Some(vec![1, 2, 4])
    }),
    ("consented", |f| {
        circle(f).threads[0].categories = Some(vec![1, 2, 4, 5])
    }),
    ("consented", |f| circle(f).threads[2].categories = Some(vec![1])),
    ("consented", |f| {
        f.gateway.stops.values_mut().for_each(|at_ms| *at_ms = 0)
    }),
    ("withdrawn everywhere", |f| f.gateway.stops.clear()),
    ("withdrawn everywhere", |f| {
        circle(f).slips.iter_mut().for_each(|slip| slip.erased = false)
    }),
    ("withdrawn everywhere", |f| {
        gp(f).slips.iter_mut().for_each(|slip| slip.proved = false)
    }),
    ("withdrawn everywhere", |f| {
        circle(f)
            .slips
            .iter_mut()
            .for_each(|slip| slip.state = "live".into())
    }),
    ("withdrawn everywhere", |f| {
        circle(f).threads[2].consent = "live".into()
    }),
    ("compatible", |f| circle(f).threads[2].consent = "live".into()),
    ("compatible", |f| gp(f).threads[0].state = "declined".into()),
    ("compatible", |f| drop(gp(f).threads[0].events.pop())),
    ("compatible", |f| {
        for node in [Org::Gp, Org::Circle] {
            let thread = &mut f.nodes.get_mut(&node).unwrap().threads[0];
            thread.events.retain(|((_, number), ..)| *number != 1);
        }
    }),
    ("messages", |f| gp(f).threads[0].messages.clear()),
    ("messages", |f| {
        let again = gp(f).threads[0].messages[0].clone();
        gp(f).threads[0].messages.push(again);
    }),
    ("positions agree", |f| gp(f).sent.clear()),
    ("trails", |f| gp(f).trail.whole = false),
    ("trails", |f| gp(f).trail.proven = false),
    ("trails", |f| gp(f).trail.again = 1),
    ("trails", |f| f.gateway.trail.proven = false),
    ("logs grow", |f| {
        f.gateway
            .trail
            .seen
            .values_mut()
            .for_each(|head| head.size += 1_000)
    }),
    ("logs grow", |f| {
        let seen = gp(f).trail.seen.values_mut();
        seen.for_each(|head| head.root.0[0] ^= 1)
    }),
    ("no alarm", |f| gp(f).alarms.push("gateway_behind".into())),
    ("nothing in clear", |f| f.written.clear()),
    ("nothing in clear", |f| {
        f.written
            .push(("a file".into(), format!("about {MARK}").into_bytes()))
    }),
];

#[test]
fn each_rule_finds_what_it_is_for() {
    let sound = sound();
    assert_eq!(all(&sound), Vec::<String>::new());
    for (place, (rule, falsify)) in FALSIFIED.iter().enumerate() {
        let breaches = found(&sound, falsify);
        assert!(!breaches.is_empty(), "nothing was found in falsification {place}");
        assert_found(&breaches, rule);
    }
}

#[test]
fn trails_must_tell_of_as_much_as_was_done() {
    let sound = sound();
    for code in ["envelope_sent", "envelope_delivered"] {
        let breaches = found(&sound, |facts| {
            gp(facts).trail.codes.remove(code);
        });
        assert_found(&breaches, "trails");
    }
    let breaches = found(&sound, |facts| {
        facts.gateway.trail.codes.remove("envelope_delivered");
    });
    assert_found(&breaches, "trails");
}

/// A run in which the sender's disk was lost after one referral had left it, and before another could.
fn lost() -> Facts {
    let host = Host::Node(Org::Gp);
    let refer = Op::Refer {
        from: Org::Gp,
        to: Org::Circle,
    };
    let ops = [
        Op::Backup { host },
        refer,
        Op::Wait { ms: 1_000 },
        Op::Partition { org: Org::Gp },
        refer,
        Op::Restore { host },
    ];
    run::holds(8, &ops).facts
}

#[test]
fn a_lost_disk_excuses_only_what_went_with_it() {
    let lost = lost();
    let cases: [Falsify; 4] = [
        |f| gp(f).threads.clear(),
        |f| circle(f).threads.clear(),
        |f| gp(f).threads[0].categories = Some(vec![1]),
        |f| f.ledger[1].thread_id = f.ledger[0].thread_id,
    ];
    for (place, falsify) in cases.iter().enumerate() {
        let breaches = found(&lost, falsify);
        assert!(!breaches.is_empty(), "nothing was found in falsification {place}");
        assert_found(&breaches, "received once");
    }
}
