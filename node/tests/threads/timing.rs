//! What only time brings, one tick at a time with a clock that is moved by hand.
//! Each story ticks twice where once must be enough.

use std::sync::atomic::Ordering;

use kith_node::store;
use kith_node::store::link_state::LinkState;
use kith_node::store::restore::Restore;
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::timers::{ALONE_MS_MAX, NOTICE_MS, Ticked, tick};
use kith_proto::lifecycle::{Consent, Delivery, Move, State};
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use super::provider;
use crate::fixture::{DAY_MS, Desk, Pair, START_MS};

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

/// Says that the link has stood since then.
async fn link(desk: &Desk, state: &str, since_ms: i64) {
    let now = &LinkState {
        state: state.to_owned(),
        since_ms,
        gateway_offset_ms: 0,
        last_hello_ms: since_ms,
        problem: None,
    };
    let put = |mut tx: Tx| async move { store::link_state::put(&mut tx, now).await };
    desk.node
        .store
        .tx::<_, StoreError, _, _>("link", put)
        .await
        .unwrap();
}

async fn ticked(desk: &Desk) -> Ticked {
    tick(&desk.node, desk.node.now_ms()).await.unwrap()
}

#[tokio::test]
async fn a_thread_expires_a_day_after_its_deadline_and_the_other_side_hears_of_it() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    link(&pair.gp, "up", START_MS).await;
    let deadline_ms = pair.gp.thread(thread_id).await.deadline_ms;
    pair.hand.set(deadline_ms + DAY_MS - 1);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 0);
    pair.hand.advance(1);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 1);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 0, "once");
    let thread = pair.gp.thread(thread_id).await;
    assert_eq!((thread.situation.state, thread.deadline_ms), (State::Expired, 0));
    assert_eq!(
        thread.problem,
        Some(Problem::DeadlineExceeded),
        "the sender's task"
    );
    pair.to_both().await;
    assert_eq!(pair.states(thread_id).await, (State::Expired, State::Expired));
    let moves = pair
        .gp
        .count("SELECT COUNT(*) AS n FROM event WHERE move = 'expire' AND number = 2")
        .await;
    assert_eq!(moves, 1, "the writer numbered it");
}

#[tokio::test]
async fn nothing_expires_while_answers_may_still_wait_at_the_gateway() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.hand.advance(30 * DAY_MS);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 0, "the link was never up");
    link(&pair.gp, "down", START_MS).await;
    assert_eq!(ticked(&pair.gp).await.threads_expired, 0);
    link(&pair.gp, "up", pair.now_ms()).await;
    assert_eq!(
        ticked(&pair.gp).await.threads_expired,
        0,
        "it has only just come up"
    );
    pair.hand.advance(60_000);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 1);
    assert_eq!(pair.gp.thread(thread_id).await.situation.state, State::Expired);
    assert_eq!(
        ticked(&pair.circle).await.threads_expired,
        0,
        "only the sender's node expires"
    );
}

#[tokio::test]
async fn a_deadline_that_a_backup_brings_back_waits_a_week_for_what_others_return() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.hand.advance(30 * DAY_MS);
    let row = &Restore::begun([7; 16], RestoreReason::Lost, (START_MS, pair.now_ms()));
    let came_back = |mut tx: Tx| async move {
        store::restore::insert(&mut tx, row).await?;
        store::restore::done(&mut tx, &row.restore_id, row.begun_at_ms).await
    };
    let gp = &pair.gp.node;
    gp.store
        .tx::<_, StoreError, _, _>("restore", came_back)
        .await
        .unwrap();
    link(&pair.gp, "up", pair.now_ms()).await;
    pair.hand.advance(7 * DAY_MS - 1);
    assert_eq!(
        ticked(&pair.gp).await.threads_expired,
        0,
        "the answer may be among what was lost"
    );
    pair.hand.advance(1);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 1);
    assert_eq!(pair.gp.thread(thread_id).await.situation.state, State::Expired);
}

#[tokio::test]
async fn nothing_ends_by_what_a_backup_says_of_the_last_greeting() {
    let pair = open().await;
    pair.received(false).await;
    link(&pair.gp, "up", START_MS).await;
    pair.gp.node.last_hello_ms.store(0, Ordering::Relaxed);
    let row = &Restore::begun([7; 16], RestoreReason::Moved, (START_MS, START_MS + 1));
    let pending = |mut tx: Tx| async move { store::restore::insert(&mut tx, row).await };
    let gp = &pair.gp.node;
    gp.store
        .tx::<_, StoreError, _, _>("restore", pending)
        .await
        .unwrap();
    assert!(ticked(&pair.gp).await.is_held_back);
    let done = |mut tx: Tx| async move { store::restore::done(&mut tx, &row.restore_id, START_MS + 1).await };
    gp.store.tx::<_, StoreError, _, _>("restore", done).await.unwrap();
    assert!(
        ticked(&pair.gp).await.is_held_back,
        "not before the first greeting since"
    );
}

#[tokio::test]
async fn what_an_earlier_run_wrote_of_its_link_expires_nothing() {
    let pair = open().await;
    pair.received(false).await;
    // The power went while the link stood.
    link(&pair.gp, "up", START_MS).await;
    pair.gp.node.last_hello_ms.store(0, Ordering::Relaxed);
    pair.hand.advance(30 * DAY_MS);
    let done = ticked(&pair.gp).await;
    assert_eq!((done.is_held_back, done.threads_expired), (false, 0));
    pair.gp.node.last_hello_ms.store(pair.now_ms(), Ordering::Relaxed);
    assert_eq!(
        ticked(&pair.gp).await.threads_expired,
        0,
        "answers may still come"
    );
    pair.hand.advance(60_000);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 1);
}

#[tokio::test]
async fn before_the_first_word_of_a_gateway_nothing_ends_and_no_clock_is_doubted() {
    let pair = open().await;
    pair.received(false).await;
    let node = &pair.circle.node;
    link(&pair.circle, "down", 0).await;
    node.last_hello_ms.store(0, Ordering::Relaxed);
    let unheard = Ticked {
        is_held_back: true,
        ..Ticked::default()
    };
    assert_eq!(tick(node, START_MS + 4_000 * DAY_MS).await.unwrap(), unheard);
}

#[tokio::test]
async fn a_clock_that_woke_up_wrong_erases_nothing() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let held_back = Ticked {
        is_held_back: true,
        is_in_doubt: true,
        ..Ticked::default()
    };
    let node = &pair.circle.node;
    link(&pair.circle, "down", START_MS).await;
    // A new run, which has not heard from the gateway.
    node.last_hello_ms.store(0, Ordering::Relaxed);
    for wrong_ms in [
        0,
        START_MS - 1,
        START_MS + ALONE_MS_MAX + 1,
        START_MS + 4_000 * DAY_MS,
        i64::MAX,
    ] {
        for _ in 0..2 {
            assert_eq!(tick(node, wrong_ms).await.unwrap(), held_back, "{wrong_ms}");
        }
    }
    let living = "SELECT COUNT(*) AS n FROM holding WHERE wrapped_key IS NOT NULL";
    assert_eq!(pair.circle.count(living).await, 1);
    assert_eq!(
        pair.circle.thread(thread_id).await.situation.consent,
        Consent::Live
    );
    assert_eq!(pair.circle.count("SELECT COUNT(*) AS n FROM timer").await, 0);
    let alone = tick(node, START_MS + ALONE_MS_MAX).await.unwrap();
    assert_eq!(alone, Ticked::default(), "for a while the clock stands alone");
    node.last_hello_ms
        .store(START_MS + 120 * DAY_MS, Ordering::Relaxed);
    for _ in 0..2 {
        tick(node, START_MS + 120 * DAY_MS).await.unwrap();
    }
    assert_eq!(
        pair.circle.count(living).await,
        0,
        "the gateway said how late it is"
    );
}

#[tokio::test]
async fn an_answer_that_crosses_the_expiry_is_kept_as_late_and_counts_once_reinstated() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    link(&pair.gp, "up", START_MS).await;
    pair.hand.advance(9 * DAY_MS);
    assert_eq!(ticked(&pair.gp).await.threads_expired, 1);
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
    pair.to_gp().await;
    let sent = pair.gp.thread(thread_id).await;
    assert_eq!(
        (sent.situation.state, sent.number),
        (State::Expired, 2),
        "late: moves nothing"
    );
    assert_eq!(
        pair.gp
            .count("SELECT COUNT(*) AS n FROM event WHERE late = 1")
            .await,
        1
    );
    pair.to_both().await;
    assert_eq!(pair.states(thread_id).await, (State::Expired, State::Expired));
    let answer = pair.gp.make(thread_id, Move::Reinstate).await.unwrap();
    assert!(!answer.proposed);
    pair.to_both().await;
    assert_eq!(
        pair.states(thread_id).await,
        (State::Accepted, State::Accepted),
        "as the recipient had left it"
    );
}

#[tokio::test]
async fn after_expiry_a_recipients_word_is_late_but_heard() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    link(&pair.gp, "up", START_MS).await;
    pair.hand.advance(9 * DAY_MS);
    ticked(&pair.gp).await;
    pair.to_both().await;
    let answer = pair.circle.make(thread_id, Move::Accept).await.unwrap();
    assert_eq!(answer.state, State::Expired.number());
    pair.to_both().await;
    assert_eq!(pair.states(thread_id).await, (State::Expired, State::Expired));
    assert_eq!(
        pair.gp
            .count("SELECT COUNT(*) AS n FROM event WHERE late = 1 AND move = 'accept'")
            .await,
        1
    );
}

#[tokio::test]
async fn consent_that_ran_out_is_cut_after_two_weeks_notice_at_both_nodes() {
    let pair = open().await;
    let (thread_id, _) = pair.received(true).await;
    pair.hand.advance(90 * DAY_MS - 1);
    assert_eq!(ticked(&pair.circle).await.slips_expired, 0);
    pair.hand.advance(1);
    for (desk, grants) in [(&pair.gp, 1), (&pair.circle, 0)] {
        let done = ticked(desk).await;
        assert_eq!(
            (done.grants_expired, done.slips_expired, done.slips_cut),
            (grants, 1, 0)
        );
        assert_eq!(ticked(desk).await, Ticked::default(), "once");
        let thread = desk.thread(thread_id).await;
        assert_eq!(
            (thread.problem, thread.situation.consent),
            (Some(Problem::ConsentExpired), Consent::Live)
        );
    }
    let mut words = pair.circle.asked(thread_id, Move::Accept);
    words.words = "she came".into();
    let refused = kith_node::moves::move_referral(&pair.circle.node, &words)
        .await
        .unwrap_err();
    assert_eq!(
        refused.problem(),
        Problem::ConsentExpired,
        "nothing more is shared from the last day on"
    );
    pair.hand.advance(NOTICE_MS);
    for (desk, consent) in [(&pair.gp, Consent::Cut), (&pair.circle, Consent::Erased)] {
        assert_eq!(ticked(desk).await.slips_cut, 1);
        assert_eq!(ticked(desk).await.slips_cut, 0, "once");
        let living = "SELECT COUNT(*) AS n FROM holding WHERE kind = 'slip' AND wrapped_key IS NOT NULL";
        assert_eq!(desk.count(living).await, 0);
        let thread = desk.thread(thread_id).await;
        assert_eq!(
            (thread.situation.state, thread.situation.consent),
            (State::Received, consent)
        );
        let opening = Opening {
            caller: desk.coordinator,
            visible: Visible::All,
            which: Which::Thread(thread_id),
        };
        assert!(
            threads_view::open(&desk.node, &opening)
                .await
                .unwrap()
                .referral
                .is_none()
        );
    }
}

#[tokio::test]
async fn an_envelope_that_could_not_leave_for_a_month_is_given_up() {
    let pair = open().await;
    let (thread_id, _) = pair.gp.referred(pair.circle_id(), false).await;
    pair.hand.advance(30 * DAY_MS - 1);
    assert_eq!(ticked(&pair.gp).await.envelopes_given_up, 0);
    pair.hand.advance(1);
    assert_eq!(ticked(&pair.gp).await.envelopes_given_up, 1);
    assert_eq!(ticked(&pair.gp).await.envelopes_given_up, 0, "once");
    let thread = pair.gp.thread(thread_id).await;
    assert_eq!(
        (thread.delivery, thread.problem),
        (Delivery::Undelivered, Some(Problem::DeadlineExceeded))
    );
    let carried = pair.to_circle().await;
    assert_eq!(
        carried.iter().map(|c| (c.kind, c.problem)).collect::<Vec<_>>(),
        [(EnvelopeKind::Referral, None)],
        "its line only"
    );
}

#[tokio::test]
async fn a_withdrawal_that_was_lost_on_the_way_is_sent_again() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    ticked(&pair.gp).await;
    pair.gp.make(thread_id, Move::Withdraw).await.unwrap();
    pair.hand.advance(31 * DAY_MS);
    let done = ticked(&pair.gp).await;
    assert_eq!((done.envelopes_given_up, done.withdrawals_resent), (1, 1));
    pair.hand.advance(DAY_MS);
    assert_eq!(ticked(&pair.gp).await.withdrawals_resent, 0, "it is on its way");
    let kinds: Vec<EnvelopeKind> = pair.to_circle().await.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [EnvelopeKind::Withdrawal]);
    pair.to_gp().await;
    assert_eq!(
        pair.circle.thread(thread_id).await.situation.state,
        State::Withdrawn
    );
    assert_eq!(
        pair.gp
            .count("SELECT COUNT(*) AS n FROM slip WHERE proof IS NOT NULL")
            .await,
        1
    );
    pair.hand.advance(DAY_MS);
    assert_eq!(ticked(&pair.gp).await.withdrawals_resent, 0, "it is there");
}

#[tokio::test]
async fn rows_leave_with_their_windows_and_not_before() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    ticked(&pair.gp).await;
    ticked(&pair.circle).await;
    const REQUESTS: &str = "SELECT COUNT(*) AS n FROM request";
    const RECEIVED: &str = "SELECT COUNT(*) AS n FROM received";
    const OUTBOX: &str = "SELECT COUNT(*) AS n FROM outbox";
    const BYTES: &str = "SELECT COUNT(*) AS n FROM outbox_envelope";
    let (requests, received) = (pair.gp.count(REQUESTS).await, pair.circle.count(RECEIVED).await);
    assert!(requests > 0 && received == 1);
    assert_eq!(pair.gp.count(BYTES).await, 1, "delivered, and kept");
    pair.hand.advance(30 * DAY_MS + 1);
    ticked(&pair.gp).await;
    assert_eq!(
        (pair.gp.count(BYTES).await, pair.gp.count(REQUESTS).await),
        (0, requests)
    );
    pair.hand.advance(30 * DAY_MS);
    ticked(&pair.gp).await;
    ticked(&pair.circle).await;
    assert_eq!(
        (pair.gp.count(REQUESTS).await, pair.circle.count(RECEIVED).await),
        (0, received)
    );
    pair.hand.advance(DAY_MS);
    ticked(&pair.circle).await;
    assert_eq!(pair.circle.count(RECEIVED).await, 0);
    assert_eq!(pair.gp.count(OUTBOX).await, 1, "its line");
    pair.hand.advance(31 * DAY_MS);
    ticked(&pair.gp).await;
    assert_eq!(pair.gp.count(OUTBOX).await, 0);
    assert_eq!(
        pair.gp.thread(thread_id).await.delivery,
        Delivery::Delivered,
        "threads stay"
    );
}

#[tokio::test]
async fn the_epoch_key_turns_once_a_day_and_content_opens_as_before() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    assert_eq!(ticked(&pair.circle).await.holdings_rotated, None);
    pair.hand.advance(DAY_MS);
    let rotated = ticked(&pair.circle).await.holdings_rotated;
    assert!(rotated.is_some_and(|holdings| holdings > 0), "{rotated:?}");
    assert_eq!(ticked(&pair.circle).await.holdings_rotated, None, "once a day");
    let opening = Opening {
        caller: pair.circle.coordinator,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    let shown = threads_view::open(&pair.circle.node, &opening).await.unwrap();
    assert_eq!(shown.referral.unwrap().parts.len(), 3);
}
