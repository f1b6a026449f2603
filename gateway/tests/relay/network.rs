//! A network for one test: keys as `init` makes them, a gateway served over TLS on a loopback port, members enrolled by their
//! invites, and a clock that the test moves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kith_gateway::gateway::{Gateway, GatewayConfig, serve};
use kith_gateway::invite::{Invited, token};
use kith_gateway::keys::{self, NetworkTerms, RegistrarKeys};
use kith_gateway::members::Standing;
use kith_gateway::membership;
use kith_gateway::restore::restore;
use kith_proto::id::OrgId;
use kith_proto::recovery::RestoreReason;
use kith_proto::seal::SealingKey;
use kith_proto::sign::{PublicKey, SigningKey};
use kith_proto::trust::{self, InviteToken, NewKeys};
use kith_proto::v1;
use kith_proto::words::OrganisationKind;
use kith_service::clock::{Clock, ManualClock};
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::store::{StoreError, query};
use kith_service::tls::issue::{certificate_request, generate_key_pem};
use kith_service::tls::{KeyedChain, client_config, dial, incoming};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::node::{HeldSlip, Line, Node};

/// 2026-01-01.
pub(crate) const START_MS: i64 = 1_767_225_600_000;
/// A day.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const NETWORK: &str = "lune-valley.example";

/// Where a test's rows are.
pub(crate) struct Place {
    dir: TempDir,
    url: String,
    postgres: bool,
    faulty: AtomicBool,
}

impl Place {
    /// A store that does not exist yet; `dir` is for the keys, and whatever else lives as long as the test.
    pub(crate) fn new(dir: TempDir, url: String, postgres: bool) -> Self {
        Self {
            dir,
            url,
            postgres,
            faulty: AtomicBool::new(false),
        }
    }
}

/// A gateway at work.
pub(crate) struct Network {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) hand: ManualClock,
    pub(crate) gateway_key: PublicKey,
    clock: Clock,
    place: Place,
    address: SocketAddr,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
}

impl Network {
    /// Makes the keys, opens the store and serves.
    pub(crate) async fn start(place: Place) -> Self {
        let (clock, hand) = Clock::manual(START_MS);
        let rng = Rng::system();
        let terms = NetworkTerms {
            network: NETWORK.parse().unwrap(),
            public_address: "127.0.0.1:1".into(),
        };
        let keys_dir = place.dir.path().join("keys");
        let made = keys::create(&terms, &keys_dir, &clock, &rng).unwrap();
        let config = GatewayConfig {
            data_dir: keys_dir.join("gateway"),
            store_url: place.url.clone(),
        };
        let gateway = Gateway::open(&config, clock.clone(), rng).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let serving = serve(gateway.clone(), incoming::tcp(listener), shutdown.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            gateway,
            hand,
            gateway_key: made.gateway,
            clock,
            place,
            address,
            shutdown,
            serving,
        }
    }

    /// The gateway ends, and begins the next epoch of its log on the same database, as one does that came back from a backup.
    pub(crate) async fn comes_back(&mut self) {
        self.shutdown.request();
        (&mut self.serving).await.unwrap();
        let keys_dir = self.place.dir.path().join("keys");
        let config = GatewayConfig {
            data_dir: keys_dir.join("gateway"),
            store_url: self.place.url.clone(),
        };
        let root_dir = keys_dir.join("root");
        let root = keys::RootKeys::load(&root_dir).unwrap();
        let (_, word) = root.sign_epoch(&root_dir, 1, self.clock.now_ms()).unwrap();
        let open = || Gateway::open(&config, self.clock.clone(), Rng::system());
        let began = restore(&open().await.unwrap(), &word, RestoreReason::Broken).await;
        assert!(began.unwrap().is_some());
        let gateway = open().await.unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        let shutdown = Shutdown::new();
        let serving = serve(gateway.clone(), incoming::tcp(listener), shutdown.clone());
        self.serving = tokio::spawn(async move { serving.await.unwrap() });
        self.gateway = gateway;
        self.shutdown = shutdown;
    }

    /// Invites and enrols a member; its keys come from `seed`.
    pub(crate) async fn node(&self, org: &str, seed: u8) -> Node {
        let keys = RegistrarKeys::load(&self.dir().join("registrar"), START_MS).unwrap();
        let invited = Invited {
            org: org.parse().unwrap(),
            kind: OrganisationKind::Charity,
            name: format!("The {org}"),
        };
        let text = token(&keys, invited, &self.clock, &Rng::system()).unwrap();
        let token = InviteToken::decode(&text).unwrap();
        let signing = SigningKey::from_seed([seed; 32]).unwrap();
        let sealing = SealingKey::from_seed([seed; 32]).unwrap();
        let new_keys = NewKeys {
            signing_key: signing.public(),
            sealing_key: sealing.public().clone(),
        };
        let (_, invite) = token.verify(START_MS).unwrap();
        let seed_key = SigningKey::from_seed(token.seed).unwrap();
        let binding = trust::first_binding(&seed_key, &invite, &new_keys, START_MS).unwrap();
        let key_pem = generate_key_pem().unwrap();
        let request = v1::EnrolRequest {
            registrar: Some(token.registrar),
            invite: Some(token.invite),
            binding: Some(binding),
            certificate_request_der: certificate_request(&key_pem).unwrap(),
            logged: None,
        };
        let enrolled = membership::enrol(&self.gateway, request).await.unwrap();
        let channel = self.channel(&enrolled.certificate_chain_pem, &key_pem).await;
        Node::new(org.parse().unwrap(), signing, sealing, channel, self.gateway_key)
    }

    async fn channel(&self, chain_pem: &[u8], key_pem: &str) -> Channel {
        let now = self.clock.clone();
        let identity = KeyedChain {
            chain_pem,
            key_pem: key_pem.as_bytes(),
        };
        let root = self.gateway.keys.issuing.certificate().clone();
        let config = client_config(root, Some(identity), move || now.now_ms()).unwrap();
        let name = format!("gateway.{NETWORK}");
        dial::channel(&dial::Dial::tcp(), &self.address.to_string(), &name, config)
            .await
            .unwrap()
    }

    /// Suspends a member or ends that.
    pub(crate) async fn set_standing(&self, org: &OrgId, standing: Standing) {
        membership::set_standing(&self.gateway, org, standing)
            .await
            .unwrap();
    }

    /// Runs a statement in the gateway's store.
    pub(crate) async fn run(&self, statement: &'static str) {
        let done = self
            .gateway
            .store
            .tx("test", |mut tx| async move { tx.run(query(statement)).await });
        let done: Result<u64, StoreError> = done.await;
        done.unwrap();
    }

    /// Runs a count in the gateway's store.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        let row = self.gateway.store.read("test", |mut tx| async move {
            let row = tx.one(query(statement)).await?;
            kith_service::store::column(&row.unwrap(), "test", "n")
        });
        let row: Result<i64, StoreError> = row.await;
        row.unwrap()
    }

    /// Makes every commit with an audit event fail, at the commit itself: a deferred constraint that cannot hold.
    pub(crate) async fn break_commits(&self) {
        if !self.place.faulty.swap(true, Ordering::Relaxed) {
            self.run("CREATE TABLE fault_parent (id BIGINT NOT NULL PRIMARY KEY)")
                .await;
            self.run(
                "CREATE TABLE fault (id BIGINT NOT NULL REFERENCES fault_parent (id) DEFERRABLE INITIALLY DEFERRED)",
            )
            .await;
        }
        if self.place.postgres {
            self.run(
                "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO fault (id) VALUES (1); RETURN NULL; END'",
            )
            .await;
            self.run("CREATE TRIGGER failing AFTER INSERT ON audit_event EXECUTE FUNCTION fail()")
                .await;
        } else {
            self.run("CREATE TRIGGER failing AFTER INSERT ON audit_event BEGIN INSERT INTO fault (id) VALUES (1); END")
                .await;
        }
    }

    /// Ends what [`Network::break_commits`] began.
    pub(crate) async fn mend_commits(&self) {
        if self.place.postgres {
            self.run("DROP TRIGGER failing ON audit_event").await;
        } else {
            self.run("DROP TRIGGER failing").await;
        }
    }

    fn dir(&self) -> std::path::PathBuf {
        Path::new(self.place.dir.path()).join("keys")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.gateway.relay.close();
        self.shutdown.request();
    }
}

/// A GP and a peer group, a slip between them, and the GP attached.
pub(crate) async fn pair() -> (Network, Node, Node, HeldSlip, Line) {
    let network = Network::start(crate::place().await).await;
    let gp = network.node("riverside-gp", 1).await;
    let peers = network.node("tigrinya-circle", 2).await;
    let slip = gp.slip(&peers);
    let line = gp.attach().await;
    (network, gp, peers, slip, line)
}
