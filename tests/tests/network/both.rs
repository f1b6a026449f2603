//! A node and the gateway both come back from yesterday: the gateway forgets what the node had asked for when it came back, and is asked
//! again. Nothing is lost, nothing comes twice, and what was withdrawn stays gone.

use crate::restore::{copy, roll_back};
use crate::scene::{
    self, company, count, data, doctor, gateway, json, lines, node, node_with, shares, status,
};
use kith_demo::cast::{self, GP, PEERS, said};
use kith_demo::network::Network;
use kith_demo::story::steps::{Sent, Teller};
use kith_proto::lifecycle::{Consent, Move, State};
use kith_proto::v1::Side;
use std::path::{Path, PathBuf};

/// Withdrawn, sent to the circle, and sent by the circle, each after the bundle.
struct Three {
    withdrawn: Sent,
    came: Sent,
    went: Sent,
}

/// A bundle of the circle, what follows it, and then a copy of the gateway's database, after which one consent is withdrawn.
async fn live(network: &mut Network, bundle: &str, copied: &Path) -> Three {
    let mut tell = Teller::of(network);
    let withdrawn = tell.refer(company(cast::SELAM, said::TEA)).await.unwrap();
    tell.expect(PEERS, &withdrawn, State::Received, "it is there")
        .await
        .unwrap();
    let at = data(tell.network, PEERS);
    node(tell.network, &["recovery", "bundle", bundle, "--data", &at]);
    let came = tell.refer(company(cast::OKSANA, said::CLASS)).await.unwrap();
    tell.expect(GP, &came, State::Received, "it is there")
        .await
        .unwrap();
    let went = tell.refer(doctor(cast::LETESH, said::DOCTOR)).await.unwrap();
    tell.expect(PEERS, &went, State::Received, "it is there")
        .await
        .unwrap();
    tell.network.kill_gateway().unwrap();
    copy(&tell.network.gateway_folder(), copied);
    tell.network.start_gateway().await.unwrap();
    for org in [GP, PEERS] {
        tell.network.crash_node(org).await.unwrap();
        scene::until_up(tell.network, org).await;
    }
    tell.withdraw(GP, &withdrawn).await.unwrap();
    tell.expect(PEERS, &withdrawn, State::Withdrawn, "it is erased")
        .await
        .unwrap();
    tell.expect_proof(GP, &withdrawn).await.unwrap();
    Three {
        withdrawn,
        came,
        went,
    }
}

/// The circle comes back from its bundle; the practice hears of it and sends again; nothing of that reaches the circle, which is off.
async fn circle_comes_back(network: &mut Network, bundle: &str, new: &Path) {
    let (old, shares) = (data(network, PEERS), shares(network, PEERS));
    network.stop_node(PEERS).await.unwrap();
    std::fs::remove_dir_all(&old).unwrap();
    let place = new.display().to_string();
    let load = ["restore", bundle, "--data", &place, "--reason", "lost", "--json"];
    let restored = json(&node_with(network, &load, &shares));
    assert_eq!(
        (&restored["epoch"], &restored["withdrawn"]),
        (&2.into(), &1.into())
    );
    network.change_node(PEERS, new.to_owned(), None).unwrap();
    let (of_gp, auditor) = (
        data(network, GP),
        network.node(GP).unwrap().tokens["auditor"].clone(),
    );
    let list = [
        "audit",
        "list",
        "--code",
        "member_restored",
        "--data",
        &of_gp,
        "--token",
        &auditor,
    ];
    scene::until("the practice hears that the circle came back", async || {
        node(network, &list).contains(PEERS.name)
    })
    .await;
}

/// The gateway's database of before that, by the root's word.
async fn gateway_comes_back(network: &mut Network, folder: &Path, copied: &Path) {
    roll_back(network, copied).await;
    network.kill_gateway().unwrap();
    let root = folder.join("trust/root").display().to_string();
    let said = gateway(network, &["restore", "--root", &root, "--reason", "broken"]);
    assert!(said.contains("begins anew as epoch 2"), "{said}");
    network.start_gateway().await.unwrap();
    // Not a minute later, as it would by itself.
    network.crash_node(GP).await.unwrap();
    network.start_node(PEERS).await.unwrap();
    for org in [GP, PEERS] {
        let data = data(network, org);
        scene::until("the node follows the new epoch", async || {
            let status = status(network, &data);
            status["key_log"]["epoch"] == 2 && status["link"]["state"] == "up"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_the_gateway_come_back_from_yesterday() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = scene::network(folder.path()).await;
    let bundle = folder.path().join("yesterday").display().to_string();
    let copied = folder.path().join("copied");
    let three = live(&mut network, &bundle, &copied).await;
    let new: PathBuf = folder.path().join("new");
    circle_comes_back(&mut network, &bundle, &new).await;
    gateway_comes_back(&mut network, folder.path(), &copied).await;

    let mut tell = Teller::of(&mut network);
    tell.expect(PEERS, &three.came, State::Received, "it came again")
        .await
        .unwrap();
    assert!(
        tell.open(PEERS, &three.came)
            .await
            .unwrap()
            .contains(cast::OKSANA.name)
    );
    tell.expect(PEERS, &three.went, State::Received, "it is listed")
        .await
        .unwrap();
    let line = tell
        .expect(PEERS, &three.withdrawn, State::Withdrawn, "it stays gone")
        .await
        .unwrap();
    assert_ne!(line.consent, Consent::Live.number());
    assert_eq!(tell.thread(PEERS, &three.withdrawn).await.unwrap().referral, None);
    for (here, there, sent) in [(PEERS, GP, &three.came), (GP, PEERS, &three.went)] {
        tell.moves(here, sent, Move::Acknowledge, None).await.unwrap();
        tell.moves(here, sent, Move::Accept, None).await.unwrap();
        tell.expect(there, sent, State::Accepted, "a yes").await.unwrap();
    }
    let after = tell.refer(company(cast::AMAL, said::AMAL)).await.unwrap();
    tell.expect(GP, &after, State::Received, "it is there")
        .await
        .unwrap();
    for sent in [&three.withdrawn, &three.came, &after] {
        assert_eq!(
            count(&network, PEERS, Side::Inbox, sent).await,
            1,
            "{}",
            sent.code
        );
    }
    assert_eq!(lines(&network, PEERS, Side::Inbox).await.len(), 3);
    assert_eq!(count(&network, PEERS, Side::Sent, &three.went).await, 1);
    scene::all_well(&network);
    scene::export_verifies(&network, PEERS, folder.path()).await;
    network.stop().await.unwrap();
    let gone: Vec<&str> = cast::SELAM.name.split_whitespace().collect();
    assert!(scene::files_with(&new, &gone).is_empty());
}
