//! Where this node's log stands, and its copy of the gateway's. Called by the gRPC edge.
//! Never says that a checkpoint counts but by what was written down when it was verified.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_proto::{trust, v1};
use kith_service::log::epoch;
use kith_service::store::Tx;

use super::TrailError;
use crate::alarms::Alarm;
use crate::keylog;
use crate::node::Node;
use crate::store;

/// Reads it. The gateway's part is empty as long as this node has followed nothing of its log.
pub async fn standing(node: &Node) -> Result<v1::GetLogStatusResponse, TrailError> {
    let read = |mut tx: Tx| async move {
        let newest = epoch::newest(&mut tx).await?;
        let alarms = store::alarm::all(&mut tx).await?;
        Ok::<_, TrailError>((newest, store::keylog::held(&mut tx).await?, alarms))
    };
    let (newest, gateway, alarms) = node.store.read("log standing", read).await?;
    let sentence = |alarm: &Alarm| alarm.kind.sentence().to_owned();
    let mut status = v1::GetLogStatusResponse {
        alarms: alarms.iter().map(sentence).collect(),
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
    if let Some(held) = gateway {
        let origin = Keeper::Gateway.origin(&node.membership.network, held.epoch);
        origin.as_str().clone_into(&mut status.gateway_origin);
        status.gateway_size = held.followed.head().size;
        status.gateway_seen_at_ms = held.followed.at_ms;
        status.gateway_standing = keylog::standing_in_words(&held, &node.newest(), node.now_ms());
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
