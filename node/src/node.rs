//! The struct of a running node, and how it opens from its data folder.
//! Built once by `main`, the demo or a simulation, each with its own clock and randomness; shared as `Arc`.
//! Never a global, never a way around the folder's lock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kith_proto::id::OrgId;
use kith_proto::log::origin::Keeper;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::clock::Clock;
use kith_service::log::{Log, LogError};
use kith_service::rng::{RandomFailed, Rng};
use kith_service::store::{Migrations, Store, StoreError};
use tokio::sync::{Mutex, Notify, watch};

use crate::content::{Content, ContentError};
use crate::keys::{DataFolder, FolderLock, Keys, KeysError, Membership};
use crate::members::Members;
use crate::outbox::Fresh;
use crate::persons::Names;
use crate::receive::ReceiveDoor;
use crate::referrals::{self, SendDoor};
use crate::settle::SettleDoor;
use crate::tokens::FailedSignIns;
use crate::{alarms, persons, receive, settle, store};

/// What the store of a node calls itself.
pub const PRODUCT: &str = "kith-node";

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// The migrations of a node's store.
pub const MIGRATIONS: Migrations = Migrations {
    sqlite: &SQLITE,
    postgres: &POSTGRES,
};

/// Where a node keeps its things.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder, already joined to a network.
    pub folder: DataFolder,
    /// The database; `None` for `node.db` in the data folder.
    pub store_url: Option<String>,
    /// For simulations on one thread: see [`Store::blocking`].
    pub store_blocking: bool,
}

/// A running node. Its use-cases are functions of their modules that take it.
pub struct Node {
    /// Who this node is, in which network.
    pub membership: Membership,
    /// Signing and sealing keys.
    pub keys: Keys,
    /// The database.
    pub store: Store,
    /// The local time; use [`Node::now_ms`] for what others will judge.
    pub clock: Clock,
    /// The log that the trail becomes.
    pub log: Log,
    /// Randomness.
    pub rng: Rng,
    /// The keys of content at rest.
    pub content: Arc<Content>,
    /// The members of the network as last verified.
    pub members: Members,
    /// Names of people, in memory only.
    pub names: Names,
    /// The batch door of sending.
    pub send_door: SendDoor,
    /// The batch door of receiving.
    pub receive_door: ReceiveDoor,
    /// The batch door of settling.
    pub settle_door: SettleDoor,
    /// The number of the last change, for watchers; raised with [`Node::tell_change`] after a commit.
    pub changes: watch::Sender<i64>,
    /// Envelopes that were just committed.
    pub fresh: Fresh,
    /// Sign-ins that failed and are not in the trail yet.
    pub failed_sign_ins: FailedSignIns,
    /// Wakes the link when the outbox has grown or a stop waits.
    pub outbox_ready: Notify,
    /// Held while a recovery bundle is made; when one was last tried, by this node's time.
    pub bundling: Mutex<Option<i64>>,
    /// Wakes the link when a bundle waits to be given to the gateway.
    pub bundle_made: Notify,
    /// When the gateway last greeted in this run, by its clock; 0 until then.
    pub last_hello_ms: AtomicI64,
    /// Whether this node may sign no further checkpoint of its log, because the gateway has cosigned another one than it holds, or
    /// because a restore is pending. While it is so, nothing is served or sent.
    pub own_log_ended: watch::Sender<bool>,
    /// Whether the gateway has said in this run what it has seen of this node's log, or was not reached.
    pub own_log_compared: watch::Sender<bool>,
    /// The epoch in which this node numbers events of its inbox: that of its log since it came back from a backup, 0 before.
    pub thread_epoch: u64,
    /// The data folder, for what the link and the server write there.
    pub folder: DataFolder,
    /// The membership with the root's last words: what the gateway may speak with, and which checkpoints count.
    newest: RwLock<Membership>,
    /// How far the gateway's clock is ahead of the local one.
    gateway_offset_ms: AtomicI64,
    /// Held as long as the node lives: a second process is refused.
    _lock: FolderLock,
}

/// Why a node did not open, by what its operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be used: see [`KeysError`].
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be taken up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Content cannot be opened with the keys of this folder: the folder and the database do not belong together.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl OpenError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        Problem::Unavailable
    }
}

/// Opens the database of a data folder and brings its schema up to date; refuses that of another organisation or network
/// ([`StoreError::Foreign`]). For the node itself, and for commands that work beside it.
pub async fn open_store(config: &Config, me: &Membership, now_ms: i64) -> Result<Store, StoreError> {
    let url = config
        .store_url
        .clone()
        .unwrap_or_else(|| config.folder.database_url());
    let name = me.address().to_string();
    let owner = store::identity::owner(&name);
    let opening = Store::open_of(&url, PRODUCT, owner, MIGRATIONS);
    let opened = if config.store_blocking {
        Store::open_blocking(opening).await?
    } else {
        opening.await?
    };
    opened
        .tx("claim", |mut tx| async move {
            store::identity::claim(&mut tx, &me.network, &me.organisation, now_ms).await
        })
        .await?;
    Ok(opened)
}

impl Node {
    /// Opens the node of a data folder: locks it, loads keys, brings the database up to date, refuses another
    /// organisation's ([`StoreError::Foreign`]), reads names into memory, starts the batch doors. Needs a tokio runtime.
    pub async fn open(config: Config, clock: Clock, rng: Rng) -> Result<Self, OpenError> {
        let lock = config.folder.lock()?;
        let membership = Membership::load(&config.folder)?;
        let keys = Keys::load(&config.folder)?;
        let content = Arc::new(Content::load(&config.folder, rng.clone())?);
        let opened = open_store(&config, &membership, clock.now_ms()).await?;
        let last_change = opened
            .read("last change", |mut tx| async move {
                store::counter::last_change(&mut tx).await
            })
            .await?;
        let keeper = Keeper::Node(membership.organisation.clone());
        let log = Log::open(&opened, &membership.network, keeper).await?;
        let members = Members::load(&membership, &opened, clock.now_ms()).await?;
        let newest = RwLock::new(membership.clone());
        let raised = alarms::all(&opened).await?;
        let read = |mut tx| async move { store::restore::newest(&mut tx).await };
        let restore = opened.read::<_, StoreError, _, _>("restore", read).await?;
        let is_pending = restore
            .as_ref()
            .is_some_and(|restore| restore.done_at_ms.is_none());
        let is_ended = is_pending || raised.iter().any(|alarm| alarm.kind.ends_own_log());
        let thread_epoch = restore.and_then(|restore| restore.epoch).unwrap_or_default();
        let names = persons::load_names(&opened, &content).await?;
        Ok(Self {
            send_door: referrals::door(&opened, &rng),
            receive_door: receive::door(&opened, &rng, &content, thread_epoch),
            settle_door: settle::door(&opened, &rng),
            members,
            keys,
            store: opened,
            log,
            clock,
            rng,
            content,
            names,
            changes: watch::Sender::new(last_change),
            fresh: Fresh::default(),
            failed_sign_ins: FailedSignIns::default(),
            outbox_ready: Notify::new(),
            bundling: Mutex::new(None),
            bundle_made: Notify::new(),
            last_hello_ms: AtomicI64::new(0),
            own_log_ended: watch::Sender::new(is_ended),
            own_log_compared: watch::Sender::new(false),
            thread_epoch,
            membership,
            folder: config.folder,
            newest,
            gateway_offset_ms: AtomicI64::new(0),
            _lock: lock,
        })
    }

    /// This node's organisation.
    pub fn organisation(&self) -> &OrgId {
        &self.membership.organisation
    }

    /// The gateway's time as far as it is known: what deadlines, expiry and everything sent is judged by.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms().saturating_add(self.gateway_offset_ms())
    }

    /// How many milliseconds the gateway's clock is ahead of the local one; 0 until the first hello.
    pub fn gateway_offset_ms(&self) -> i64 {
        self.gateway_offset_ms.load(Ordering::Relaxed)
    }

    /// Sets what the last hello showed.
    pub fn set_gateway_offset_ms(&self, ahead_ms: i64) {
        self.gateway_offset_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// What this node joined with, and the newest that it has of the root's statements.
    pub fn newest(&self) -> Membership {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The root's statement of what the gateway may speak with, as last seen.
    pub fn issuer(&self) -> v1::Signed {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.issuer.clone()
    }

    /// The root's statement of which checkpoints count, with the highest number seen; empty before the first.
    pub fn policy(&self) -> v1::Signed {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.policy.clone()
    }

    /// The same as verified; `None` before the first.
    pub fn witness_policy(&self) -> Option<WitnessPolicy> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.witness_policy()
    }

    /// Keeps a newer statement, which the caller has verified, for this run and the next.
    pub fn keep_issuer(&self, issuer: v1::Signed) -> Result<(), KeysError> {
        self.keep(|membership| membership.issuer = issuer)
    }

    /// Keeps a policy of a higher number, which the caller has verified, for this run and the next.
    pub fn keep_policy(&self, policy: v1::Signed) -> Result<(), KeysError> {
        self.keep(|membership| membership.policy = policy)
    }

    fn keep(&self, change: impl FnOnce(&mut Membership)) -> Result<(), KeysError> {
        // Held while the file is written: of two that come at once neither writes over the other.
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let mut membership = newest.clone();
        change(&mut membership);
        membership.save(&self.folder)?;
        *newest = membership;
        Ok(())
    }

    /// Tells watchers of a committed change with this number; call it after the commit, in any order.
    pub fn tell_change(&self, number: i64) {
        self.changes.send_if_modified(|last| {
            let newer = number > *last;
            *last = number.max(*last);
            newer
        });
    }
}
