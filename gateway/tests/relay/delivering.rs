//! Delivering: until receipted, to the newest stream only; receipts become notices, which come until they are held.

use std::collections::BTreeMap;

use kith_proto::envelope::envelope_hash;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1::{self, attach_request::Frame as Up, attach_response::Frame, delivered_envelope::What};
use kith_proto::words::EnvelopeKind::{Blob, Referral};

use crate::network::{Network, START_MS};
use crate::node::{Answered, Got, Line, Node, alone, named};
use crate::place;

const WAITING: &str = "SELECT COUNT(*) AS n FROM mailbox";
const NOTICES: &str = "SELECT COUNT(*) AS n FROM notice";
const BYTES: &str = "SELECT CAST(SUM(mailbox_bytes) AS BIGINT) AS n FROM pair";
const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

/// Sends `count` referrals, all of which are taken.
async fn send(from: &mut Node, to: &Node, line: &mut Line, count: usize) -> Vec<v1::Envelope> {
    let slip = from.slip(to);
    let envelopes = from.copies(&from.envelope(to, Referral, &slip), count);
    for part in envelopes.chunks(64) {
        let submission = from.submission(to, part.to_vec());
        assert_eq!(line.submit(&submission).await, vec![TAKEN; part.len()]);
    }
    envelopes
}

async fn held(line: &Line, number: u64) {
    line.send(Up::NoticesHeld(v1::NoticesHeld { number })).await;
}

/// The ids and hashes of what came.
fn names(got: &[Got]) -> Vec<([u8; 16], [u8; 32])> {
    got.iter().map(|got| (got.id, got.hash)).collect()
}

/// A sign that the stream has worked off everything before it: an answer to a submission that was taken long ago.
async fn settled(line: &mut Line, old: &v1::Submission) {
    assert_eq!(line.submit(old).await, [TAKEN]);
}

#[tokio::test]
async fn receipts_empty_the_mailbox_and_reach_the_sender_until_it_holds_them() {
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mut sending = gp.attach().await;
    let envelopes = send(&mut gp, &peers, &mut sending, 3).await;
    assert!(network.count(BYTES).await > 0);

    let mut receiving = peers.attach().await;
    let got = receiving.delivered(3).await;
    assert_eq!(names(&got), envelopes.iter().map(named).collect::<Vec<_>>());
    let receipts = peers.receipt(&gp.org, &names(&got));
    receiving.send(Up::Receipts(receipts.clone())).await;
    let notices = sending.notices(1).await;
    assert_eq!(
        notices,
        [(1, Frame::RecipientReceipts(receipts.clone()))],
        "as signed"
    );
    receipt::verify(&peers.signing.public(), &receipts).unwrap();
    assert_eq!((network.count(WAITING).await, network.count(BYTES).await), (0, 0));
    let delivered = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_delivered'";
    assert_eq!(network.count(delivered).await, 3);

    // Not held yet, so it comes again on the next stream; the same receipts again make no second notice.
    receiving.send(Up::Receipts(receipts)).await;
    let mut again = gp.attach().await;
    assert_eq!(again.notices(1).await, notices);
    held(&again, 1).await;
    let slip = gp.slip(&peers);
    let next = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(again.submit(&next).await, [TAKEN]);
    let got = receiving.delivered(1).await;
    receiving
        .send(Up::Receipts(peers.receipt(&gp.org, &names(&got))))
        .await;
    assert_eq!(again.notices(1).await[0].0, 2, "numbers rise");
    held(&again, 2).await;
    held(&again, 1).await;
    while network.count(NOTICES).await > 0 {
        settled(&mut again, &next).await;
    }
}

#[tokio::test]
async fn what_is_not_receipted_comes_again_and_passed_tombstones_do_not() {
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mut sending = gp.attach().await;
    let slip = gp.slip(&peers);
    let mut submission = {
        let envelopes = gp.copies(&gp.envelope(&peers, Referral, &slip), 4);
        gp.submission(&peers, envelopes)
    };
    submission.envelopes.remove(1);
    assert_eq!(sending.submit(&submission).await.len(), 4);
    let blob = gp.envelope(&peers, Blob, &slip);
    assert_eq!(sending.submit(&alone(blob.clone())).await, [TAKEN]);

    let first = peers.attach().await.delivered(5).await;
    assert_eq!(first[1].tombstone, Some(Problem::ConsentWithdrawn));
    assert_eq!((first[4].hash, first[4].number), (envelope_hash(&blob), None));
    let second = peers.attach().await.delivered(5).await;
    assert_eq!(first, second);
    // The node holds all of it, but its receipts were lost: envelopes come again for their receipts, the tombstone does not.
    let received = v1::PairPosition {
        organisation: gp.org.to_string(),
        number: 4,
        envelope_hash: first[3].hash.to_vec(),
    };
    let mut line = peers.attach_holding(vec![received]).await;
    let third = line.delivered(4).await;
    assert!(third.iter().all(|got| got.tombstone.is_none()));
    line.send(Up::Receipts(peers.receipt(&gp.org, &names(&third))))
        .await;
    sending.notices(1).await;
    assert_eq!(network.count(WAITING).await, 0);
}

#[tokio::test]
async fn tombstones_are_let_go_of_when_they_are_listed() {
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mut sending = gp.attach().await;
    let slip = gp.slip(&peers);
    let mut submission = {
        let envelopes = gp.copies(&gp.envelope(&peers, Referral, &slip), 2);
        gp.submission(&peers, envelopes)
    };
    submission.envelopes.remove(0);
    sending.submit(&submission).await;
    let mut line = peers.attach().await;
    let got = line.delivered(2).await;
    line.send(Up::Receipts(peers.receipt(&gp.org, &names(&got))))
        .await;
    sending.notices(1).await;
    assert_eq!(network.count(WAITING).await, 0);
}

#[tokio::test]
async fn a_receipt_for_what_was_not_delivered_to_its_signer_ends_the_stream() {
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mosque = network.node("hope-mosque", 3).await;
    let mut sending = gp.attach().await;
    let sent = send(&mut gp, &peers, &mut sending, 1).await;
    let (id, hash) = named(&sent[0]);
    let mut unsigned = peers.receipt(&gp.org, &[(id, hash)]);
    unsigned.received_at_ms += 1;
    let cases = [
        (&peers, peers.receipt(&gp.org, &[(id, [9; 32])]), Problem::Invalid),
        (
            &peers,
            peers.receipt(&gp.org, &[([9; 16], hash)]),
            Problem::Invalid,
        ),
        (
            &peers,
            peers.receipt(&mosque.org, &[(id, hash)]),
            Problem::Invalid,
        ),
        (&mosque, mosque.receipt(&gp.org, &[(id, hash)]), Problem::Invalid),
        (
            &mosque,
            peers.receipt(&gp.org, &[(id, hash)]),
            Problem::Unauthenticated,
        ),
        (&peers, unsigned, Problem::Unauthenticated),
    ];
    for (who, receipts, problem) in cases {
        let mut line = who.attach().await;
        line.send(Up::Receipts(receipts)).await;
        assert_eq!(line.ended().await.1, problem);
    }
    assert_eq!(
        (network.count(WAITING).await, network.count(NOTICES).await),
        (1, 0)
    );
}

#[tokio::test]
async fn the_newest_stream_wins() {
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mut first = peers.attach().await;
    let mut second = peers.attach().await;
    assert_eq!(first.ended().await, (vec![], Problem::Conflict));
    let mut sending = gp.attach().await;
    send(&mut gp, &peers, &mut sending, 2).await;
    second.delivered(2).await;
}

#[tokio::test]
async fn no_more_is_out_than_may_be_without_a_receipt() {
    const MAX: usize = kith_gateway::limits::DELIVERY_IN_FLIGHT_MAX;
    let network = Network::start(place().await).await;
    let mut gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let mut sending = gp.attach().await;
    send(&mut gp, &peers, &mut sending, MAX + 20).await;
    let mut line = peers.attach().await;
    let got = line.delivered(MAX).await;
    let numbers: Vec<u64> = got.iter().map(|got| got.number.unwrap()).collect();
    assert_eq!(numbers, (1..=MAX as u64).collect::<Vec<_>>());
    // The next to come is what a receipt made room for, and nothing before.
    line.send(Up::Receipts(peers.receipt(&gp.org, &names(&got[..20]))))
        .await;
    let rest = line.delivered(20).await;
    assert_eq!(rest[0].number, Some(MAX as u64 + 1));
    sending.notices(1).await;
    assert_eq!(network.count(WAITING).await, MAX as i64);
}

#[tokio::test]
async fn many_members_send_at_once_and_every_pair_keeps_its_order() {
    let network = Network::start(place().await).await;
    let mut nodes = Vec::new();
    for (seed, org) in (1..).zip(["riverside-gp", "tigrinya-circle", "hope-mosque", "hillcrest"]) {
        nodes.push(network.node(org, seed).await);
    }
    let mut lines = Vec::new();
    for node in &nodes {
        lines.push(node.attach().await);
    }
    let mut sent: BTreeMap<(usize, usize), Vec<[u8; 32]>> = BTreeMap::new();
    for round in 0..12 {
        for (from, line) in lines.iter().enumerate() {
            let to = (from + 1 + round % 3) % 4;
            let [sender, recipient] = nodes.get_disjoint_mut([from, to]).unwrap();
            let slip = sender.slip(recipient);
            let envelopes = sender.copies(&sender.envelope(recipient, Referral, &slip), 5);
            sent.entry((from, to))
                .or_default()
                .extend(envelopes.iter().map(envelope_hash));
            let submission = sender.submission(recipient, envelopes);
            line.send(Up::Submission(submission)).await;
        }
    }
    for (to, line) in lines.iter_mut().enumerate() {
        let (mut taken, mut came) = (0, BTreeMap::<u64, Vec<[u8; 32]>>::new());
        let mut got = 0;
        while taken < 60 || got < 60 {
            match line.next().await {
                Frame::Receipts(receipts) => taken += receipts.envelope_ids.len(),
                Frame::Delivery(delivery) => {
                    for item in &delivery.items {
                        let from = nodes
                            .iter()
                            .position(|node| node.org.as_str() == item.order.as_ref().unwrap().from);
                        let hashes = came.entry(from.unwrap() as u64).or_default();
                        for one in &item.envelopes {
                            match &one.what {
                                Some(What::Envelope(envelope)) => hashes.push(envelope_hash(envelope)),
                                other => panic!("an envelope was awaited, not {other:?}"),
                            }
                        }
                        got += item.envelopes.len();
                    }
                }
                other => panic!("a receipt or mail was awaited, not {other:?}"),
            }
        }
        for (from, hashes) in came {
            assert_eq!(hashes, sent[&(from as usize, to)], "from {from} to {to}");
        }
    }
    assert_eq!(network.count(WAITING).await, 240);
    let positions = "SELECT MAX(position) - MIN(position) + 1 AS n FROM mailbox";
    assert_eq!(network.count(positions).await, 240, "commit order without a gap");
}
