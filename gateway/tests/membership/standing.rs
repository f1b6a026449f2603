//! Suspension from another process, seen by the running server within a second; what a tampered row is worth.

use super::DATABASE;
use crate::fixture::{Network, list};
use kith_gateway::members::Standing;
use kith_gateway::{Gateway, membership};
use kith_proto::id::OrgId;
use kith_proto::permits::MemberState;
use kith_proto::problem::Problem;
use kith_service::store::{StoreError, query};
use std::time::Duration;

/// Waits until the running gateway sees the member so, at most a second.
async fn seen(gateway: &Gateway, org: &OrgId, state: MemberState) {
    let mut cursor = gateway.members.follow();
    let seen = cursor.wait_for(|_| gateway.members.state(org) == state);
    tokio::time::timeout(Duration::from_secs(1), seen)
        .await
        .expect("the running server follows within a second")
        .unwrap();
}

#[tokio::test]
async fn a_running_server_follows_suspend_and_resume_within_a_second() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let operator = network.second().await;

    assert!(
        membership::set_standing(&operator, &node.org, Standing::Suspended)
            .await
            .unwrap()
    );
    seen(&network.gateway, &node.org, MemberState::Suspended).await;
    let listed = list(&mut node.relay(&network).await).await.unwrap();
    assert!(listed.members[0].suspended);
    // A suspended member can still renew: it must send and receive withdrawals.
    let renewal = node.renew_request(network.clock.now_ms());
    network.enrolment().await.renew(renewal).await.unwrap();
    assert!(
        !membership::set_standing(&operator, &node.org, Standing::Suspended)
            .await
            .unwrap()
    );

    assert!(
        membership::set_standing(&operator, &node.org, Standing::Active)
            .await
            .unwrap()
    );
    seen(&network.gateway, &node.org, MemberState::Active).await;
    let codes = network.audited().await;
    let about: Vec<&str> = codes
        .iter()
        .map(String::as_str)
        .filter(|c| c.starts_with("member_"))
        .collect();
    assert_eq!(about, ["member_joined", "member_suspended", "member_resumed"]);
    network.stop().await;
}

#[tokio::test]
async fn a_member_that_joined_through_another_replica_is_known_within_a_second() {
    let network = Network::start(DATABASE).await;
    let replica = network.second().await;
    let node = network.join("womens-circle").await;
    assert_eq!(replica.members.state(&node.org), MemberState::NotMember);
    kith_gateway::changes::refresh(&replica).await.unwrap();
    assert_eq!(replica.members.state(&node.org), MemberState::Active);
    network.stop().await;
}

#[tokio::test]
async fn nobody_unknown_is_suspended() {
    let network = Network::start(DATABASE).await;
    let nobody: OrgId = "nobody-here".parse().unwrap();
    let refused = membership::set_standing(&network.gateway, &nobody, Standing::Suspended).await;
    assert_eq!(refused.unwrap_err().problem(), Problem::NotAMember);
    assert_eq!(network.audited().await, ["network_created", "policy_published"]);
    network.stop().await;
}

#[tokio::test]
async fn a_row_that_was_written_into_the_database_makes_nobody_a_member() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    const COPY: &str = "INSERT INTO member \
        (organisation, kind, name, state, chain, invite_id, tls_key_hash, joined_at_ms, changed) \
        SELECT 'home-raids', kind, name, state, chain, $1, tls_key_hash, joined_at_ms, $2 FROM member";
    let store = &network.gateway.store;
    store
        .tx("tamper", |mut tx| async move {
            tx.run(query(COPY).bind(vec![1_u8; 16]).bind(1_000_i64)).await?;
            tx.run(query("UPDATE counter SET value = 1000 WHERE name = 'change'"))
                .await?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let restarted = network.second().await;
    assert!(restarted.member(&node.org).is_some());
    assert!(restarted.member(&"home-raids".parse().unwrap()).is_none());
    network.stop().await;
}
