//! Stopping a slip. Called by the edge of `StopService` with the secret, and by the relay with a member's notice.

use crate::gateway::Gateway;
use kith_proto::id::SlipId;
use kith_proto::problem::Problem;
use kith_service::status::Failure;

/// Stops the slip that the secret opens; returns when it was stopped, ms UTC.
pub async fn by_secret(_gateway: &Gateway, _slip_id: SlipId, _secret: &[u8; 32]) -> Result<i64, Failure> {
    Err(Failure::new(Problem::Unavailable))
}
