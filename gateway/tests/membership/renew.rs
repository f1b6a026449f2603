//! Renewal after a month's sleep, and what does not renew.

use super::DATABASE;
use crate::fixture::{DAY, HOUR, Network, Node, T0, list};
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1;
use kith_service::status::failure_of;

async fn refused(network: &Network, request: v1::RenewRequest) -> Problem {
    let status = network.enrolment().await.renew(request).await.unwrap_err();
    failure_of(&status).problem
}

#[tokio::test]
async fn a_laptop_that_slept_a_month_renews_with_its_signing_key() {
    let network = Network::start(DATABASE).await;
    let mut node = network.join("womens-circle").await;
    let mut awake = node.relay(&network).await;
    list(&mut awake).await.unwrap();
    network.time.advance(31 * DAY);

    // The connection that stayed open, and a new one, are refused with the month-old certificate.
    let status = list(&mut awake).await.unwrap_err();
    assert_eq!(failure_of(&status).problem, Problem::Unauthenticated);
    let fresh = network.channel(Some(node.identity())).await;
    let refused = match fresh {
        Err(_) => true,
        Ok(channel) => {
            let mut relay = v1::relay_service_client::RelayServiceClient::new(channel);
            list(&mut relay).await.is_err()
        }
    };
    assert!(refused);

    let renewed = network
        .enrolment()
        .await
        .renew(node.renew_request(T0 + 31 * DAY))
        .await
        .unwrap();
    let renewed = renewed.into_inner();
    assert_eq!(renewed.gateway_time_ms, T0 + 31 * DAY);
    node.chain_pem = renewed.certificate_chain_pem;
    assert_eq!(
        list(&mut node.relay(&network).await).await.unwrap().members.len(),
        1
    );
    assert_eq!(network.audited().await.last().unwrap(), "certificate_issued");
    network.stop().await;
}

#[tokio::test]
async fn a_forged_renewal_and_one_of_nobody_are_answered_alike() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let mut forged = node.renew_request(T0);
    receipt::sign(&Node::new("womens-circle").signing, &mut forged).unwrap();
    let mut altered = node.renew_request(T0);
    altered.certificate_request_der = Node::new("womens-circle")
        .renew_request(T0)
        .certificate_request_der;
    let nobody = Node::new("nobody-here").renew_request(T0);
    let mut answers = Vec::new();
    for request in [forged, altered, nobody] {
        let status = network.enrolment().await.renew(request).await.unwrap_err();
        answers.push((status.code(), status.message().to_owned()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, tonic::Code::Unauthenticated);
    network.stop().await;
}

#[tokio::test]
async fn a_renewal_from_another_hour_says_that_the_clock_is_off() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    for made_at_ms in [T0 - 2 * HOUR, T0 + 2 * HOUR, i64::MIN, i64::MAX] {
        assert_eq!(
            refused(&network, node.renew_request(made_at_ms)).await,
            Problem::ClockOff
        );
    }
    network
        .enrolment()
        .await
        .renew(node.renew_request(T0 - HOUR))
        .await
        .unwrap();
    network.stop().await;
}
