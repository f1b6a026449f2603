//! Bad input to a network of real processes, as the people who gave it see it: a sentence of what happened and what to do, nothing
//! half-done, and the next good input goes through.

use kith_demo::cast::{GP, MOSQUE, Org, PEERS};
use kith_demo::client::{Client, Refused};
use kith_demo::network::Network;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_tests::load;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often something is tried until word of a change has come: every 100 ms, and far longer than any machine needs.
const TRIES: usize = 100;
const TRY_EVERY: Duration = Duration::from_millis(100);

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_role"))
}

/// A new token for an organisation.
fn invite(network: &Network, folder: &Path, org: Org) -> String {
    let registrar = folder.join("trust/registrar").display().to_string();
    let args = [
        "invite",
        org.id,
        "--kind",
        org.kind,
        "--name",
        org.name,
        "--registrar",
        &registrar,
    ];
    let printed = network.command("gateway", &args).unwrap();
    printed.lines().last().unwrap().trim().to_owned()
}

/// What `kith-node join` says of a token in a new folder.
fn join(network: &Network, data: &Path, token: &str) -> Result<String, String> {
    let data = data.display().to_string();
    let joined = network.command("node", &["join", token, "--data", &data]);
    joined.map_err(|error| error.to_string())
}

fn members(network: &Network) -> String {
    let data = network.gateway_folder().display().to_string();
    network.command("gateway", &["members", "--data", &data]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_was_altered_used_or_ran_out_joins_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join("nodes").join(name);
    let network = Network::start(program(), folder.path(), &[GP]).await.unwrap();

    let token = invite(&network, folder.path(), PEERS);
    let middle = token.len() / 2;
    let other = if &token[middle..=middle] == "A" { "B" } else { "A" };
    let mut altered = token.clone();
    altered.replace_range(middle..=middle, other);
    assert_eq!(
        join(&network, &place("altered"), &altered).unwrap_err(),
        "node said: The invite was altered; copy it again from where it was printed."
    );
    assert_eq!(
        join(&network, &place("cut"), &token[..middle]).unwrap_err(),
        "node said: The end of the invite is missing; copy the whole of it."
    );
    assert!(!place("altered").exists() && !place("cut").exists());
    let joined = join(&network, &place("good"), &token).unwrap();
    assert!(joined.contains("is now in the network"), "{joined}");

    assert_eq!(
        join(&network, &place("second"), &token).unwrap_err(),
        "node said: This token was used before. Each token joins one computer once: ask the network's owner for a new one."
    );
    let data = place("second").display().to_string();
    let not_joined = network.command("node", &["status", "--data", &data]);
    let not_joined = not_joined.unwrap_err().to_string();
    assert!(
        not_joined.contains("There is no node in") && not_joined.contains(&data),
        "{not_joined}"
    );
    assert!(!place("second").exists(), "what did not join leaves nothing");
    let again = join(&network, &place("good"), &token).unwrap_err();
    assert_eq!(
        again,
        "node said: This data folder has already joined a network, so nothing was changed; name another folder."
    );

    let token = invite(&network, folder.path(), MOSQUE);
    let a_day_and_an_hour_ms = 25 * 60 * 60 * 1000;
    let clock = folder.path().join(kith_demo::clock::FILE);
    std::fs::write(clock, a_day_and_an_hour_ms.to_string()).unwrap();
    assert_eq!(
        join(&network, &place("late"), &token).unwrap_err(),
        "node said: This token has run out. Ask the network's owner for a new one."
    );
    let listed = members(&network);
    assert!(listed.contains(GP.id) && listed.contains(PEERS.id), "{listed}");
    assert!(!listed.contains(MOSQUE.id), "{listed}");
    let token = invite(&network, folder.path(), MOSQUE);
    join(&network, &place("late"), &token).unwrap();
    assert!(members(&network).contains(MOSQUE.id));
    network.stop().await.unwrap();
}

/// Sends what each of these people agreed to until the first answer that is as wanted; gives what was sent before it, and it.
async fn send_until(
    client: &mut Client,
    to: Org,
    people: &mut impl Iterator<Item = load::Ready>,
    wanted: impl Fn(&Result<Vec<u8>, Refused>) -> bool,
) -> (Vec<Vec<u8>>, Result<Vec<u8>, Refused>) {
    let mut look = tokio::time::interval(TRY_EVERY);
    let mut sent = Vec::new();
    for ready in people.take(TRIES) {
        look.tick().await;
        let request = load::referral(client, to.id, &ready).unwrap();
        let answer = client.referrals.send_referral(request).await;
        let answer = answer
            .map(|sent| sent.into_inner().thread_id)
            .map_err(Refused::from);
        if wanted(&answer) {
            return (sent, answer);
        }
        sent.extend(answer);
    }
    panic!("it did not come to it in time");
}

async fn inbox(client: &mut Client) -> Vec<Vec<u8>> {
    let request = v1::ListReferralsRequest {
        side: v1::Side::Inbox.into(),
        ..Default::default()
    };
    let listed = client.referrals.list_referrals(request).await.unwrap();
    let lines = listed.into_inner().referrals.into_iter();
    lines.map(|line| line.thread_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_suspended_while_it_is_connected_neither_gets_nor_sends_until_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(program(), folder.path(), &[GP, PEERS])
        .await
        .unwrap();
    let (mut gp, mut peers) = (
        network.client(GP).await.unwrap(),
        network.client(PEERS).await.unwrap(),
    );
    let mut for_peers = load::prepare(&gp, PEERS.id, TRIES).await.unwrap().into_iter();
    let mut for_gp = load::prepare(&peers, GP.id, TRIES).await.unwrap().into_iter();
    let data = network.gateway_folder().display().to_string();
    let said = network.command("gateway", &["suspend", PEERS.id, "--data", &data]);
    assert!(said.unwrap().contains("is suspended"));
    // The running gateway hears of it within a second; what it takes until then it delivers.
    until_suspended(&mut gp, PEERS.id).await;

    for (client, to, people) in [(&mut gp, PEERS, &mut for_peers), (&mut peers, GP, &mut for_gp)] {
        let (before, refused) = send_until(client, to, people, Result::is_err).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.problem, Problem::MemberSuspended);
        let own = refused.sentence.starts_with("Your own organisation is suspended");
        assert_eq!(
            own,
            to.id == GP.id,
            "each is told who it is: {}",
            refused.sentence
        );
        // What left before its node had heard of it, the gateway refused.
        for thread_id in before {
            let line = client
                .until(&thread_id, "the gateway's refusal is shown", |line| {
                    line.problem == Problem::MemberSuspended.number()
                })
                .await
                .unwrap();
            assert_eq!(line.delivery(), v1::DeliveryState::Undelivered);
        }
    }
    assert!(inbox(&mut peers).await.is_empty(), "nothing came to it");
    assert!(inbox(&mut gp).await.is_empty(), "nothing came from it");

    let said = network.command("gateway", &["resume", PEERS.id, "--data", &data]);
    assert!(said.unwrap().contains("takes part again"));
    let (_, sent) = send_until(&mut gp, PEERS, &mut for_peers, Result::is_ok).await;
    let thread_id = sent.unwrap();
    peers
        .until(&thread_id, "the next good one arrives", |_| true)
        .await
        .unwrap();
    assert_eq!(inbox(&mut peers).await, [thread_id]);
    network.stop().await.unwrap();
}

/// Waits until a node lists a member as suspended, which it has from the gateway.
async fn until_suspended(client: &mut Client, organisation: &str) {
    let mut looks = tokio::time::interval(TRY_EVERY);
    for _ in 0..TRIES {
        looks.tick().await;
        let all = v1::ListOrganisationsRequest::default();
        let listed = client
            .directory
            .list_organisations(all)
            .await
            .unwrap()
            .into_inner();
        let is_suspended = |o: &v1::Organisation| o.organisation == organisation && o.suspended;
        if listed.organisations.iter().any(is_suspended) {
            return;
        }
    }
    panic!("the suspension did not arrive in time");
}
