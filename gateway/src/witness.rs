//! A stand-alone witness (C2SP tlog-witness): cosigns the logs that its operator named, as long as they only grow. The command
//! `witness` opens and serves it, on the machine of somebody else than the gateway's operator.
//! Never cosigns two trees of one log that no proof joins; knows nothing of a network but the keys of its log and, where its operator
//! named it, the fingerprint of its root.
//!
//! A gateway that came back from a backup begins a log of a new origin, `NETWORK/log/EPOCH`. A witness takes it up by itself when it was
//! shown the root's word (`POST /add-epoch`, the text of `kith_proto::log::epoch_word`); from then on it cosigns no earlier epoch of that
//! network. Without a root it knows the origins that its operator named, and no other.

use crate::http;
use crate::keys::{KeyError, WitnessKeys};
use crate::limits::{ANONYMOUS_IN_FLIGHT_MAX, STREAMS_PER_CONNECTION_MAX, WITNESS_LOGS_MAX};
use crate::member_logs::Answer;
use crate::store::{self, epoch_word};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use kith_proto::id::NetworkName;
use kith_proto::log::epoch_word::{EpochWord, read_word};
use kith_proto::log::note::{KeyKind, NoteError, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::witness::{AddCheckpoint, WitnessRefusal, write_answer};
use kith_proto::problem::Problem;
use kith_service::clock::Clock;
use kith_service::log::seen::{CosignError, Witness};
use kith_service::store::{Store, StoreError};
use kith_service::tls::incoming::{self, Incoming};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tonic::service::Routes;

/// Why a witness was not opened or does not serve, by what its operator can do.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Its store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No log is named, too many are, or what is named is the key of a witness: name logs, as the gateway's command `log` prints them.
    #[error("name 1 to {WITNESS_LOGS_MAX} logs by their keys, as the command log of a gateway prints them")]
    Logs,
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] tonic::transport::Error),
}

impl WitnessError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Keys(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Logs => Problem::Invalid,
            Self::Listener(_) => Problem::Unavailable,
        }
    }
}

/// A witness at work, shared as `Arc`.
pub struct StandAlone {
    keys: WitnessKeys,
    logs: Vec<VerifierKey>,
    /// The fingerprints of the roots whose words count.
    roots: Vec<String>,
    /// Where it keeps the last heads and forks.
    pub store: Store,
    clock: Clock,
    places: Semaphore,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Request(NoteError),
    #[error("the log is not one that this witness knows")]
    Unknown,
    #[error("the network is at a later epoch")]
    EpochOver,
    #[error("the word is not of a root that this witness knows")]
    Word,
    #[error(transparent)]
    Cosign(#[from] CosignError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Cosign(error.into())
    }
}

impl StandAlone {
    /// Opens the witness of a folder for the logs of these keys, and for their later epochs by the word of these roots.
    pub async fn open(
        dir: &Path,
        (logs, roots): (Vec<VerifierKey>, Vec<String>),
        clock: Clock,
    ) -> Result<Arc<Self>, WitnessError> {
        let count = 1..=WITNESS_LOGS_MAX;
        if !count.contains(&logs.len()) || logs.iter().any(|log| log.kind() != KeyKind::Ed25519) {
            return Err(WitnessError::Logs);
        }
        let keys = WitnessKeys::load(dir)?;
        let url = crate::gateway::sqlite_url(dir, "witness.db");
        Ok(Arc::new(Self {
            keys,
            logs,
            roots,
            store: store::open_witness(&url).await?,
            clock,
            places: Semaphore::new(ANONYMOUS_IN_FLIGHT_MAX),
        }))
    }

    async fn add(&self, request: &str) -> Result<Answer, Refusal> {
        let request: AddCheckpoint = request.parse().map_err(Refusal::Request)?;
        let origin = request.claimed_origin();
        let keys = self.keys_of(origin).await?;
        let witness = Witness {
            name: &self.keys.name,
            key: &self.keys.signing,
            store: &self.store,
        };
        match witness.cosign(&request, &keys, self.clock.now_ms()).await {
            Ok(line) => Ok(Answer::Cosigned(write_answer(&[line]))),
            Err(CosignError::Refused(WitnessRefusal::OtherSize { size })) => Ok(Answer::HeldSize(size)),
            Err(error) => {
                if matches!(error, CosignError::Refused(WitnessRefusal::Inconsistent)) {
                    tracing::error!(
                        log = origin,
                        "a log was forked; both notes are kept; call its network"
                    );
                }
                Err(error.into())
            }
        }
    }
}

impl StandAlone {
    /// The keys of a log: those that the operator named and, in the epoch of the root's word, those of the same network's log before it.
    async fn keys_of(&self, origin: &str) -> Result<Vec<VerifierKey>, Refusal> {
        let of_origin = |log: &&VerifierKey| log.name().as_str() == origin;
        let mut keys: Vec<VerifierKey> = self.logs.iter().filter(of_origin).cloned().collect();
        if let Some((network, epoch)) = gateway_log(origin) {
            let network = &network;
            let highest = self.store.read("highest epoch", |mut tx| async move {
                epoch_word::highest(&mut tx, network).await
            });
            let highest: u64 = highest.await.map_err(|error: StoreError| error)?;
            if epoch < highest {
                return Err(Refusal::EpochOver);
            }
            if epoch == highest && epoch > 1 {
                for log in self.logs.iter().filter(|log| is_of(log, network)) {
                    let key = Keeper::Gateway.log_key(network, epoch, log.public());
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
        }
        if keys.is_empty() {
            return Err(Refusal::Unknown);
        }
        Ok(keys)
    }

    /// Takes up the root's word for a later epoch of a log that the operator named.
    async fn add_epoch(&self, text: &str) -> Result<(), Refusal> {
        let (root, signed) = read_word(text).map_err(|_| Refusal::Word)?;
        if !self.roots.contains(&root.fingerprint()) {
            return Err(Refusal::Word);
        }
        let now_ms = self.clock.now_ms();
        let networks = self
            .logs
            .iter()
            .filter_map(|log| gateway_log(log.name().as_str()));
        let word = networks
            .filter_map(|(network, _)| EpochWord::verify(&signed, &root, &network, now_ms).ok())
            .next();
        let word = &word.ok_or(Refusal::Word)?;
        let signed = &signed;
        let raised = self.store.tx("epoch word", |mut tx| async move {
            epoch_word::raise(&mut tx, (word.network(), word.epoch()), signed, now_ms).await
        });
        if raised.await.map_err(|error: StoreError| error)? {
            tracing::warn!(
                network = word.network().as_str(),
                epoch = word.epoch(),
                "a log begins anew, by the word of its network's root; its earlier epochs are cosigned no more"
            );
        }
        Ok(())
    }
}

/// Reads an origin as the log of a network's gateway; `None` for every other log.
fn gateway_log(origin: &str) -> Option<(NetworkName, u64)> {
    let network: NetworkName = origin.split_once("/log/")?.0.parse().ok()?;
    match Keeper::of_origin(origin, &network)? {
        (Keeper::Gateway, epoch) => Some((network, epoch)),
        (Keeper::Node(_), _) => None,
    }
}

fn is_of(log: &VerifierKey, network: &NetworkName) -> bool {
    gateway_log(log.name().as_str()).is_some_and(|(named, _)| named == *network)
}

/// Serves `add-checkpoint` and `add-epoch` until the wish to stop.
pub async fn serve<IO>(
    witness: Arc<StandAlone>,
    incoming: Incoming<IO>,
    wish: impl Future<Output = ()>,
) -> Result<(), WitnessError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/add-epoch", post(add_epoch))
        .with_state(witness.clone());
    let served = incoming::server()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .accept_http1(true)
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(incoming, wish)
        .await;
    witness.store.close().await;
    Ok(served?)
}

async fn add_checkpoint(State(witness): State<Arc<StandAlone>>, body: Body) -> Response {
    let answer = async {
        let request = match http::text(body).await {
            Ok(request) => request,
            Err(refused) => return refused,
        };
        let Ok(_place) = witness.places.try_acquire() else {
            return http::busy();
        };
        match witness.add(&request).await {
            Ok(answer) => http::answered(answer),
            Err(refusal) => {
                tracing::info!(error = %refusal, "refused");
                refused(&refusal)
            }
        }
    };
    http::within(answer).await.unwrap_or_else(http::busy)
}

async fn add_epoch(State(witness): State<Arc<StandAlone>>, body: Body) -> Response {
    let answer = async {
        let word = match http::text(body).await {
            Ok(word) => word,
            Err(refused) => return refused,
        };
        let Ok(_place) = witness.places.try_acquire() else {
            return http::busy();
        };
        match witness.add_epoch(&word).await {
            Ok(()) => http::refused(200, "The word is taken up."),
            Err(refusal) => {
                tracing::info!(error = %refusal, "refused");
                refused(&refusal)
            }
        }
    };
    http::within(answer).await.unwrap_or_else(http::busy)
}

fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Request(error) => http::refused(400, error.problem().sentence()),
        Refusal::Unknown => http::refused(404, "This witness does not know that log."),
        Refusal::EpochOver => http::refused(
            403,
            "By the word of the network's root its log has begun anew; this epoch of it is over.",
        ),
        Refusal::Word => http::refused(403, "This is not the word of a root that this witness knows."),
        Refusal::Cosign(CosignError::Refused(refused)) => {
            http::refused(refused.http_status(), refused.problem().sentence())
        }
        Refusal::Cosign(_) => http::busy(),
    }
}
