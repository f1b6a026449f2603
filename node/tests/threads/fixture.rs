//! Two nodes of one network that know each other's keys, with a clock that is moved by hand and no link.
//! Every story begins with [`Pair::open`]. Never shared between tests: each has its own folders and databases.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use kith_node::grants::{self, Allowed, NewGrant};
use kith_node::keys::{DataFolder, Keys, Membership};
use kith_node::moves::{self, MoveError, NewMove};
use kith_node::node::{Config, Node};
use kith_node::parts::Parts;
use kith_node::persons::{self, NewPerson};
use kith_node::referrals::{self, NewReferral};
use kith_node::requests::Asked;
use kith_node::store;
use kith_node::threads::Thread;
use kith_node::tokens::{Caller, Role};
use kith_node::trail;
use kith_proto::id::{GrantId, InviteId, NetworkName, OrgId, PersonId, RequestId, ThreadId, TokenId};
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteTerms, NewKeys};
use kith_proto::v1;
use kith_proto::words::{Category, OrganisationKind, Purpose};
use kith_service::clock::{Clock, ManualClock};
use kith_service::rng::Rng;
use kith_service::store::{StoreError, Tx, column, query};
use sqlx::Connection as _;
use tempfile::TempDir;

use crate::post::{Carried, Post};

pub(crate) const NETWORK: &str = "lune-valley.example";
pub(crate) const START_MS: i64 = 1_800_000_000_000;
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A database for one node.
pub(crate) struct Fresh {
    /// None for a file in the node's own folder.
    pub(crate) url: Option<String>,
}

impl Fresh {
    pub(crate) fn sqlite() -> Self {
        Self { url: None }
    }

    pub(crate) async fn postgres() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server =
            std::env::var("KITH_TEST_POSTGRES").expect("KITH_TEST_POSTGRES names no server; run tests/run");
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("kith_threads_{}_{number}", std::process::id());
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Self {
            url: Some(format!("{before}/{name}")),
        }
    }
}

/// One organisation's node, with a coordinator, two referrers and an auditor who may call.
pub(crate) struct Desk {
    pub(crate) node: Node,
    pub(crate) coordinator: Caller,
    pub(crate) referrer: Caller,
    pub(crate) other_referrer: Caller,
    next_id: AtomicU8,
    next_group: AtomicU8,
    _folder: TempDir,
}

/// Two nodes; `gp` captures consent and sends, `circle` receives.
pub(crate) struct Pair {
    pub(crate) gp: Desk,
    pub(crate) circle: Desk,
    pub(crate) hand: ManualClock,
    post: Post,
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn caller(id: u8, role: Role) -> Caller {
    Caller {
        token_id: TokenId::from_bytes([id; 16]),
        roles: [role].into_iter().collect(),
    }
}

impl Pair {
    pub(crate) async fn open(first: Fresh, second: Fresh) -> Self {
        let (clock, hand) = Clock::manual(START_MS);
        let gp = Desk::open("riverside-gp", first, clock.clone()).await;
        let circle = Desk::open("tigrinya-circle", second, clock).await;
        let members = [gp.member(5), circle.member(6), stranger()];
        for desk in [&gp, &circle] {
            let check = |wire: &v1::Member| desk.node.members.check(wire, START_MS).unwrap();
            let listed: Vec<_> = members.iter().map(check).collect();
            for one in &listed {
                let bindings = one.member.bindings.iter();
                let logged = bindings.map(|binding| (one.member.org.clone(), binding.hash));
                desk.node.members.believe(logged.collect());
            }
            desk.node.members.put(listed);
        }
        Self {
            gp,
            circle,
            hand,
            post: Post::default(),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.gp.node.now_ms()
    }

    /// The circle's id.
    pub(crate) fn circle_id(&self) -> &OrgId {
        self.circle.node.organisation()
    }

    /// Carries what the surgery has for the circle.
    pub(crate) async fn to_circle(&self) -> Vec<Carried> {
        self.post.carry(&self.gp.node, &self.circle.node).await
    }

    /// Carries what the circle has for the surgery.
    pub(crate) async fn to_gp(&self) -> Vec<Carried> {
        self.post.carry(&self.circle.node, &self.gp.node).await
    }

    /// Carries both ways until nothing waits.
    pub(crate) async fn to_both(&self) {
        self.post.carry_all(&self.gp.node, &self.circle.node).await;
        self.fit().await;
    }

    /// A referral that the circle's node has.
    pub(crate) async fn received(&self, progress: bool) -> (ThreadId, GrantId) {
        let (thread_id, grant_id) = self.gp.referred(self.circle_id(), progress).await;
        self.to_both().await;
        (thread_id, grant_id)
    }

    /// Both nodes' states of a thread.
    pub(crate) async fn states(&self, thread_id: ThreadId) -> (State, State) {
        let (sent, inbox) = (
            self.gp.thread(thread_id).await,
            self.circle.thread(thread_id).await,
        );
        self.fit().await;
        (sent.situation.state, inbox.situation.state)
    }

    /// The circle's directory says whether the surgery is suspended.
    pub(crate) fn suspend_gp(&self, suspended: bool) {
        let wire = v1::Member {
            suspended,
            ..self.gp.member(5)
        };
        let members = &self.circle.node.members;
        members.put(vec![members.check(&wire, START_MS).unwrap()]);
    }

    /// Both databases say what their trails say.
    pub(crate) async fn fit(&self) {
        for node in [&self.gp.node, &self.circle.node] {
            node.log.catch_up(&node.keys.signing).await.unwrap();
            let key = node.keys.signing.public();
            let found = trail::whole(&node.store, &node.membership, &key, node.now_ms()).await;
            assert_eq!(found.unwrap().damages, [], "{}", node.organisation());
        }
    }
}

/// A third member that never answers.
fn stranger() -> v1::Member {
    let sealing = kith_proto::seal::SealingKey::from_seed([7; 32]).unwrap();
    let keys = NewKeys {
        signing_key: signing(7).public(),
        sealing_key: sealing.public().clone(),
    };
    member("hope-street", &keys, 8)
}

fn member(org: &str, keys: &NewKeys, number: u8) -> v1::Member {
    let network: NetworkName = NETWORK.parse().unwrap();
    let (root, registrar, seed) = (signing(1), signing(2), signing(9));
    let (from_ms, until_ms) = (START_MS - 1_000, START_MS + 300 * DAY_MS);
    let admitted = trust::issue_registrar(&root, &network, &registrar.public(), from_ms, until_ms).unwrap();
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes([number; 16]),
        network: network.clone(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::PeerGroup,
        name: org.to_owned(),
        seed_public_key: seed.public(),
    };
    let invite = trust::issue_invite(&registrar, terms, START_MS).unwrap();
    let read = trust::verify_registrar(&admitted, &root.public(), &network, START_MS).unwrap();
    let terms = trust::verify_invite(&invite, &read, START_MS).unwrap();
    let binding = trust::first_binding(&seed, &terms, keys, START_MS).unwrap();
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

pub(crate) fn part(category: Category, name: &str, value: &str) -> v1::Part {
    let field = v1::Field {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    v1::Part {
        category: category.number(),
        fields: vec![field],
    }
}

impl Desk {
    async fn open(org: &str, fresh: Fresh, clock: Clock) -> Self {
        let (rng, root) = (Rng::system(), tempfile::tempdir().unwrap());
        let folder = DataFolder::at(root.path());
        Keys::make(&folder, &rng, START_MS).unwrap();
        let membership = Membership {
            network: NETWORK.parse().unwrap(),
            organisation: org.parse().unwrap(),
            kind: OrganisationKind::Gp,
            name: org.to_owned(),
            gateway: "127.0.0.1:9".into(),
            root: signing(1).public(),
            issuer: v1::Signed::default(),
            policy: v1::Signed::default(),
        };
        membership.save(&folder).unwrap();
        let config = Config {
            folder,
            store_url: fresh.url,
            store_blocking: false,
        };
        let node = Node::open(config, clock, rng).await.unwrap();
        node.last_hello_ms.store(START_MS, Ordering::Relaxed);
        let review = grants::NewReview::of(&grants::statement_text("", "en").unwrap(), grants::DEMO_REVIEWER);
        let (time, network) = ((&node.clock, &node.rng), &node.membership.network);
        grants::review(&node.store, time, network, review).await.unwrap();
        Self {
            node,
            coordinator: caller(1, Role::Coordinator),
            referrer: caller(2, Role::Referrer),
            other_referrer: caller(3, Role::Referrer),
            next_id: AtomicU8::new(1),
            next_group: AtomicU8::new(0),
            _folder: root,
        }
    }

    fn member(&self, number: u8) -> v1::Member {
        let keys = NewKeys {
            signing_key: self.node.keys.signing.public(),
            sealing_key: self.node.keys.newest_sealing_key().unwrap().key.public().clone(),
        };
        member(self.node.organisation().as_str(), &keys, number)
    }

    pub(crate) fn request_id(&self) -> RequestId {
        let low = self.next_id.fetch_add(1, Ordering::Relaxed);
        let high = if low == 0 {
            self.next_group.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            0
        };
        let high = high.max(self.next_group.load(Ordering::Relaxed));
        let mut id = [0xA5; 16];
        (id[0], id[1]) = (high, low);
        RequestId::from_bytes(id)
    }

    /// Records a person with four parts, as this caller's.
    pub(crate) async fn person(&self, by: &Caller) -> PersonId {
        let parts = vec![
            part(Category::Identity, "preferred_name", "Selam"),
            part(Category::Contact, "safe_way", "a neighbour, after six"),
            part(Category::Need, "what_would_help", "company on Tuesdays"),
            part(Category::Health, "summary", "tired in the mornings"),
        ];
        let new = NewPerson {
            request_id: self.request_id(),
            parts: Parts::parse(parts).unwrap(),
        };
        let made = persons::create(&self.node, by, &new).await.unwrap();
        PersonId::try_from(made.person_id.as_slice()).unwrap()
    }

    pub(crate) fn allowed(recipient: &OrgId, progress: bool) -> Allowed {
        Allowed {
            recipient: recipient.clone(),
            categories: [
                Category::Identity,
                Category::Contact,
                Category::Need,
                Category::Health,
            ]
            .into_iter()
            .collect(),
            purposes: vec![Purpose::PeerSupport],
            progress,
        }
    }

    /// Records consent for these recipients, until 90 days from now.
    pub(crate) async fn grant(&self, by: &Caller, person_id: PersonId, allowed: Vec<Allowed>) -> GrantId {
        let statement = grants::statement_text("", "en").unwrap();
        let new = NewGrant {
            request_id: self.request_id(),
            person_id,
            capture: v1::Capture {
                given_by: v1::GivenBy::Person.into(),
                given_how: v1::GivenHow::InPerson.into(),
                language: "en".into(),
                interpreter: v1::Interpreter::None.into(),
                read_aloud: true,
                understood: "they may call me".into(),
                statement_id: statement.statement_id,
                statement_language: statement.language,
                text_hash: statement.text_hash,
            },
            allowed,
            lawful_basis: v1::LawfulBasis::Consent,
            expires_at_ms: 0,
        };
        let made = grants::record(&self.node, by, &new).await.unwrap();
        GrantId::try_from(made.grant_id.as_slice()).unwrap()
    }

    /// Sends a referral with three of the person's parts.
    pub(crate) async fn refer(
        &self,
        by: &Caller,
        person_id: PersonId,
        grant_id: GrantId,
        recipient: &OrgId,
    ) -> ThreadId {
        let new = NewReferral {
            request_id: self.request_id(),
            person_id,
            grant_id,
            recipient: recipient.clone(),
            purpose: Purpose::PeerSupport,
            parts: Parts::default(),
            categories: [Category::Identity, Category::Need, Category::Health]
                .into_iter()
                .collect(),
            answer_by_ms: 0,
        };
        referrals::send(&self.node, by, new).await.unwrap().thread_id
    }

    /// A person, consent for one recipient, and a referral, all the coordinator's.
    pub(crate) async fn referred(&self, recipient: &OrgId, progress: bool) -> (ThreadId, GrantId) {
        let person_id = self.person(&self.coordinator).await;
        let allowed = vec![Self::allowed(recipient, progress)];
        let grant_id = self.grant(&self.coordinator, person_id, allowed).await;
        (
            self.refer(&self.coordinator, person_id, grant_id, recipient)
                .await,
            grant_id,
        )
    }

    pub(crate) fn asked(&self, thread_id: ThreadId, mv: Move) -> NewMove {
        let request_id = self.request_id();
        let wire = v1::MoveReferralRequest {
            request_id: request_id.as_bytes().to_vec(),
            thread_id: thread_id.as_bytes().to_vec(),
            r#move: mv.number(),
            ..v1::MoveReferralRequest::default()
        };
        NewMove {
            asked: Asked::new("move_referral", request_id, &wire),
            caller: self.coordinator,
            thread_id,
            mv,
            reason: Some(Reason::Other),
            words: String::new(),
        }
    }

    /// The coordinator makes a move, with the reason `other`.
    pub(crate) async fn make(
        &self,
        thread_id: ThreadId,
        mv: Move,
    ) -> Result<v1::MoveReferralResponse, MoveError> {
        moves::move_referral(&self.node, &self.asked(thread_id, mv)).await
    }

    pub(crate) async fn thread(&self, thread_id: ThreadId) -> Thread {
        let ids = &[thread_id];
        let read = |mut tx: Tx| async move { store::thread::by_id(&mut tx, ids).await };
        self.node
            .store
            .read::<_, StoreError, _, _>("thread", read)
            .await
            .unwrap()
            .pop()
            .unwrap()
    }

    /// One number out of the store.
    pub(crate) async fn count(&self, text: &'static str) -> i64 {
        let read = |mut tx: Tx| async move {
            let row = tx.one(query(text)).await?.unwrap();
            column::<i64>(&row, "test", "n")
        };
        self.node
            .store
            .read::<_, StoreError, _, _>("count", read)
            .await
            .unwrap()
    }

    /// Rows of events, outbox, trail and answered requests together: what a refusal must not change.
    pub(crate) async fn rows(&self) -> i64 {
        self.count(
            "SELECT CAST((SELECT COUNT(*) FROM event) + (SELECT COUNT(*) FROM outbox) \
             + (SELECT COUNT(*) FROM audit_event) + (SELECT COUNT(*) FROM request) \
             + (SELECT COUNT(*) FROM content) + (SELECT COUNT(*) FROM message) AS BIGINT) AS n",
        )
        .await
    }
}
