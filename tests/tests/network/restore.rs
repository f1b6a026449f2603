//! The gateway's database comes back from a copy: nodes see it and send nothing, until the root says that the log may begin anew. Then the
//! member that the copy does not have is taken in again by itself, and a referral that waited arrives.

use kith_demo::cast::{GP, Org, PEERS, SCHOOL};
use kith_demo::network::Network;
use kith_proto::v1::{self, send_referrals_response::Outcome};
use kith_tests::load;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that anything here may take: a node that raised an alarm looks again after a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Copies the gateway's database with what stands beside it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        std::fs::remove_file(to.join(name)).ok();
        std::fs::copy(from.join(name), to.join(name)).ok();
    }
}

/// What a node says of itself.
fn status(network: &Network, org: Org) -> serde_json::Value {
    let data = network.node(org).unwrap().data_dir.to_string_lossy().into_owned();
    let said = network
        .command("node", &["status", "--json", "--data", &data])
        .unwrap();
    serde_json::from_str(&said).unwrap()
}

fn alarms(network: &Network, org: Org) -> Vec<String> {
    let status = status(network, org);
    let alarms = status["alarms"].as_array().unwrap().iter();
    alarms
        .map(|alarm| alarm["kind"].as_str().unwrap().to_owned())
        .collect()
}

async fn until(what: &str, happened: impl Fn() -> bool) {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        while !happened() {
            look.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "it did not happen: {what}"
    );
}

/// Sends one referral and gives its thread.
async fn refer(network: &Network) -> Vec<u8> {
    let mut client = network.client(GP).await.unwrap();
    let ready = load::prepare(&client, PEERS.id, 1).await.unwrap();
    let referral = Some(load::referral(&client, PEERS.id, &ready[0]).unwrap());
    let requests = tokio_stream::once(v1::SendReferralsRequest { referral });
    let mut answers = client
        .referrals
        .send_referrals(requests)
        .await
        .unwrap()
        .into_inner();
    match answers.message().await.unwrap().unwrap().outcome.unwrap() {
        Outcome::Sent(sent) => sent.thread_id,
        Outcome::Refused(refused) => panic!("refused: {}", refused.sentence),
    }
}

async fn arrived(network: &Network, thread_id: &[u8], within: Duration) -> bool {
    let mut client = network.client(PEERS).await.unwrap();
    let watch = client
        .referrals
        .watch_referrals(v1::WatchReferralsRequest::default());
    let mut changes = watch.await.unwrap().into_inner();
    let arriving = async {
        loop {
            let change = changes.message().await.unwrap().expect("the watch ended");
            if change.referral.is_some_and(|line| line.thread_id == thread_id) {
                return;
            }
        }
    };
    tokio::time::timeout(within, arriving).await.is_ok()
}

/// The gateway dies, and starts with another copy of its database.
pub(crate) async fn roll_back(network: &mut Network, backup: &Path) {
    network.kill_gateway().unwrap();
    copy(backup, &network.gateway_folder());
    network.start_gateway().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_rolled_back_is_not_believed_until_the_root_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_role"));
    let mut network = Network::start(program, folder.path(), &[GP, PEERS])
        .await
        .unwrap();
    network.kill_gateway().unwrap();
    let backup = folder.path().join("backup");
    copy(&network.gateway_folder(), &backup);
    network.start_gateway().await.unwrap();
    network.join(SCHOOL).await.unwrap();

    roll_back(&mut network, &backup).await;
    for org in [GP, PEERS] {
        until("the node raises an alarm", || {
            alarms(&network, org) == ["gateway_behind"]
        })
        .await;
    }
    let waiting = refer(&network).await;
    assert!(!arrived(&network, &waiting, Duration::from_secs(3)).await);

    network.kill_gateway().unwrap();
    let (data, root) = (network.gateway_folder(), folder.path().join("trust/root"));
    let (data, root) = (data.to_string_lossy(), root.to_string_lossy());
    let restore = ["restore", "--data", &data, "--root", &root, "--reason", "broken"];
    let said = network.command("gateway", &restore).unwrap();
    assert!(said.contains("begins anew as epoch 2"), "{said}");
    network.start_gateway().await.unwrap();
    // Not a minute later, as they would by themselves.
    for org in [GP, PEERS, SCHOOL] {
        network.crash_node(org).await.unwrap();
        until("the node follows the new epoch", || {
            let status = status(&network, org);
            status["key_log"]["epoch"] == 2 && status["link"]["state"] == "up"
        })
        .await;
        assert_eq!(alarms(&network, org), [""; 0]);
    }
    assert!(arrived(&network, &waiting, PATIENCE).await);
    let after = refer(&network).await;
    assert!(arrived(&network, &after, PATIENCE).await);

    // The school joined after the copy was made: it is a member again, by itself, and known to the others.
    let members = network.command("gateway", &["members", "--data", &data]).unwrap();
    assert!(members.contains(SCHOOL.id), "{members}");
    let of_gp = network.node(GP).unwrap().data_dir.to_string_lossy().into_owned();
    let shown = ["organisations", "show", SCHOOL.id, "--data", &of_gp];
    until("the school's keys are believed again", || {
        network.command("node", &shown).is_ok()
    })
    .await;
    let verified = network
        .command("gateway", &["audit", "verify", "--data", &data])
        .unwrap();
    assert!(verified.contains("are as the log signed them"), "{verified}");
    network.stop().await.unwrap();
}
