//! What leaves: in the order of each pair, exactly once, settled after the gateway's and the recipient's signed words.
//! Never a row that is forgotten, never a word that counts twice.

use kith_proto::envelope::{self, envelope_hash};
use kith_proto::lifecycle::State;
use kith_proto::order;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::sign::SigningKey;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self, OrderBatch};

use crate::gateway::{Attached, T0, head};
use crate::host::Story;
use crate::peer::position;

const SENT: &str = "SELECT state FROM referral WHERE side = 'sent' ORDER BY arrival";
const DELIVERY: &str = "SELECT delivery FROM referral WHERE side = 'sent' ORDER BY arrival";
const OUTBOX: &str = "SELECT state FROM outbox ORDER BY seq";
const NUMBERS: &str = "SELECT COALESCE(CAST(number AS TEXT), '-') FROM outbox ORDER BY seq";

/// The numbers of a submission's lines, which the node must have signed.
fn numbers(story: &Story, submission: &v1::Submission) -> Vec<u64> {
    let order = signed(story, submission);
    order.lines.iter().map(|line| line.number).collect()
}
fn signed<'a>(story: &Story, submission: &'a v1::Submission) -> &'a OrderBatch {
    let order = submission.order.as_ref().expect("kinds of the order have lines");
    let node = &story.host.node;
    order::verify(
        &node.keys.signing.public(),
        node.organisation(),
        &order.to.parse().unwrap(),
        order,
    )
    .unwrap();
    order
}
/// The envelopes of submissions, in order.
fn envelopes(submissions: &[v1::Submission]) -> Vec<v1::Envelope> {
    submissions.iter().flat_map(|one| one.envelopes.clone()).collect()
}
#[tokio::test]
async fn what_was_taken_without_an_answer_is_submitted_again_as_it_was() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    story.host.node.members.get(&peer.org);
    let consent = story.consent(&mut stream, &[&peer]).await;
    for _ in 0..3 {
        story.host.refer(&peer, consent).await;
    }
    let first = envelopes(&stream.submissions(3).await);
    assert_eq!(first.len(), 3);
    // The gateway takes all three, signs for the first, and the stream breaks.
    stream.take(&first[..1]).await;
    story.host.until(DELIVERY, &["taken", "queued", "queued"]).await;
    stream.break_off().await;
    let taken = position(&peer.org, 3, envelope_hash(&first[2]));
    let mut stream = story.gateway.greeted(vec![taken]).await;
    let again = stream.submissions(2).await;
    assert_eq!(numbers(&story, &again[0]), [2, 3]);
    assert_eq!(
        signed(&story, &again[0]).lines[0].previous_hash,
        envelope_hash(&first[0])
    );
    assert_eq!(envelopes(&again), first[1..]);
    stream.take(&first[1..]).await;
    story.host.until(DELIVERY, &["taken", "taken", "taken"]).await;
    story = story.restart().await;
    let taken = position(&peer.org, 3, envelope_hash(&first[2]));
    let mut stream = story.gateway.greeted(vec![taken]).await;
    story.host.refer(&peer, consent).await;
    assert_eq!(
        numbers(&story, &stream.submission().await),
        [4],
        "and never again"
    );
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'envelope_taken'";
    assert_eq!(story.host.number(trail).await, 3);
}
#[tokio::test]
async fn a_final_refusal_uses_its_number_and_ends_its_referral() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(2).await);
    stream.take(&sent[1..]).await;
    stream.refuse(&sent[0], Problem::CategoryNotAllowed, 0).await;
    story.host.until(SENT, &["cancelled", "sent"]).await;
    assert_eq!(story.host.words(DELIVERY).await, ["undelivered", "taken"]);
    assert_eq!(
        story
            .host
            .words("SELECT problem FROM referral ORDER BY arrival")
            .await,
        ["category_not_allowed", ""]
    );
    assert_eq!(story.host.words(NUMBERS).await, ["1", "2"]);
    assert_eq!(story.host.number("SELECT number FROM pair_sent").await, 2);
    assert_eq!(
        story.host.number("SELECT COUNT(*) FROM outbox_envelope").await,
        1,
        "refused bytes are let go"
    );
}
#[tokio::test]
async fn a_refusal_that_is_not_final_pauses_its_pair_alone() {
    let mut story = Story::begin().await;
    let (peer, other) = (story.peer("riverside-gp"), story.peer("hillcrest-school"));
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer, &other]).await;
    story.host.refer(&peer, consent).await;
    story.host.refer(&peer, consent).await;
    let full = envelopes(&stream.submissions(2).await);
    for envelope in &full {
        stream.refuse(envelope, Problem::Unavailable, 30_000).await;
    }
    story.host.refer(&peer, consent).await;
    story.host.refer(&other, consent).await;
    let next = stream.submission().await;
    assert_eq!(
        signed(&story, &next).to,
        "hillcrest-school",
        "the full pair waits"
    );
    stream.take(&next.envelopes).await;
    story.time.advance(30_001);
    story.host.node.outbox_ready.notify_one();
    let again = stream.submissions(3).await;
    let lines: Vec<u64> = again.iter().flat_map(|one| numbers(&story, one)).collect();
    assert_eq!(lines, [1, 2, 3], "numbers that were not used up are used now");
    assert_eq!(envelopes(&again)[..2], full);
    stream.take(&envelopes(&again)).await;
    story.host.until(DELIVERY, &["taken"; 4]).await;
}
#[tokio::test]
async fn a_stale_key_is_cured_by_sealing_again_under_the_same_id() {
    let mut story = Story::begin().await;
    let mut peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let old = envelopes(&stream.submissions(1).await).remove(0);
    story.time.advance(10);
    peer.rotate(&story.gateway, T0 + 10);
    stream
        .send(Down::MembersChanged(v1::MembersChanged { cursor: 2 }))
        .await;
    story.known(&peer).await;
    stream.refuse(&old, Problem::StaleKey, 1).await;
    story.resealed(&old).await;
    story.time.advance(10);
    story.host.node.outbox_ready.notify_one();
    let new = envelopes(&stream.submissions(1).await).remove(0);
    assert_eq!(head(&new).envelope_id, head(&old).envelope_id);
    assert_ne!(head(&new).sealing_key_id, head(&old).sealing_key_id);
    let key = story.host.node.keys.signing.public();
    let verified = envelope::verify(&new, |_| Some(key)).unwrap();
    let body = envelope::open(&verified, &peer.sealing).unwrap();
    assert!(matches!(body.body, Some(v1::body::Body::Referral(_))));
    stream.take(&[new]).await;
    story.host.until(DELIVERY, &["taken"]).await;
}

#[tokio::test]
async fn a_clock_that_is_more_than_an_hour_off_sends_nothing() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    stream.submission().await;
    stream.break_off().await;
    let mut stream = story.gateway.attached().await;
    stream.greet(vec![], 60 * 60 * 1000 + 1).await;
    assert!(stream.is_left().await, "nothing is sent");
    story.host.link_is("clock_off").await;
    assert_eq!(
        story.host.words("SELECT problem FROM link_state").await,
        ["clock_off"]
    );
}

#[tokio::test]
async fn recipients_receipts_move_the_thread_and_are_held_after_the_commit() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    for _ in 0..2 {
        story.host.refer(&peer, consent).await;
    }
    let sent = envelopes(&stream.submissions(2).await);
    stream.take(&sent).await;
    let forged = peer.receipts(&sent, None, &SigningKey::from_seed([8; 32]).unwrap());
    stream.notice(1, Down::RecipientReceipts(forged)).await;
    assert_eq!(stream.held().await, 1, "a forgery does not stand in the way");
    assert_eq!(
        story.host.words(SENT).await,
        ["sent", "sent"],
        "and counts for nothing"
    );
    let first = peer.receipts(&sent[..1], None, &peer.signing);
    stream.notice(2, Down::RecipientReceipts(first.clone())).await;
    assert_eq!(stream.held().await, 2);
    assert_eq!(story.host.words(SENT).await, ["received", "sent"]);
    assert_eq!(story.host.words(DELIVERY).await[0], "delivered");
    let deadline = story
        .host
        .number("SELECT deadline_ms FROM referral WHERE state = 'received'")
        .await;
    assert_eq!(deadline, T0 + 5_000 + 7 * crate::gateway::DAY_MS);
    stream.break_off().await;
    let taken = position(&peer.org, 2, envelope_hash(&sent[1]));
    let mut stream = story.gateway.greeted(vec![taken]).await;
    stream.notice(2, Down::RecipientReceipts(first)).await;
    assert_eq!(stream.held().await, 2, "the same notice again");
    let refused = peer.receipts(&sent[1..], Some(Problem::CategoryNotAllowed), &peer.signing);
    stream.notice(3, Down::RecipientReceipts(refused)).await;
    assert_eq!(stream.held().await, 3);
    assert_eq!(story.host.words(SENT).await, ["received", "cancelled"]);
    assert_eq!(story.host.words(OUTBOX).await, ["delivered", "refused"]);
    assert_eq!(
        story
            .host
            .words("SELECT problem FROM referral WHERE state = 'cancelled'")
            .await,
        ["category_not_allowed"]
    );
    assert_eq!(
        story
            .host
            .number("SELECT COUNT(*) FROM event WHERE move = 'receive'")
            .await,
        1
    );
    let trail = "SELECT COUNT(*) FROM audit_event WHERE code = 'envelope_delivered'";
    assert_eq!(story.host.number(trail).await, 2);
    let kept = "SELECT COUNT(*) FROM outbox_envelope";
    assert_eq!(story.host.number(kept).await, 1, "the delivered one");
}

#[tokio::test]
async fn a_receipt_that_overtakes_the_gateways_does_not_lose_the_number() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(1).await);
    stream
        .notice(
            1,
            Down::RecipientReceipts(peer.receipts(&sent, None, &peer.signing)),
        )
        .await;
    assert_eq!(stream.held().await, 1);
    stream.break_off().await;
    let taken = position(&peer.org, 1, envelope_hash(&sent[0]));
    let mut stream = story.gateway.greeted(vec![taken]).await;
    story.host.refer(&peer, consent).await;
    let again = stream.submissions(2).await;
    let lines: Vec<u64> = again.iter().flat_map(|one| numbers(&story, one)).collect();
    assert_eq!(lines, [1, 2]);
    stream.take(&envelopes(&again)).await;
    story.host.until(DELIVERY, &["delivered", "taken"]).await;
    assert_eq!(story.host.words(NUMBERS).await, ["1", "2"]);
    assert_eq!(story.host.words(SENT).await, ["received", "sent"]);
}

#[tokio::test]
async fn a_drop_ends_a_referral_that_was_taken() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(1).await);
    stream.take(&sent).await;
    story.host.until(DELIVERY, &["taken"]).await;
    let dropped = v1::Dropped {
        envelope_id: head(&sent[0]).envelope_id.as_bytes().to_vec(),
        envelope_hash: envelope_hash(&sent[0]).to_vec(),
        number: 1,
        problem: Problem::DeadlineExceeded.number(),
        dropped_at_ms: T0 + 30,
        signature: Vec::new(),
    };
    let dropped = story.gateway.inner.sign(dropped);
    for number in [1, 1] {
        stream.notice(number, Down::Dropped(dropped.clone())).await;
        assert_eq!(stream.held().await, 1);
    }
    assert_eq!(story.host.words(SENT).await, [State::Cancelled.as_str()]);
    assert_eq!(
        story
            .host
            .number("SELECT COUNT(*) FROM event WHERE move = 'drop'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_forged_word_of_the_gateway_ends_the_stream_and_counts_for_nothing() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(1).await);
    let mut receipts = v1::GatewayReceipts {
        envelope_ids: vec![head(&sent[0]).envelope_id.as_bytes().to_vec()],
        envelope_hashes: vec![envelope_hash(&sent[0]).to_vec()],
        taken_at_ms: T0,
        signature: Vec::new(),
    };
    receipt::sign(&SigningKey::from_seed([8; 32]).unwrap(), &mut receipts).unwrap();
    stream.send(Down::Receipts(receipts)).await;
    assert!(stream.is_left().await);
    assert_eq!(story.host.words(DELIVERY).await, ["queued"]);
}

#[tokio::test]
async fn a_gateway_that_lost_all_of_a_pair_gets_it_again_from_the_beginning() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(1).await);
    stream.take(&sent).await;
    story.host.until(DELIVERY, &["taken"]).await;
    stream.break_off().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    story.host.refer(&peer, consent).await;
    let again = stream.submissions(2).await;
    assert_eq!(envelopes(&again)[..1], sent);
}

#[tokio::test]
async fn a_withdrawn_row_leaves_its_line_without_its_envelope_and_the_stop_is_told_until_it_is_heard() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    stream.break_off().await;
    let mut late = story.gateway.attached().await;
    story.host.refer(&peer, consent).await;
    story.withdraw(consent.1).await;
    late.greet(vec![], 0).await;
    let (mut withheld, mut stops, mut withdrawals) = (0, 0, 0);
    while (withheld, stops, withdrawals) != (1, 1, 1) {
        match late.next().await {
            Up::Stop(stop) => {
                receipt::verify(&story.host.node.keys.signing.public(), &stop).unwrap();
                stops += 1;
            }
            Up::Submission(one) if one.order.is_some() => {
                assert_eq!((numbers(&story, &one), one.envelopes.len()), (vec![1], 0));
                withheld += 1;
            }
            Up::Submission(one) => {
                assert_eq!(
                    head(&one.envelopes[0]).kind,
                    kith_proto::words::EnvelopeKind::Withdrawal
                );
                withdrawals += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    late.break_off().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    let stop = story.stop(&mut stream).await;
    let stopped = v1::SlipStopped {
        slip_id: stop.slip_id.clone(),
        stopped_at_ms: T0,
        by_secret: false,
    };
    stream.notice(1, Down::Stopped(stopped)).await;
    story.told_held(&mut stream, 1).await;
    assert_eq!(story.host.words("SELECT stop_state FROM slip").await, ["done"]);
    assert_eq!(story.host.words(SENT).await, ["withdrawn"]);
}

#[tokio::test]
async fn a_slip_that_the_person_stopped_is_cut_here_too() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    story.host.refer(&peer, consent).await;
    let sent = envelopes(&stream.submissions(1).await);
    stream.take(&sent).await;
    let kith_proto::envelope::Ground::Slip { claimed, .. } = head(&sent[0]).ground else {
        panic!("no slip");
    };
    let stopped = v1::SlipStopped {
        slip_id: claimed.id.as_bytes().to_vec(),
        stopped_at_ms: T0 + 9,
        by_secret: true,
    };
    for _ in 0..2 {
        stream.notice(1, Down::Stopped(stopped.clone())).await;
        assert_eq!(stream.held().await, 1);
    }
    assert_eq!(story.host.words(SENT).await, ["withdrawn"]);
    assert_eq!(story.host.words("SELECT state FROM slip").await, ["withdrawn"]);
    let keys = "SELECT COUNT(*) FROM holding WHERE kind = 'slip' AND wrapped_key IS NOT NULL";
    assert_eq!(story.host.number(keys).await, 0);
    assert_eq!(story.host.number("SELECT COUNT(*) FROM outbox_envelope").await, 0);
}

impl Story {
    /// Has the node know these members, then records a person and their consent.
    pub(crate) async fn consent(
        &self,
        stream: &mut Attached,
        peers: &[&crate::peer::Peer],
    ) -> (kith_proto::id::PersonId, kith_proto::id::GrantId) {
        stream
            .send(Down::MembersChanged(v1::MembersChanged { cursor: 1 }))
            .await;
        for peer in peers {
            self.known(peer).await;
        }
        self.host.consent(peers).await
    }
    /// Waits until the node knows a member's newest key, and believes it.
    pub(crate) async fn known(&self, peer: &crate::peer::Peer) {
        let knows = || {
            let newest = self.host.node.members.keys_of(&peer.org, i64::MAX);
            newest.is_some_and(|keys| keys.sealing_key == *peer.sealing.public())
        };
        let wait = async {
            while !knows() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::gateway::PATIENCE, wait)
            .await
            .expect("directory and log are read in time");
    }
    /// Waits until a queued envelope was sealed again.
    async fn resealed(&self, old: &v1::Envelope) {
        let hash = envelope_hash(old);
        let wait = async {
            let text = "SELECT COUNT(*) FROM outbox WHERE envelope_hash = $1";
            while self.host.number_of(text, |q| q.bind(hash.to_vec())).await > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::gateway::PATIENCE, wait)
            .await
            .expect("it is sealed again in time");
    }
    pub(crate) async fn withdraw(&self, grant_id: kith_proto::id::GrantId) {
        let request_id = kith_proto::id::RequestId::from_bytes(crate::peer::random());
        let request = v1::WithdrawGrantRequest {
            grant_id: grant_id.as_bytes().to_vec(),
            ..v1::WithdrawGrantRequest::default()
        };
        let new = kith_node::withdrawals::NewWithdrawal {
            asked: kith_node::requests::Asked::new("withdraw_grant", request_id, &request),
            caller: self.host.caller(),
            grant_id,
            scope: kith_node::withdrawals::Scope::Consent,
            invalidated: false,
        };
        kith_node::withdrawals::withdraw(&self.host.node, &new)
            .await
            .unwrap();
    }
    /// The next stop notice; what else the node says before is passed over.
    async fn stop(&self, stream: &mut Attached) -> v1::StopNotice {
        loop {
            if let Up::Stop(stop) = stream.next().await {
                return stop;
            }
        }
    }
    /// Waits until the node holds a notice; what else it says before is passed over.
    pub(crate) async fn told_held(&self, stream: &mut Attached, number: u64) {
        loop {
            if let Up::NoticesHeld(held) = stream.next().await {
                assert_eq!(held.number, number);
                return;
            }
        }
    }
}
