//! Has the gateway cosign this node's own log: at the start of a stream, when it has grown, at most once a second, once a minute, and when
//! the node stops. Called as one half of a stream, and by `serve` at its end. Never keeps a cosignature that does not verify, never asks again for a log that has ended.
//!
//! The gateway remembers what it cosigned last. More than this node has, or another history: the database is an older copy, and only a
//! restored node's new epoch goes on from there.

use std::time::Duration;

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::witness::{AddCheckpoint, read_answer};
use kith_proto::problem::Problem;
use kith_proto::trust::Issuer;
use kith_proto::v1::add_checkpoint_response::Outcome;
use kith_proto::v1::{self, log_service_client::LogServiceClient};
use kith_service::log::LogError;
use kith_service::log::epoch::{self, Epoch};
use kith_service::store::StoreError;
use kith_service::tls::dial::Dial;
use tokio::sync::watch;
use tonic::transport::Channel;

use super::log::{answer, timed};
use super::{Ended, LOOK_AGAIN, connect};
use crate::alarms::{self, Kind};
use crate::node::Node;

/// Between two checkpoints: a busy node's events of a second are cosigned together.
const COSIGN_EVERY: Duration = Duration::from_secs(1);
/// How often one checkpoint is asked for: with the size remembered here, with the one that the gateway remembers, and once more when
/// another stream of this node was first.
const ASKED_MAX: usize = 3;

/// How long the last question of a node that stops may take.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Has what was written last cosigned, once nothing more is written: so that an older copy of a node that was stopped in good order is
/// told from the newest. Without the gateway it stays as it is.
pub(crate) async fn cosign_last(node: &Node, dial: &Dial) {
    let asking = async {
        node.log.catch_up(&node.keys.signing).await?;
        let channel = connect::as_member(node, dial).await?;
        OwnLog::new(node, &connect::issuer(node)?, channel).cosign().await
    };
    match tokio::time::timeout(LAST_MAX, asking).await {
        Ok(Ok(())) => {}
        Ok(Err(ended)) => tracing::debug!(reason = %ended, "the end of the log was not cosigned"),
        Err(_) => tracing::debug!("the end of the log was not cosigned in time"),
    }
}

/// This node's log, and who cosigns it.
pub(super) struct OwnLog<'a> {
    node: &'a Node,
    gateway: VerifierKey,
    client: LogServiceClient<Channel>,
    /// Tells of new sizes; from before the first question, so that none is missed.
    grown: watch::Receiver<u64>,
    /// Whether this stream's gateway has said what it holds.
    is_known: bool,
}

impl<'a> OwnLog<'a> {
    /// The log of this node, before the gateway of an issuer.
    pub(super) fn new(node: &'a Node, issuer: &Issuer, channel: Channel) -> Self {
        let network = &node.membership.network;
        Self {
            node,
            gateway: Keeper::Gateway.witness_key(network, issuer.signing_key),
            client: LogServiceClient::new(channel),
            grown: node.log.grown(),
            is_known: false,
        }
    }

    /// Follows the log until the stream ends.
    #[expect(clippy::disallowed_methods, reason = "the worker that has the log cosigned")]
    pub(super) async fn run(mut self) -> Result<(), Ended> {
        loop {
            tokio::time::sleep(COSIGN_EVERY).await;
            tokio::select! {
                biased;
                // The log lives as long as the node.
                grown = self.grown.changed() => grown.map_err(|_| Ended::Stopping)?,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            self.cosign().await?;
        }
    }

    /// Has the newest checkpoint cosigned. Failing at it ends no stream, but for a log that has ended.
    pub(super) async fn cosign(&mut self) -> Result<(), Ended> {
        if *self.node.own_log_ended.borrow() {
            return Err(Ended::OwnLog);
        }
        match self.ask().await {
            Err(ended @ (Ended::Status(_) | Ended::Protocol(_) | Ended::Log(_))) => {
                tracing::warn!(reason = %ended, "this node's log was not cosigned; the next look tries again");
                Ok(())
            }
            asked => asked,
        }
    }

    async fn ask(&mut self) -> Result<(), Ended> {
        let epoch = self.node.log.newest().await?;
        let Some(signed) = &epoch.signed else {
            self.node.own_log_compared.send_replace(true);
            return Ok(());
        };
        let size = epoch.frontier.size();
        let mut old_size = counted_size(&epoch);
        if self.is_known && old_size == size {
            return Ok(());
        }
        for _ in 0..ASKED_MAX {
            let proof = self
                .node
                .log
                .prove_consistency(epoch.number, old_size, size)
                .await?;
            let request = AddCheckpoint::new(old_size, proof, signed.clone()).map_err(LogError::from)?;
            let asked = v1::AddCheckpointRequest {
                request: request.to_string(),
            };
            let outcome = match answer(self.client.add_checkpoint(timed(asked))).await {
                Err(Ended::Status(Problem::Conflict)) => return self.end(Kind::OwnLogForked, signed).await,
                // A later epoch of this log has begun: this database is from before it.
                Err(Ended::Status(Problem::WrongState)) => {
                    return self.end(Kind::OwnLogBehind, signed).await;
                }
                answered => answered?.outcome,
            };
            match outcome {
                Some(Outcome::Cosignatures(lines)) => {
                    self.is_known = true;
                    self.node.own_log_compared.send_replace(true);
                    return self.keep(&epoch, signed, &lines).await;
                }
                Some(Outcome::HeldSize(held)) if held > size => {
                    return self.end(Kind::OwnLogBehind, signed).await;
                }
                Some(Outcome::HeldSize(held)) => old_size = held,
                None => return Err(Ended::Protocol("no answer about a checkpoint")),
            }
        }
        Err(Ended::Protocol("one held size after another"))
    }

    /// Puts the gateway's cosignature under the checkpoint, which counts then.
    async fn keep(&self, epoch: &Epoch, signed: &Note, lines: &str) -> Result<(), Ended> {
        let unread = |_| Ended::Protocol("cosignatures");
        let keys = std::slice::from_ref(&self.gateway);
        let counted = read_answer(lines).map_err(unread)?.into_iter().find_map(|line| {
            let mut note = signed.clone();
            note.add(line).ok()?;
            note.verify(keys).is_ok().then_some(note)
        });
        let counted = &counted.ok_or(Ended::Protocol("a cosignature that is not the gateway's"))?;
        let write = |mut tx| async move { epoch::count(&mut tx, epoch.number, counted).await };
        Ok(self
            .node
            .store
            .tx::<_, StoreError, _, _>("cosigned", write)
            .await?)
    }

    /// Nothing more of this log is signed, and nothing is sent, until the node is restored.
    async fn end(&self, kind: Kind, signed: &Note) -> Result<(), Ended> {
        alarms::raise(self.node, kind, signed.to_string().as_bytes(), None).await?;
        Err(Ended::OwnLog)
    }
}

/// The size that the gateway last cosigned, as far as this node knows.
fn counted_size(epoch: &Epoch) -> u64 {
    let counted = epoch.counted.as_ref();
    let read = counted.and_then(|note| note.text().parse::<Checkpoint>().ok());
    read.map_or(0, |checkpoint| checkpoint.head().size)
}
