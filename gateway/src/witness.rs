//! A stand-alone witness (C2SP tlog-witness): cosigns the logs that its operator named, as long as they only grow. The command
//! `witness` opens and serves it, on the machine of somebody else than the gateway's operator.
//! Never cosigns two trees of one log that no proof joins; knows nothing of a network but the keys of its log.

use crate::http;
use crate::keys::{KeyError, WitnessKeys};
use crate::limits::{ANONYMOUS_IN_FLIGHT_MAX, STREAMS_PER_CONNECTION_MAX, WITNESS_LOGS_MAX};
use crate::member_logs::Answer;
use crate::store;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use kith_proto::log::note::{KeyKind, NoteError, VerifierKey};
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
    #[error(transparent)]
    Cosign(#[from] CosignError),
}

impl StandAlone {
    /// Opens the witness of a folder for the logs of these keys.
    pub async fn open(dir: &Path, logs: Vec<VerifierKey>, clock: Clock) -> Result<Arc<Self>, WitnessError> {
        let count = 1..=WITNESS_LOGS_MAX;
        if !count.contains(&logs.len()) || logs.iter().any(|log| log.kind() != KeyKind::Ed25519) {
            return Err(WitnessError::Logs);
        }
        let keys = WitnessKeys::load(dir)?;
        let url = crate::gateway::sqlite_url(dir, "witness.db");
        Ok(Arc::new(Self {
            keys,
            logs,
            store: store::open_witness(&url).await?,
            clock,
            places: Semaphore::new(ANONYMOUS_IN_FLIGHT_MAX),
        }))
    }

    async fn add(&self, request: &str) -> Result<Answer, Refusal> {
        let request: AddCheckpoint = request.parse().map_err(Refusal::Request)?;
        let origin = request.claimed_origin();
        let keys: Vec<VerifierKey> = self
            .logs
            .iter()
            .filter(|log| log.name().as_str() == origin)
            .cloned()
            .collect();
        if keys.is_empty() {
            return Err(Refusal::Unknown);
        }
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

/// Serves `add-checkpoint` until the wish to stop.
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

fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Request(error) => http::refused(400, error.problem().sentence()),
        Refusal::Unknown => http::refused(404, "This witness does not know that log."),
        Refusal::Cosign(CosignError::Refused(refused)) => {
            http::refused(refused.http_status(), refused.problem().sentence())
        }
        Refusal::Cosign(_) => http::busy(),
    }
}
