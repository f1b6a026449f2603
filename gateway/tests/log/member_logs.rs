//! The gateway as the witness of its members: cosigns once, and never a roll-back or a fork.

use super::DATABASE;
use crate::fixture::{Network, Node};
use kith_gateway::member_logs::Answer;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_proto::log::proof::Plan;
use kith_proto::log::tree::{Frontier, Hash, TreeHead, head_of};
use kith_proto::log::witness::{AddCheckpoint, read_answer};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::add_checkpoint_response::Outcome;
use kith_service::log::seen;
use kith_service::status::failure_of;
use std::collections::BTreeMap;

/// A member's log of numbered leaves; `turn` makes another history.
struct Leaves {
    turn: u64,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl Leaves {
    fn new(turn: u64) -> Self {
        let (mut nodes, mut frontier) = (BTreeMap::new(), Frontier::new(0, Vec::new()).unwrap());
        for number in 0..64 {
            let append = frontier.append(Self::leaf(turn, number), |node, hash| {
                nodes.insert((node.level, node.index), hash);
            });
            append.unwrap();
        }
        Self { turn, nodes }
    }

    fn leaf(turn: u64, number: u64) -> Hash {
        Hash::of_leaf(format!("{number} {}", if number < 10 { 0 } else { turn }).as_bytes())
    }

    fn head(&self, size: u64) -> TreeHead {
        head_of((0..size).map(|number| Self::leaf(self.turn, number))).unwrap()
    }

    /// Asks for a cosignature under this size, with a proof from the old one.
    fn request(&self, node: &Node, epoch: u64, old: u64, size: u64) -> AddCheckpoint {
        let plan = Plan::consistency(old.min(size), size).unwrap();
        let proof = plan.hashes(|node| Ok::<_, ()>(self.nodes[&(node.level, node.index)]));
        let network = "lune-valley.example".parse().unwrap();
        let origin = Keeper::Node(node.org.clone()).origin(&network, epoch);
        let checkpoint = Checkpoint::new(&origin, self.head(size)).unwrap();
        let line = checkpoint.sign(&node.signing).unwrap();
        AddCheckpoint::new(old, proof.unwrap(), checkpoint.note(vec![line]).unwrap()).unwrap()
    }
}

async fn ask(network: &Network, caller: &Node, request: &AddCheckpoint) -> Result<Outcome, Problem> {
    let request = v1::AddCheckpointRequest {
        request: request.to_string(),
    };
    let answer = caller.log(network).await.add_checkpoint(request).await;
    let answer = answer.map_err(|refused| failure_of(&refused).problem)?;
    Ok(answer.into_inner().outcome.unwrap())
}

/// The note with what was answered verifies as cosigned by the gateway.
fn verify(network: &Network, request: &AddCheckpoint, lines: &str) {
    let mut note: Note = request.note().clone();
    for line in read_answer(lines).unwrap() {
        note.add(line).unwrap();
    }
    let gateway = &network.gateway;
    let key = Keeper::Gateway.witness_key(&gateway.network, gateway.keys.signing.public());
    assert_eq!(note.verify(&[key]).unwrap()[0].time_s, Some(1_800_000_000));
}

#[tokio::test]
async fn a_log_is_cosigned_as_it_grows_and_never_rolled_back_or_forked() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let log = Leaves::new(1);
    let first = log.request(&gp, 1, 0, 20);
    let Ok(Outcome::Cosignatures(lines)) = ask(&network, &gp, &first).await else {
        panic!("the first checkpoint is cosigned")
    };
    verify(&network, &first, &lines);
    // Rolled back, or asked without knowing: the size that is held is told, and nothing signed.
    let held = Ok(Outcome::HeldSize(20));
    assert_eq!(ask(&network, &gp, &log.request(&gp, 1, 0, 15)).await, held);
    assert_eq!(ask(&network, &gp, &log.request(&gp, 1, 5, 30)).await, held);
    let smaller = log.request(&gp, 1, 20, 15);
    assert_eq!(ask(&network, &gp, &smaller).await, Err(Problem::Invalid));

    // Forked: another history from before what was cosigned.
    let other = Leaves::new(2);
    for (old, size) in [(20, 20), (20, 30), (20, 30)] {
        let fork = other.request(&gp, 1, old, size);
        assert_eq!(ask(&network, &gp, &fork).await, Err(Problem::Conflict));
    }
    let store = &network.gateway.store;
    let forks = store.read("forks", |mut tx| async move { seen::forks(&mut tx).await });
    let forks = forks.await.unwrap();
    assert_eq!(forks.len(), 2);
    assert!(forks.iter().all(|fork| fork.held == *first.note()));
    let codes = network.audited().await;
    let alarms = codes.iter().filter(|code| *code == "alarm_raised").count();
    assert_eq!(alarms, 2, "one for each note");

    let next = log.request(&gp, 1, 20, 33);
    assert!(matches!(
        ask(&network, &gp, &next).await,
        Ok(Outcome::Cosignatures(_))
    ));
    network.stop().await;
}

#[tokio::test]
async fn nobody_speaks_for_another_log_and_an_epoch_that_is_over_stays_over() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let circle = network.join("womens-circle").await;
    let log = Leaves::new(1);
    let request = log.request(&gp, 1, 0, 9);
    assert_eq!(ask(&network, &circle, &request).await, Err(Problem::NotFound));
    // With another's key under one's own name.
    let mut borrowed = Node::new("riverside-gp");
    borrowed.chain_pem.clone_from(&gp.chain_pem);
    borrowed.tls_key_pem.clone_from(&gp.tls_key_pem);
    let forged = log.request(&borrowed, 1, 0, 9);
    assert_eq!(
        ask(&network, &borrowed, &forged).await,
        Err(Problem::Unauthenticated)
    );

    let cosigned = |answer| matches!(answer, Ok(Outcome::Cosignatures(_)));
    assert!(cosigned(ask(&network, &gp, &request).await));
    let restored = Leaves::new(2);
    assert!(cosigned(
        ask(&network, &gp, &restored.request(&gp, 3, 0, 12)).await
    ));
    for epoch in [1, 2] {
        let over = log.request(&gp, epoch, if epoch == 1 { 9 } else { 0 }, 20);
        assert_eq!(ask(&network, &gp, &over).await, Err(Problem::WrongState));
    }
    network.stop().await;
}

#[tokio::test]
async fn of_two_requests_at_once_whose_trees_differ_one_is_cosigned() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let replica = network.second().await;
    let (log, other) = (Leaves::new(1), Leaves::new(2));
    let add = kith_gateway::member_logs::add_checkpoint;
    // From nothing, and from a common beginning in a later epoch.
    let common = log.request(&gp, 2, 0, 8).to_string();
    for (epoch, old) in [(1, 0), (2, 8)] {
        if epoch == 2 {
            add(&network.gateway, None, &common).await.unwrap();
        }
        let one = log.request(&gp, epoch, old, 12).to_string();
        let two = other.request(&gp, epoch, old, 13).to_string();
        let (first, second) = tokio::join!(add(&network.gateway, None, &one), add(&replica, None, &two));
        let cosigned = [&first, &second]
            .into_iter()
            .filter(|answer| matches!(answer, Ok(Answer::Cosigned(_))))
            .count();
        assert_eq!(cosigned, 1, "{first:?} {second:?}");
    }
    network.stop().await;
}

#[tokio::test]
async fn plain_https_answers_with_the_statuses_of_a_witness() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let log = Leaves::new(1);
    let post = async |body: &str| network.post("/add-checkpoint", body).await;
    assert_eq!(post("nonsense").await.status, 400);
    assert_eq!(post(&"x".repeat(300_000)).await.status, 413);
    let stranger = Node::new("nobody-here");
    let unknown = log.request(&stranger, 1, 0, 9).to_string();
    assert_eq!(post(&unknown).await.status, 404);
    let forged = log.request(&Node::new("riverside-gp"), 1, 0, 9).to_string();
    assert_eq!(post(&forged).await.status, 403);
    let request = log.request(&gp, 1, 0, 9);
    let answer = post(&request.to_string()).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    verify(&network, &request, answer.text());
    let answer = post(&request.to_string()).await;
    assert_eq!((answer.status, answer.text()), (409, "9\n"));
    assert_eq!(answer.header("content-type"), Some("text/x.tlog.size"));
    let fork = Leaves::new(7).request(&gp, 1, 9, 20);
    let other = AddCheckpoint::new(9, vec![Hash([1; 32])], fork.note().clone()).unwrap();
    assert_eq!(post(&other.to_string()).await.status, 422);
    network.stop().await;
}
