//! Whose keys are believed: those that everybody can see in the gateway's log. A gateway that lies about it is not obeyed.
//! Never a lie that is not kept as evidence.

use kith_node::keys::Membership;
use kith_node::outbox::OutboxError;
use kith_node::referrals::{self, NewReferral, SendError};
use kith_node::store;
use kith_proto::id::{GrantId, OrgId, PersonId, RequestId};
use kith_proto::log::tree::Hash;
use kith_proto::sign::SigningKey;
use kith_proto::trail::{Code, Event};
use kith_proto::trust::binding_hash;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self};
use kith_proto::words::{Category, Purpose};
use kith_service::store::StoreError;

use crate::gateway::{Attached, PATIENCE, T0};
use crate::host::Story;
use crate::peer::{Peer, random};

const INBOX: &str = "SELECT state FROM referral WHERE side = 'inbox' ORDER BY arrival";
const ALARMS: &str = "SELECT kind FROM alarm ORDER BY kind";
const RAISED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'alarm_raised'";
const FORKS: &str = "SELECT COUNT(*) FROM log_fork";
const FOLLOWED: &str = "SELECT CAST(COALESCE(MAX(followed_size), -1) AS BIGINT) FROM keylog";
const BELIEVED: &str = "SELECT CAST(COALESCE(MAX(believed_size), -1) AS BIGINT) FROM keylog";
const WITNESS: &str = "witness.example/one";

fn witness() -> SigningKey {
    SigningKey::from_seed([8; 32]).unwrap()
}

impl Attached {
    /// Says that a checkpoint is on offer.
    pub(crate) async fn offer(&mut self) {
        self.send(Down::CheckpointOffered(v1::CheckpointOffered::default()))
            .await;
    }
}

impl Story {
    /// Has the gateway's log changed by hand.
    pub(crate) fn turn<T>(&self, turn: impl FnOnce(&mut crate::logs::Logs) -> T) -> T {
        turn(&mut self.gateway.inner.logs.lock().unwrap())
    }

    /// Waits until a statement gives this number.
    pub(crate) async fn number_is(&self, text: &'static str, wanted: i64) {
        let waiting = async {
            while self.host.number(text).await != wanted {
                tokio::task::yield_now().await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            come.is_ok(),
            "{text}: {} and not {wanted}",
            self.host.number(text).await
        );
    }

    /// Waits until the members' copy gives a peer's keys.
    pub(crate) async fn believes(&self, peer: &Peer) {
        let waiting = async {
            while self.host.node.members.keys_of(&peer.org, T0).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    }

    /// A policy with one witness, from the invite on.
    pub(crate) async fn witnessed() -> (Self, Attached) {
        let mut story = Self::begin().await;
        story.turn(|logs| logs.policy = (2, 1, vec![(WITNESS.into(), witness().public())]));
        let stream = story.gateway.greeted(vec![]).await;
        story.number_is(FOLLOWED, 2).await;
        (story, stream)
    }

    /// Has the witness cosign all that there is.
    pub(crate) fn cosign(&self) {
        let inner = self.gateway.inner.clone();
        self.turn(|logs| logs.cosign(&inner, logs.size(), (WITNESS, &witness())));
    }

    /// The one alarm that stopped the node, with its line in the trail.
    pub(crate) async fn is_stopped_by(&self, kind: &str) {
        self.host.link_is("stopped").await;
        assert_eq!(self.host.words(ALARMS).await, [kind]);
        assert_eq!(self.host.number(RAISED).await, 1);
    }
}

#[tokio::test]
async fn leaves_are_believed_with_their_proofs_and_known_again_after_a_restart() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 3).await;
    story
        .number_is("SELECT COUNT(*) FROM keylog_leaf WHERE proof IS NOT NULL", 3)
        .await;
    assert!(story.host.node.members.keys_of(&peer.org, T0).is_some());
    let read = |mut tx| async move {
        let org: OrgId = "riverside-gp".parse().unwrap();
        store::keylog::bindings_of(&mut tx, &org).await
    };
    let node = &story.host.node;
    let leaves = node
        .store
        .read::<_, StoreError, _, _>("test", read)
        .await
        .unwrap();
    let hash = binding_hash(&story.gateway.inner.chain("riverside-gp").bindings[0]);
    assert_eq!(leaves.len(), 1);
    assert_eq!((leaves[0].0.number, leaves[0].0.binding), (2, Some(hash)));
    let (leaf, proof) = leaves.into_iter().next().unwrap();
    let exported = leaf.exported(proof).unwrap();
    assert_eq!((exported.number, exported.proof.index()), (1, 2));
    drop(stream);
    let mut story = story.restart().await;
    assert!(
        story.host.node.members.keys_of(&peer.org, T0).is_some(),
        "before any stream"
    );
    story.gateway.greeted(vec![]).await;
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
}

#[tokio::test]
async fn mail_of_a_member_whose_keys_are_not_logged_waits_until_they_are() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    story.turn(|logs| logs.is_held = true);
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let item = peer.next(&[peer.referral(&slip), peer.referral(&slip)]);
    story.number_is(FOLLOWED, 2).await;
    let looked = story.turn(|logs| logs.looked);
    stream.deliver(vec![item.clone()]).await;
    // Once before it waits, once because it does.
    while story.turn(|logs| logs.looked) < looked + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(story.host.node.members.keys_of(&peer.org, T0), None);
    assert_eq!(story.host.words(INBOX).await, [""; 0]);
    let chain = story.gateway.inner.chain("riverside-gp");
    story.turn(|logs| {
        logs.is_held = false;
        logs.list("riverside-gp", &chain);
    });
    stream.offer().await;
    // The node asks for what waited on a new stream.
    let mut stream = story.gateway.greeted(vec![]).await;
    assert_eq!(stream.received, []);
    stream.deliver(vec![item]).await;
    assert_eq!(stream.receipts().await.problems, [0, 0]);
    assert_eq!(story.host.words(INBOX).await, ["received", "received"]);
}

fn referral(to: &Peer, (person_id, grant_id): (PersonId, GrantId)) -> NewReferral {
    NewReferral {
        request_id: RequestId::from_bytes(random()),
        person_id,
        grant_id,
        recipient: to.org.clone(),
        purpose: Purpose::Care,
        parts: kith_node::parts::Parts::parse(vec![]).unwrap(),
        categories: [Category::Identity].into_iter().collect(),
        answer_by_ms: 0,
    }
}

#[tokio::test]
async fn a_member_whose_keys_are_not_logged_is_sent_nothing_until_they_are() {
    let mut story = Story::begin().await;
    story.turn(|logs| logs.is_held = true);
    let peer = story.peer("harbour-welcome");
    let mut stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    while !story.host.node.members.awaits_log(&peer.org) {
        tokio::task::yield_now().await;
    }
    let consent = story.host.consent(&[&peer]).await;
    let node = &story.host.node;
    let refused = referrals::send(node, &story.host.caller(), referral(&peer, consent)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, SendError::Outbox(OutboxError::NotLogged(_))),
        "{refused}"
    );
    assert_eq!(
        refused.failure().sentence(),
        "The keys of harbour-welcome are not in the network's log yet; try again in a minute."
    );
    let chain = story.gateway.inner.chain("harbour-welcome");
    story.turn(|logs| {
        logs.is_held = false;
        logs.list("harbour-welcome", &chain);
    });
    stream.offer().await;
    story.believes(&peer).await;
    referrals::send(node, &story.host.caller(), referral(&peer, consent))
        .await
        .unwrap();
    assert_eq!(stream.submission().await.envelopes.len(), 1);
}

#[tokio::test]
async fn an_uncounted_checkpoint_is_followed_and_not_believed() {
    let (story, mut stream) = Story::witnessed().await;
    let kept = Membership::load(&story.host.node.folder).unwrap();
    assert_eq!(
        kept.witness_policy().unwrap().number(),
        2,
        "the newer policy is kept"
    );
    let peer = story.peer("riverside-gp");
    stream
        .send(Down::MembersChanged(v1::MembersChanged { cursor: 2 }))
        .await;
    story.number_is(FOLLOWED, 3).await;
    assert_eq!(story.host.number(BELIEVED).await, 0);
    assert_eq!(story.host.node.members.keys_of(&peer.org, T0), None);
    // The witness was slow: what it cosigns is behind what this node has followed.
    story.cosign();
    story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    stream.offer().await;
    story.number_is(FOLLOWED, 4).await;
    story.number_is(BELIEVED, 3).await;
    story.believes(&peer).await;
    story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    stream.offer().await;
    story.number_is(FOLLOWED, 6).await;
    let inner = story.gateway.inner.clone();
    story.turn(|logs| logs.cosign(&inner, 5, (WITNESS, &witness())));
    stream.offer().await;
    story.number_is(BELIEVED, 5).await;
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
}

#[tokio::test]
async fn an_older_policy_is_an_alarm_and_not_obeyed() {
    let (story, mut stream) = Story::witnessed().await;
    story.number_is(FOLLOWED, 2).await;
    story.turn(|logs| logs.policy = (1, 0, vec![]));
    stream.offer().await;
    while story.host.words(ALARMS).await != ["policy"] {
        tokio::task::yield_now().await;
    }
    story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    stream.offer().await;
    story.number_is(FOLLOWED, 3).await;
    assert_eq!(
        story.host.number(BELIEVED).await,
        0,
        "the policy that asks for a witness counts"
    );
    assert_eq!(story.host.number(RAISED).await, 1, "once for each evidence");
    let kept = Membership::load(&story.host.node.folder).unwrap();
    assert_eq!(kept.witness_policy().unwrap().number(), 2);
    story.host.link_is("up").await;
}

#[tokio::test]
async fn a_node_that_is_a_witness_cosigns_what_it_has_followed() {
    let mut story = Story::begin().await;
    let own = story.host.node.keys.signing.public();
    story.turn(|logs| logs.policy = (2, 1, vec![(WITNESS.into(), own)]));
    let _stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 2).await;
    assert_eq!(story.turn(|logs| logs.cosignatures.len()), 1);
}

#[tokio::test]
async fn a_hidden_entry_of_the_key_log_stops_the_node() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 2).await;
    story.turn(|logs| {
        logs.append(
            &Event::new(Code::MemberSuspended, T0).org("organisation", &"hope-street".parse().unwrap()),
        );
        logs.entries[2].preimage.clear();
    });
    stream.offer().await;
    story.is_stopped_by("gateway_entry").await;
    assert_eq!(story.host.number(BELIEVED).await, 2);
}

#[tokio::test]
async fn an_altered_entry_leads_to_another_root_and_stops_the_node() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 2).await;
    story.turn(|logs| {
        logs.append(&Event::new(Code::EnvelopeTaken, T0));
        logs.roots.insert(3, Hash([7; 32]));
    });
    stream.offer().await;
    story.is_stopped_by("gateway_log").await;
    assert_eq!(story.host.number(FORKS).await, 1);
    assert_eq!(story.host.number(FOLLOWED).await, 2);
    // The lie ends, and with it the stop; the evidence stays.
    story.turn(|logs| logs.roots.clear());
    let mut story = story.restart().await;
    story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    story.number_is(FOLLOWED, 3).await;
    assert_eq!(story.host.words(ALARMS).await, ["gateway_log"]);
}

#[tokio::test]
async fn two_roots_for_one_size_stop_the_node() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 2).await;
    story.turn(|logs| logs.roots.insert(2, Hash([7; 32])));
    stream.offer().await;
    story.is_stopped_by("gateway_log").await;
    assert_eq!(story.host.number(FORKS).await, 1);
    // Also when it is shown to a node that has just begun.
    let mut story = story.restart().await;
    story.gateway.greeted(vec![]).await;
    story.is_stopped_by("gateway_log").await;
}

#[tokio::test]
async fn a_log_that_was_rolled_back_stops_the_node() {
    let mut story = Story::begin().await;
    story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 3).await;
    story.turn(|logs| logs.shown = Some(2));
    stream.offer().await;
    story.is_stopped_by("gateway_behind").await;
    assert_eq!(story.host.number(FORKS).await, 1);
    assert_eq!(story.host.number(FOLLOWED).await, 3);
}

#[tokio::test]
async fn a_leaf_with_keys_that_this_node_did_not_make_stops_it() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 2).await;
    // Logged for somebody, and shown in no directory.
    story.turn(|logs| logs.bind("hope-street", 2, [9; 32]));
    stream.offer().await;
    story.is_stopped_by("foreign_binding").await;
    assert_eq!(story.host.number(FOLLOWED).await, 2);
}

#[tokio::test]
async fn a_suspension_that_only_the_log_shows_is_an_alarm_after_a_while() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    story.number_is(BELIEVED, 3).await;
    story.turn(|logs| {
        logs.append(&Event::new(Code::MemberSuspended, T0).org("organisation", &peer.org));
    });
    stream.offer().await;
    story.number_is(FOLLOWED, 4).await;
    stream.offer().await;
    story.time.advance(60_000);
    story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    // A step at each offer; the one before may still be under way, and see the difference first only after the time has moved.
    while story.host.words(ALARMS).await != ["standing"] {
        story.time.advance(1_000);
        stream.offer().await;
        story.turn(|logs| logs.append(&Event::new(Code::EnvelopeTaken, T0)));
    }
    story.host.link_is("up").await;
}
