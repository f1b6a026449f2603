//! A node comes back from yesterday's bundle: what happened since is said by the network, and what was withdrawn stays gone.

use crate::scene::{self, DAY_MS, company, count, data, doctor, json, lines, node, node_with, shares};
use crate::story;
use kith_demo::cast::{self, GP, PEERS, Person, said};
use kith_demo::network::Network;
use kith_demo::story::steps::{Sent, Teller};
use kith_proto::lifecycle::{Consent, Move, State};
use kith_proto::v1::{self, Side};
use std::path::{Path, PathBuf};

const A: Person = cast::SELAM;
const B: Person = cast::OKSANA;
const C: Person = cast::AMAL;
const D: Person = cast::LETESH;

/// The four referrals: before the bundle and withdrawn after it; after it; accepted after it; sent by the circle after it.
struct Four {
    a: Sent,
    b: Sent,
    c: Sent,
    d: Sent,
}

/// What happens before and after the bundle, which is made at `bundle`.
async fn live(network: &mut Network, bundle: &str) -> anyhow::Result<Four> {
    let mut tell = Teller::of(network);
    let a = tell.refer(company(A, said::TEA)).await?;
    let c = tell.refer(company(C, said::AMAL)).await?;
    for sent in [&a, &c] {
        tell.expect(GP, sent, State::Received, "it is there").await?;
    }
    assert!(tell.open(PEERS, &a).await?.contains(A.name));
    let at = data(tell.network, PEERS);
    node(tell.network, &["recovery", "bundle", bundle, "--data", &at]);
    tell.network.set_clock(DAY_MS)?;

    tell.withdraw(GP, &a).await?;
    tell.expect(PEERS, &a, State::Withdrawn, "it is erased").await?;
    tell.expect_proof(GP, &a).await?;
    let b = tell.refer(company(B, said::CLASS)).await?;
    tell.expect(GP, &b, State::Received, "it is there").await?;
    tell.moves(PEERS, &c, Move::Acknowledge, None).await?;
    tell.moves(PEERS, &c, Move::Accept, None).await?;
    tell.expect(GP, &c, State::Accepted, "a yes").await?;
    let d = tell.refer(doctor(D, said::DOCTOR)).await?;
    tell.expect(PEERS, &d, State::Received, "it is there").await?;
    Ok(Four { a, b, c, d })
}

/// Nothing of the person who withdrew, in no list and no file.
async fn a_is_gone(tell: &mut Teller<'_>, a: &Sent) -> anyhow::Result<()> {
    let line = tell.expect(PEERS, a, State::Withdrawn, "it is withdrawn").await?;
    assert_ne!(line.consent, Consent::Live.number());
    let thread = tell.thread(PEERS, a).await?;
    assert_eq!(thread.referral, None);
    assert!(thread.messages.is_empty());
    let mut client = tell.network.client(PEERS).await?;
    for word in A.name.split_whitespace() {
        let request = v1::ListPersonsRequest {
            name: word.to_owned(),
            ..Default::default()
        };
        let found = client.persons.list_persons(request).await?.into_inner();
        assert!(found.persons.is_empty(), "{found:?}");
    }
    Ok(())
}

/// Each referral is on both sides as it was, and goes on.
async fn all_go_on(network: &mut Network, four: &Four) -> anyhow::Result<()> {
    let mut tell = Teller::of(network);
    a_is_gone(&mut tell, &four.a).await?;

    tell.expect(PEERS, &four.b, State::Received, "it came again")
        .await?;
    assert!(tell.open(PEERS, &four.b).await?.contains(B.name));
    tell.moves(PEERS, &four.b, Move::Acknowledge, None).await?;
    tell.moves(PEERS, &four.b, Move::Accept, None).await?;
    tell.expect(GP, &four.b, State::Accepted, "a yes").await?;

    tell.expect(PEERS, &four.c, State::Accepted, "it stands as it did")
        .await?;
    tell.expect(GP, &four.c, State::Accepted, "it stands as it did")
        .await?;
    assert!(tell.open(PEERS, &four.c).await?.contains(C.name));
    tell.moves(PEERS, &four.c, Move::Start, None).await?;
    tell.expect(GP, &four.c, State::InProgress, "it goes on").await?;

    let line = tell
        .expect(PEERS, &four.d, State::Received, "it is listed")
        .await?;
    assert_eq!((line.side(), line.organisation.as_str()), (Side::Sent, GP.id));
    tell.moves(GP, &four.d, Move::Acknowledge, None).await?;
    tell.moves(GP, &four.d, Move::Accept, None).await?;
    tell.expect(PEERS, &four.d, State::Accepted, "the answer comes")
        .await?;
    for (there, sent) in [
        (Side::Inbox, &four.a),
        (Side::Inbox, &four.b),
        (Side::Inbox, &four.c),
        (Side::Sent, &four.d),
    ] {
        assert_eq!(count(tell.network, PEERS, there, sent).await, 1, "{}", sent.code);
    }
    assert_eq!(lines(tell.network, PEERS, Side::Inbox).await.len(), 3);
    assert_eq!(lines(tell.network, PEERS, Side::Sent).await.len(), 1);
    assert_eq!(lines(tell.network, GP, Side::Sent).await.len(), 3);
    assert_eq!(lines(tell.network, GP, Side::Inbox).await.len(), 1);
    Ok(())
}

/// The story, with the new node's database in the new folder or at a URL.
async fn comes_back(folder: &Path, store: Option<&str>) -> PathBuf {
    let mut network = scene::network(folder).await;
    let bundle = folder.join("yesterday").display().to_string();
    let four = live(&mut network, &bundle).await.unwrap();
    let (old, shares) = (data(&network, PEERS), shares(&network, PEERS));
    network.stop_node(PEERS).await.unwrap();
    std::fs::remove_dir_all(&old).unwrap();

    let checked = json(&node_with(
        &network,
        &["restore", &bundle, "--check", "--json"],
        &shares,
    ));
    assert_eq!(
        (&checked["organisation"], &checked["referrals"]),
        (&PEERS.id.into(), &2.into())
    );
    let new = folder.join("new");
    let place = new.display().to_string();
    let mut load = vec!["restore", &bundle, "--data", &place, "--reason", "lost", "--json"];
    load.extend(store.iter().flat_map(|url| ["--store", *url]));
    let restored = json(&node_with(&network, &load, &shares));
    assert_eq!(restored["epoch"], 2, "{restored}");
    assert_eq!(restored["withdrawn"], 1, "{restored}");
    network.change_node(PEERS, new.clone(), None).unwrap();
    network.start_node(PEERS).await.unwrap();
    scene::until_up(&network, PEERS).await;

    all_go_on(&mut network, &four).await.unwrap();
    scene::all_well(&network);
    let told = scene::export_verifies(&network, PEERS, folder).await;
    assert!(told.lines().count() > 10, "{told}");
    // And it could come back once more.
    let again = folder.join("again").display().to_string();
    node(&network, &["recovery", "bundle", &again, "--data", &place]);
    let checked = json(&node_with(
        &network,
        &["restore", &again, "--check", "--json"],
        &shares,
    ));
    assert_eq!(checked["referrals"], 4, "{checked}");
    network.stop_node(PEERS).await.unwrap();
    assert!(scene::files_with(&new, &names()).is_empty());
    network.stop().await.unwrap();
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_from_yesterdays_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let new = comes_back(folder.path(), None).await;
    // The names were looked for where the rows are.
    assert!(!scene::files_with(&new, &[GP.id]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_from_yesterdays_bundle_on_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let store = story::new_database().await;
    comes_back(folder.path(), Some(&store)).await;
    let dump = story::dump(&store).await;
    let digits = dump.to_lowercase();
    assert!(dump.contains(GP.id), "no table was searched");
    for name in names() {
        assert!(!dump.contains(name), "{name}");
        let hex = data_encoding::HEXLOWER.encode(name.as_bytes());
        assert!(!digits.contains(&hex), "{name}");
    }
}

fn names() -> Vec<&'static str> {
    let people = [A, B, C, D].into_iter();
    people.flat_map(|person| person.name.split_whitespace()).collect()
}
