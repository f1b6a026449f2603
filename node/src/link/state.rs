//! Writes where the link stands, for `status`. Called by the link's loop and by an open stream.
//! Never fails the link: a state that cannot be written is logged and left.

use std::sync::atomic::Ordering;

use kith_proto::problem::Problem;
use kith_service::store::StoreError;

use super::Ended;
use crate::node::Node;
use crate::store;
use crate::store::link_state::LinkState;

/// The stream is open.
pub(super) const UP: &str = "up";
/// There is no stream; the link tries again.
pub(super) const DOWN: &str = "down";
/// The clock is too far off; nothing is sent.
pub(super) const CLOCK_OFF: &str = "clock_off";
/// The new keys of this organisation do not count yet; nothing is sent until then.
pub(super) const KEYS_WAIT: &str = "keys_wait";
/// Somebody else's keys stand for this organisation, or a log is not the one it was; nothing is sent.
pub(super) const STOPPED: &str = "stopped";

/// Writes the state after an ended stream.
pub(super) async fn put_ended(node: &Node, ended: &Ended) {
    let state = match ended {
        Ended::ClockOff => CLOCK_OFF,
        Ended::KeysWait => KEYS_WAIT,
        Ended::OtherKeys | Ended::OtherLog | Ended::OwnLog => STOPPED,
        _ => DOWN,
    };
    put(node, state, Some(ended.problem())).await;
}

/// Writes the state now.
pub(super) async fn put(node: &Node, state: &'static str, problem: Option<Problem>) {
    let now_ms = node.clock.now_ms();
    let last_hello_ms = node.last_hello_ms.load(Ordering::Relaxed);
    let offset_ms = node.gateway_offset_ms();
    let write = |mut tx| async move {
        let row = LinkState {
            state: state.to_owned(),
            since_ms: now_ms,
            gateway_offset_ms: offset_ms,
            last_hello_ms,
            problem,
        };
        store::link_state::put(&mut tx, &row).await
    };
    let written: Result<(), StoreError> = node.store.tx("link state", write).await;
    if let Err(error) = written {
        tracing::warn!(%error, "the link's state was not written");
    }
}
