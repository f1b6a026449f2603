//! Every state and move as each side asks it, held against the lifecycle table itself.
//! Never an expectation that was copied from the code under test.

use kith_proto::id::{SlipId, ThreadId};
use kith_proto::lifecycle::{Consent, Delivery, Party};

use super::*;

fn thread(side: Side, state: State) -> Thread {
    let mut situation = Situation::new(state);
    situation.came_from = (state == State::CancelRequested).then_some(State::InProgress);
    situation.expired_from = (state == State::Expired).then_some(State::Acknowledged);
    if state == State::Withdrawn {
        situation.consent = Consent::Cut;
    }
    Thread {
        thread_id: ThreadId::from_bytes([1; 16]),
        side,
        peer: "hope-street".parse().unwrap(),
        slip_id: SlipId::from_bytes([2; 16]),
        situation,
        delivery: Delivery::Delivered,
        problem: None,
        epoch: 0,
        number: 3,
        deadline_ms: 77,
        updated_at_ms: 5,
    }
}

fn asked(mv: Move) -> Asked {
    Asked {
        event_id: EventId::from_bytes([9; 16]),
        mv,
        reason: Some(Reason::Other),
        words_id: None,
        now_ms: 1_000,
    }
}

/// Every cell: side × state × move.
fn cells() -> impl Iterator<Item = (Side, State, Move)> {
    let sides = [Side::Sent, Side::Inbox];
    let states = State::ALL.iter().filter(|s| **s != State::Draft);
    let moves = |side, state: &State| {
        Move::ALL
            .iter()
            .map(move |mv| (side, *state, *mv))
            .collect::<Vec<_>>()
    };
    sides
        .into_iter()
        .flat_map(move |side| states.clone().flat_map(move |state| moves(side, state)))
}

#[test]
fn every_asked_move_does_what_the_table_says_and_no_other() {
    for (side, state, mv) in cells() {
        let thread = thread(side, state);
        let plan = plan(&thread, &asked(mv));
        if !ASKED.contains(&mv) {
            assert_eq!(plan, Err(Refused::WrongState), "{side:?} {state} {mv}");
            continue;
        }
        let table = lifecycle::apply(thread.situation, mv, side.party(), Some(Reason::Other));
        let word = authority(state, mv, side.party());
        match (table, word) {
            (Err(refused), _) => assert_eq!(plan, Err(refused), "{side:?} {state} {mv}"),
            (Ok(Outcome::AlreadyThere), _) => assert_eq!(plan, Ok(Plan::Nothing), "{side:?} {state} {mv}"),
            (Ok(Outcome::Late), _) if side == Side::Sent => assert_eq!(plan, Err(Refused::WrongState)),
            (Ok(Outcome::Late), _) => {
                let Ok(Plan::Made(change)) = plan else {
                    panic!("{state} {mv}: {plan:?}")
                };
                assert!(change.event.late && change.event.number == 4);
                assert_eq!(change.thread.situation, thread.situation);
            }
            (Ok(Outcome::Changed(next)), Some(Authority::Makes)) => {
                let Ok(Plan::Made(change)) = plan else {
                    panic!("{side:?} {state} {mv}: {plan:?}")
                };
                assert_eq!(change.thread.situation, next, "{side:?} {state} {mv}");
                let numbered = if side == Side::Inbox { 4 } else { 0 };
                assert_eq!(change.event.number, numbered, "only the recipient numbers");
                assert_eq!(change.thread.deadline_ms == 0, next.state.is_terminal());
            }
            (Ok(Outcome::Changed(_)), Some(Authority::Proposes)) => {
                let Ok(Plan::Proposed(event)) = plan else {
                    panic!("{side:?} {state} {mv}: {plan:?}")
                };
                assert_eq!((event.number, event.state, event.provisional), (0, state, true));
                assert_eq!(
                    (side, event.party),
                    (Side::Sent, Party::Sender),
                    "only a sender proposes"
                );
            }
            (Ok(other), word) => panic!("{side:?} {state} {mv}: {other:?} {word:?}"),
        }
    }
}

#[test]
fn the_moves_shown_as_open_are_those_that_would_be_taken() {
    for side in [Side::Sent, Side::Inbox] {
        for state in State::ALL.iter().filter(|s| **s != State::Draft) {
            let thread = thread(side, *state);
            let open = open_moves(side, thread.situation);
            for mv in Move::ALL {
                let taken = match plan(&thread, &asked(*mv)) {
                    Ok(Plan::Made(change)) => !change.event.late,
                    Ok(Plan::Proposed(_)) => true,
                    Ok(Plan::Nothing) | Err(_) => false,
                };
                assert_eq!(open.contains(mv), taken, "{side:?} {state} {mv}");
            }
        }
    }
    let cut = Situation {
        consent: Consent::Cut,
        ..Situation::new(State::Received)
    };
    let open = open_moves(Side::Inbox, cut);
    assert!(
        open.contains(&Move::Decline) && !open.contains(&Move::Accept),
        "without consent it only ends"
    );
}

#[test]
fn an_outcome_needs_its_reason() {
    let mut no_reason = asked(Move::Decline);
    no_reason.reason = None;
    assert_eq!(
        plan(&thread(Side::Inbox, State::Received), &no_reason),
        Err(Refused::ReasonMissing)
    );
    let mut cancel = asked(Move::Cancel);
    cancel.reason = None;
    assert_eq!(
        plan(&thread(Side::Sent, State::Received), &cancel),
        Err(Refused::ReasonMissing)
    );
}

#[test]
fn only_the_writers_event_carries_number_and_state() {
    let here = thread(Side::Inbox, State::Received);
    let Ok(Plan::Made(change)) = plan(&here, &asked(Move::Accept)) else {
        panic!("accept")
    };
    let told = wire_event(Side::Inbox, &change.event, "Tuesday at two");
    assert_eq!(
        (told.number, told.state, told.words.as_str()),
        (4, State::Accepted.number(), "Tuesday at two")
    );
    assert!(told.deadline_ms > 1_000);
    let there = thread(Side::Sent, State::Accepted);
    let Ok(Plan::Proposed(event)) = plan(&there, &asked(Move::RequestCancel)) else {
        panic!("request")
    };
    let told = wire_event(Side::Sent, &event, "");
    assert_eq!(
        (told.epoch, told.number, told.state, told.deadline_ms),
        (0, 0, 0, 0)
    );
    assert_eq!(
        answer_state(&Plan::Proposed(event), &there),
        (State::Accepted, true, 77)
    );
}
