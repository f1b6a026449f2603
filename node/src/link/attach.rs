//! One stream from dial to end: certificate, hellos, directory, logs, then its halves side by side.
//! Called by the link's loop. Never sends before the gateway's hello and its own listed keys were checked, never outlives one
//! of its halves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kith_proto::envelope::ENVELOPE_BYTES_MAX;
use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::trust::Issuer;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_proto::v1::{self, AttachRequest};
use kith_service::store::StoreError;
use kith_service::tls::dial::Dial;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::cosigning::OwnLog;
use super::inbound::Inbound;
use super::log::Follower;
use super::outbound::Outbound;
use super::{
    Ended, bundle, connect, directory, reader, renewal, restoring, returning, settling, state, turning,
};
use crate::node::Node;
use crate::store;

/// The version of the link that this node speaks.
pub(super) const VERSION: u32 = 1;
/// A clock so far off the gateway's does not send.
pub(super) const CLOCK_OFF_MS: i64 = 60 * 60 * 1000;
/// A clock so far off is worth a warning.
const CLOCK_WARN_MS: i64 = 5 * 60 * 1000;
/// Frames that wait to leave; each is a batch.
const FRAMES_UP_MAX: usize = 64;
/// Frames of one sort that wait to be worked on: more than the gateway has under way.
pub(super) const FRAMES_DOWN_MAX: usize = 1024;
/// The longest wait for the stream to open, and again for the gateway's hello.
const HELLO_MAX: Duration = Duration::from_secs(30);
/// How often an open stream looks whether its certificate or its sealing key is due.
const LOOK_AT_KEYS: Duration = Duration::from_secs(3600);
/// How often an open stream follows the gateway's log without being asked to.
const LOOK_AT_LOG: Duration = Duration::from_secs(60);

/// What the halves of a stream share.
pub(super) struct Session<'a> {
    pub(super) node: &'a Node,
    /// The gateway's key, by the root's word.
    pub(super) issuer: Issuer,
    /// Towards the gateway.
    pub(super) up: mpsc::Sender<AttachRequest>,
    /// The gateway said that members changed.
    pub(super) members_changed: Notify,
    /// The gateway said that a checkpoint is on offer.
    pub(super) checkpoint_offered: Notify,
    /// The gateway's log, one step at a time.
    pub(super) log: Mutex<Follower>,
}

impl Session<'_> {
    /// Sends a frame; waits while the gateway reads slower.
    pub(super) async fn send(&self, frame: Up) -> Result<(), Ended> {
        let request = AttachRequest { frame: Some(frame) };
        self.up
            .send(request)
            .await
            .map_err(|_| Ended::Status(Problem::Unavailable))
    }

    /// Takes a step along the gateway's log.
    async fn follow_log(&self) -> Result<(), Ended> {
        let mut log = self.log.lock().await;
        log.follow(self.node).await?;
        log.must_believe(self.node).await
    }

    /// Reads what changed in the directory, and follows the log where it has keys that are not believed yet.
    pub(super) async fn refresh(&self, client: &mut RelayServiceClient<Channel>) -> Result<(), Ended> {
        directory::refresh(self.node, client).await?;
        if self.node.members.any_awaits_log() {
            self.follow_log().await?;
        }
        Ok(())
    }
}

/// Runs one stream; says why it ended.
pub(super) async fn attach(node: &Node, dial: &Dial) -> Ended {
    match open_and_run(node, dial).await {
        Ok(()) => Ended::Status(Problem::Unavailable),
        Err(ended @ Ended::Status(Problem::NotAMember)) => match returning::enrol_again(node, dial).await {
            Ok(true) => Ended::Again,
            Ok(false) => ended,
            Err(refused) => {
                tracing::warn!(reason = %refused, "the gateway does not know this organisation, and has not taken it in again");
                ended
            }
        },
        Err(ended @ Ended::Status(Problem::Unauthenticated)) => {
            match returning::known_again(node, dial).await {
                Ok(true) => Ended::Again,
                Ok(false) => ended,
                Err(refused) => {
                    tracing::warn!(reason = %refused, "the gateway does not take this node's certificate, nor its new keys");
                    ended
                }
            }
        }
        Err(ended) => ended,
    }
}

async fn open_and_run(node: &Node, dial: &Dial) -> Result<(), Ended> {
    renewal::ensure(node, dial).await?;
    let channel = connect::as_member(node, dial).await?;
    let limit = ENVELOPE_BYTES_MAX * 8;
    let mut client = RelayServiceClient::new(channel.clone()).max_decoding_message_size(limit);
    let (up, frames) = mpsc::channel(FRAMES_UP_MAX);
    up.try_send(AttachRequest {
        frame: Some(Up::Hello(hello(node).await?)),
    })
    .map_err(|_| Ended::Again)?;
    let opening = tokio::time::timeout(HELLO_MAX, client.attach(ReceiverStream::new(frames))).await;
    let opening = opening.map_err(|_| Ended::Status(Problem::DeadlineExceeded))?;
    let mut down = opening?.into_inner();
    let greeting = greeting(&mut down).await?;
    let issuer = connect::follow_issuer(node, greeting.issuer.as_ref())?;
    set_clock(node, &greeting).await?;
    // Not before: the gateway tells of changed members from its hello on.
    directory::refresh(node, &mut client).await?;
    let mut own_log = OwnLog::new(node, &issuer, channel.clone());
    own_log.cosign().await?;
    let mut log = Follower::new(node, &issuer, channel.clone(), client.clone());
    log.follow_first(node).await?;
    if std::mem::take(&mut log.took_up) {
        // A later epoch was taken up: what the gateway lists is read from its beginning, and what it lost is given back.
        directory::refresh(node, &mut client).await?;
        log.follow_first(node).await?;
    }
    log.must_believe(node).await?;
    if restoring::tell_again(node, &channel, &issuer).await? {
        return Err(Ended::Again);
    }
    let session = Session {
        node,
        issuer,
        up,
        members_changed: Notify::new(),
        checkpoint_offered: Notify::new(),
        log: Mutex::new(log),
    };
    let halves = Halves {
        down,
        client,
        own_log,
        channel,
    };
    let problem = run(&session, &greeting, halves, dial).await;
    tracing::debug!("the stream's halves have ended");
    problem
}

/// What the node holds of each sending member.
async fn hello(node: &Node) -> Result<v1::NodeHello, Ended> {
    let read = |mut tx| async move { store::pair::received(&mut tx).await };
    let held = node
        .store
        .read::<_, StoreError, _, _>("pairs received", read)
        .await?;
    Ok(v1::NodeHello {
        version: VERSION,
        node_time_ms: node.clock.now_ms(),
        received: held.iter().map(wire_position).collect(),
    })
}

/// A place in the order of a pair, as the wire has it.
pub(super) fn wire_position((org, position): &(OrgId, Position)) -> v1::PairPosition {
    v1::PairPosition {
        organisation: org.to_string(),
        number: position.number(),
        envelope_hash: position.hash().map(|hash| hash.to_vec()).unwrap_or_default(),
    }
}

async fn greeting(down: &mut Streaming<v1::AttachResponse>) -> Result<v1::GatewayHello, Ended> {
    let first = tokio::time::timeout(HELLO_MAX, down.message()).await;
    let first = first.map_err(|_| Ended::Status(Problem::DeadlineExceeded))??;
    match first.and_then(|response| response.frame) {
        Some(Down::Hello(hello)) => Ok(hello),
        _ => Err(Ended::Protocol("hello")),
    }
}

/// Takes the gateway's time over, and refuses to send by a clock that is more than an hour off it.
async fn set_clock(node: &Node, greeting: &v1::GatewayHello) -> Result<(), Ended> {
    let ahead_ms = set_time(node, greeting.gateway_time_ms);
    node.last_hello_ms
        .store(greeting.gateway_time_ms, Ordering::Relaxed);
    if ahead_ms.saturating_abs() > CLOCK_OFF_MS {
        return Err(Ended::ClockOff);
    }
    let off = ahead_ms.saturating_abs() > CLOCK_WARN_MS;
    state::put(node, state::UP, off.then_some(Problem::ClockOff)).await;
    Ok(())
}

/// Takes the gateway's time over; gives how far it is ahead of the local one.
pub(super) fn set_time(node: &Node, gateway_time_ms: i64) -> i64 {
    let ahead_ms = gateway_time_ms.saturating_sub(node.clock.now_ms());
    node.set_gateway_offset_ms(ahead_ms);
    ahead_ms
}

/// What the halves of a stream read from and call.
struct Halves<'a> {
    down: Streaming<v1::AttachResponse>,
    client: RelayServiceClient<Channel>,
    own_log: OwnLog<'a>,
    channel: Channel,
}

/// Runs the halves until one of them ends.
async fn run(
    session: &Session<'_>,
    greeting: &v1::GatewayHello,
    halves: Halves<'_>,
    dial: &Dial,
) -> Result<(), Ended> {
    let Halves {
        down,
        client,
        own_log,
        channel,
    } = halves;
    let (answers, answered) = mpsc::channel(FRAMES_DOWN_MAX);
    let (settlements, to_settle) = mpsc::channel(FRAMES_DOWN_MAX);
    let (deliveries, delivered) = mpsc::channel(FRAMES_DOWN_MAX);
    let outbound = Outbound::start(session, greeting, settlements.clone()).await?;
    let inbound = Inbound::start(session, client.clone()).await?;
    let sorted = reader::Sorted {
        answers,
        settlements,
        deliveries,
    };
    tokio::try_join!(
        reader::read(session, down, sorted),
        outbound.run(answered),
        inbound.run(delivered),
        settling::run(session, to_settle),
        follow_members(session, client.clone()),
        follow_log(session),
        own_log.run(),
        bundle::run(session.node, channel.clone()),
        watch_keys(session.node, (client, channel), dial),
    )?;
    Ok(())
}

async fn follow_members(session: &Session<'_>, mut client: RelayServiceClient<Channel>) -> Result<(), Ended> {
    loop {
        session.members_changed.notified().await;
        session.refresh(&mut client).await?;
    }
}

/// Follows the gateway's log when it offers a checkpoint, and every minute.
async fn follow_log(session: &Session<'_>) -> Result<(), Ended> {
    loop {
        #[expect(clippy::disallowed_methods, reason = "the worker that follows the log")]
        let look = tokio::time::sleep(LOOK_AT_LOG);
        tokio::select! {
            biased;
            () = session.checkpoint_offered.notified() => {}
            () = look => {}
        }
        session.follow_log().await?;
    }
}

/// Looks after the sealing key and the certificate. Failing at either ends no stream: what is in use counts still.
async fn watch_keys(
    node: &Node,
    (mut client, channel): (RelayServiceClient<Channel>, Channel),
    dial: &Dial,
) -> Result<(), Ended> {
    loop {
        match turning::turn(node, &mut client, &channel).await {
            Ok(()) => {}
            Err(ended @ Ended::OtherKeys) => return Err(ended),
            // The keys in use are good for a while yet. Was the line broken, the other halves end the stream.
            Err(error) => tracing::warn!(%error, "the sealing key was not turned; the next look tries again"),
        }
        #[expect(clippy::disallowed_methods, reason = "the worker that turns keys")]
        tokio::time::sleep(LOOK_AT_KEYS).await;
        if renewal::due(node)? {
            match renewal::renew(node, dial).await {
                Ok(()) => return Err(Ended::Again),
                Err(error) => {
                    tracing::warn!(%error, "the certificate was not renewed; the next look tries again");
                }
            }
        }
    }
}
