//! `RelayService`: every method needs the certificate of a member of this network.

use super::{caller, missing, named};
use crate::gateway::Gateway;
use crate::{directory, membership, relay};
use kith_proto::v1::{self, relay_service_server::RelayService};
use kith_service::status::{Failure, status};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The edge of the relay.
pub(crate) struct Relay {
    pub(super) gateway: Arc<Gateway>,
}

#[tonic::async_trait]
impl RelayService for Relay {
    type AttachStream = relay::Outgoing;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let frames = request.into_inner();
        let outgoing = relay::attach(self.gateway.clone(), peer, frames).await;
        outgoing.map(Response::new).map_err(status)
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        caller(&self.gateway, &request).map_err(status)?;
        let listed = membership::list(&self.gateway, request.into_inner()).await;
        listed
            .map(Response::new)
            .map_err(|error| refused("list_members", error))
    }

    async fn publish_binding(
        &self,
        request: Request<v1::PublishBindingRequest>,
    ) -> Result<Response<v1::PublishBindingResponse>, Status> {
        if self.gateway.restored.is_some() && request.get_ref().invite.is_some() {
            return self.give_back(request).await;
        }
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let binding = request.into_inner().binding;
        let binding = binding.ok_or_else(|| status(missing("binding")))?;
        let published = membership::publish_binding(&self.gateway, &peer.org, binding).await;
        published
            .map(Response::new)
            .map_err(|error| refused("publish_binding", error))
    }

    async fn publish_service(
        &self,
        request: Request<v1::PublishServiceRequest>,
    ) -> Result<Response<v1::PublishServiceResponse>, Status> {
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let service = request.into_inner().service;
        let service = service.ok_or_else(|| status(missing("service")))?;
        let published = directory::publish_service(&self.gateway, &peer.org, service).await;
        published
            .map(Response::new)
            .map_err(|error| refused("publish_service", error))
    }
}

impl Relay {
    /// A re-key that the gateway had lost. The member's certificate may count for nothing until it is taken: what is given proves itself.
    async fn give_back(
        &self,
        request: Request<v1::PublishBindingRequest>,
    ) -> Result<Response<v1::PublishBindingResponse>, Status> {
        let peer = named(&self.gateway, &request).map_err(status)?.clone();
        let given = membership::give_back_rekey(&self.gateway, &peer.org, request.into_inner()).await;
        given
            .map(Response::new)
            .map_err(|error| refused("give_back_rekey", error))
    }
}

/// Logs the cause once, here at the edge, and answers the problem.
pub(super) fn refused(call: &'static str, error: impl Into<Failure> + std::fmt::Display) -> Status {
    let cause = error.to_string();
    let failure = error.into();
    tracing::info!(call, cause, problem = failure.problem.as_str(), "refused");
    status(failure)
}
