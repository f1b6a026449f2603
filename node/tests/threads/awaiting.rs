//! After a restore: nothing opens that was shared under another member's slip before that member has said that it still stands.
//! The circle comes back from a backup, the surgery captured the consent. Never a word that is not of this coming back, this thread and
//! its own member; never a part that was taken back.

use kith_node::grants::Allowed;
use kith_node::receive::{self, Arrival, What};
use kith_node::requests::Asked;
use kith_node::settle::{Reoffer, Settlement};
use kith_node::status::{self, Awaiting};
use kith_node::store;
use kith_node::store::restore::{self as rows, Restore};
use kith_node::threads::Side;
use kith_node::threads_view::{self, ListAsked, Opening, Visible, Which};
use kith_node::withdrawals::{self, NewNarrowing, NewWithdrawal, Scope};
use kith_node::{messages, timers};
use kith_proto::id::{EnvelopeId, GrantId, OrgId, ThreadId};
use kith_proto::lifecycle::{Move, State};
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, Purpose};
use kith_service::store::{StoreError, Tx, query};

use super::provider;
use crate::fixture::{DAY_MS, Desk, Pair, START_MS};
use crate::post;

const TO_REPORT: &str = "SELECT COUNT(*) AS n FROM opening_to_report";
const OPENED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'opened'";
const RETURNED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'thread_returned'";

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

/// The circle comes back under this id, as this epoch of its log; gives how many threads are closed by it.
async fn comes_back(pair: &Pair, id: u8, (epoch, begun_at_ms): (u64, i64)) -> u64 {
    let row = &Restore {
        epoch: Some(epoch),
        ..Restore::begun([id; 16], RestoreReason::Lost, (START_MS, begun_at_ms))
    };
    let write = |mut tx: Tx| async move {
        rows::insert(&mut tx, row).await?;
        let closed = rows::await_word(&mut tx).await?;
        rows::done(&mut tx, &row.restore_id, begun_at_ms).await?;
        Ok::<_, StoreError>(closed)
    };
    pair.circle.node.store.tx("test", write).await.unwrap()
}

/// The surgery hears of it and returns what it has of the circle, which is not carried yet.
async fn is_asked(pair: &Pair, id: u8) {
    let reoffer = Reoffer {
        peer: pair.circle_id().clone(),
        restore_id: [id; 16],
        held: None,
        since_ms: pair.now_ms(),
        asked_at_ms: pair.now_ms(),
    };
    let settled = pair.gp.node.settle_door.submit(Settlement::Reoffer(reoffer));
    settled.await.unwrap();
    timers::tick(&pair.gp.node, pair.now_ms()).await.unwrap();
}

async fn thread(desk: &Desk, thread_id: ThreadId) -> v1::Thread {
    let opening = Opening {
        caller: desk.coordinator,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    threads_view::open(&desk.node, &opening).await.unwrap()
}

/// Whether a thread shows what was shared; one that does not says why, and shows nothing at all.
async fn is_open(desk: &Desk, thread_id: ThreadId) -> bool {
    let shown = thread(desk, thread_id).await;
    let awaits_word = shown.line.unwrap().awaits_word;
    let words = shown.events.iter().any(|event| !event.words.is_empty());
    match shown.referral {
        Some(_) => assert!(!awaits_word),
        None => assert!(!words && shown.messages.is_empty(), "nothing of it"),
    }
    assert_ne!(shown.referral.is_some(), awaits_word);
    !awaits_word
}

/// The categories that can be read.
async fn parts(desk: &Desk, thread_id: ThreadId) -> Vec<Category> {
    let referral = thread(desk, thread_id).await.referral.unwrap();
    let parts = referral.parts.iter();
    parts
        .map(|part| Category::try_from(part.category).unwrap())
        .collect()
}

async fn says(desk: &Desk, thread_id: ThreadId, words: &str) {
    let request = v1::SendMessageRequest::default();
    let new = messages::Asking {
        asked: Asked::new("send_message", desk.request_id(), &request),
        caller: desk.coordinator,
        thread_id,
        words: words.to_owned(),
    };
    messages::send(&desk.node, &new).await.unwrap();
}

async fn withdraw(desk: &Desk, grant_id: GrantId) {
    let request = v1::WithdrawGrantRequest::default();
    let new = NewWithdrawal {
        asked: Asked::new("withdraw_grant", desk.request_id(), &request),
        caller: desk.coordinator,
        grant_id,
        scope: Scope::Consent,
        invalidated: false,
    };
    withdrawals::withdraw(&desk.node, &new).await.unwrap();
}

/// What waits of a kind is lost on its way, or waits again.
async fn change(desk: &Desk, statement: &'static str) {
    let write = |mut tx: Tx| async move { tx.run(query(statement)).await };
    let changed = desk.node.store.tx::<_, StoreError, _, _>("test", write).await;
    assert_eq!(changed.unwrap(), 1);
}

const LOST: &str = "UPDATE outbox SET state = 'taken' WHERE kind = 'withdrawal'";
const FOUND: &str = "UPDATE outbox SET state = 'queued' WHERE kind = 'withdrawal'";

#[tokio::test]
async fn what_another_member_shared_is_closed_after_a_restore_until_that_member_has_spoken() {
    let pair = open().await;
    let (thread_id, _) = pair.received(true).await;
    says(&pair.gp, thread_id, "she likes tea").await;
    pair.to_both().await;
    assert!(is_open(&pair.circle, thread_id).await);
    assert_eq!(pair.circle.count(TO_REPORT).await, 1);
    pair.hand.advance(DAY_MS);
    assert_eq!(comes_back(&pair, 1, (2, pair.now_ms())).await, 1);

    assert!(!is_open(&pair.circle, thread_id).await);
    assert_eq!(pair.circle.count(OPENED).await, 2, "the trail has that one, too");
    assert_eq!(pair.circle.count(TO_REPORT).await, 1, "and it showed nothing");
    let listed = ListAsked {
        caller: pair.circle.coordinator,
        side: Side::Inbox,
        states: Vec::new(),
        page_size: 3,
        before: None,
    };
    let listed = threads_view::list(&pair.circle.node, Visible::All, &listed).await;
    assert!(listed.unwrap().lines[0].awaits_word);
    let awaiting = |status: status::Status| status.awaiting;
    let gp = Awaiting {
        organisation: pair.gp.node.organisation().clone(),
        threads: 1,
    };
    let store = &pair.circle.node.store;
    assert_eq!(awaiting(status::read(store).await.unwrap()), [gp]);
    // It can be answered all the same, also in words, which are no more shown here than the rest.
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
    says(&pair.circle, thread_id, "we have a place").await;
    pair.to_both().await;
    assert_eq!(thread(&pair.gp, thread_id).await.messages.len(), 2);
    assert!(!is_open(&pair.circle, thread_id).await, "no answer is a word");

    is_asked(&pair, 1).await;
    let last = threads_view::changes(&pair.circle.node, Visible::All, 0).await;
    let (last, _) = last.unwrap().pop().unwrap();
    pair.to_circle().await;
    assert!(is_open(&pair.circle, thread_id).await);
    assert_eq!(thread(&pair.circle, thread_id).await.messages.len(), 2);
    assert_eq!(
        pair.circle.count(TO_REPORT).await,
        2,
        "an opening that shows something is told"
    );
    let after = threads_view::changes(&pair.circle.node, Visible::All, last).await;
    assert!(!after.unwrap()[0].1.awaits_word, "whoever watches sees it");
    assert_eq!(awaiting(status::read(store).await.unwrap()), []);
    pair.to_both().await;
}

#[tokio::test]
async fn what_was_withdrawn_meanwhile_stays_closed_and_is_erased_by_the_withdrawal() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(true).await;
    comes_back(&pair, 1, (2, pair.now_ms())).await;
    pair.hand.advance(DAY_MS);
    withdraw(&pair.gp, grant_id).await;
    change(&pair.gp, LOST).await;
    is_asked(&pair, 1).await;
    assert_eq!(pair.to_circle().await.len(), 1, "the thread is returned");
    assert!(!is_open(&pair.circle, thread_id).await);
    change(&pair.gp, FOUND).await;
    pair.to_both().await;
    let shown = thread(&pair.circle, thread_id).await;
    assert_eq!(shown.referral, None);
    let line = shown.line.unwrap();
    assert!(!line.awaits_word, "there is nothing to wait for");
    assert_eq!(line.consent, v1::ConsentState::Erased as i32);
}

#[tokio::test]
async fn what_is_over_is_returned_while_its_consent_stands_or_where_it_ended_since() {
    let pair = open().await;
    let (stands, _) = pair.received(false).await;
    let (ended, grant_id) = pair.received(false).await;
    for thread_id in [stands, ended] {
        pair.circle.make(thread_id, Move::Decline).await.unwrap();
    }
    pair.to_both().await;
    assert_eq!(pair.states(stands).await, (State::Declined, State::Declined));
    pair.hand.advance(DAY_MS);
    assert_eq!(comes_back(&pair, 1, (2, pair.now_ms())).await, 2);
    withdraw(&pair.gp, grant_id).await;
    change(&pair.gp, LOST).await;
    pair.hand.advance(1);
    is_asked(&pair, 1).await;
    assert_eq!(pair.to_circle().await.len(), 2);
    assert!(is_open(&pair.circle, stands).await);
    assert!(!is_open(&pair.circle, ended).await);
    // Of a member with nothing left what is over is of no use to it.
    pair.hand.advance(1);
    let reoffer = Reoffer {
        peer: pair.circle_id().clone(),
        restore_id: [9; 16],
        held: None,
        since_ms: 0,
        asked_at_ms: pair.now_ms(),
    };
    let settled = pair.gp.node.settle_door.submit(Settlement::Reoffer(reoffer));
    settled.await.unwrap();
    timers::tick(&pair.gp.node, pair.now_ms()).await.unwrap();
    assert_eq!(pair.to_circle().await.len(), 0);
}

#[tokio::test]
async fn a_part_that_was_taken_back_meanwhile_is_not_opened_by_the_word() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(true).await;
    let before = parts(&pair.circle, thread_id).await;
    assert!(before.contains(&Category::Health));
    comes_back(&pair, 1, (2, pair.now_ms())).await;
    let request = v1::NarrowGrantRequest::default();
    let new = NewNarrowing {
        asked: Asked::new("narrow_grant", pair.gp.request_id(), &request),
        caller: pair.gp.coordinator,
        grant_id,
        allowed: vec![Allowed {
            recipient: pair.circle_id().clone(),
            categories: [Category::Identity, Category::Need].into_iter().collect(),
            purposes: vec![Purpose::PeerSupport],
            progress: true,
        }],
    };
    withdrawals::narrow(&pair.gp.node, &new).await.unwrap();
    change(&pair.gp, LOST).await;
    is_asked(&pair, 1).await;
    assert_eq!(
        pair.to_circle().await.len(),
        1,
        "and the withdrawal is still to come"
    );
    assert!(is_open(&pair.circle, thread_id).await);
    let left = [Category::Identity, Category::Need];
    assert_eq!(parts(&pair.circle, thread_id).await, left);
    change(&pair.gp, FOUND).await;
    pair.to_both().await;
    assert_eq!(parts(&pair.circle, thread_id).await, left);
    let proven = "SELECT COUNT(*) AS n FROM slip WHERE proof IS NOT NULL AND state = 'live'";
    assert_eq!(pair.gp.count(proven).await, 1);
}

/// The event that the surgery returns a thread with, as it would arrive.
async fn returned(pair: &Pair, thread_id: ThreadId) -> Arrival {
    let read = |mut tx: Tx| async move {
        let rows = store::outgoing::pending(&mut tx, 0, 10).await?;
        let of_it = rows.iter().filter(|row| row.thread_id == thread_id);
        let seqs: Vec<i64> = of_it.map(|row| row.seq).collect();
        store::outgoing::envelopes(&mut tx, &seqs).await
    };
    let node = &pair.gp.node;
    let waiting = node
        .store
        .read::<_, StoreError, _, _>("test", read)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1);
    post::arrival(node, &pair.circle.node, &waiting[0].1, None)
}

/// Hands an arrival in under another envelope id, with something turned; gives what was answered.
async fn hand_in(
    pair: &Pair,
    id: u8,
    mut arrival: Arrival,
    turn: impl FnOnce(&mut Arrival),
) -> Option<Problem> {
    turn(&mut arrival);
    let envelope_id = EnvelopeId::from_bytes([id; 16]);
    arrival.envelope_id = envelope_id;
    if let What::Opened(opened) = &mut arrival.what {
        opened.head.envelope_id = envelope_id;
    }
    let received = receive::receive(&pair.circle.node, vec![arrival]).await.unwrap();
    received.receipts.into_iter().next().unwrap().problem
}

fn of_restore(arrival: &mut Arrival, id: u8) {
    let What::Opened(opened) = &mut arrival.what else {
        panic!("it was opened");
    };
    let Some(Body::Event(event)) = &mut opened.body.body else {
        panic!("an event");
    };
    event.returned.as_mut().unwrap().restore_id = vec![id; 16];
}

#[tokio::test]
async fn only_a_word_of_this_coming_back_of_this_thread_and_from_its_member_opens_it() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let (other, _) = pair.received(false).await;
    comes_back(&pair, 1, (2, START_MS)).await;
    comes_back(&pair, 2, (3, START_MS)).await;
    is_asked(&pair, 2).await;
    let word = returned(&pair, thread_id).await;
    let stranger: OrgId = "hope-street".parse().unwrap();
    let refused = Some(Problem::NotFound);
    let by_stranger = |arrival: &mut Arrival| arrival.peer = stranger.clone();
    assert_eq!(hand_in(&pair, 1, word.clone(), by_stranger).await, refused);
    let of_other = |arrival: &mut Arrival| {
        if let What::Opened(opened) = &mut arrival.what {
            opened.head.thread_id = other;
        }
    };
    assert_eq!(hand_in(&pair, 2, word.clone(), of_other).await, refused);
    for (id, restore) in [(3, 7), (4, 1)] {
        let turn = |arrival: &mut Arrival| of_restore(arrival, restore);
        let answered = hand_in(&pair, id, word.clone(), turn).await;
        assert_eq!(
            answered, None,
            "of no coming back, or of an earlier one: receipted"
        );
    }
    for thread_id in [thread_id, other] {
        assert!(!is_open(&pair.circle, thread_id).await);
    }
    assert_eq!(hand_in(&pair, 5, word, |_| {}).await, None);
    assert!(is_open(&pair.circle, thread_id).await);
    assert!(!is_open(&pair.circle, other).await);
}

#[tokio::test]
async fn a_word_counts_however_late_and_by_the_id_that_was_told_again() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    comes_back(&pair, 1, (2, START_MS)).await;
    pair.hand.advance(40 * DAY_MS);
    is_asked(&pair, 1).await;
    let word = returned(&pair, thread_id).await;
    let again = &Restore {
        epoch: Some(2),
        ..Restore::begun([3; 16], RestoreReason::Lost, (START_MS, START_MS))
    };
    let write = |mut tx: Tx| async move { rows::insert(&mut tx, again).await };
    let store = &pair.circle.node.store;
    store.tx::<_, StoreError, _, _>("test", write).await.unwrap();
    let told_again = |arrival: &mut Arrival| of_restore(arrival, 3);
    assert_eq!(hand_in(&pair, 1, word.clone(), told_again).await, None);
    assert!(is_open(&pair.circle, thread_id).await);
    assert_eq!(
        pair.circle.count(RETURNED).await,
        1,
        "the trail says who opened it"
    );
    assert_eq!(
        comes_back(&pair, 4, (4, pair.now_ms())).await,
        1,
        "each time anew"
    );
    assert!(!is_open(&pair.circle, thread_id).await);
}

#[tokio::test]
async fn what_this_node_captured_itself_is_never_closed() {
    let pair = open().await;
    let gp = pair.gp.node.organisation();
    let (thread_id, _) = pair.circle.referred(gp, false).await;
    pair.to_both().await;
    assert_eq!(comes_back(&pair, 1, (2, pair.now_ms())).await, 0);
    assert!(is_open(&pair.circle, thread_id).await);
}
