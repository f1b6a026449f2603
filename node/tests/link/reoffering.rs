//! Sending again: to a member that came back from a backup, and through a gateway that did. Under the same numbers and hashes, without a
//! second effect here, and nothing whose consent has ended meanwhile.

use kith_node::grants::Allowed;
use kith_node::requests::Asked;
use kith_node::store::slip_link;
use kith_node::withdrawals::{self, NewNarrowing};
use kith_proto::envelope::envelope_hash;
use kith_proto::order;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self, PairPosition};
use kith_proto::words::{Category, Purpose};
use kith_service::store::{StoreError, Tx, query};

use crate::gateway::{Attached, DAY_MS, PATIENCE, T0};
use crate::host::Story;
use crate::peer::{Peer, position, random};

const DELIVERY: &str = "SELECT delivery FROM referral WHERE side = 'sent' ORDER BY arrival";
const OUTBOX: &str = "SELECT state FROM outbox ORDER BY seq";
const TAKEN: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'envelope_taken'";
/// Bytes of what is no withdrawal.
const MAIL: &str =
    "SELECT COUNT(*) FROM outbox_envelope e JOIN outbox o ON o.seq = e.seq WHERE o.kind <> 'withdrawal'";
const BYTES: &str = "SELECT COUNT(*) FROM outbox_envelope";

/// The numbers and hashes of a submission's lines, which this node signed.
pub(crate) fn lines(story: &Story, submission: &v1::Submission) -> Vec<(u64, Vec<u8>)> {
    let order = submission.order.as_ref().expect("a line");
    let node = &story.host.node;
    let to = order.to.parse().unwrap();
    order::verify(&node.keys.signing.public(), node.organisation(), &to, order).unwrap();
    let line = |line: &v1::OrderLine| (line.number, line.envelope_hash.clone());
    order.lines.iter().map(line).collect()
}

pub(crate) fn hash(envelope: &v1::Envelope) -> Vec<u8> {
    envelope_hash(envelope).to_vec()
}

pub(crate) fn at(peer: &Peer, number: usize, sent: &[v1::Envelope]) -> PairPosition {
    match number.checked_sub(1) {
        Some(last) => position(&peer.org, number as u64, envelope_hash(&sent[last])),
        None => PairPosition {
            organisation: peer.org.to_string(),
            ..PairPosition::default()
        },
    }
}

pub(crate) fn reoffer(peer: &Peer, held: Option<PairPosition>) -> v1::Reoffer {
    v1::Reoffer {
        organisation: peer.org.to_string(),
        restore_id: random::<16>().to_vec(),
        held,
        since_ms: T0 - DAY_MS,
    }
}

/// Three referrals that were sent, of which the gateway has taken the first `taken`.
pub(crate) async fn sent(
    taken: usize,
) -> (Story, Peer, Attached, Vec<v1::Envelope>, kith_proto::id::GrantId) {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let consent = story.consent(&mut stream, &[&peer]).await;
    for _ in 0..3 {
        story.host.refer(&peer, consent).await;
    }
    let submissions = stream.submissions(3).await;
    let sent: Vec<v1::Envelope> = submissions.into_iter().flat_map(|one| one.envelopes).collect();
    if taken > 0 {
        stream.take(&sent[..taken]).await;
    }
    let delivery: Vec<&str> = (0..3)
        .map(|n| if n < taken { "taken" } else { "queued" })
        .collect();
    story.host.until(DELIVERY, &delivery).await;
    (story, peer, stream, sent, consent.1)
}

/// Waits until a count of the node's store comes to a number.
pub(crate) async fn reaches(story: &Story, text: &'static str, number: i64) {
    let wait = async {
        while story.host.number(text).await != number {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it comes to it in time");
}

/// Tells the node, which leaves; gives the next stream, which begins further back.
pub(crate) async fn told(
    story: &mut Story,
    mut stream: Attached,
    frame: v1::Reoffer,
    taken: PairPosition,
) -> Attached {
    stream.notice(7, Down::Reoffer(frame)).await;
    let left = async { while let Ok(Some(_)) = stream.up.message().await {} };
    tokio::time::timeout(PATIENCE, left)
        .await
        .expect("the node leaves");
    story.gateway.greeted(vec![taken]).await
}

#[tokio::test]
async fn a_restored_member_gets_again_what_it_lost_and_nothing_happens_twice() {
    let (mut story, peer, mut stream, sent, _) = sent(3).await;
    let receipts = peer.receipts(&sent[..2], None, &peer.signing);
    stream.notice(1, Down::RecipientReceipts(receipts.clone())).await;
    assert_eq!(stream.held().await, 1);
    assert_eq!(story.host.number(BYTES).await, 3, "kept for a month");
    let wish = reoffer(&peer, Some(at(&peer, 1, &sent)));
    let mut stream = told(&mut story, stream, wish.clone(), at(&peer, 3, &sent)).await;
    assert_eq!(story.host.number("SELECT number FROM pair_sent").await, 1);
    let again = stream.submissions(2).await;
    assert_eq!(
        lines(&story, &again[0]),
        [(2, hash(&sent[1])), (3, hash(&sent[2]))]
    );
    assert_eq!(again[0].envelopes, sent[1..]);
    stream.take(&sent[1..]).await;
    reaches(&story, "SELECT number FROM pair_sent", 3).await;
    // The same notice again: nothing goes back a second time, nor is it said that there is nothing.
    stream.notice(7, Down::Reoffer(wish)).await;
    assert_eq!(stream.held().await, 7);
    assert_eq!(story.host.number("SELECT number FROM pair_sent").await, 3);
    stream.notice(8, Down::RecipientReceipts(receipts)).await;
    assert_eq!(stream.held().await, 8, "and the stream stays open");
    assert_eq!(
        story.host.words(OUTBOX).await,
        ["delivered", "delivered", "taken"]
    );
    assert_eq!(
        story.host.words(DELIVERY).await,
        ["delivered", "delivered", "taken"]
    );
    assert_eq!(story.host.number(TAKEN).await, 3);
    let returning = "SELECT COUNT(*) FROM returning_to WHERE peer = 'riverside-gp'";
    assert_eq!(story.host.number(returning).await, 1);
    let lowest = "SELECT MIN(number) FROM outbox";
    assert_eq!(story.host.number(lowest).await, 1, "all have their numbers again");
}

#[tokio::test]
async fn answers_that_come_after_the_wish_move_nothing_on() {
    let (mut story, peer, mut stream, sent, _) = sent(1).await;
    stream
        .notice(7, Down::Reoffer(reoffer(&peer, Some(at(&peer, 0, &sent)))))
        .await;
    let receipts = v1::GatewayReceipts {
        envelope_ids: sent[1..]
            .iter()
            .map(|one| crate::gateway::head(one).envelope_id.as_bytes().to_vec())
            .collect(),
        envelope_hashes: sent[1..].iter().map(hash).collect(),
        taken_at_ms: T0,
        signature: Vec::new(),
    };
    let frame = Some(Down::Receipts(story.gateway.inner.sign(receipts)));
    let late = v1::AttachResponse {
        frame,
        notice_number: 0,
    };
    // The node may have left by then.
    stream.down.send(Ok(late)).await.ok();
    let mut stream = story.gateway.greeted(vec![at(&peer, 3, &sent)]).await;
    let again = stream.submissions(3).await;
    let all: Vec<_> = again.iter().flat_map(|one| lines(&story, one)).collect();
    assert_eq!(
        all,
        [(1, hash(&sent[0])), (2, hash(&sent[1])), (3, hash(&sent[2]))]
    );
    stream.take(&sent).await;
    story.host.until(DELIVERY, &["taken"; 3]).await;
    assert_eq!(story.host.number(TAKEN).await, 3);
}

#[tokio::test]
async fn after_a_withdrawal_no_bytes_remain_and_the_lines_go_without_them() {
    let (mut story, peer, mut stream, sent, grant) = sent(3).await;
    let receipts = peer.receipts(&sent[..1], None, &peer.signing);
    stream.notice(1, Down::RecipientReceipts(receipts)).await;
    assert_eq!(stream.held().await, 1);
    story.withdraw(grant).await;
    let (mut stop, mut withdrawal) = (false, None);
    while !stop || withdrawal.is_none() {
        match stream.next().await {
            Up::Stop(_) => stop = true,
            Up::Submission(one) => withdrawal = one.envelopes.into_iter().next(),
            other => panic!("{other:?}"),
        }
    }
    let withdrawal = withdrawal.unwrap();
    stream.take(std::slice::from_ref(&withdrawal)).await;
    assert_eq!(story.host.number(MAIL).await, 0, "no byte of the slip's mail");
    let settled = "SELECT COUNT(*) FROM slip WHERE withdrawal_sent_at_ms IS NOT NULL";
    reaches(&story, settled, 1).await;
    // Later the gateway stops the slip; and loses that, as a later epoch of its log shows.
    let done = |mut tx: Tx| async move { tx.run(query("UPDATE slip SET stop_state = 'done'")).await };
    let done = story
        .host
        .node
        .store
        .tx::<_, StoreError, _, _>("test", done)
        .await;
    assert_eq!(done.unwrap(), 1);
    for (since_ms, told) in [(T0 + 1, 0), (T0, 1)] {
        let again = |mut tx: Tx| async move { slip_link::stops_again(&mut tx, since_ms).await };
        let store = &story.host.node.store;
        let count = store.tx::<_, StoreError, _, _>("test", again).await;
        assert_eq!(count.unwrap(), told);
    }
    assert_eq!(story.host.words("SELECT stop_state FROM slip").await, ["pending"]);
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let (mut all, mut loose) = (Vec::new(), Vec::new());
    while all.len() < 3 || loose.is_empty() {
        match stream.next().await {
            Up::Submission(one) if one.order.is_some() => {
                assert_eq!(one.envelopes, Vec::<v1::Envelope>::new());
                all.extend(lines(&story, &one));
            }
            Up::Submission(one) => loose.extend(one.envelopes),
            Up::Stop(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        all,
        [(1, hash(&sent[0])), (2, hash(&sent[1])), (3, hash(&sent[2]))]
    );
    assert_eq!(loose, [withdrawal], "what ends things is sent again");
}

#[tokio::test]
async fn a_gateway_that_was_restored_gets_again_what_it_lost() {
    let (mut story, peer, mut stream, sent, _) = sent(3).await;
    let receipts = peer.receipts(&sent[1..2], None, &peer.signing);
    stream.notice(900, Down::RecipientReceipts(receipts)).await;
    assert_eq!(stream.held().await, 900);
    stream.break_off().await;
    let mut stream = story.gateway.greeted(vec![at(&peer, 1, &sent)]).await;
    let again = stream.submissions(2).await;
    assert_eq!(
        lines(&story, &again[0]),
        [(2, hash(&sent[1])), (3, hash(&sent[2]))]
    );
    assert_eq!(again[0].envelopes, sent[1..]);
    stream.take(&sent[1..]).await;
    // Its notices count from a lower number: they are heard.
    let receipts = peer.receipts(&sent[2..], None, &peer.signing);
    stream.notice(3, Down::RecipientReceipts(receipts)).await;
    assert_eq!(stream.held().await, 3);
    story
        .host
        .until(DELIVERY, &["taken", "delivered", "delivered"])
        .await;
    assert_eq!(story.host.number(TAKEN).await, 3, "and nothing happened twice");
}

#[tokio::test]
async fn a_gateway_with_another_history_gets_nothing_of_that_pair() {
    let (mut story, peer, stream, sent, grant) = sent(3).await;
    stream.break_off().await;
    let other = story.peer("hillcrest-school");
    let mut stream = story.gateway.greeted(vec![position(&peer.org, 2, [7; 32])]).await;
    let person = story.consent(&mut stream, &[&other]).await;
    story.host.refer(&other, person).await;
    let only = stream.submission().await;
    assert_eq!(only.order.unwrap().to, "hillcrest-school");
    assert_eq!(story.host.number("SELECT MIN(number) FROM pair_sent").await, 3);
    drop((sent, grant));
}

#[tokio::test]
async fn a_pair_goes_back_over_no_hole_and_one_that_is_stopped_is_told() {
    let (mut story, peer, stream, sent, _) = sent(3).await;
    lose(&story, "DELETE FROM outbox WHERE number = 2").await;
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    let restore_id = wish.restore_id.clone();
    let mut stream = told(&mut story, stream, wish.clone(), at(&peer, 3, &sent)).await;
    // The stream ended, with or without a word; as long as the gateway does not know that the wish is held, it tells it again.
    stream.notice(7, Down::Reoffer(wish)).await;
    let (mut anew, mut nothing, mut held) = (Vec::new(), None, 0);
    while held == 0 || anew.len() < 2 {
        match stream.next().await {
            Up::NothingToOffer(said) => nothing = Some((said.organisation, said.restore_id)),
            Up::NoticesHeld(said) => held = said.number,
            Up::Submission(one) => anew.extend(lines(&story, &one)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((nothing, held), (Some((peer.org.to_string(), restore_id)), 7));
    let kept = [(4, hash(&sent[0])), (5, hash(&sent[2]))];
    assert_eq!(anew, kept, "what it has still, under new numbers");
    story.host.link_is("up").await;
    assert_eq!(story.host.number("SELECT number FROM pair_sent").await, 3);
    assert_eq!(story.host.words("SELECT problem FROM link_state").await, [""]);
    stream.break_off().await;
    let _stream = story.gateway.greeted(vec![]).await;
    let stopped = "SELECT COUNT(*) FROM link_state WHERE state = 'up' AND problem = 'conflict'";
    reaches(&story, stopped, 1).await;
    assert_eq!(story.host.number("SELECT number FROM pair_sent").await, 3);
}

#[tokio::test]
async fn what_waits_for_its_answer_goes_before_what_comes_again_behind_a_hole() {
    let (mut story, peer, stream, sent, _) = sent(2).await;
    lose(&story, "DELETE FROM outbox WHERE number = 1").await;
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    // The gateway has taken the third, and its answer was lost.
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let mut all = Vec::new();
    while all.len() < 2 {
        if let Up::Submission(one) = stream.next().await {
            all.extend(lines(&story, &one));
        }
    }
    assert_eq!(all, [(3, hash(&sent[2])), (4, hash(&sent[1]))]);
}

#[tokio::test]
async fn a_pair_with_a_withheld_line_behind_a_hole_can_go_back_later() {
    let (mut story, peer, stream, sent, _) = sent(3).await;
    lose(&story, "DELETE FROM outbox WHERE number = 1").await;
    lose(
        &story,
        "DELETE FROM outbox_envelope WHERE seq = (SELECT seq FROM outbox WHERE number = 3)",
    )
    .await;
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let submission = loop {
        if let Up::Submission(one) = stream.next().await {
            break one;
        }
    };
    assert_eq!(lines(&story, &submission), [(4, hash(&sent[1]))]);
    stream.take(&submission.envelopes).await;
    reaches(&story, "SELECT number FROM pair_sent", 4).await;
    let wish = reoffer(&peer, Some(at(&peer, 2, &sent)));
    let last = position(&peer.org, 4, envelope_hash(&sent[1]));
    let mut stream = told(&mut story, stream, wish, last).await;
    let submission = stream.submission().await;
    let all = [(3, hash(&sent[2])), (4, hash(&sent[1]))];
    assert_eq!(lines(&story, &submission), all);
    assert_eq!(submission.envelopes, sent[1..2], "of the other the line alone");
}

#[tokio::test]
async fn a_line_without_bytes_in_front_of_what_is_kept_stays_where_it_is() {
    let (mut story, peer, mut stream, sent, _) = sent(3).await;
    let other = story.peer("hillcrest-school");
    let person = story.consent(&mut stream, &[&other]).await;
    story.host.refer(&other, person).await;
    assert_eq!(stream.submission().await.order.unwrap().to, "hillcrest-school");
    lose(&story, "DELETE FROM outbox WHERE number = 1").await;
    lose(
        &story,
        "DELETE FROM outbox_envelope WHERE seq = (SELECT seq FROM outbox WHERE number = 2)",
    )
    .await;
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let submission = to(&mut stream, &peer).await;
    assert_eq!(lines(&story, &submission), [(4, hash(&sent[2]))]);
}

#[tokio::test]
async fn what_was_on_its_way_back_goes_under_second_numbers_where_a_later_wish_meets_a_hole() {
    let (mut story, peer, stream, sent, _) = sent(3).await;
    let wish = reoffer(&peer, Some(at(&peer, 1, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let back = to(&mut stream, &peer).await;
    assert_eq!(lines(&story, &back), [(2, hash(&sent[1])), (3, hash(&sent[2]))]);
    // Before that is answered, an older backup comes back, and here the first line is gone.
    lose(&story, "DELETE FROM outbox WHERE number = 1").await;
    let wish = reoffer(&peer, Some(at(&peer, 0, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    let submission = to(&mut stream, &peer).await;
    let all = [(4, hash(&sent[1])), (5, hash(&sent[2]))];
    assert_eq!(lines(&story, &submission), all);
}

/// The next submission for a member; what else comes before it is passed over.
async fn to(stream: &mut Attached, peer: &Peer) -> v1::Submission {
    loop {
        if let Up::Submission(one) = stream.next().await
            && one
                .order
                .as_ref()
                .is_some_and(|order| order.to == peer.org.as_str())
        {
            return one;
        }
    }
}

/// The node's database loses a row.
async fn lose(story: &Story, statement: &'static str) {
    let lose = |mut tx: Tx| async move { tx.run(query(statement)).await };
    let store = &story.host.node.store;
    assert_eq!(store.tx::<_, StoreError, _, _>("test", lose).await.unwrap(), 1);
}

#[tokio::test]
async fn what_was_sent_with_a_part_that_is_taken_back_is_let_go() {
    let (story, peer, mut stream, sent, grant_id) = sent(3).await;
    let receipts = peer.receipts(&sent[..1], None, &peer.signing);
    stream.notice(1, Down::RecipientReceipts(receipts)).await;
    assert_eq!(stream.held().await, 1);
    let request_id = kith_proto::id::RequestId::from_bytes(random());
    let request = v1::NarrowGrantRequest::default();
    let new = NewNarrowing {
        asked: Asked::new("narrow_grant", request_id, &request),
        caller: story.host.caller(),
        grant_id,
        allowed: vec![Allowed {
            recipient: peer.org.clone(),
            categories: [Category::Identity].into_iter().collect(),
            purposes: vec![Purpose::Care],
            progress: true,
        }],
    };
    withdrawals::narrow(&story.host.node, &new).await.unwrap();
    assert_eq!(
        story.host.number(MAIL).await,
        0,
        "each said something of the need"
    );
}
