//! Rows that time has passed by: envelopes nobody will take any more, answers and ids past their window.
//! Called by the tick. Never deletes what a repeat could still ask for, never gives up an envelope before its own expiry.

use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use super::{CHUNK, OUTBOX_KEPT_MS, OUTBOX_LINES_KEPT_MS, RECEIVED_KEPT_MS, REQUESTS_KEPT_MS};
use crate::audit::{self, Code, Event};
use crate::colleagues::{LINK_MS, SESSION_MS};
use crate::drafts;
use crate::node::Node;
use crate::persons::OPENING_REPEAT_MS;
use crate::store;
use crate::store::counter::Counter;
use crate::store::timers::KeptFrom;

/// Gives up queued envelopes whose own expiry has passed, and says how many.
pub(super) async fn give_up(node: &Node, now_ms: i64) -> Result<u64, StoreError> {
    let mut given_up = 0;
    loop {
        let find = |mut tx: Tx| async move { store::timers::stale(&mut tx, now_ms, 1).await };
        if node
            .store
            .read::<_, StoreError, _, _>("stale envelopes", find)
            .await?
            .is_empty()
        {
            return Ok(given_up);
        }
        let give_up = |mut tx: Tx| async move { give_up_chunk(&mut tx, node, now_ms).await };
        let (count, changed) = node.store.tx("give up envelopes", give_up).await?;
        given_up += count;
        node.tell_change(changed);
    }
}

async fn give_up_chunk(tx: &mut Tx, node: &Node, now_ms: i64) -> Result<(u64, i64), StoreError> {
    let mut counter = Counter::lock(tx).await?;
    let (mut given_up, mut trail) = (0, Vec::new());
    for stale in store::timers::stale(tx, now_ms, CHUNK).await? {
        if !store::timers::give_up(tx, stale.seq).await? {
            continue;
        }
        given_up += 1;
        let event = Event::new(Code::EnvelopeDropped, now_ms).id("envelope", stale.envelope_id.as_bytes());
        let event = event
            .id("thread", stale.thread_id.as_bytes())
            .word("kind", stale.kind.as_str());
        trail.push(event.word("problem", Problem::DeadlineExceeded.as_str()));
        if stale.kind == EnvelopeKind::Referral {
            store::timers::undelivered(tx, &stale.thread_id, counter.next_change()).await?;
        }
    }
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok((given_up, changed))
}

/// Deletes rows past their windows, and says how many.
pub(super) async fn prune(node: &Node, now_ms: i64) -> Result<u64, StoreError> {
    let kept = KeptFrom {
        requests_ms: now_ms.saturating_sub(REQUESTS_KEPT_MS),
        received_ms: now_ms.saturating_sub(RECEIVED_KEPT_MS),
        outbox_ms: now_ms.saturating_sub(OUTBOX_KEPT_MS),
        lines_ms: now_ms.saturating_sub(OUTBOX_LINES_KEPT_MS),
        sessions_ms: now_ms.saturating_sub(SESSION_MS),
        drafts_ms: now_ms.saturating_sub(drafts::KEPT_MS),
        links_ms: now_ms.saturating_sub(LINK_MS),
        openings_ms: now_ms.saturating_sub(OPENING_REPEAT_MS),
    };
    let prune = |mut tx: Tx| async move { store::timers::prune(&mut tx, kept).await };
    node.store.tx("prune", prune).await
}
