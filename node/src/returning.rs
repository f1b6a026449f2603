//! Giving back to a member that came back from a backup how the threads with it stand here: codes and times, no words. One that came back
//! with nothing gets the open referrals that it had again as well, sealed to its new keys.
//! Called by each tick, for the rows that the gateway's re-offer brought.
//! Never says anything of a thread with somebody else, never tells one thread twice for one restore.

use std::sync::atomic::Ordering;

use kith_proto::id::{EnvelopeId, ThreadId};
use kith_proto::lifecycle::{Consent, State};
use kith_proto::permits::{CategorySet, MemberState};
use kith_proto::sign::sha256;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, Tx};

use crate::audit;
use crate::content::{ContentError, Section};
use crate::moves::MoveError;
use crate::moves::look::{Seen, look_at};
use crate::moves::told::{self, EnvelopeHead, Told};
use crate::node::Node;
use crate::outbox::{self, Draft, OutboxError};
use crate::store;
use crate::store::counter::Counter;
use crate::store::returning::{Returning, Standing};
use crate::store::threads_view::ShownEvent;
use crate::threads::Side;
use crate::threads_view::wire_event;

/// Most events of one thread that go back, the newest.
pub(crate) const EVENTS_MAX: usize = 200;
/// Most threads returned in one tick, each a transaction of its own.
const TICK_MAX: u64 = 256;
/// Threads found by one look.
const CHUNK: i64 = 32;
/// In front of what the envelopes' ids are derived from.
const LABEL: &[u8] = b"kith/node/returned\0";
const LABEL_AGAIN: &[u8] = b"kith/node/referred-again\0";

/// What is read of a thread before anything is sealed.
struct Found {
    seen: Seen,
    standing: Standing,
    events: Vec<ShownEvent>,
    /// What a referral said that its recipient has lost with its keys; none of any other thread.
    said: Option<outbox::Standing>,
    /// Told before under the same restore.
    is_told: bool,
}

/// Whether this envelope returned a thread to a member that came back, under one of these restores.
pub(crate) fn is_returned(restore_ids: &[[u8; 16]], thread_id: &ThreadId, asked: &EnvelopeId) -> bool {
    let mut of_each = restore_ids.iter().map(|id| envelope_id(LABEL, id, thread_id));
    of_each.any(|returned| returned == *asked)
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
        // What it lost can be sealed to its new keys only, and they do not count before its suspension ends.
        if one.is_from_nothing() && node.members.state_of(&one.peer) != MemberState::Active {
            continue;
        }
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
        let envelope_id = &envelope_id(LABEL, &one.restore_id, thread_id);
        let look = |mut tx: Tx| async move { look(&mut tx, thread_id, (one, envelope_id)).await };
        let found = node
            .store
            .read::<_, StoreError, _, _>("look to return", look)
            .await?;
        let mut told = Vec::new();
        if let Some(found) = found.filter(|found| !found.is_told) {
            let again = refer_again(node, &found, one)?;
            // Where the referral is gone with everything else and may not go again, its thread is nobody's there.
            let is_known = !one.is_from_nothing() || found.seen.thread.side == Side::Inbox || again.is_some();
            told.extend(again);
            if is_known {
                told.extend(tell(node, &found, (one, *envelope_id))?);
            }
        }
        given += u64::from(!told.is_empty());
        write(node, (one, thread_id), &told, now_ms).await?;
    }
    Ok(given)
}

async fn look(
    tx: &mut Tx,
    thread_id: &ThreadId,
    (one, envelope_id): (&Returning, &EnvelopeId),
) -> Result<Option<Found>, StoreError> {
    let Some(seen) = look_at(tx, thread_id).await? else {
        return Ok(None);
    };
    let Some(standing) = store::returning::standing(tx, thread_id).await? else {
        return Ok(None);
    };
    let lost = one.is_from_nothing()
        && seen.thread.side == Side::Sent
        && seen.thread.situation.state.is_open()
        && seen.thread.situation.consent == Consent::Live;
    let said = if lost {
        outbox::standing(tx, *thread_id).await?
    } else {
        None
    };
    Ok(Some(Found {
        seen,
        said,
        standing,
        events: store::threads_view::events(tx, thread_id).await?,
        is_told: store::returning::is_queued(tx, envelope_id).await?,
    }))
}

/// The referral, for a recipient that has lost it with its keys; none where nothing of it may go any more.
fn refer_again(node: &Node, found: &Found, one: &Returning) -> Result<Option<Told>, MoveError> {
    let (seen, Some(said)) = (&found.seen, &found.said) else {
        return Ok(None);
    };
    let Some(keys) = seen.keys(node)? else {
        return Ok(None);
    };
    let body = match said.body(&keys) {
        Ok(body) => body,
        Err(OutboxError::Content(ContentError::Erased)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(Body::Referral(referral)) = &body.body else {
        return Ok(None);
    };
    let declared = referral.parts.iter();
    let categories: CategorySet = declared
        .filter_map(|part| Category::try_from(part.category).ok())
        .collect();
    let permitted = seen.permits(node, EnvelopeKind::Referral, categories, node.now_ms());
    if let Err(refusal) = permitted {
        tracing::warn!(problem = refusal.code(), "a referral is not sent again");
        return Ok(None);
    }
    let draft = Draft {
        envelope_id: envelope_id(LABEL_AGAIN, &one.restore_id, &seen.thread.thread_id),
        to: &seen.thread.peer,
        kind: EnvelopeKind::Referral,
        thread_id: seen.thread.thread_id,
        slip: &seen.slip.signed,
        slip_id: seen.slip.slip_id,
        categories,
        body: &body,
        at_ms: node.now_ms(),
    };
    let outgoing = outbox::seal(node, &draft, Some(&keys))?;
    Ok(Some(Told {
        outgoing,
        words: None,
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
        events: newest.map(|event| wire_event(event, String::new())).collect(),
        cut: seen.thread.situation.consent != Consent::Live,
        narrowed: narrowed(node, seen)?,
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

/// What was taken back of the categories that a slip of this node's own allows: its holding has no key for them. The WITHDRAWAL that says so
/// goes outside the order, and may come after this.
fn narrowed(node: &Node, seen: &Seen) -> Result<Vec<i32>, MoveError> {
    let Some(keys) = seen.keys(node)?.filter(|_| seen.thread.side == Side::Sent) else {
        return Ok(Vec::new());
    };
    let allowed = seen.terms.terms(false).allowed();
    let gone = allowed
        .iter()
        .filter(|category| !keys.has(Section::Category(*category)));
    Ok(gone.map(Category::number).collect())
}

/// One transaction: the envelope is queued, and the thread is behind the place that was reached.
async fn write(
    node: &Node,
    (one, thread_id): (&Returning, &ThreadId),
    told: &[Told],
    now_ms: i64,
) -> Result<(), StoreError> {
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if !store::returning::go_on(&mut tx, one, thread_id).await? {
            return Ok(());
        }
        for told in told {
            told.write(&mut tx, &mut counter).await?;
            audit::insert(&mut tx, &mut counter, &node.rng, &[told.trail(now_ms)]).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx("return thread", write).await
}

/// The same however often a thread is returned for one restore.
fn envelope_id(label: &[u8], restore_id: &[u8; 16], thread_id: &ThreadId) -> EnvelopeId {
    let hash = sha256(&[label, restore_id, thread_id.as_bytes()]);
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    EnvelopeId::from_bytes(id)
}
