//! `kill -9` of each process in the middle of 2,000 referrals: every acknowledged one is in the inbox once, in order.

use kith_demo::cast::{GP, Org, PEERS};
use kith_demo::client::Client;
use kith_demo::network::Network;
use kith_proto::v1::{self, send_referrals_response::Outcome};
use kith_tests::load::{self, Ready};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;

const REFERRALS: usize = 2_000;
/// After so many answers the next process is killed.
const KILL_AFTER: [usize; 3] = [400, 900, 1_400];
/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_referral_arrives_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_role"));
    let mut network = Network::start(program, folder.path(), &[GP, PEERS])
        .await
        .unwrap();
    let client = network.client(GP).await.unwrap();
    let ready = load::prepare(&client, PEERS.id, REFERRALS).await.unwrap();
    let mut unanswered = requests(&client, &ready);
    let mut acknowledged = BTreeSet::new();
    for (round, limit) in KILL_AFTER.into_iter().chain([REFERRALS]).enumerate() {
        send_until(&mut network, &mut unanswered, &mut acknowledged, limit).await;
        match round {
            0 => network.crash_node(PEERS).await.unwrap(),
            1 => network.crash_gateway().await.unwrap(),
            2 => network.crash_node(GP).await.unwrap(),
            _ => {}
        }
    }
    assert_eq!(acknowledged.len(), REFERRALS);
    let inbox = lines(&network, PEERS, REFERRALS).await;
    let sent = lines(&network, GP, REFERRALS).await;
    let arrived: BTreeSet<_> = inbox.iter().cloned().collect();
    assert_eq!(
        arrived, acknowledged,
        "an acknowledged referral is missing, or one came that nobody sent"
    );
    assert_eq!(
        inbox, sent,
        "they did not arrive in the order in which they were sent"
    );
    network.stop().await.unwrap();
}

fn requests(client: &Client, ready: &[Ready]) -> BTreeMap<Vec<u8>, v1::SendReferralRequest> {
    let requests = ready
        .iter()
        .map(|one| load::referral(client, PEERS.id, one).unwrap());
    requests
        .map(|request| (request.request_id.clone(), request))
        .collect()
}

/// Sends what has no answer yet, under the same request ids, until `limit` are acknowledged.
async fn send_until(
    network: &mut Network,
    unanswered: &mut BTreeMap<Vec<u8>, v1::SendReferralRequest>,
    acknowledged: &mut BTreeSet<Vec<u8>>,
    limit: usize,
) {
    let mut client = network.client(GP).await.unwrap();
    let (submit, submitted) = tokio::sync::mpsc::channel(64);
    let waiting: Vec<_> = unanswered.values().cloned().collect();
    let feeder = tokio::spawn(async move {
        for request in waiting {
            let request = v1::SendReferralsRequest {
                referral: Some(request),
            };
            if submit.send(request).await.is_err() {
                return;
            }
        }
    });
    let answers = client
        .referrals
        .send_referrals(ReceiverStream::new(submitted))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    while acknowledged.len() < limit {
        let answer = tokio::time::timeout(PATIENCE, answers.message())
            .await
            .expect("no answer in time");
        let answer = answer.unwrap().expect("the stream ended early");
        match answer.outcome.unwrap() {
            Outcome::Sent(sent) => assert!(acknowledged.insert(sent.thread_id), "acknowledged twice"),
            Outcome::Refused(refused) => panic!("refused: {}", refused.sentence),
        }
        unanswered.remove(&answer.request_id);
    }
    feeder.abort();
}

/// The thread ids of an organisation's referrals in their own order, once there are `count`.
async fn lines(network: &Network, org: Org, count: usize) -> Vec<Vec<u8>> {
    let mut client = network.client(org).await.unwrap();
    let from_start = v1::WatchReferralsRequest::default();
    let mut changes = client
        .referrals
        .watch_referrals(from_start)
        .await
        .unwrap()
        .into_inner();
    let mut numbers: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    while numbers.len() < count {
        let change = tokio::time::timeout(PATIENCE, changes.message())
            .await
            .expect("nothing arrives any more");
        let line = change.unwrap().expect("the watch ended").referral.unwrap();
        let known = numbers.insert(line.thread_id, line.number);
        assert!(
            known.is_none_or(|number| number == line.number),
            "a referral changed its number"
        );
    }
    let mut ordered: Vec<_> = numbers
        .into_iter()
        .map(|(thread_id, number)| (number, thread_id))
        .collect();
    ordered.sort();
    ordered.into_iter().map(|(_, thread_id)| thread_id).collect()
}
