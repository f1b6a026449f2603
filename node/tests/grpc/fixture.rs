//! A node on a loopback port, with one peer that it has verified, and clients for each role.
//! Every test of this folder begins with [`Desk::open`].
//! Never shared between tests: each has its own folder, store and port.

use kith_node::grants;
use kith_node::grpc::server::{Listen, listen};
use kith_node::keys::{DataFolder, Keys, Membership};
use kith_node::node::{Config, Node};
use kith_node::serve::{Serve, serve};
use kith_node::tokens::{self, Role};
use kith_node::web::At;
use kith_proto::id::{InviteId, NetworkName};
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteTerms, NewKeys};
use kith_proto::v1;
use kith_proto::v1::consent_service_client::ConsentServiceClient;
use kith_proto::v1::directory_service_client::DirectoryServiceClient;
use kith_proto::v1::person_service_client::PersonServiceClient;
use kith_proto::v1::referral_service_client::ReferralServiceClient;
use kith_proto::words::{Category, OrganisationKind, Purpose};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::tls::dial::Dial;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::Channel;

pub(crate) const NETWORK: &str = "lune-valley.example";
pub(crate) const ME: &str = "riverside-gp";
pub(crate) const PEER: &str = "tigrinya-circle";

/// A running node and everything a test asks it with.
pub(crate) struct Desk {
    pub(crate) channel: Channel,
    pub(crate) address: String,
    /// Where the workspace is.
    pub(crate) web: String,
    pub(crate) node: Arc<Node>,
    /// This node as a directory lists it.
    pub(crate) mine: v1::Member,
    pub(crate) shutdown: Shutdown,
    served: JoinHandle<()>,
    tokens: BTreeMap<Role, String>,
    next_id: AtomicU64,
    folder: TempDir,
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn member(org: &str, keys: &NewKeys, now_ms: i64) -> v1::Member {
    let network: NetworkName = NETWORK.parse().unwrap();
    let (root, registrar, seed) = (signing(1), signing(2), signing(9));
    let admitted = trust::issue_registrar(&root, &network, &registrar.public(), 0, now_ms).unwrap_err();
    assert_eq!(
        admitted,
        trust::TrustError::Malformed,
        "a registrar lives a year at most"
    );
    let until_ms = now_ms + 9_000_000;
    let admitted =
        trust::issue_registrar(&root, &network, &registrar.public(), now_ms - 1, until_ms).unwrap();
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes([org.len() as u8; 16]),
        network: network.clone(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::PeerGroup,
        name: "Tigrinya Women's Circle".into(),
        seed_public_key: seed.public(),
    };
    let invite = trust::issue_invite(&registrar, terms, now_ms).unwrap();
    let read = trust::verify_registrar(&admitted, &root.public(), &network, now_ms).unwrap();
    let terms = trust::verify_invite(&invite, &read, now_ms).unwrap();
    let binding = trust::first_binding(&seed, &terms, keys, now_ms).unwrap();
    v1::Member {
        organisation: org.to_owned(),
        chain: Some(v1::BindingChain {
            registrar: Some(admitted),
            invite: Some(invite),
            bindings: vec![binding],
            later_registrars: Vec::new(),
            later_invites: Vec::new(),
        }),
        ..v1::Member::default()
    }
}

fn join_on_paper(folder: &DataFolder, rng: &Rng, now_ms: i64) -> Vec<v1::Member> {
    let keys = Keys::make(folder, rng, now_ms).unwrap();
    let membership = Membership {
        network: NETWORK.parse().unwrap(),
        organisation: ME.parse().unwrap(),
        kind: OrganisationKind::Gp,
        name: "Riverside GP practice".into(),
        // Port 9 is the discard service: nothing listens there, and the link keeps trying.
        gateway: "127.0.0.1:9".into(),
        root: signing(1).public(),
        issuer: v1::Signed::default(),
        policy: v1::Signed::default(),
    };
    membership.save(folder).unwrap();
    let mine = NewKeys {
        signing_key: keys.signing.public(),
        sealing_key: keys.newest_sealing_key().unwrap().key.public().clone(),
    };
    let theirs = NewKeys {
        signing_key: signing(7).public(),
        sealing_key: SealingKey::from_seed([7; 32]).unwrap().public().clone(),
    };
    vec![member(ME, &mine, now_ms), member(PEER, &theirs, now_ms)]
}

async fn token_of_each_role(node: &Node, made_with: (&Clock, &Rng)) -> BTreeMap<Role, String> {
    let mut made = BTreeMap::new();
    for role in Role::ALL {
        let roles = [role].into_iter().collect();
        let token = tokens::make(&node.store, made_with, roles, role.to_string()).await;
        made.insert(role, token.unwrap().secret);
    }
    made
}

impl Desk {
    /// Without TLS, as on most computers.
    pub(crate) async fn open() -> Self {
        Self::open_with(None).await
    }

    /// With a certificate chain and its key, or without TLS.
    pub(crate) async fn open_with(chain: Option<(&str, &str)>) -> Self {
        let clock = Clock::system();
        let now_ms = clock.now_ms();
        let (rng, root) = (Rng::system(), tempfile::tempdir().unwrap());
        let folder = DataFolder::at(root.path());
        let members = join_on_paper(&folder, &rng, now_ms);
        let config = Config {
            folder,
            store_url: None,
            store_blocking: false,
        };
        let node = Arc::new(Node::open(config, clock.clone(), rng.clone()).await.unwrap());
        let checked = members
            .iter()
            .map(|wire| node.members.check(wire, now_ms).unwrap());
        let mut checked: Vec<_> = checked.collect();
        checked[1].services.push(tea());
        for listed in &checked {
            let bindings = listed.member.bindings.iter();
            let logged = bindings.map(|binding| (listed.member.org.clone(), binding.hash));
            node.members.believe(logged.collect());
        }
        node.members.put(checked);
        let made = token_of_each_role(&node, (&clock, &rng)).await;
        let review = grants::NewReview::of(&grants::statement_text("", "en").unwrap(), grants::DEMO_REVIEWER);
        let network = &node.membership.network;
        grants::review(&node.store, (&clock, &rng), network, review)
            .await
            .unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let chain = chain.map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
        let of = "grpc";
        let listening = listen(Listen { of, address, chain }, move || clock.now_ms());
        let (incoming, bound) = listening.await.unwrap();
        let (of, chain) = ("web", None);
        let (workspace, web) = listen(Listen { of, address, chain }, || 0).await.unwrap();
        let shutdown = Shutdown::new();
        let serving = Serve {
            incoming,
            web: Some((
                workspace,
                At {
                    zone: jiff::tz::TimeZone::UTC,
                    origin: "http://localhost".parse().ok(),
                },
            )),
            dial: Dial::tcp(),
            shutdown: shutdown.clone(),
        };
        let running = serve(node.clone(), serving);
        let served = tokio::spawn(async move { running.await.unwrap() });
        let endpoint = Channel::from_shared(format!("http://{bound}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self {
            channel,
            address: bound.to_string(),
            web: web.to_string(),
            mine: members[0].clone(),
            node,
            shutdown,
            served,
            tokens: made,
            next_id: AtomicU64::new(1),
            folder: root,
        }
    }

    /// Stops the node and waits until every part of it has ended.
    pub(crate) async fn close(self) {
        drop(self.channel);
        self.shutdown.request();
        self.served.await.unwrap();
    }

    /// The node's data folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn token(&self, role: Role) -> &str {
        &self.tokens[&role]
    }

    /// A request id that no other call of this desk has.
    pub(crate) fn request_id(&self) -> Vec<u8> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        u128::from(number).to_be_bytes().to_vec()
    }

    /// A call signed in by this role.
    pub(crate) fn by<T>(&self, role: Role, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token(role));
        request
            .metadata_mut()
            .insert("authorization", bearer.parse().unwrap());
        request
    }

    pub(crate) fn persons(&self) -> PersonServiceClient<Channel> {
        PersonServiceClient::new(self.channel.clone())
    }

    pub(crate) fn consent(&self) -> ConsentServiceClient<Channel> {
        ConsentServiceClient::new(self.channel.clone())
    }

    pub(crate) fn referrals(&self) -> ReferralServiceClient<Channel> {
        ReferralServiceClient::new(self.channel.clone())
    }

    pub(crate) fn directory(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.channel.clone())
    }

    /// Records a person by this role.
    pub(crate) async fn person(&self, role: Role, name: &str) -> Vec<u8> {
        let parts = vec![
            part(Category::Identity, "preferred_name", name),
            part(Category::Contact, "safe_phone", "07700 900123"),
        ];
        let asked = v1::CreatePersonRequest {
            request_id: self.request_id(),
            parts,
        };
        self.persons()
            .create_person(self.by(role, asked))
            .await
            .unwrap()
            .into_inner()
            .person_id
    }

    /// Records that a person agreed to identity, contact and need for the peer.
    pub(crate) async fn grant(&self, role: Role, person_id: &[u8]) -> Vec<u8> {
        let asked = self.grant_asked(person_id).await;
        self.consent()
            .record_grant(self.by(role, asked))
            .await
            .unwrap()
            .into_inner()
            .grant_id
    }

    pub(crate) async fn grant_asked(&self, person_id: &[u8]) -> v1::RecordGrantRequest {
        let asked = v1::GetStatementRequest {
            statement_id: String::new(),
            language: "en".into(),
        };
        let statement = self
            .consent()
            .get_statement(self.by(Role::Referrer, asked))
            .await
            .unwrap();
        let statement = statement.into_inner().statement.unwrap();
        v1::RecordGrantRequest {
            request_id: self.request_id(),
            person_id: person_id.to_vec(),
            capture: Some(v1::Capture {
                given_by: v1::GivenBy::Person.into(),
                given_how: v1::GivenHow::InPerson.into(),
                language: "ti".into(),
                interpreter: v1::Interpreter::Professional.into(),
                read_aloud: true,
                understood: "You will ask the women's circle to call me, and I can stop it.".into(),
                statement_id: statement.statement_id,
                statement_language: statement.language,
                text_hash: statement.text_hash,
            }),
            allowed: vec![v1::Allowed {
                recipient: PEER.into(),
                categories: [Category::Identity, Category::Contact, Category::Need]
                    .map(Category::number)
                    .to_vec(),
                purposes: vec![Purpose::PeerSupport.number()],
                progress: true,
            }],
            lawful_basis: v1::LawfulBasis::Consent.into(),
            expires_at_ms: 0,
        }
    }

    /// A referral to the peer that is allowed.
    pub(crate) fn referral(&self, person_id: &[u8], grant_id: &[u8]) -> v1::SendReferralRequest {
        v1::SendReferralRequest {
            request_id: self.request_id(),
            person_id: person_id.to_vec(),
            grant_id: grant_id.to_vec(),
            recipient: PEER.into(),
            purpose: Purpose::PeerSupport.number(),
            parts: vec![part(
                Category::Need,
                "summary",
                "Somebody to talk to on Tuesdays.",
            )],
            categories: vec![Category::Identity.number()],
            answer_by_ms: 0,
        }
    }
}

/// What the peer offers.
fn tea() -> v1::Service {
    v1::Service {
        organisation: PEER.into(),
        name: "Tuesday tea".into(),
        purposes: vec![Purpose::PeerSupport.number()],
        languages: vec!["ti".into()],
        minimum_categories: [Category::Identity, Category::Need]
            .map(Category::number)
            .to_vec(),
        place: "The library".into(),
        ..v1::Service::default()
    }
}

/// A part of one field.
pub(crate) fn part(category: Category, name: &str, value: &str) -> v1::Part {
    let fields = vec![v1::Field {
        name: name.to_owned(),
        value: value.to_owned(),
    }];
    v1::Part {
        category: category.number(),
        fields,
    }
}
