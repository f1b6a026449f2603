//! The relay: streams of nodes in, mailboxes out. The edge of `RelayService.Attach` calls [`attach()`] with a verified peer.
//! Everything it acknowledges is committed first; what it holds in memory may be lost at any moment.
//!
//! ```text
//! frames ─> submit ─> take door ──┐            ┌─> answer ─> stream of the sender
//!                                 ├─> commit ──┤
//! frames ──────────> settle door ─┘            └─> deliver ─> streams of the others
//! ```

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use kith_proto::id::OrgId;
use kith_proto::order::OrderError;
use kith_proto::problem::Problem;
use kith_proto::receipt::ReceiptError;
use kith_proto::v1::{self, attach_response::Frame};
use kith_service::shutdown::Shutdown;
use kith_service::status::{self, Failure};
use kith_service::store::{Store, StoreError};
use kith_service::tls::identity::Identity;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub mod answer;
pub mod attach;
pub mod bury;
pub mod deliver;
mod pace;
pub mod reoffer;
pub mod settle;
pub mod streams;
pub mod submit;
pub mod take;

use self::bury::BuryError;
use self::settle::{SettleDoor, SettleError};
use self::streams::Streams;
use self::take::{TakeDoor, TakeError};
use crate::gateway::Gateway;
use crate::limits::{BUSY_RETRY_AFTER_MS, FRAMES_OUT_MAX};
use crate::stop::StopError;

/// Frames to a node.
pub type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::AttachResponse, Status>> + Send>>;

/// The relay's part of the gateway: its two doors and the open streams.
pub struct Relay {
    take: TakeDoor,
    settle: SettleDoor,
    streams: Streams,
    closing: CancellationToken,
}

impl Relay {
    /// Opens the doors of a gateway that is being made. Spawns, so it needs a tokio runtime.
    pub fn start(store: &Store, gateway: &Weak<Gateway>) -> Self {
        Self {
            take: take::open(store, gateway.clone()),
            settle: settle::open(store, gateway.clone()),
            streams: Streams::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Tells the streams of these members that something waits for them.
    pub fn wake_all<'m>(&self, members: impl IntoIterator<Item = &'m OrgId>) {
        let members: BTreeSet<&OrgId> = members.into_iter().collect();
        self.streams.wake_all(members);
    }

    /// Tells every open stream that there is something for all of them.
    pub fn wake_open(&self) {
        self.streams.wake_open();
    }

    /// Ends all streams, so that the server can end.
    pub fn close(&self) {
        self.closing.cancel();
    }

    async fn closing(&self) {
        self.closing.cancelled().await;
    }
}

/// Wakes every open stream when members changed or a checkpoint is on offer, until the wish to stop. One follower for all: those who follow
/// such a value each by itself are woken in tokio's random order, which no simulation can repeat.
pub(crate) async fn wake_with(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let (mut members, mut checkpoints) = (gateway.members.follow(), gateway.witnessing.follow());
    let wish = shutdown.wait();
    tokio::pin!(wish);
    loop {
        let followed = tokio::select! {
            biased;
            () = &mut wish => return,
            followed = members.changed() => followed,
            followed = checkpoints.changed() => followed,
        };
        // An error says that the gateway is going.
        if followed.is_err() {
            return;
        }
        gateway.relay.wake_open();
    }
}

/// Ends all streams at the wish to stop: the server waits for them.
pub(crate) async fn close_with(gateway: Arc<Gateway>, shutdown: Shutdown) {
    shutdown.wait().await;
    gateway.relay.close();
}

/// Serves one node's stream until it ends; `peer` is what its certificate says. Refuses a peer that is no member of this network.
pub async fn attach<S>(gateway: Arc<Gateway>, peer: Identity, frames: S) -> Result<Outgoing, Failure>
where
    S: Stream<Item = Result<v1::AttachRequest, Status>> + Send + Unpin + 'static,
{
    if peer.network != gateway.network || gateway.members.get(&peer.org).is_none() {
        return Err(Failure::new(Problem::Unauthenticated));
    }
    let (sender, outgoing) = mpsc::channel(FRAMES_OUT_MAX);
    tokio::spawn(async move {
        let out = Out(sender);
        let ended = attach::serve(&gateway, &peer, frames, &out).await;
        if let Err(error) = ended {
            if !matches!(error, RelayError::NodeGone) {
                tracing::info!(member = %peer.org, %error, "a stream ended");
            }
            // Fails when the node has gone, which then does not want to know.
            out.0.send(Err(status::status(error.failure()))).await.ok();
        }
    });
    Ok(Box::pin(ReceiverStream::new(outgoing)))
}

/// The way to the node.
pub struct Out(mpsc::Sender<Result<v1::AttachResponse, Status>>);

impl Out {
    async fn frame(&self, frame: Frame) -> Result<(), RelayError> {
        self.response(v1::AttachResponse {
            frame: Some(frame),
            notice_number: 0,
        })
        .await
    }

    async fn response(&self, response: v1::AttachResponse) -> Result<(), RelayError> {
        self.0.send(Ok(response)).await.map_err(|_| RelayError::NodeGone)
    }
}

/// Why a stream ended, by what the node can do.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The node has gone: nothing is to be told.
    #[error("the node has gone")]
    NodeGone,
    /// No hello in time: attach again and say hello first.
    #[error("the node said no hello")]
    NoHello,
    /// A frame that cannot be read or is over a limit: repair the node.
    #[error("a frame was refused: {0}")]
    Frame(Problem),
    /// The order batch is forged, or does not go on from what is held.
    #[error(transparent)]
    Order(OrderError),
    /// A receipt or notice is not signed as it must be; or the gateway itself could not sign.
    #[error(transparent)]
    Receipt(ReceiptError),
    /// The take door gave no answers.
    #[error(transparent)]
    Take(TakeError),
    /// The settle door refused.
    #[error(transparent)]
    Settle(SettleError),
    /// A slip could not be stopped: say it again.
    #[error(transparent)]
    Stop(StopError),
    /// The store failed: attach again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Mail could not be buried: attach again.
    #[error(transparent)]
    Bury(#[from] BuryError),
    /// More in flight, or more streams, than the gateway holds: attach again later.
    #[error("more is under way than the gateway holds")]
    Busy,
    /// A newer stream of the same member has taken over: do not attach again from here.
    #[error("a newer stream of this member has taken over")]
    Replaced,
    /// The member is none any more, or has no key in force.
    #[error("the peer is no member with a key in force")]
    NoMember,
    /// The certificate has run out: renew it and attach again.
    #[error("the certificate has run out")]
    CertificateEnded,
    /// The gateway is stopping: attach again later.
    #[error("the gateway is stopping")]
    Stopping,
}

impl RelayError {
    /// The problem code that the stream ends with.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Frame(problem) => *problem,
            Self::Order(error) => error.problem(),
            Self::Receipt(error) => error.problem(),
            Self::Take(error) => error.problem(),
            Self::Settle(error) => error.problem(),
            Self::Stop(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Bury(error) => error.problem(),
            Self::NodeGone | Self::Busy | Self::Stopping => Problem::Unavailable,
            Self::NoHello => Problem::DeadlineExceeded,
            Self::Replaced => Problem::Conflict,
            Self::NoMember | Self::CertificateEnded => Problem::Unauthenticated,
        }
    }

    fn failure(&self) -> Failure {
        Failure::new(self.problem()).with_retry_after(BUSY_RETRY_AFTER_MS)
    }
}
