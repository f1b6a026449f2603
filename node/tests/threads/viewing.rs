//! Lists, the watch and openings: who sees what, and what the trail says of it.
//! Each story asks as a person would, page by page.

use kith_node::threads::Side;
use kith_node::threads_view::{self, ListAsked, Opening, Visible, Which};
use kith_proto::human_code::HumanCode;
use kith_proto::id::ThreadId;
use kith_proto::lifecycle::{Move, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::store::{StoreError, Tx, query};

use super::provider;
use crate::fixture::{Desk, Pair};

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

async fn page(
    desk: &Desk,
    visible: Visible,
    (side, states): (Side, &[State]),
    before: Option<i64>,
) -> threads_view::Page {
    let asked = ListAsked {
        caller: desk.coordinator,
        side,
        states: states.to_vec(),
        page_size: 3,
        before,
    };
    threads_view::list(&desk.node, visible, &asked).await.unwrap()
}

fn ids(lines: &[v1::ReferralLine]) -> Vec<ThreadId> {
    lines
        .iter()
        .map(|line| ThreadId::try_from(line.thread_id.as_slice()).unwrap())
        .collect()
}

#[tokio::test]
async fn pages_stay_as_they_were_while_new_referrals_come_in() {
    let pair = open().await;
    let mut sent = Vec::new();
    for _ in 0..7 {
        sent.push(pair.gp.referred(pair.circle_id(), false).await.0);
    }
    pair.to_both().await;
    let inbox = (Side::Inbox, &[][..]);
    let first = page(&pair.circle, Visible::All, inbox, None).await;
    assert_eq!(
        first.lines.iter().map(|line| line.number).collect::<Vec<_>>(),
        [7, 6, 5]
    );
    pair.gp.referred(pair.circle_id(), false).await;
    pair.to_both().await;
    let second = page(&pair.circle, Visible::All, inbox, first.next).await;
    let third = page(&pair.circle, Visible::All, inbox, second.next).await;
    assert_eq!((second.lines.len(), third.lines.len(), third.next), (3, 1, None));
    let mut seen: Vec<ThreadId> = [first, second, third]
        .iter()
        .flat_map(|page| ids(&page.lines))
        .collect();
    seen.reverse();
    assert_eq!(seen, sent, "each once, in the order of arrival");
}

#[tokio::test]
async fn a_list_can_be_of_some_states_only() {
    let pair = open().await;
    let (accepted, _) = pair.received(false).await;
    let (declined, _) = pair.received(false).await;
    let (waiting, _) = pair.received(false).await;
    pair.circle.make(accepted, Move::Accept).await.unwrap();
    pair.circle.make(declined, Move::Decline).await.unwrap();
    let of = async |states: &[State]| {
        ids(&page(&pair.circle, Visible::All, (Side::Inbox, states), None)
            .await
            .lines)
    };
    assert_eq!(of(&[State::Accepted]).await, [accepted]);
    assert_eq!(of(&[State::Declined, State::Received]).await, [waiting, declined]);
    assert_eq!(of(&[State::NotCompleted]).await, []);
    assert_eq!(of(&[]).await.len(), 3);
}

#[tokio::test]
async fn a_referrer_sees_what_it_sent_and_nothing_else() {
    let pair = open().await;
    let (others, _) = pair.received(false).await;
    let referrer = pair.gp.referrer;
    let person_id = pair.gp.person(&referrer).await;
    let allowed = vec![Desk::allowed(pair.circle_id(), false)];
    let grant_id = pair.gp.grant(&referrer, person_id, allowed).await;
    let own = pair
        .gp
        .refer(&referrer, person_id, grant_id, pair.circle_id())
        .await;
    pair.to_both().await;
    let mine = Visible::Own(referrer.token_id);
    assert_eq!(
        ids(&page(&pair.gp, mine, (Side::Sent, &[]), None).await.lines),
        [own]
    );
    assert!(
        page(&pair.circle, mine, (Side::Inbox, &[]), None)
            .await
            .lines
            .is_empty(),
        "the inbox is nobody's own"
    );
    let changes = threads_view::changes(&pair.gp.node, mine, 0).await.unwrap();
    assert!(changes.iter().all(|(_, line)| line.thread_id == own.as_bytes()) && !changes.is_empty());
    let opening = |which| Opening {
        caller: referrer,
        visible: mine,
        which,
    };
    assert!(
        threads_view::open(&pair.gp.node, &opening(Which::Thread(own)))
            .await
            .is_ok()
    );
    for which in [
        Which::Thread(others),
        Which::Code(HumanCode::of(&others)),
        Which::Thread(ThreadId::from_bytes([0; 16])),
    ] {
        let refused = threads_view::open(&pair.gp.node, &opening(which))
            .await
            .unwrap_err();
        assert_eq!(
            refused.problem(),
            Problem::NotFound,
            "another's and none at all are told apart by nothing"
        );
    }
}

const OPENED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'opened'";

#[tokio::test]
async fn opening_a_thread_stands_in_the_trail_once_a_quarter_of_an_hour() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let which = Which::Code(HumanCode::of(&thread_id));
    let opening = Opening {
        caller: pair.circle.coordinator,
        visible: Visible::All,
        which,
    };
    let thread = threads_view::open(&pair.circle.node, &opening).await.unwrap();
    let referral = thread.referral.unwrap();
    let categories: Vec<i32> = referral.parts.iter().map(|part| part.category).collect();
    assert_eq!(
        categories,
        [Category::Identity, Category::Need, Category::Health].map(Category::number)
    );
    assert_eq!(referral.parts[0].fields[0].value, "Selam");
    assert!(referral.consent.is_some());
    assert_eq!(
        thread.events.iter().map(|event| event.number).collect::<Vec<_>>(),
        [1]
    );
    assert!(
        thread.moves.contains(&Move::Accept.number()) && !thread.moves.contains(&Move::AnswerInfo.number())
    );
    assert_eq!(pair.circle.count(OPENED).await, 1);
    pair.hand.advance(15 * 60 * 1000 - 1);
    threads_view::open(&pair.circle.node, &opening).await.unwrap();
    assert_eq!(pair.circle.count(OPENED).await, 1);
    let other = Opening {
        caller: pair.circle.referrer,
        ..opening
    };
    threads_view::open(&pair.circle.node, &other).await.unwrap();
    assert_eq!(pair.circle.count(OPENED).await, 2, "another token");
    pair.hand.advance(1);
    threads_view::open(&pair.circle.node, &opening).await.unwrap();
    assert_eq!(pair.circle.count(OPENED).await, 3);
    let lists = page(&pair.circle, Visible::All, (Side::Inbox, &[]), None).await;
    assert_eq!(
        (lists.lines.len(), pair.circle.count(OPENED).await),
        (1, 3),
        "a list opens nothing"
    );
}

#[tokio::test]
async fn the_senders_copy_shows_what_it_sent_and_its_own_moves() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    pair.circle.make(thread_id, Move::RequestInfo).await.unwrap();
    pair.to_both().await;
    pair.gp.make(thread_id, Move::AnswerInfo).await.unwrap();
    let opening = Opening {
        caller: pair.gp.coordinator,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    let thread = threads_view::open(&pair.gp.node, &opening).await.unwrap();
    assert_eq!(thread.referral.unwrap().parts.len(), 3);
    let last = thread.events.last().unwrap();
    assert_eq!(
        (last.r#move(), last.number, last.state),
        (v1::ReferralMove::AnswerInfo, 0, 0),
        "a proposal"
    );
    let open = [Move::AnswerInfo, Move::Cancel, Move::Withdraw, Move::EnterInError].map(Move::number);
    assert_eq!(thread.moves, open);
}

#[tokio::test]
async fn every_list_and_watch_is_in_the_trail_and_is_not_shown_without() {
    let pair = open().await;
    pair.received(false).await;
    let listed = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'listed'";
    let before = pair.circle.count(listed).await;
    page(&pair.circle, Visible::All, (Side::Inbox, &[]), None).await;
    assert_eq!(pair.circle.count(listed).await, before + 1);
    threads_view::note_watch(&pair.circle.node, &pair.circle.coordinator)
        .await
        .unwrap();
    assert_eq!(pair.circle.count(listed).await, before + 2);
    let asked = ListAsked {
        caller: pair.circle.coordinator,
        side: Side::Inbox,
        states: Vec::new(),
        page_size: 3,
        before: None,
    };
    // A trail that takes nothing more.
    let away = |mut tx: Tx| async move { tx.run(query("ALTER TABLE audit_event RENAME TO gone")).await };
    let store = &pair.circle.node.store;
    store.tx::<_, StoreError, _, _>("away", away).await.unwrap();
    let node = &pair.circle.node;
    assert!(threads_view::list(node, Visible::All, &asked).await.is_err());
    assert!(
        threads_view::note_watch(node, &pair.circle.coordinator)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended() {
    let pair = open().await;
    let (first, _) = pair.received(false).await;
    let watched = threads_view::changes(&pair.circle.node, Visible::All, 0)
        .await
        .unwrap();
    let (cursor, line) = watched.last().unwrap();
    assert_eq!(line.thread_id, first.as_bytes());
    assert!(
        threads_view::changes(&pair.circle.node, Visible::All, *cursor)
            .await
            .unwrap()
            .is_empty()
    );
    let mut live = pair.circle.node.changes.subscribe();
    live.mark_unchanged();
    pair.circle.make(first, Move::Acknowledge).await.unwrap();
    assert!(live.has_changed().unwrap(), "watchers are woken");
    let (second, _) = pair.received(false).await;
    let watched = threads_view::changes(&pair.circle.node, Visible::All, *cursor)
        .await
        .unwrap();
    let lines: Vec<_> = watched
        .iter()
        .map(|(_, line)| (line.thread_id.clone(), line.state))
        .collect();
    assert_eq!(
        lines,
        [
            (first.as_bytes().to_vec(), State::Acknowledged.number()),
            (second.as_bytes().to_vec(), State::Received.number())
        ]
    );
}
