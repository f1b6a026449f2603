//! Rows of `returning_to`: members that came back from a backup, and how far the standing of their threads was returned to them.
//! Called by `returning`; the rows are put in when the gateway says that a member came back.
//! Never goes back in the threads of one member.

use kith_proto::id::{EnvelopeId, OrgId, ThreadId};
use kith_proto::lifecycle::State;
use kith_proto::words::Purpose;
use kith_service::store::{InList, Row, StoreError, Tx, bytes, column, query};

use super::{id, word};
use crate::restore::RETURNED_MS_MAX;

const TABLE: &str = "returning_to";

/// A member that came back, to whom threads are still to be returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// The member.
    pub peer: OrgId,
    /// Its restore.
    pub restore_id: [u8; 16],
    /// Up to which time its backup reaches.
    pub since_ms: i64,
    /// The last thread that was returned; empty before the first.
    pub after: Vec<u8>,
}

impl Returning {
    /// Whether the member has nothing left, neither mail nor keys.
    pub const fn is_from_nothing(&self) -> bool {
        self.since_ms <= 0
    }
}

const ALL: &str = "SELECT peer, restore_id, since_ms, after_thread FROM returning_to WHERE done_at_ms IS NULL \
     ORDER BY asked_at_ms, peer, restore_id LIMIT 1000";

/// Every one, the oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<Returning>, StoreError> {
    let read = |row: &Row| {
        Ok(Returning {
            peer: word(row, TABLE, "peer")?,
            restore_id: bytes(row, TABLE, "restore_id")?,
            since_ms: column(row, TABLE, "since_ms")?,
            after: column(row, TABLE, "after_thread")?,
        })
    };
    tx.all(query(ALL)).await?.iter().map(read).collect()
}

macro_rules! threads {
    ($or:literal) => {
        concat!(
            "SELECT thread_id FROM referral WHERE peer = $1 AND thread_id > $2 AND (state NOT IN ('completed', ",
            "'not_completed', 'declined', 'forwarded', 'cancelled', 'withdrawn', 'expired', 'entered_in_error')",
            $or,
            ") ORDER BY thread_id LIMIT $3"
        )
    };
}

const OPEN: &str = threads!("");
const THREADS: &str = threads!(
    " OR updated_at_ms >= $4 OR EXISTS (SELECT 1 FROM slip WHERE slip.slip_id = referral.slip_id AND slip.side = 'captured' \
     AND (referral.consent = 'live' OR slip.ended_at_ms >= $5))"
);

/// Threads with it that are open or changed since its backup, by id, after the last that was returned; and those whose consent was
/// captured here and still stands, or has ended since a mailbox window before the backup, as it opens none of them without this word. Of a
/// member with nothing left those that are open: what is over is of no more use to it.
pub async fn threads(tx: &mut Tx, one: &Returning, limit: i64) -> Result<Vec<ThreadId>, StoreError> {
    let text = if one.is_from_nothing() { OPEN } else { THREADS };
    let asked = query(text)
        .bind(one.peer.to_string())
        .bind(one.after.clone())
        .bind(limit);
    let asked = if one.is_from_nothing() {
        asked
    } else {
        asked
            .bind(one.since_ms)
            .bind(one.since_ms.saturating_sub(RETURNED_MS_MAX))
    };
    let rows = tx.all(asked).await?;
    rows.iter().map(|row| id(row, "referral", "thread_id")).collect()
}

const AFTER: &str =
    "UPDATE returning_to SET after_thread = $1 WHERE peer = $2 AND restore_id = $3 AND after_thread < $1";

/// Notes the last thread that was returned; says whether it lies further on than the one before.
pub async fn go_on(tx: &mut Tx, one: &Returning, thread_id: &ThreadId) -> Result<bool, StoreError> {
    let moved = query(AFTER)
        .bind(thread_id.as_bytes().to_vec())
        .bind(one.peer.to_string())
        .bind(one.restore_id.to_vec());
    Ok(tx.run(moved).await? == 1)
}

const DONE: &str = "UPDATE returning_to SET done_at_ms = $3 WHERE peer = $1 AND restore_id = $2";

/// Everything was returned. The row stays: the same re-offer may be told again.
pub async fn done(tx: &mut Tx, one: &Returning, now_ms: i64) -> Result<(), StoreError> {
    let done = query(DONE)
        .bind(one.peer.to_string())
        .bind(one.restore_id.to_vec())
        .bind(now_ms);
    tx.run(done).await.map(drop)
}

const RESTORES: &str = "SELECT restore_id FROM returning_to WHERE peer = $1";

/// Every restore of a member that was noted.
pub async fn restores_of(tx: &mut Tx, peer: &OrgId) -> Result<Vec<[u8; 16]>, StoreError> {
    let rows = tx.all(query(RESTORES).bind(peer.to_string())).await?;
    rows.iter().map(|row| bytes(row, TABLE, "restore_id")).collect()
}

static QUEUED: InList = InList::new("SELECT envelope_id FROM outbox WHERE envelope_id IN", 0, "");

/// Whether an envelope stands in the outbox, whatever became of it.
pub async fn is_queued(tx: &mut Tx, envelope_id: &EnvelopeId) -> Result<bool, StoreError> {
    let ids = [*envelope_id.as_bytes()];
    let rows = QUEUED.all(tx, &ids, |q| q, |q, id| q.bind(id.to_vec())).await?;
    Ok(!rows.is_empty())
}

/// What goes back of a thread beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it was shared.
    pub purpose: Purpose,
    /// When the referral was made.
    pub created_at_ms: i64,
    /// When an answer is wanted; 0 when nobody chose.
    pub answer_by_ms: i64,
    /// Where a refused cancel goes back to.
    pub came_from: Option<State>,
}

const STANDING: &str =
    "SELECT purpose, created_at_ms, answer_by_ms, came_from FROM referral WHERE thread_id = $1";

/// What goes back of one thread.
pub async fn standing(tx: &mut Tx, thread_id: &ThreadId) -> Result<Option<Standing>, StoreError> {
    let row = tx
        .one(query(STANDING).bind(thread_id.as_bytes().to_vec()))
        .await?;
    let read = |row: Row| {
        Ok(Standing {
            purpose: word(&row, "referral", "purpose")?,
            created_at_ms: column(&row, "referral", "created_at_ms")?,
            answer_by_ms: column(&row, "referral", "answer_by_ms")?,
            came_from: super::word_or_null(&row, "referral", "came_from")?,
        })
    };
    row.map(read).transpose()
}

const NUMBERS: &str =
    "SELECT event_id, epoch, number, provisional FROM event WHERE thread_id = $1 LIMIT 100000";

/// An event that is held, by its place in the writer's order; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The event.
    pub event_id: [u8; 16],
    /// The writer's epoch.
    pub epoch: u64,
    /// The writer's number.
    pub number: u64,
    /// Whether the writer has yet to number it, or the gateway to take it.
    pub provisional: bool,
}

/// Which events of a thread are held.
pub async fn places(tx: &mut Tx, thread_id: &ThreadId) -> Result<Vec<Place>, StoreError> {
    let read = |row: &Row| {
        let number = |name| column::<i64>(row, "event", name);
        Ok(Place {
            event_id: bytes(row, "event", "event_id")?,
            epoch: number("epoch")?.unsigned_abs(),
            number: number("number")?.unsigned_abs(),
            provisional: number("provisional")? != 0,
        })
    };
    let rows = tx.all(query(NUMBERS).bind(thread_id.as_bytes().to_vec())).await?;
    rows.iter().map(read).collect()
}
