//! Coming back from before a run of the sender's numbers: what is missing of before it comes first, or is given up, and the run goes on behind.

use kith_gateway::window::sweep_once;
use kith_proto::envelope::envelope_hash;
use kith_proto::order::{Position, RUN_LINES};
use kith_proto::problem::Problem;
use kith_proto::v1::{self, attach_request::Frame as Up, attach_response::Frame};
use kith_proto::words::EnvelopeKind::Referral;

use crate::network::START_MS;
use crate::node::{later, named, refused};
use crate::reoffering::{Story, TAKEN, call, numbers, request, standing};

const RUN: u64 = 2 * RUN_LINES;
const AGAIN: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_taken_again'";
const REFUSED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_refused'";
const WISHES: &str = "SELECT COUNT(*) AS n FROM reoffer";

/// The GP, which came back from a backup, sends two more in a run of its own numbers.
fn in_run(story: &mut Story) -> v1::Submission {
    story.gp.go_back(&story.peers, Position::run(2).unwrap());
    let first = story.gp.envelope(&story.peers, Referral, &story.slip);
    let envelopes = story.gp.copies(&first, 2);
    story.gp.submission(&story.peers, envelopes)
}

#[tokio::test]
async fn what_a_backup_lacks_of_before_and_in_a_run_comes_again_in_order() {
    let mut story = Story::begin(4).await;
    let run = in_run(&mut story);
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let mut receiving = story.peers.attach_holding(story.holds(4)).await;
    receiving.delivered(4).await;
    let mut ids: Vec<_> = story.sent[4..].iter().map(named).collect();
    ids.extend(run.envelopes.iter().map(named));
    let receipt = story.peers.receipt(&story.gp.org, &ids);
    receiving.send(Up::Receipts(receipt)).await;
    story.line.notices(1).await;

    let said = story.restore(story.holds(2)).await;
    assert_eq!(said.begins, vec![], "all of it is known");
    assert_eq!(story.reoffer().await.held.unwrap().number, 2);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let missing = story.again(2, 6);
    assert_eq!(story.line.submit(&missing).await, vec![TAKEN; 4]);
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let all = [3, 4, 5, 6, RUN + 1, RUN + 2].map(|number| (Some(number), None));
    assert_eq!(numbers(&receiving.delivered(6).await), all);
    assert_eq!(story.network.count(WISHES).await, 0);
    story.is_whole(8).await;
}

#[tokio::test]
async fn a_run_waits_for_what_is_missing_in_front_of_it() {
    let mut story = Story::begin(6).await;
    story.restore(story.holds(2)).await;
    story.reoffer().await;
    let run = in_run(&mut story);
    assert_eq!(story.line.submit(&run).await[0], later(Problem::Unavailable));
    let missing = story.again(2, 6);
    assert_eq!(story.line.submit(&missing).await, vec![TAKEN; 4]);
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let all = [3, 4, 5, 6, RUN + 1, RUN + 2].map(|number| (Some(number), None));
    assert_eq!(numbers(&receiving.delivered(6).await), all);
    story.is_whole(8).await;
}

#[tokio::test]
async fn a_sender_that_lost_it_too_says_so_and_goes_on_at_once() {
    let mut story = Story::begin(4).await;
    story.restore(story.holds(2)).await;
    let wish = story.reoffer().await;
    let run = in_run(&mut story);
    assert_eq!(story.line.submit(&run).await[0], later(Problem::Unavailable));
    let mut nothing = v1::NothingToOffer {
        organisation: story.peers.org.to_string(),
        restore_id: vec![9; 16],
    };
    for (restore_id, left) in [(vec![9; 16], 1), (wish.restore_id, 0)] {
        nothing.restore_id = restore_id;
        story.line.send(Up::NothingToOffer(nothing.clone())).await;
        // Frames of a stream are worked on in their order: what the stop says is behind it.
        story
            .line
            .send(Up::Stop(story.gp.stop_notice(&story.gp.slip(&story.peers))))
            .await;
        assert!(matches!(story.line.next().await, Frame::Stopped(_)));
        assert_eq!(story.network.count(WISHES).await, left);
    }
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let why = Some(Problem::DeadlineExceeded);
    let all = [
        (3, why),
        (4, why),
        (5, None),
        (6, None),
        (RUN + 1, None),
        (RUN + 2, None),
    ];
    let all = all.map(|(number, why)| (Some(number), why));
    assert_eq!(numbers(&receiving.delivered(6).await), all);
    story.is_whole(8).await;
}

#[tokio::test]
async fn what_a_sender_cannot_offer_where_it_stood_comes_again_under_a_second_number() {
    let mut story = Story::begin(6).await;
    story.restore(story.holds(2)).await;
    let nothing = v1::NothingToOffer {
        organisation: story.peers.org.to_string(),
        restore_id: story.reoffer().await.restore_id,
    };
    story.line.send(Up::NothingToOffer(nothing)).await;
    story
        .gp
        .go_back(&story.peers, Position::at(6, envelope_hash(&story.sent[5])));
    // It has lost the third and the fifth.
    let kept = vec![story.sent[3].clone(), story.sent[5].clone()];
    let again = story.gp.submission(&story.peers, kept);
    while story.network.count(WISHES).await > 0 {
        tokio::task::yield_now().await;
    }
    // An hour later: the answer is that of the first number, also to a repeat.
    story.network.hand.advance(60 * 60 * 1000);
    assert_eq!(story.line.submit(&again).await, vec![TAKEN; 2]);
    assert_eq!(
        story.line.submit(&again).await,
        vec![TAKEN; 2],
        "and a repeat is one"
    );
    // One that waits comes once; another envelope under its id, not at all.
    let waits = story.gp.submission(&story.peers, vec![story.sent[5].clone()]);
    assert_eq!(story.line.submit(&waits).await, [TAKEN]);
    let id = named(&story.sent[3]).0.to_vec();
    let other = story.gp.seal(&story.peers, Referral, &story.slip, |head| {
        head.envelope_id.clone_from(&id)
    });
    let other = story.gp.submission(&story.peers, vec![other]);
    assert_eq!(story.line.submit(&other).await, [refused(Problem::Conflict)]);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let (why, twice) = (Some(Problem::DeadlineExceeded), Some(Problem::Conflict));
    let all = [
        (3, why),
        (4, why),
        (5, why),
        (6, why),
        (7, None),
        (8, None),
        (9, twice),
        (10, twice),
    ];
    let all = all.map(|(number, why)| (Some(number), why));
    assert_eq!(numbers(&receiving.delivered(8).await), all);
    let ids: Vec<_> = again.envelopes.iter().map(named).collect();
    let receipt = story.peers.receipt(&story.gp.org, &ids);
    receiving.send(Up::Receipts(receipt)).await;
    assert!(matches!(
        story.line.notices(1).await[0].1,
        Frame::RecipientReceipts(_)
    ));
    let unlike = "SELECT CAST(COALESCE(SUM(mailbox_bytes), 0) AS BIGINT) AS n FROM pair";
    assert_eq!(story.network.count(unlike).await, 0);
    story.is_whole(6).await;
    assert_eq!(story.network.count(AGAIN).await, 3, "no refusal, but what it was");
    assert_eq!(story.network.count(REFUSED).await, 1, "the other envelope");
}

#[tokio::test]
async fn a_second_number_passes_nothing_whose_consent_has_ended() {
    let mut story = Story::begin(6).await;
    story.restore(story.holds(6)).await;
    assert_eq!(story.reoffer().await.held, None, "it lacks nothing");
    story.line.send(Up::Stop(story.gp.stop_notice(&story.slip))).await;
    assert!(matches!(story.line.next().await, Frame::Stopped(_)));
    let last = story.sent[5].clone();
    second(&mut story, (6, &last)).await;
    let mut receiving = story.peers.attach_holding(story.holds(6)).await;
    assert!(matches!(receiving.next().await, Frame::Stopped(_)));
    let all = [7, 8, 9].map(|number| (Some(number), Some(Problem::ConsentWithdrawn)));
    assert_eq!(numbers(&receiving.delivered(3).await), all);
    story.is_whole(6).await;
}

#[tokio::test]
async fn a_second_number_passes_nothing_that_came_too_late() {
    let mut story = Story::begin(6).await;
    let soon = story.gp.seal(&story.peers, Referral, &story.slip, |head| {
        head.expires_at_ms = START_MS + 1000;
    });
    let first = story.gp.submission(&story.peers, vec![soon.clone()]);
    assert_eq!(story.line.submit(&first).await, [TAKEN]);
    story.network.hand.advance(60 * 1000);
    second(&mut story, (7, &soon)).await;
    let mut receiving = story.peers.attach_holding(story.holds(6)).await;
    let all = numbers(&receiving.delivered(4).await);
    let late = [8, 9, 10].map(|number| (Some(number), Some(Problem::DeadlineExceeded)));
    assert_eq!(all[1..], late);
    story.is_whole(7).await;
}

#[tokio::test]
async fn a_second_number_to_a_member_that_lost_nothing_is_no_way_into_its_mailbox() {
    let mut story = Story::begin(6).await;
    let last = story.sent[5].clone();
    second(&mut story, (6, &last)).await;
    let mut receiving = story.peers.attach_holding(story.holds(6)).await;
    let all = [7, 8, 9].map(|number| (Some(number), Some(Problem::Conflict)));
    assert_eq!(numbers(&receiving.delivered(3).await), all);
    story.is_whole(6).await;
}

/// An envelope comes under a second number, three times, behind the pair's last one: each is answered as the first was, and is no refusal.
async fn second(story: &mut Story, (after, envelope): (u64, &v1::Envelope)) {
    let last = if after == 6 { &story.sent[5] } else { envelope };
    story
        .gp
        .go_back(&story.peers, Position::at(after, envelope_hash(last)));
    for _ in 0..3 {
        let one = story.gp.submission(&story.peers, vec![envelope.clone()]);
        assert_eq!(story.line.submit(&one).await, [TAKEN]);
    }
    assert_eq!(story.network.count(AGAIN).await, 3);
    assert_eq!(story.network.count(REFUSED).await, 0);
}

#[tokio::test]
async fn what_is_given_up_behind_a_run_is_counted_by_what_is_known() {
    let mut story = Story::begin(4).await;
    let run = in_run(&mut story);
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let mut receiving = story.peers.attach_holding(story.holds(4)).await;
    receiving.delivered(4).await;
    let ids: Vec<_> = run.envelopes.iter().map(named).collect();
    let receipt = story.peers.receipt(&story.gp.org, &ids);
    receiving.send(Up::Receipts(receipt)).await;
    story.line.notices(1).await;
    story.restore(story.holds(2)).await;
    let number = story.line.notices(1).await[0].0;
    story.line.send(Up::NoticesHeld(v1::NoticesHeld { number })).await;
    let notices = "SELECT COUNT(*) AS n FROM notice WHERE organisation = 'riverside-gp'";
    while story.network.count(notices).await > 0 {
        tokio::task::yield_now().await;
    }
    story.network.hand.advance(4 * crate::network::DAY_MS);
    sweep_once(&story.network.gateway).await.unwrap();
    assert_eq!(story.network.count(WISHES).await, 0, "in one sweep");
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let why = Some(Problem::DeadlineExceeded);
    let all = [
        (3, why),
        (4, why),
        (5, None),
        (6, None),
        (RUN + 1, why),
        (RUN + 2, why),
    ];
    let all = all.map(|(number, why)| (Some(number), why));
    assert_eq!(numbers(&receiving.delivered(6).await), all);
    story.is_whole(8).await;
}

#[tokio::test]
async fn a_member_with_nothing_begins_in_front_of_a_run_that_waits() {
    let mut story = Story::begin(6).await;
    let run = in_run(&mut story);
    assert_eq!(story.line.submit(&run).await, vec![TAKEN; 2]);
    let from_nothing = v1::RestoreRequest {
        backup_at_ms: 0,
        ..request(vec![])
    };
    let said = standing(&call(&story.peers, from_nothing).await.unwrap());
    let begins = &said.begins[0];
    assert_eq!((begins.number, begins.envelope_hash.clone()), (RUN, vec![]));
    // It says so itself when it comes back once more, and lacks nothing.
    let said = story.restore(said.begins.clone()).await;
    assert_eq!(said.begins, vec![]);
    let mut receiving = story.peers.attach_holding(vec![begins.clone()]).await;
    let got = receiving.delivered(2).await;
    assert_eq!(
        numbers(&got),
        [RUN + 1, RUN + 2].map(|number| (Some(number), None))
    );
    let bad = v1::PairPosition {
        envelope_hash: envelope_hash(&run.envelopes[0]).to_vec(),
        ..begins.clone()
    };
    assert_eq!(
        call(&story.peers, request(vec![bad])).await,
        Err(Problem::Invalid)
    );
}
