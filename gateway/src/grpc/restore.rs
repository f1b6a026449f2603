//! `RestoreService`: needs the certificate of a member of this network, and tells that member of its own mail alone.

use super::caller;
use super::relay::refused;
use crate::gateway::Gateway;
use crate::member_restore;
use kith_proto::v1::{self, restore_service_server::RestoreService};
use kith_service::status::status;
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// The edge of coming back from a backup.
pub(crate) struct Restore {
    pub(super) gateway: Arc<Gateway>,
}

#[tonic::async_trait]
impl RestoreService for Restore {
    type RestoreStream = Pin<Box<dyn Stream<Item = Result<v1::RestoreResponse, Status>> + Send>>;

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let answer = member_restore::restore(&self.gateway, &peer.org, &request.into_inner()).await;
        let answer = answer.map_err(|error| refused("restore", error))?;
        let messages = tokio_stream::iter(answer.into_iter().map(Ok));
        Ok(Response::new(Box::pin(messages)))
    }
}
