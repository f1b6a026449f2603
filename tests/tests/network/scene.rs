//! What the stories of a node that comes back share: its sheet, its commands, what stands in its lists.

use kith_demo::cast::{GP, Org, PEERS, Person};
use kith_demo::network::Network;
use kith_demo::story::steps::{Ask, Sent};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that anything here may take: a node looks again after a minute at the latest.
const PATIENCE: Duration = Duration::from_secs(100);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A day, and a minute so that it is over.
pub(crate) const DAY_MS: i64 = (24 * 60 + 1) * 60 * 1000;

/// What the practice asks the circle.
pub(crate) fn company(person: Person, need: &'static str) -> Ask {
    Ask {
        from: GP,
        to: PEERS,
        person,
        categories: &[Category::Identity, Category::Communication, Category::Need],
        purpose: Purpose::PeerSupport,
        need,
    }
}

/// What the circle asks the practice.
pub(crate) fn doctor(person: Person, need: &'static str) -> Ask {
    Ask {
        from: PEERS,
        to: GP,
        person,
        categories: &[Category::Identity, Category::Communication, Category::Need],
        purpose: Purpose::Care,
        need,
    }
}

pub(crate) async fn network(folder: &Path) -> Network {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_role"));
    Network::start(program, folder, &[GP, PEERS]).await.unwrap()
}

/// The last line as JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

pub(crate) fn data(network: &Network, org: Org) -> String {
    network.node(org).unwrap().data_dir.display().to_string()
}

/// Two parts of the sheet that a demo keeps, as options of a command.
pub(crate) fn shares(network: &Network, org: Org) -> Vec<String> {
    let kept = Path::new(&data(network, org)).join("demo-recovery.json");
    let joined = json(&std::fs::read_to_string(kept).unwrap());
    let share = |number: usize| joined["recovery"]["shares"][number]["share"].as_str().unwrap();
    ["--share", share(0), "--share", share(2)]
        .map(str::to_owned)
        .to_vec()
}

/// Runs a command of a node and returns what it said.
pub(crate) fn node(network: &Network, args: &[&str]) -> String {
    network.command("node", args).unwrap()
}

/// The same with parts of a sheet.
pub(crate) fn node_with(network: &Network, args: &[&str], shares: &[String]) -> String {
    let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
    node(network, &[args, &shares].concat())
}

/// Runs a command of the gateway on its folder.
pub(crate) fn gateway(network: &Network, args: &[&str]) -> String {
    let folder = network.gateway_folder().display().to_string();
    network
        .command("gateway", &[args, &["--data", &folder]].concat())
        .unwrap()
}

pub(crate) fn status(network: &Network, data: &str) -> Value {
    json(&node(network, &["status", "--json", "--data", data]))
}

/// Asks again until something is so.
pub(crate) async fn until(what: &str, happened: impl AsyncFn() -> bool) {
    let waiting = async {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.tick().await;
        while !happened().await {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "it did not happen: {what}");
}

pub(crate) async fn until_up(network: &Network, org: Org) {
    let data = data(network, org);
    until("the node is connected", async || {
        status(network, &data)["link"]["state"] == "up"
    })
    .await;
}

/// Every line of one side.
pub(crate) async fn lines(network: &Network, org: Org, side: v1::Side) -> Vec<v1::ReferralLine> {
    let mut client = network.client(org).await.unwrap();
    let request = v1::ListReferralsRequest {
        side: side.into(),
        page_size: 200,
        ..Default::default()
    };
    let listed = client.referrals.list_referrals(request).await.unwrap();
    listed.into_inner().referrals
}

/// How often a referral stands in a list.
pub(crate) async fn count(network: &Network, org: Org, side: v1::Side, sent: &Sent) -> usize {
    let lines = lines(network, org, side).await;
    lines
        .iter()
        .filter(|line| line.thread_id == sent.thread_id)
        .count()
}

/// Nobody has raised an alarm, and every database is as its log signed it.
pub(crate) fn all_well(network: &Network) {
    for org in [GP, PEERS] {
        let data = data(network, org);
        assert_eq!(
            status(network, &data)["alarms"],
            serde_json::json!([]),
            "{}",
            org.id
        );
        node(network, &["doctor", "--data", &data]);
        node(network, &["audit", "verify", "--data", &data]);
    }
    let verified = gateway(network, &["audit", "verify"]);
    assert!(verified.contains("are as the log signed them"), "{verified}");
}

/// An export of all that the node's log has is proven with the root key alone.
pub(crate) async fn export_verifies(network: &Network, org: Org, folder: &Path) -> String {
    let data = data(network, org);
    let token = network.node(org).unwrap().tokens["auditor"].clone();
    let file = folder.join("export.trail");
    let name = file.display().to_string();
    until("the newest events count", async || {
        std::fs::remove_file(&file).ok();
        let said = node(
            network,
            &["audit", "export", &name, "--data", &data, "--token", &token],
        );
        !said.contains("too new")
    })
    .await;
    let root = network.root_fingerprint().unwrap();
    node(network, &["audit", "verify", &name, "--root", &root])
}

/// The files of a folder that hold one of these texts.
pub(crate) fn files_with(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |text: &&str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if texts.iter().any(holds) {
            found.push(path);
        }
    }
    found
}
