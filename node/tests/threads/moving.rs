//! Moves from both sides: what they change, what they are refused, who wins when two come at once.
//! Each story says what the lifecycle table says, never more.

use kith_node::moves::{MoveError, move_referral};
use kith_node::requests::Asked;
use kith_node::settle::{Answered, OutboxRow, Settlement};
use kith_node::store;
use kith_node::threads::Side;
use kith_proto::lifecycle::{self, Authority, Consent, Move, Outcome, Party, Reason, State, authority};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx, query};

use super::provider;
use crate::fixture::{DAY_MS, Desk, Pair};
use kith_proto::id::ThreadId;

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

#[tokio::test]
async fn a_referral_is_acknowledged_accepted_and_completed_at_both_nodes() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    assert_eq!(pair.states(thread_id).await, (State::Received, State::Received));
    for (mv, state) in [
        (Move::Acknowledge, State::Acknowledged),
        (Move::Accept, State::Accepted),
        (Move::Start, State::InProgress),
        (Move::Complete, State::Completed),
    ] {
        let answer = pair.circle.make(thread_id, mv).await.unwrap();
        assert_eq!((answer.state, answer.proposed), (state.number(), false), "{mv}");
        assert_eq!(answer.deadline_ms == 0, state.is_terminal(), "{mv}");
        let carried = pair.to_gp().await;
        assert_eq!(
            carried.iter().map(|c| (c.kind, c.problem)).collect::<Vec<_>>(),
            [(EnvelopeKind::Event, Some(None))]
        );
        assert_eq!(pair.states(thread_id).await, (state, state), "{mv}");
    }
    let (sent, inbox) = (
        pair.gp.thread(thread_id).await,
        pair.circle.thread(thread_id).await,
    );
    assert_eq!(
        (sent.number, inbox.number, sent.situation),
        (5, 5, inbox.situation)
    );
    const EVENTS: &str = "SELECT COUNT(*) AS n FROM event WHERE number > 0 AND provisional = 0";
    assert_eq!(
        (pair.gp.count(EVENTS).await, pair.circle.count(EVENTS).await),
        (5, 5)
    );
}

#[tokio::test]
async fn a_recipients_event_counts_once_the_gateway_took_its_own_envelope() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    for mv in [Move::Acknowledge, Move::Accept, Move::Start] {
        pair.circle.make(thread_id, mv).await.unwrap();
    }
    const PROVISIONAL: &str = "SELECT COUNT(*) AS n FROM event WHERE provisional = 1";
    const ACCEPTED: &str = "SELECT COUNT(*) AS n FROM event WHERE provisional = 0 AND move = 'accept'";
    assert_eq!(pair.circle.count(PROVISIONAL).await, 3);
    let read = |mut tx: Tx| async move { store::outgoing::pending(&mut tx, 0, 3).await };
    let rows = pair
        .circle
        .node
        .store
        .read::<_, StoreError, _, _>("pending", read);
    let rows = rows.await.unwrap();
    let answered = |row: &OutboxRow| {
        Settlement::Answered(Answered {
            row: row.clone(),
            resealed: false,
            number: Some(2),
            problem: None,
            at_ms: pair.circle.node.now_ms(),
        })
    };
    let taken = pair.circle.node.settle_door.submit(answered(&rows[1]));
    taken.await.unwrap();
    assert_eq!(
        (
            pair.circle.count(PROVISIONAL).await,
            pair.circle.count(ACCEPTED).await
        ),
        (2, 1),
        "the events before and after it wait for their own"
    );
}

#[tokio::test]
async fn what_the_sender_wants_later_is_proposed_and_the_recipient_numbers_it() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
    pair.to_both().await;
    let answer = pair.gp.make(thread_id, Move::RequestCancel).await.unwrap();
    assert_eq!((answer.state, answer.proposed), (State::Accepted.number(), true));
    assert_eq!(
        pair.gp.thread(thread_id).await.situation.state,
        State::Accepted,
        "nothing moves before the writer"
    );
    pair.to_circle().await;
    assert_eq!(
        pair.states(thread_id).await,
        (State::Accepted, State::CancelRequested)
    );
    pair.to_gp().await;
    assert_eq!(
        pair.states(thread_id).await,
        (State::CancelRequested, State::CancelRequested)
    );
    const PROPOSALS: &str = "SELECT COUNT(*) AS n FROM event WHERE move = 'request_cancel'";
    assert_eq!(
        pair.gp.count(PROPOSALS).await,
        1,
        "the numbered event takes the proposal's place"
    );
    pair.circle.make(thread_id, Move::RefuseCancel).await.unwrap();
    pair.to_both().await;
    assert_eq!(
        pair.states(thread_id).await,
        (State::Accepted, State::Accepted),
        "back to where it came from"
    );
}

/// Puts a thread into a state, as if it had come there by itself.
async fn force(desk: &Desk, thread_id: ThreadId, state: State) {
    const FORCE: &str = "UPDATE referral SET state = $1, came_from = $2, expired_from = $3, consent = $4 WHERE thread_id = $5";
    let came_from = (state == State::CancelRequested).then_some("in_progress");
    let expired_from = (state == State::Expired).then_some("acknowledged");
    let consent = if state == State::Withdrawn { "cut" } else { "live" };
    let force = |mut tx: Tx| async move {
        let asked = query(FORCE)
            .bind(state.as_str())
            .bind(came_from)
            .bind(expired_from)
            .bind(consent);
        tx.run(asked.bind(thread_id.as_bytes().to_vec())).await
    };
    desk.node
        .store
        .tx::<_, StoreError, _, _>("force", force)
        .await
        .unwrap();
}

/// Every move of the table but withdrawing, which has its own stories.
#[expect(clippy::too_many_lines, reason = "one walk over the whole lifecycle table")]
async fn every_move_from_every_state(desk: &Desk, thread_id: ThreadId, side: Side) {
    let party = if side == Side::Inbox {
        Party::Recipient
    } else {
        Party::Sender
    };
    let machines = [Move::Send, Move::Discard, Move::Receive, Move::Expire, Move::Drop];
    let later = [
        Move::Waitlist,
        Move::Forward,
        Move::PlanHandoff,
        Move::ReplanHandoff,
        Move::Meet,
        Move::Miss,
    ];
    for state in State::ALL.iter().copied().filter(|state| *state != State::Draft) {
        for mv in Move::ALL.iter().copied().filter(|mv| *mv != Move::Withdraw) {
            force(desk, thread_id, state).await;
            let (before, rows) = (desk.thread(thread_id).await, desk.rows().await);
            let outcome = desk.make(thread_id, mv).await;
            let after = desk.thread(thread_id).await;
            let expected = lifecycle::apply(before.situation, mv, party, Some(Reason::Other));
            let cell = format!("{side:?} {state} {mv}: {outcome:?}");
            let taken = !machines.contains(&mv) && !later.contains(&mv);
            let late = side == Side::Inbox && expected == Ok(Outcome::Late);
            match expected {
                Ok(Outcome::Changed(next)) if taken => {
                    let makes = authority(state, mv, party) == Some(Authority::Makes);
                    let answer = outcome.expect(&cell);
                    assert_eq!(answer.proposed, !makes, "{state} {mv}");
                    assert_eq!(
                        after.situation,
                        if makes { next } else { before.situation },
                        "{state} {mv}"
                    );
                    let numbered = u64::from(makes && side == Side::Inbox);
                    assert_eq!(after.number, before.number + numbered, "{state} {mv}");
                    // Event, outbox row, answer, and two lines of the trail.
                    assert_eq!(desk.rows().await, rows + 5, "{state} {mv}");
                }
                Ok(Outcome::AlreadyThere) if taken => {
                    assert_eq!(outcome.expect(&cell).state, state.number());
                    assert_eq!(
                        (after, desk.rows().await),
                        (before, rows + 1),
                        "only the answer is kept: {mv}"
                    );
                }
                Ok(Outcome::Late) if taken && late => {
                    assert_eq!(outcome.expect(&cell).state, State::Expired.number());
                    assert_eq!(
                        (after.situation, after.number),
                        (before.situation, before.number + 1),
                        "{mv}"
                    );
                }
                _ => {
                    assert_eq!(
                        outcome.expect_err("a refusal").problem(),
                        Problem::WrongState,
                        "{state} {mv}"
                    );
                    assert_eq!(
                        (after, desk.rows().await),
                        (before, rows),
                        "a refused move changes nothing: {mv}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn every_move_of_the_recipient_does_what_the_table_says() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    every_move_from_every_state(&pair.circle, thread_id, Side::Inbox).await;
}

#[tokio::test]
async fn every_move_of_the_sender_does_what_the_table_says() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    every_move_from_every_state(&pair.gp, thread_id, Side::Sent).await;
}

#[tokio::test]
async fn of_two_moves_at_once_one_wins() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
    let (done, not_done) = tokio::join!(
        pair.circle.make(thread_id, Move::Complete),
        pair.circle.make(thread_id, Move::NotComplete)
    );
    let won = usize::from(done.is_ok()) + usize::from(not_done.is_ok());
    assert_eq!(won, 1, "{done:?} {not_done:?}");
    let refused = done.err().or(not_done.err()).unwrap();
    assert_eq!(refused.problem(), Problem::WrongState);
    assert_eq!(pair.circle.thread(thread_id).await.number, 3);
    assert_eq!(
        pair.circle
            .count("SELECT COUNT(*) AS n FROM outbox WHERE kind = 'event'")
            .await,
        2
    );
}

#[tokio::test]
async fn ten_callers_at_once_make_one_event_and_nobody_is_refused_for_it() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let (a, b, c, d) = tokio::join!(
        pair.circle.make(thread_id, Move::Acknowledge),
        pair.circle.make(thread_id, Move::Acknowledge),
        pair.circle.make(thread_id, Move::Acknowledge),
        pair.circle.make(thread_id, Move::Acknowledge),
    );
    for answer in [a, b, c, d] {
        assert_eq!(
            answer.unwrap().state,
            State::Acknowledged.number(),
            "a repeat is no fault"
        );
    }
    assert_eq!(pair.circle.thread(thread_id).await.number, 2);
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_another_body_is_refused() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let accept = pair.circle.asked(thread_id, Move::Accept);
    let first = move_referral(&pair.circle.node, &accept).await.unwrap();
    pair.circle.make(thread_id, Move::Complete).await.unwrap();
    let rows = pair.circle.rows().await;
    assert_eq!(
        move_referral(&pair.circle.node, &accept).await.unwrap(),
        first,
        "also after it moved on"
    );
    let body = v1::MoveReferralRequest {
        words: "other".into(),
        ..v1::MoveReferralRequest::default()
    };
    let other = kith_node::moves::NewMove {
        asked: Asked::new("move_referral", accept.asked.request_id, &body),
        ..accept.clone()
    };
    let refused = move_referral(&pair.circle.node, &other).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::Conflict);
    assert_eq!(pair.circle.rows().await, rows);
}

#[tokio::test]
async fn words_go_along_only_where_progress_may_flow() {
    let pair = open().await;
    let (bare, _) = pair.received(false).await;
    let (open, _) = pair.received(true).await;
    let with_words = |thread_id, words: &str| {
        let mut asked = pair.circle.asked(thread_id, Move::Accept);
        asked.words = words.to_owned();
        asked
    };
    let rows = pair.circle.rows().await;
    let refused = move_referral(&pair.circle.node, &with_words(bare, "she came"))
        .await
        .unwrap_err();
    assert_eq!(refused.problem(), Problem::CategoryNotAllowed);
    let number = with_words(open, "her visa number is 012345678");
    let refused = move_referral(&pair.circle.node, &number).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::NumberRefused);
    let long = with_words(open, &"a".repeat(9_000));
    assert!(matches!(
        move_referral(&pair.circle.node, &long).await,
        Err(MoveError::Words)
    ));
    assert_eq!(
        pair.circle.rows().await,
        rows,
        "nothing is kept of what was refused"
    );
    move_referral(&pair.circle.node, &with_words(open, "she came on Tuesday"))
        .await
        .unwrap();
    pair.to_both().await;
    assert_eq!(pair.states(open).await, (State::Accepted, State::Accepted));
    const WORDS: &str =
        "SELECT COUNT(*) AS n FROM content WHERE kind = 'event_words' AND section = 'progress'";
    assert_eq!(
        (pair.gp.count(WORDS).await, pair.circle.count(WORDS).await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_thread_of_somebody_else_is_not_there() {
    let pair = open().await;
    let person_id = pair.gp.person(&pair.gp.referrer).await;
    let allowed = vec![Desk::allowed(pair.circle_id(), false)];
    let grant_id = pair.gp.grant(&pair.gp.referrer, person_id, allowed).await;
    let thread_id = pair
        .gp
        .refer(&pair.gp.referrer, person_id, grant_id, pair.circle_id())
        .await;
    pair.to_both().await;
    let by = |desk: &Desk, caller, thread_id, mv| {
        let mut asked = desk.asked(thread_id, mv);
        asked.caller = caller;
        asked
    };
    let unknown = pair.gp.asked(ThreadId::from_bytes([0; 16]), Move::Cancel);
    let other = by(&pair.gp, pair.gp.other_referrer, thread_id, Move::Cancel);
    let inbox = by(&pair.circle, pair.circle.referrer, thread_id, Move::Accept);
    for (node, asked) in [
        (&pair.gp.node, unknown),
        (&pair.gp.node, other),
        (&pair.circle.node, inbox),
    ] {
        assert_eq!(
            move_referral(node, &asked).await.unwrap_err().problem(),
            Problem::NotFound
        );
    }
    let own = by(&pair.gp, pair.gp.referrer, thread_id, Move::Cancel);
    assert!(move_referral(&pair.gp.node, &own).await.unwrap().proposed);
}

#[tokio::test]
async fn without_consent_a_thread_can_only_end() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    const CUT: &str = "UPDATE referral SET consent = 'erased'";
    let cut = |mut tx: Tx| async move { tx.run(query(CUT)).await };
    pair.circle
        .node
        .store
        .tx::<_, StoreError, _, _>("cut", cut)
        .await
        .unwrap();
    let refused = pair.circle.make(thread_id, Move::Accept).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::ConsentWithdrawn);
    pair.circle.make(thread_id, Move::Decline).await.unwrap();
    let declined = pair.circle.thread(thread_id).await;
    assert_eq!(
        (declined.situation.state, declined.situation.consent),
        (State::Declined, Consent::Erased)
    );
}

#[tokio::test]
async fn the_deadline_after_a_move_is_the_states_own() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.hand.advance(3 * DAY_MS);
    let answer = pair.circle.make(thread_id, Move::Acknowledge).await.unwrap();
    let days = State::Acknowledged.deadline_days_default().unwrap();
    assert_eq!(answer.deadline_ms, pair.now_ms() + i64::from(days) * DAY_MS);
    pair.to_both().await;
    assert_eq!(pair.gp.thread(thread_id).await.deadline_ms, answer.deadline_ms);
}
