//! Where this node's log stands, and its copy of the gateway's. Called by the gRPC edge.
//! Never says that a checkpoint counts but by what was written down when it was verified.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_proto::{trust, v1};
use kith_service::log::epoch;
use kith_service::store::Tx;

use super::TrailError;
use crate::node::Node;
use crate::store;

/// Reads it. The gateway's part is empty as long as this node has followed nothing of its log.
pub async fn standing(node: &Node) -> Result<v1::GetLogStatusResponse, TrailError> {
    let read = |mut tx: Tx| async move {
        let newest = epoch::newest(&mut tx).await?;
        Ok::<_, TrailError>((newest, store::trail::seen(&mut tx).await?))
    };
    let (newest, gateway) = node.store.read("log standing", read).await?;
    let mut status = v1::GetLogStatusResponse {
        alarms: alarms(),
        ..Default::default()
    };
    if let Some(epoch) = newest {
        let origin = node.log.keeper.origin(&node.membership.network, epoch.number);
        origin.as_str().clone_into(&mut status.origin);
        status.size = epoch.frontier.size();
        if let Some(counted) = &epoch.counted {
            let checkpoint: Checkpoint = counted.text().parse()?;
            status.cosigned_size = checkpoint.head().size;
            status.cosigned_at_ms = cosigned_at_ms(node, counted);
        }
    }
    if let Some(seen) = gateway {
        status.gateway_origin = seen.origin;
        status.gateway_size = seen.size.unsigned_abs();
        status.gateway_seen_at_ms = seen.seen_at_ms;
    }
    Ok(status)
}

/// When the gateway cosigned, by its verified cosignature; 0 where it cannot be told.
fn cosigned_at_ms(node: &Node, note: &Note) -> i64 {
    let (me, at_ms) = (&node.membership, node.now_ms());
    let Ok(issuer) = trust::verify_issuer(&node.issuer(), &me.root, &me.network, at_ms) else {
        return 0;
    };
    let keys = [Keeper::Gateway.witness_key(&me.network, issuer.signing_key)];
    let verified = note.verify(&keys).unwrap_or_default();
    let at_s = verified.iter().filter_map(|by| by.time_s).max();
    at_s.and_then(|at_s| i64::try_from(at_s).ok())
        .map_or(0, |at_s| at_s.saturating_mul(1000))
}

/// What a person must look at, one plain sentence each. Whoever raises alarms adds them here.
const fn alarms() -> Vec<String> {
    Vec::new()
}
