//! The end of sealing keys that were replaced, once no envelope to them can be waiting any more.
//! Called by the daily timer. Never destroys the newest, nor one that the verified chain does not show as replaced.
//!
//! The folder is in no transaction of the store, so the trail comes first: after a crash between the two the key is still there, and
//! the next day writes and destroys it again. No key goes without its line.

use kith_proto::envelope::{PREVIOUS_KEY_KEPT_MS, sealing_key_id};
use kith_proto::trust::Member;

use super::TimerError;
use crate::audit::{self, Code, Event};
use crate::node::Node;

/// Destroys the sealing keys that were replaced long enough ago, by the verified chain; says how many.
pub(super) async fn destroy(node: &Node, now_ms: i64) -> Result<u64, TimerError> {
    let Some(listed) = node.members.get(node.organisation()) else {
        return Ok(0);
    };
    let held = node.keys.sealing_keys();
    let over = |id: &[u8; 16]| {
        replaced_at_ms(&listed.member, id)
            .is_some_and(|at_ms| now_ms.saturating_sub(at_ms) > PREVIOUS_KEY_KEPT_MS)
    };
    let ended: Vec<[u8; 16]> = held.iter().map(|held| held.id).filter(over).collect();
    if ended.is_empty() {
        return Ok(0);
    }
    let event = Event::new(Code::KeyDestroyed, now_ms).word("key", "sealing");
    audit::note(&node.store, &node.rng, event).await?;
    node.keys.destroy_sealing_keys(&node.folder, &ended)?;
    // widens: a handful.
    Ok(ended.len() as u64)
}

/// When the chain's next sealing key began to count; none while this one is the chain's last, or not in it.
fn replaced_at_ms(member: &Member, id: &[u8; 16]) -> Option<i64> {
    let mut later = member
        .bindings
        .iter()
        .skip_while(|binding| sealing_key_id(&binding.sealing_key) != *id);
    let next = later.find(|binding| sealing_key_id(&binding.sealing_key) != *id);
    next.map(|binding| binding.effective_at_ms)
}
