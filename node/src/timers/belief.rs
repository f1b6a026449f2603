//! Whether the time is believed before anything is erased by it: a computer that wakes up with a wrong clock would end
//! every consent at once, for ever.
//! Called by each tick and by `status`. Never believes a time that nothing but the local clock stands for.

use std::sync::atomic::Ordering;

use kith_service::store::{StoreError, Tx};

use crate::node::Node;
use crate::store;
use crate::threads::DAY_MS;

/// How long after the gateway's last word the local clock alone is believed: 60 days, for which a gateway keeps what it may
/// deliver again. Whoever was away for longer must hear from it first.
pub const ALONE_MS_MAX: i64 = 60 * DAY_MS;

/// Whether a node that has not heard from the gateway in this run believes this time: not before its last word, and not
/// long after it. `last_hello_ms` is 0 for a node that never heard from it.
pub const fn is_plausible(last_hello_ms: i64, now_ms: i64) -> bool {
    last_hello_ms > 0 && now_ms >= last_hello_ms && now_ms - last_hello_ms <= ALONE_MS_MAX
}

/// What is held of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// The gateway has said it in this run, or it fits what the gateway said last.
    Believed,
    /// No gateway ever said a time to this node: there is nothing to compare it with.
    Unheard,
    /// It does not fit what the gateway said last.
    Doubted,
}

/// Judges a time.
pub(super) async fn judge(node: &Node, now_ms: i64) -> Result<Belief, StoreError> {
    if has_greeted(node) {
        return Ok(Belief::Believed);
    }
    let last = |mut tx: Tx| async move {
        let restore = store::restore::newest(&mut tx).await?;
        Ok((store::link_state::get(&mut tx).await?, restore))
    };
    let (link, restore) = node.store.read::<_, StoreError, _, _>("last hello", last).await?;
    // What a backup says of the last word is not of this life of the node.
    let came_back_ms = restore.map_or(0, |restore| restore.done_at_ms.unwrap_or(i64::MAX));
    if link.last_hello_ms < came_back_ms {
        return Ok(Belief::Unheard);
    }
    Ok(match link.last_hello_ms {
        last_ms if is_plausible(last_ms, now_ms) => Belief::Believed,
        0 => Belief::Unheard,
        _ => Belief::Doubted,
    })
}

/// Whether the gateway has greeted this node in this run.
pub(super) fn has_greeted(node: &Node) -> bool {
    node.last_hello_ms.load(Ordering::Relaxed) > 0
}
