//! A node and the gateway both come back from yesterday: the gateway forgets what the node had asked for when it came back, and is asked
//! again. Nothing is lost, nothing comes twice, and what was withdrawn stays gone: also where neither of the two knows of the withdrawal
//! any more, and the organisation that captured the consent is off.

use crate::restore::{copy, roll_back};
use crate::scene::{
    self, company, count, data, doctor, gateway, json, lines, node, node_with, shares, status,
};
use kith_demo::cast::{self, GP, Org, PEERS, said};
use kith_demo::network::Network;
use kith_demo::story::steps::{Sent, Teller};
use kith_proto::lifecycle::{Consent, Move, State};
use kith_proto::v1::Side;
use std::path::{Path, PathBuf};

/// What happened after the bundle.
struct Since {
    withdrawn: Sent,
    /// From before the bundle, and its consent stands.
    stands: Sent,
    /// To the circle.
    came: Sent,
    /// By the circle.
    went: Sent,
    /// By the circle, after the gateway's database was copied: neither of the two knows of it any more.
    forgotten: Sent,
}

/// A bundle of the circle, what follows it, and then a copy of the gateway's database, after which one consent is withdrawn.
async fn live(network: &mut Network, bundle: &str, copied: &Path) -> Since {
    let mut tell = Teller::of(network);
    let withdrawn = tell.refer(company(cast::SELAM, said::TEA)).await.unwrap();
    tell.expect(PEERS, &withdrawn, State::Received, "it is there")
        .await
        .unwrap();
    let stands = tell.refer(company(cast::DAWIT, said::COAT)).await.unwrap();
    tell.expect(PEERS, &stands, State::Received, "it is there")
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
    let forgotten = tell.refer(doctor(cast::HAMID, said::MEALS)).await.unwrap();
    tell.expect(PEERS, &forgotten, State::Received, "it is there")
        .await
        .unwrap();
    Since {
        withdrawn,
        stands,
        came,
        went,
        forgotten,
    }
}

/// The circle comes back from its bundle; what a gateway that has lost nothing says of it.
fn circle_comes_back(network: &mut Network, bundle: &str, new: &Path) -> serde_json::Value {
    let shares = shares(network, PEERS);
    std::fs::remove_dir_all(data(network, PEERS)).unwrap();
    let place = new.display().to_string();
    let load = ["restore", bundle, "--data", &place, "--reason", "lost", "--json"];
    let restored = json(&node_with(network, &load, &shares));
    network.change_node(PEERS, new.to_owned(), None).unwrap();
    restored
}

/// The practice hears that the circle came back, and sends again; nothing of that reaches the circle, which is off.
async fn practice_hears(network: &Network) {
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

/// The circle serves, and shows nothing of what the practice shared with it before the bundle: the practice is off, and has not said yet that
/// its consent stands.
async fn nothing_opens(network: &mut Network, since: &Since) {
    let place = data(network, PEERS);
    let token = network.node(PEERS).unwrap().tokens["coordinator"].clone();
    let status = node(network, &["status", "--data", &place]);
    for part in [
        "What riverside-gp shared in ",
        " opens once it has said that it still stands",
    ] {
        assert!(status.contains(part), "{status}");
    }
    let mut tell = Teller::of(network);
    for sent in [&since.withdrawn, &since.stands] {
        let thread = tell.thread(PEERS, sent).await.unwrap();
        assert_eq!(thread.referral, None, "nothing of it can be read");
        assert!(thread.messages.is_empty());
        let line = thread.line.unwrap();
        let ended = line.consent != Consent::Live.number();
        assert_ne!(ended, line.awaits_word);
        let show = ["show", &sent.code, "--data", &place, "--token", &token];
        let said = node(tell.network, &show);
        let why = if ended {
            "consent has ended"
        } else {
            "opens once riverside-gp has said that it still stands"
        };
        assert!(said.contains(why), "{said}");
        for name in [cast::SELAM.name, cast::DAWIT.name] {
            assert!(!said.contains(name));
        }
    }
}

/// The practice is on again, and what stands opens.
async fn what_stands_opens(network: &mut Network, since: &Since) {
    scene::until("the practice says that it stands", async || {
        let lines = lines(network, PEERS, Side::Inbox).await;
        lines.iter().all(|line| !line.awaits_word)
    })
    .await;
    let place = data(network, PEERS);
    assert_eq!(status(network, &place)["awaiting"], serde_json::json!([]));
    let opened = Teller::of(network).open(PEERS, &since.stands).await.unwrap();
    assert!(opened.contains(cast::DAWIT.name));
}

/// The gateway's database of before that, by the root's word.
async fn gateway_comes_back(network: &mut Network, folder: &Path, copied: &Path) {
    roll_back(network, copied).await;
    network.kill_gateway().unwrap();
    let root = folder.join("trust/root").display().to_string();
    let said = gateway(network, &["restore", "--root", &root, "--reason", "broken"]);
    assert!(said.contains("begins anew as epoch 2"), "{said}");
    network.start_gateway().await.unwrap();
}

/// Everything is at both ends as it was, and goes on both ways.
async fn all_go_on(network: &mut Network, since: &Since) {
    let mut tell = Teller::of(network);
    for (org, sent) in [
        (PEERS, &since.came),
        (PEERS, &since.went),
        (PEERS, &since.forgotten),
    ] {
        tell.expect(org, sent, State::Received, "it is there again")
            .await
            .unwrap();
    }
    let opened = tell.open(PEERS, &since.came).await.unwrap();
    assert!(opened.contains(cast::OKSANA.name));
    let line = tell
        .expect(PEERS, &since.withdrawn, State::Withdrawn, "it stays gone")
        .await
        .unwrap();
    assert_ne!(line.consent, Consent::Live.number());
    assert_eq!(tell.thread(PEERS, &since.withdrawn).await.unwrap().referral, None);
    for (here, there, sent) in [
        (PEERS, GP, &since.came),
        (GP, PEERS, &since.went),
        (GP, PEERS, &since.forgotten),
    ] {
        tell.moves(here, sent, Move::Acknowledge, None).await.unwrap();
        tell.moves(here, sent, Move::Accept, None).await.unwrap();
        tell.expect(there, sent, State::Accepted, "a yes").await.unwrap();
    }
    for ask in [company(cast::AMAL, said::AMAL), doctor(cast::DAWIT, said::COAT)] {
        let after = tell.refer(ask).await.unwrap();
        tell.expect(ask.from, &after, State::Received, "it is there")
            .await
            .unwrap();
        assert_eq!(count(tell.network, ask.to, Side::Inbox, &after).await, 1);
    }
    for sent in [&since.withdrawn, &since.came] {
        assert_eq!(count(network, PEERS, Side::Inbox, sent).await, 1, "{}", sent.code);
    }
    for sent in [&since.went, &since.forgotten] {
        assert_eq!(count(network, PEERS, Side::Sent, sent).await, 1, "{}", sent.code);
        assert_eq!(count(network, GP, Side::Inbox, sent).await, 1, "{}", sent.code);
    }
    assert_eq!(lines(network, PEERS, Side::Inbox).await.len(), 4);
}

/// Who comes back first.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Circle,
    Gateway,
}

/// The practice's word is awaited for so many referrals.
fn awaiting(referrals: u64) -> serde_json::Value {
    serde_json::json!([{ "organisation": GP.id, "referrals": referrals }])
}

async fn follows(network: &Network, org: Org) {
    let data = data(network, org);
    scene::until("the node follows the new epoch", async || {
        let status = status(network, &data);
        status["key_log"]["epoch"] == 2 && status["link"]["state"] == "up"
    })
    .await;
}

async fn come_back(first: First) {
    let folder = tempfile::tempdir().unwrap();
    let mut network = scene::network(folder.path()).await;
    let bundle = folder.path().join("yesterday").display().to_string();
    let copied = folder.path().join("copied");
    let since = live(&mut network, &bundle, &copied).await;
    let new: PathBuf = folder.path().join("new");
    network.stop_node(PEERS).await.unwrap();
    if first == First::Circle {
        let restored = circle_comes_back(&mut network, &bundle, &new);
        assert_eq!(
            (&restored["epoch"], &restored["withdrawn"]),
            (&2.into(), &1.into())
        );
        assert_eq!(restored["awaiting"], awaiting(1));
        practice_hears(&network).await;
    }
    network.stop_node(GP).await.unwrap();
    gateway_comes_back(&mut network, folder.path(), &copied).await;
    if first == First::Gateway {
        let restored = circle_comes_back(&mut network, &bundle, &new);
        assert_eq!(
            (&restored["withdrawn"], &restored["awaiting"]),
            (&0.into(), &awaiting(2))
        );
    }
    network.start_node(PEERS).await.unwrap();
    follows(&network, PEERS).await;
    nothing_opens(&mut network, &since).await;
    network.start_node(GP).await.unwrap();
    follows(&network, GP).await;
    what_stands_opens(&mut network, &since).await;
    all_go_on(&mut network, &since).await;
    scene::all_well(&network);
    scene::export_verifies(&network, PEERS, folder.path()).await;
    network.stop().await.unwrap();
    let gone: Vec<&str> = cast::SELAM.name.split_whitespace().collect();
    assert!(scene::files_with(&new, &gone).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_then_the_gateway_come_back_from_yesterday() {
    come_back(First::Circle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_then_a_node_come_back_from_yesterday() {
    come_back(First::Gateway).await;
}
