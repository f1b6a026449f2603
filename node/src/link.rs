//! The link: one stream to the gateway, dialled out, kept up for ever.
//!
//! ```text
//! outbox ──> outbound ──> stream ══> gateway          gateway ══> stream ──> reader ─┬─> answers ──> outbound ──> settle
//!              pairs (order, pauses)                                                 ├─> notices ──────────────> settle ──> held
//!                                                                                    ├─> deliveries ──> inbound ──> receive ──> receipts
//!                                                                                    ├─> members changed ──> directory
//!                                                                                    └─> checkpoint ──> log (whose keys count)
//! own log ──> cosigning ──> gateway's cosignature ──> own log
//! ```
//! Started by `serve` and by simulations, each with its own dialler. Never gives up: whatever ends a stream, the next one
//! comes after a wait; what a person must do something about is in the link's state.

mod attach;
mod backoff;
mod bundle;
mod connect;
mod cosigning;
mod directory;
mod epoch;
mod inbound;
mod log;
mod opening;
mod outbound;
mod pairs;
mod policy;
mod proving;
mod publish;
mod reader;
mod renewal;
mod reseal;
pub(crate) mod restoring;
mod returning;
mod rewinding;
mod settling;
mod state;
mod turning;

use std::sync::Arc;
use std::time::Duration;

use kith_proto::problem::Problem;
use kith_proto::trust::TrustError;
use kith_service::log::LogError;
use kith_service::rng::RandomFailed;
use kith_service::shutdown::Shutdown;
use kith_service::store::StoreError;
use kith_service::tls::TlsError;
use kith_service::tls::dial::{Dial, DialError};
use tonic::Status;

use crate::keys::KeysError;
use crate::node::Node;
use crate::receive::ReceiveError;
use crate::settle::SettleError;

pub(crate) use connect::{Gateway, anonymous, timed};
pub use connect::{TLS_CERTIFICATE, TLS_KEY};
pub(crate) use cosigning::cosign_last;
pub(crate) use publish::publish_service;
pub(crate) use renewal::checked;

use backoff::Backoff;

/// How long to wait before trying again with a clock that is too far off, or with keys that are not ours.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why a stream ended, told apart by what follows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The gateway's issuer is not signed by the root.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The gateway ended the stream.
    #[error("the gateway ended the stream")]
    Status(Problem),
    /// The gateway, or somebody in its place, broke the protocol.
    #[error("the gateway sent a frame that cannot be believed: {0}")]
    Protocol(&'static str),
    /// This computer's clock is too far off to send.
    #[error("this computer's clock is more than an hour off")]
    ClockOff,
    /// The directory shows keys for this organisation that it did not make.
    #[error("the directory shows keys for this organisation that it did not make")]
    OtherKeys,
    /// This organisation's new keys do not count yet: a day after they were made with the registrar's invite.
    #[error("this node's new keys count from a day after they were made")]
    KeysWait,
    /// The gateway's log is not the one that was followed, or hides something.
    #[error("the gateway's log cannot be believed")]
    OtherLog,
    /// The gateway has cosigned another log of this node than its database holds.
    #[error("this node's database is older than what the gateway has cosigned of its log")]
    OwnLog,
    /// The own log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The directory does not list this organisation, or what it lists could not be believed yet: it is read again.
    #[error("the directory does not list this organisation")]
    Unlisted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What arrived was not kept.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// What was said was not kept.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// A new certificate is there, or something missing may come on a new stream.
    #[error("a new stream is wanted")]
    Again,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

impl Ended {
    /// The problem that status shows.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Dial(error) => error.problem(),
            Self::Tls(error) => error.problem(),
            Self::Keys(error) => error.problem(),
            Self::Trust(error) => error.problem(),
            Self::Status(problem) => *problem,
            Self::Protocol(_) => Problem::Unauthenticated,
            Self::ClockOff => Problem::ClockOff,
            Self::OtherKeys | Self::OtherLog | Self::OwnLog => Problem::Conflict,
            Self::Log(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Receive(error) => error.problem(),
            Self::Settle(error) => error.problem(),
            Self::Random(_) | Self::Unlisted | Self::KeysWait | Self::Again | Self::Stopping => {
                Problem::Unavailable
            }
        }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(kith_service::status::failure_of(&status).problem)
    }
}

/// Keeps the link up until the node stops.
#[expect(clippy::disallowed_methods, reason = "the worker that keeps the link up")]
pub async fn run(node: Arc<Node>, dial: Dial, shutdown: Shutdown) {
    let mut backoff = Backoff::default();
    loop {
        let began_ms = node.clock.now_ms();
        let ended = tokio::select! {
            // In this order: a node that stops does, and one whose log has ended opens no stream and leaves the one it has.
            biased;
            () = shutdown.wait() => Ended::Stopping,
            () = ended_log(&node) => Ended::OwnLog,
            ended = attach::attach(&node, &dial) => ended,
        };
        // A gateway that was reached says it yet, on the next stream.
        if !matches!(ended, Ended::Status(_) | Ended::Protocol(_) | Ended::Again) {
            node.own_log_compared.send_replace(true);
        }
        if matches!(ended, Ended::Stopping) {
            state::put(&node, state::DOWN, None).await;
            return;
        }
        tracing::info!(reason = %ended, problem = %ended.problem(), "the link is down");
        state::put_ended(&node, &ended).await;
        let lived_ms = node.clock.now_ms().saturating_sub(began_ms);
        let wait = match ended {
            Ended::ClockOff | Ended::OtherKeys | Ended::KeysWait | Ended::OtherLog | Ended::OwnLog => {
                LOOK_AGAIN
            }
            _ => backoff.after(lived_ms, node.rng.bytes().unwrap_or_default()),
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// Waits until this node's log has ended: see [`Node::own_log_ended`].
async fn ended_log(node: &Node) {
    let mut ended = node.own_log_ended.subscribe();
    // Cannot fail: the sender lives as long as the node.
    ended.wait_for(|ended| *ended).await.ok();
}
