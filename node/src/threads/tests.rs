//! Stories of one thread at both of its nodes. Never a state here that the lifecycle table does not know.

use super::*;

fn thread(side: Side, state: State, number: u64) -> Thread {
    Thread {
        thread_id: ThreadId::from_bytes([1; 16]),
        side,
        peer: "hope-street".parse().unwrap(),
        slip_id: SlipId::from_bytes([2; 16]),
        situation: Situation::new(state),
        delivery: Delivery::Taken,
        problem: None,
        epoch: 0,
        number,
        deadline_ms: 5,
        updated_at_ms: 1,
    }
}

fn step(mv: Move, party: Party, numbered: Numbered) -> Step {
    Step {
        event_id: EventId::from_bytes([mv.number() as u8; 16]),
        mv,
        party,
        reason: Some(Reason::Other),
        happened_at_ms: 1_000,
        deadline_ms: None,
        words_id: None,
        numbered,
    }
}

fn written(number: u64, state: State) -> Numbered {
    Numbered::ByWriter {
        epoch: 0,
        number,
        state,
    }
}

fn changed(applied: Result<Applied, Refused>) -> Change {
    match applied {
        Ok(Applied::Changed(change)) => *change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_recipient_numbers_and_the_sender_follows() {
    let mut here = thread(Side::Inbox, State::Sent, 0);
    let mut there = thread(Side::Sent, State::Sent, 0);
    here = changed(here.apply(&receive_step(&here.thread_id, Side::Inbox, 10))).thread;
    there = changed(there.apply(&receive_step(&there.thread_id, Side::Sent, 10))).thread;
    assert_eq!(there.deadline_ms, 10 + 7 * DAY_MS);
    for mv in [Move::Acknowledge, Move::Accept, Move::Complete] {
        let made = changed(here.apply(&step(mv, Party::Recipient, Numbered::Here)));
        let told = step(mv, Party::Recipient, written(made.event.number, made.event.state));
        let heard = changed(there.apply(&told));
        assert_eq!(heard.event, made.event);
        assert_eq!(heard.thread.apply(&told), Ok(Applied::Nothing), "a repeat");
        (here, there) = (made.thread, heard.thread);
    }
    assert_eq!((here.number, here.situation.state), (4, State::Completed));
    assert_eq!(
        (there.number, there.situation, there.deadline_ms),
        (4, here.situation, 0)
    );
}

#[test]
fn a_proposal_is_numbered_by_the_recipient_and_comes_back_as_the_senders() {
    let here = thread(Side::Inbox, State::InfoRequested, 3);
    let there = thread(Side::Sent, State::InfoRequested, 3);
    let made = changed(here.apply(&step(Move::AnswerInfo, Party::Sender, Numbered::Here)));
    assert_eq!((made.event.number, made.event.party), (4, Party::Sender));
    let party = party_of_numbered(there.situation.state, Move::AnswerInfo);
    assert_eq!(party, Party::Sender);
    let heard = changed(there.apply(&step(Move::AnswerInfo, party, written(4, State::Acknowledged))));
    assert_eq!(heard.event, made.event);
}

#[test]
fn an_event_after_expiry_is_late_and_moves_nothing() {
    let mut there = thread(Side::Sent, State::Received, 1);
    let expired = changed(there.apply(&step(Move::Expire, Party::Timer, Numbered::Not)));
    assert_eq!((expired.event.number, expired.thread.number), (0, 1));
    there = expired.thread;
    let late = changed(there.apply(&step(Move::Accept, Party::Recipient, written(2, State::Accepted))));
    assert!(late.event.late);
    assert_eq!(
        (late.thread.situation.state, late.thread.number),
        (State::Expired, 2)
    );
}

#[test]
fn a_lost_number_does_not_freeze_the_copy_of_the_sender() {
    let there = thread(Side::Sent, State::Received, 1);
    let jump = step(Move::Complete, Party::Recipient, written(4, State::Completed));
    assert_eq!(
        changed(there.apply(&jump)).thread.situation.state,
        State::Completed
    );
    let next = step(Move::Complete, Party::Recipient, written(2, State::Completed));
    assert_eq!(
        there.apply(&next),
        Err(Refused::WrongState),
        "nothing was lost before it"
    );
    let mut cut = there.clone();
    cut.situation.consent = Consent::Cut;
    assert!(cut.apply(&jump).is_err());
}

#[test]
fn the_writers_state_counts_where_moves_crossed() {
    let mut there = thread(Side::Sent, State::Received, 1);
    there.situation.consent = Consent::Live;
    let back = step(Move::Reinstate, Party::Sender, written(5, State::Accepted));
    assert_eq!(
        changed(there.apply(&back)).thread.situation.state,
        State::Accepted
    );
}

#[test]
fn a_chosen_deadline_counts_while_the_state_is_open() {
    let here = thread(Side::Inbox, State::Received, 1);
    let mut wait = step(Move::Waitlist, Party::Recipient, Numbered::Here);
    wait.deadline_ms = Some(9_999);
    assert_eq!(changed(here.apply(&wait)).event.deadline_ms, 9_999);
    wait.deadline_ms = Some(1);
    let past = changed(here.apply(&wait)).event.deadline_ms;
    assert_eq!(past, 1_000 + 28 * DAY_MS, "a deadline in the past is none");
    let mut no = step(Move::Decline, Party::Recipient, Numbered::Here);
    no.deadline_ms = Some(9_999);
    assert_eq!(changed(here.apply(&no)).event.deadline_ms, 0);
}

#[test]
fn what_travels_as_other_kinds_is_no_event() {
    let others: Vec<_> = Move::ALL.iter().filter(|mv| !is_event(**mv)).collect();
    assert_eq!(
        others,
        [&Move::Send, &Move::Discard, &Move::Withdraw, &Move::Drop]
    );
    assert_eq!(party_of_proposal(Move::Expire), Party::Timer);
    assert_ne!(
        receive_event_id(&ThreadId::from_bytes([1; 16])),
        receive_event_id(&ThreadId::from_bytes([2; 16]))
    );
}
