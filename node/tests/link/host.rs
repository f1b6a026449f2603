//! A real node in a folder of its own, joined to the story's gateway, with its link running. Used by the stories.
//! Never reaches past the node's public interface but to read what it stored.

use std::sync::Arc;

use kith_node::grants::{self, Allowed, NewGrant};
use kith_node::join::{self, Joining};
use kith_node::keys::DataFolder;
use kith_node::link;
use kith_node::node::{Config, Node};
use kith_node::parts::Parts;
use kith_node::persons::{self, NewPerson};
use kith_node::referrals::{self, NewReferral};
use kith_node::tokens::{Caller, Role};
use kith_proto::id::{GrantId, PersonId, RequestId, ThreadId, TokenId};
use kith_proto::seal::SealingPublicKey;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::clock::{Clock, ManualClock};
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::store::{Query, StoreError, query};
use kith_service::tls::dial::Dial;

use crate::gateway::{Gateway, PATIENCE, T0};
use crate::peer::{Peer, random};
use crate::store_url;

/// Everything that a story needs.
pub(crate) struct Story {
    pub(crate) gateway: Gateway,
    pub(crate) host: Host,
    pub(crate) time: ManualClock,
}

/// A node and its link.
pub(crate) struct Host {
    pub(crate) node: Arc<Node>,
    pub(crate) joining: Joining,
    _folder: Arc<tempfile::TempDir>,
    shutdown: Shutdown,
    linking: Linking,
}

/// The link's task, ended with the host.
struct Linking(tokio::task::JoinHandle<()>);

impl Drop for Linking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Story {
    /// A gateway and one joined node, `hope-street`, whose link dials.
    pub(crate) async fn begin() -> Self {
        let (clock, time) = Clock::manual(T0);
        let gateway = Gateway::start(clock.clone()).await;
        let joining = joining(clock).await;
        let token = gateway.invite("hope-street").encode().unwrap();
        join::join(&token, &joining.1).await.unwrap();
        let host = Host::open(joining.1, joining.0).await;
        Self { gateway, host, time }
    }

    /// Another member, listed before the node next reads the directory.
    pub(crate) fn peer(&self, org: &str) -> Peer {
        Peer::new(
            &self.gateway,
            org,
            self.host.node.organisation(),
            &self.host.sealing_key(),
        )
    }

    /// Stops the node as a power cut does to its streams, and starts it again from its folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { gateway, host, time } = self;
        Self {
            gateway,
            host: host.restart().await,
            time,
        }
    }
}

impl Story {
    /// As [`Story::restart`], from a node whose link is not up.
    pub(crate) async fn relinked(self) -> Self {
        self.restart().await
    }

    /// Ends the command that has the node, and begins it again.
    pub(crate) async fn reopened(self) -> Self {
        let Self { gateway, host, time } = self;
        let host = host.unlinked().await;
        Self { gateway, host, time }
    }
}

/// What a node needs to join, in a new folder.
pub(crate) async fn joining(clock: Clock) -> (Arc<tempfile::TempDir>, Joining) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        folder: DataFolder::at(folder.path().join("data")),
        store_url: store_url().await,
        store_blocking: false,
    };
    let joining = Joining {
        config,
        dial: Dial::tcp(),
        clock,
        rng: Rng::system(),
    };
    (Arc::new(folder), joining)
}

impl Host {
    /// Opens the node and starts its link.
    pub(crate) async fn open(joining: Joining, folder: Arc<tempfile::TempDir>) -> Self {
        let opened = Node::open(joining.config.clone(), joining.clock.clone(), joining.rng.clone()).await;
        let node = Arc::new(opened.unwrap());
        let shutdown = Shutdown::new();
        let link = link::run(node.clone(), joining.dial.clone(), shutdown.clone());
        let linking = Linking(tokio::spawn(link));
        Self {
            node,
            joining,
            _folder: folder,
            shutdown,
            linking,
        }
    }

    async fn restart(self) -> Self {
        let (joining, folder) = self.stop().await;
        Self::open(joining, folder).await
    }

    /// Stops the node; its folder can be opened again.
    pub(crate) async fn stop(self) -> (Joining, Arc<tempfile::TempDir>) {
        let Self {
            node,
            joining,
            _folder,
            shutdown,
            mut linking,
        } = self;
        shutdown.request();
        (&mut linking.0).await.unwrap();
        node.store.close().await;
        drop(node);
        (joining, _folder)
    }

    /// Starts again from its folder, without a link: as a command does.
    pub(crate) async fn unlinked(self) -> Self {
        let (joining, folder) = self.stop().await;
        let opened = Node::open(joining.config.clone(), joining.clock.clone(), joining.rng.clone()).await;
        Self {
            node: Arc::new(opened.unwrap()),
            joining,
            _folder: folder,
            shutdown: Shutdown::new(),
            linking: Linking(tokio::spawn(async {})),
        }
    }

    /// What others seal to.
    pub(crate) fn sealing_key(&self) -> SealingPublicKey {
        self.node.keys.newest_sealing_key().unwrap().key.public().clone()
    }

    /// A coordinator of the organisation.
    pub(crate) fn caller(&self) -> Caller {
        let roles = [Role::Coordinator, Role::Referrer].into_iter().collect();
        Caller {
            token_id: TokenId::from_bytes([6; 16]),
            roles,
        }
    }

    /// Records a person and consent to share their need and identity with these members.
    pub(crate) async fn consent(&self, recipients: &[&Peer]) -> (PersonId, GrantId) {
        let need = v1::Part {
            category: Category::Identity.number(),
            fields: vec![v1::Field {
                name: "preferred_name".into(),
                value: "Selam".into(),
            }],
        };
        let new = NewPerson {
            request_id: RequestId::from_bytes(random()),
            parts: Parts::parse(vec![need]).unwrap(),
        };
        let person = persons::create(&self.node, &self.caller(), &new).await.unwrap();
        let person_id = PersonId::try_from(person.person_id.as_slice()).unwrap();
        let statement = grants::statement_text("", "en").unwrap();
        let review = grants::NewReview::of(&statement, grants::DEMO_REVIEWER);
        let (node, network) = (&self.node, &self.node.membership.network);
        grants::review(&node.store, (&node.clock, &node.rng), network, review)
            .await
            .unwrap();
        let capture = v1::Capture {
            given_by: v1::GivenBy::Person.into(),
            given_how: v1::GivenHow::InPerson.into(),
            language: "en".into(),
            interpreter: v1::Interpreter::None.into(),
            read_aloud: true,
            understood: "They tell the group what would help me".into(),
            statement_id: statement.statement_id,
            statement_language: statement.language,
            text_hash: statement.text_hash,
        };
        let allowed = |peer: &&Peer| Allowed {
            recipient: peer.org.clone(),
            categories: [Category::Identity, Category::Need].into_iter().collect(),
            purposes: vec![Purpose::Care],
            progress: true,
        };
        let new = NewGrant {
            request_id: RequestId::from_bytes(random()),
            person_id,
            capture,
            allowed: recipients.iter().map(allowed).collect(),
            lawful_basis: v1::LawfulBasis::Consent,
            expires_at_ms: 0,
        };
        let grant = grants::record(&self.node, &self.caller(), &new).await.unwrap();
        (person_id, GrantId::try_from(grant.grant_id.as_slice()).unwrap())
    }

    /// Sends a referral of a person to a member.
    pub(crate) async fn refer(&self, to: &Peer, (person_id, grant_id): (PersonId, GrantId)) -> ThreadId {
        let need = v1::Part {
            category: Category::Need.number(),
            fields: vec![v1::Field {
                name: "summary".into(),
                value: "A bicycle".into(),
            }],
        };
        let new = NewReferral {
            request_id: RequestId::from_bytes(random()),
            person_id,
            grant_id,
            recipient: to.org.clone(),
            purpose: Purpose::Care,
            parts: Parts::parse(vec![need]).unwrap(),
            categories: [Category::Identity].into_iter().collect(),
            answer_by_ms: 0,
        };
        referrals::send(&self.node, &self.caller(), new)
            .await
            .unwrap()
            .thread_id
    }

    /// One number from the store.
    pub(crate) async fn number(&self, text: &'static str) -> i64 {
        self.number_of(text, |q| q).await
    }

    /// One number from the store, with values.
    pub(crate) async fn number_of(&self, text: &'static str, bind: impl Fn(Query) -> Query) -> i64 {
        let bind = &bind;
        let read = |mut tx: kith_service::store::Tx| async move { tx.one(bind(query(text))).await };
        let row = self
            .node
            .store
            .read::<_, StoreError, _, _>("test", read)
            .await
            .unwrap();
        row.unwrap().nth::<i64>(0).unwrap()
    }

    /// The first column of every row, as text, in the order of the statement.
    pub(crate) async fn words(&self, text: &'static str) -> Vec<String> {
        let read = |mut tx: kith_service::store::Tx| async move { tx.all(query(text)).await };
        let rows = self
            .node
            .store
            .read::<_, StoreError, _, _>("test", read)
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.nth::<Option<String>>(0).unwrap().unwrap_or_default())
            .collect()
    }

    /// Waits until the link's state is this.
    pub(crate) async fn link_is(&self, state: &str) {
        let waiting = async {
            while self.words("SELECT state FROM link_state").await != [state] {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the link comes to it in time");
    }

    /// Waits until a statement gives these words; every change of a thread asks again.
    pub(crate) async fn until(&self, text: &'static str, wanted: &[&str]) {
        let mut changes = self.node.changes.subscribe();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if self.words(text).await == wanted {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        let come = tokio::time::timeout(PATIENCE, waiting).await;
        if come.is_err() {
            panic!("{text}: {:?} and not {wanted:?}", self.words(text).await);
        }
    }
}
