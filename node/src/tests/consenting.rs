//! Grants: what was said is kept, one slip for each recipient, and nothing beyond what the person agreed to.

use kith_proto::id::{GrantId, NetworkName, PersonId, RequestId, SlipId};
use kith_proto::problem::Problem;
use kith_proto::slip::{SignedSlip, Slip, person_commitment, stop_hash, stop_secret_of};
use kith_proto::v1;
use kith_proto::words::Category;

use super::provider;
use crate::audit::Code;
use crate::grants::{
    self, Allowed, DEMO_REVIEWER, GRANT_LIFE_MS_DEFAULT, GrantError, NewGrant, NewReview, Page, ReviewError,
};
use crate::persons::PersonError;
use crate::requests::{Asked, RepeatError};
use crate::store;
use crate::store::slip::SlipStanding;
use crate::tests::fixture::{
    CIRCLE, ME, NOW_MS, SCHOOL, Story, allowed, caller, capture, org, set, somebody,
};
use crate::threads::DAY_MS;
use crate::tokens::Role;
use crate::withdrawals::{self, NewWithdrawal, Scope, WithdrawError};

async fn record(story: &Story, new: &NewGrant) -> Result<v1::RecordGrantResponse, GrantError> {
    grants::record(&story.node, &story.caller, new).await
}

async fn slips(story: &Story, grant_id: &[u8]) -> Vec<store::slip::SlipRow> {
    let grant_id = GrantId::try_from(grant_id).unwrap();
    let read =
        |mut tx: kith_service::store::Tx| async move { store::slip::of_grants(&mut tx, &[grant_id]).await };
    story.node.store.read("slips", read).await.unwrap()
}

#[tokio::test]
async fn each_recipient_has_a_slip_that_cannot_be_linked_to_the_other() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let new = story.new_grant(
        person,
        vec![
            allowed(CIRCLE),
            Allowed {
                progress: false,
                ..allowed(SCHOOL)
            },
        ],
    );
    let made = record(&story, &new).await.unwrap();
    assert_eq!(made.expires_at_ms, NOW_MS + GRANT_LIFE_MS_DEFAULT);
    let rows = slips(&story, &made.grant_id).await;
    let parsed: Vec<Slip> = rows.iter().map(|row| row.parsed().unwrap()).collect();
    assert_eq!(parsed.len(), 2);
    let me = story.node.keys.signing.public();
    let seed: [u8; 16] = made.stop_seed.as_slice().try_into().unwrap();
    for (row, slip) in rows.iter().zip(&parsed) {
        SignedSlip::verify(&row.signed, &slip.network, |_| Some(me)).unwrap();
        assert_eq!(slip.from, org(ME));
        assert_eq!(slip.expires_at_ms, made.expires_at_ms);
        assert_eq!(
            slip.person_commitment,
            person_commitment(&row.person_salt.unwrap(), &person)
        );
        assert_eq!(slip.stop_hash, stop_hash(&stop_secret_of(&seed, &slip.id)));
    }
    let (one, two) = (&parsed[0], &parsed[1]);
    assert!(
        one.id != two.id && one.person_commitment != two.person_commitment && one.stop_hash != two.stop_hash
    );
    assert_eq!(
        (
            story.trail(Code::GrantGiven).await,
            story.trail(Code::SlipIssued).await
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn a_repeat_shows_the_same_seed_which_is_never_stored_in_clear() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let new = story.new_grant(person, vec![allowed(CIRCLE)]);
    let made = record(&story, &new).await.unwrap();
    assert_eq!(made.stop_seed.len(), 16);
    assert_eq!(record(&story, &new).await, Ok(made.clone()));
    let other = NewGrant {
        expires_at_ms: NOW_MS + DAY_MS,
        ..new
    };
    assert_eq!(record(&story, &other).await, Err(RepeatError::OtherBody.into()));
    let stored = [
        "SELECT answer AS b FROM request",
        "SELECT stop_seed AS b FROM grant_record",
    ];
    for statement in stored {
        for value in story.bytes(statement).await {
            assert!(
                !value.windows(16).any(|window| window == made.stop_seed),
                "{statement}"
            );
        }
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_also_when_its_day_has_passed() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let mut new = story.new_grant(person, vec![allowed(CIRCLE)]);
    new.expires_at_ms = NOW_MS + DAY_MS;
    let first = record(&story, &new).await.unwrap();
    story.hand.advance(2 * DAY_MS);
    assert_eq!(record(&story, &new).await.unwrap(), first);
    assert_eq!(story.trail(Code::GrantGiven).await, 1);
}

#[tokio::test]
async fn a_grant_is_shown_with_its_capture_only_when_opened() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let grant = story.grant(person).await;
    let shown = grants::get(&story.node, &story.caller, &grant).await.unwrap();
    assert_eq!(shown.capture, Some(capture()));
    assert_eq!(shown.state(), v1::ConsentState::Live);
    assert_eq!(
        (shown.allowed[0].recipient.as_str(), shown.allowed[0].progress),
        (CIRCLE, true)
    );
    SlipId::try_from(shown.recipients[0].slip_id.as_slice()).unwrap();
    assert_eq!(story.trail(Code::Opened).await, 1);

    story.hand.advance(1);
    let newer = story.grant(person).await;
    let page = |after| Page { after, limit: 1 };
    let (first, more) = grants::list(&story.node, &story.caller, &person, page(None))
        .await
        .unwrap();
    assert!(more);
    assert_eq!(
        (first[0].grant_id.as_slice(), first[0].capture.as_ref()),
        (newer.as_bytes().as_slice(), None)
    );
    let place = Some((first[0].given_at_ms, newer));
    let (second, more) = grants::list(&story.node, &story.caller, &person, page(place))
        .await
        .unwrap();
    assert!(!more);
    assert_eq!(second[0].grant_id, grant.as_bytes());
    let place = Some((second[0].given_at_ms, grant));
    let (third, _) = grants::list(&story.node, &story.caller, &person, page(place))
        .await
        .unwrap();
    assert!(third.is_empty());

    assert_eq!(story.trail(Code::Listed).await, 3, "each page");

    story.hand.advance(GRANT_LIFE_MS_DEFAULT);
    let shown = grants::get(&story.node, &story.caller, &grant).await.unwrap();
    assert_eq!(shown.state(), v1::ConsentState::Cut);
    let stranger = caller(2, &[Role::Referrer]);
    let answer = grants::get(&story.node, &stranger, &grant).await;
    assert_eq!(answer, Err(PersonError::NotFound.into()));
    let answer = grants::get(&story.node, &stranger, &GrantId::from_bytes([1; 16]))
        .await
        .unwrap_err();
    assert_eq!(answer.problem(), Problem::NotFound);
}

#[tokio::test]
async fn a_stop_code_finds_its_own_grant_and_stops_it_for_whoever_brings_it() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let mut given = Vec::new();
    // The last one's slips are past the first page.
    for place in 0..130 {
        let allowed = vec![allowed(CIRCLE), allowed(SCHOOL)];
        let made = record(&story, &story.new_grant(person, allowed)).await.unwrap();
        if matches!(place, 0 | 129) {
            given.push(made);
        }
    }
    let found = async |seed: &[u8]| {
        let seed = seed.try_into().unwrap();
        grants::by_stop_seed(&story.node, &seed).await.unwrap()
    };
    for made in &given {
        let grant_id = found(&made.stop_seed).await.unwrap();
        assert_eq!(grant_id.as_bytes().as_slice(), made.grant_id);
    }
    assert_eq!(found(&[7; 16]).await, None);

    let grant_id = found(&given[0].stop_seed).await.unwrap();
    let new = NewWithdrawal {
        asked: Asked::new(
            "withdraw_grant",
            RequestId::from_bytes([9; 16]),
            &v1::Grant::default(),
        ),
        caller: caller(2, &[Role::Referrer]),
        grant_id,
        scope: Scope::Consent,
        invalidated: false,
    };
    let refused = withdrawals::withdraw(&story.node, &new).await.unwrap_err();
    assert!(
        matches!(refused, WithdrawError::NotFound),
        "without the code it is not theirs"
    );
    withdrawals::stop(&story.node, &new).await.unwrap();
    const SAID: &str = "SELECT preimage AS b FROM audit_event WHERE code = 'grant_withdrawn'";
    let said = story.bytes(SAID).await;
    let said = String::from_utf8_lossy(&said.concat()).into_owned();
    assert!(
        said.contains("asked_with") && said.contains("stop_code"),
        "{said}"
    );
    let rows = slips(&story, grant_id.as_bytes()).await;
    assert!(rows.iter().all(|row| row.state == SlipStanding::Withdrawn));
    assert_eq!(
        found(&given[0].stop_seed).await,
        Some(grant_id),
        "also once it has ended"
    );
}

#[tokio::test]
async fn what_no_one_could_agree_to_is_refused_by_its_field() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let usual = || story.new_grant(person, vec![allowed(CIRCLE)]);
    let with = |change: &dyn Fn(&mut NewGrant)| {
        let mut new = usual();
        change(&mut new);
        new
    };
    let cases: [(&str, NewGrant); 13] = [
        ("allowed", with(&|new| new.allowed.clear())),
        ("allowed", with(&|new| new.allowed.push(allowed(CIRCLE)))),
        ("allowed", with(&|new| new.allowed[0].recipient = org(ME))),
        (
            "allowed.categories",
            with(&|new| new.allowed[0].categories = set(&[])),
        ),
        (
            "allowed.categories",
            with(&|new| new.allowed[0].categories.insert(Category::Progress)),
        ),
        ("allowed.purposes", with(&|new| new.allowed[0].purposes.clear())),
        ("expires_at_ms", with(&|new| new.expires_at_ms = NOW_MS)),
        (
            "expires_at_ms",
            with(&|new| new.expires_at_ms = NOW_MS + 367 * DAY_MS),
        ),
        (
            "lawful_basis",
            with(&|new| new.lawful_basis = v1::LawfulBasis::Unspecified),
        ),
        ("capture.text_hash", with(&|new| new.capture.text_hash[0] ^= 1)),
        ("capture.given_by", with(&|new| new.capture.given_by = 0)),
        (
            "capture.interpreter",
            with(&|new| new.capture.interpreter = v1::Interpreter::None.into()),
        ),
        (
            "capture.understood",
            with(&|new| new.capture.understood = "my passport no 123456789".into()),
        ),
    ];
    for (field, new) in cases {
        let error = record(&story, &new).await.unwrap_err();
        assert_eq!(error.failure().fields[0].0, field);
        let number = field == "capture.understood";
        assert_eq!(
            error.problem(),
            if number {
                Problem::NumberRefused
            } else {
                Problem::Invalid
            }
        );
    }
    let stranger = with(&|new| new.allowed[0].recipient = org("nobody-here"));
    assert_eq!(
        record(&story, &stranger).await.unwrap_err().problem(),
        Problem::NotAMember
    );
    let nobody = story.new_grant(PersonId::from_bytes([1; 16]), vec![allowed(CIRCLE)]);
    assert_eq!(
        record(&story, &nobody).await.unwrap_err().problem(),
        Problem::NotFound
    );
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM grant_record").await, 0);
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM slip").await, 0);
}

#[tokio::test]
async fn no_consent_is_recorded_with_a_text_that_nobody_stands_for() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    story.change("DELETE FROM statement_review").await;
    let refused = record(&story, &story.new_grant(person, vec![allowed(CIRCLE)])).await;
    assert_eq!(refused, Err(GrantError::Unreviewed));
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM grant_record").await, 0);

    let text = grants::statement_text("", "en").unwrap();
    let time = (&story.node.clock, &story.node.rng);
    let network = &story.node.membership.network;
    let review =
        async |network: &NetworkName, new| grants::review(&story.node.store, time, network, new).await;
    let named = NewReview::of(&text, "Amina Hassan, data protection officer");
    let other = NewReview {
        hash_begins: "00000000".into(),
        ..named.clone()
    };
    assert_eq!(review(network, other).await, Err(ReviewError::OtherText));
    let short = NewReview {
        hash_begins: named.hash_begins[..7].into(),
        ..named.clone()
    };
    assert_eq!(review(network, short).await, Err(ReviewError::OtherText));
    let nobody = NewReview {
        reviewer: " ".into(),
        ..named.clone()
    };
    assert_eq!(review(network, nobody).await, Err(ReviewError::Reviewer));
    let tigrinya = NewReview {
        language: "ti".into(),
        ..named.clone()
    };
    assert_eq!(review(network, tigrinya).await, Err(ReviewError::NoText));
    let real: NetworkName = "lune-valley.org.uk".parse().unwrap();
    let demo = NewReview::of(&text, DEMO_REVIEWER);
    assert_eq!(review(&real, demo.clone()).await, Err(ReviewError::DemoOnly));

    review(network, demo).await.unwrap();
    let shown = async |network| {
        grants::reviewed_statement(&story.node.store, network, "", "ti")
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(shown(network).await.reviewed_by, DEMO_REVIEWER);
    assert_eq!(
        shown(&real).await.reviewed_by,
        "",
        "a database that was carried over counts for nothing"
    );
    review(network, named).await.unwrap();
    assert_eq!(shown(network).await.reviewed_at_ms, NOW_MS);
    assert!(
        record(&story, &story.new_grant(person, vec![allowed(CIRCLE)]))
            .await
            .is_ok()
    );
    assert_eq!(
        story.trail(Code::StatementReviewed).await,
        3,
        "one at the beginning, two here"
    );
}
