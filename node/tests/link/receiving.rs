//! What arrives: exactly once, in order, verified by the node itself. Never a gateway's word that the node must believe.

use kith_proto::envelope::envelope_hash;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::sign::SigningKey;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};

use crate::gateway::{Attached, T0};
use crate::host::Story;
use crate::peer::{Peer, position, random, referral};

const INBOX: &str = "SELECT state FROM referral WHERE side = 'inbox' ORDER BY arrival";
const PAIRS: &str = "SELECT CAST(number AS TEXT) FROM pair_received ORDER BY peer";

/// The problems of the next receipts, whose signature must be the node's.
async fn problems(story: &Story, stream: &mut Attached) -> Vec<i32> {
    let receipts = stream.receipts().await;
    receipt::verify(&story.host.node.keys.signing.public(), &receipts).unwrap();
    assert_eq!(receipts.to, "hope-street");
    receipts.problems
}

#[tokio::test]
async fn a_referral_comes_once_however_often_it_is_delivered() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let mut stream = story.gateway.greeted(vec![]).await;
    let item = peer.next(&[peer.referral(&slip), peer.referral(&slip)]);
    stream.deliver(vec![item.clone()]).await;
    let first = stream.receipts().await;
    assert_eq!((first.problems.clone(), first.received_at_ms), (vec![0, 0], T0));
    story.time.advance(1_000);
    stream.deliver(vec![item.clone(), item.clone()]).await;
    let again = stream.receipts().await;
    assert_eq!(again.received_at_ms, T0, "the first time is told again");
    assert_eq!(again.problems, [0; 4]);
    stream.break_off().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    let last = envelope_of(&item, 1);
    assert_eq!(stream.received, [position(&peer.org, 2, envelope_hash(&last))]);
    stream.deliver(vec![item.clone()]).await;
    assert_eq!(problems(&story, &mut stream).await, [0, 0]);
    story = story.restart().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    stream.deliver(vec![item]).await;
    assert_eq!(problems(&story, &mut stream).await, [0, 0]);
    assert_eq!(story.host.words(INBOX).await, ["received", "received"]);
    assert_eq!(story.host.number("SELECT COUNT(*) FROM event").await, 2);
    assert_eq!(
        story.host.number("SELECT COUNT(*) FROM slip").await,
        1,
        "both under one slip"
    );
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'envelope_received'";
    assert_eq!(story.host.number(trail).await, 2);
}

fn envelope_of(item: &v1::Delivered, place: usize) -> v1::Envelope {
    match &item.envelopes[place].what {
        Some(v1::delivered_envelope::What::Envelope(envelope)) => envelope.clone(),
        other => panic!("no envelope: {other:?}"),
    }
}

/// One bad envelope between two good ones: it is refused with this problem, shown nowhere, and holds nothing up.
pub(crate) async fn refused(problem: Problem, make: impl Fn(&Story, &Peer) -> v1::Envelope) {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let bad = make(&story, &peer);
    let mut stream = story.gateway.greeted(vec![]).await;
    stream
        .deliver(vec![peer.next(&[
            peer.referral(&slip),
            bad,
            peer.referral(&slip),
        ])])
        .await;
    assert_eq!(problems(&story, &mut stream).await, [0, problem.number(), 0]);
    assert_eq!(story.host.words(INBOX).await, ["received", "received"]);
    assert_eq!(story.host.words(PAIRS).await, ["3"]);
    let kept = "SELECT COUNT(*) FROM referral_content";
    assert_eq!(story.host.number(kept).await, 2);
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'envelope_rejected'";
    assert_eq!(story.host.number(trail).await, 1);
}

#[tokio::test]
async fn a_category_that_the_head_does_not_declare_is_refused() {
    refused(Problem::CategoryNotAllowed, |_, peer| {
        let mut head = peer.head(EnvelopeKind::Referral, &peer.slip().signed, random());
        head.categories = vec![Category::Need.number()];
        let hidden = [
            (Category::Need, "summary", "x"),
            (Category::Health, "summary", "canary-health"),
        ];
        peer.seal_anything(&head, Body::Referral(referral(&hidden)))
    })
    .await;
}

#[tokio::test]
async fn a_category_that_the_slip_does_not_allow_is_refused() {
    refused(Problem::CategoryNotAllowed, |_, peer| {
        let mut head = peer.head(EnvelopeKind::Referral, &peer.slip().signed, random());
        head.categories = vec![Category::Health.number()];
        peer.seal(
            head,
            Body::Referral(referral(&[(Category::Health, "summary", "canary-health")])),
        )
    })
    .await;
}

#[tokio::test]
async fn an_envelope_for_somebody_else_is_refused() {
    refused(Problem::Invalid, |_, peer| {
        let slip = peer.slip_with(|slip| slip.to = "harbour-welcome".into());
        let mut head = peer.head(EnvelopeKind::Referral, &slip.signed, random());
        head.to = "harbour-welcome".into();
        head.categories = vec![Category::Need.number()];
        peer.seal(
            head,
            Body::Referral(referral(&[(Category::Need, "summary", "x")])),
        )
    })
    .await;
}

#[tokio::test]
async fn an_envelope_of_another_member_in_a_pairs_order_is_refused() {
    refused(Problem::Invalid, |story, peer| {
        let other = Peer::new(
            &story.gateway,
            "hillcrest-school",
            &"hope-street".parse().unwrap(),
            &story.host.sealing_key(),
        );
        let mut head = other.head(EnvelopeKind::Referral, &peer.slip().signed, random());
        head.categories = vec![Category::Need.number()];
        other.seal(
            head,
            Body::Referral(referral(&[(Category::Need, "summary", "x")])),
        )
    })
    .await;
}

#[tokio::test]
async fn a_slip_that_its_member_did_not_sign_is_refused() {
    refused(Problem::Invalid, |_, peer| {
        let mut slip = peer.slip();
        slip.signed.signature[3] ^= 1;
        peer.referral(&slip)
    })
    .await;
}

/// The gateway takes a member's own slips at its word, so that one of them could else have the directory read for each, while the
/// mail of all others waits.
#[tokio::test]
async fn many_slips_that_their_member_did_not_sign_have_the_directory_read_for_none() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let bad = || {
        let mut slip = peer.slip();
        slip.signed.signature[3] ^= 1;
        peer.referral(&slip)
    };
    let many: Vec<v1::Envelope> = (0..20).map(|_| bad()).collect();
    let mut stream = story.gateway.greeted(vec![]).await;
    stream
        .deliver(vec![peer.next(&[peer.referral(&peer.slip())])])
        .await;
    assert_eq!(problems(&story, &mut stream).await, [0]);
    let before = *story.gateway.inner.listings.lock().unwrap();
    stream.deliver(vec![peer.next(&many)]).await;
    let invalid = [Problem::Invalid.number(); 20];
    assert_eq!(problems(&story, &mut stream).await, invalid);
    assert_eq!(*story.gateway.inner.listings.lock().unwrap(), before);
}

#[tokio::test]
async fn an_expired_slip_is_refused() {
    refused(Problem::ConsentExpired, |story, peer| {
        story.time.advance(10);
        peer.referral(&peer.slip_with(|slip| slip.expires_at_ms = T0 + 10))
    })
    .await;
}

#[tokio::test]
async fn an_envelope_under_a_key_that_is_not_held_is_refused() {
    refused(Problem::StaleKey, |_, peer| {
        let mut head = peer.head(EnvelopeKind::Referral, &peer.slip().signed, random());
        head.categories = vec![Category::Need.number()];
        head.sealing_key_id = vec![9; 16];
        peer.seal_anything(
            &head,
            Body::Referral(referral(&[(Category::Need, "summary", "x")])),
        )
    })
    .await;
}

#[tokio::test]
async fn a_field_outside_the_closed_list_is_refused() {
    refused(Problem::Invalid, |_, peer| {
        let mut head = peer.head(EnvelopeKind::Referral, &peer.slip().signed, random());
        head.categories = vec![Category::Need.number()];
        peer.seal(head, Body::Referral(referral(&[(Category::Need, "visa", "x")])))
    })
    .await;
}

#[tokio::test]
async fn a_second_person_under_one_slip_is_refused() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let other = peer.slip_with(|other| {
        other.slip_id = slip.id().as_bytes().to_vec();
        other.categories = vec![1, 4, 5];
    });
    let mut stream = story.gateway.greeted(vec![]).await;
    stream
        .deliver(vec![peer.next(&[peer.referral(&slip), peer.referral(&other)])])
        .await;
    let missing = Problem::ConsentMissing.number();
    assert_eq!(problems(&story, &mut stream).await, [0, missing], "in one batch");
    stream
        .deliver(vec![peer.next(&[peer.referral(&other), peer.referral(&slip)])])
        .await;
    assert_eq!(
        problems(&story, &mut stream).await,
        [missing, 0],
        "and in the next"
    );
    assert_eq!(story.host.words(INBOX).await.len(), 2);
}

#[tokio::test]
async fn a_gap_waits_until_what_is_missing_comes() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let (slip, others) = (peer.slip(), other.slip());
    let (first, second) = (
        peer.next(&[peer.referral(&slip)]),
        peer.next(&[peer.referral(&slip)]),
    );
    let mut stream = story.gateway.greeted(vec![]).await;
    stream
        .deliver(vec![second.clone(), other.next(&[other.referral(&others)])])
        .await;
    let receipts = stream.receipts().await;
    assert_eq!(receipts.from, "hillcrest-school", "only the other pair goes on");
    stream.deliver(vec![first, second]).await;
    assert_eq!(problems(&story, &mut stream).await, [0, 0]);
    assert_eq!(story.host.words(PAIRS).await, ["1", "2"]);
}

#[tokio::test]
async fn two_histories_stop_their_pair_alone() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let (slip, others) = (peer.slip(), other.slip());
    let mut stream = story.gateway.greeted(vec![]).await;
    stream.deliver(vec![peer.next(&[peer.referral(&slip)])]).await;
    assert_eq!(problems(&story, &mut stream).await, [0]);
    let (forked, _) = peer.after(Position::at(1, [8; 32]), &[peer.referral(&slip)]);
    let honest = peer.next(&[peer.referral(&slip)]);
    stream
        .deliver(vec![forked, honest, other.next(&[other.referral(&others)])])
        .await;
    assert_eq!(stream.receipts().await.from, "hillcrest-school");
    assert_eq!(story.host.words(PAIRS).await, ["1", "1"]);
    assert_eq!(
        story.host.words("SELECT problem FROM link_state").await,
        ["conflict"]
    );
}

#[tokio::test]
async fn lines_that_their_sender_did_not_sign_are_not_taken_in() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let (slip, others) = (peer.slip(), other.slip());
    let mut stream = story.gateway.greeted(vec![]).await;
    let mut forged = peer.next(&[peer.referral(&slip)]);
    forged.order.as_mut().unwrap().signature[7] ^= 1;
    stream
        .deliver(vec![forged, other.next(&[other.referral(&others)])])
        .await;
    assert_eq!(stream.receipts().await.from, "hillcrest-school");
    assert_eq!(story.host.words(INBOX).await.len(), 1);
}

#[tokio::test]
async fn a_tombstone_moves_the_position_and_a_forged_one_stops_its_pair() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let mut stream = story.gateway.greeted(vec![]).await;
    let mut item = peer.next(&[peer.referral(&slip), peer.referral(&slip)]);
    let gone = envelope_of(&item, 0);
    let dropped = v1::Dropped {
        envelope_id: crate::gateway::head(&gone).envelope_id.as_bytes().to_vec(),
        envelope_hash: envelope_hash(&gone).to_vec(),
        number: 1,
        problem: Problem::ConsentWithdrawn.number(),
        dropped_at_ms: T0,
        signature: Vec::new(),
    };
    let mut forged = dropped.clone();
    receipt::sign(&SigningKey::from_seed([8; 32]).unwrap(), &mut forged).unwrap();
    item.envelopes[0].what = Some(v1::delivered_envelope::What::Tombstone(forged));
    let other = story.peer("hillcrest-school");
    let honest = other.next(&[other.referral(&other.slip())]);
    stream.deliver(vec![item.clone(), honest]).await;
    assert_eq!(stream.receipts().await.from, "hillcrest-school");
    stream.break_off().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    let signed = story.gateway.inner.sign(dropped);
    item.envelopes[0].what = Some(v1::delivered_envelope::What::Tombstone(signed));
    stream.deliver(vec![item]).await;
    assert_eq!(
        problems(&story, &mut stream).await,
        [Problem::ConsentWithdrawn.number(), 0]
    );
    assert_eq!(story.host.words(PAIRS).await, ["1", "2"]);
    assert_eq!(story.host.words(INBOX).await.len(), 2);
}

#[tokio::test]
async fn a_sender_who_joined_a_moment_ago_is_looked_up() {
    let mut story = Story::begin().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    stream.deliver(vec![peer.next(&[peer.referral(&slip)])]).await;
    assert_eq!(problems(&story, &mut stream).await, [0]);
}

#[tokio::test]
async fn many_come_in_their_order_in_few_transactions() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let count = 100;
    let envelopes: Vec<v1::Envelope> = (0..count).map(|_| peer.referral(&peer.slip())).collect();
    for some in envelopes.chunks(20) {
        stream.deliver(vec![peer.next(some)]).await;
    }
    let mut received = Vec::new();
    while received.len() < count {
        received.extend(stream.receipts().await.envelope_hashes);
    }
    let sent: Vec<Vec<u8>> = envelopes.iter().map(|e| envelope_hash(e).to_vec()).collect();
    assert_eq!(received, sent);
    let ids = envelopes.iter().map(|e| crate::gateway::head(e).thread_id);
    for (place, thread_id) in ids.enumerate() {
        let text = "SELECT arrival FROM referral WHERE thread_id = $1";
        let arrival = story
            .host
            .number_of(text, |q| q.bind(thread_id.as_bytes().to_vec()))
            .await;
        assert_eq!(arrival, place as i64 + 1);
    }
}
