//! `StopService`: anonymous; whoever holds a slip's stop secret may stop it. Learns no name and logs no id.

use super::Anonymous;
use crate::gateway::Gateway;
use crate::stop;
use kith_proto::id::SlipId;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, stop_service_server::StopService};
use kith_service::status::{Failure, status};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The edge of the stop page.
pub(crate) struct Stop {
    pub(super) gateway: Arc<Gateway>,
    pub(super) anonymous: Arc<Anonymous>,
}

#[tonic::async_trait]
impl StopService for Stop {
    async fn stop_slip(
        &self,
        request: Request<v1::StopSlipRequest>,
    ) -> Result<Response<v1::StopSlipResponse>, Status> {
        let _place = self.anonymous.enter().map_err(status)?;
        let (slip_id, secret) = parse(&request.into_inner()).map_err(status)?;
        let stopped = stop::by_secret(&self.gateway, slip_id, &secret).await;
        let stopped_at_ms = stopped.map_err(status)?;
        Ok(Response::new(v1::StopSlipResponse { stopped_at_ms }))
    }
}

fn parse(request: &v1::StopSlipRequest) -> Result<(SlipId, [u8; 32]), Failure> {
    let invalid =
        |field: &str| Failure::new(Problem::Invalid).with_field(field, "This cannot be read. Copy it again.");
    let slip_id = request
        .slip_id
        .as_slice()
        .try_into()
        .map_err(|_| invalid("slip_id"))?;
    let secret = request
        .stop_secret
        .as_slice()
        .try_into()
        .map_err(|_| invalid("stop_secret"))?;
    Ok((slip_id, secret))
}
