//! Lists written by hand, each a story that must hold; and lists that once failed, so that they never fail again.

use kith_proto::lifecycle::Move;

use crate::facts::Facts;
use crate::ledger::Referral;
use crate::op::{By, Host, Op, Org};
use crate::run::holds;

#[path = "lists/restored.rs"]
mod restored;

const WAIT: Op = Op::Wait { ms: 2_000 };
/// Longer than it takes to find out that a stream is dead.
const LONG: Op = Op::Wait { ms: 45_000 };
const REFER: Op = Op::Refer {
    from: Org::Gp,
    to: Org::Circle,
};
const BACK: Op = Op::Refer {
    from: Org::Circle,
    to: Org::Gp,
};

const fn recipient(mv: Move) -> Op {
    Op::Move {
        referral: 0,
        by: By::Recipient,
        mv,
    }
}

const fn sender(mv: Move) -> Op {
    Op::Move {
        referral: 0,
        by: By::Sender,
        mv,
    }
}

const fn withdraw(by: By) -> Op {
    Op::Withdraw { referral: 0, by }
}

const fn say(by: By) -> Op {
    Op::Say { referral: 0, by }
}

/// The state of both copies of every thread, sender's and recipient's side by side.
fn states(facts: &Facts) -> Vec<(&str, &str)> {
    let of = |org: Org, thread_id| {
        let mut threads = facts.nodes[&org].threads.iter();
        let found = threads.find(|thread| Some(thread.thread_id) == thread_id);
        found.map_or("", |thread| thread.state.as_str())
    };
    let both = |referral: &Referral| {
        (
            of(referral.from, referral.thread_id),
            of(referral.to, referral.thread_id),
        )
    };
    facts.ledger.iter().map(both).collect()
}

#[test]
fn a_referral_is_sent_taken_up_and_completed() {
    let ran = holds(
        1,
        &[
            REFER,
            WAIT,
            recipient(Move::Acknowledge),
            say(By::Sender),
            recipient(Move::Accept),
            recipient(Move::Start),
            say(By::Recipient),
            WAIT,
            recipient(Move::Complete),
        ],
    );
    assert_eq!(states(&ran.facts), [("completed", "completed")]);
}

#[test]
fn what_was_acknowledged_offline_arrives_after_the_crash_of_everything() {
    let ran = holds(
        2,
        &[
            Op::Partition { org: Org::Gp },
            REFER,
            REFER,
            Op::Crash {
                host: Host::Node(Org::Gp),
            },
            Op::Crash { host: Host::Gateway },
            Op::Crash {
                host: Host::Node(Org::Circle),
            },
            WAIT,
        ],
    );
    assert_eq!(states(&ran.facts), [("received", "received"); 2]);
}

#[test]
fn moves_that_cross_end_in_the_recipients_state() {
    let ran = holds(
        3,
        &[
            REFER,
            WAIT,
            recipient(Move::Accept),
            WAIT,
            Op::Hold { org: Org::Gp },
            sender(Move::RequestCancel),
            recipient(Move::Start),
            recipient(Move::Complete),
            WAIT,
        ],
    );
    assert_eq!(states(&ran.facts), [("completed", "completed")]);
}

#[test]
fn a_withdrawal_overtakes_a_referral_that_is_held_up() {
    let ran = holds(
        4,
        &[
            Op::Hold { org: Org::Circle },
            REFER,
            WAIT,
            withdraw(By::Sender),
            WAIT,
        ],
    );
    assert_eq!(states(&ran.facts)[0].0, "withdrawn");
}

#[test]
fn a_withdrawal_at_the_recipient_ends_it_at_the_sender_too() {
    let ran = holds(
        5,
        &[
            REFER,
            WAIT,
            Op::Partition { org: Org::Circle },
            withdraw(By::Recipient),
            say(By::Sender),
            LONG,
        ],
    );
    assert_eq!(states(&ran.facts), [("withdrawn", "withdrawn")]);
}

#[test]
fn a_gateway_that_crashes_between_taking_and_delivering_delivers_once() {
    let crash = Op::Start { host: Host::Gateway };
    let soon = Op::Wait { ms: 64 };
    holds(
        6,
        &[REFER, BACK, soon, crash, soon, REFER, BACK, crash, soon, crash],
    );
}

/// What a look at a thread leaves at its recipient comes to whoever captured the consent a day later, whatever breaks on the way.
#[test]
fn what_a_recipient_opened_is_reported_once_through_every_crash() {
    let start = |host| Op::Start { host };
    let soon = Op::Wait { ms: 3_000 };
    let ran = holds(
        11,
        &[
            REFER,
            WAIT,
            Op::Next {
                referral: 0,
                by: By::Recipient,
                pick: 0,
            },
            WAIT,
            Op::PutForward { hours: 24 },
            soon,
            start(Host::Node(Org::Circle)),
            start(Host::Gateway),
            soon,
            start(Host::Node(Org::Gp)),
            start(Host::Gateway),
            Op::Wait { ms: 70_000 },
        ],
    );
    let (gp, circle) = (&ran.facts.nodes[&Org::Gp], &ran.facts.nodes[&Org::Circle]);
    let reports = circle.outbox.iter().filter(|row| row.kind == "access_report");
    let reports: Vec<&str> = reports.map(|row| row.state.as_str()).collect();
    assert_eq!(reports, ["delivered"]);
    assert_eq!(gp.trail.codes.get("access_reported"), Some(&1));
}

#[test]
fn nodes_that_slept_for_days_renew_their_certificates_and_expire_what_nobody_answered() {
    let ran = holds(
        7,
        &[
            REFER,
            WAIT,
            Op::Crash {
                host: Host::Node(Org::Circle),
            },
            Op::PutForward { hours: 24 * 9 },
            Op::Wait { ms: 70_000 },
        ],
    );
    assert_eq!(states(&ran.facts), [("expired", "expired")]);
}

/// A referral and the narrowing of its consent came in one delivery. The narrowing looked for keys that were stored already,
/// found none, took none away, and was proved all the same.
#[test]
fn a_narrowing_that_arrives_with_its_referral_takes_its_keys() {
    holds(
        8,
        &[
            Op::Partition { org: Org::Circle },
            REFER,
            WAIT,
            Op::Narrow { referral: 0 },
            LONG,
        ],
    );
}

/// The same where the narrowing stands before its referral, which was held up on the sender's side.
#[test]
fn a_narrowing_that_overtakes_its_referral_takes_its_keys() {
    holds(
        9,
        &[
            Op::Hold { org: Org::Gp },
            REFER,
            Op::Wait { ms: 128 },
            Op::Narrow { referral: 0 },
            Op::Wait { ms: 128 },
        ],
    );
}

/// The gateway answers the line of a withheld envelope by its hash, as it never sees the id. The node looked for the id, so
/// the line was never settled, nor anything behind it.
#[test]
fn what_stands_behind_a_withheld_line_is_settled() {
    holds(
        10,
        &[
            Op::Partition { org: Org::Gp },
            REFER,
            REFER,
            withdraw(By::Sender),
            Op::Repair { org: Org::Gp },
            LONG,
            REFER,
        ],
    );
}

/// A member joined while another's stream began: after its look at the directory, before the gateway told it of changes.
#[test]
fn a_member_that_joins_while_another_attaches_is_seen() {
    holds(303, &[]);
}
