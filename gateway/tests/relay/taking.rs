//! Taking: once and in order, whatever a node repeats, leaves out, forges or gets wrong.

use kith_proto::envelope::{envelope_hash, seal_envelope};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::seal::SealingKey;
use kith_proto::v1::{self, attach_request::Frame as Up};
use kith_proto::words::EnvelopeKind::{Blob, Referral, Withdrawal};

use crate::network::{DAY_MS, START_MS, pair};
use crate::node::{Answered, Got, HeldSlip, Node, alone, later, named, refused};

const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

fn referrals(gp: &Node, to: &Node, slip: &HeldSlip, count: usize) -> Vec<v1::Envelope> {
    (0..count).map(|_| gp.envelope(to, Referral, slip)).collect()
}

#[tokio::test]
async fn what_is_repeated_is_receipted_again_and_delivered_once() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let envelopes = referrals(&gp, &peers, &slip, 3);
    let submission = gp.submission(&peers, envelopes);
    assert_eq!(line.submit(&submission).await, vec![TAKEN; 3]);
    network.hand.advance(5_000);
    assert_eq!(
        line.submit(&submission).await,
        vec![TAKEN; 3],
        "the first time stands"
    );

    // After a break the node goes on from what it knows, which may be less: old lines and a new one in one batch.
    let mut again = gp.attach().await;
    assert_eq!(again.hello.taken.len(), 1);
    assert_eq!(again.hello.taken[0].number, 3);
    let (first, second) = (&submission.envelopes[0], gp.envelope(&peers, Referral, &slip));
    gp.go_back(&peers, Position::at(1, envelope_hash(first)));
    let mixed = vec![
        submission.envelopes[1].clone(),
        submission.envelopes[2].clone(),
        second,
    ];
    let mixed = gp.submission(&peers, mixed);
    let new = Answered::Taken {
        at_ms: START_MS + 5_000,
    };
    assert_eq!(again.submit(&mixed).await, vec![TAKEN, TAKEN, new]);

    let got = peers.attach().await.delivered(4).await;
    let numbers: Vec<_> = got.iter().map(|got| got.number.unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 4);
    let events = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_taken'";
    assert_eq!(network.count(events).await, 4);
}

#[tokio::test]
async fn many_submissions_of_one_pair_in_flight_stay_in_order() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    let mut sent = Vec::new();
    for _ in 0..40 {
        let envelopes = referrals(&gp, &peers, &slip, 3);
        sent.extend(envelopes.iter().map(envelope_hash));
        let submission = gp.submission(&peers, envelopes);
        line.send(Up::Submission(submission)).await;
    }
    let answers = line.answers(120).await;
    assert!(answers.values().all(|answered| *answered == TAKEN));
    let got = peers.attach().await.delivered(120).await;
    let hashes: Vec<_> = got.iter().map(|got| got.hash).collect();
    assert_eq!(hashes, sent);
}

#[tokio::test]
async fn after_a_gap_nothing_is_taken_and_every_number_stays_free() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let first = gp.submission(&peers, referrals(&gp, &peers, &slip, 2));
    let behind = gp.submission(&peers, referrals(&gp, &peers, &slip, 2));
    assert_eq!(line.submit(&behind).await, vec![later(Problem::Unavailable); 2]);
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 0);
    assert_eq!(line.submit(&first).await, vec![TAKEN; 2]);
    assert_eq!(line.submit(&behind).await, vec![TAKEN; 2]);
}

#[tokio::test]
async fn a_fork_ends_the_stream() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let submission = gp.submission(&peers, referrals(&gp, &peers, &slip, 3));
    assert_eq!(line.submit(&submission).await, vec![TAKEN; 3]);
    let forks = [
        Position::START,
        Position::at(1, [9; 32]),
        Position::at(3, [9; 32]),
    ];
    for from in forks {
        gp.go_back(&peers, from);
        let other = gp.submission(&peers, referrals(&gp, &peers, &slip, 2));
        let mut line = gp.attach().await;
        line.send(Up::Submission(other)).await;
        assert_eq!(line.ended().await, (vec![], Problem::Conflict), "{from:?}");
    }
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 3);
}

#[tokio::test]
async fn a_forged_order_and_unreadable_frames_end_the_stream() {
    let (_network, mut gp, peers, slip, _line) = pair().await;
    let good = gp.submission(&peers, referrals(&gp, &peers, &slip, 2));
    let mut forged = good.clone();
    forged.order.as_mut().unwrap().lines[1].number = 9;
    let mut of_another = good.clone();
    of_another.order.as_mut().unwrap().from = "hope-mosque".into();
    let mut unnamed = good.clone();
    unnamed.envelopes.swap(0, 1);
    let mut altered = good.clone();
    altered.envelopes[0].ciphertext = vec![0; 600].into();
    let mut two_alone = good.clone();
    two_alone.order = None;
    let frames = [
        (Up::Submission(forged), Problem::Unauthenticated),
        (Up::Submission(of_another), Problem::Unauthenticated),
        (Up::Submission(unnamed), Problem::Invalid),
        (Up::Submission(altered), Problem::Invalid),
        (Up::Submission(two_alone), Problem::Invalid),
        (Up::Submission(v1::Submission::default()), Problem::Invalid),
        (Up::Hello(v1::NodeHello::default()), Problem::Invalid),
    ];
    for (frame, problem) in frames {
        let mut line = gp.attach().await;
        line.send(frame).await;
        assert_eq!(line.ended().await, (vec![], problem));
    }
    let line = gp.call().await;
    line.send(Up::Submission(good)).await;
    let mut line = line;
    assert_eq!(line.ended().await.1, Problem::Invalid, "hello comes first");
}

#[tokio::test]
async fn a_final_refusal_leaves_a_tombstone_and_the_order_stays_whole() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let good = gp.envelope(&peers, Referral, &slip);
    let outside = gp.seal(&peers, Referral, &slip, |head| head.categories = vec![1, 5]);
    let late = gp.seal(&peers, Referral, &slip, |head| {
        (head.created_at_ms, head.expires_at_ms) = (START_MS - 2 * DAY_MS, START_MS - DAY_MS);
    });
    let astray = gp.seal(&peers, Referral, &slip, |head| head.to = "hope-mosque".into());
    let last = gp.envelope(&peers, Referral, &slip);
    let submission = gp.submission(&peers, vec![good, outside, late, astray, last]);
    let expected = vec![
        TAKEN,
        refused(Problem::CategoryNotAllowed),
        refused(Problem::DeadlineExceeded),
        refused(Problem::Invalid),
        TAKEN,
    ];
    assert_eq!(line.submit(&submission).await, expected);
    assert_eq!(line.submit(&submission).await, expected, "answered as before");
    let got = peers.attach().await.delivered(5).await;
    let order: Vec<_> = got
        .iter()
        .map(|got| (got.number.unwrap(), got.tombstone))
        .collect();
    let dead = |problem| Some(problem);
    let expected = [
        (1, None),
        (2, dead(Problem::CategoryNotAllowed)),
        (3, dead(Problem::DeadlineExceeded)),
        (4, dead(Problem::Invalid)),
        (5, None),
    ];
    assert_eq!(order, expected);
    let events = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_refused'";
    assert_eq!(network.count(events).await, 3);
}

#[tokio::test]
async fn a_stale_key_frees_its_number_and_all_behind_it() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    let first = gp.envelope(&peers, Referral, &slip);
    let stale = gp.envelope(&peers, Referral, &slip);
    let head = {
        use prost::Message as _;
        v1::Head::decode(&*stale.head).unwrap()
    };
    let body = v1::Body {
        person_salt: vec![4; 32],
        person_id: vec![5; 16],
        body: Some(v1::body::Body::Referral(v1::Referral::default())),
    };
    let old = SealingKey::from_seed([77; 32]).unwrap();
    let sealed_to_old = seal_envelope(head, &body, old.public(), &gp.signing, &[1; 64])
        .unwrap()
        .into_envelope();
    let last = gp.envelope(&peers, Referral, &slip);
    let taken_until = Position::at(1, envelope_hash(&first));
    let submission = gp.submission(&peers, vec![first, sealed_to_old, last.clone()]);
    let behind = gp.submission(&peers, referrals(&gp, &peers, &slip, 1));
    line.send(Up::Submission(submission.clone())).await;
    line.send(Up::Submission(behind)).await;
    let answers = line.answers(4).await;
    let problems: Vec<_> = answers
        .values()
        .filter(|answered| **answered != TAKEN)
        .cloned()
        .collect();
    assert_eq!(problems.len(), 3);
    assert_eq!(
        answers[&envelope_hash(&submission.envelopes[1])],
        later(Problem::StaleKey)
    );
    assert_eq!(answers[&envelope_hash(&last)], later(Problem::Unavailable));

    gp.go_back(&peers, taken_until);
    let sealed_anew = gp.submission(&peers, vec![stale, last]);
    assert_eq!(
        line.submit(&sealed_anew).await,
        vec![TAKEN; 2],
        "under the same id"
    );
    let got = peers.attach().await.delivered(3).await;
    assert!(got.iter().all(|got| got.tombstone.is_none()));
}

#[tokio::test]
async fn a_withheld_line_becomes_a_tombstone() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    let mut submission = gp.submission(&peers, referrals(&gp, &peers, &slip, 3));
    let withheld = submission.envelopes.remove(1);
    let expected = vec![TAKEN, refused(Problem::ConsentWithdrawn), TAKEN];
    assert_eq!(line.submit(&submission).await, expected);
    submission.envelopes.insert(1, withheld.clone());
    assert_eq!(
        line.submit(&submission).await,
        expected,
        "also when it comes after all"
    );
    let got = peers.attach().await.delivered(3).await;
    assert_eq!(
        (got[1].hash, got[1].tombstone),
        (envelope_hash(&withheld), Some(Problem::ConsentWithdrawn))
    );
}

#[tokio::test]
async fn an_id_is_never_taken_for_two_envelopes() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let first = gp.envelope(&peers, Referral, &slip);
    let (id, _) = named(&first);
    let twin = gp.seal(&peers, Referral, &slip, |head| head.envelope_id = id.to_vec());
    let again = first.clone();
    let submission = gp.submission(&peers, vec![first, twin]);
    line.send(Up::Submission(submission.clone())).await;
    let answers = line.answers(2).await;
    // The same envelope once more, in a batch of its own, as one batch names it once: it has its first answer, and no second effect.
    let once_more = gp.submission(&peers, vec![again]);
    line.send(Up::Submission(once_more)).await;
    assert_eq!(line.answers(1).await.into_values().next(), Some(TAKEN));
    let (taken_hash, twin_hash) = (
        envelope_hash(&submission.envelopes[0]),
        envelope_hash(&submission.envelopes[1]),
    );
    assert_eq!(answers[&twin_hash], refused(Problem::Conflict));
    let got = peers.attach().await.delivered(3).await;
    let whole: Vec<_> = got.iter().filter(|got| got.tombstone.is_none()).collect();
    assert_eq!(
        whole,
        [&Got {
            id,
            hash: taken_hash,
            number: Some(1),
            tombstone: None
        }]
    );
    let stand_in = |got: &Got| got.id != id && got.tombstone == Some(Problem::Conflict);
    assert!(
        got[1..].iter().all(stand_in),
        "the first envelope's own id has no tombstone"
    );

    let blob = gp.envelope(&peers, Blob, &slip);
    let (blob_id, _) = named(&blob);
    let other = gp.seal(&peers, Blob, &slip, |head| head.envelope_id = blob_id.to_vec());
    assert_eq!(line.submit(&alone(blob.clone())).await, [TAKEN]);
    assert_eq!(line.submit(&alone(other)).await, [refused(Problem::Conflict)]);
    assert_eq!(line.submit(&alone(blob)).await, [TAKEN]);
    assert_eq!(
        network
            .count("SELECT COUNT(*) AS n FROM mailbox WHERE number IS NULL")
            .await,
        1
    );
}

#[tokio::test]
async fn what_stands_outside_the_order_goes_alone_and_what_stands_in_it_does_not() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal.clone())).await, [TAKEN]);
    let referral = gp.envelope(&peers, Referral, &slip);
    assert_eq!(line.submit(&alone(referral)).await, [refused(Problem::Invalid)]);
    let numbered = gp.envelope(&peers, Withdrawal, &slip);
    let numbered = gp.submission(&peers, vec![numbered]);
    assert_eq!(line.submit(&numbered).await, [refused(Problem::Invalid)]);
    let got = peers.attach().await.delivered(2).await;
    assert_eq!((got[0].hash, got[0].number), (envelope_hash(&withdrawal), None));
    assert_eq!(
        (got[1].number, got[1].tombstone),
        (Some(1), Some(Problem::Invalid))
    );
}

#[tokio::test]
async fn for_nobody_and_for_a_strangers_slip_there_is_a_refusal() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    let stranger = Node::new(
        "nobody-here".parse().unwrap(),
        key(9),
        sealing(9),
        gp_channel(&gp),
        network.gateway_key,
    );
    let own = gp.slip(&stranger);
    let lost = gp.envelope(&stranger, Referral, &own);
    let lost = gp.submission(&stranger, vec![lost]);
    assert_eq!(line.submit(&lost).await, [refused(Problem::NotAMember)]);
    let of_others = gp.envelope(&mosque, Referral, &slip);
    let of_others = gp.submission(&mosque, vec![of_others]);
    assert_eq!(
        line.submit(&of_others).await,
        [refused(Problem::RecipientNotAllowed)]
    );

    // The id of a slip that the gate has seen cannot be given to another slip.
    let seen = gp.submission(&peers, referrals(&gp, &peers, &slip, 1));
    assert_eq!(line.submit(&seen).await, [TAKEN]);
    let mut stolen = gp.slip(&mosque);
    stolen.slip.id = slip.slip.id;
    stolen.signed = kith_proto::slip::SignedSlip::issue(&stolen.slip, &gp.signing).unwrap();
    let stolen = gp.envelope(&mosque, Referral, &stolen);
    let stolen = gp.submission(&mosque, vec![stolen]);
    assert_eq!(line.submit(&stolen).await, [refused(Problem::Invalid)]);
}

/// Whoever joins later, or whom a replica does not know yet, finds the order of the pair whole.
#[tokio::test]
async fn a_member_that_joins_after_a_line_for_it_was_refused_gets_the_tombstone_and_what_follows() {
    let (network, mut gp, _peers, _slip, mut line) = pair().await;
    let early = Node::new(
        "hope-mosque".parse().unwrap(),
        key(3),
        sealing(3),
        gp_channel(&gp),
        network.gateway_key,
    );
    let slip = gp.slip(&early);
    let lost = referrals(&gp, &early, &slip, 1);
    let lost = gp.submission(&early, lost);
    assert_eq!(line.submit(&lost).await, [refused(Problem::NotAMember)]);
    let mosque = network.node("hope-mosque", 3).await;
    let slip = gp.slip(&mosque);
    let next = referrals(&gp, &mosque, &slip, 1);
    let next = gp.submission(&mosque, next);
    assert_eq!(line.submit(&next).await, [TAKEN]);
    let got = mosque.attach().await.delivered(2).await;
    assert_eq!(
        (got[0].number, got[0].tombstone),
        (Some(1), Some(Problem::NotAMember))
    );
    assert_eq!((got[1].number, got[1].tombstone), (Some(2), None));
}

fn key(seed: u8) -> kith_proto::sign::SigningKey {
    kith_proto::sign::SigningKey::from_seed([seed; 32]).unwrap()
}

fn sealing(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32]).unwrap()
}

fn gp_channel(gp: &Node) -> tonic::transport::Channel {
    gp.channel()
}
