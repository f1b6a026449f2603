//! A gateway that comes back from a backup of before a loss: stolen keys must not count again, and their owner must not be locked out.

use super::DATABASE;
use crate::fixture::{HOUR, Network, Node, T0};
use kith_gateway::gateway::{Gateway, GatewayConfig};
use kith_gateway::invite::{self, Invited};
use kith_gateway::keys::RootKeys;
use kith_gateway::membership::{self, MembershipError, certificate_counts, give_back_rekey};
use kith_gateway::restore::restore;
use kith_gateway::whole;
use kith_proto::permits::MemberState;
use kith_proto::recovery::RestoreReason;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteToken, Rekeyed};
use kith_proto::v1;
use kith_service::rng::Rng;
use kith_service::tls::certificates;
use kith_service::tls::identity::Identity;
use kith_service::tls::issue;
use std::sync::Arc;

const DAY: i64 = 24 * HOUR;

/// A member whose computer was stolen, back with new keys; and what its first enrolment asked.
struct Back {
    network: Network,
    stolen: Node,
    fresh: Node,
    joined: v1::EnrolRequest,
    rekeyed: v1::PublishBindingRequest,
}

impl Back {
    async fn begin() -> Self {
        let network = Network::start(DATABASE).await;
        let mut stolen = Node::new("womens-circle");
        let joined = stolen.enrol_request(&network.invite("womens-circle"), T0);
        let answer = membership::enrol(&network.gateway, joined.clone()).await;
        stolen.chain_pem = answer.unwrap().certificate_chain_pem;
        network.time.advance(HOUR);
        let reported = membership::report_lost(&network.gateway, &stolen.org)
            .await
            .unwrap();
        let invited = Invited {
            org: stolen.org.clone(),
            kind: reported.kind.try_into().unwrap(),
            name: reported.name,
        };
        let rekeyed = Rekeyed::read(&reported.rekeyed.unwrap()).unwrap();
        let (keys, rng) = (network.registrar(), Rng::system());
        let token = invite::rekey_token(&keys, invited, &rekeyed, &network.clock, &rng).unwrap();
        let token = InviteToken::decode(&token).unwrap();
        let mut fresh = Node::new("womens-circle");
        let now_ms = network.clock.now_ms();
        let (_, invite) = token.verify(now_ms).unwrap();
        let seed = SigningKey::from_seed(token.seed).unwrap();
        let binding = trust::rekey_binding(&seed, &invite, &fresh.keys(), now_ms).unwrap();
        let request = v1::EnrolRequest {
            registrar: Some(token.registrar.clone()),
            invite: Some(token.invite.clone()),
            binding: Some(binding),
            certificate_request_der: issue::certificate_request(&fresh.tls_key_pem).unwrap(),
            logged: None,
        };
        let answer = membership::rekey(&network.gateway, request.clone()).await;
        fresh.chain_pem = answer.unwrap().certificate_chain_pem;
        Self {
            network,
            stolen,
            fresh,
            joined,
            rekeyed: v1::PublishBindingRequest {
                binding: request.binding,
                invite: request.invite,
                registrar: request.registrar,
            },
        }
    }

    /// A gateway on a backup of before the loss.
    async fn backup(&self, name: &str) -> (Arc<Gateway>, GatewayConfig) {
        let place = self.network.folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        let config = GatewayConfig {
            store_url: DATABASE.fresh(&place).await,
            ..self.network.config.clone()
        };
        let gateway = self.open(&config).await;
        membership::enrol(&gateway, self.joined.clone()).await.unwrap();
        (gateway, config)
    }

    async fn open(&self, config: &GatewayConfig) -> Arc<Gateway> {
        Gateway::open(config, self.network.clock.clone(), Rng::system())
            .await
            .unwrap()
    }

    async fn give(&self, gateway: &Gateway) -> Result<u64, MembershipError> {
        let given = give_back_rekey(gateway, &self.stolen.org, self.rekeyed.clone()).await;
        given.map(|answer| answer.number)
    }
}

fn counts(gateway: &Gateway, node: &Node) -> bool {
    let leaf = certificates(&node.chain_pem).unwrap().remove(0);
    let known = gateway.member(&node.org).unwrap();
    certificate_counts(&known, &Identity::from_der(&leaf).unwrap())
}

#[tokio::test]
async fn a_rekey_that_the_backup_does_not_have_is_given_back_and_the_stolen_keys_count_no_more() {
    let mut back = Back::begin().await;
    back.network.time.advance(HOUR);
    for (name, is_reported_again) in [("one", false), ("other", true)] {
        let (gateway, config) = back.backup(name).await;
        // Not before the root has said that this gateway came back.
        let refused = back.give(&gateway).await.unwrap_err();
        assert!(matches!(refused, MembershipError::InviteExpired), "{refused}");
        let dir = back.network.folder.path().join("network/root");
        let root = RootKeys::load(&dir).unwrap();
        let (_, word) = root.sign_epoch(&dir, 1, back.network.clock.now_ms()).unwrap();
        restore(&gateway, &word, RestoreReason::Lost)
            .await
            .unwrap()
            .unwrap();
        gateway.store.close().await;
        let gateway = back.open(&config).await;
        assert!(gateway.restored.is_some() && counts(&gateway, &back.stolen));
        if is_reported_again {
            membership::report_lost(&gateway, &back.stolen.org).await.unwrap();
            assert!(!counts(&gateway, &back.stolen));
        }

        let mut plain = back.rekeyed.clone();
        plain.invite = None;
        let refused = give_back_rekey(&gateway, &back.stolen.org, plain).await;
        assert!(matches!(refused, Err(MembershipError::Missing("invite"))));
        for _ in 0..2 {
            assert_eq!(back.give(&gateway).await.unwrap(), 2);
        }
        assert_eq!(gateway.members.state(&back.stolen.org), MemberState::Suspended);
        // Whoever gave it, and every member could: only the new signing key gets a certificate.
        let now_ms = back.network.clock.now_ms();
        assert!(!counts(&gateway, &back.stolen) && !counts(&gateway, &back.fresh));
        let refused = membership::renew(&gateway, back.stolen.renew_request(now_ms)).await;
        assert!(matches!(refused, Err(MembershipError::Renewal)));
        let renewed = membership::renew(&gateway, back.fresh.renew_request(now_ms)).await;
        back.fresh.chain_pem = renewed.unwrap().certificate_chain_pem;
        assert!(!counts(&gateway, &back.stolen) && counts(&gateway, &back.fresh));
        gateway.log.catch_up(&gateway.keys.signing).await.unwrap();
        assert_eq!(whole::look(&gateway).await.unwrap().faults, [""; 0]);

        back.network.time.set(T0 + HOUR + DAY);
        assert_eq!(membership::resume_due(&gateway).await.unwrap(), 1);
        assert_eq!(gateway.members.state(&back.stolen.org), MemberState::Active);
        back.network.time.set(T0 + 2 * HOUR);
        gateway.store.close().await;
    }
    back.network.stop().await;
}
