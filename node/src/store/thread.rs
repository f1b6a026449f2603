//! The moving part of threads: loaded, changed by compare-and-swap, their events written, many at once.
//! Called inside the transactions of receiving, settling, moves, withdrawals and timers, after the counters were locked.
//! Never inserts a thread (see `referral`), never changes a row that moved since it was read.

use kith_proto::id::{EventId, OrgId, SlipId, ThreadId};
use kith_proto::lifecycle::{Reason, Situation};
use kith_service::store::{InList, Insert, Row, StoreError, Tx, WithRows, column};

use super::{id, stored, word, word_or_null};
use crate::threads::{Before, EventRow, Thread};

const TABLE: &str = "referral";

static BY_ID: InList = InList::new(
    "SELECT thread_id, side, peer, slip_id, state, came_from, expired_from, consent, delivery, problem, epoch, number, \
     deadline_ms, updated_at_ms FROM referral WHERE thread_id IN",
    0,
    "",
);
static BY_SLIP: InList = InList::new(
    "SELECT thread_id, side, peer, slip_id, state, came_from, expired_from, consent, delivery, problem, epoch, number, \
     deadline_ms, updated_at_ms FROM referral WHERE slip_id IN",
    0,
    "",
);

/// The threads with these ids, in no order; unknown ids are left out.
pub async fn by_id(tx: &mut Tx, ids: &[ThreadId]) -> Result<Vec<Thread>, StoreError> {
    let rows = BY_ID
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(thread).collect()
}

/// Every thread under these slips, in no order.
pub async fn by_slip(tx: &mut Tx, slips: &[SlipId]) -> Result<Vec<Thread>, StoreError> {
    let rows = BY_SLIP
        .all(tx, slips, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(thread).collect()
}

/// A thread to write over the row that still stands as `before` says, at a place in the order of changes.
#[derive(Clone, Debug)]
pub struct Update {
    /// What must still be stored.
    pub before: Before,
    /// What is written.
    pub thread: Thread,
    /// Its place in the order of changes.
    pub changed: i64,
}

static UPDATE: WithRows = WithRows::new(
    "WITH v(thread_id, old_state, old_consent, old_number, state, came_from, expired_from, consent, delivery, problem, \
     epoch, number, deadline_ms, updated_at_ms, changed) AS (VALUES",
    15,
    "UPDATE referral SET state = v.state, came_from = v.came_from, expired_from = v.expired_from, consent = v.consent, \
     delivery = v.delivery, problem = v.problem, epoch = v.epoch, number = v.number, deadline_ms = v.deadline_ms, \
     updated_at_ms = v.updated_at_ms, changed = v.changed FROM v WHERE referral.thread_id = v.thread_id AND \
     referral.state = v.old_state AND referral.consent = v.old_consent AND referral.number = v.old_number",
);

/// Writes changed threads, each at most once in `updates`, and says how many rows still stood as expected. Under the
/// counters' lock that is all of them; a caller that read before the lock must compare.
pub async fn update(tx: &mut Tx, updates: &[Update]) -> Result<u64, StoreError> {
    UPDATE
        .run(tx, updates, |q, update| {
            let (thread, now) = (&update.thread, update.thread.situation);
            q.bind(thread.thread_id.as_bytes().to_vec())
                .bind(update.before.state.as_str())
                .bind(update.before.consent.as_str())
                .bind(stored(update.before.number))
                .bind(now.state.as_str())
                .bind(now.came_from.map(|s| s.as_str()))
                .bind(now.expired_from.map(|s| s.as_str()))
                .bind(now.consent.as_str())
                .bind(thread.delivery.as_str())
                .bind(thread.problem.map(|p| p.as_str()))
                .bind(stored(thread.epoch))
                .bind(stored(thread.number))
                .bind(thread.deadline_ms)
                .bind(thread.updated_at_ms)
                .bind(update.changed)
        })
        .await
}

static TAKEN: WithRows = WithRows::new(
    "WITH v(thread_id, changed) AS (VALUES",
    2,
    "UPDATE referral SET delivery = 'taken', changed = v.changed FROM v WHERE referral.thread_id = v.thread_id AND \
     referral.delivery = 'queued'",
);

/// The gateway took the referrals of these threads; each gets its place in the order of changes.
pub async fn taken(tx: &mut Tx, threads: &[(ThreadId, i64)]) -> Result<(), StoreError> {
    let taken = TAKEN.run(tx, threads, |q, (id, changed)| {
        q.bind(id.as_bytes().to_vec()).bind(*changed)
    });
    taken.await.map(drop)
}

static WORD_CAME: WithRows = WithRows::new(
    "WITH v(thread_id, changed) AS (VALUES",
    2,
    "UPDATE referral SET awaits_word = 0, changed = v.changed FROM v WHERE referral.thread_id = v.thread_id AND \
     referral.awaits_word = 1",
);

/// The member that captured the consent of these threads has said that it stands; each gets its place in the order of changes. Says how many
/// had waited for that.
pub async fn word_came(tx: &mut Tx, threads: &[(ThreadId, i64)]) -> Result<u64, StoreError> {
    WORD_CAME
        .run(tx, threads, |q, (id, changed)| {
            q.bind(id.as_bytes().to_vec()).bind(*changed)
        })
        .await
}

static PUT_EVENTS: Insert = Insert::into(
    "INSERT INTO event (thread_id, event_id, epoch, number, move, state, reason, party, late, provisional, \
     happened_at_ms, deadline_ms, words_id)",
    13,
    "ON CONFLICT (thread_id, event_id) DO UPDATE SET epoch = excluded.epoch, number = excluded.number, \
     state = excluded.state, reason = excluded.reason, party = excluded.party, late = excluded.late, \
     provisional = excluded.provisional, happened_at_ms = excluded.happened_at_ms, deadline_ms = excluded.deadline_ms, \
     words_id = COALESCE(excluded.words_id, event.words_id) WHERE event.provisional = 1",
);

/// Writes events, no two of one id; the writer's numbered event takes the place of the proposal with its id, and of
/// nothing else.
pub async fn put_events(tx: &mut Tx, events: &[EventRow]) -> Result<(), StoreError> {
    let put = PUT_EVENTS.rows(tx, events, |q, event| {
        q.bind(event.thread_id.as_bytes().to_vec())
            .bind(event.event_id.as_bytes().to_vec())
            .bind(stored(event.epoch))
            .bind(stored(event.number))
            .bind(event.mv.as_str())
            .bind(event.state.as_str())
            .bind(event.reason.map(Reason::as_str))
            .bind(event.party.as_str())
            .bind(i64::from(event.late))
            .bind(i64::from(event.provisional))
            .bind(event.happened_at_ms)
            .bind(event.deadline_ms)
            .bind(event.words_id.map(|id| id.to_vec()))
    });
    put.await.map(drop)
}

static CONFIRM: WithRows = WithRows::new(
    "WITH v(thread_id, event_id) AS (VALUES",
    2,
    "UPDATE event SET provisional = 0 FROM v WHERE event.thread_id = v.thread_id AND event.event_id = v.event_id \
     AND event.provisional = 1 AND event.number > 0",
);

/// The gateway has taken the envelopes of these events: those that this node numbered count. What a sender's node made or
/// proposed waits for its number.
pub async fn confirm_events(tx: &mut Tx, events: &[(ThreadId, EventId)]) -> Result<(), StoreError> {
    let run = CONFIRM.run(tx, events, |q, (thread_id, event_id)| {
        q.bind(thread_id.as_bytes().to_vec())
            .bind(event_id.as_bytes().to_vec())
    });
    run.await.map(drop)
}

fn thread(row: &Row) -> Result<Thread, StoreError> {
    Ok(Thread {
        thread_id: id(row, TABLE, "thread_id")?,
        side: word(row, TABLE, "side")?,
        peer: word::<OrgId>(row, TABLE, "peer")?,
        slip_id: id(row, TABLE, "slip_id")?,
        situation: Situation {
            state: word(row, TABLE, "state")?,
            came_from: word_or_null(row, TABLE, "came_from")?,
            expired_from: word_or_null(row, TABLE, "expired_from")?,
            consent: word(row, TABLE, "consent")?,
        },
        delivery: word(row, TABLE, "delivery")?,
        problem: word_or_null(row, TABLE, "problem")?,
        epoch: number(row, "epoch")?,
        number: number(row, "number")?,
        deadline_ms: column(row, TABLE, "deadline_ms")?,
        updated_at_ms: column(row, TABLE, "updated_at_ms")?,
    })
}

fn number(row: &Row, name: &'static str) -> Result<u64, StoreError> {
    let found: i64 = column(row, TABLE, name)?;
    u64::try_from(found).map_err(|_| StoreError::Corrupt {
        table: TABLE,
        column: name,
    })
}
