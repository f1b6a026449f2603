//! Follows the root's witness policy: the highest number counts for good. Called with every checkpoint that the gateway shows.
//! Never takes an older one, nor another of the same number.

use kith_proto::log::policy::WitnessPolicy;
use kith_proto::v1;
use prost::Message as _;

use super::Ended;
use crate::alarms::{self, Kind};
use crate::node::Node;

/// Keeps a newer policy of the root; what is none is an alarm, and the one held counts on.
pub(super) async fn follow(node: &Node, shown: &v1::Signed) -> Result<(), Ended> {
    let membership = &node.membership;
    let held = node.witness_policy();
    let read = WitnessPolicy::verify(shown, &membership.root, &membership.network);
    match (read, held) {
        (Ok(shown), Some(held)) if shown == held => Ok(()),
        (Ok(policy), held) if held.as_ref().is_none_or(|held| policy.number() > held.number()) => {
            node.keep_policy(shown.clone())?;
            tracing::info!(
                number = policy.number(),
                "a newer witness policy counts from now on"
            );
            Ok(())
        }
        _ => Ok(alarms::raise(node, Kind::Policy, &shown.encode_to_vec(), None).await?),
    }
}
