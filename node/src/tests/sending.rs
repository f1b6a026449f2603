//! Sending: what consent allows and nothing else, once, whole or not at all.

use kith_proto::envelope;
use kith_proto::id::RequestId;
use kith_proto::problem::Problem;
use kith_proto::slip::SignedSlip;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::store::{StoreError, Tx, query};
use prost::Message as _;

use super::provider;
use crate::audit::Code;
use crate::content::Section;
use crate::grants::Allowed;
use crate::parts::Parts;
use crate::referrals::{self, NewReferral, SendError};
use crate::requests::{Asked, RepeatError};
use crate::store;
use crate::store::counter::Counter;
use crate::tests::fixture::{
    CIRCLE, NOW_MS, SCHOOL, Story, allowed, caller, org, part, sealing, set, somebody,
};
use crate::threads::DAY_MS;
use crate::tokens::Role;
use crate::withdrawals::{self, NewNarrowing};

const OUTBOX: &str =
    "SELECT e.envelope AS b FROM outbox o JOIN outbox_envelope e ON e.seq = o.seq ORDER BY o.seq";
const ROWS: &str = "SELECT CAST((SELECT COUNT(*) FROM referral) + (SELECT COUNT(*) FROM event) + \
     (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM outbox_envelope) + (SELECT COUNT(*) FROM content) + \
     (SELECT COUNT(*) FROM referral_content) + \
     (SELECT COUNT(*) FROM request) + (SELECT COUNT(*) FROM audit_event) AS BIGINT) AS n";

async fn send(story: &Story, new: NewReferral) -> Result<referrals::Sent, SendError> {
    referrals::send(&story.node, &story.caller, new).await
}

async fn refused(story: &Story, new: NewReferral) -> Problem {
    let before = story.number(ROWS).await;
    let problem = send(story, new).await.unwrap_err().problem();
    assert_eq!(story.number(ROWS).await, before, "{problem}");
    problem
}

#[tokio::test]
async fn what_was_agreed_arrives_and_nothing_else() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let mut new = story.referral(person, grant);
    let need = part(
        Category::Need,
        &[
            ("in_their_words", "a drive to the group"),
            ("urgency", "this month"),
        ],
    );
    new.parts = Parts::parse(vec![need]).unwrap();
    let sent = send(&story, new).await.unwrap();
    assert_eq!(sent.deadline_ms, NOW_MS + 7 * DAY_MS);

    let envelopes = story.bytes(OUTBOX).await;
    let envelope = v1::Envelope::decode(envelopes[0].as_slice()).unwrap();
    let me = story.node.keys.signing.public();
    let verified = envelope::verify(&envelope, |_| Some(me)).unwrap();
    assert_eq!(verified.head.to, org(CIRCLE));
    assert_eq!(
        verified.head.categories,
        set(&[Category::Identity, Category::Need])
    );
    let envelope::Ground::Slip { signed, .. } = &verified.head.ground else {
        panic!("no slip")
    };
    SignedSlip::verify(signed, &verified.head.network, |_| Some(me)).unwrap();
    let body = envelope::open(&verified, &sealing(22)).unwrap();
    assert_eq!(body.person_id, person.as_bytes());
    let Some(v1::body::Body::Referral(referral)) = body.body else {
        panic!("no referral")
    };
    let need = [
        ("in_their_words", "a drive to the group"),
        ("urgency", "this month"),
    ];
    let identity = part(Category::Identity, &[("preferred_name", "Selam")]);
    assert_eq!(referral.parts, [identity, part(Category::Need, &need)]);
    let consent = referral.consent.unwrap();
    assert_eq!(
        (consent.language.as_str(), consent.interpreted_into.as_str()),
        ("en", "ti by peer")
    );
    assert_eq!(consent.agreed_on, "2027-01-15");
    assert_eq!(story.trail(Code::EnvelopeSent).await, 1);
}

#[tokio::test]
async fn without_consent_nothing_leaves() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let other = story.person(somebody("Hana")).await;
    let usual = || story.referral(person, grant);

    let nobody = NewReferral {
        grant_id: kith_proto::id::GrantId::from_bytes([7; 16]),
        ..usual()
    };
    assert_eq!(refused(&story, nobody).await, Problem::NotFound);
    let of_another = NewReferral {
        person_id: other,
        ..usual()
    };
    assert_eq!(refused(&story, of_another).await, Problem::NotFound);
    let elsewhere = NewReferral {
        recipient: org(SCHOOL),
        ..usual()
    };
    assert_eq!(refused(&story, elsewhere).await, Problem::RecipientNotAllowed);
    let stranger = NewReferral {
        recipient: org("nobody-here"),
        ..usual()
    };
    assert_eq!(refused(&story, stranger).await, Problem::RecipientNotAllowed);
    let for_care = NewReferral {
        purpose: Purpose::Care,
        ..usual()
    };
    assert_eq!(refused(&story, for_care).await, Problem::ConsentMissing);
    let health = NewReferral {
        categories: set(&[Category::Identity, Category::Health]),
        ..usual()
    };
    let error = send(&story, health).await.unwrap_err();
    assert_eq!(error.problem(), Problem::CategoryNotAllowed);
    let failure = error.failure();
    assert_eq!(failure.fields.len(), 1);
    assert!(failure.fields[0].0 == "categories" && failure.fields[0].1.contains("health"));
    let added = Parts::parse(vec![part(Category::Health, &[("summary", "asthma")])]).unwrap();
    assert_eq!(
        refused(
            &story,
            NewReferral {
                parts: added,
                ..usual()
            }
        )
        .await,
        Problem::CategoryNotAllowed
    );
}

#[tokio::test]
async fn a_referral_with_nothing_in_it_or_no_time_left_is_refused() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let usual = || story.referral(person, grant);
    let late = NewReferral {
        answer_by_ms: NOW_MS,
        ..usual()
    };
    assert_eq!(refused(&story, late).await, Problem::Invalid);
    let family = Parts::parse(vec![part(Category::Family, &[("summary", "x")])]).unwrap();
    let empty = NewReferral {
        categories: set(&[]),
        parts: Parts::default(),
        ..usual()
    };
    assert_eq!(refused(&story, empty).await, Problem::Invalid);
    assert_eq!(
        refused(
            &story,
            NewReferral {
                parts: family,
                ..usual()
            }
        )
        .await,
        Problem::CategoryNotAllowed
    );
}

#[tokio::test]
async fn consent_that_ran_out_or_was_taken_back_sends_nothing() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let usual = || story.referral(person, grant);
    story.hand.advance(90 * DAY_MS - 1);
    assert!(send(&story, usual()).await.is_ok());
    story.hand.advance(1);
    assert_eq!(refused(&story, usual()).await, Problem::ConsentExpired);
    story.hand.set(NOW_MS);
    assert_eq!(story.change("UPDATE slip SET state = 'withdrawn'").await, 1);
    assert_eq!(refused(&story, usual()).await, Problem::ConsentWithdrawn);
}

#[tokio::test]
async fn another_persons_records_are_not_there_for_a_referrer() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let other = caller(2, &[Role::Referrer]);
    let answer = referrals::send(&story.node, &other, story.referral(person, grant)).await;
    assert_eq!(answer, Err(SendError::NotFound));
    let coordinator = caller(3, &[Role::Coordinator]);
    let answer = referrals::send(&story.node, &coordinator, story.referral(person, grant)).await;
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_another_body_a_conflict() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let new = story.referral(person, grant);
    let sent = send(&story, new.clone()).await.unwrap();
    let rows = story.number(ROWS).await;
    assert_eq!(send(&story, new.clone()).await, Ok(sent));
    let other = NewReferral {
        answer_by_ms: NOW_MS + DAY_MS,
        ..new.clone()
    };
    assert_eq!(
        send(&story, other.clone()).await,
        Err(RepeatError::OtherBody.into())
    );

    let fresh = NewReferral {
        request_id: RequestId::from_bytes([9; 16]),
        ..new.clone()
    };
    let clash = NewReferral {
        request_id: RequestId::from_bytes([9; 16]),
        ..other
    };
    let both = vec![fresh.clone(), fresh, clash, new];
    let answers = referrals::send_many(&story.node, &story.caller, both).await;
    assert!(answers[0].is_ok() && answers[0] == answers[1]);
    assert_eq!(answers[2], Err(RepeatError::OtherBody.into()));
    assert_eq!(answers[3], Ok(sent));
    let one_more = 1 + 1 + 1 + 1 + 1 + 1 + 1;
    assert_eq!(
        story.number(ROWS).await,
        rows + one_more,
        "one referral was written, no more"
    );
    assert_eq!(
        story.reopen().await.number("SELECT sent AS n FROM counter").await,
        2
    );
}

#[tokio::test]
async fn a_chunk_is_answered_in_order_and_numbered_without_a_gap() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let mut wanted: Vec<NewReferral> = (0..70).map(|_| story.referral(person, grant)).collect();
    wanted[3].purpose = Purpose::Care;
    let changes = story.node.changes.subscribe();
    let answers = referrals::send_many(&story.node, &story.caller, wanted).await;
    let refused: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, a)| a.is_err())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(refused, [3]);
    let threads = story
        .bytes("SELECT thread_id AS b FROM referral ORDER BY arrival")
        .await;
    let answered: Vec<Vec<u8>> = answers
        .iter()
        .flatten()
        .map(|s| s.thread_id.as_bytes().to_vec())
        .collect();
    assert_eq!(threads, answered);
    for span in [
        "SELECT CAST(MAX(seq) - MIN(seq) + 1 AS BIGINT) AS n FROM outbox",
        "SELECT CAST(MAX(arrival) - MIN(arrival) + 1 AS BIGINT) AS n FROM referral",
        "SELECT CAST(MAX(changed) AS BIGINT) AS n FROM referral",
    ] {
        assert_eq!(story.number(span).await, 69, "{span}");
    }
    assert_eq!(*changes.borrow(), 69);
    let trail = "SELECT CAST(MAX(seq) - COUNT(*) AS BIGINT) AS n FROM audit_event";
    assert_eq!(story.number(trail).await, 0);
}

#[tokio::test]
async fn many_at_once_are_each_sent_once() {
    let story = std::sync::Arc::new(Story::begin(provider().await).await);
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let story = story.clone();
        tasks.spawn(async move {
            let wanted: Vec<NewReferral> = (0..5).map(|_| story.referral(person, grant)).collect();
            referrals::send_many(&story.node, &story.caller, wanted).await
        });
    }
    while let Some(answers) = tasks.join_next().await {
        assert!(answers.unwrap().iter().all(Result::is_ok));
    }
    let distinct = "SELECT CAST(COUNT(DISTINCT thread_id) AS BIGINT) AS n FROM outbox";
    assert_eq!(story.number(distinct).await, 40);
}

#[tokio::test]
async fn a_send_that_is_rolled_back_leaves_nothing() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    // The place in the outbox that the next envelope would take is taken, so the last but few statements fail.
    const TAKEN: &str =
        "INSERT INTO outbox_envelope (seq, envelope) SELECT outbox + 1, slip FROM counter, slip";
    assert_eq!(story.change(TAKEN).await, 1);
    let rows = story.number(ROWS).await;
    let answer = send(&story, story.referral(person, grant)).await;
    assert_eq!(answer, Err(SendError::Store(StoreError::Unique)));
    assert_eq!(story.number(ROWS).await, rows);
    assert_eq!(
        story
            .number("SELECT outbox + change + sent AS n FROM counter")
            .await,
        0
    );
    story.change("DELETE FROM outbox_envelope").await;
    assert!(send(&story, story.referral(person, grant)).await.is_ok());
}

#[tokio::test]
async fn consent_that_ends_between_sealing_and_the_commit_stops_it_there() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let kept = story.grant(person).await;
    let wanted = [story.referral(person, grant), story.referral(person, kept)];
    let prepared = referrals::prepare_many(&story.node, &story.caller, &wanted).await;
    assert!(prepared.iter().all(Result::is_ok));
    let withdraw = |mut tx: Tx| async move {
        const WITHDRAW: &str = "UPDATE slip SET state = 'withdrawn' WHERE grant_id = $1";
        tx.run(query(WITHDRAW).bind(grant.as_bytes().to_vec())).await
    };
    assert_eq!(story.node.store.tx("withdraw", withdraw).await, Ok(1));
    let rows = story.number(ROWS).await;
    let answers = referrals::hand_in(&story.node, prepared).await;
    assert_eq!(
        answers[0].as_ref().unwrap_err().problem(),
        Problem::ConsentWithdrawn
    );
    assert!(answers[1].is_ok(), "the other one is not held up");
    assert_eq!(story.number(ROWS).await, rows + 7);
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM outbox").await, 1);
}

#[tokio::test]
async fn a_narrowing_between_sealing_and_the_commit_stops_it_there() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let wanted = [story.referral(person, grant)];
    let prepared = referrals::prepare_many(&story.node, &story.caller, &wanted).await;
    let asked = v1::NarrowGrantRequest::default();
    let narrowing = NewNarrowing {
        asked: Asked::new("narrow_grant", story.request(), &asked),
        caller: story.caller,
        grant_id: grant,
        allowed: vec![Allowed {
            categories: set(&[Category::Identity]),
            progress: false,
            ..allowed(CIRCLE)
        }],
    };
    withdrawals::narrow(&story.node, &narrowing).await.unwrap();
    let answers = referrals::hand_in(&story.node, prepared).await;
    assert_eq!(answers, [Err(SendError::Narrowed)]);
    assert_eq!(
        story
            .number("SELECT COUNT(*) AS n FROM outbox WHERE kind = 'referral'")
            .await,
        0
    );
    assert_eq!(
        refused(&story, story.referral(person, grant)).await,
        Problem::CategoryNotAllowed,
        "sent again, it is held to what is left"
    );
}

#[tokio::test]
async fn the_same_request_prepared_twice_is_written_once() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let wanted = [story.referral(person, grant)];
    let first = referrals::prepare_many(&story.node, &story.caller, &wanted).await;
    let second = referrals::prepare_many(&story.node, &story.caller, &wanted).await;
    let first = referrals::hand_in(&story.node, first).await;
    let second = referrals::hand_in(&story.node, second).await;
    assert!(first[0].is_ok() && first == second);
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM outbox").await, 1);
}

#[tokio::test]
async fn a_category_that_was_taken_back_is_not_sent_again() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let narrow = async |mut tx: Tx| -> Result<bool, StoreError> {
        let slip = store::slip::of_grants(&mut tx, &[grant]).await?.remove(0);
        let holding = store::holding::get(&mut tx, slip.holding_id).await?.unwrap();
        let need = Section::Category(Category::Need);
        let keep: Vec<Section> = Section::all().filter(|section| *section != need).collect();
        let narrowed = story.node.content.narrowed(&holding, &keep).unwrap();
        let newest = story
            .node
            .content
            .newest_under(&Counter::lock(&mut tx).await?)
            .unwrap();
        store::holding::replace_keys(&mut tx, newest, &[narrowed]).await
    };
    assert_eq!(story.node.store.tx("narrow", narrow).await, Ok(true));
    assert_eq!(
        refused(&story, story.referral(person, grant)).await,
        Problem::CategoryNotAllowed
    );
    let without = NewReferral {
        categories: set(&[Category::Identity]),
        ..story.referral(person, grant)
    };
    assert!(send(&story, without).await.is_ok());
}

#[tokio::test]
async fn a_suspended_recipient_gets_nothing_new() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let mut listed = (*story.node.members.get(&org(CIRCLE)).unwrap()).clone();
    listed.suspended = true;
    story.node.members.put(vec![listed]);
    assert_eq!(
        refused(&story, story.referral(person, grant)).await,
        Problem::MemberSuspended
    );
}
