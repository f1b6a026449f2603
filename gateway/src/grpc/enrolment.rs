//! `EnrolmentService`: anonymous at TLS; what proves the caller is in the message and checked by the use-case.

use super::{Anonymous, missing};
use crate::gateway::Gateway;
use crate::membership;
use kith_proto::v1::{self, enrolment_service_server::EnrolmentService};
use kith_service::status::{Failure, status};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The edge of enrolment.
pub(crate) struct Enrolment {
    pub(super) gateway: Arc<Gateway>,
    pub(super) anonymous: Arc<Anonymous>,
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let _place = self.anonymous.enter().map_err(status)?;
        let answer = membership::enrol(&self.gateway, request.into_inner()).await;
        answer.map(Response::new).map_err(|error| refused("enrol", error))
    }

    async fn rekey(&self, request: Request<v1::RekeyRequest>) -> Result<Response<v1::RekeyResponse>, Status> {
        let _place = self.anonymous.enter().map_err(status)?;
        let enrolment = request.into_inner().enrolment;
        let enrolment = enrolment.ok_or_else(|| status(missing("enrolment")))?;
        let answer = membership::rekey(&self.gateway, enrolment).await;
        let answer = answer.map(|enrolment| v1::RekeyResponse {
            enrolment: Some(enrolment),
        });
        answer.map(Response::new).map_err(|error| refused("rekey", error))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let _place = self.anonymous.enter().map_err(status)?;
        let answer = membership::renew(&self.gateway, request.into_inner()).await;
        answer.map(Response::new).map_err(|error| refused("renew", error))
    }
}

/// Logs the cause once, here at the edge, and answers the problem.
fn refused(call: &'static str, error: membership::MembershipError) -> Status {
    tracing::info!(call, %error, problem = error.problem().as_str(), "refused");
    status(Failure::from(error))
}
