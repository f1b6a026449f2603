//! `LogService`: every method needs the certificate of a member of this network; suspended members read and cosign too.

use super::caller;
use crate::gateway::Gateway;
use crate::log::{self, ReadError};
use crate::member_logs::{self, Answer, MemberLogError};
use crate::witnessing::{self, WitnessingError};
use kith_proto::log::note::Note;
use kith_proto::problem::Problem;
use kith_proto::v1::add_checkpoint_response::Outcome;
use kith_proto::v1::{self, log_service_server::LogService};
use kith_service::status::{Failure, status};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The edge of the log.
pub(crate) struct Log {
    pub(super) gateway: Arc<Gateway>,
}

#[tonic::async_trait]
impl LogService for Log {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        caller(&self.gateway, &request).map_err(status)?;
        let read = log::checkpoint(&self.gateway).await;
        read.map(Response::new)
            .map_err(|error| unread("get_checkpoint", &error))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        caller(&self.gateway, &request).map_err(status)?;
        let entries = log::entries(&self.gateway, &request.into_inner()).await;
        let entries = entries.map_err(|error| unread("list_entries", &error))?;
        Ok(Response::new(v1::ListEntriesResponse { entries }))
    }

    async fn prove_leaves(
        &self,
        request: Request<v1::ProveLeavesRequest>,
    ) -> Result<Response<v1::ProveLeavesResponse>, Status> {
        caller(&self.gateway, &request).map_err(status)?;
        let proven = log::prove(&self.gateway, &request.into_inner()).await;
        proven
            .map(Response::new)
            .map_err(|error| unread("prove_leaves", &error))
    }

    async fn add_cosignature(
        &self,
        request: Request<v1::AddCosignatureRequest>,
    ) -> Result<Response<v1::AddCosignatureResponse>, Status> {
        caller(&self.gateway, &request).map_err(status)?;
        let note = Note::parse(request.into_inner().note.as_bytes());
        let note = note.map_err(|error| {
            status(Failure::new(error.problem()).with_field("note", "This is no signed checkpoint."))
        })?;
        let counted = witnessing::add(&self.gateway, &note).await.map_err(not_added)?;
        Ok(Response::new(v1::AddCosignatureResponse { counted }))
    }

    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let request = request.into_inner().request;
        let answer = member_logs::add_checkpoint(&self.gateway, Some(&peer.org), &request).await;
        let outcome = match answer.map_err(not_cosigned)? {
            Answer::Cosigned(lines) => Outcome::Cosignatures(lines),
            Answer::HeldSize(size) => Outcome::HeldSize(size),
        };
        Ok(Response::new(v1::AddCheckpointResponse {
            outcome: Some(outcome),
        }))
    }
}

/// Logs the cause once, here at the edge, and answers the problem.
fn unread(call: &'static str, error: &ReadError) -> Status {
    refused(call, error, (error.problem(), error.sentence()))
}

fn not_added(error: WitnessingError) -> Status {
    refused("add_cosignature", &error, (error.problem(), error.sentence()))
}

fn not_cosigned(error: MemberLogError) -> Status {
    refused("add_checkpoint", &error, (error.problem(), error.sentence()))
}

fn refused(
    call: &'static str,
    error: &dyn std::fmt::Display,
    (problem, sentence): (Problem, Option<&'static str>),
) -> Status {
    tracing::info!(call, %error, problem = problem.as_str(), "refused");
    let failure = Failure::new(problem);
    status(match sentence {
        Some(sentence) => failure.with_sentence(sentence),
        None => failure,
    })
}
