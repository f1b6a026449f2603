//! From an invite to a member, and the certificate after that. Never a folder that looks joined and is not.

use kith_node::join::{self, JoinError};
use kith_node::keys::Membership;
use kith_proto::trust::{InviteToken, TokenError, TrustError};
use kith_proto::v1;
use kith_service::clock::Clock;
use std::path::Path;

use crate::gateway::{Attached, DAY_MS, Gateway, PATIENCE, T0};
use crate::host::{Host, Story, joining};

async fn joined(token: &InviteToken, clock: Clock) -> Result<Membership, JoinError> {
    let (_folder, joining) = joining(clock).await;
    join::join(&token.encode().unwrap(), &joining).await
}

#[tokio::test]
async fn an_invite_makes_a_member_once_and_the_link_comes_up() {
    let (clock, _) = Clock::manual(T0);
    let mut gateway = Gateway::start(clock.clone()).await;
    let (folder, joining) = joining(clock).await;
    let token = gateway.invite("hope-street").encode().unwrap();
    *gateway.inner.lose_answers.lock().unwrap() = 1;
    let lost = join::join(&token, &joining).await.unwrap_err();
    assert!(matches!(lost, JoinError::Refused(_)), "{lost}");
    let membership = join::join(&token, &joining).await.unwrap();
    let kept = joining.config.folder.kept_store().unwrap();
    assert_eq!(
        kept, joining.config.store_url,
        "it is served with the store it was joined with"
    );
    assert_eq!(membership.organisation.as_str(), "hope-street");
    let kept = Membership::load(&joining.config.folder).unwrap();
    assert_eq!(
        kept.witness_policy().map(|policy| policy.number()),
        Some(1),
        "the policy of the invite is kept"
    );
    {
        let asked = gateway.inner.issued.lock().unwrap();
        assert_eq!(asked[0].binding, asked[1].binding, "the same binding again");
    }
    let again = join::join(&token, &joining).await.unwrap_err();
    assert!(matches!(again, JoinError::Joined), "{again}");
    let host = Host::open(joining, folder).await;
    let stream = gateway.greeted(vec![]).await;
    assert_eq!(stream.org, "hope-street");
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'node_joined'";
    assert_eq!(host.number(trail).await, 1);
}

#[tokio::test]
async fn an_altered_expired_or_foreign_invite_joins_nothing() {
    let (clock, time) = Clock::manual(T0);
    let gateway = Gateway::start(clock.clone()).await;
    let token = gateway.invite("hope-street");
    let (_folder, joining) = joining(clock.clone()).await;
    let mut text = token.encode().unwrap();
    text.replace_range(30..31, if &text[30..31] == "A" { "B" } else { "A" });
    let altered = join::join(&text, &joining).await.unwrap_err();
    assert!(
        matches!(altered, JoinError::Token(TokenError::Altered)),
        "{altered}"
    );
    let other = InviteToken {
        seed: [7; 32],
        ..token.clone()
    };
    let forged = joined(&other, clock.clone()).await.unwrap_err();
    assert!(matches!(forged, JoinError::Trust(TrustError::Forged)), "{forged}");
    let policy = v1::Signed {
        signature: vec![0; 64],
        ..token.policy.clone()
    };
    let unruled = InviteToken {
        policy,
        ..token.clone()
    };
    let unruled = joined(&unruled, clock.clone()).await.unwrap_err();
    assert!(
        matches!(unruled, JoinError::Trust(TrustError::Forged)),
        "{unruled}"
    );
    let (elsewhere, _) = Clock::manual(T0);
    let another = Gateway::start(elsewhere).await;
    let lured = InviteToken {
        gateway: another.address.clone(),
        ..token.clone()
    };
    let lured = joined(&lured, clock.clone()).await.unwrap_err();
    assert!(
        matches!(lured, JoinError::Dial(_)),
        "another gateway's certificate: {lured}"
    );
    time.advance(2 * DAY_MS);
    let late = joined(&token, clock).await.unwrap_err();
    assert!(matches!(late, JoinError::Trust(TrustError::Expired)), "{late}");
    assert!(gateway.inner.issued.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_join_that_fails_leaves_nothing_behind_and_takes_nothing_away() {
    let (clock, _) = Clock::manual(T0);
    let gateway = Gateway::start(clock.clone()).await;
    let (folder, joining) = joining(clock.clone()).await;
    let data = joining.config.folder.path();
    let unreachable = InviteToken {
        gateway: "127.0.0.1:9".into(),
        ..gateway.invite("hope-street")
    };
    let unreachable = unreachable.encode().unwrap();
    let lost = join::join(&unreachable, &joining).await.unwrap_err();
    assert!(matches!(lost, JoinError::Dial(_)), "{lost}");
    assert!(!data.exists() && folder.path().exists());

    std::fs::create_dir_all(data.join("keys")).unwrap();
    std::fs::write(data.join("notes"), "mine").unwrap();
    std::fs::write(data.join("keys/notes"), "mine").unwrap();
    join::join(&unreachable, &joining).await.unwrap_err();
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(data), ["keys", "notes"]);
    assert_eq!(names(&data.join("keys")), ["notes"]);

    // Whatever the gateway may have admitted is kept for the next try, and a token of another invite then changes nothing.
    *gateway.inner.lose_answers.lock().unwrap() = 1;
    let token = gateway.invite("hope-street").encode().unwrap();
    join::join(&token, &joining).await.unwrap_err();
    let begun = names(&data.join("keys"));
    assert!(begun.len() > 1, "{begun:?}");
    let other = gateway.invite("harbour-welcome").encode().unwrap();
    let error = join::join(&other, &joining).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherInvite), "{error}");
    assert_eq!(names(&data.join("keys")), begun);
    join::join(&token, &joining).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_was_begun_with_another_invite_is_left_alone() {
    let (clock, _) = Clock::manual(T0);
    let gateway = Gateway::start(clock.clone()).await;
    *gateway.inner.lose_answers.lock().unwrap() = 1;
    let (_folder, joining) = joining(clock).await;
    join::join(&gateway.invite("hope-street").encode().unwrap(), &joining)
        .await
        .unwrap_err();
    let other = gateway.invite("harbour-welcome").encode().unwrap();
    let error = join::join(&other, &joining).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherInvite), "{error}");
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_its_life_and_after_a_month_asleep() {
    let mut story = Story::begin().await;
    let stream = story.gateway.greeted(vec![]).await;
    assert_eq!(*story.gateway.inner.renewed.lock().unwrap(), 0);
    story.host.link_is("up").await;
    stream.break_off().await;
    story.time.advance(4 * DAY_MS);
    let stream = story.renewed(1).await;
    story.host.link_is("up").await;
    stream.break_off().await;
    story.time.advance(31 * DAY_MS);
    story.renewed(2).await;
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'key_rotated'";
    assert_eq!(story.host.number(trail).await, 2);
}

#[tokio::test]
async fn a_renewal_that_is_refused_for_good_leaves_the_link_up_while_the_certificate_holds() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    *story.gateway.inner.renewed.lock().unwrap() = u32::MAX;
    story.time.advance(4 * DAY_MS);
    let mut story = story.restart().await;
    let stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    // Once it has ended there is no stream, until the gateway renews again: no person has to do anything at the node.
    stream.break_off().await;
    story.time.advance(4 * DAY_MS);
    let mut story = story.restart().await;
    story.host.link_is("down").await;
    *story.gateway.inner.renewed.lock().unwrap() = 0;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
}

#[tokio::test]
async fn keys_that_this_node_did_not_make_stop_it() {
    let mut story = Story::begin().await;
    let stream = story.gateway.greeted(vec![]).await;
    let mut impostor = story.peer("riverside-gp");
    let chain = story.gateway.inner.chain("hope-street");
    impostor.signing = kith_proto::sign::SigningKey::from_seed([1; 32]).unwrap();
    let rekeyed = crate::peer::rekeyed(chain, &impostor);
    story.gateway.inner.list("hope-street", rekeyed);
    stream.break_off().await;
    story.host.link_is("stopped").await;
    assert_eq!(
        story.host.words("SELECT problem FROM link_state").await,
        ["conflict"]
    );
    assert_eq!(
        story.host.words("SELECT kind FROM alarm").await,
        ["foreign_binding"]
    );
}

#[tokio::test]
async fn a_node_that_began_with_a_wrong_clock_finds_its_members_again_by_itself() {
    let mut story = Story::begin().await;
    // The gateway does not tell again what it told.
    *story.gateway.inner.tells_once.lock().unwrap() = true;
    let stream = story.gateway.greeted(vec![]).await;
    story.knows_itself().await;
    stream.break_off().await;
    story.time.advance(-3 * 60 * 60 * 1000);
    let mut story = story.restart().await;
    assert_eq!(
        story.host.node.members.all().len(),
        0,
        "their keys are of tomorrow"
    );
    let mut stream = story.gateway.greeted(vec![]).await;
    assert!(stream.is_left().await);
    let waiting = async {
        while story.host.words("SELECT problem FROM link_state").await != ["unavailable"] {
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, waiting).await;
    told.expect("not listed is not listed with other keys: it is tried again");
    assert_eq!(story.host.words("SELECT state FROM link_state").await, ["down"]);
    story.time.set(T0);
    let _stream = story.gateway.greeted(vec![]).await;
    story.knows_itself().await;
}

#[tokio::test]
async fn the_gateways_last_word_is_kept_for_a_run_that_does_not_hear_from_it() {
    let mut story = Story::begin().await;
    let stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    stream.break_off().await;
    let mut story = story.restart().await;
    // Never greeted in this run, and ended.
    let stream = story.gateway.attached().await;
    let story = story.restart().await;
    drop(stream);
    assert_eq!(
        story.host.number("SELECT last_hello_ms FROM link_state").await,
        T0
    );
}

impl Story {
    /// Waits until the node has its own listing.
    async fn knows_itself(&self) {
        let waiting = async {
            while self.host.node.members.all().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("it is listed in time");
    }

    /// The first stream after so many renewals; one that was dialled before the clock moved is broken off.
    async fn renewed(&mut self, count: u32) -> Attached {
        loop {
            let mut stream = self.gateway.attached().await;
            if *self.gateway.inner.renewed.lock().unwrap() == count {
                stream.greet(vec![], 0).await;
                return stream;
            }
            stream.break_off().await;
        }
    }
}
