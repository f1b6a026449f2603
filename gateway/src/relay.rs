//! The stream of a node. Called by the edge of `RelayService.Attach` with a verified peer.

use crate::gateway::Gateway;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::status::Failure;
use kith_service::tls::identity::Identity;
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

/// Frames to a node.
pub type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::AttachResponse, Status>> + Send>>;

/// Serves one node's stream until it ends.
pub async fn attach(
    _gateway: Arc<Gateway>,
    _peer: Identity,
    _frames: Streaming<v1::AttachRequest>,
) -> Result<Outgoing, Failure> {
    Err(Failure::new(Problem::Unavailable))
}
