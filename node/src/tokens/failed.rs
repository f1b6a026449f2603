//! Failed sign-ins, counted: one event a minute goes into the trail, however many there were. Called by both edges.
//! Never says whose sign-in failed, nor with what.

use std::sync::{Mutex, PoisonError};

use super::{TokenError, note_failed};
use crate::node::Node;

/// How often failed sign-ins are written into the trail, in ms.
const EVERY_MS: i64 = 60_000;

/// Those that are not in the trail yet.
#[derive(Debug, Default)]
pub struct FailedSignIns {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    count: i64,
    written_at_ms: i64,
}

impl FailedSignIns {
    /// Counts one; at most one event a minute goes into the trail, with the count.
    pub async fn note(&self, node: &Node) -> Result<(), TokenError> {
        let now_ms = node.clock.now_ms();
        let count = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.count = counted.count.saturating_add(1);
            if now_ms.abs_diff(counted.written_at_ms) < EVERY_MS.unsigned_abs() {
                return Ok(());
            }
            counted.written_at_ms = now_ms;
            std::mem::take(&mut counted.count)
        };
        tracing::warn!(count, "sign-ins failed");
        note_failed(node, count).await
    }
}
