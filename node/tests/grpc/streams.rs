//! `SendReferrals` and `WatchReferrals`: one answer for each request, and a watch that goes on where it ended.

use crate::fixture::{Desk, PEER};
use kith_node::tokens::Role;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::send_referrals_response::Outcome;
use kith_service::status::problem_of;
use std::collections::BTreeMap;
use tokio_stream::StreamExt as _;

/// Sends these on one stream and gives the answers by request id.
async fn send_all(desk: &Desk, asked: Vec<v1::SendReferralRequest>) -> BTreeMap<Vec<u8>, Outcome> {
    let count = asked.len();
    let requests = asked.into_iter().map(|referral| v1::SendReferralsRequest {
        referral: Some(referral),
    });
    let asked = desk.by(Role::Referrer, tokio_stream::iter(requests));
    let mut answers = desk.referrals().send_referrals(asked).await.unwrap().into_inner();
    let mut found = BTreeMap::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        assert!(
            found.insert(answer.request_id, answer.outcome.unwrap()).is_none(),
            "answered once"
        );
    }
    assert_eq!(found.len(), count);
    found
}

#[tokio::test]
async fn each_of_many_is_answered_once_and_a_bad_one_harms_no_other() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let mut asked: Vec<_> = (0..300).map(|_| desk.referral(&person_id, &grant_id)).collect();
    asked[7].recipient = "Nobody!".into();
    asked[70].categories = vec![v1::Category::Health.into()];
    asked[71].parts = vec![crate::fixture::part(
        kith_proto::words::Category::Health,
        "summary",
        "Asthma.",
    )];
    asked[200].request_id = asked[199].request_id[..15].to_vec();
    let ids: Vec<_> = asked.iter().map(|a| a.request_id.clone()).collect();
    let first = send_all(&desk, asked.clone()).await;
    let problem = |at: usize| match &first[&ids[at]] {
        Outcome::Refused(refused) => Some((refused.problem(), refused.fields.len())),
        Outcome::Sent(_) => None,
    };
    assert_eq!(problem(7), Some((v1::Problem::Invalid, 1)));
    assert_eq!(problem(71).map(|(p, _)| p), Some(v1::Problem::CategoryNotAllowed));
    assert_eq!(problem(200), Some((v1::Problem::Invalid, 1)));
    let sent = first.values().filter(|o| matches!(o, Outcome::Sent(_))).count();
    assert!((296..=297).contains(&sent), "{sent}");
    assert_eq!(
        send_all(&desk, asked).await,
        first,
        "a repeat gets the first answers"
    );
    desk.close().await;
}

#[tokio::test]
async fn a_watch_tells_every_thread_and_goes_on_from_its_cursor() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let send = async || {
        let asked = desk.referral(&person_id, &grant_id);
        desk.referrals()
            .send_referral(desk.by(Role::Referrer, asked))
            .await
            .unwrap()
            .into_inner()
            .thread_id
    };
    let watch = async |role, cursor: &str| {
        let asked = v1::WatchReferralsRequest {
            cursor: cursor.into(),
        };
        desk.referrals()
            .watch_referrals(desk.by(role, asked))
            .await
            .unwrap()
            .into_inner()
    };
    let before = send().await;
    let mut changes = watch(Role::Referrer, "").await;
    let told = changes.next().await.unwrap().unwrap();
    let line = told.referral.unwrap();
    assert_eq!((line.thread_id, line.organisation.as_str()), (before, PEER));
    let live = send().await;
    let next = changes.next().await.unwrap().unwrap();
    assert_eq!(next.referral.unwrap().thread_id, live);
    drop(changes);

    let missed = send().await;
    for role in [Role::Referrer, Role::Coordinator, Role::Auditor] {
        let mut again = watch(role, &next.cursor).await;
        assert_eq!(
            again.next().await.unwrap().unwrap().referral.unwrap().thread_id,
            missed,
            "{role}"
        );
    }
    let asked = v1::WatchReferralsRequest {
        cursor: "nonsense".into(),
    };
    let status = desk
        .referrals()
        .watch_referrals(desk.by(Role::Referrer, asked))
        .await
        .unwrap_err();
    assert_eq!(problem_of(&status), Some(Problem::Invalid));
    desk.close().await;
}

#[tokio::test]
async fn a_watch_ends_with_a_problem_that_may_be_retried_when_the_node_stops() {
    let desk = Desk::open().await;
    let asked = v1::WatchReferralsRequest::default();
    let mut changes = desk
        .referrals()
        .watch_referrals(desk.by(Role::Coordinator, asked))
        .await
        .unwrap()
        .into_inner();
    desk.shutdown.request();
    let status = changes.next().await.unwrap().unwrap_err();
    assert_eq!(problem_of(&status), Some(Problem::Unavailable));
    drop(changes);
    desk.close().await;
}
