//! Enduring: limits, windows, failing commits, and callers that go away in the middle.

use kith_gateway::limits::SUBMISSIONS_IN_FLIGHT_MAX;
use kith_gateway::window::sweep_once;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, attach_request::Frame as Up, attach_response::Frame};
use kith_proto::words::EnvelopeKind::{Event, Referral, Withdrawal};
use kith_service::store::{StoreError, query};

use crate::network::{DAY_MS, Network, START_MS, pair};
use crate::node::{Answered, alone, later};
use crate::place;

const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

#[tokio::test]
async fn a_reader_that_goes_away_leaves_nothing_open() {
    let network = Network::start(place().await).await;
    for patience in 0..200 {
        let store = network.gateway.store.clone();
        let reading = tokio::spawn(async move {
            let read = store.read("test", |mut tx| async move {
                tx.all(query("SELECT name FROM counter")).await.map(drop)
            });
            let read: Result<(), StoreError> = read.await;
            read
        });
        // Some go away before the transaction begins, some while it begins, some within.
        for _ in 0..patience % 40 {
            tokio::task::yield_now().await;
        }
        reading.abort();
        network
            .run("UPDATE counter SET value = value WHERE name = 'audit'")
            .await;
    }
}

#[tokio::test]
async fn more_in_flight_than_told_ends_the_stream() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    let max = line.hello.submissions_in_flight_max as usize;
    assert_eq!(max, SUBMISSIONS_IN_FLIGHT_MAX);
    let template = gp.envelope(&peers, Referral, &slip);
    let lot = gp.copies(&template, max + 64);
    let submissions: Vec<_> = lot
        .chunks(64)
        .map(|part| gp.submission(&peers, part.to_vec()))
        .collect();
    // Exactly the limit is welcome, however fast it comes.
    let (last, within) = submissions.split_last().unwrap();
    for submission in within {
        line.send(Up::Submission(submission.clone())).await;
    }
    let answers = line.answers(max).await;
    assert!(answers.values().all(|answered| *answered == TAKEN));
    assert_eq!(line.submit(last).await, vec![TAKEN; 64]);
    // One submission may not hold more lines than there are places: withheld lines count too.
    let mut many = gp.submission(&peers, gp.copies(&template, 65));
    line.send(Up::Submission(many.clone())).await;
    assert_eq!(line.ended().await.1, Problem::TooLarge, "too many envelopes");
    many.envelopes.clear();
    let mut line = gp.attach().await;
    // More than the door has answered by the time that they are read.
    for _ in 0..8 * max / 65 {
        line.send(Up::Submission(many.clone())).await;
    }
    assert_eq!(line.ended().await.1, Problem::Unavailable, "too many lines");
}

#[tokio::test]
async fn a_node_that_sends_on_with_each_answer_is_never_too_busy() {
    let (_network, mut gp, peers, slip, mut line) = pair().await;
    // Withheld lines, as each of them has an answer of its own.
    let template = gp.envelope(&peers, Referral, &slip);
    let mut withheld = |count| {
        let lines = gp.copies(&template, count);
        v1::Submission {
            envelopes: Vec::new(),
            ..gp.submission(&peers, lines)
        }
    };
    for _ in 0..SUBMISSIONS_IN_FLIGHT_MAX / 64 {
        line.send(Up::Submission(withheld(64))).await;
    }
    for _ in 0..SUBMISSIONS_IN_FLIGHT_MAX {
        line.answers(1).await;
        line.send(Up::Submission(withheld(1))).await;
    }
    line.answers(SUBMISSIONS_IN_FLIGHT_MAX).await;
}

#[tokio::test]
async fn a_full_mailbox_refuses_until_it_is_emptied_but_takes_withdrawals() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let first = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&first).await, [TAKEN]);
    // 64 MiB of earlier mail, less what one more envelope needs.
    network
        .run("UPDATE pair SET mailbox_bytes = 67108864 - 1000")
        .await;
    let second = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&second).await, [later(Problem::Unavailable)]);
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal)).await, [TAKEN]);
    network.run("UPDATE pair SET mailbox_bytes = 0").await;
    assert_eq!(line.submit(&second).await, [TAKEN]);
    // From all senders together 256 MiB: room for one more, but not for two in one submission.
    network
        .run(
            "INSERT INTO pair SELECT 'hope-mosque', recipient, 1, envelope_hash, \
             268435456 - 3500 - mailbox_bytes FROM pair",
        )
        .await;
    let two = gp.copies(&gp.envelope(&peers, Referral, &slip), 2);
    assert!((1751..3500).contains(&prost::Message::encoded_len(&two[0])));
    let third = gp.submission(&peers, two);
    assert_eq!(line.submit(&third).await, [TAKEN, later(Problem::Unavailable)]);
}

#[tokio::test]
async fn nothing_is_acknowledged_when_the_commit_fails() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mut receiving = peers.attach().await;
    network.break_commits().await;
    let submission = gp.submission(&peers, gp.copies(&gp.envelope(&peers, Referral, &slip), 3));
    line.send(Up::Submission(submission.clone())).await;
    assert_eq!(
        line.ended().await,
        (vec![], Problem::Unavailable),
        "no receipt, no refusal"
    );
    for table in [
        "SELECT COUNT(*) AS n FROM mailbox",
        "SELECT COUNT(*) AS n FROM taken",
        "SELECT COUNT(*) AS n FROM pair",
        "SELECT COUNT(*) AS n FROM order_batch",
    ] {
        assert_eq!(network.count(table).await, 0, "{table}");
    }
    network.mend_commits().await;
    let mut line = gp.attach().await;
    assert!(line.hello.taken.is_empty());
    assert_eq!(line.submit(&submission).await, vec![TAKEN; 3]);
    let got = receiving.delivered(3).await;

    // The same for receipts and stops: what was not committed is neither told to the sender nor gone.
    network.break_commits().await;
    let names: Vec<_> = got.iter().map(|got| (got.id, got.hash)).collect();
    let receipts = peers.receipt(&gp.org, &names);
    receiving.send(Up::Receipts(receipts.clone())).await;
    assert_eq!(receiving.ended().await, (vec![], Problem::Unavailable));
    line.send(Up::Stop(gp.stop_notice(&slip))).await;
    assert_eq!(line.ended().await, (vec![], Problem::Unavailable));
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM notice").await, 0);
    network.mend_commits().await;
    let mut receiving = peers.attach().await;
    assert_eq!(receiving.delivered(3).await, got);
    receiving.send(Up::Receipts(receipts)).await;
    gp.attach().await.notices(1).await;
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM mailbox").await, 0);
}

#[tokio::test]
async fn what_nobody_fetches_within_the_window_is_dropped() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let envelopes = vec![
        gp.envelope(&peers, Referral, &slip),
        gp.envelope(&peers, Event, &slip),
    ];
    let submission = gp.submission(&peers, envelopes);
    assert_eq!(line.submit(&submission).await, [TAKEN, TAKEN]);
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal)).await, [TAKEN]);
    assert_eq!(sweep_once(&network.gateway).await.unwrap().dropped, 0);
    network.hand.set(START_MS + 30 * DAY_MS - 1);
    assert_eq!(sweep_once(&network.gateway).await.unwrap().dropped, 0);
    network.hand.set(START_MS + 30 * DAY_MS);
    assert_eq!(sweep_once(&network.gateway).await.unwrap().dropped, 3);
    assert_eq!(sweep_once(&network.gateway).await.unwrap().dropped, 0, "once");
    let kept = "SELECT COUNT(*) AS n FROM mailbox WHERE envelope IS NOT NULL";
    assert_eq!(network.count(kept).await, 0);
    assert_eq!(
        network
            .count("SELECT CAST(SUM(mailbox_bytes) AS BIGINT) AS n FROM pair")
            .await,
        0
    );
    let told = "SELECT COUNT(*) AS n FROM notice WHERE organisation = 'riverside-gp'";
    assert_eq!(network.count(told).await, 3);
    let rows = "SELECT COUNT(*) AS n FROM mailbox WHERE number IN (1, 2)";
    assert_eq!(network.count(rows).await, 2, "tombstones keep the order whole");

    network.hand.set(START_MS + 60 * DAY_MS);
    sweep_once(&network.gateway).await.unwrap();
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 0);
    assert_eq!(
        network.count(rows).await,
        2,
        "however long their recipient is away"
    );
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM order_batch").await, 1);
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM slip").await, 1);
    network.hand.set(START_MS + 90 * DAY_MS);
    sweep_once(&network.gateway).await.unwrap();
    assert_eq!(
        network.count("SELECT COUNT(*) AS n FROM slip").await,
        0,
        "ended 30 days ago"
    );
}

#[tokio::test]
async fn mail_that_expires_before_delivery_comes_as_a_tombstone() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let short = gp.seal(&peers, Referral, &slip, |head| {
        head.expires_at_ms = START_MS + 1000
    });
    let submission = gp.submission(&peers, vec![short, gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&submission).await, [TAKEN, TAKEN]);
    network.hand.advance(1000);
    let got = peers.attach().await.delivered(2).await;
    let order: Vec<_> = got.iter().map(|got| (got.number, got.tombstone)).collect();
    assert_eq!(
        order,
        [(Some(1), Some(Problem::DeadlineExceeded)), (Some(2), None)]
    );
    match &line.notices(1).await[0].1 {
        Frame::Dropped(dropped) => assert_eq!(dropped.number, 1),
        other => panic!("a drop was awaited, not {other:?}"),
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_certificate() {
    let (network, _gp, _peers, _slip, mut line) = pair().await;
    network.hand.advance(8 * DAY_MS);
    assert_eq!(line.ended().await.1, Problem::Unauthenticated);
}
