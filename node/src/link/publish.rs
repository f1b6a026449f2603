//! Hands this organisation's signed service to the gateway, on a connection of its own.
//! Called by `directory`. Never answers well before the gateway has listed it.

use kith_proto::problem::Problem;
use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use kith_service::tls::dial::Dial;

use super::{Ended, connect};
use crate::node::Node;

/// Publishes a signed service as this member.
pub(crate) async fn publish_service(node: &Node, dial: &Dial, service: v1::Signed) -> Result<(), Problem> {
    publish(node, dial, service)
        .await
        .map_err(|ended| ended.problem())
}

async fn publish(node: &Node, dial: &Dial, service: v1::Signed) -> Result<(), Ended> {
    let channel = connect::as_member(node, dial).await?;
    let request = connect::timed(v1::PublishServiceRequest {
        service: Some(service),
    });
    RelayServiceClient::new(channel).publish_service(request).await?;
    Ok(())
}
