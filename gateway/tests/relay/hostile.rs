//! What one hostile member can leave behind: so many rows in an hour that serve nobody, so many streams, and no more.

use kith_gateway::limits::{IDLE_ROWS_PER_HOUR_MAX, IDLE_ROWS_RESERVE, STREAMS_PER_MEMBER_MAX};
use kith_gateway::membership;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, attach_request::Frame as Up, attach_response::Frame};
use kith_proto::words::EnvelopeKind::{Referral, Withdrawal};
use kith_proto::{envelope, receipt};
use kith_service::tls::issue::{certificate_request, generate_key_pem};

use crate::network::{START_MS, pair};
use crate::node::{Answered, HeldSlip, Line, Node, alone, later, refused};

const HOUR_MS: i64 = 60 * 60 * 1000;
const TAKEN: Answered = Answered::Taken { at_ms: START_MS };
const ROWS: &str = "SELECT (SELECT COUNT(*) FROM taken) + (SELECT COUNT(*) FROM mailbox) + (SELECT COUNT(*) FROM slip) \
                    + (SELECT COUNT(*) FROM pair) + (SELECT COUNT(*) FROM order_batch) + (SELECT COUNT(*) FROM audit_event) \
                    + (SELECT COUNT(*) FROM notice) + (SELECT COUNT(*) FROM stop) AS n";

async fn say_stop(line: &mut Line, node: &Node, slip: &HeldSlip) {
    line.send(Up::Stop(node.stop_notice(slip))).await;
    match &line.notices(1).await[0].1 {
        Frame::Stopped(stopped) => assert_eq!(stopped.slip_id, slip.slip.id.as_bytes()),
        other => panic!("a stop was awaited, not {other:?}"),
    }
}

#[tokio::test]
async fn a_stop_that_is_said_again_is_answered_and_leaves_nothing() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    let mut stranger = mosque.attach().await;
    let unseen = gp.slip(&peers);
    say_stop(&mut line, &gp, &unseen).await;
    let sent = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&sent).await, [TAKEN]);
    line.send(Up::Stop(gp.stop_notice(&slip))).await;
    line.notices(2).await;
    let rows = network.count(ROWS).await;
    for _ in 0..3 {
        say_stop(&mut line, &gp, &unseen).await;
        say_stop(&mut line, &gp, &slip).await;
        say_stop(&mut stranger, &mosque, &slip).await;
    }
    assert_eq!(network.count(ROWS).await, rows);
}

#[tokio::test]
async fn lines_that_are_refused_are_so_many_in_an_hour_and_withdrawals_go_on() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let one = gp.envelope(&peers, Referral, &slip);
    for _ in 0..IDLE_ROWS_PER_HOUR_MAX / 250 {
        let mut withheld = gp.submission(&peers, gp.copies(&one, 250));
        withheld.envelopes.clear();
        let expected = vec![refused(Problem::ConsentWithdrawn); 250];
        assert_eq!(line.submit(&withheld).await, expected);
    }
    let rows = network.count(ROWS).await;
    let good = gp.submission(&peers, vec![one]);
    for _ in 0..3 {
        assert_eq!(line.submit(&good).await, [later(Problem::Unavailable)]);
    }
    assert_eq!(network.count(ROWS).await, rows, "no row is left of what waits");
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal)).await, [TAKEN]);
    network.hand.advance(HOUR_MS);
    let at_ms = START_MS + HOUR_MS;
    assert_eq!(line.submit(&good).await, [Answered::Taken { at_ms }], "as before");
}

#[tokio::test]
async fn slips_that_only_lines_to_come_again_have_shown_count_once() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    network
        .gateway
        .budgets
        .spend(&gp.org, IDLE_ROWS_PER_HOUR_MAX - 2, START_MS);
    gp.go_back(&peers, Position::at(7, [7; 32]));
    let behind = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    for _ in 0..3 {
        assert_eq!(line.submit(&behind).await, [later(Problem::Unavailable)]);
    }
    gp.go_back(&peers, Position::START);
    let envelope = gp.envelope(&peers, Referral, &slip);
    let hash = envelope::envelope_hash(&envelope);
    let good = gp.submission(&peers, vec![envelope]);
    assert_eq!(line.submit(&good).await, [TAKEN]);
    // One more new slip, behind a gap again: the last of this hour.
    gp.go_back(&peers, Position::at(8, hash));
    let behind = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &gp.slip(&peers))]);
    assert_eq!(line.submit(&behind).await, [later(Problem::Unavailable)]);
    gp.go_back(&peers, Position::at(1, hash));
    let next = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&next).await, [later(Problem::Unavailable)]);
}

#[tokio::test]
async fn stops_of_slips_that_nobody_has_seen_are_so_many_in_an_hour() {
    let (network, gp, peers, slip, mut line) = pair().await;
    let all = IDLE_ROWS_PER_HOUR_MAX + IDLE_ROWS_RESERVE;
    network.gateway.budgets.spend(&gp.org, all - 1, START_MS);
    say_stop(&mut line, &gp, &slip).await;
    let other = gp.slip(&peers);
    line.send(Up::Stop(gp.stop_notice(&other))).await;
    assert_eq!(line.ended().await.1, Problem::Unavailable);
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM stop").await, 1);
    network.hand.advance(HOUR_MS);
    say_stop(&mut gp.attach().await, &gp, &other).await;
}

#[tokio::test]
async fn renewals_are_so_many_in_an_hour() {
    let (network, gp, ..) = pair().await;
    network
        .gateway
        .budgets
        .spend(&gp.org, IDLE_ROWS_PER_HOUR_MAX - 1, START_MS);
    let mut request = v1::RenewRequest {
        organisation: gp.org.to_string(),
        certificate_request_der: certificate_request(&generate_key_pem().unwrap()).unwrap(),
        made_at_ms: START_MS,
        signature: Vec::new(),
    };
    receipt::sign(&gp.signing, &mut request).unwrap();
    membership::renew(&network.gateway, request.clone())
        .await
        .unwrap();
    let again = membership::renew(&network.gateway, request).await.unwrap_err();
    assert_eq!(again.problem(), Problem::Unavailable);
}

#[tokio::test]
async fn streams_without_a_hello_are_counted_with_the_others() {
    let (_network, gp, peers, ..) = pair().await;
    let mut silent = Vec::new();
    for _ in 0..STREAMS_PER_MEMBER_MAX {
        silent.push(peers.call().await);
    }
    assert_eq!(peers.call().await.ended().await.1, Problem::Unavailable);
    gp.attach().await;
}
