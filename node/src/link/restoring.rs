//! The gateway as a restored node asks it: over a connection of its own, without a stream. Called by `restore`.
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
use crate::restore::{Books, Reader, question};
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
