//! A recipient's new key in the middle of things: everything that waits is sealed to it again, or makes room for what follows.
//! What ends consent reaches its recipient, and only its recipient's own word says so.

use kith_proto::envelope;
use kith_proto::problem::Problem;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, query};

use crate::gateway::{Attached, T0, head};
use crate::host::Story;
use crate::peer::{Peer, loose, random};
use crate::threads::Inbox;

/// More than the pause after a sealing that did not succeed.
const PAUSE_OVER_MS: i64 = 5_001;
const DELIVERY: &str = "SELECT delivery FROM referral ORDER BY arrival";
const REACHED: &str = "SELECT COALESCE(withdrawal_reached_at_ms, 0) FROM slip";

/// The next envelope of a kind; stops and receipts on the way are passed over.
async fn next(stream: &mut Attached, kind: EnvelopeKind) -> v1::Envelope {
    loop {
        if let Up::Submission(one) = stream.next().await
            && let Some(envelope) = one.envelopes.into_iter().find(|one| head(one).kind == kind)
        {
            return envelope;
        }
    }
}

/// The peer has a new key, which the node knows; the gateway says so of this envelope. Gives it as it comes again.
async fn turned(story: &Story, stream: &mut Attached, peer: &mut Peer, old: &v1::Envelope) -> v1::Envelope {
    story.time.advance(10);
    peer.rotate(&story.gateway, T0 + 10);
    stream
        .send(Down::MembersChanged(v1::MembersChanged { cursor: 2 }))
        .await;
    story.known(peer).await;
    stream.refuse(old, Problem::StaleKey, 1).await;
    let again = async {
        loop {
            story.time.advance(1);
            story.host.node.outbox_ready.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let kind = head(old).kind;
    let new = tokio::select! {
        never = again => never,
        new = next(stream, kind) => new,
    };
    assert_eq!(head(&new).envelope_id, head(old).envelope_id);
    assert_ne!(head(&new).sealing_key_id, head(old).sealing_key_id);
    new
}

/// What is in it, by the peer's new key.
fn opened(story: &Story, peer: &Peer, envelope: &v1::Envelope) -> Option<Body> {
    let key = story.host.node.keys.signing.public();
    let verified = envelope::verify(envelope, |_| Some(key)).unwrap();
    envelope::open(&verified, &peer.sealing).unwrap().body
}

#[tokio::test]
async fn a_withdrawal_outlives_every_holding_and_only_a_clean_receipt_says_that_it_reached() {
    let mut story = Story::begin().await;
    let mut peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = stream.submission().await.envelopes;
    stream.take(&sent).await;
    story.host.until(DELIVERY, &["taken"]).await;
    story.withdraw(consent.1).await;
    let old = next(&mut stream, EnvelopeKind::Withdrawal).await;
    // Nothing that seals content may be needed for it.
    story
        .run("UPDATE holding SET wrapped_key = NULL, category_keys = NULL, destroyed_at_ms = 1 WHERE wrapped_key IS NOT NULL")
        .await;
    let new = turned(&story, &mut stream, &mut peer, &old).await;
    assert!(matches!(opened(&story, &peer, &new), Some(Body::Withdrawal(_))));
    stream.take(std::slice::from_ref(&new)).await;
    let word = |problem| peer.receipts(std::slice::from_ref(&new), problem, &peer.signing);
    let refused = word(Some(Problem::Invalid));
    stream.notice(1, Down::RecipientReceipts(refused)).await;
    story.told_held(&mut stream, 1).await;
    assert_eq!(story.host.number(REACHED).await, 0, "refused is not reached");
}

#[tokio::test]
async fn the_word_of_a_recipient_that_took_a_withdrawal_counts() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.withdraw(consent.1).await;
    let sent = [next(&mut stream, EnvelopeKind::Withdrawal).await];
    stream.take(&sent).await;
    let receipts = peer.receipts(&sent, None, &peer.signing);
    stream.notice(1, Down::RecipientReceipts(receipts)).await;
    story.told_held(&mut stream, 1).await;
    assert_eq!(story.host.number(REACHED).await, T0 + 5_000);
}

#[tokio::test]
async fn a_proof_is_sealed_again() {
    let mut inbox = Inbox::begin().await;
    inbox.stream.deliver(vec![loose(inbox.withdrawal(&[]))]).await;
    let old = next(&mut inbox.stream, EnvelopeKind::WithdrawalProof).await;
    let (story, peer) = (&inbox.story, &mut inbox.peer);
    let new = turned(story, &mut inbox.stream, peer, &old).await;
    assert!(matches!(
        opened(story, peer, &new),
        Some(Body::WithdrawalProof(_))
    ));
}

#[tokio::test]
async fn a_bare_event_outlives_the_slip_that_it_moved() {
    let mut inbox = Inbox::begin().await;
    let proposal = inbox.proposal(kith_proto::lifecycle::Move::Cancel);
    let item = inbox.peer.next(&[proposal]);
    inbox.stream.deliver(vec![item]).await;
    let old = next(&mut inbox.stream, EnvelopeKind::Event).await;
    inbox.stream.deliver(vec![loose(inbox.withdrawal(&[]))]).await;
    next(&mut inbox.stream, EnvelopeKind::WithdrawalProof).await;
    let (story, peer) = (&inbox.story, &mut inbox.peer);
    let new = turned(story, &mut inbox.stream, peer, &old).await;
    let Some(Body::Event(event)) = opened(story, peer, &new) else {
        panic!("no event");
    };
    assert_eq!(event.number, 2);
}

#[tokio::test]
async fn a_withdrawal_that_had_run_out_when_it_was_taken_counts_all_the_same() {
    let mut inbox = Inbox::begin().await;
    let signed = &inbox.slip.signed;
    let mut late = inbox.peer.head(EnvelopeKind::Withdrawal, signed, random());
    (late.created_at_ms, late.expires_at_ms) = (T0 - 10, T0);
    let withdrawal = v1::Withdrawal {
        withdrawal_id: vec![7; 16],
        slip_id: inbox.slip.id().as_bytes().to_vec(),
        scope: v1::WithdrawalScope::Consent.into(),
        withdrawn_at_ms: T0 - 10,
        ..v1::Withdrawal::default()
    };
    let late = inbox.peer.seal(late, Body::Withdrawal(withdrawal));
    inbox.stream.deliver(vec![loose(late)]).await;
    let (body, _) = inbox.answered().await;
    assert!(matches!(body.body, Some(Body::WithdrawalProof(_))));
    let consent = "SELECT consent FROM referral";
    assert_eq!(inbox.story.host.words(consent).await, ["erased"]);
}

#[tokio::test]
async fn a_key_that_the_directory_does_not_show_yet_is_waited_for() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer, &other]).await;
    story.host.refer(&peer, consent).await;
    let sent = stream.submission().await.envelopes;
    for _ in 0..3 {
        stream.refuse(&sent[0], Problem::StaleKey, 1).await;
        story.time.advance(10);
        story.host.refer(&other, consent).await;
        let next = stream.submission().await;
        assert_eq!(head(&next.envelopes[0]).to, other.org, "no loop of the stale one");
        stream.take(&next.envelopes).await;
        story.time.advance(PAUSE_OVER_MS);
        story.host.node.outbox_ready.notify_one();
        assert_eq!(stream.submission().await.envelopes, sent);
    }
}

#[tokio::test]
async fn a_referral_that_can_never_be_sealed_again_makes_room_for_the_next() {
    let mut story = Story::begin().await;
    let mut peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let old = stream.submission().await.envelopes.remove(0);
    story.run("DELETE FROM referral_content").await;
    story.time.advance(10);
    peer.rotate(&story.gateway, T0 + 10);
    stream
        .send(Down::MembersChanged(v1::MembersChanged { cursor: 2 }))
        .await;
    story.known(&peer).await;
    stream.refuse(&old, Problem::StaleKey, 1).await;
    story.host.until(DELIVERY, &["undelivered"]).await;
    let problem = "SELECT problem FROM referral ORDER BY arrival";
    assert_eq!(story.host.words(problem).await, ["stale_key"]);
    story.time.advance(10);
    story.host.refer(&peer, consent).await;
    let mut lines = Vec::new();
    let mut envelopes = Vec::new();
    while lines.len() < 2 {
        let submission = stream.submission().await;
        lines.extend(submission.order.unwrap().lines.iter().map(|line| line.number));
        envelopes.extend(submission.envelopes);
    }
    assert_eq!(lines, [1, 2]);
    assert_eq!(envelopes.len(), 1, "the first line goes without its envelope");
}

impl Story {
    /// Changes the store behind the node's back.
    pub(crate) async fn run(&self, text: &'static str) {
        let write = |mut tx: kith_service::store::Tx| async move { tx.run(query(text)).await };
        let store = &self.host.node.store;
        store.tx::<_, StoreError, _, _>("test", write).await.unwrap();
    }
}
