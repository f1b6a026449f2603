//! The gateway as a restored node asks it: over a connection of its own, without a stream. Called by `restore`; and when a stream opens, for
//! a gateway that came back from a backup itself and has forgotten what was asked.
//! Never writes what was said; never asks for a cosignature of an epoch that has ended.

use std::time::Duration;

use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::trust::Issuer;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_proto::v1::restore_service_client::RestoreServiceClient;
use kith_service::store::{StoreError, Tx};
use kith_service::tls::dial::Dial;
use tonic::Request;
use tonic::transport::Channel;

use super::cosigning::OwnLog;
use super::{Ended, attach, connect, directory, renewal, turning};
use crate::node::Node;
use crate::restore::{Books, RETURNED_MS_MAX, Reader, question, queued, told_again};
use crate::settle::OutboxRow;
use crate::store::restore::Restore;

/// Longest wait for one frame of the answer.
const FRAME_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest whole answer: half a million stops over a slow line.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// A connection to the gateway as this member.
pub(crate) struct Reached {
    channel: Channel,
    issuer: Issuer,
}

/// Opens it, with a new certificate where that of the backup is due.
pub(crate) async fn reach(node: &Node, dial: &Dial) -> Result<Reached, Ended> {
    renewal::ensure(node, dial).await?;
    Ok(Reached {
        channel: connect::as_member(node, dial).await?,
        issuer: connect::issuer(node)?,
    })
}

/// Tells a gateway again that this node came back, where it may have forgotten that with what it lost; says whether it did. What was
/// asked for and never arrived would be a gap for ever. The numbers of every pair begin a run, as both may have lost the last ones.
/// A gateway that does not answer is asked when the next stream opens.
pub(super) async fn tell_again(node: &Node, channel: &Channel, issuer: &Issuer) -> Result<bool, Ended> {
    let since_ms = node.now_ms().saturating_sub(RETURNED_MS_MAX);
    let read = |mut tx: Tx| async move { crate::store::restore::forgotten(&mut tx, since_ms).await };
    let forgotten = node
        .store
        .read::<_, StoreError, _, _>("forgotten restore", read)
        .await?;
    let Some((restore, epoch)) = forgotten else {
        return Ok(false);
    };
    // Not only once the gateway has answered: the next line may have a number that its recipient holds, and nobody else any more.
    let start = Position::run(epoch).map_err(|_| Ended::Protocol("the number of its log's epoch"))?;
    let begin = |mut tx: Tx| async move { crate::store::restore::begin_run(&mut tx, epoch, start).await };
    node.store.tx::<_, StoreError, _, _>("begin run", begin).await?;
    let mut reached = Reached {
        channel: channel.clone(),
        issuer: issuer.clone(),
    };
    // What was taken and never answered must not come again under another number.
    let mut waiting = queued(node, 0).await?;
    waiting.retain(|row| row.number.is_none());
    let waiting = &waiting;
    match reached.ask(node, &restore, waiting).await {
        Ok(books) => told_again(node, &restore, (waiting, &books)).await?,
        Err(ended @ (Ended::Status(_) | Ended::Protocol(_))) => {
            tracing::warn!(reason = %ended, "the gateway was not told again that this node came back; the next stream tries again");
            return Ok(false);
        }
        Err(ended) => return Err(ended),
    }
    tracing::info!("the gateway, which came back from a backup, was told again that this node did");
    Ok(true)
}

impl Reached {
    /// Asks what the backup cannot know, and reads all of the answer.
    pub(crate) async fn ask(
        &mut self,
        node: &Node,
        restore: &Restore,
        queued: &[OutboxRow],
    ) -> Result<Books, Ended> {
        let mut client = RelayServiceClient::new(self.channel.clone());
        // Keys that signed the own log before may be those of an earlier binding.
        match directory::refresh(node, &mut client).await {
            // Nothing is signed here with keys that do not count yet but the log, which takes every key of this member.
            Err(Ended::KeysWait) => {}
            refreshed => refreshed?,
        }
        let read = |mut tx: Tx| async move { crate::store::pair::received(&mut tx).await };
        let held: Vec<(OrgId, Position)> = node
            .store
            .read::<_, StoreError, _, _>("pairs received", read)
            .await?;
        let received = held.iter().map(attach::wire_position).collect();
        let mut request = Request::new(question(restore, received, queued));
        request.set_timeout(ANSWER_MAX);
        let late = |_| Ended::Status(Problem::DeadlineExceeded);
        let mut asking = RestoreServiceClient::new(self.channel.clone());
        let answer = tokio::time::timeout(FRAME_WAIT_MAX, asking.restore(request)).await;
        let mut frames = answer.map_err(late)??.into_inner();
        let mut reader = Reader::new(node, self.issuer.signing_key, queued);
        loop {
            let next = tokio::time::timeout(FRAME_WAIT_MAX, frames.message()).await;
            match next.map_err(late)?? {
                Some(frame) => reader.take(frame)?,
                None => break,
            }
        }
        let books = reader.end()?;
        attach::set_time(node, books.gateway_time_ms);
        Ok(books)
    }

    /// Publishes a fresh sealing key where that of the newest binding was lost, and has the new epoch cosigned; says whether it is.
    pub(crate) async fn cosign(&mut self, node: &Node) -> Result<bool, Ended> {
        let mut client = RelayServiceClient::new(self.channel.clone());
        turning::turn(node, &mut client, &self.channel).await?;
        node.log.catch_up(&node.keys.signing).await?;
        OwnLog::new(node, &self.issuer, self.channel.clone())
            .cosign()
            .await?;
        Ok(node.log.newest().await?.counted.is_some())
    }
}
