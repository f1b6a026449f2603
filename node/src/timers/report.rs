//! Reports of openings: once a day is over, the member that captured a consent is told who opened what was shared under it.
//! Called by each tick. Never says an opening twice: its row goes in the transaction that queues the report.
//!
//! | the slip, and its other party | what becomes of the rows |
//! |---|---|
//! | live, a member | one report, or several of a day with many openings |
//! | live, suspended or no member, or without keys that count | they wait |
//! | over or withdrawn | they are dropped: nothing goes under it any more |

use kith_proto::id::EnvelopeId;
use kith_proto::permits::{CategorySet, Refusal};
use kith_proto::sign::sha256;
use kith_proto::v1::body::Body;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use super::{CHUNK, TimerError};
use crate::access::{OPENINGS_MAX, Report};
use crate::audit;
use crate::moves::MoveError;
use crate::moves::look::{Seen, look_at};
use crate::moves::told::{self, EnvelopeHead, Told};
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::store;
use crate::store::counter::Counter;
use crate::store::opening::{SlipDay, ToReport};
use crate::threads::DAY_MS;

/// In front of what the envelopes' ids are derived from.
const LABEL: &[u8] = b"kith/node/access-report\0";

/// Reports every day that is over, and says how many reports were queued.
pub(super) async fn openings(node: &Node, now_ms: i64) -> Result<u64, TimerError> {
    let begun_by_ms = now_ms.saturating_sub(DAY_MS);
    let mut last: Option<SlipDay> = None;
    let mut queued = 0;
    loop {
        let after = last.as_ref();
        let find = |mut tx: Tx| async move { store::opening::due(&mut tx, begun_by_ms, after, CHUNK).await };
        let due: Vec<SlipDay> = node
            .store
            .read::<_, StoreError, _, _>("openings to report", find)
            .await?;
        for of in &due {
            queued += report(node, of, now_ms).await?;
        }
        last = match due.last() {
            Some(last) => Some(*last),
            None => break,
        };
    }
    if queued > 0 {
        node.outbox_ready.notify_one();
    }
    Ok(queued)
}

/// What is read of one report before it is sealed.
struct Found {
    rows: Vec<ToReport>,
    /// The first row's thread, on which the report goes; none where it is gone.
    seen: Option<Seen>,
    envelope_id: EnvelopeId,
}

/// What is to become of rows.
enum Fate {
    Told(Box<Told>),
    Wait,
    Drop,
}

/// Reports one day of one slip, and says in how many reports.
async fn report(node: &Node, of: &SlipDay, now_ms: i64) -> Result<u64, TimerError> {
    let mut queued = 0;
    loop {
        let look = |mut tx: Tx| async move { look(&mut tx, of).await };
        let found = node
            .store
            .read::<_, StoreError, _, _>("look at openings", look)
            .await?;
        let Some(found) = found else {
            return Ok(queued);
        };
        let told = match fate(node, of, &found, now_ms)? {
            Fate::Told(told) => told,
            Fate::Wait => return Ok(queued),
            Fate::Drop => {
                let drop = |mut tx: Tx| async move { store::opening::forget(&mut tx, &of.slip_id).await };
                node.store.tx("drop openings", drop).await?;
                return Ok(queued);
            }
        };
        let (found, told) = (&found, &*told);
        let write = |mut tx: Tx| async move { write(&mut tx, node, of, (found, told), now_ms).await };
        // What was overtaken is looked at again with the next tick.
        if !node.store.tx("report openings", write).await? {
            return Ok(queued);
        }
        queued += 1;
    }
}

async fn look(tx: &mut Tx, of: &SlipDay) -> Result<Option<Found>, StoreError> {
    let rows = store::opening::of_day(tx, of, OPENINGS_MAX).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let seen = look_at(tx, &first.thread_id).await?;
    // The first part of this day that did not go out yet.
    let mut part = 0;
    while store::returning::is_queued(tx, &envelope_id(of, part)).await? {
        part += 1;
    }
    Ok(Some(Found {
        seen,
        rows,
        envelope_id: envelope_id(of, part),
    }))
}

fn fate(node: &Node, of: &SlipDay, found: &Found, now_ms: i64) -> Result<Fate, TimerError> {
    let Some(seen) = &found.seen else {
        return Ok(Fate::Drop);
    };
    match seen.permits(node, EnvelopeKind::AccessReport, CategorySet::EMPTY, now_ms) {
        Ok(()) => {}
        Err(Refusal::MemberSuspended | Refusal::NotAMember) => return Ok(Fate::Wait),
        Err(_) => return Ok(Fate::Drop),
    }
    let mut openings: Vec<_> = found.rows.iter().map(|row| row.opening).collect();
    // In the order of the day; that of the rows' random ids says nothing.
    openings.sort_by_key(|one| one.hour);
    let report = Report {
        day_ms: of.day_ms,
        openings,
    };
    let head = EnvelopeHead {
        envelope_id: found.envelope_id,
        kind: EnvelopeKind::AccessReport,
        categories: CategorySet::EMPTY,
    };
    match told::seal(node, seen, head, Body::AccessReport(report.wire()), None) {
        Ok(told) => Ok(Fate::Told(Box::new(told))),
        Err(MoveError::Outbox(OutboxError::NotAMember | OutboxError::NotLogged(_))) => Ok(Fate::Wait),
        Err(error) => Err(error.into()),
    }
}

/// One transaction: the report is queued, and what it tells is told. Says whether everything still stood as it was seen.
async fn write(
    tx: &mut Tx,
    node: &Node,
    of: &SlipDay,
    (found, told): (&Found, &Told),
    now_ms: i64,
) -> Result<bool, StoreError> {
    let mut counter = Counter::lock(tx).await?;
    let rows = store::opening::of_day(tx, of, OPENINGS_MAX).await?;
    let stands = match &found.seen {
        Some(seen) => seen.still_stands(tx, true).await?,
        None => false,
    };
    if !stands || rows != found.rows {
        return Ok(false);
    }
    store::opening::done(tx, of, &rows).await?;
    told.write(tx, &mut counter).await?;
    audit::insert(tx, &mut counter, &node.rng, &[told.trail(now_ms)]).await?;
    counter.save(tx).await?;
    Ok(true)
}

/// The same for the same part of a day: a node that came back from a backup tells nothing a second time that the backup had still to tell.
fn envelope_id(of: &SlipDay, part: i64) -> EnvelopeId {
    let slip_id = of.slip_id.as_bytes();
    let hash = sha256(&[LABEL, slip_id, &of.day_ms.to_be_bytes(), &part.to_be_bytes()]);
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    EnvelopeId::from_bytes(id)
}
