//! Who opened, at a recipient, what was shared with it: noted there, reported once the day is over, shown to the person.
//! Every story begins at 08:00 UTC on 15 January 2027. Never a report of what has ended, nor of one opening twice.

use kith_node::access::{OPENINGS_MAX, OPENINGS_SHOWN_MAX, Opening as Noted};
use kith_node::grants::{self, GrantError};
use kith_node::requests::Asked;
use kith_node::store::opening::{SlipDay, ToReport};
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::timers::tick;
use kith_node::tokens::{Caller, Role};
use kith_node::trail::{self, About, Filter};
use kith_node::withdrawals::{self, NewWithdrawal, Scope};
use kith_node::{audit, store};
use kith_proto::calendar::day_start_ms;
use kith_proto::id::{GrantId, PersonId, ThreadId};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{EnvelopeKind, Purpose};
use kith_service::store::{StoreError, Tx, query};

use super::provider;
use crate::fixture::{DAY_MS, Desk, Pair, START_MS};

const HOUR_MS: i64 = 60 * 60 * 1000;
const WAITING: &str = "SELECT COUNT(*) AS n FROM opening_to_report";
const KEPT: &str = "SELECT COUNT(*) AS n FROM opening_reported";
const SENT: &str = "SELECT COUNT(*) AS n FROM outbox WHERE kind = 'access_report'";
const TOLD: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'access_reported'";

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

async fn opens(desk: &Desk, caller: Caller, thread_id: ThreadId) {
    let opening = Opening {
        caller,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    threads_view::open(&desk.node, &opening).await.unwrap();
}

/// How many reports a tick of this desk queues.
async fn reports(desk: &Desk) -> u64 {
    tick(&desk.node, desk.node.now_ms()).await.unwrap().access_reports
}

async fn grant(desk: &Desk, grant_id: GrantId) -> v1::Grant {
    grants::get(&desk.node, &desk.coordinator, &grant_id)
        .await
        .unwrap()
}

/// What a grant shows of the openings at its first recipient: day, hour, role, reason.
async fn shown(desk: &Desk, grant_id: GrantId) -> Vec<(String, u32, String, String)> {
    let recipients = grant(desk, grant_id).await.recipients;
    let openings = recipients[0].openings.iter().cloned();
    openings.map(|o| (o.day, o.hour, o.role, o.reason)).collect()
}

fn line(day: &str, hour: u32) -> (String, u32, String, String) {
    (day.into(), hour, "coordinator".into(), "peer_support".into())
}

async fn withdraw(desk: &Desk, grant_id: GrantId) {
    let request_id = desk.request_id();
    let asked = Asked::new("withdraw_grant", request_id, &v1::WithdrawGrantRequest::default());
    let new = NewWithdrawal {
        asked,
        caller: desk.coordinator,
        grant_id,
        scope: Scope::Consent,
        invalidated: false,
    };
    withdrawals::withdraw(&desk.node, &new).await.unwrap();
}

#[tokio::test]
async fn what_a_recipient_opens_is_shown_to_the_person_once_the_day_is_over() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(15 * 60 * 1000 - 1);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    assert_eq!(pair.circle.count(WAITING).await, 1, "within 15 minutes it is one");
    pair.hand.set(START_MS + 6 * HOUR_MS);
    let both = Caller {
        roles: [Role::Admin, Role::Referrer, Role::Coordinator]
            .into_iter()
            .collect(),
        ..pair.circle.referrer
    };
    opens(&pair.circle, both, thread_id).await;
    opens(&pair.gp, pair.gp.coordinator, thread_id).await;
    assert_eq!(
        pair.gp.count(WAITING).await,
        0,
        "whose consent it is tells nobody"
    );

    let over_ms = day_start_ms(START_MS) + DAY_MS;
    pair.hand.set(over_ms - 1);
    assert_eq!(reports(&pair.circle).await, 0, "the day is not over");
    pair.hand.set(over_ms);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    assert_eq!(reports(&pair.circle).await, 1);
    assert_eq!(reports(&pair.circle).await, 0, "once");
    assert_eq!(pair.circle.count(WAITING).await, 1, "that of the new day");
    let carried = pair.to_gp().await;
    let carried: Vec<_> = carried.iter().map(|one| (one.kind, one.problem)).collect();
    assert_eq!(carried, [(EnvelopeKind::AccessReport, Some(None))]);
    let first_day = [line("2027-01-15", 14), line("2027-01-15", 8)];
    assert_eq!(shown(&pair.gp, grant_id).await, first_day);
    assert_eq!(pair.gp.count(TOLD).await, 1);

    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 1);
    pair.to_both().await;
    let shown = shown(&pair.gp, grant_id).await;
    assert_eq!(shown, [&[line("2027-01-16", 0)], first_day.as_slice()].concat());
    assert_eq!(pair.circle.count(SENT).await, 2);
}

#[tokio::test]
async fn a_report_stands_in_the_trail_of_referral_consent_and_person() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    let person_id = grant(&pair.gp, grant_id).await.person_id;
    let person_id = PersonId::try_from(person_id.as_slice()).unwrap();
    let other = pair
        .gp
        .refer(&pair.gp.coordinator, person_id, grant_id, pair.circle_id())
        .await;
    pair.to_both().await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    opens(&pair.circle, pair.circle.coordinator, other).await;
    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 1, "one for both threads of the slip");
    pair.to_both().await;
    let (auditor, about) = (
        Caller {
            roles: [Role::Auditor].into_iter().collect(),
            ..pair.gp.coordinator
        },
        [
            About::Thread(thread_id),
            About::Thread(other),
            About::Grant(grant_id),
            About::Person(person_id),
        ],
    );
    for about in about {
        let asked = trail::Asked {
            caller: auditor,
            filter: Filter {
                about: Some(about),
                code: Some(audit::Code::AccessReported),
                ..Filter::default()
            },
            page_size: 10,
            before: None,
        };
        let lines = trail::list(&pair.gp.node, &asked).await.unwrap().lines;
        let sentences: Vec<&str> = lines.iter().map(|line| line.sentence.as_str()).collect();
        assert_eq!(sentences.len(), 1, "{about:?}");
        let said = "tigrinya-circle told riverside-gp of 2 openings on 2027-01-15 of what it received, ";
        let is_told = sentences[0].starts_with(said) && sentences[0].contains(", consent slip ");
        assert!(is_told, "{}", sentences[0]);
    }
}

#[tokio::test]
async fn a_list_shows_no_openings_and_another_referrer_sees_none() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    reports(&pair.circle).await;
    pair.to_both().await;
    assert_eq!(shown(&pair.gp, grant_id).await.len(), 1);
    let refused = grants::get(&pair.gp.node, &pair.gp.other_referrer, &grant_id).await;
    assert!(matches!(refused, Err(GrantError::Person(_))), "{refused:?}");
    let person_id = grant(&pair.gp, grant_id).await.person_id;
    let person_id = PersonId::try_from(person_id.as_slice()).unwrap();
    let page = grants::Page {
        after: None,
        limit: 10,
    };
    let (listed, _) = grants::list(&pair.gp.node, &pair.gp.coordinator, &person_id, page)
        .await
        .unwrap();
    assert!(listed[0].recipients[0].openings.is_empty());
}

#[tokio::test]
async fn a_consent_that_was_taken_back_before_the_day_ended_is_reported_on_no_more() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    withdraw(&pair.gp, grant_id).await;
    pair.to_both().await;
    assert_eq!(pair.circle.count(WAITING).await, 0, "erased with the rest");
    pair.hand.advance(HOUR_MS);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 0);
    assert_eq!(
        (pair.circle.count(WAITING).await, pair.circle.count(SENT).await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_consent_that_ran_out_is_reported_on_no_more() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    assert_eq!(pair.circle.count(WAITING).await, 1);
    pair.hand.advance(91 * DAY_MS);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    assert_eq!(
        pair.circle.count(WAITING).await,
        1,
        "what no report may tell is not noted"
    );
    assert_eq!(reports(&pair.circle).await, 0);
    assert_eq!(
        (pair.circle.count(WAITING).await, pair.circle.count(SENT).await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_report_that_crosses_the_withdrawal_is_kept_nowhere_and_no_problem_of_its_thread() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 1);
    withdraw(&pair.gp, grant_id).await;
    let carried = pair.to_gp().await;
    let problems: Vec<_> = carried.iter().map(|one| one.problem).collect();
    assert_eq!(problems, [Some(Some(Problem::ConsentWithdrawn))]);
    assert_eq!((pair.gp.count(KEPT).await, pair.gp.count(TOLD).await), (0, 0));
    assert_eq!(pair.circle.thread(thread_id).await.problem, None);
    pair.to_both().await;
}

#[tokio::test]
async fn a_recipient_that_came_back_from_a_backup_tells_no_day_twice() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    let backup = |mut tx: Tx| async move {
        tx.run(query(
            "CREATE TABLE opening_kept AS SELECT * FROM opening_to_report",
        ))
        .await
    };
    let circle = &pair.circle.node.store;
    circle.tx::<_, StoreError, _, _>("backup", backup).await.unwrap();
    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 1);
    pair.to_gp().await;
    let restored = |mut tx: Tx| async move {
        tx.run(query("DELETE FROM outbox_envelope")).await?;
        tx.run(query("DELETE FROM outbox WHERE kind = 'access_report'"))
            .await?;
        tx.run(query("INSERT INTO opening_to_report SELECT * FROM opening_kept"))
            .await
    };
    circle
        .tx::<_, StoreError, _, _>("restored", restored)
        .await
        .unwrap();
    assert_eq!(reports(&pair.circle).await, 1, "the backup knows of none");
    let carried = pair.to_gp().await;
    let problems: Vec<_> = carried.iter().map(|one| one.problem).collect();
    assert_eq!(problems, [Some(Some(Problem::Conflict))]);
    assert_eq!(shown(&pair.gp, grant_id).await, [line("2027-01-15", 8)]);
    assert_eq!(pair.circle.thread(thread_id).await.problem, None);
}

#[tokio::test]
async fn a_report_to_a_suspended_member_waits_until_it_may_go() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    pair.suspend_gp(true);
    assert_eq!(reports(&pair.circle).await, 0);
    assert_eq!(
        (pair.circle.count(WAITING).await, pair.circle.count(SENT).await),
        (1, 0)
    );
    pair.hand.advance(DAY_MS);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    pair.suspend_gp(false);
    assert_eq!(reports(&pair.circle).await, 2, "one for each day");
    pair.to_both().await;
    let days = [line("2027-01-17", 8), line("2027-01-15", 8)];
    assert_eq!(shown(&pair.gp, grant_id).await, days);
}

#[tokio::test]
async fn a_day_with_more_openings_than_one_report_holds_is_told_in_two() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    let of = &SlipDay {
        day_ms: day_start_ms(START_MS),
        slip_id: pair.circle.thread(thread_id).await.slip_id,
    };
    let many = |mut tx: Tx| async move {
        for number in 0..=OPENINGS_MAX {
            let opening = Noted {
                hour: u8::try_from(number % 24).unwrap(),
                role: Role::Coordinator,
                reason: Purpose::PeerSupport,
            };
            let mut opening_id = [0; 16];
            opening_id[..8].copy_from_slice(&number.to_be_bytes());
            let row = ToReport {
                opening_id,
                thread_id,
                opening,
            };
            store::opening::note(&mut tx, of, &row).await?;
        }
        Ok(())
    };
    let circle = &pair.circle.node.store;
    circle.tx::<_, StoreError, _, _>("many", many).await.unwrap();
    pair.hand.advance(DAY_MS);
    assert_eq!(reports(&pair.circle).await, 2);
    assert_eq!(pair.circle.count(WAITING).await, 0);
    pair.to_both().await;
    assert_eq!(pair.gp.count(KEPT).await, OPENINGS_MAX as i64 + 1);
    assert_eq!(pair.gp.count(TOLD).await, 2);
    let shown = shown(&pair.gp, grant_id).await;
    assert_eq!(shown.len() as i64, OPENINGS_SHOWN_MAX, "the newest");
    assert_eq!((shown[0].1, shown[499].1), (23, 0));
}

#[tokio::test]
async fn every_hand_in_what_was_reported_is_named() {
    const HANDS: [&str; 5] = [
        "UPDATE opening_reported SET hour = 7 WHERE place = 0",
        "UPDATE opening_reported SET reason = 'care' WHERE place = 0",
        "UPDATE opening_reported SET day_ms = day_ms + 86400000 WHERE place = 1",
        "UPDATE opening_reported SET envelope_id = slip_id WHERE place = 1",
        "DELETE FROM opening_reported",
    ];
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(HOUR_MS);
    opens(&pair.circle, pair.circle.coordinator, thread_id).await;
    pair.hand.advance(DAY_MS);
    reports(&pair.circle).await;
    pair.to_both().await;
    let node = &pair.gp.node;
    for hand in HANDS {
        let away = |mut tx: Tx| async move {
            tx.run(query(
                "CREATE TABLE opening_kept AS SELECT * FROM opening_reported",
            ))
            .await?;
            tx.run(query(hand)).await
        };
        assert!(node.store.tx::<_, StoreError, _, _>("hand", away).await.unwrap() > 0);
        let key = node.keys.signing.public();
        let found = trail::whole(&node.store, &node.membership, &key, node.now_ms()).await;
        let damages = found.unwrap().damages;
        assert!(
            damages.iter().any(|damage| damage.table == "opening_reported"),
            "{hand}: {damages:?}"
        );
        let back = |mut tx: Tx| async move {
            tx.run(query("DELETE FROM opening_reported")).await?;
            tx.run(query("INSERT INTO opening_reported SELECT * FROM opening_kept"))
                .await?;
            tx.run(query("DROP TABLE opening_kept")).await
        };
        node.store.tx::<_, StoreError, _, _>("back", back).await.unwrap();
        pair.fit().await;
    }
}
