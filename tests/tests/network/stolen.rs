//! A laptop is stolen: its keys are blocked at once, and the organisation goes on with new ones, with its bundle or without.

use crate::scene::{
    self, DAY_MS, company, count, data, doctor, json, lines, node, node_with, shares, status,
};
use kith_demo::cast::{self, GP, PEERS, said};
use kith_demo::network::Network;
use kith_demo::process::Server;
use kith_demo::story::steps::{Ask, Sent, Teller};
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::v1::Side;
use std::path::{Path, PathBuf};

/// Reports the circle's keys as lost; gives the token for new ones.
fn lost(network: &Network, folder: &Path) -> String {
    let registrar = folder.join("trust/registrar").display().to_string();
    let said = scene::gateway(network, &["lost", PEERS.id, "--registrar", &registrar]);
    said.lines().last().unwrap().trim().to_owned()
}

/// What an organisation compares with the circle by telephone.
fn four_words(network: &Network) -> String {
    let of_gp = data(network, GP);
    node(network, &["organisations", "show", PEERS.id, "--data", &of_gp])
}

async fn is_cut_off(network: &Network, old: &str) {
    scene::until("the old process is cut off", async || {
        let status = status(network, old);
        status["link"]["state"] != "up"
    })
    .await;
}

/// The newest bundle is made now and given to the gateway.
async fn bundle_at_gateway(network: &mut Network, folder: &Path) {
    let data = data(network, PEERS);
    let file = folder.join("bundles").display().to_string();
    std::fs::create_dir_all(&file).unwrap();
    node(network, &["recovery", "bundle", &file, "--data", &data]);
    // Not ten minutes later, as it would by itself.
    network.crash_node(PEERS).await.unwrap();
    scene::until("the gateway keeps the bundle", async || {
        let said = json(&node(network, &["recovery", "status", "--data", &data, "--json"]));
        !said["newest"]["gateway_at_ms"].is_null()
    })
    .await;
}

/// The new node runs beside the old one, which is given back.
async fn moves_in(network: &mut Network, new: &Path, is_from_nothing: bool) -> Option<Server> {
    let place = new.display().to_string();
    let tokens = is_from_nothing.then(|| network.prepare(&place).unwrap());
    let old = network.change_node(PEERS, new.to_owned(), tokens).unwrap();
    network.start_node(PEERS).await.unwrap();
    old
}

/// Until tomorrow it sends nothing, and says so.
async fn waits(network: &mut Network, new: &str) {
    scene::until("it says why it waits", async || {
        status(network, new)["link"]["state"] == "keys_wait"
    })
    .await;
    let said = node(network, &["status", "--data", new]);
    assert!(said.contains("count from a day after"), "{said}");
    assert_eq!(status(network, new)["alarms"], serde_json::json!([]));
}

/// The new keys count; nobody has to do anything, but for not waiting minutes.
async fn a_day_later(network: &mut Network) {
    network.set_clock(DAY_MS).unwrap();
    network.crash_gateway().await.unwrap();
    scene::until_up(network, GP).await;
    network.crash_node(PEERS).await.unwrap();
    scene::until_up(network, PEERS).await;
}

async fn both_ways(tell: &mut Teller<'_>) {
    let b = tell.refer(company(cast::OKSANA, said::CLASS)).await.unwrap();
    tell.expect(GP, &b, State::Received, "it is there").await.unwrap();
    assert!(tell.open(PEERS, &b).await.unwrap().contains(cast::OKSANA.name));
    let d = tell.refer(doctor(cast::HAMID, said::MEALS)).await.unwrap();
    tell.expect(PEERS, &d, State::Received, "it is there")
        .await
        .unwrap();
    assert!(tell.open(GP, &d).await.unwrap().contains(cast::HAMID.name));
}

/// A referral that was accepted.
async fn accepted(tell: &mut Teller<'_>, ask: Ask) -> Sent {
    let sent = tell.refer(ask).await.unwrap();
    tell.expect(ask.to, &sent, State::Received, "it is there")
        .await
        .unwrap();
    tell.moves(ask.to, &sent, Move::Acknowledge, None).await.unwrap();
    tell.moves(ask.to, &sent, Move::Accept, None).await.unwrap();
    tell.expect(ask.from, &sent, State::Accepted, "a yes")
        .await
        .unwrap();
    sent
}

/// A referral that was declined, and is over.
async fn declined(tell: &mut Teller<'_>, ask: Ask) -> Sent {
    let sent = tell.refer(ask).await.unwrap();
    tell.expect(ask.to, &sent, State::Received, "it is there")
        .await
        .unwrap();
    tell.moves(ask.to, &sent, Move::Acknowledge, None).await.unwrap();
    let full = Some(Reason::Full);
    tell.moves(ask.to, &sent, Move::Decline, full).await.unwrap();
    tell.expect(ask.from, &sent, State::Declined, "a no")
        .await
        .unwrap();
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_laptop_with_its_bundle_at_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = scene::network(folder.path()).await;
    let (old, shares) = (data(&network, PEERS), shares(&network, PEERS));
    let mut tell = Teller::of(&mut network);
    let open = accepted(&mut tell, company(cast::AMAL, said::AMAL)).await;
    bundle_at_gateway(tell.network, folder.path()).await;
    let late = accepted(&mut tell, company(cast::SELAM, said::TEA)).await;
    let words = four_words(tell.network);

    let token = lost(tell.network, folder.path());
    is_cut_off(tell.network, &old).await;
    let new: PathBuf = folder.path().join("new");
    let place = new.display().to_string();
    let load = [
        "restore", "--data", &place, "--reason", "lost", "--token", &token, "--json",
    ];
    let restored = json(&node_with(tell.network, &load, &shares));
    assert_eq!(restored["epoch"], 2, "{restored}");
    let thief = moves_in(tell.network, &new, false).await;
    waits(tell.network, &place).await;
    assert_ne!(status(tell.network, &old)["link"]["state"], "up");
    let early = tell.refer(doctor(cast::LETESH, said::DOCTOR)).await.unwrap_err();
    assert!(early.to_string().contains("nothing new can be sent"), "{early}");
    // What is open may go on, and waits until the keys count.
    tell.moves(PEERS, &open, Move::Start, None).await.unwrap();

    a_day_later(tell.network).await;
    tell.expect(PEERS, &late, State::Accepted, "it came again")
        .await
        .unwrap();
    assert!(tell.open(PEERS, &late).await.unwrap().contains(cast::SELAM.name));
    assert!(tell.open(PEERS, &open).await.unwrap().contains(cast::AMAL.name));
    tell.expect(GP, &open, State::InProgress, "it goes on")
        .await
        .unwrap();
    both_ways(&mut tell).await;
    assert_ne!(four_words(tell.network), words);
    scene::export_verifies(tell.network, PEERS, folder.path()).await;
    well(tell.network).await;
    drop(thief);
    cannot_renew(tell.network, folder.path(), Path::new(&old)).await;
    network.stop().await.unwrap();
}

/// So late that its certificate is due, the stolen laptop is switched on again: it gets none.
async fn cannot_renew(network: &mut Network, folder: &Path, old: &Path) {
    let file = old.join("keys/tls.pem");
    let certificate = std::fs::read(&file).unwrap();
    network.set_clock(4 * DAY_MS).unwrap();
    let new = network.change_node(PEERS, old.to_owned(), None).unwrap();
    network.start_node(PEERS).await.unwrap();
    let log = folder.join(format!("{}.log", PEERS.id));
    scene::until("it asks in vain", async || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("the certificate was not renewed") && said.contains("the gateway ended the stream")
    })
    .await;
    assert_ne!(status(network, &old.display().to_string())["link"]["state"], "up");
    assert_eq!(std::fs::read(&file).unwrap(), certificate);
    drop(new);
}

/// The databases are as signed, and nobody has raised an alarm.
async fn well(network: &Network) {
    for org in [GP, PEERS] {
        scene::until_up(network, org).await;
    }
    scene::all_well(network);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_laptop_without_any_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = scene::network(folder.path()).await;
    let old = data(&network, PEERS);
    let mut tell = Teller::of(&mut network);
    let came = accepted(&mut tell, company(cast::AMAL, said::AMAL)).await;
    let went = accepted(&mut tell, doctor(cast::LETESH, said::DOCTOR)).await;
    let over = declined(&mut tell, company(cast::SELAM, said::TEA)).await;
    let ours_over = declined(&mut tell, doctor(cast::DAWIT, said::COAT)).await;

    let token = lost(tell.network, folder.path());
    is_cut_off(tell.network, &old).await;
    let new = folder.path().join("new");
    let place = new.display().to_string();
    node(tell.network, &["join", &token, "--data", &place]);
    let thief = moves_in(tell.network, &new, true).await;
    waits(tell.network, &place).await;
    assert_eq!(lines(tell.network, PEERS, Side::Inbox).await.len(), 0);

    a_day_later(tell.network).await;
    tell.expect(PEERS, &came, State::Accepted, "it is back")
        .await
        .unwrap();
    assert!(tell.open(PEERS, &came).await.unwrap().contains(cast::AMAL.name));
    tell.moves(PEERS, &came, Move::Start, None).await.unwrap();
    tell.expect(GP, &came, State::InProgress, "it goes on")
        .await
        .unwrap();
    tell.expect(PEERS, &went, State::Accepted, "it is listed")
        .await
        .unwrap();
    let network_now = &*tell.network;
    assert_eq!(count(network_now, PEERS, Side::Inbox, &came).await, 1);
    assert_eq!(count(network_now, PEERS, Side::Sent, &went).await, 1);
    assert_eq!(count(network_now, PEERS, Side::Inbox, &over).await, 0);
    assert_eq!(count(network_now, PEERS, Side::Sent, &ours_over).await, 0);
    both_ways(&mut tell).await;
    drop(thief);
    well(&network).await;
    scene::export_verifies(&network, PEERS, folder.path()).await;
    network.stop().await.unwrap();
}
