//! Giving back to a member that came back from a backup how the threads with it stand here: codes and times, no words.
//! Called by each tick, for the rows that the gateway's re-offer brought.
//! Never says anything of a thread with somebody else, never tells one thread twice for one restore.

use std::sync::atomic::Ordering;

use kith_proto::id::{EnvelopeId, ThreadId};
use kith_proto::lifecycle::{Reason, State};
use kith_proto::permits::CategorySet;
use kith_proto::sign::sha256;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use crate::audit;
use crate::moves::MoveError;
use crate::moves::look::{Seen, look_at};
use crate::moves::told::{self, EnvelopeHead, Told};
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::store;
use crate::store::counter::Counter;
use crate::store::returning::{Returning, Standing};
use crate::store::threads_view::ShownEvent;
use crate::threads::Side;

/// Most events of one thread that go back, the newest.
pub(crate) const EVENTS_MAX: usize = 200;
/// Most threads returned in one tick, each a transaction of its own.
const TICK_MAX: u64 = 256;
/// Threads found by one look.
const CHUNK: i64 = 32;
/// In front of what the envelope's id is derived from.
const LABEL: &[u8] = b"kith/node/returned\0";

/// What is read of a thread before anything is sealed.
struct Found {
    seen: Seen,
    standing: Standing,
    events: Vec<ShownEvent>,
    /// Told before under the same restore.
    is_told: bool,
}

/// Returns what is due, a bounded number of threads; says how many. Before the gateway has greeted nothing is.
pub async fn give(node: &Node, now_ms: i64) -> Result<u64, MoveError> {
    if node.last_hello_ms.load(Ordering::Relaxed) == 0 {
        return Ok(0);
    }
    let read = |mut tx: Tx| async move { store::returning::all(&mut tx).await };
    let all = node
        .store
        .read::<_, StoreError, _, _>("returning to", read)
        .await?;
    let mut given = 0;
    for mut one in all {
        while given < TICK_MAX {
            let of = &one;
            let read = |mut tx: Tx| async move { store::returning::threads(&mut tx, of, CHUNK).await };
            let threads: Vec<ThreadId> = node.store.read::<_, StoreError, _, _>("to return", read).await?;
            let Some(last) = threads.last() else {
                let done = |mut tx: Tx| async move { store::returning::done(&mut tx, of, now_ms).await };
                node.store.tx::<_, StoreError, _, _>("returned", done).await?;
                break;
            };
            let after = last.as_bytes().to_vec();
            match give_each(node, &one, &threads, now_ms).await {
                Ok(count) => given += count,
                // Its keys are not known now: the next tick tries again.
                Err(MoveError::Outbox(OutboxError::NotAMember | OutboxError::NotLogged(_))) => break,
                Err(error) => return Err(error),
            }
            one.after = after;
        }
    }
    if given > 0 {
        node.outbox_ready.notify_one();
    }
    Ok(given)
}

async fn give_each(
    node: &Node,
    one: &Returning,
    threads: &[ThreadId],
    now_ms: i64,
) -> Result<u64, MoveError> {
    let mut given = 0;
    for thread_id in threads {
        let envelope_id = &envelope_id(&one.restore_id, thread_id);
        let look = |mut tx: Tx| async move { look(&mut tx, thread_id, envelope_id).await };
        let found = node
            .store
            .read::<_, StoreError, _, _>("look to return", look)
            .await?;
        let told = match found.filter(|found| !found.is_told) {
            Some(found) => tell(node, &found, (one, *envelope_id))?,
            None => None,
        };
        given += u64::from(told.is_some());
        write(node, (one, thread_id), told.as_ref(), now_ms).await?;
    }
    Ok(given)
}

async fn look(
    tx: &mut Tx,
    thread_id: &ThreadId,
    envelope_id: &EnvelopeId,
) -> Result<Option<Found>, StoreError> {
    let Some(seen) = look_at(tx, thread_id).await? else {
        return Ok(None);
    };
    let Some(standing) = store::returning::standing(tx, thread_id).await? else {
        return Ok(None);
    };
    Ok(Some(Found {
        seen,
        standing,
        events: store::threads_view::events(tx, thread_id).await?,
        is_told: store::returning::is_queued(tx, envelope_id).await?,
    }))
}

/// The envelope; none where the rules let nothing go, not even a bare code.
fn tell(
    node: &Node,
    found: &Found,
    (one, envelope_id): (&Returning, EnvelopeId),
) -> Result<Option<Told>, MoveError> {
    let seen = &found.seen;
    let permitted = seen.permits(node, EnvelopeKind::Event, CategorySet::EMPTY, node.now_ms());
    if let Err(refusal) = permitted {
        tracing::warn!(problem = refusal.code(), "a thread is not returned");
        return Ok(None);
    }
    let counted: Vec<&ShownEvent> = found
        .events
        .iter()
        .filter(|event| event.state.is_some())
        .collect();
    let newest = counted.iter().skip(counted.len().saturating_sub(EVENTS_MAX));
    let returned = v1::Returned {
        restore_id: one.restore_id.to_vec(),
        purpose: found.standing.purpose.number(),
        yours: seen.thread.side == Side::Inbox,
        created_at_ms: found.standing.created_at_ms,
        answer_by_ms: found.standing.answer_by_ms,
        came_from: found.standing.came_from.map_or(0, State::number),
        events: newest.map(|event| wire(event)).collect(),
    };
    let event = v1::Event {
        event_id: envelope_id.as_bytes().to_vec(),
        returned: Some(returned),
        ..v1::Event::default()
    };
    let head = EnvelopeHead {
        envelope_id,
        kind: EnvelopeKind::Event,
        categories: CategorySet::EMPTY,
    };
    told::seal(node, seen, head, Body::Event(event), None).map(Some)
}

/// An event without its words.
fn wire(event: &ShownEvent) -> v1::Event {
    v1::Event {
        event_id: event.event_id.as_bytes().to_vec(),
        epoch: event.epoch.unsigned_abs(),
        number: event.number.unsigned_abs(),
        r#move: event.mv.number(),
        state: event.state.map_or(0, State::number),
        reason: event.reason.map_or(0, Reason::number),
        happened_at_ms: event.happened_at_ms,
        deadline_ms: event.deadline_ms,
        words: String::new(),
        returned: None,
    }
}

/// One transaction: the envelope is queued, and the thread is behind the place that was reached.
async fn write(
    node: &Node,
    (one, thread_id): (&Returning, &ThreadId),
    told: Option<&Told>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if !store::returning::go_on(&mut tx, one, thread_id).await? {
            return Ok(());
        }
        if let Some(told) = told {
            told.write(&mut tx, &mut counter).await?;
            audit::insert(&mut tx, &mut counter, &node.rng, &[told.trail(now_ms)]).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx("return thread", write).await
}

/// The same however often a thread is returned for one restore.
fn envelope_id(restore_id: &[u8; 16], thread_id: &ThreadId) -> EnvelopeId {
    let hash = sha256(&[LABEL, restore_id, thread_id.as_bytes()]);
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    EnvelopeId::from_bytes(id)
}
