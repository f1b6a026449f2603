//! What has fallen due: threads, grants, slips, outbox rows, and rows that nobody needs any more. Called by `timers`.
//! Never finds more than a chunk at once, never deletes a row inside its window.

use kith_proto::id::{EnvelopeId, GrantId, HoldingId, SlipId, ThreadId};
use kith_proto::words::EnvelopeKind;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::{id, word};

const OVERDUE: &str = "SELECT thread_id FROM referral WHERE state IN ('sent', 'received', 'acknowledged', 'info_requested', \
     'waitlisted', 'accepted', 'handoff_planned', 'no_show', 'in_progress', 'cancel_requested') \
     AND side = 'sent' AND deadline_ms <= $1 AND updated_at_ms >= \
     (SELECT COALESCE(MAX(done_at_ms), 0) FROM restore WHERE done_at_ms > $2) ORDER BY deadline_ms, thread_id LIMIT $3";

/// Open threads that this node sent and whose deadline was at or before `due_ms`, longest due first. Where this node came back from a
/// backup after `restored_ms`, only those that have moved since: of the others the answer may be among what was lost.
pub async fn overdue(
    tx: &mut Tx,
    (due_ms, restored_ms): (i64, i64),
    limit: i64,
) -> Result<Vec<ThreadId>, StoreError> {
    let asked = query(OVERDUE).bind(due_ms).bind(restored_ms).bind(limit);
    let rows = tx.all(asked).await?;
    rows.iter().map(|row| id(row, "referral", "thread_id")).collect()
}

const GRANTS_OVER: &str = "SELECT grant_id FROM grant_record WHERE state = 'live' AND expires_at_ms <= $1 \
     ORDER BY expires_at_ms, grant_id LIMIT $2";

/// Live grants whose time is over.
pub async fn grants_over(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<GrantId>, StoreError> {
    let rows = tx.all(query(GRANTS_OVER).bind(now_ms).bind(limit)).await?;
    rows.iter()
        .map(|row| id(row, "grant_record", "grant_id"))
        .collect()
}

const END_GRANT: &str =
    "UPDATE grant_record SET state = 'expired', ended_at_ms = $1 WHERE grant_id = $2 AND state = 'live'";

/// Marks a grant as expired; says whether it was live until now.
pub async fn end_grant(tx: &mut Tx, grant_id: &GrantId, now_ms: i64) -> Result<bool, StoreError> {
    let asked = query(END_GRANT).bind(now_ms).bind(grant_id.as_bytes().to_vec());
    Ok(tx.run(asked).await? == 1)
}

const SLIPS_OVER: &str = "SELECT slip_id FROM slip WHERE state = 'live' AND expires_at_ms <= $1 \
     ORDER BY expires_at_ms, slip_id LIMIT $2";

/// Live slips of either side whose time is over.
pub async fn slips_over(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<SlipId>, StoreError> {
    let rows = tx.all(query(SLIPS_OVER).bind(now_ms).bind(limit)).await?;
    rows.iter().map(|row| id(row, "slip", "slip_id")).collect()
}

const END_SLIP: &str = "UPDATE slip SET state = 'expired' WHERE slip_id = $1 AND state = 'live'";

/// Marks a slip as expired; says whether it was live until now. It has not ended while its content is still held.
pub async fn end_slip(tx: &mut Tx, slip_id: &SlipId) -> Result<bool, StoreError> {
    Ok(tx.run(query(END_SLIP).bind(slip_id.as_bytes().to_vec())).await? == 1)
}

const SLIPS_TO_CUT: &str = "SELECT slip_id, holding_id FROM slip WHERE state = 'expired' AND expires_at_ms <= $1 \
     AND ended_at_ms IS NULL ORDER BY expires_at_ms, slip_id LIMIT $2";

/// An expired slip with what is held under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToCut {
    /// The slip.
    pub slip_id: SlipId,
    /// Its holding.
    pub holding_id: HoldingId,
}

/// Expired slips whose notice is over and whose content is still held.
pub async fn slips_to_cut(tx: &mut Tx, expired_by_ms: i64, limit: i64) -> Result<Vec<ToCut>, StoreError> {
    let rows = tx
        .all(query(SLIPS_TO_CUT).bind(expired_by_ms).bind(limit))
        .await?;
    let cut = |row: &Row| {
        Ok(ToCut {
            slip_id: id(row, "slip", "slip_id")?,
            holding_id: id(row, "slip", "holding_id")?,
        })
    };
    rows.iter().map(cut).collect()
}

const CUT_SLIP: &str =
    "UPDATE slip SET ended_at_ms = $1 WHERE slip_id = $2 AND state = 'expired' AND ended_at_ms IS NULL";

/// Marks an expired slip as ended; says whether it was not until now.
pub async fn cut_slip(tx: &mut Tx, slip_id: &SlipId, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx
        .run(query(CUT_SLIP).bind(now_ms).bind(slip_id.as_bytes().to_vec()))
        .await?
        == 1)
}

/// A queued envelope that nobody will take any more.
pub struct Stale {
    /// Its place.
    pub seq: i64,
    /// What it carries.
    pub kind: EnvelopeKind,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Its envelope.
    pub envelope_id: EnvelopeId,
}

const STALE: &str = "SELECT seq, kind, thread_id, envelope_id FROM outbox WHERE state = 'queued' AND expires_at_ms <= $1 \
     ORDER BY seq LIMIT $2";

/// Queued envelopes whose own expiry has passed.
pub async fn stale(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<Stale>, StoreError> {
    let rows = tx.all(query(STALE).bind(now_ms).bind(limit)).await?;
    let stale = |row: &Row| {
        Ok(Stale {
            seq: column(row, "outbox", "seq")?,
            kind: word(row, "outbox", "kind")?,
            thread_id: id(row, "outbox", "thread_id")?,
            envelope_id: id(row, "outbox", "envelope_id")?,
        })
    };
    rows.iter().map(stale).collect()
}

const GIVE_UP: &str =
    "UPDATE outbox SET state = 'refused', problem = 'deadline_exceeded' WHERE seq = $1 AND state = 'queued'";
const FORGET_ENVELOPE: &str = "DELETE FROM outbox_envelope WHERE seq = $1";

/// Gives a queued envelope up and erases its bytes; says whether it was still queued.
pub async fn give_up(tx: &mut Tx, seq: i64) -> Result<bool, StoreError> {
    if tx.run(query(GIVE_UP).bind(seq)).await? == 0 {
        return Ok(false);
    }
    tx.run(query(FORGET_ENVELOPE).bind(seq)).await?;
    Ok(true)
}

const UNDELIVERED: &str = "UPDATE referral SET delivery = 'undelivered', problem = 'deadline_exceeded', changed = $1 \
     WHERE thread_id = $2 AND delivery = 'queued'";

/// Marks a referral that never left as undelivered; says whether it was still waiting.
pub async fn undelivered(tx: &mut Tx, thread_id: &ThreadId, changed: i64) -> Result<bool, StoreError> {
    let asked = query(UNDELIVERED)
        .bind(changed)
        .bind(thread_id.as_bytes().to_vec());
    Ok(tx.run(asked).await? == 1)
}

const REQUESTS: &str = "DELETE FROM request WHERE at_ms < $1";
const RECEIVED: &str = "DELETE FROM received WHERE at_ms < $1";
const OPENINGS: &str = "DELETE FROM opening WHERE at_ms < $1";
const SESSIONS: &str = "DELETE FROM session WHERE seen_at_ms < $1";
const DRAFTS: &str = "DELETE FROM draft WHERE changed_at_ms < $1";
const LINKS: &str = "DELETE FROM sign_in_link WHERE expires_at_ms < $1";
const SENT_BYTES: &str = "DELETE FROM outbox_envelope WHERE seq IN (SELECT seq FROM outbox \
     WHERE state <> 'queued' AND COALESCE(taken_at_ms, at_ms) < $1)";
const SENT: &str = "DELETE FROM outbox WHERE state <> 'queued' AND (ordered = 0 OR number > 0) \
     AND COALESCE(taken_at_ms, at_ms) < $1";

/// What is kept until when: rows from before are deleted.
#[derive(Clone, Copy, Debug)]
pub struct KeptFrom {
    /// First answers to writes.
    pub requests_ms: i64,
    /// Ids of received envelopes.
    pub received_ms: i64,
    /// Envelopes that have their answer.
    pub outbox_ms: i64,
    /// Their lines: numbers and hashes without bytes.
    pub lines_ms: i64,
    /// Sessions that were in use.
    pub sessions_ms: i64,
    /// Referrals that somebody began to make.
    pub drafts_ms: i64,
    /// Links that sign somebody in.
    pub links_ms: i64,
    /// Openings that would still save a second audit event.
    pub openings_ms: i64,
}

/// Deletes what is past its window; says how many rows. A line that the gateway has yet to number is kept.
pub async fn prune(tx: &mut Tx, kept: KeptFrom) -> Result<u64, StoreError> {
    let mut pruned = 0;
    for (text, from_ms) in [
        (REQUESTS, kept.requests_ms),
        (RECEIVED, kept.received_ms),
        (OPENINGS, kept.openings_ms),
        (SESSIONS, kept.sessions_ms),
        (DRAFTS, kept.drafts_ms),
        (LINKS, kept.links_ms),
        (SENT_BYTES, kept.outbox_ms),
        (SENT, kept.lines_ms),
    ] {
        pruned += tx.run(query(text).bind(from_ms)).await?;
    }
    Ok(pruned)
}

const UNREACHED: &str = "SELECT slip_id FROM slip WHERE withdrawal_id IS NOT NULL AND withdrawal_reached_at_ms IS NULL \
     AND side = 'captured' AND expires_at_ms > $1 AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.slip_id = slip.slip_id \
     AND outbox.kind = 'withdrawal' AND outbox.state IN ('queued', 'taken')) ORDER BY slip_id LIMIT $2";

/// Slips captured here, not over since `over_ms`, whose withdrawal was neither received nor is on its way.
pub async fn unreached(tx: &mut Tx, over_ms: i64, limit: i64) -> Result<Vec<SlipId>, StoreError> {
    let rows = tx.all(query(UNREACHED).bind(over_ms).bind(limit)).await?;
    rows.iter().map(|row| id(row, "slip", "slip_id")).collect()
}

const LAST: &str = "SELECT at_ms FROM timer WHERE name = $1";

/// When a slow timer last ran; none before its first time.
pub async fn last(tx: &mut Tx, name: &'static str) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(LAST).bind(name)).await?;
    row.map(|row| column(&row, "timer", "at_ms")).transpose()
}

const RAN: &str =
    "INSERT INTO timer (name, at_ms) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms";

/// Notes that a slow timer has run.
pub async fn ran(tx: &mut Tx, name: &'static str, now_ms: i64) -> Result<(), StoreError> {
    tx.run(query(RAN).bind(name).bind(now_ms)).await.map(drop)
}
