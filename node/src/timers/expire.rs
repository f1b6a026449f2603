//! Threads whose other side fell silent: the sender's node writes `expired` by itself and tells the recipient's.
//! Called by each tick. Never expires a thread while answers may still wait at the gateway for this node.

use std::sync::atomic::Ordering;

use kith_proto::id::{EventId, ThreadId};
use kith_proto::lifecycle::{Delivery, Move, Party, Reason};
use kith_proto::problem::Problem;
use kith_service::store::{StoreError, Tx};

use super::{CAUGHT_UP_MS, CHUNK, EXPIRE_AFTER_MS, RETURN_MS, TimerError, belief};
use crate::audit;
use crate::moves::look::{Seen, look_at};
use crate::moves::told::{self, Told};
use crate::moves::{MoveError, Written};
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::store;
use crate::store::counter::Counter;
use crate::store::thread::Update;
use crate::threads::{Applied, Change, Numbered, Step};

/// The word of the link's state while it stands (see the store's `link_state`).
const UP: &str = "up";

/// Expires every thread that is due and says how many.
pub(super) async fn threads(node: &Node, now_ms: i64) -> Result<u64, TimerError> {
    let mut expired = 0;
    loop {
        let due = |mut tx: Tx| async move {
            let link = store::link_state::get(&mut tx).await?;
            // The row may still be that of an earlier run, which ended without a word.
            let greeted_ms = node.last_hello_ms.load(Ordering::Relaxed);
            let up_for_ms = now_ms.saturating_sub(link.since_ms.max(greeted_ms));
            if !belief::has_greeted(node) || link.state != UP || up_for_ms < CAUGHT_UP_MS {
                return Ok(Vec::new());
            }
            let due_ms = now_ms.saturating_sub(EXPIRE_AFTER_MS);
            let restored_ms = now_ms.saturating_sub(RETURN_MS);
            store::timers::overdue(&mut tx, (due_ms, restored_ms), CHUNK).await
        };
        let due: Vec<ThreadId> = node.store.read::<_, StoreError, _, _>("overdue", due).await?;
        let before = expired;
        for thread_id in &due {
            expired += u64::from(expire(node, thread_id, now_ms).await?);
        }
        // What moved meanwhile is looked at again with the next tick.
        if expired == before {
            return Ok(expired);
        }
    }
}

/// Expires one thread; says whether it still stood so.
async fn expire(node: &Node, thread_id: &ThreadId, now_ms: i64) -> Result<bool, TimerError> {
    let look = |mut tx: Tx| async move { look_at(&mut tx, thread_id).await };
    let Some(seen) = node
        .store
        .read::<_, StoreError, _, _>("look at expiry", look)
        .await?
    else {
        return Ok(false);
    };
    let event_id = EventId::from_bytes(node.rng.bytes().map_err(MoveError::from)?);
    let step = Step {
        event_id,
        mv: Move::Expire,
        party: Party::Timer,
        reason: Some(Reason::NoAnswer),
        happened_at_ms: now_ms,
        deadline_ms: None,
        words_id: None,
        numbered: Numbered::Not,
    };
    let Ok(Applied::Changed(mut change)) = seen.thread.apply(&step) else {
        return Ok(false);
    };
    // Until the recipient's node has numbered it.
    change.event.provisional = true;
    // The task that the sender gets: the line says that nobody answered in time.
    change.thread.problem = Some(Problem::DeadlineExceeded);
    let told = tell(node, &seen, &change)?;
    let (seen, change, told) = (&seen, &change, &told);
    let write = |mut tx: Tx| async move { write(&mut tx, node, (seen, change, told.as_ref())).await };
    match node.store.tx("expire", write).await? {
        Written::Done((), Some(number)) => {
            node.tell_change(number);
            node.outbox_ready.notify_one();
            Ok(true)
        }
        Written::Done((), None) | Written::Overtaken => Ok(false),
    }
}

/// What the recipient is told; nothing where it never had the referral, or is no member any more.
fn tell(node: &Node, seen: &Seen, change: &Change) -> Result<Option<Told>, TimerError> {
    if seen.thread.delivery == Delivery::Undelivered {
        return Ok(None);
    }
    match told::event(node, seen, &change.event, "") {
        Ok(told) => Ok(Some(told)),
        Err(MoveError::Consent(_) | MoveError::Outbox(OutboxError::NotAMember)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn write(
    tx: &mut Tx,
    node: &Node,
    (seen, change, told): (&Seen, &Change, Option<&Told>),
) -> Result<Written<()>, StoreError> {
    let mut counter = Counter::lock(tx).await?;
    if !seen.still_stands(tx, false).await? {
        return Ok(Written::Overtaken);
    }
    let changed = counter.next_change();
    let update = Update {
        before: change.before,
        thread: change.thread.clone(),
        changed,
    };
    if store::thread::update(tx, &[update]).await? != 1 {
        return Ok(Written::Overtaken);
    }
    store::thread::put_events(tx, std::slice::from_ref(&change.event)).await?;
    let mut trail = vec![told::moved(&change.event)];
    if let Some(told) = told {
        told.write(tx, &mut counter).await?;
        trail.push(told.trail(change.event.happened_at_ms));
    }
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    counter.save(tx).await?;
    Ok(Written::Done((), Some(changed)))
}
