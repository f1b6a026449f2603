//! The one struct of the process. [`crate::cli`] and the demo open it and serve; every use-case takes it as an argument.
//! No global stands beside it; time, randomness and the listener are handed in.

use crate::audit::{Code, Event, Salted};
use crate::budget::Budgets;
use crate::bundles::Bundles;
use crate::changes;
use crate::grpc;
use crate::issuing::{self, ServerTlsError};
use crate::keys::{GatewayKeys, KeyError};
use crate::limits::SHUTDOWN_MS;
use crate::members::{KnownMember, Members};
use crate::policy::{self, InForce, Policies, PolicyError};
use crate::relay::{self, Relay};
use crate::witnessing::{self, Witnessing};
use crate::{store, window};
use kith_proto::id::{NetworkName, OrgId};
use kith_proto::log::origin::Keeper;
use kith_proto::problem::Problem;
use kith_service::clock::Clock;
use kith_service::log::{Log, LogError, sequencer};
use kith_service::rng::{RandomFailed, Rng};
use kith_service::shutdown::{Shutdown, Unfinished};
use kith_service::store::{Store, StoreError, Tx};
use kith_service::tls::incoming::{Accepted, Peer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// Where a gateway keeps its keys and its rows.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The folder `gateway` that `init` made.
    pub data_dir: PathBuf,
    /// `sqlite:///path` or `postgres://…`.
    pub store_url: String,
}

impl GatewayConfig {
    /// A data folder with the store in it: SQLite, `gateway.db`.
    pub fn in_folder(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            store_url: sqlite_url(data_dir, "gateway.db"),
        }
    }
}

/// Writes the path of a file in a folder as a URL: what means something in a URL stands as `%` and two digits.
pub(crate) fn sqlite_url(folder: &Path, name: &str) -> String {
    // A relative path would be read as a host.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let file = folder.join(name);
    let mut url = String::from("sqlite://");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// Why a gateway was not opened, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store cannot be used; `Foreign` also for the store of another network.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be taken up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The witness policy cannot be taken up.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl OpenError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Keys(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Log(error) => error.problem(),
            Self::Policy(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// Why a gateway stopped serving, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// The descriptors of its services cannot be read: a fault of this program.
    #[error("the service descriptions cannot be read")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] tonic::transport::Error),
    /// Tasks did not end in time.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl ServeError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Open(error) => error.problem(),
            _ => Problem::Unavailable,
        }
    }
}

/// A gateway, shared as `Arc`.
pub struct Gateway {
    /// The network it routes for.
    pub network: NetworkName,
    /// What it speaks with, and the root that members are verified from.
    pub keys: GatewayKeys,
    /// Its rows.
    pub store: Store,
    /// Its log, which the key log is a part of.
    pub log: Log,
    /// The epoch that began when it last came back from a backup, and when that was, as its log has it; none if it never did.
    pub restored: Option<(u64, i64)>,
    /// Its time.
    pub clock: Clock,
    /// Its randomness.
    pub rng: Rng,
    /// The witness policy.
    pub policies: Policies,
    /// What is on offer to witnesses.
    pub witnessing: Witnessing,
    /// The verified members.
    pub members: Members,
    /// The open streams and the doors behind them.
    pub relay: Relay,
    /// What each member has left behind for nothing.
    pub budgets: Budgets,
    /// The recovery bundles that are coming and leaving.
    pub bundles: Bundles,
}

impl Gateway {
    /// Loads the keys, opens the store, and verifies every member.
    pub async fn open(config: &GatewayConfig, clock: Clock, rng: Rng) -> Result<Arc<Self>, OpenError> {
        let keys = GatewayKeys::load(&config.data_dir, clock.now_ms())?;
        let store = store::open(&config.store_url, &keys.network).await?;
        Self::with_store(keys, store, clock, rng).await
    }

    /// As [`Gateway::open`], with a store that is open already.
    pub async fn with_store(
        keys: GatewayKeys,
        store: Store,
        clock: Clock,
        rng: Rng,
    ) -> Result<Arc<Self>, OpenError> {
        let log = Log::open(&store, &keys.network, Keeper::Gateway).await?;
        let newest = log.newest().await?;
        let began = |mut tx: Tx| async move { store::log::event_at(&mut tx, newest.first_seq).await };
        let restored = if newest.number > 1 {
            let began = store.read::<_, StoreError, _, _>("restored", began).await?;
            // Of a log without that event all mail is older than it.
            Some((newest.number, began.unwrap_or(i64::MAX)))
        } else {
            None
        };
        let policies = Policies::new(&keys).map_err(KeyError::from)?;
        let gateway = Arc::new_cyclic(|this| Self {
            network: keys.network.clone(),
            relay: Relay::start(&store, this),
            keys,
            store,
            log,
            restored,
            clock,
            rng,
            policies,
            witnessing: Witnessing::default(),
            members: Members::default(),
            budgets: Budgets::default(),
            bundles: Bundles::default(),
        });
        gateway.claim_store().await?;
        policy::open(&gateway).await?;
        changes::refresh(&gateway).await?;
        Ok(gateway)
    }

    /// Returns a verified member and how it stands; `None` when it never joined.
    pub fn member(&self, org: &OrgId) -> Option<Arc<KnownMember>> {
        self.members.get(org)
    }

    /// Returns the witness policy in force.
    pub fn policy(&self) -> Arc<InForce> {
        self.policies.get()
    }

    /// Writes this network's name into a new store; refuses the store of another network or root.
    async fn claim_store(&self) -> Result<(), OpenError> {
        let now_ms = self.clock.now_ms();
        let (network, root) = (&self.network, &self.keys.root);
        let event = Event::new(Code::NetworkCreated, now_ms)
            .network(network)
            .hash("root_public_key", &root.0);
        let events = &[Salted::new(&self.rng, event)?];
        self.store
            .tx("claim_store", |mut tx| async move {
                match store::network::read(&mut tx).await? {
                    Some((held, held_root)) if held == *network && held_root == *root => Ok(()),
                    Some(_) => Err(OpenError::Store(StoreError::Foreign)),
                    None => {
                        store::network::claim(&mut tx, network, root, now_ms).await?;
                        Ok(store::audit::insert(&mut tx, events).await?)
                    }
                }
            })
            .await
    }
}

/// Serves on a listener until the wish to stop; then ends streams and tasks within a limit and closes the store.
///
/// Nothing is listened to before the members are verified.
pub async fn serve<IO>(
    gateway: Arc<Gateway>,
    sockets: impl Stream<Item = io::Result<Accepted<IO>>> + Send + 'static,
    shutdown: Shutdown,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let incoming = issuing::incoming(&gateway.keys, &gateway.clock, sockets)?;
    serve_connections(gateway, incoming, shutdown).await
}

/// As [`serve`], on connections whose TLS has ended already and that know their [`Peer`]. Between the two, tests look at what
/// is in clear; the binary has no way to.
pub async fn serve_connections<C>(
    gateway: Arc<Gateway>,
    incoming: impl Stream<Item = io::Result<C>> + Send,
    shutdown: Shutdown,
) -> Result<(), ServeError>
where
    C: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static,
{
    shutdown.spawn(changes::poll(gateway.clone(), shutdown.clone()));
    shutdown.spawn(policy::poll(gateway.clone(), shutdown.clone()));
    shutdown.spawn(sequence(gateway.clone(), shutdown.clone()));
    shutdown.spawn(witnessing::run(gateway.clone(), shutdown.clone()));
    shutdown.spawn(window::sweep(gateway.clone(), shutdown.clone()));
    shutdown.spawn(relay::wake_with(gateway.clone(), shutdown.clone()));
    shutdown.spawn(relay::close_with(gateway.clone(), shutdown.clone()));
    let served = grpc::serve(&gateway, incoming, shutdown.wait()).await;
    let finished = shutdown.finish(Duration::from_millis(SHUTDOWN_MS)).await;
    gateway.store.close().await;
    served?;
    Ok(finished?)
}

/// Carries the log on until the wish to stop.
async fn sequence(gateway: Arc<Gateway>, shutdown: Shutdown) {
    sequencer::run(&gateway.log, &gateway.keys.signing, shutdown).await;
}
