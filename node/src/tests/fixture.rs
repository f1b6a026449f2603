//! A node of its own for each test: joined to a made-up network whose root, registrar and members are derived from seeds.
//! Used by every story of this crate. Never a mock: keys, chains, store and folder are real.

use std::sync::atomic::{AtomicU32, Ordering};

use kith_proto::id::{GrantId, InviteId, OrgId, PersonId, RequestId, TokenId};
use kith_proto::permits::CategorySet;
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteTerms, NewKeys};
use kith_proto::v1;
use kith_proto::words::{Category, OrganisationKind, Purpose};
use kith_service::clock::{Clock, ManualClock};
use kith_service::rng::Rng;
use kith_service::store::{Tx, column};
use tempfile::TempDir;

use crate::grants::{self, Allowed, NewGrant};
use crate::keys::{DataFolder, Keys, Membership};
use crate::node::{Config, Node};
use crate::parts::Parts;
use crate::persons::{self, NewPerson};
use crate::referrals::NewReferral;
use crate::tokens::{Caller, Role};

/// When every story begins.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;
/// The network of every story.
pub(crate) const NETWORK: &str = "lune-valley.example";
/// The node under test.
pub(crate) const ME: &str = "riverside-gp";
/// The organisation that it refers to; its keys come from the seed 22.
pub(crate) const CIRCLE: &str = "womens-circle";
/// Another member; seed 23.
pub(crate) const SCHOOL: &str = "north-school";

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Where a node lives; dropped with the test.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) store_url: Option<String>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            store_url: None,
        }
    }

    pub(crate) async fn postgres() -> Self {
        use sqlx::Connection as _;
        let server =
            std::env::var("KITH_TEST_POSTGRES").expect("KITH_TEST_POSTGRES names no server; run tests/run");
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("kith_node_{}_{number}", std::process::id());
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Self {
            folder: TempDir::new().unwrap(),
            store_url: Some(format!("{before}/{name}")),
        }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> DataFolder {
        DataFolder::at(self.folder.path().join("data"))
    }

    fn config(&self) -> Config {
        Config {
            folder: self.data(),
            store_url: self.store_url.clone(),
            store_blocking: false,
        }
    }
}

/// Every binding of a member, as one that stands in the key log.
pub(crate) fn logged(member: &trust::Member) -> Vec<(OrgId, [u8; 32])> {
    let bindings = member.bindings.iter();
    bindings
        .map(|binding| (member.org.clone(), binding.hash))
        .collect()
}

/// A node, the hand of its clock, and who calls.
pub(crate) struct Story {
    pub(crate) place: Place,
    pub(crate) node: Node,
    pub(crate) hand: ManualClock,
    pub(crate) caller: Caller,
}

impl Story {
    /// A node that has joined, with two other members.
    pub(crate) async fn begin(place: Place) -> Self {
        let keys = Keys::make(&place.data(), &Rng::system(), NOW_MS).unwrap();
        let membership = Membership {
            network: NETWORK.parse().unwrap(),
            organisation: org(ME),
            kind: OrganisationKind::Gp,
            name: "Riverside Practice".into(),
            gateway: "127.0.0.1:1".into(),
            root: signing(1).public(),
            issuer: v1::Signed::default(),
            policy: v1::Signed::default(),
        };
        membership.save(&place.data()).unwrap();
        let mine = NewKeys {
            signing_key: keys.signing.public(),
            sealing_key: keys.newest_sealing_key().unwrap().key.public().clone(),
        };
        Self::open(place, mine).await
    }

    async fn open(place: Place, mine: NewKeys) -> Self {
        let (clock, hand) = Clock::manual(NOW_MS);
        let node = Node::open(place.config(), clock, Rng::system()).await.unwrap();
        for (name, keys) in [(ME, mine), (CIRCLE, new_keys(22)), (SCHOOL, new_keys(23))] {
            let listed = node.members.check(&member(name, &keys), NOW_MS).unwrap();
            node.members.believe(logged(&listed.member));
            node.members.put(vec![listed]);
        }
        let review = grants::NewReview::of(&grants::statement_text("", "en").unwrap(), grants::DEMO_REVIEWER);
        let (time, network) = ((&node.clock, &node.rng), &node.membership.network);
        grants::review(&node.store, time, network, review).await.unwrap();
        Self {
            place,
            node,
            hand,
            caller: caller(1, &[Role::Referrer]),
        }
    }

    /// Closes the node and opens it again from its folder and database.
    pub(crate) async fn reopen(self) -> Self {
        let mine = NewKeys {
            signing_key: self.node.keys.signing.public(),
            sealing_key: self.node.keys.newest_sealing_key().unwrap().key.public().clone(),
        };
        self.node.store.close().await;
        drop(self.node);
        Self::open(self.place, mine).await
    }

    /// Records a person with these fields.
    pub(crate) async fn person(&self, parts: Vec<v1::Part>) -> PersonId {
        let new = NewPerson {
            request_id: self.request(),
            parts: Parts::parse(parts).unwrap(),
        };
        let made = persons::create(&self.node, &self.caller, &new).await.unwrap();
        PersonId::try_from(made.person_id.as_slice()).unwrap()
    }

    /// Records a grant for the circle alone: identity, contact, need; peer support.
    pub(crate) async fn grant(&self, person_id: PersonId) -> GrantId {
        let new = self.new_grant(person_id, vec![allowed(CIRCLE)]);
        let made = grants::record(&self.node, &self.caller, &new).await.unwrap();
        GrantId::try_from(made.grant_id.as_slice()).unwrap()
    }

    pub(crate) fn new_grant(&self, person_id: PersonId, allowed: Vec<Allowed>) -> NewGrant {
        NewGrant {
            request_id: self.request(),
            person_id,
            capture: capture(),
            allowed,
            lawful_basis: v1::LawfulBasis::PublicTask,
            expires_at_ms: 0,
        }
    }

    /// A referral to the circle with the person's identity and need.
    pub(crate) fn referral(&self, person_id: PersonId, grant_id: GrantId) -> NewReferral {
        NewReferral {
            request_id: self.request(),
            person_id,
            grant_id,
            recipient: org(CIRCLE),
            purpose: Purpose::PeerSupport,
            parts: Parts::default(),
            categories: set(&[Category::Identity, Category::Need]),
            answer_by_ms: 0,
        }
    }

    pub(crate) fn request(&self) -> RequestId {
        RequestId::from_bytes(self.node.rng.bytes().unwrap())
    }

    /// A count or other number that one statement gives as `n`.
    pub(crate) async fn number(&self, statement: &'static str) -> i64 {
        let read = |mut tx: Tx| async move {
            let row = tx.one(kith_service::store::query(statement)).await?;
            column::<i64>(&row.unwrap(), "test", "n")
        };
        self.node.store.read("number", read).await.unwrap()
    }

    /// Changes rows by hand.
    pub(crate) async fn change(&self, statement: &'static str) -> u64 {
        let change = |mut tx: Tx| async move { tx.run(kith_service::store::query(statement)).await };
        self.node.store.tx("change", change).await.unwrap()
    }

    /// All values that one statement gives as bytes `b`.
    pub(crate) async fn bytes(&self, statement: &'static str) -> Vec<Vec<u8>> {
        let read = |mut tx: Tx| async move {
            let rows = tx.all(kith_service::store::query(statement)).await?;
            rows.iter()
                .map(|row| column::<Vec<u8>>(row, "test", "b"))
                .collect()
        };
        self.node.store.read("bytes", read).await.unwrap()
    }

    /// How often this code is in the trail.
    pub(crate) async fn trail(&self, code: crate::audit::Code) -> usize {
        let read = |mut tx: Tx| async move {
            let rows = tx
                .all(kith_service::store::query("SELECT code FROM audit_event"))
                .await?;
            rows.iter()
                .map(|row| column::<String>(row, "audit_event", "code"))
                .collect::<Result<Vec<_>, _>>()
        };
        let codes = self.node.store.read("trail", read).await.unwrap();
        codes.iter().filter(|found| *found == code.as_str()).count()
    }
}

pub(crate) fn caller(token: u8, roles: &[Role]) -> Caller {
    Caller {
        token_id: TokenId::from_bytes([token; 16]),
        roles: roles.iter().copied().collect(),
    }
}

pub(crate) fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

pub(crate) fn set(categories: &[Category]) -> CategorySet {
    categories.iter().copied().collect()
}

pub(crate) fn part(category: Category, fields: &[(&str, &str)]) -> v1::Part {
    let field = |(name, value): &(&str, &str)| v1::Field {
        name: (*name).into(),
        value: (*value).into(),
    };
    v1::Part {
        category: category.number(),
        fields: fields.iter().map(field).collect(),
    }
}

/// A person with a name, a telephone number, a need and something about health.
pub(crate) fn somebody(name: &str) -> Vec<v1::Part> {
    vec![
        part(Category::Identity, &[("preferred_name", name)]),
        part(Category::Contact, &[("safe_phone", "07700 900123")]),
        part(Category::Need, &[("in_their_words", "I want to meet others")]),
        part(Category::Health, &[("summary", "asthma")]),
    ]
}

pub(crate) fn allowed(recipient: &str) -> Allowed {
    Allowed {
        recipient: org(recipient),
        categories: set(&[Category::Identity, Category::Contact, Category::Need]),
        purposes: vec![Purpose::PeerSupport],
        progress: true,
    }
}

/// A talk in Tigrinya about the English text, interpreted by a peer.
pub(crate) fn capture() -> v1::Capture {
    let statement = grants::statement_text("", "en").unwrap();
    v1::Capture {
        given_by: v1::GivenBy::Person.into(),
        given_how: v1::GivenHow::InPerson.into(),
        language: "ti".into(),
        interpreter: v1::Interpreter::Peer.into(),
        read_aloud: true,
        understood: "they will ring me".into(),
        statement_id: statement.statement_id,
        statement_language: statement.language,
        text_hash: statement.text_hash,
    }
}

pub(crate) fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

pub(crate) fn sealing(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32]).unwrap()
}

pub(crate) fn new_keys(seed: u8) -> NewKeys {
    NewKeys {
        signing_key: signing(seed).public(),
        sealing_key: sealing(seed).public().clone(),
    }
}

/// A member as the gateway lists it, its chain whole from the root.
pub(crate) fn member(name: &str, keys: &NewKeys) -> v1::Member {
    let network = NETWORK.parse().unwrap();
    let (root, registrar) = (signing(1), signing(2));
    let (from_ms, until_ms) = (NOW_MS - 10, NOW_MS + 9_000_000);
    let signed = trust::issue_registrar(&root, &network, &registrar.public(), from_ms, until_ms).unwrap();
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes(*b"an invite of one"),
        network: network.clone(),
        org: org(name),
        kind: OrganisationKind::PeerGroup,
        name: name.into(),
        seed_public_key: signing(9).public(),
    };
    let invite = trust::issue_invite(&registrar, terms, NOW_MS - 5).unwrap();
    let read = trust::verify_registrar(&signed, &root.public(), &network, NOW_MS - 5).unwrap();
    let terms = trust::verify_invite(&invite, &read, NOW_MS - 5).unwrap();
    let first = trust::first_binding(&signing(9), &terms, keys, NOW_MS - 5).unwrap();
    v1::Member {
        organisation: name.into(),
        name: name.into(),
        chain: Some(v1::BindingChain {
            registrar: Some(signed),
            invite: Some(invite),
            bindings: vec![first],
            later_registrars: Vec::new(),
            later_invites: Vec::new(),
        }),
        ..v1::Member::default()
    }
}
