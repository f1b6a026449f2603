//! A computer that is lost: its bundle is at the gateway, two parts of its sheet are at hand, and a new folder is the node again.

use kith_demo::cast::{GP, PEERS};
use kith_demo::network::Network;
use kith_node::keys::{DataFolder, Membership};
use kith_node::recovery::fetch::{Gateway, fetch};
use kith_node::recovery::load::keys_of_shares;
use kith_proto::problem::Problem;
use kith_proto::trust::verify_issuer;
use kith_service::clock::Clock;
use kith_service::tls::dial::Dial;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is asked whether the gateway has the bundle: every half second, and far longer than any machine needs.
const TRIES: usize = 120;
const TRY_EVERY: Duration = Duration::from_millis(500);

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Waits until the gateway keeps a bundle of this node.
async fn kept(network: &Network, data: &str) -> Value {
    let mut look = tokio::time::interval(TRY_EVERY);
    for _ in 0..TRIES {
        look.tick().await;
        let status = network
            .command("node", &["recovery", "status", "--data", data, "--json"])
            .unwrap();
        let status = json(&status);
        if !status["newest"]["gateway_at_ms"].is_null() {
            return status;
        }
    }
    panic!("no bundle came to the gateway in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_computer_comes_back_from_the_gateway_and_two_parts_of_its_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(
        PathBuf::from(env!("CARGO_BIN_EXE_role")),
        folder.path(),
        &[GP, PEERS],
    )
    .await
    .unwrap();
    let data = folder.path().join("nodes").join(GP.id);
    let status = kept(&network, &data.display().to_string()).await;
    assert_eq!(status["judged"], "well", "{status}");

    let joined = json(&std::fs::read_to_string(data.join("demo-recovery.json")).unwrap());
    let share = |number: usize| {
        joined["recovery"]["shares"][number]["share"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let keys = keys_of_shares(&share(2), &share(0)).unwrap();
    let me = Membership::load(&DataFolder::at(&data)).unwrap();
    let clock = Clock::system();
    let issuer = verify_issuer(&me.issuer, &me.root, &me.network, clock.now_ms()).unwrap();
    let gateway = Gateway {
        address: &me.gateway,
        network: &me.network,
        issuer: &issuer,
        clock: &clock,
    };
    let file = folder.path().join("fetched");
    fetch(&Dial::tcp(), &gateway, &me.organisation, &keys, &file)
        .await
        .unwrap();
    let (peers, nowhere) = (PEERS.id.parse().unwrap(), Path::new("/nowhere/at/all"));
    let other = fetch(&Dial::tcp(), &gateway, &peers, &keys, nowhere)
        .await
        .unwrap_err();
    assert_eq!(other.problem(), Problem::NotFound);

    let (file, new) = (
        file.display().to_string(),
        folder.path().join("new").display().to_string(),
    );
    let (one, two) = (share(0), share(1));
    let shares = ["--share", one.as_str(), "--share", two.as_str(), "--json"];
    let checked = network
        .command("node", &[&["restore", &file, "--check"], &shares[..]].concat())
        .unwrap();
    assert_eq!(json(&checked)["organisation"], GP.id, "{checked}");
    let load = [
        &["restore", &file, "--data", &new, "--reason", "lost"],
        &shares[..],
    ]
    .concat();
    network.command("node", &load).unwrap();
    // In sentences: in JSON a refusal is an answer like any other.
    let load = load.split_last().unwrap().1;
    let again = network.command("node", load).unwrap_err().to_string();
    assert!(again.contains("holds a node already"), "{again}");
    let was = std::fs::read(data.join("keys/signing")).unwrap();
    assert_eq!(std::fs::read(Path::new(&new).join("keys/signing")).unwrap(), was);
    network.stop().await.unwrap();
}
