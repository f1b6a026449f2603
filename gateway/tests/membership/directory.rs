//! Bindings and services: published by their member alone, in order, and listed.

use super::DATABASE;
use crate::fixture::{HOUR, Network, Node, T0, list};
use kith_proto::problem::Problem;
use kith_proto::trust::{self, SERVICES_PER_MEMBER_MAX, verify_chain};
use kith_proto::v1;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_service::status::failure_of;
use tonic::transport::Channel;

type Relay = RelayServiceClient<Channel>;

async fn publish_binding(relay: &mut Relay, binding: v1::Signed) -> Result<u64, Problem> {
    let request = v1::PublishBindingRequest {
        binding: Some(binding),
        ..v1::PublishBindingRequest::default()
    };
    let answer = relay.publish_binding(request).await;
    answer
        .map(|answer| answer.into_inner().number)
        .map_err(|status| failure_of(&status).problem)
}

async fn publish_service(relay: &mut Relay, service: v1::Signed) -> Result<i64, Problem> {
    let request = v1::PublishServiceRequest {
        service: Some(service),
    };
    let answer = relay.publish_service(request).await;
    answer
        .map(|answer| answer.into_inner().published_at_ms)
        .map_err(|status| failure_of(&status).problem)
}

fn service(node: &Node, made_at_ms: i64) -> v1::Service {
    v1::Service {
        service_id: vec![7; 16],
        network: "lune-valley.example".to_owned(),
        organisation: node.org.as_str().to_owned(),
        name: "Tea on Tuesdays".to_owned(),
        purposes: vec![2],
        languages: vec!["ti".to_owned()],
        made_at_ms,
        ..v1::Service::default()
    }
}

#[tokio::test]
async fn the_next_binding_is_published_once_and_a_fork_is_refused() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let other = network.join("riverside-gp").await;
    let member = network.gateway.member(&node.org).unwrap().member.clone();
    let (next, fork) = (Node::new("womens-circle"), Node::new("womens-circle"));
    let binding = trust::next_binding(&node.signing, &member, &next.keys(), T0 + HOUR).unwrap();
    let forked = trust::next_binding(&node.signing, &member, &fork.keys(), T0 + HOUR).unwrap();
    network.time.advance(HOUR);
    let mut relay = node.relay(&network).await;

    // Nobody else publishes it, not even its own words.
    let stranger = publish_binding(&mut other.relay(&network).await, binding.clone()).await;
    assert_eq!(stranger, Err(Problem::Unauthenticated));
    assert_eq!(publish_binding(&mut relay, binding.clone()).await, Ok(2));
    assert_eq!(publish_binding(&mut relay, binding).await, Ok(2));
    assert_eq!(publish_binding(&mut relay, forked).await, Err(Problem::Conflict));
    let known = network.gateway.member(&node.org).unwrap();
    assert_eq!(known.member.bindings.len(), 2);
    assert_eq!(known.member.bindings[1].signing_key, next.signing.public());

    // The new key speaks for the member from now on.
    let mut old = node.renew_request(T0 + HOUR);
    old.organisation = "womens-circle".to_owned();
    let status = network.enrolment().await.renew(old).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::Unauthenticated);
    network
        .enrolment()
        .await
        .renew(next.renew_request(T0 + HOUR))
        .await
        .unwrap();
    network.stop().await;
}

#[tokio::test]
async fn a_re_key_by_the_registrar_is_taken_and_waits_a_day() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let member = network.gateway.member(&node.org).unwrap().member.clone();
    let fresh = Node::new("womens-circle");
    let rekey = trust::rekey(&network.registrar().signing, &member, &fresh.keys(), T0).unwrap();
    assert_eq!(
        publish_binding(&mut node.relay(&network).await, rekey).await,
        Ok(2)
    );
    let listed = list(&mut node.relay(&network).await).await.unwrap();
    let chain = listed.members[0].chain.as_ref().unwrap();
    let proven = verify_chain(chain, &network.gateway.keys.root, &network.gateway.network, T0).unwrap();
    assert!(proven.bindings[1].rekey);
    assert_eq!(proven.key_at(T0).unwrap().signing_key, node.signing.public());
    assert_eq!(
        proven.key_at(T0 + 24 * HOUR).unwrap().signing_key,
        fresh.signing.public()
    );
    network.stop().await;
}

#[tokio::test]
async fn a_service_is_listed_replaced_by_a_newer_one_and_never_by_an_older() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let mut relay = node.relay(&network).await;
    let first = trust::issue_service(&node.signing, &service(&node, T0)).unwrap();
    assert_eq!(publish_service(&mut relay, first.clone()).await, Ok(T0));
    network.time.advance(HOUR);
    assert_eq!(
        publish_service(&mut relay, first.clone()).await,
        Ok(T0),
        "a repeat answers the same"
    );
    let newer = trust::issue_service(&node.signing, &service(&node, T0 + HOUR)).unwrap();
    assert_eq!(publish_service(&mut relay, newer.clone()).await, Ok(T0 + HOUR));
    assert_eq!(publish_service(&mut relay, first).await, Err(Problem::Conflict));
    assert_eq!(list(&mut relay).await.unwrap().members[0].services, [newer]);
    network.stop().await;
}

#[tokio::test]
async fn a_member_lists_as_many_services_as_nodes_read_and_none_more() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let mut relay = node.relay(&network).await;
    let numbered = |n: u8| {
        let service = v1::Service {
            service_id: vec![n; 16],
            ..service(&node, T0)
        };
        trust::issue_service(&node.signing, &service).unwrap()
    };
    for n in 0..SERVICES_PER_MEMBER_MAX {
        let published = publish_service(&mut relay, numbered(n as u8)).await;
        assert_eq!(published, Ok(T0), "{n}");
    }
    let further = publish_service(&mut relay, numbered(u8::MAX)).await;
    assert_eq!(further, Err(Problem::TooLarge));
    let listed = list(&mut relay).await.unwrap();
    assert_eq!(listed.members[0].services.len(), SERVICES_PER_MEMBER_MAX);
    assert_eq!(SERVICES_PER_MEMBER_MAX, 50);
    network.stop().await;
}

#[tokio::test]
async fn a_service_of_another_member_is_refused() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let thief = network.join("riverside-gp").await;
    let mut relay = thief.relay(&network).await;
    let copied = trust::issue_service(&node.signing, &service(&node, T0)).unwrap();
    assert_eq!(
        publish_service(&mut relay, copied.clone()).await,
        Err(Problem::Unauthenticated)
    );
    let claimed = trust::issue_service(&thief.signing, &service(&node, T0)).unwrap();
    assert_eq!(
        publish_service(&mut relay, claimed).await,
        Err(Problem::NotAMember)
    );
    // Nor does an id move to another organisation.
    assert_eq!(
        publish_service(&mut node.relay(&network).await, copied).await,
        Ok(T0)
    );
    let taken = trust::issue_service(&thief.signing, &service(&thief, T0 + 1)).unwrap();
    assert_eq!(publish_service(&mut relay, taken).await, Err(Problem::Conflict));
    network.stop().await;
}

#[tokio::test]
async fn the_list_comes_in_pages_and_goes_on_from_its_cursor() {
    let network = Network::start(DATABASE).await;
    let node = network.join("org-a").await;
    network.join("org-b").await;
    network.join("org-c").await;
    let mut relay = node.relay(&network).await;
    let (mut after, mut seen, mut pages) = (0, Vec::new(), 0);
    loop {
        let request = v1::ListMembersRequest { after, page_size: 2 };
        let page = relay.list_members(request).await.unwrap().into_inner();
        seen.extend(page.members.into_iter().map(|member| member.organisation));
        (after, pages) = (page.cursor, pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!(
        (seen.as_slice(), pages),
        (["org-a", "org-b", "org-c"].map(str::to_owned).as_slice(), 2)
    );
    // Nothing new, then one change.
    let more = v1::ListMembersRequest { after, page_size: 0 };
    assert_eq!(
        relay.list_members(more).await.unwrap().into_inner().members.len(),
        0
    );
    let signed = trust::issue_service(&node.signing, &service(&node, T0)).unwrap();
    publish_service(&mut relay, signed).await.unwrap();
    let changed = relay.list_members(more).await.unwrap().into_inner();
    assert_eq!(changed.members.len(), 1);
    assert_eq!(changed.members[0].organisation, "org-a");
    network.stop().await;
}
