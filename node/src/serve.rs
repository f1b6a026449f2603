//! A running node: the gRPC edge, the link to the gateway and the timers, under one wish to stop.
//! Called by the command line, the demo and the simulation, each with its own listener, dialler, clock and randomness.
//! It must never end while a part of it still runs, nor go on when one of them has failed for good.

use crate::grpc::server::{self, ServerError};
use crate::node::Node;
use crate::web::At;
use crate::{link, restore, timers, web};
use kith_proto::problem::Problem;
use kith_service::log::sequencer;
use kith_service::shutdown::{Shutdown, Unfinished};
use kith_service::tls::dial::Dial;
use kith_service::tls::incoming::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How often the timers look, in real time.
pub const TICK_EVERY: Duration = Duration::from_secs(5);
/// How long a start waits until the gateway has said what it has seen of this node's log: a folder that was rolled back as a whole looks
/// whole to itself. A gateway that refuses the connection ends the wait at once.
pub const COMPARE_MAX: Duration = Duration::from_secs(10);
/// How long everything may take to end.
pub const STOP_MAX: Duration = Duration::from_secs(10);

/// What a node runs with.
pub struct Serve<IO> {
    /// Connections of the organisation's own systems.
    pub incoming: Incoming<IO>,
    /// Connections of the organisation's own people, and where the workspace is; none where there is none.
    pub web: Option<(Incoming<IO>, At)>,
    /// How to reach the gateway.
    pub dial: Dial,
    /// The wish to stop; everything is spawned through it.
    pub shutdown: Shutdown,
}

/// Why a node stopped otherwise than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The gRPC edge ended.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Something did not end in time; what it was at has no known outcome, and is taken up at the next start.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl ServeError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Server(error) => error.problem(),
            Self::Unfinished(error) => error.problem(),
        }
    }
}

/// Runs the node until the shutdown is requested, then ends every part of it.
pub async fn serve<IO>(node: Arc<Node>, serve: Serve<IO>) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Serve {
        incoming,
        web,
        dial,
        shutdown,
    } = serve;
    if *node.own_log_ended.borrow() {
        tracing::error!("{}", restore::SENTENCE);
    }
    shutdown.spawn(link::run(node.clone(), dial.clone(), shutdown.clone()));
    compared(&node, &shutdown).await;
    shutdown.spawn(tick(node.clone(), shutdown.clone()));
    shutdown.spawn(sequence(node.clone(), shutdown.clone()));
    shutdown.spawn(timers::bundles::run(node.clone(), shutdown.clone()));
    if let Some((incoming, at)) = web {
        shutdown.spawn(workspace(node.clone(), incoming, at, shutdown.clone()));
    }
    let ended = server::run(node.clone(), incoming, dial.clone(), &shutdown).await;
    let stopped = shutdown.finish(STOP_MAX).await;
    if stopped.is_ok() && !*node.own_log_ended.borrow() {
        link::cosign_last(&node, &dial).await;
    }
    node.store.close().await;
    ended?;
    Ok(stopped?)
}

/// Serves the workspace. It ends before its time only by a fault of the build; the node goes on for its systems and the network.
async fn workspace<IO>(node: Arc<Node>, incoming: Incoming<IO>, at: At, shutdown: Shutdown)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Err(error) = web::server::run(node, incoming, at, shutdown).await {
        tracing::error!(%error, "the workspace is not there");
    }
}

/// Waits, before anything is signed or shown, until the log was held against what the gateway has seen of it; not for ever, because a
/// group without a line must be able to read what it holds.
async fn compared(node: &Node, shutdown: &Shutdown) {
    let mut compared = node.own_log_compared.subscribe();
    let waiting = async {
        tokio::select! {
            biased;
            // Cannot fail: the sender lives as long as the node.
            _ = compared.wait_for(|compared| *compared) => {}
            () = shutdown.wait() => {}
        }
    };
    if tokio::time::timeout(COMPARE_MAX, waiting).await.is_err() {
        tracing::warn!(
            "the gateway does not answer: whether this database is the newest one is not known yet"
        );
    }
}

/// Carries the log on until the wish to stop, or until nothing more of it may be signed.
async fn sequence(node: Arc<Node>, shutdown: Shutdown) {
    let mut ended = node.own_log_ended.subscribe();
    tokio::select! {
        // First, so that nothing is signed at the start of a node whose log has ended.
        biased;
        _ = ended.wait_for(|ended| *ended) => {}
        () = sequencer::run(&node.log, &node.keys.signing, shutdown) => {}
    }
}

/// Runs the timers every [`TICK_EVERY`]; a failure is logged and tried again at the next tick.
async fn tick(node: Arc<Node>, shutdown: Shutdown) {
    let stop = shutdown.wait();
    tokio::pin!(stop);
    let mut ticks = tokio::time::interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_in_doubt = false;
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = &mut stop => return,
        }
        match timers::tick(&node, node.now_ms()).await {
            Ok(ticked) => {
                if ticked.is_in_doubt && !was_in_doubt {
                    tracing::warn!(
                        "nothing ends by time until the gateway has greeted: the clock is in doubt"
                    );
                }
                was_in_doubt = ticked.is_in_doubt;
            }
            Err(error) => tracing::warn!(%error, "the timers could not do all their work"),
        }
    }
}
