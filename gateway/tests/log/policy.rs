//! The witness policy in force: taken up once, from the folder or from the store, and never rolled back.

use super::DATABASE;
use crate::fixture::Network;
use kith_gateway::keys::{PolicyTerms, RootKeys, put_policy};
use kith_gateway::policy::{PolicyError, refresh};
use kith_proto::log::origin::Keeper;
use kith_proto::sign::SigningKey;
use kith_proto::v1;

/// Signs the policy with this number, for one witness.
fn signed(network: &Network, number: u64) -> v1::Signed {
    let root = RootKeys::load(&network.folder.path().join("network/root")).unwrap();
    let key = SigningKey::from_seed([7; 32]).unwrap();
    let witness = Keeper::Node("riverside-gp".parse().unwrap()).witness_key(&root.network, key.public());
    let terms = PolicyTerms {
        witnesses: &[witness],
        threshold: 1,
        above: number - 1,
    };
    root.sign_policy(terms, network.clock.now_ms()).unwrap()
}

async fn published(network: &Network) -> usize {
    let codes = network.audited().await;
    codes.iter().filter(|code| *code == "policy_published").count()
}

#[tokio::test]
async fn a_policy_in_the_folder_is_taken_up_once_and_an_older_one_never_again() {
    let network = Network::start(DATABASE).await;
    assert_eq!(network.gateway.policy().policy.number(), 1);
    let dir = &network.config.data_dir;
    let first = std::fs::read(dir.join("policy.signed")).unwrap();

    put_policy(dir, &signed(&network, 3)).unwrap();
    refresh(&network.gateway).await.unwrap();
    assert_eq!(network.gateway.policy().policy.number(), 3);
    assert_eq!(network.gateway.policy().policy.threshold(), 1);
    refresh(&network.gateway).await.unwrap();
    let replica = network.second().await;
    assert_eq!(replica.policy().policy.number(), 3);
    assert_eq!(published(&network).await, 2);

    // An old copy, put there while it serves, while it is stopped, or beside a replica.
    std::fs::write(dir.join("policy.signed"), first).unwrap();
    let refused = refresh(&network.gateway).await.unwrap_err();
    assert!(
        matches!(
            refused,
            PolicyError::RolledBack {
                folder: 1,
                in_force: 3
            }
        ),
        "{refused}"
    );
    assert_eq!(network.second().await.policy().policy.number(), 3);
    assert_eq!(network.gateway.policy().policy.number(), 3);
    // Another statement of the same number is no newer one.
    network.time.advance(1);
    put_policy(dir, &signed(&network, 3)).unwrap();
    assert!(matches!(
        refresh(&network.gateway).await,
        Err(PolicyError::RolledBack { .. })
    ));
    assert_eq!(published(&network).await, 2);
    network.stop().await;
}

#[tokio::test]
async fn a_running_gateway_follows_its_folder_within_seconds_and_believes_nobody_but_the_root() {
    let network = Network::start(DATABASE).await;
    let forged = v1::Signed {
        signature: vec![1; 64],
        ..signed(&network, 9)
    };
    put_policy(&network.config.data_dir, &forged).unwrap();
    assert!(matches!(
        refresh(&network.gateway).await,
        Err(PolicyError::File(_))
    ));
    assert_eq!(network.gateway.policy().policy.number(), 1);
    put_policy(&network.config.data_dir, &signed(&network, 2)).unwrap();
    crate::fixture::until("the policy is in force", async || {
        network.gateway.policy().policy.number() == 2
    })
    .await;
    network.stop().await;
}
