//! Joining: with a good invite, and with used, expired, altered and foreign ones.

use super::DATABASE;
use crate::fixture::{DAY, HOUR, Network, Node, T0, list};
use kith_proto::problem::Problem;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteTerms, verify_chain};
use kith_proto::v1;
use kith_proto::words::OrganisationKind;
use kith_service::status::failure_of;
use tonic::Status;

/// Sends an enrolment and returns why it was refused.
async fn refused(network: &Network, request: v1::EnrolRequest) -> (Problem, String) {
    let status: Status = network.enrolment().await.enrol(request).await.unwrap_err();
    let failure = failure_of(&status);
    (failure.problem, failure.sentence().to_owned())
}

#[tokio::test]
async fn an_invited_organisation_joins_and_is_listed_with_its_chain() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    let circle = network.join("womens-circle").await;

    let listed = list(&mut circle.relay(&network).await).await.unwrap();
    assert_eq!(listed.members.len(), 2);
    assert!(!listed.more);
    let chain = listed.members[0].chain.as_ref().unwrap();
    let keys = &network.gateway.keys;
    let proven = verify_chain(chain, &keys.root, &network.gateway.network, T0).unwrap();
    assert_eq!(proven.org, gp.org);
    assert_eq!(proven.bindings[0].signing_key, gp.signing.public());
    assert_eq!(listed.members[0].name, "The organisation riverside-gp");
    let known = network.gateway.member(&gp.org).unwrap();
    assert_eq!(known.member, proven);
    let codes = network.audited().await;
    let expected = [
        "network_created",
        "policy_published",
        "member_joined",
        "certificate_issued",
        "member_joined",
        "certificate_issued",
    ];
    assert_eq!(codes, expected);
    network.stop().await;
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_gets_a_certificate_again_even_when_the_invite_is_over() {
    let network = Network::start(DATABASE).await;
    let mut node = Node::new("riverside-gp");
    let request = node.enrol_request(&network.invite("riverside-gp"), T0);
    network.enrolment().await.enrol(request.clone()).await.unwrap();
    network.time.advance(3 * DAY);
    let again = network.enrolment().await.enrol(request).await.unwrap();
    node.chain_pem = again.into_inner().certificate_chain_pem;
    let listed = list(&mut node.relay(&network).await).await.unwrap();
    assert_eq!(listed.members.len(), 1);
    assert_eq!(network.audited().await.last().unwrap(), "certificate_issued");
    network.stop().await;
}

#[tokio::test]
async fn a_used_invite_is_burnt_for_other_keys() {
    let network = Network::start(DATABASE).await;
    let token = network.invite("riverside-gp");
    let first = Node::new("riverside-gp").enrol_request(&token, T0);
    network.enrolment().await.enrol(first.clone()).await.unwrap();

    let (problem, sentence) = refused(&network, Node::new("riverside-gp").enrol_request(&token, T0)).await;
    assert_eq!(problem, Problem::Conflict);
    assert!(sentence.starts_with("This invite was used before"), "{sentence}");

    // Everyone in the network knows the first binding; with a TLS key of one's own it gives no certificate.
    let stolen = v1::EnrolRequest {
        certificate_request_der: Node::new("riverside-gp")
            .renew_request(T0)
            .certificate_request_der,
        ..first
    };
    assert_eq!(refused(&network, stolen).await.0, Problem::Conflict);
    assert_eq!(
        network
            .audited()
            .await
            .iter()
            .filter(|code| *code == "invite_refused")
            .count(),
        2
    );
    network.stop().await;
}

#[tokio::test]
async fn of_two_enrolments_at_once_with_one_invite_one_joins() {
    let network = Network::start(DATABASE).await;
    let token = network.invite("riverside-gp");
    let [one, other] = [(); 2].map(|()| Node::new("riverside-gp").enrol_request(&token, T0));
    let (mut first, mut second) = (network.enrolment().await, network.enrolment().await);
    let (one, other) = tokio::join!(first.enrol(one), second.enrol(other));
    let refused: Vec<Status> = [one.err(), other.err()].into_iter().flatten().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(failure_of(&refused[0]).problem, Problem::Conflict);
    assert_eq!(network.gateway.members.all().len(), 1);
    network.stop().await;
}

#[tokio::test]
async fn an_expired_invite_is_refused_and_leaves_nothing() {
    let network = Network::start(DATABASE).await;
    let request = Node::new("riverside-gp").enrol_request(&network.invite("riverside-gp"), T0);
    network.time.advance(25 * HOUR);
    let (problem, sentence) = refused(&network, request).await;
    assert_eq!(problem, Problem::Unauthenticated);
    assert_eq!(
        sentence,
        "This invite has run out. Ask the network's operator for a new one."
    );
    assert_eq!(network.gateway.members.all().len(), 0);
    assert_eq!(network.audited().await, ["network_created", "policy_published"]);
    network.stop().await;
}

#[tokio::test]
async fn an_altered_statement_is_refused_wherever_it_was_altered() {
    let network = Network::start(DATABASE).await;
    let request = Node::new("riverside-gp").enrol_request(&network.invite("riverside-gp"), T0);
    type Part = fn(&mut v1::EnrolRequest) -> &mut Option<v1::Signed>;
    let parts: [Part; 3] = [|r| &mut r.registrar, |r| &mut r.invite, |r| &mut r.binding];
    for part in parts {
        let mut altered = request.clone();
        part(&mut altered).as_mut().unwrap().statement[10] ^= 1;
        assert_eq!(refused(&network, altered).await.0, Problem::Unauthenticated);
        let mut missing = request.clone();
        *part(&mut missing) = None;
        assert_eq!(refused(&network, missing).await.0, Problem::Invalid);
    }
    let mut altered = request.clone();
    altered.certificate_request_der[40] ^= 1;
    assert_eq!(refused(&network, altered).await.0, Problem::Invalid);
    assert_eq!(network.gateway.members.all().len(), 0);
    // Nothing of it burnt the invite.
    network.enrolment().await.enrol(request).await.unwrap();
    network.stop().await;
}

#[tokio::test]
async fn an_invite_of_another_network_or_registrar_is_refused() {
    let network = Network::start(DATABASE).await;
    let other = Network::named("other-valley.example", DATABASE).await;
    let namesake = Network::start(DATABASE).await;
    for foreign in [&other, &namesake] {
        let request = Node::new("riverside-gp").enrol_request(&foreign.invite("riverside-gp"), T0);
        assert_eq!(refused(&network, request).await.0, Problem::Unauthenticated);
    }
    // A registrar that the root never signed.
    let mut token = network.invite("riverside-gp");
    let upstart = SigningKey::from_seed([9; 32]).unwrap();
    let terms = InviteTerms {
        invite_id: crate::fixture::invite_id(),
        network: network.gateway.network.clone(),
        org: "riverside-gp".parse().unwrap(),
        kind: OrganisationKind::Gp,
        name: "Riverside".to_owned(),
        seed_public_key: SigningKey::from_seed(token.seed).unwrap().public(),
    };
    let honest = Node::new("riverside-gp").enrol_request(&token, T0);
    token.invite = trust::issue_invite(&upstart, terms, T0).unwrap();
    let request = v1::EnrolRequest {
        invite: Some(token.invite),
        ..honest
    };
    assert_eq!(refused(&network, request).await.0, Problem::Unauthenticated);
    for network in [network, other, namesake] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_second_invite_does_not_replace_a_member() {
    let network = Network::start(DATABASE).await;
    network.join("riverside-gp").await;
    let request = Node::new("riverside-gp").enrol_request(&network.invite("riverside-gp"), T0);
    let (problem, sentence) = refused(&network, request).await;
    assert_eq!(problem, Problem::Conflict);
    assert!(
        sentence.starts_with("This organisation has already joined"),
        "{sentence}"
    );
    network.stop().await;
}
