//! Every call of the node's services with a token of every role, over the wire; and what a role sees of others' rows.

use crate::fixture::{Desk, PEER};
use kith_node::tokens::Role;
use kith_proto::problem::Problem;
use kith_proto::trail::event::Told;
use kith_proto::v1;
use kith_service::status::problem_of;
use kith_service::store::{Row, StoreError, Tx, column, query};
use prost::Message as _;
use std::collections::BTreeSet;
use tonic::Code;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

/// Who may make which call: r referrer, c coordinator, a auditor, m admin.
const EXPECTED: &[(&str, &str)] = &[
    ("PersonService/CreatePerson", "rc"),
    ("PersonService/UpdatePerson", "rc"),
    ("PersonService/GetPerson", "rc"),
    ("PersonService/ListPersons", "rc"),
    ("ConsentService/GetStatement", "rcam"),
    ("ConsentService/RecordGrant", "rc"),
    ("ConsentService/GetGrant", "rc"),
    ("ConsentService/ListGrants", "rc"),
    ("ConsentService/NarrowGrant", "rc"),
    ("ConsentService/WithdrawGrant", "rc"),
    ("ReferralService/SendReferral", "rc"),
    ("ReferralService/SendReferrals", "rc"),
    ("ReferralService/GetReferral", "rc"),
    ("ReferralService/ListReferrals", "rca"),
    ("ReferralService/MoveReferral", "rc"),
    ("ReferralService/SendMessage", "rc"),
    ("ReferralService/WatchReferrals", "rca"),
    ("DirectoryService/ListOrganisations", "rcam"),
    ("DirectoryService/SetService", "m"),
    ("AuditService/ListTrail", "am"),
    ("AuditService/CountTrail", "am"),
    ("AuditService/CheckGaps", "am"),
    ("AuditService/ExportTrail", "am"),
    ("AuditService/GetLogStatus", "am"),
];

const fn letter(role: Role) -> char {
    match role {
        Role::Referrer => 'r',
        Role::Coordinator => 'c',
        Role::Auditor => 'a',
        Role::Admin => 'm',
    }
}

/// Every call of the node's five services, from the descriptors.
fn calls() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(v1::DESCRIPTORS).unwrap();
    let gateways = [
        "EnrolmentService",
        "RelayService",
        "StopService",
        "LogService",
        "BundleService",
        "RestoreService",
    ];
    let services = set.file.iter().flat_map(|file| &file.service);
    let ours = services.filter(|service| !gateways.contains(&service.name()));
    ours.flat_map(|s| s.method.iter().map(|m| format!("{}/{}", s.name(), m.name())))
        .collect()
}

#[tokio::test]
async fn every_call_is_open_to_its_roles_and_closed_to_the_others() {
    let desk = Desk::open().await;
    assert_eq!(
        calls(),
        EXPECTED.iter().map(|(call, _)| (*call).to_owned()).collect()
    );
    for (call, letters) in EXPECTED {
        for role in Role::ALL {
            let mut grpc = Grpc::new(desk.channel.clone());
            grpc.ready().await.unwrap();
            let path = format!("/kith.v1.{call}").parse().unwrap();
            let asked = desk.by(role, tokio_stream::once(()));
            let answered = grpc.streaming(asked, path, ProstCodec::<(), ()>::default()).await;
            let problem = answered.err().and_then(|status| problem_of(&status));
            let closed = problem == Some(Problem::RoleNotAllowed);
            assert_eq!(
                closed,
                !letters.contains(letter(role)),
                "{call} by {role}: {problem:?}"
            );
            assert_ne!(problem, Some(Problem::Unauthenticated), "{call} by {role}");
        }
    }
    desk.close().await;
}

#[expect(clippy::too_many_lines, reason = "one story, told to its end")]
#[tokio::test]
async fn a_referrer_sees_neither_persons_nor_threads_of_another() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Coordinator, "Selam").await;
    let grant_id = desk.grant(Role::Coordinator, &person_id).await;
    let asked = desk.referral(&person_id, &grant_id);
    let sent = desk
        .referrals()
        .send_referral(desk.by(Role::Coordinator, asked))
        .await
        .unwrap()
        .into_inner();

    let asked = v1::GetPersonRequest {
        person_id: person_id.clone(),
        opening_reason: String::new(),
    };
    let status = desk
        .persons()
        .get_person(desk.by(Role::Referrer, asked.clone()))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), problem_of(&status)),
        (Code::NotFound, Some(Problem::NotFound))
    );
    let opened = desk
        .persons()
        .get_person(desk.by(Role::Coordinator, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(opened.person.unwrap().parts.len(), 2);

    let asked = v1::ListPersonsRequest::default();
    let listed = desk
        .persons()
        .list_persons(desk.by(Role::Referrer, asked.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(listed.persons.is_empty());
    let listed = desk
        .persons()
        .list_persons(desk.by(Role::Coordinator, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.persons[0].preferred_name, "Selam");

    let asked = v1::GetReferralRequest {
        code: sent.code.clone(),
        ..Default::default()
    };
    let status = desk
        .referrals()
        .get_referral(desk.by(Role::Referrer, asked))
        .await
        .unwrap_err();
    assert_eq!(problem_of(&status), Some(Problem::NotFound));
    let asked = v1::ListReferralsRequest {
        side: v1::Side::Sent.into(),
        ..Default::default()
    };
    let mine = desk
        .referrals()
        .list_referrals(desk.by(Role::Referrer, asked.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(mine.referrals.is_empty());
    for role in [Role::Coordinator, Role::Auditor] {
        let all = desk
            .referrals()
            .list_referrals(desk.by(role, asked.clone()))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(all.referrals.len(), 1, "{role}");
        assert_eq!(
            (
                all.referrals[0].code.as_str(),
                all.referrals[0].organisation.as_str()
            ),
            (sent.code.as_str(), PEER)
        );
    }
    let foreign = desk.referral(&person_id, &grant_id);
    let status = desk
        .referrals()
        .send_referral(desk.by(Role::Referrer, foreign))
        .await
        .unwrap_err();
    assert_eq!(
        problem_of(&status),
        Some(Problem::NotFound),
        "nor refers another's person"
    );
    desk.close().await;
}

#[tokio::test]
async fn a_sent_referral_is_opened_by_code_and_moved_by_its_sender() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let asked = desk.referral(&person_id, &grant_id);
    let sent = desk
        .referrals()
        .send_referral(desk.by(Role::Referrer, asked))
        .await
        .unwrap()
        .into_inner();
    let asked = v1::GetReferralRequest {
        code: sent.code.to_lowercase(),
        ..Default::default()
    };
    let opened = desk
        .referrals()
        .get_referral(desk.by(Role::Referrer, asked))
        .await
        .unwrap()
        .into_inner();
    let thread = opened.thread.unwrap();
    let parts: Vec<i32> = thread
        .referral
        .unwrap()
        .parts
        .iter()
        .map(|p| p.category)
        .collect();
    assert_eq!(parts.iter().collect::<BTreeSet<_>>(), [1, 4].iter().collect());
    let line = thread.line.unwrap();
    assert_eq!(
        (line.thread_id.as_slice(), line.deadline_ms),
        (sent.thread_id.as_slice(), sent.deadline_ms)
    );
    assert_eq!(
        line.delivery,
        v1::DeliveryState::Queued as i32,
        "no gateway is there to take it"
    );

    let asked = v1::MoveReferralRequest {
        request_id: desk.request_id(),
        thread_id: sent.thread_id.clone(),
        r#move: v1::ReferralMove::Accept.into(),
        ..Default::default()
    };
    let status = desk
        .referrals()
        .move_referral(desk.by(Role::Referrer, asked))
        .await
        .unwrap_err();
    assert_eq!(
        status.code(),
        Code::FailedPrecondition,
        "only the recipient accepts"
    );
    desk.close().await;
}

/// The counts that the trail has of lists, oldest first.
async fn listed(desk: &Desk) -> Vec<i64> {
    let read = |mut tx: Tx| async move {
        let listed = query("SELECT preimage FROM audit_event WHERE code = 'listed' ORDER BY seq");
        let rows = tx.all(listed).await?;
        let preimage = |row: &Row| column::<Vec<u8>>(row, "audit_event", "preimage");
        rows.iter().map(preimage).collect::<Result<Vec<_>, StoreError>>()
    };
    let preimages = desk.node.store.read("listed", read).await.unwrap();
    let count = |preimage: &Vec<u8>| {
        let text = std::str::from_utf8(preimage).unwrap();
        Told::read(text).unwrap().get("count").unwrap().parse().unwrap()
    };
    preimages.iter().map(count).collect()
}

#[tokio::test]
async fn the_trail_counts_the_lines_that_were_shown_and_none_more() {
    let desk = Desk::open().await;
    let person = desk.person(Role::Referrer, "Selam").await;
    desk.person(Role::Referrer, "Hiwet").await;
    for _ in 0..2 {
        desk.grant(Role::Referrer, &person).await;
    }
    let asked = v1::ListPersonsRequest {
        page_size: 1,
        ..Default::default()
    };
    let shown = desk.persons().list_persons(desk.by(Role::Referrer, asked)).await;
    let shown = shown.unwrap().into_inner();
    assert_eq!(
        (shown.persons.len(), shown.next_page_token.is_empty()),
        (1, false)
    );
    let asked = v1::ListGrantsRequest {
        person_id: person,
        page_size: 1,
        ..Default::default()
    };
    let shown = desk.consent().list_grants(desk.by(Role::Referrer, asked)).await;
    let shown = shown.unwrap().into_inner();
    assert_eq!((shown.grants.len(), shown.next_page_token.is_empty()), (1, false));
    assert_eq!(listed(&desk).await, [1, 1]);
}
