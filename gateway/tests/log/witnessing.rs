//! Cosignatures of the policy's witnesses: counted as the policy says, forged, foreign and late ones refused.

use super::DATABASE;
use crate::fixture::{Network, Node, until};
use kith_gateway::keys::{PolicyTerms, RootKeys, put_policy};
use kith_gateway::policy::refresh;
use kith_gateway::witnessing::{log_key, standing};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{KeyKind, KeyName, Note, NoteSignature, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::problem::Problem;
use kith_proto::sign::SigningKey;
use kith_proto::v1;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame;
use kith_service::status::failure_of;
use std::time::Duration;
use tokio_stream::StreamExt as _;

const NAMES: [&str; 2] = ["w1.example", "w2.example"];

fn key(number: usize) -> SigningKey {
    SigningKey::from_seed([u8::try_from(number).unwrap() + 1; 32]).unwrap()
}

fn name(number: usize) -> KeyName {
    NAMES[number].parse().unwrap()
}

/// Puts a policy of the two witnesses into force.
async fn ask_for(network: &Network, threshold: u32) {
    let root = RootKeys::load(&network.folder.path().join("network/root")).unwrap();
    let witness = |number| VerifierKey::new(name(number), KeyKind::Cosignature, key(number).public());
    let terms = PolicyTerms {
        witnesses: &[witness(0), witness(1)],
        threshold,
        above: 0,
    };
    let signed = root.sign_policy(terms, network.clock.now_ms()).unwrap();
    put_policy(&network.folder.path().join("network/root"), &signed).unwrap();
    put_policy(&network.config.data_dir, &signed).unwrap();
    refresh(&network.gateway).await.unwrap();
    assert_eq!(
        network.gateway.policy().policy.threshold(),
        usize::try_from(threshold).unwrap()
    );
}

/// What is on offer and has nobody's cosignature, of at least this size.
async fn offered(network: &Network, size: u64) -> Note {
    let mut offered = None;
    until("a checkpoint is offered", async || {
        let epoch = network.gateway.log.newest().await.unwrap();
        offered = epoch.offered.filter(|note| {
            let head = *note.text().parse::<Checkpoint>().unwrap().head();
            head.size >= size && head.size == epoch.frontier.size() && note.signatures().len() == 1
        });
        offered.is_some()
    })
    .await;
    offered.unwrap()
}

fn line(note: &Note, number: usize) -> NoteSignature {
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    checkpoint
        .cosign(&name(number), &key(number), 1_800_000_000)
        .unwrap()
}

async fn add(network: &Network, gp: &Node, note: &Note, lines: &[NoteSignature]) -> Result<bool, Problem> {
    let note = Note::new(note.text().to_owned(), lines.to_vec()).unwrap();
    let request = v1::AddCosignatureRequest {
        note: note.to_string(),
    };
    let answer = gp.log(network).await.add_cosignature(request).await;
    answer
        .map(|answer| answer.into_inner().counted)
        .map_err(|refused| failure_of(&refused).problem)
}

async fn counts(network: &Network) -> bool {
    let epoch = network.gateway.log.newest().await.unwrap();
    let policy = network.gateway.policy();
    let counted = epoch
        .counted
        .filter(|note| Some(note.text()) == epoch.offered.as_ref().map(Note::text));
    counted.is_some_and(|note| {
        let (_, standing) = standing(&network.gateway, &policy, 1, &note).unwrap();
        standing.is_counted()
    })
}

#[tokio::test]
async fn a_checkpoint_counts_when_as_many_witnesses_as_the_policy_asks_have_cosigned() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    for threshold in [1, 2] {
        ask_for(&network, threshold).await;
        network.grow(3).await;
        let note = offered(&network, 4).await;
        assert!(!counts(&network).await);
        let one = add(&network, &gp, &note, &[line(&note, 0)]).await;
        assert_eq!(one, Ok(threshold == 1));
        assert_eq!(counts(&network).await, threshold == 1);
        // The same again, and with what the log itself signed and strangers under it.
        let stranger: Checkpoint = note.text().parse().unwrap();
        let stranger = stranger
            .cosign(&"w9.example".parse().unwrap(), &key(8), 1)
            .unwrap();
        let own = note.signatures()[0].clone();
        let again = add(&network, &gp, &note, &[own, line(&note, 0), stranger]).await;
        assert_eq!(again, Ok(threshold == 1));
        assert_eq!(add(&network, &gp, &note, &[line(&note, 1)]).await, Ok(true));
        assert!(counts(&network).await);
        let counted = network.gateway.log.newest().await.unwrap().counted.unwrap();
        assert_eq!(counted.signatures().len(), 3, "{counted}");
        Checkpoint::open(&counted, &[log_key(&network.gateway, 1)]).unwrap();
    }
    network.stop().await;
}

#[tokio::test]
async fn forged_foreign_and_late_cosignatures_are_refused_and_leave_nothing() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    ask_for(&network, 1).await;
    network.grow(3).await;
    let note = offered(&network, 4).await;
    let checkpoint: Checkpoint = note.text().parse().unwrap();

    // Right name and id, wrong text: a cosignature of another checkpoint.
    let origin = Keeper::Gateway.origin(&network.gateway.network, 1);
    let mut head = *checkpoint.head();
    head.size += 1;
    let other = Checkpoint::new(&origin, head).unwrap();
    let forged = other.cosign(&name(0), &key(0), 1).unwrap();
    let refused = add(&network, &gp, &note, std::slice::from_ref(&forged)).await;
    assert_eq!(refused, Err(Problem::Unauthenticated));
    // Beside a good one nothing of it is taken either.
    let refused = add(&network, &gp, &note, &[line(&note, 0), forged]).await;
    assert_eq!(refused, Err(Problem::Unauthenticated));
    // A witness of no policy, and one that only borrowed the name.
    for (named, number) in [("w9.example", 0), (NAMES[0], 8)] {
        let foreign = checkpoint
            .cosign(&named.parse().unwrap(), &key(number), 1)
            .unwrap();
        let refused = add(&network, &gp, &note, &[foreign]).await;
        assert_eq!(refused, Err(Problem::Unauthenticated), "{named}");
    }
    // Of another checkpoint than the one on offer, rightly signed.
    let ahead = other
        .note(vec![other.cosign(&name(0), &key(0), 1).unwrap()])
        .unwrap();
    let refused = add(&network, &gp, &ahead, &[line(&ahead, 0)]).await;
    assert_eq!(refused, Err(Problem::WrongState));
    let epoch = network.gateway.log.newest().await.unwrap();
    assert_eq!(epoch.offered.unwrap().signatures().len(), 1);
    assert!(!counts(&network).await);

    // Late: something else is on offer by now.
    network.grow(2).await;
    let next = offered(&network, checkpoint.head().size + 1).await;
    let late = add(&network, &gp, &note, &[line(&note, 0)]).await;
    assert_eq!(late, Err(Problem::WrongState));
    assert_eq!(add(&network, &gp, &next, &[line(&next, 0)]).await, Ok(true));
    network.stop().await;
}

#[tokio::test]
async fn replicas_merge_cosignatures_that_arrive_at_once() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    ask_for(&network, 2).await;
    let replica = network.second().await;
    let note = offered(&network, 4).await;
    let [first, second] =
        [0, 1].map(|number| Note::new(note.text().to_owned(), vec![line(&note, number)]).unwrap());
    let (one, two) = tokio::join!(
        kith_gateway::witnessing::add(&network.gateway, &first),
        kith_gateway::witnessing::add(&replica, &second)
    );
    assert_eq!([one.unwrap(), two.unwrap()].iter().filter(|c| **c).count(), 1);
    assert!(counts(&network).await);
    assert!(
        gp.log(&network)
            .await
            .get_checkpoint(v1::GetCheckpointRequest {})
            .await
            .is_ok()
    );
    network.stop().await;
}

#[tokio::test]
async fn an_attached_node_is_told_of_what_is_on_offer() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let hello = v1::AttachRequest {
        frame: Some(Up::Hello(v1::NodeHello {
            version: 1,
            ..v1::NodeHello::default()
        })),
    };
    let frames = tokio_stream::once(hello).chain(tokio_stream::pending());
    let attached = gp.relay(&network).await.attach(frames).await.unwrap();
    let mut down = attached.into_inner();
    network.grow(5).await;
    let told = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let response = down.next().await.unwrap().unwrap();
            if let Some(Frame::CheckpointOffered(offered)) = response.frame {
                assert_eq!(response.notice_number, 0);
                if offered.size >= 9 {
                    return offered;
                }
            }
        }
    });
    assert_eq!(told.await.unwrap().epoch, 1);
    drop(down);
    network.stop().await;
}
