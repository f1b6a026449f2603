//! The port: who gets in, who does not, and what is served beside the network's own services.

use super::DATABASE;
use crate::fixture::{DAY, Network, Node, T0, certificate_for, list};
use kith_gateway::Gateway;
use kith_gateway::gateway::OpenError;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_service::rng::Rng;
use kith_service::status::failure_of;
use kith_service::store::StoreError;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn the_relay_needs_a_certificate() {
    let network = Network::start(DATABASE).await;
    let mut anonymous = RelayServiceClient::new(network.channel(None).await.unwrap());
    let status = list(&mut anonymous).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::Unauthenticated);
    network.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_network_is_refused() {
    let network = Network::start(DATABASE).await;
    let other = Network::named("other-valley.example", DATABASE).await;
    network.join("riverside-gp").await;
    // Issued by the other network's gateway: TLS refuses it, at the handshake or at the first call.
    let stranger = other.join("riverside-gp").await;
    let refused = match network.channel(Some(stranger.identity())).await {
        Err(_) => true,
        Ok(channel) => list(&mut RelayServiceClient::new(channel)).await.is_err(),
    };
    assert!(refused);
    // Even with this network's own issuer, a name of another network is nobody here.
    let mut node = Node::new("riverside-gp");
    node.chain_pem = certificate_for(&network, &node, "other-valley.example");
    let status = list(&mut node.relay(&network).await).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::Unauthenticated);
    // Nor is an organisation that never joined.
    node.org = "nobody-here".parse().unwrap();
    node.chain_pem = certificate_for(&network, &node, "lune-valley.example");
    let status = list(&mut node.relay(&network).await).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::NotAMember);
    network.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_certificate_that_ran_out_on_an_open_connection_is_refused() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut relay = node.relay(&network).await;
    list(&mut relay).await.unwrap();
    network.time.set(T0 + 7 * DAY - 1000);
    list(&mut relay).await.unwrap();
    network.time.set(T0 + 7 * DAY);
    let status = list(&mut relay).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::Unauthenticated);
    network.stop().await;
}

#[tokio::test]
async fn an_oversized_message_is_refused_unread() {
    let network = Network::start(DATABASE).await;
    let request = v1::EnrolRequest {
        certificate_request_der: vec![0; 40 * 1024],
        ..v1::EnrolRequest::default()
    };
    let status = network.enrolment().await.enrol(request).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::TooLarge);
    network.stop().await;
}

#[tokio::test]
async fn health_and_reflection_tell_what_is_served() {
    let network = Network::start(DATABASE).await;
    let channel = network.channel(None).await.unwrap();
    let check = HealthCheckRequest {
        service: "kith.v1.RelayService".to_owned(),
    };
    let health = HealthClient::new(channel.clone()).check(check).await.unwrap();
    assert_eq!(health.into_inner().status, 1);

    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::once(ask));
    let answer = answers
        .await
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("not a list of services");
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let served = [
        "grpc.health.v1.Health",
        "kith.v1.BundleService",
        "kith.v1.EnrolmentService",
        "kith.v1.LogService",
        "kith.v1.RelayService",
        "kith.v1.RestoreService",
        "kith.v1.StopService",
    ];
    assert_eq!(names, served);
    network.stop().await;
}

#[tokio::test]
async fn the_store_of_another_network_is_refused() {
    let network = Network::start(DATABASE).await;
    let other = Network::named("other-valley.example", DATABASE).await;
    let mut config = network.config.clone();
    config.store_url = other.config.store_url.clone();
    let refused = Gateway::open(&config, network.clock.clone(), Rng::system()).await;
    assert!(matches!(
        refused.err(),
        Some(OpenError::Store(StoreError::Foreign))
    ));
    network.stop().await;
    other.stop().await;
}
