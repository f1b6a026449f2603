//! A stolen laptop: what the thief can still do with its keys, and how the member comes back with new ones.

use super::DATABASE;
use crate::fixture::{DAY, HOUR, Network, Node, T0, list};
use kith_gateway::invite::{self, Invited};
use kith_gateway::{issuing, membership, whole};
use kith_proto::permits::MemberState;
use kith_proto::problem::Problem;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteToken, Rekeyed};
use kith_proto::v1;
use kith_service::rng::Rng;
use kith_service::status::failure_of;
use kith_service::tls::issue;

/// Reports the member's keys as lost, and makes the token for new ones.
async fn lose(network: &Network, node: &Node) -> InviteToken {
    let request = membership::report_lost(&network.gateway, &node.org)
        .await
        .unwrap();
    let invited = Invited {
        org: node.org.clone(),
        kind: request.kind.try_into().unwrap(),
        name: request.name,
    };
    let rekeyed = Rekeyed::read(&request.rekeyed.unwrap()).unwrap();
    let keys = network.registrar();
    let token = invite::rekey_token(&keys, invited, &rekeyed, &network.clock, &Rng::system()).unwrap();
    InviteToken::decode(&token).unwrap()
}

fn rekey_request(node: &Node, token: &InviteToken, now_ms: i64) -> v1::EnrolRequest {
    let (_, invite) = token.verify(now_ms).unwrap();
    let seed = SigningKey::from_seed(token.seed).unwrap();
    v1::EnrolRequest {
        registrar: Some(token.registrar.clone()),
        invite: Some(token.invite.clone()),
        binding: Some(trust::rekey_binding(&seed, &invite, &node.keys(), now_ms).unwrap()),
        certificate_request_der: issue::certificate_request(&node.tls_key_pem).unwrap(),
        logged: None,
    }
}

async fn rekey(network: &Network, request: v1::EnrolRequest) -> Result<Vec<u8>, Problem> {
    let request = v1::RekeyRequest {
        enrolment: Some(request),
    };
    let answer = network.enrolment().await.rekey(request).await;
    let answer = answer.map_err(|status| failure_of(&status).problem)?;
    Ok(answer.into_inner().enrolment.unwrap().certificate_chain_pem)
}

/// What the gateway's database says otherwise than its log, which has caught up.
async fn faults(network: &Network) -> Vec<String> {
    let gateway = &network.gateway;
    gateway.log.catch_up(&gateway.keys.signing).await.unwrap();
    whole::look(gateway).await.unwrap().faults
}

#[tokio::test]
async fn a_thief_gets_nothing_and_the_member_comes_back_after_a_day() {
    let network = Network::start(DATABASE).await;
    let stolen = network.join("womens-circle").await;
    let mut open = stolen.relay(&network).await;
    list(&mut open).await.unwrap();
    network.time.advance(HOUR);
    let token = lose(&network, &stolen).await;

    // Neither the open connection, nor a new one, nor the signing key gets the thief anything.
    let now_ms = network.clock.now_ms();
    let refused = list(&mut open).await.unwrap_err();
    assert_eq!(failure_of(&refused).problem, Problem::Unauthenticated);
    assert!(list(&mut stolen.relay(&network).await).await.is_err());
    let renewal = network
        .enrolment()
        .await
        .renew(stolen.renew_request(now_ms))
        .await;
    assert_eq!(
        failure_of(&renewal.unwrap_err()).problem,
        Problem::Unauthenticated
    );
    assert_eq!(network.gateway.members.state(&stolen.org), MemberState::Suspended);

    // The new laptop is let in at once, and takes part a day later.
    let mut fresh = Node::new("womens-circle");
    let request = rekey_request(&fresh, &token, now_ms);
    fresh.chain_pem = rekey(&network, request.clone()).await.unwrap();
    let listed = list(&mut fresh.relay(&network).await).await.unwrap();
    assert!(listed.members[0].suspended);
    let chain = listed.members[0].chain.clone().unwrap();
    assert_eq!((chain.bindings.len(), chain.later_invites.len()), (2, 1));
    assert_eq!(membership::resume_due(&network.gateway).await.unwrap(), 0);
    // A lost answer is given again to the same computer alone.
    assert!(rekey(&network, request.clone()).await.is_ok());
    let mut other = request;
    other.certificate_request_der = issue::certificate_request(&issue::generate_key_pem().unwrap()).unwrap();
    assert_eq!(rekey(&network, other).await, Err(Problem::Conflict));
    // The old signing key renews nothing, also not while it is still the one in force; the new one does.
    assert!(
        network
            .enrolment()
            .await
            .renew(stolen.renew_request(now_ms))
            .await
            .is_err()
    );
    network
        .enrolment()
        .await
        .renew(fresh.renew_request(now_ms))
        .await
        .unwrap();

    network.time.advance(DAY);
    assert_eq!(membership::resume_due(&network.gateway).await.unwrap(), 1);
    assert_eq!(network.gateway.members.state(&stolen.org), MemberState::Active);
    assert!(list(&mut stolen.relay(&network).await).await.is_err());
    assert!(!list(&mut fresh.relay(&network).await).await.unwrap().members[0].suspended);
    let codes = network.audited().await;
    for code in [
        "member_lost",
        "member_suspended",
        "binding_published",
        "member_resumed",
    ] {
        assert_eq!(codes.iter().filter(|c| *c == code).count(), 1, "{code}");
    }
    // With another TLS key too, the database stays what the log says.
    fresh.tls_key_pem = issue::generate_key_pem().unwrap();
    let renewal = fresh.renew_request(network.clock.now_ms());
    network.enrolment().await.renew(renewal).await.unwrap();
    assert_eq!(faults(&network).await, [""; 0]);
    network.stop().await;
}

/// The thief's next binding, of a chain with one, dated as it likes.
fn next(network: &Network, node: &Node, made_at_ms: i64) -> v1::Signed {
    let known = network.gateway.member(&node.org).unwrap();
    trust::next_binding(&node.signing, &known.member, &node.keys(), made_at_ms).unwrap()
}

#[tokio::test]
async fn a_binding_of_the_thiefs_that_is_dated_ahead_does_not_outlive_the_report() {
    let network = Network::start(DATABASE).await;
    let stolen = network.join("womens-circle").await;
    let ahead = T0 + HOUR - 60_000;
    let request = v1::PublishBindingRequest {
        binding: Some(next(&network, &stolen, ahead)),
        ..v1::PublishBindingRequest::default()
    };
    stolen
        .relay(&network)
        .await
        .publish_binding(request)
        .await
        .unwrap();
    let token = lose(&network, &stolen).await;
    let renewed = network.enrolment().await.renew(stolen.renew_request(T0)).await;
    assert_eq!(
        failure_of(&renewed.unwrap_err()).problem,
        Problem::Unauthenticated
    );
    // What was issued for the old TLS key in the very second of the report, or after it by mistake, counts for nothing.
    network.time.advance(2 * HOUR);
    let now_ms = network.clock.now_ms();
    let mut late = stolen;
    late.chain_pem = issuing::member_certificate(
        &network.gateway.keys,
        &late.org,
        &issue::certificate_request(&late.tls_key_pem).unwrap(),
        now_ms + DAY / 2,
    )
    .unwrap();
    assert!(list(&mut late.relay(&network).await).await.is_err());

    let mut fresh = Node::new("womens-circle");
    fresh.chain_pem = rekey(&network, rekey_request(&fresh, &token, now_ms))
        .await
        .unwrap();
    assert!(list(&mut late.relay(&network).await).await.is_err());
    list(&mut fresh.relay(&network).await).await.unwrap();
    // A renewal for another TLS key of the member's own is what counts from then on.
    fresh.tls_key_pem = issue::generate_key_pem().unwrap();
    let renewed = network.enrolment().await.renew(fresh.renew_request(now_ms)).await;
    fresh.chain_pem = renewed.unwrap().into_inner().certificate_chain_pem;
    list(&mut fresh.relay(&network).await).await.unwrap();
    network.stop().await;
}

#[tokio::test]
async fn a_new_computer_with_a_slow_clock_renews() {
    let network = Network::start(DATABASE).await;
    let stolen = network.join("womens-circle").await;
    network.time.advance(HOUR);
    let token = lose(&network, &stolen).await;
    let mut fresh = Node::new("womens-circle");
    // An hour behind: by its own word from before the report.
    let request = rekey_request(&fresh, &token, T0 + HOUR);
    let (_, invite) = token.verify(T0 + HOUR).unwrap();
    let seed = SigningKey::from_seed(token.seed).unwrap();
    let slow = trust::rekey_binding(&seed, &invite, &fresh.keys(), T0 + HOUR - 60_000).unwrap();
    let request = v1::EnrolRequest {
        binding: Some(slow),
        ..request
    };
    fresh.chain_pem = rekey(&network, request).await.unwrap();
    let renewed = network
        .enrolment()
        .await
        .renew(fresh.renew_request(T0 + HOUR))
        .await;
    assert!(renewed.is_ok());
    list(&mut fresh.relay(&network).await).await.unwrap();
    network.stop().await;
}

#[tokio::test]
async fn a_token_for_new_keys_ends_with_its_day_and_is_for_its_member_alone() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let token = lose(&network, &node).await;
    let fresh = Node::new("womens-circle");
    let request = rekey_request(&fresh, &token, T0);
    // It makes no member, and an invite to join makes no re-key.
    let joined = network
        .enrolment()
        .await
        .enrol(request.clone())
        .await
        .unwrap_err();
    assert_ne!(failure_of(&joined).problem, Problem::Unavailable);
    let plain = fresh.enrol_request(&network.invite("womens-circle"), T0);
    assert!(rekey(&network, plain).await.is_err());
    network.time.advance(DAY);
    assert_eq!(rekey(&network, request).await, Err(Problem::Unauthenticated));
    network.stop().await;
}

#[tokio::test]
async fn a_token_that_was_overtaken_by_another_loss_is_refused() {
    let network = Network::start(DATABASE).await;
    let node = network.join("womens-circle").await;
    let first = lose(&network, &node).await;
    let second = lose(&network, &node).await;
    let (one, other) = (Node::new("womens-circle"), Node::new("womens-circle"));
    rekey(&network, rekey_request(&one, &second, T0)).await.unwrap();
    let refused = rekey(&network, rekey_request(&other, &first, T0)).await;
    assert_eq!(refused, Err(Problem::Conflict));
    // Lost again: what was issued for the second computer counts no more, and nothing ends the suspension by itself.
    network.time.advance(HOUR);
    lose(&network, &one).await;
    network.time.advance(2 * DAY);
    assert_eq!(membership::resume_due(&network.gateway).await.unwrap(), 0);
    assert_eq!(network.gateway.members.state(&node.org), MemberState::Suspended);
    network.stop().await;
}
