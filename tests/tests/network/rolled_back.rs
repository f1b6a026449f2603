//! A node's data folder is put back as it was: it serves nothing until it is restored, and then nothing is lost.

use crate::scene::{self, company, count, data, doctor, json, lines, node, status};
use kith_demo::cast::{self, GP, PEERS, said};
use kith_demo::client::Refused;
use kith_demo::story::steps::Teller;
use kith_proto::lifecycle::{Move, State};
use kith_proto::problem::Problem;
use kith_proto::v1::{self, Side};
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &name);
        } else {
            std::fs::copy(&path, &name).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_rolled_back_in_place_is_restored_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = scene::network(folder.path()).await;
    let place = data(&network, PEERS);
    let (here, kept) = (Path::new(&place), folder.path().join("kept"));
    let mut tell = Teller::of(&mut network);
    let c = tell.refer(company(cast::AMAL, said::AMAL)).await.unwrap();
    tell.expect(PEERS, &c, State::Received, "it is there")
        .await
        .unwrap();
    tell.network.stop_node(PEERS).await.unwrap();
    copy(here, &kept);
    tell.network.start_node(PEERS).await.unwrap();

    tell.moves(PEERS, &c, Move::Acknowledge, None).await.unwrap();
    tell.moves(PEERS, &c, Move::Accept, None).await.unwrap();
    tell.expect(GP, &c, State::Accepted, "a yes").await.unwrap();
    let b = tell.refer(company(cast::OKSANA, said::CLASS)).await.unwrap();
    tell.expect(GP, &b, State::Received, "it is there").await.unwrap();
    let d = tell.refer(doctor(cast::LETESH, said::DOCTOR)).await.unwrap();
    tell.expect(PEERS, &d, State::Received, "it is there")
        .await
        .unwrap();
    tell.network.stop_node(PEERS).await.unwrap();
    std::fs::remove_dir_all(here).unwrap();
    copy(&kept, here);

    tell.network.start_node(PEERS).await.unwrap();
    // Its first answer comes after the gateway has said what it has seen.
    let mut client = tell.network.client(PEERS).await.unwrap();
    let listed = client
        .referrals
        .list_referrals(v1::ListReferralsRequest {
            side: Side::Inbox.into(),
            ..Default::default()
        })
        .await;
    let refused = Refused::from(listed.unwrap_err());
    assert!(refused.sentence.contains("kith-node restore"), "{refused}");
    assert_eq!(refused.problem, Problem::WrongState, "{refused}");
    assert_eq!(
        status(tell.network, &place)["alarms"][0]["kind"],
        "own_log_behind"
    );

    tell.network.stop_node(PEERS).await.unwrap();
    let restore = ["restore", "--data", &place, "--reason", "broken", "--json"];
    assert_eq!(json(&node(tell.network, &restore))["epoch"], 2);
    tell.network.start_node(PEERS).await.unwrap();
    scene::until_up(tell.network, PEERS).await;
    tell.expect(PEERS, &c, State::Accepted, "it stands as it did")
        .await
        .unwrap();
    tell.expect(PEERS, &b, State::Received, "it came again")
        .await
        .unwrap();
    assert!(tell.open(PEERS, &b).await.unwrap().contains(cast::OKSANA.name));
    tell.expect(PEERS, &d, State::Received, "it is listed")
        .await
        .unwrap();
    for (side, sent) in [(Side::Inbox, &c), (Side::Inbox, &b), (Side::Sent, &d)] {
        assert_eq!(count(&network, PEERS, side, sent).await, 1);
    }
    assert_eq!(lines(&network, PEERS, Side::Inbox).await.len(), 2);
    scene::all_well(&network);
    scene::export_verifies(&network, PEERS, folder.path()).await;
    network.stop().await.unwrap();
}
