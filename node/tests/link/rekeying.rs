//! New keys after a loss: taken once, kept through interruptions, in force after a day.

use kith_node::join::JoinError;
use kith_node::keys::Keys;
use kith_node::link::{TLS_CERTIFICATE, TLS_KEY};
use kith_node::rekey::rekey;
use kith_proto::trust;

use crate::gateway::{DAY_MS, PATIENCE, T0};
use crate::host::{Host, Story};

#[tokio::test]
async fn new_keys_replace_lost_ones_and_count_after_a_day() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await;
    let token = story.gateway.rekey_token("hope-street").encode().unwrap();
    let (joining, folder) = story.host.stop().await;
    let keys = &joining.config.folder;
    let before = Keys::load(keys).unwrap();
    let tls = keys.read(TLS_KEY).unwrap();

    // The answer is lost: the old keys are still this node's, and the next attempt brings the same new ones.
    *story.gateway.inner.lose_answers.lock().unwrap() = 1;
    assert!(matches!(
        rekey(&token, &joining).await,
        Err(JoinError::Refused(_))
    ));
    assert_eq!(
        Keys::load(keys).unwrap().signing.public(),
        before.signing.public()
    );
    assert_eq!(keys.read(TLS_KEY).unwrap(), tls);
    rekey(&token, &joining).await.unwrap();
    {
        let asked = story.gateway.inner.issued.lock().unwrap();
        assert_eq!(asked[1].binding, asked[2].binding, "the same binding again");
    }
    let after = Keys::load(keys).unwrap();
    let chain = story.gateway.inner.chain("hope-street");
    let inner = &story.gateway.inner;
    let member = trust::verify_chain(&chain, &inner.root.public(), &inner.network, T0).unwrap();
    let newest = member.bindings.last().unwrap();
    assert!(newest.rekey && newest.signing_key == after.signing.public());
    assert!(after.sealing_key(&newest.sealing_key_id()).is_some());
    assert_ne!(keys.read(TLS_KEY).unwrap(), tls);
    assert!(keys.read(TLS_CERTIFICATE).unwrap().is_some());
    // Mail to the old sealing key may still come.
    assert!(
        after
            .sealing_keys()
            .iter()
            .any(|key| key.id == before.newest_sealing_key().unwrap().id)
    );
    for left in ["next-signing", "next-tls.key", "next-binding"] {
        assert!(!keys.path().join("keys").join(left).exists(), "{left}");
    }

    let host = Host::open(joining, folder).await;
    story.gateway.greeted(vec![]).await;
    host.link_is("keys_wait").await;
    story.time.advance(DAY_MS);
    // Looks again once a minute; a restart does at once.
    let (joining, folder) = host.stop().await;
    let host = Host::open(joining, folder).await;
    story.gateway.greeted(vec![]).await;
    host.link_is("up").await;
}

/// The key files of a re-key that is under way, and the note of the one that is over.
const NEXT: [&str; 3] = ["next-binding", "next-signing", "next-tls.key"];

#[tokio::test]
async fn a_token_whose_keys_are_here_is_done_whatever_a_crash_left() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await;
    let token = story.gateway.rekey_token("hope-street").encode().unwrap();
    let (joining, _folder) = story.host.stop().await;
    let keys = joining.config.folder.path().join("keys");
    *story.gateway.inner.lose_answers.lock().unwrap() = 1;
    rekey(&token, &joining).await.unwrap_err();
    let binding = std::fs::read(keys.join("next-binding")).unwrap();
    rekey(&token, &joining).await.unwrap();
    let published = Keys::load(&joining.config.folder).unwrap().signing.public();
    let asked = || story.gateway.inner.issued.lock().unwrap().len();
    let before = asked();

    // Run again, because something after it failed; then with what an interrupted removal may leave, also without the note.
    rekey(&token, &joining).await.unwrap();
    std::fs::write(keys.join("next-binding"), &binding).unwrap();
    rekey(&token, &joining).await.unwrap();
    std::fs::write(keys.join("next-binding"), &binding).unwrap();
    std::fs::remove_file(keys.join("rekeyed-binding")).unwrap();
    rekey(&token, &joining).await.unwrap();
    assert_eq!(asked(), before, "nobody was asked again");
    assert_eq!(
        Keys::load(&joining.config.folder).unwrap().signing.public(),
        published
    );
    for left in NEXT {
        assert!(!keys.join(left).exists(), "{left}");
    }
}

#[tokio::test]
async fn what_is_under_way_goes_with_another_token_and_with_a_refusal() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await;
    let first = story.gateway.rekey_token("hope-street").encode().unwrap();
    let late = story.gateway.rekey_token("hope-street").encode().unwrap();
    let (joining, _folder) = story.host.stop().await;
    let keys = joining.config.folder.path().join("keys");
    *story.gateway.inner.lose_answers.lock().unwrap() = 1;
    rekey(&first, &joining).await.unwrap_err();
    let begun = std::fs::read(keys.join("next-signing")).unwrap();

    // The chain went on with the first one's binding, so that the other's cannot follow: it is refused for good.
    let refused = rekey(&late, &joining).await.unwrap_err();
    assert!(matches!(refused, JoinError::Refused(_)), "{refused}");
    for left in NEXT {
        assert!(!keys.join(left).exists(), "{left}");
    }
    // A next key that no binding names was never asked for: it is drawn anew.
    std::fs::write(keys.join("next-signing"), &begun).unwrap();
    let second = story.gateway.rekey_token("hope-street").encode().unwrap();
    rekey(&second, &joining).await.unwrap();
    assert_ne!(std::fs::read(keys.join("signing")).unwrap(), begun);
}

#[tokio::test]
async fn a_token_of_another_member_or_one_to_join_with_changes_nothing() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await;
    story.peer("riverside-gp");
    let tokens = [
        story.gateway.rekey_token("riverside-gp").encode().unwrap(),
        story.gateway.invite("hope-street").encode().unwrap(),
    ];
    let (joining, _folder) = story.host.stop().await;
    let before = Keys::load(&joining.config.folder).unwrap().signing.public();
    for token in tokens {
        let refused = rekey(&token, &joining).await.unwrap_err();
        assert!(matches!(refused, JoinError::OtherMember), "{refused}");
    }
    assert_eq!(
        Keys::load(&joining.config.folder).unwrap().signing.public(),
        before
    );
    assert_eq!(story.gateway.inner.issued.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_has_an_open_referral_with_a_member_is_told_of_its_new_keys() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let other = story.peer("harbour-welcome");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    for lost in [&peer, &other] {
        let chain = story.gateway.inner.chain(lost.org.as_str());
        let mut fresh = story.peer("womens-circle");
        fresh.signing = kith_proto::sign::SigningKey::from_seed([9; 32]).unwrap();
        let chain = crate::peer::rekeyed(chain, &fresh);
        story.gateway.inner.list(lost.org.as_str(), chain);
    }
    stream.break_off().await;
    let mut story = story.restart().await;
    story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    let node = &story.host.node;
    let look = async |at_ms| {
        kith_node::status::new_keys(&node.store, &node.membership, at_ms)
            .await
            .unwrap()
    };
    let read = async {
        loop {
            let told = look(node.now_ms()).await;
            if !told.is_empty() {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the directory is read in time");
    let [told] = told.as_slice() else {
        panic!("with harbour-welcome nothing is open: {told:?}");
    };
    assert_eq!(
        (&told.organisation, told.effective_at_ms),
        (&peer.org, T0 + DAY_MS)
    );
    assert!(
        told.sentence()
            .contains("kith-node organisations show riverside-gp")
    );
    assert_eq!(look(T0 + 32 * DAY_MS).await, []);
}
