//! What one hostile member sends harms nobody but its own pair: the stream, which all members share, goes on.

use kith_node::moves::{NewMove, move_referral};
use kith_node::requests::Asked;
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_proto::envelope::{Head, envelope_hash};
use kith_proto::id::RequestId;
use kith_proto::lifecycle::Move;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::sign::{Context, SigningKey};
use kith_proto::v1::{self, body::Body, delivered_envelope::What};
use kith_service::store::{StoreError, query};

use crate::gateway::{Attached, T0};
use crate::host::Story;
use crate::peer::{Peer, random};
use crate::threads::Inbox;

const LINK_PROBLEM: &str = "SELECT problem FROM link_state";

/// Another member's referral is taken in on this stream, and nothing was answered before it.
async fn another_goes_on(story: &Story, stream: &mut Attached, other: &Peer) {
    stream
        .deliver(vec![other.next(&[other.referral(&other.slip())])])
        .await;
    let receipts = stream.receipts().await;
    assert_eq!(
        (receipts.from.as_str(), receipts.problems),
        (other.org.as_str(), vec![0])
    );
    assert_eq!(story.host.words(LINK_PROBLEM).await, ["conflict"]);
}

/// Lines as no honest program signs them: one hash under two numbers.
fn twice(peer: &Peer, hash: [u8; 32]) -> v1::OrderBatch {
    let line = |number, previous: &[u8]| v1::OrderLine {
        number,
        previous_hash: previous.to_vec(),
        envelope_hash: hash.to_vec(),
    };
    let mut batch = v1::OrderBatch {
        from: peer.org.to_string(),
        to: "hope-street".into(),
        lines: vec![line(1, &[]), line(2, &hash)],
        signature: Vec::new(),
    };
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let mut bytes = [
        sized(batch.from.as_bytes()),
        sized(batch.to.as_bytes()),
        2_u32.to_be_bytes().to_vec(),
    ]
    .concat();
    for line in &batch.lines {
        bytes.extend(line.number.to_be_bytes());
        bytes.extend(sized(&line.previous_hash));
        bytes.extend(sized(&line.envelope_hash));
    }
    batch.signature = peer.signing.sign(Context::Order, &[&bytes]).unwrap().0.to_vec();
    batch
}

fn tombstone(story: &Story, number: u64, hash: [u8; 32]) -> v1::DeliveredEnvelope {
    let dropped = v1::Dropped {
        envelope_id: random::<16>().to_vec(),
        envelope_hash: hash.to_vec(),
        number,
        problem: Problem::ConsentWithdrawn.number(),
        dropped_at_ms: T0,
        signature: Vec::new(),
    };
    v1::DeliveredEnvelope {
        what: Some(What::Tombstone(story.gateway.inner.sign(dropped))),
    }
}

#[tokio::test]
async fn one_hash_under_two_numbers_stops_its_pair_alone() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let mut stream = story.gateway.greeted(vec![]).await;
    let item = v1::Delivered {
        order: Some(twice(&peer, [9; 32])),
        taken_at_ms: T0,
        envelopes: vec![tombstone(&story, 1, [9; 32]), tombstone(&story, 2, [9; 32])],
    };
    stream.deliver(vec![item]).await;
    another_goes_on(&story, &mut stream, &other).await;
}

#[tokio::test]
async fn what_cannot_be_believed_stops_its_pair_alone() {
    let mut story = Story::begin().await;
    let other = story.peer("hillcrest-school");
    let peers = ["gp-a", "gp-b", "gp-c", "gp-d"].map(|org| story.peer(org));
    let mut stream = story.gateway.greeted(vec![]).await;
    let items = peers.each_ref().map(|peer| {
        let referral = peer.referral(&peer.slip());
        (
            peer.next(std::slice::from_ref(&referral)),
            envelope_hash(&referral),
        )
    });
    let [
        (mut nothing, _),
        (mut misnumbered, b),
        (mut forged, c),
        (mut elsewhere, _),
    ] = items;
    nothing.envelopes[0].what = None;
    misnumbered.envelopes[0] = tombstone(&story, 7, b);
    let mut word = match tombstone(&story, 1, c).what {
        Some(What::Tombstone(word)) => word,
        other => panic!("{other:?}"),
    };
    receipt::sign(&SigningKey::from_seed([8; 32]).unwrap(), &mut word).unwrap();
    forged.envelopes[0].what = Some(What::Tombstone(word));
    let stray = peers[3].referral(&peers[3].slip());
    elsewhere.envelopes[0].what = Some(What::Envelope(stray.clone()));
    // Outside the order, with a head that nobody can read.
    let mut unreadable = stray;
    unreadable.head = vec![0xFF; 9].into();
    let loose = v1::Delivered {
        order: None,
        taken_at_ms: T0,
        envelopes: vec![
            v1::DeliveredEnvelope { what: None },
            v1::DeliveredEnvelope {
                what: Some(What::Envelope(unreadable)),
            },
        ],
    };
    stream
        .deliver(vec![nothing, misnumbered, forged, elsewhere, loose])
        .await;
    another_goes_on(&story, &mut stream, &other).await;
}

#[tokio::test]
async fn a_message_with_the_id_of_an_event_is_a_message_and_nothing_else() {
    let mut inbox = Inbox::begin().await;
    let host = &inbox.story.host;
    let request_id = RequestId::from_bytes(random());
    let new = NewMove {
        asked: Asked::new("move_referral", request_id, &v1::MoveReferralRequest::default()),
        caller: host.caller(),
        thread_id: inbox.thread_id,
        mv: Move::Acknowledge,
        reason: None,
        words: "We have it".into(),
    };
    move_referral(&host.node, &new).await.unwrap();
    let (body, _) = inbox.answered().await;
    let Some(Body::Event(event)) = body.body else {
        panic!("no event");
    };
    assert_eq!(event.words, "We have it");
    let id = event.event_id.as_slice().try_into().unwrap();
    let other = inbox.story.peer("hillcrest-school");
    let message = inbox.message(id, "Said by the sender");
    let items = vec![
        inbox.peer.next(&[message]),
        other.next(&[other.referral(&other.slip())]),
    ];
    inbox.stream.deliver(items).await;
    assert_eq!(inbox.stream.receipts().await.problems, [0]);
    assert_eq!(inbox.stream.receipts().await.problems, [0]);
    let opening = Opening {
        caller: inbox.story.host.caller(),
        visible: Visible::All,
        which: Which::Thread(inbox.thread_id),
    };
    let opened = threads_view::open(&inbox.story.host.node, &opening)
        .await
        .unwrap();
    assert_eq!(opened.messages[0].words, "Said by the sender");
    assert!(opened.events.iter().any(|event| event.words == "We have it"));
}

#[tokio::test]
async fn a_row_that_the_store_never_takes_stops_its_pair_alone() {
    let mut inbox = Inbox::begin().await;
    let other = inbox.story.peer("hillcrest-school");
    // A fault that no later attempt cures: of two messages of one side the second is refused.
    let fault = |mut tx: kith_service::store::Tx| async move {
        tx.run(query("CREATE UNIQUE INDEX fault ON message (side)")).await
    };
    let store = &inbox.story.host.node.store;
    store.tx::<_, StoreError, _, _>("fault", fault).await.unwrap();
    let (first, poison) = (inbox.message([1; 16], "One"), inbox.message([2; 16], "Two"));
    let after = inbox.peer.referral(&inbox.slip);
    let items = vec![
        inbox.peer.next(&[first.clone(), poison, after]),
        other.next(&[other.referral(&other.slip())]),
    ];
    inbox.stream.deliver(items).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let receipts = inbox.stream.receipts().await;
        told.push((receipts.from, receipts.envelope_ids));
    }
    told.sort();
    assert_eq!((told[0].0.as_str(), told[0].1.len()), ("hillcrest-school", 1));
    let kept = Head::parse(&first.head).unwrap().envelope_id.as_bytes().to_vec();
    assert_eq!(told[1], ("riverside-gp".to_owned(), vec![kept]));
    let position = "SELECT number FROM pair_received WHERE peer = 'riverside-gp'";
    assert_eq!(inbox.story.host.number(position).await, 2);
    another_goes_on(&inbox.story, &mut inbox.stream, &other).await;
}
