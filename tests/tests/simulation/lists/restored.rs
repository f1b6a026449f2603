//! Lists in which a disk is lost and a backup comes back.

use super::*;
use crate::ledger::What;

const GP: Host = Host::Node(Org::Gp);
const CIRCLE: Host = Host::Node(Org::Circle);

const fn backup(host: Host) -> Op {
    Op::Backup { host }
}

const fn restore(host: Host) -> Op {
    Op::Restore { host }
}

/// What the sender's copy of the first referral still says.
fn words_at_sender(facts: &Facts) -> Option<&Vec<i32>> {
    let referral = &facts.ledger[0];
    let mut threads = facts.nodes[&referral.from].threads.iter();
    let found = threads.find(|thread| Some(thread.thread_id) == referral.thread_id);
    found.and_then(|thread| thread.categories.as_ref())
}

#[test]
fn a_sender_that_lost_what_it_sent_since_its_backup_has_it_listed_again() {
    let ran = holds(
        20,
        &[
            backup(GP),
            REFER,
            WAIT,
            say(By::Sender),
            recipient(Move::Accept),
            say(By::Recipient),
            WAIT,
            restore(GP),
        ],
    );
    assert_eq!(states(&ran.facts), [("accepted", "accepted")]);
    assert_eq!(words_at_sender(&ran.facts), Some(&Vec::new()));
}

#[test]
fn what_never_left_the_disk_that_was_lost_is_nowhere() {
    let ran = holds(
        21,
        &[
            REFER,
            WAIT,
            backup(GP),
            Op::Partition { org: Org::Gp },
            REFER,
            sender(Move::RequestCancel),
            say(By::Sender),
            Op::Narrow { referral: 0 },
            restore(GP),
            WAIT,
        ],
    );
    assert_eq!(states(&ran.facts), [("received", "received"), ("", "")]);
    let lost = |told: &&crate::ledger::Told| told.lost && told.what != What::Sent;
    assert_eq!(ran.facts.ledger[0].told.iter().filter(lost).count(), 2);
}

#[test]
fn a_recipient_that_lost_what_came_since_its_backup_gets_it_again() {
    let ran = holds(
        22,
        &[
            REFER,
            WAIT,
            backup(CIRCLE),
            REFER,
            say(By::Sender),
            BACK,
            WAIT,
            recipient(Move::Acknowledge),
            recipient(Move::Accept),
            say(By::Recipient),
            WAIT,
            restore(CIRCLE),
        ],
    );
    let all = [
        ("accepted", "accepted"),
        ("received", "received"),
        ("received", "received"),
    ];
    assert_eq!(states(&ran.facts), all);
}

#[test]
fn a_recipient_that_comes_back_while_its_moves_are_on_their_way_follows_them() {
    let ran = holds(
        23,
        &[
            REFER,
            WAIT,
            backup(CIRCLE),
            Op::Partition { org: Org::Gp },
            recipient(Move::Accept),
            recipient(Move::Start),
            WAIT,
            restore(CIRCLE),
            LONG,
        ],
    );
    assert_eq!(states(&ran.facts), [("in_progress", "in_progress")]);
}

#[test]
fn what_was_withdrawn_since_the_backup_stays_withdrawn() {
    for (seed, host, by) in [
        (24, GP, By::Sender),
        (25, CIRCLE, By::Sender),
        (26, GP, By::Recipient),
        (27, CIRCLE, By::Recipient),
        (28, Host::Gateway, By::Sender),
    ] {
        let ran = holds(
            seed,
            &[
                REFER,
                WAIT,
                backup(host),
                REFER,
                WAIT,
                withdraw(by),
                Op::Withdraw { referral: 1, by },
                WAIT,
                restore(host),
            ],
        );
        let (first, second) = (states(&ran.facts)[0], states(&ran.facts)[1]);
        assert_eq!(first, ("withdrawn", "withdrawn"), "{host:?} {by:?}");
        let is_gone = |state: &str| state == "withdrawn" || state.is_empty();
        assert!(
            is_gone(second.0) && is_gone(second.1),
            "{host:?} {by:?}: {second:?}"
        );
    }
}

#[test]
fn what_was_narrowed_since_the_backup_stays_narrowed() {
    for (seed, host) in [(29, GP), (30, CIRCLE), (31, Host::Gateway)] {
        holds(
            seed,
            &[
                REFER,
                WAIT,
                backup(host),
                Op::Narrow { referral: 0 },
                WAIT,
                restore(host),
            ],
        );
    }
}

#[test]
fn a_gateway_that_lost_what_it_took_since_its_backup_gets_and_gives_it_again() {
    let ran = holds(
        32,
        &[
            REFER,
            WAIT,
            backup(Host::Gateway),
            Op::Partition { org: Org::Circle },
            REFER,
            say(By::Sender),
            WAIT,
            recipient(Move::Accept),
            restore(Host::Gateway),
            WAIT,
            BACK,
        ],
    );
    let all = [
        ("accepted", "accepted"),
        ("received", "received"),
        ("received", "received"),
    ];
    assert_eq!(states(&ran.facts), all);
}

#[test]
fn a_gateway_that_lost_what_it_had_delivered_goes_on() {
    let ran = holds(
        33,
        &[
            backup(Host::Gateway),
            REFER,
            BACK,
            WAIT,
            recipient(Move::Accept),
            WAIT,
            restore(Host::Gateway),
            REFER,
            LONG,
            recipient(Move::Start),
        ],
    );
    assert_eq!(states(&ran.facts)[0], ("in_progress", "in_progress"));
}

#[test]
fn the_same_backup_comes_back_twice() {
    holds(
        34,
        &[
            REFER,
            WAIT,
            backup(CIRCLE),
            REFER,
            recipient(Move::Accept),
            WAIT,
            restore(CIRCLE),
            LONG,
            recipient(Move::Start),
            WAIT,
            restore(CIRCLE),
            Op::Crash { host: CIRCLE },
        ],
    );
}

#[test]
fn the_gateway_comes_back_after_a_node_that_did() {
    holds(
        35,
        &[
            REFER,
            WAIT,
            backup(CIRCLE),
            REFER,
            BACK,
            WAIT,
            recipient(Move::Accept),
            WAIT,
            restore(CIRCLE),
            Op::Rest,
            backup(Host::Gateway),
            REFER,
            BACK,
            WAIT,
            restore(Host::Gateway),
            Op::Rest,
            recipient(Move::Start),
            BACK,
            REFER,
        ],
    );
}

#[test]
fn a_node_comes_back_after_the_gateway_that_did() {
    holds(
        36,
        &[
            REFER,
            WAIT,
            backup(CIRCLE),
            REFER,
            WAIT,
            backup(Host::Gateway),
            REFER,
            BACK,
            WAIT,
            recipient(Move::Accept),
            WAIT,
            restore(Host::Gateway),
            Op::Rest,
            restore(CIRCLE),
            Op::Rest,
            recipient(Move::Start),
            BACK,
            REFER,
        ],
    );
}

#[test]
fn a_backup_that_is_too_old_is_not_restored() {
    let ran = holds(
        37,
        &[
            REFER,
            WAIT,
            backup(GP),
            Op::PutForward { hours: 24 * 26 },
            restore(GP),
            restore(Host::Gateway),
        ],
    );
    assert!(!ran.facts.nodes[&Org::Gp].came_back);
    assert!(ran.trace.contains("the backup is too old") && ran.trace.contains("there is no backup"));
}

#[test]
fn what_was_settled_before_its_backup_is_settled_at_a_gateway_that_comes_back() {
    holds(
        38,
        &[
            REFER,
            REFER,
            WAIT,
            withdraw(By::Sender),
            Op::Narrow { referral: 1 },
            WAIT,
            backup(Host::Gateway),
            restore(Host::Gateway),
        ],
    );
}

#[test]
fn a_sender_whose_receipts_went_with_its_disk_sees_that_its_referral_is_delivered() {
    let ran = holds(
        39,
        &[
            Op::Partition { org: Org::Gp },
            REFER,
            backup(GP),
            Op::Repair { org: Org::Gp },
            LONG,
            recipient(Move::Accept),
            WAIT,
            restore(GP),
        ],
    );
    assert_eq!(states(&ran.facts), [("accepted", "accepted")]);
}

#[test]
fn a_withdrawal_whose_receipt_went_with_the_disk_has_reached_whoever_proves_it() {
    holds(
        40,
        &[
            REFER,
            WAIT,
            Op::Partition { org: Org::Gp },
            withdraw(By::Sender),
            backup(GP),
            Op::Repair { org: Org::Gp },
            LONG,
            restore(GP),
        ],
    );
}

#[test]
fn what_a_sender_and_the_gateway_have_both_lost_stands_at_its_recipient_and_the_pair_goes_on() {
    for (seed, first, second) in [(60, CIRCLE, Host::Gateway), (61, Host::Gateway, CIRCLE)] {
        let ran = holds(
            seed,
            &[
                REFER,
                WAIT,
                backup(CIRCLE),
                backup(Host::Gateway),
                BACK,
                recipient(Move::Acknowledge),
                WAIT,
                restore(first),
                Op::Rest,
                restore(second),
                Op::Rest,
                BACK,
                REFER,
                recipient(Move::Accept),
                LONG,
            ],
        );
        let all = [
            ("accepted", "accepted"),
            ("received", "received"),
            ("received", "received"),
            ("received", "received"),
        ];
        assert_eq!(states(&ran.facts), all, "{first:?} first");
    }
}

#[test]
fn sender_recipient_and_gateway_come_back_in_any_order_the_sender_before_its_recipient() {
    all_come_back(
        62,
        [
            [CIRCLE, Host::Gateway, GP],
            [CIRCLE, GP, Host::Gateway],
            [Host::Gateway, CIRCLE, GP],
        ],
    );
}

#[test]
fn sender_recipient_and_gateway_come_back_in_any_order_the_recipient_before_its_sender() {
    all_come_back(
        65,
        [
            [GP, CIRCLE, Host::Gateway],
            [GP, Host::Gateway, CIRCLE],
            [Host::Gateway, GP, CIRCLE],
        ],
    );
}

fn all_come_back(first_seed: u64, orders: [[Host; 3]; 3]) {
    for (seed, [first, second, third]) in (first_seed..).zip(orders) {
        let ran = holds(
            seed,
            &[
                REFER,
                WAIT,
                backup(GP),
                recipient(Move::Acknowledge),
                WAIT,
                backup(CIRCLE),
                backup(Host::Gateway),
                recipient(Move::Accept),
                WAIT,
                restore(first),
                Op::Rest,
                BACK,
                WAIT,
                restore(second),
                Op::Rest,
                BACK,
                WAIT,
                restore(third),
                Op::Rest,
                BACK,
                REFER,
                recipient(Move::Start),
                LONG,
            ],
        );
        let states = states(&ran.facts);
        assert_eq!(
            states[0],
            ("in_progress", "in_progress"),
            "{first:?} {second:?} {third:?}"
        );
        for sent in &states[3..] {
            assert_eq!(*sent, ("received", "received"), "{first:?} {second:?} {third:?}");
        }
    }
}

#[test]
fn a_gateway_that_comes_back_while_something_is_offered_again_is_asked_again() {
    for (seed, cut) in (70..).zip([Org::Circle, Org::Gp]) {
        let ran = holds(
            seed,
            &[
                REFER,
                WAIT,
                backup(GP),
                recipient(Move::Acknowledge),
                WAIT,
                backup(CIRCLE),
                recipient(Move::Accept),
                WAIT,
                restore(CIRCLE),
                Op::Rest,
                BACK,
                WAIT,
                Op::Partition { org: cut },
                backup(Host::Gateway),
                restore(GP),
                restore(Host::Gateway),
                Op::Repair { org: cut },
                Op::Rest,
                BACK,
                recipient(Move::Start),
                LONG,
            ],
        );
        let states = states(&ran.facts);
        assert_eq!(states[0], ("in_progress", "in_progress"), "{cut:?}");
        assert_eq!(states[1..], [("received", "received"); 2], "{cut:?}");
    }
}
