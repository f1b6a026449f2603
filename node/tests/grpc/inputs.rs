//! What bad input gets: a problem, the field, a sentence, nothing kept; and what a repeat gets.

use crate::fixture::{Desk, PEER, part};
use kith_node::tokens::Role;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::status::{Failure, failure_of, problem_of};
use std::fmt::Debug;
use tonic::{Response, Status};

fn refused<T: Debug>(answered: Result<Response<T>, Status>) -> Failure {
    failure_of(&answered.expect_err("a refusal"))
}

fn fields(failure: &Failure) -> Vec<&str> {
    failure.fields.iter().map(|(field, _)| field.as_str()).collect()
}

async fn create(desk: &Desk, parts: Vec<v1::Part>) -> Failure {
    let asked = v1::CreatePersonRequest {
        request_id: desk.request_id(),
        parts,
    };
    refused(desk.persons().create_person(desk.by(Role::Referrer, asked)).await)
}

#[tokio::test]
async fn every_fault_of_a_record_is_named_at_once() {
    let desk = Desk::open().await;
    let asked = v1::CreatePersonRequest {
        request_id: vec![1; 15],
        parts: vec![
            part(Category::Need, "passport_number", "x"),
            part(Category::Contact, "safe_phone", ""),
        ],
    };
    let failure = refused(desk.persons().create_person(desk.by(Role::Referrer, asked)).await);
    assert_eq!(failure.problem, Problem::Invalid);
    assert_eq!(
        fields(&failure),
        [
            "request_id",
            "parts[0].fields[0].name",
            "parts[1].fields[0].value"
        ]
    );
    assert!(
        failure.fields[1].1.contains("in_their_words"),
        "the known names are told: {:?}",
        failure.fields
    );

    let nothing = create(&desk, Vec::new()).await;
    assert_eq!(
        (nothing.problem, fields(&nothing)),
        (Problem::Invalid, vec!["parts"])
    );
    let many = create(&desk, vec![part(Category::Need, "summary", "x"); 10]).await;
    assert_eq!((many.problem, fields(&many)), (Problem::TooLarge, vec!["parts"]));
    let long = create(&desk, vec![part(Category::Need, "summary", &"x".repeat(8_193))]).await;
    assert_eq!(
        (long.problem, fields(&long)),
        (Problem::TooLarge, vec!["parts[0].fields[0].value"])
    );
    let listed = desk
        .persons()
        .list_persons(desk.by(Role::Referrer, v1::ListPersonsRequest::default()))
        .await;
    assert!(
        listed.unwrap().into_inner().persons.is_empty(),
        "nothing was kept"
    );
    desk.close().await;
}

#[tokio::test]
async fn a_visa_or_home_office_number_is_refused_with_its_field_wherever_text_goes() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let persons = async || {
        let asked = desk.by(Role::Referrer, v1::ListPersonsRequest::default());
        desk.persons().list_persons(asked).await.unwrap().into_inner()
    };
    let before = persons().await;
    for (text, digits, named) in [
        (
            "Home Office reference A1234567/2",
            "A1234567",
            "Home Office reference",
        ),
        ("her visa number 012345678", "012345678", "visa number"),
    ] {
        let refusals = number_refusals(&desk, &person_id, text).await;
        assert_eq!(refusals.len(), 7);
        for (failure, field) in refusals {
            assert_eq!(
                (failure.problem, fields(&failure)),
                (Problem::NumberRefused, vec![field])
            );
            assert!(failure.fields[0].1.contains(named), "{failure:?}");
            assert!(!format!("{failure:?}").contains(digits), "never said back");
        }
    }
    assert_eq!(persons().await, before, "nothing was kept");
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let good = desk.referral(&person_id, &grant_id);
    let sent = desk
        .referrals()
        .send_referral(desk.by(Role::Referrer, good))
        .await;
    assert!(sent.is_ok(), "the next good input goes through: {sent:?}");
    desk.close().await;
}

/// Tries this text in every field that people write freely; each refusal with the field that must be named.
async fn number_refusals(desk: &Desk, person_id: &[u8], text: &str) -> Vec<(Failure, &'static str)> {
    let by = Role::Referrer;
    let mut found = Vec::new();
    let in_record = create(desk, vec![part(Category::Practical, "housing", text)]).await;
    found.push((in_record, "parts[0].fields[0].value"));
    let mut referral = desk.referral(person_id, &[1; 16]);
    referral.parts = vec![part(Category::Need, "summary", text)];
    let sent = desk.referrals().send_referral(desk.by(by, referral)).await;
    found.push((refused(sent), "parts[0].fields[0].value"));
    let mut grant = desk.grant_asked(person_id).await;
    grant.capture.as_mut().unwrap().understood = text.into();
    let granted = desk.consent().record_grant(desk.by(by, grant)).await;
    found.push((refused(granted), "capture.understood"));
    let message = v1::SendMessageRequest {
        request_id: desk.request_id(),
        thread_id: vec![1; 16],
        words: text.into(),
    };
    let said = desk.referrals().send_message(desk.by(by, message)).await;
    found.push((refused(said), "words"));
    let step = v1::MoveReferralRequest {
        request_id: desk.request_id(),
        thread_id: vec![1; 16],
        r#move: v1::ReferralMove::Cancel.into(),
        words: text.into(),
        ..Default::default()
    };
    let moved = desk.referrals().move_referral(desk.by(by, step)).await;
    found.push((refused(moved), "words"));
    let opening = v1::GetPersonRequest {
        person_id: person_id.to_vec(),
        opening_reason: text.into(),
    };
    let opened = desk.persons().get_person(desk.by(by, opening)).await;
    found.push((refused(opened), "opening_reason"));
    let opening = v1::GetReferralRequest {
        thread_id: vec![1; 16],
        code: String::new(),
        opening_reason: text.into(),
    };
    let opened = desk.referrals().get_referral(desk.by(by, opening)).await;
    found.push((refused(opened), "opening_reason"));
    found
}

#[tokio::test]
async fn a_referral_names_each_field_that_is_wrong() {
    let desk = Desk::open().await;
    let asked = v1::SendReferralRequest {
        request_id: vec![1; 17],
        person_id: Vec::new(),
        grant_id: vec![2; 3],
        recipient: "Tigrinya Circle".into(),
        purpose: 99,
        parts: Vec::new(),
        categories: vec![0],
        answer_by_ms: -1,
    };
    let failure = refused(
        desk.referrals()
            .send_referral(desk.by(Role::Referrer, asked))
            .await,
    );
    let wrong = [
        "request_id",
        "person_id",
        "grant_id",
        "recipient",
        "purpose",
        "categories",
        "answer_by_ms",
    ];
    assert_eq!(fields(&failure), wrong);
    desk.close().await;
}

#[tokio::test]
async fn consent_decides_and_says_which_part_it_leaves_out() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let good = || desk.referral(&person_id, &grant_id);
    let mut wrong = Vec::new();
    let mut other = good();
    other.recipient = "hope-street-mosque".into();
    wrong.push((other, Problem::RecipientNotAllowed));
    let mut health = good();
    health.parts.push(part(Category::Health, "summary", "Asthma."));
    wrong.push((health, Problem::CategoryNotAllowed));
    let mut purpose = good();
    purpose.purpose = v1::Purpose::Care.into();
    wrong.push((purpose, Problem::ConsentMissing));
    let mut nobody = good();
    nobody.person_id = vec![9; 16];
    wrong.push((nobody, Problem::NotFound));
    let mut nothing = good();
    nothing.grant_id = vec![9; 16];
    wrong.push((nothing, Problem::NotFound));
    for (asked, problem) in wrong {
        let failure = refused(
            desk.referrals()
                .send_referral(desk.by(Role::Referrer, asked))
                .await,
        );
        assert_eq!(failure.problem, problem, "{failure:?}");
    }
    let sent = desk
        .referrals()
        .send_referral(desk.by(Role::Referrer, good()))
        .await;
    assert!(sent.is_ok(), "{sent:?}");
    desk.close().await;
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_another_body_is_refused() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant = desk.grant_asked(&person_id).await;
    let record = async |asked| desk.consent().record_grant(desk.by(Role::Referrer, asked)).await;
    let first = record(grant.clone()).await.unwrap().into_inner();
    assert_eq!(
        record(grant.clone()).await.unwrap().into_inner(),
        first,
        "the stop seed too"
    );
    let mut other = grant.clone();
    other.allowed[0].progress = false;
    assert_eq!(refused(record(other).await).problem, Problem::Conflict);

    let asked = desk.referral(&person_id, &first.grant_id);
    let send = async |asked| {
        desk.referrals()
            .send_referral(desk.by(Role::Referrer, asked))
            .await
    };
    let sent = send(asked.clone()).await.unwrap().into_inner();
    assert_eq!(send(asked.clone()).await.unwrap().into_inner(), sent);
    let mut other = asked;
    other.parts = vec![part(Category::Need, "summary", "Something else.")];
    assert_eq!(refused(send(other).await).problem, Problem::Conflict);
    let asked = v1::ListReferralsRequest {
        side: v1::Side::Sent.into(),
        ..Default::default()
    };
    let listed = desk
        .referrals()
        .list_referrals(desk.by(Role::Referrer, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.referrals.len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn pages_have_a_size_and_a_token_of_their_own_list() {
    let desk = Desk::open().await;
    for name in ["Abel", "Abeba", "Selam"] {
        desk.person(Role::Referrer, name).await;
    }
    let list = async |name: &str, page_size, page_token: &str| {
        let asked = v1::ListPersonsRequest {
            name: name.into(),
            page_size,
            page_token: page_token.into(),
        };
        desk.persons().list_persons(desk.by(Role::Referrer, asked)).await
    };
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list("", 2, &page_token).await.unwrap().into_inner();
        names.extend(page.persons.into_iter().map(|p| p.preferred_name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["Abeba", "Abel", "Selam"]);
    assert_eq!(list("abe", 0, "").await.unwrap().into_inner().persons.len(), 2);
    assert_eq!(fields(&refused(list("", 201, "").await)), ["page_size"]);
    assert_eq!(fields(&refused(list("", 1, "nonsense").await)), ["page_token"]);
    assert_eq!(fields(&refused(list(&"x".repeat(65), 1, "").await)), ["name"]);
    let asked = v1::ListReferralsRequest {
        side: 0,
        states: vec![77],
        page_size: 500,
        page_token: String::new(),
    };
    let failure = refused(
        desk.referrals()
            .list_referrals(desk.by(Role::Auditor, asked))
            .await,
    );
    assert_eq!(fields(&failure), ["side", "states", "page_size"]);
    desk.close().await;
}

#[tokio::test]
async fn a_grant_is_read_whole_or_not_at_all() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let good = desk.grant_asked(&person_id).await;
    let record = async |asked| refused(desk.consent().record_grant(desk.by(Role::Referrer, asked)).await);
    let mut bare = good.clone();
    (bare.capture, bare.allowed, bare.lawful_basis) = (None, Vec::new(), 0);
    assert_eq!(
        fields(&record(bare).await),
        ["capture", "allowed", "lawful_basis"]
    );
    let mut empty = good.clone();
    empty.capture = Some(v1::Capture::default());
    let named = record(empty).await;
    for field in [
        "given_by",
        "given_how",
        "language",
        "understood",
        "statement_id",
        "text_hash",
    ] {
        assert!(
            fields(&named).contains(&format!("capture.{field}").as_str()),
            "{field}: {named:?}"
        );
    }
    let mut odd = good.clone();
    odd.allowed[0].categories = vec![4, 4];
    odd.allowed[0].purposes = Vec::new();
    assert_eq!(
        fields(&record(odd).await),
        ["allowed[0].categories", "allowed[0].purposes"]
    );
    let mut twice = good;
    twice.allowed.push(twice.allowed[0].clone());
    assert_eq!(twice.allowed[0].recipient, PEER);
    assert_eq!(fields(&record(twice).await), ["allowed[1].recipient"]);
    desk.close().await;
}

#[tokio::test]
async fn a_body_over_the_limit_of_a_request_is_not_read() {
    let desk = Desk::open().await;
    let parts = vec![part(
        Category::Need,
        "summary",
        &"x".repeat(kith_node::grpc::server::REQUEST_BYTES_MAX),
    )];
    let asked = v1::CreatePersonRequest {
        request_id: desk.request_id(),
        parts,
    };
    let status = desk
        .persons()
        .create_person(desk.by(Role::Referrer, asked))
        .await
        .unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::TooLarge);
    assert_eq!(
        problem_of(&status),
        None,
        "answered by the transport before any handler"
    );
    desk.close().await;
}

#[tokio::test]
async fn what_was_narrowed_away_is_neither_shown_as_allowed_nor_sent() {
    let desk = Desk::open().await;
    let person_id = desk.person(Role::Referrer, "Selam").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let less = v1::Allowed {
        recipient: PEER.into(),
        categories: vec![Category::Identity.number(), Category::Need.number()],
        purposes: vec![v1::Purpose::PeerSupport.into()],
        progress: false,
    };
    let asked = v1::NarrowGrantRequest {
        request_id: desk.request_id(),
        grant_id: grant_id.clone(),
        allowed: vec![less.clone()],
    };
    let narrow = async |asked| desk.consent().narrow_grant(desk.by(Role::Referrer, asked)).await;
    let first = narrow(asked.clone()).await.unwrap().into_inner();
    assert_eq!(narrow(asked).await.unwrap().into_inner(), first, "a repeat");

    let asked = v1::GetGrantRequest {
        grant_id: grant_id.clone(),
    };
    let shown = desk
        .consent()
        .get_grant(desk.by(Role::Referrer, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.grant.unwrap().allowed, std::slice::from_ref(&less));
    let asked = v1::ListGrantsRequest {
        person_id: person_id.clone(),
        ..Default::default()
    };
    let listed = desk
        .consent()
        .list_grants(desk.by(Role::Referrer, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.grants[0].allowed, [less]);

    let mut contact = desk.referral(&person_id, &grant_id);
    contact.categories.push(Category::Contact.number());
    let failure = refused(
        desk.referrals()
            .send_referral(desk.by(Role::Referrer, contact))
            .await,
    );
    assert_eq!(failure.problem, Problem::CategoryNotAllowed, "{failure:?}");
    let good = desk.referral(&person_id, &grant_id);
    assert!(
        desk.referrals()
            .send_referral(desk.by(Role::Referrer, good))
            .await
            .is_ok()
    );

    let wider = v1::NarrowGrantRequest {
        request_id: desk.request_id(),
        grant_id,
        allowed: desk.grant_asked(&person_id).await.allowed,
    };
    assert_eq!(
        refused(narrow(wider).await).problem,
        Problem::Invalid,
        "never more"
    );
    desk.close().await;
}

#[tokio::test]
async fn a_move_that_needs_a_reason_says_so() {
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
    let asked = v1::MoveReferralRequest {
        request_id: desk.request_id(),
        thread_id: sent.thread_id,
        r#move: v1::ReferralMove::EnterInError.into(),
        ..Default::default()
    };
    let failure = refused(
        desk.referrals()
            .move_referral(desk.by(Role::Referrer, asked))
            .await,
    );
    assert_eq!(
        (failure.problem, fields(&failure)),
        (Problem::Invalid, vec!["reason"])
    );
    desk.close().await;
}
