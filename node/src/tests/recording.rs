//! Persons and tokens: kept, changed, opened, listed, and only by whom they are for.

use kith_proto::id::{PersonId, RequestId};
use kith_proto::problem::Problem;
use kith_proto::words::Category;
use kith_service::store::StoreError;

use super::provider;
use crate::audit::Code;
use crate::keys::KeysError;
use crate::node::{Config, Node, OpenError};
use crate::parts::Parts;
use crate::persons::{self, ChangedPerson, NewPerson, OPENING_REPEAT_MS, PersonError};
use crate::requests::RepeatError;
use crate::tests::fixture::{Story, caller, org, part, somebody};
use crate::tokens::{self, Role, TokenError};

#[tokio::test]
async fn a_record_is_found_again_whole_after_a_restart() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("ሰላም ተስፋዬ")).await;
    let story = story.reopen().await;
    let shown = persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(shown.parts, somebody("ሰላም ተስፋዬ"));
    assert_eq!(shown.version, 1);
    let (found, more) = persons::list(&story.node, &story.caller, "ተስፋ", (None, 10))
        .await
        .unwrap();
    assert_eq!((found.len(), more), (1, false));
    assert_eq!(
        (found[0].person_id, found[0].preferred_name.as_str()),
        (person, "ሰላም ተስፋዬ")
    );
    assert_eq!(story.trail(Code::PersonRecorded).await, 1);
    assert_eq!(story.trail(Code::Listed).await, 1);
}

#[tokio::test]
async fn every_opening_is_in_the_trail_once_in_fifteen_minutes() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let open = async |story: &Story| persons::get(&story.node, &story.caller, &person).await.unwrap();
    open(&story).await;
    story.hand.advance(OPENING_REPEAT_MS - 1);
    open(&story).await;
    assert_eq!(story.trail(Code::Opened).await, 1);
    story.hand.advance(1);
    open(&story).await;
    assert_eq!(story.trail(Code::Opened).await, 2);
    let other = caller(9, &[Role::Coordinator]);
    persons::get(&story.node, &other, &person).await.unwrap();
    assert_eq!(story.trail(Code::Opened).await, 3);
}

#[tokio::test]
async fn what_is_not_yours_is_not_there() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let stranger = caller(2, &[Role::Referrer]);
    let nobody = PersonId::from_bytes([0; 16]);
    for who in [&person, &nobody] {
        let answer = persons::get(&story.node, &stranger, who).await;
        assert_eq!(answer, Err(PersonError::NotFound));
    }
    let (found, _) = persons::list(&story.node, &stranger, "", (None, 10))
        .await
        .unwrap();
    assert!(found.is_empty());
    assert_eq!(story.trail(Code::Opened).await, 0);
    let all = caller(3, &[Role::Coordinator]);
    let (found, _) = persons::list(&story.node, &all, "", (None, 10)).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_change_needs_the_version_that_was_seen() {
    let story = Story::begin(provider().await).await;
    let person = story.person(somebody("Selam")).await;
    let change = |version, name: &str| ChangedPerson {
        request_id: story.request(),
        person_id: person,
        version,
        parts: Parts::parse(vec![part(Category::Identity, &[("preferred_name", name)])]).unwrap(),
    };
    let first = change(1, "Salam");
    assert_eq!(
        persons::update(&story.node, &story.caller, &first)
            .await
            .unwrap()
            .version,
        2
    );
    assert_eq!(
        persons::update(&story.node, &story.caller, &first)
            .await
            .unwrap()
            .version,
        2
    );
    let late = persons::update(&story.node, &story.caller, &change(1, "Sallam")).await;
    assert_eq!(late, Err(PersonError::Changed));
    let shown = persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(
        shown.parts,
        [part(Category::Identity, &[("preferred_name", "Salam")])]
    );
    let names = |name: &str| story.node.names.find(name, None, (None, 10)).len();
    assert_eq!((names("sel"), names("sal"), names("sall")), (0, 1, 0));
    let nameless = ChangedPerson {
        parts: Parts::parse(vec![part(Category::Need, &[("summary", "x")])]).unwrap(),
        ..change(2, "x")
    };
    let answer = persons::update(&story.node, &story.caller, &nameless)
        .await
        .unwrap_err();
    assert_eq!(
        (answer.problem(), answer.failure().fields[0].0.as_str()),
        (Problem::Invalid, "parts")
    );
}

#[tokio::test]
async fn a_repeated_recording_makes_one_person() {
    let story = Story::begin(provider().await).await;
    let new = |name: &str| NewPerson {
        request_id: RequestId::from_bytes([5; 16]),
        parts: Parts::parse(somebody(name)).unwrap(),
    };
    let first = persons::create(&story.node, &story.caller, &new("Selam"))
        .await
        .unwrap();
    let again = persons::create(&story.node, &story.caller, &new("Selam")).await;
    assert_eq!(again, Ok(first));
    let other = persons::create(&story.node, &story.caller, &new("Hana")).await;
    assert_eq!(other, Err(RepeatError::OtherBody.into()));
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM person").await, 1);
    assert_eq!(story.node.names.find("", None, (None, 10)).len(), 1);
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends_when_revoked() {
    let story = Story::begin(provider().await).await;
    let source = (&story.node.clock, &story.node.rng);
    let roles = [Role::Admin, Role::Coordinator].into_iter().collect();
    let made = tokens::make(&story.node.store, source, roles, "reception".into())
        .await
        .unwrap();
    let hash = tokens::hash(&made.secret);
    let found = tokens::find(&story.node, &hash).await.unwrap().unwrap();
    assert_eq!((found.token_id, found.roles), (made.token_id, roles));
    assert_eq!(
        tokens::find(&story.node, &tokens::hash("kith_guess")).await,
        Ok(None)
    );
    let kept = story.bytes("SELECT token_hash AS b FROM token").await;
    assert_eq!(kept, [hash.to_vec()]);
    assert_eq!(
        tokens::revoke(&story.node.store, source, &made.token_id).await,
        Ok(true)
    );
    assert_eq!(
        tokens::revoke(&story.node.store, source, &made.token_id).await,
        Ok(false)
    );
    assert_eq!(tokens::find(&story.node, &hash).await, Ok(None));
    let listed = tokens::list(&story.node.store).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].revoked_at_ms.is_some());
    let nameless = tokens::make(&story.node.store, source, roles, " ".into()).await;
    assert_eq!(nameless.map(drop), Err(TokenError::Invalid));
    tokens::note_failed(&story.node, 3).await.unwrap();
    let codes = [Code::TokenMade, Code::TokenRevoked, Code::SignInFailed];
    for code in codes {
        assert_eq!(story.trail(code).await, 1, "{code:?}");
    }
}

#[tokio::test]
async fn a_second_process_and_another_organisation_are_refused() {
    let story = Story::begin(provider().await).await;
    let config = |story: &Story| Config {
        folder: story.place.data(),
        store_url: story.place.store_url.clone(),
        store_blocking: false,
    };
    let (clock, rng) = (story.node.clock.clone(), story.node.rng.clone());
    let second = Node::open(config(&story), clock.clone(), rng.clone()).await;
    assert!(matches!(second, Err(OpenError::Keys(KeysError::InUse))));
    let mut other = story.node.membership.clone();
    other.organisation = org("north-school");
    story.node.store.close().await;
    let Story { place, node, .. } = story;
    drop(node);
    other.save(&place.data()).unwrap();
    let config = Config {
        folder: place.data(),
        store_url: place.store_url.clone(),
        store_blocking: false,
    };
    let foreign = Node::open(config, clock, rng).await;
    assert!(matches!(foreign, Err(OpenError::Store(StoreError::Foreign))));
}
