//! The server itself: health, reflection, sign-in, the address it may have, deadlines and the end.

use crate::fixture::{Desk, NETWORK};
use kith_node::grpc::server::{Listen, ServerError, listen};
use kith_node::tokens::Role;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::directory_service_client::DirectoryServiceClient;
use kith_service::clock::Clock;
use kith_service::status::problem_of;
use kith_service::tls::dial::{self, Dial};
use kith_service::tls::issue::{IssuingKey, Validity};
use kith_service::tls::{client_config, root_certificate};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn health_answers_without_a_token() {
    let desk = Desk::open().await;
    let mut health = HealthClient::new(desk.channel.clone());
    for service in ["", "kith.v1.ReferralService", "kith.v1.PersonService"] {
        let asked = HealthCheckRequest {
            service: service.into(),
        };
        assert_eq!(
            health.check(asked).await.unwrap().into_inner().status(),
            ServingStatus::Serving,
            "{service}"
        );
    }
    let unknown = HealthCheckRequest {
        service: "kith.v1.RelayService".into(),
    };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
    drop(health);
    desk.close().await;
}

#[tokio::test]
async fn reflection_lists_the_nodes_services_and_no_others() {
    let desk = Desk::open().await;
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(desk.channel.clone());
    let answers = reflection
        .server_reflection_info(tokio_stream::once(asked))
        .await
        .unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("a list")
    };
    let mut names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    names.sort();
    let ours = [
        "AuditService",
        "ConsentService",
        "DirectoryService",
        "PersonService",
        "ReferralService",
    ];
    let mut expected: Vec<String> = ours.iter().map(|name| format!("kith.v1.{name}")).collect();
    expected.extend([
        "grpc.health.v1.Health".into(),
        "grpc.reflection.v1.ServerReflection".into(),
    ]);
    expected.sort();
    assert_eq!(names, expected);
    drop(reflection);
    desk.close().await;
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered() {
    let desk = Desk::open().await;
    let good = desk.token(Role::Coordinator).to_owned();
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {good}")),
        Some(good.clone()),
        Some(format!("Bearer {good}x")),
        Some(format!("Bearer {}", &good[..good.len() - 1])),
        Some(format!("Bearer {}", "x".repeat(5_000))),
    ];
    for value in wrong {
        let mut request = Request::new(v1::ListOrganisationsRequest::default());
        if let Some(value) = &value {
            request
                .metadata_mut()
                .insert("authorization", value.parse().unwrap());
        }
        let status = desk.directory().list_organisations(request).await.unwrap_err();
        assert_eq!(problem_of(&status), Some(Problem::Unauthenticated), "{value:?}");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let asked = desk.by(Role::Coordinator, v1::ListOrganisationsRequest::default());
    assert_eq!(
        desk.directory()
            .list_organisations(asked)
            .await
            .unwrap()
            .into_inner()
            .organisations
            .len(),
        2
    );
    desk.close().await;
}

#[tokio::test]
async fn with_a_certificate_calls_go_over_tls_and_plain_ones_go_nowhere() {
    let clock = Clock::system();
    let validity = Validity {
        not_before_ms: clock.now_ms() - 1_000,
        not_after_ms: clock.now_ms() + 3_600_000,
    };
    let longer = Validity {
        not_after_ms: validity.not_after_ms + 3_600_000,
        ..validity
    };
    let issuing = IssuingKey::generate(&NETWORK.parse().unwrap(), longer).unwrap();
    let server = issuing.issue_server("node.riverside.example", validity).unwrap();
    let desk = Desk::open_with(Some((&server.chain_pem, &server.key_pem))).await;
    let asked = || desk.by(Role::Coordinator, v1::ListOrganisationsRequest::default());
    assert!(
        desk.directory().list_organisations(asked()).await.is_err(),
        "a plain line"
    );
    let root = root_certificate(issuing.certificate_pem().as_bytes()).unwrap();
    let config = client_config(root, None, move || clock.now_ms()).unwrap();
    let name = "node.riverside.example";
    let channel = dial::channel(&Dial::tcp(), &desk.address, name, config)
        .await
        .unwrap();
    let listed = DirectoryServiceClient::new(channel)
        .list_organisations(asked())
        .await
        .unwrap();
    assert_eq!(listed.into_inner().organisations.len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tls() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let address = address.parse().unwrap();
        let chain = None;
        let refused = listen(
            Listen {
                of: "grpc",
                address,
                chain,
            },
            || 0,
        )
        .await;
        assert!(
            matches!(refused.err(), Some(ServerError::NeedsTls { address: a, of: "grpc" }) if a == address),
            "{address}"
        );
    }
}

#[tokio::test]
async fn a_database_that_is_older_than_the_network_has_seen_it_answers_nobody() {
    let desk = Desk::open().await;
    desk.node.own_log_ended.send_replace(true);
    for role in [Role::Coordinator, Role::Admin, Role::Auditor] {
        let asked = desk.by(role, v1::ListOrganisationsRequest::default());
        let refused = desk.directory().list_organisations(asked).await.unwrap_err();
        assert_eq!(problem_of(&refused), Some(Problem::WrongState));
        assert!(refused.message().contains("kith-node restore"), "{refused:?}");
    }
    let mut health = HealthClient::new(desk.channel.clone());
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    desk.node.own_log_ended.send_replace(false);
    let asked = desk.by(Role::Coordinator, v1::ListOrganisationsRequest::default());
    assert!(desk.directory().list_organisations(asked).await.is_ok());
    drop(health);
    desk.close().await;
}
