//! What comes as notices and may come twice: recipients' receipts, drops, stops; and what this node gave up. Called inside the `settle` transaction.
//! Never lets a word about an envelope count that names another hash, or comes from another member than its recipient.

use std::collections::BTreeMap;

use kith_proto::id::{EnvelopeId, EventId, OrgId, SlipId, ThreadId};
use kith_proto::lifecycle::{Delivery, Move, Party, Reason, Refused};
use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use super::{DroppedNotice, GivenUp, Receipts, Stopped, Work, distinct};
use crate::audit::{Code, Event};
use crate::cut;
use crate::returning;
use crate::store::outgoing::{Ended, Sent};
use crate::store::{self, slip_link, withdrawals};
use crate::thread_set::ThreadSet;
use crate::threads::{Numbered, Side, Step, receive_step};

/// Recipients took or refused envelopes.
pub(super) async fn received(tx: &mut Tx, work: &mut Work, receipts: &[&Receipts]) -> Result<(), StoreError> {
    let ids = distinct(
        receipts
            .iter()
            .flat_map(|r| r.envelopes.iter().map(|(id, ..)| *id)),
    );
    let mut rows = open_rows(tx, work, &ids).await?;
    let mut ended = Vec::new();
    for one in receipts {
        for (id, hash, problem) in &one.envelopes {
            let ours = |row: &Sent| row.envelope_hash == *hash && row.peer == one.peer;
            let Some(row) = rows.remove(id).filter(ours) else {
                continue;
            };
            ended.push(Ended {
                seq: row.seq,
                problem: *problem,
                forget: row.answered,
            });
            work.trail
                .push(trail(Code::EnvelopeDelivered, &row, *problem, one.received_at_ms));
            receive(tx, &mut work.threads, &row, *problem, one.received_at_ms).await?;
        }
    }
    store::outgoing::end(tx, &ended).await
}

/// What one receipt means for the thread or the slip.
async fn receive(
    tx: &mut Tx,
    threads: &mut ThreadSet,
    row: &Sent,
    problem: Option<Problem>,
    at_ms: i64,
) -> Result<(), StoreError> {
    match (row.kind, problem) {
        (EnvelopeKind::Referral, None) => {
            threads.set(&row.thread_id, |thread| thread.delivery = Delivery::Delivered);
            let step = receive_step(&row.thread_id, Side::Sent, at_ms);
            settled(threads.step(&row.thread_id, &step));
        }
        (EnvelopeKind::Referral, Some(problem)) => {
            undelivered(threads, &row.thread_id, problem, at_ms, &row.envelope_id);
        }
        (EnvelopeKind::Withdrawal, None) => {
            let slips: Vec<SlipId> = row.slip_id.into_iter().collect();
            slip_link::withdrawal_reached(tx, &slips, at_ms).await?;
        }
        // A withdrawal that was refused has reached nobody: the timers send it again.
        (EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof, Some(_)) | (_, None) => {}
        (kind, Some(problem)) => {
            let of = (&row.peer, &row.thread_id, &row.envelope_id);
            has_problem(tx, threads, (kind, of), problem).await?;
        }
    }
    Ok(())
}

/// The thread keeps why something of it did not arrive. Not so of one that was returned to a member that came back: nobody said anything
/// new in it, and that member asks again where it still lacks it. Nor of a report of openings, which is of no thread's concern: a member
/// with an earlier version of this program refuses each.
pub(super) async fn has_problem(
    tx: &mut Tx,
    threads: &mut ThreadSet,
    (kind, (peer, thread_id, envelope_id)): (EnvelopeKind, (&OrgId, &ThreadId, &EnvelopeId)),
    problem: Problem,
) -> Result<(), StoreError> {
    if kind == EnvelopeKind::AccessReport {
        return Ok(());
    }
    let restores = store::returning::restores_of(tx, peer).await?;
    if !returning::is_returned(&restores, thread_id, envelope_id) {
        threads.set(thread_id, |thread| thread.problem = Some(problem));
    }
    Ok(())
}

/// The gateway dropped what it had taken: the window passed, or the slip was stopped.
pub(super) async fn dropped(tx: &mut Tx, work: &mut Work, drops: &[DroppedNotice]) -> Result<(), StoreError> {
    let ids = distinct(drops.iter().map(|one| one.envelope_id));
    let mut rows = open_rows(tx, work, &ids).await?;
    let mut ended = Vec::new();
    for one in drops {
        let Some(row) = rows
            .remove(&one.envelope_id)
            .filter(|r| r.envelope_hash == one.envelope_hash)
        else {
            continue;
        };
        ended.push(Ended {
            seq: row.seq,
            problem: Some(one.problem),
            forget: row.answered,
        });
        work.trail
            .push(trail(Code::EnvelopeDropped, &row, Some(one.problem), one.at_ms));
        if row.kind == EnvelopeKind::Referral {
            undelivered(
                &mut work.threads,
                &row.thread_id,
                one.problem,
                one.at_ms,
                &row.envelope_id,
            );
        } else {
            let of = (&row.peer, &row.thread_id, &row.envelope_id);
            has_problem(tx, &mut work.threads, (row.kind, of), one.problem).await?;
        }
    }
    store::outgoing::end(tx, &ended).await
}

/// Withholds rows whose recipient has another key than they are sealed to, and whose bodies are gone.
pub(super) async fn given_up(tx: &mut Tx, work: &mut Work, all: &[&GivenUp]) -> Result<(), StoreError> {
    let ids = distinct(all.iter().map(|one| one.row.envelope_id));
    let mut rows = open_rows(tx, work, &ids).await?;
    let problem = Problem::StaleKey;
    for one in all {
        let Some(row) = rows.remove(&one.row.envelope_id).filter(|row| !row.answered) else {
            continue;
        };
        if withdrawals::withhold(tx, &[row.seq], problem.as_str()).await? == 0 {
            continue;
        }
        work.trail
            .push(trail(Code::EnvelopeRefused, &row, Some(problem), one.at_ms));
        if row.kind == EnvelopeKind::Referral {
            undelivered(
                &mut work.threads,
                &row.thread_id,
                problem,
                one.at_ms,
                &row.envelope_id,
            );
        } else {
            let of = (&row.peer, &row.thread_id, &row.envelope_id);
            has_problem(tx, &mut work.threads, (row.kind, of), problem).await?;
        }
    }
    Ok(())
}

/// The gateway stopped slips. Where this node had not asked for it, the person did: everything under the slip ends here.
pub(super) async fn stopped(tx: &mut Tx, work: &mut Work, stops: &[Stopped]) -> Result<(), StoreError> {
    for one in stops {
        let held = slip_link::held(tx, &[one.slip_id]).await?;
        for slip in held.iter().filter(|slip| !slip.withdrawn) {
            let cut = cut::Cut {
                slip_id: slip.slip_id,
                holding_id: slip.holding.holding_id,
                party: Party::Person,
                withdrawal_id: one.slip_id.as_bytes(),
                at_ms: one.at_ms,
            };
            work.trail.extend(cut::cut(tx, &mut work.threads, &cut).await?);
        }
    }
    let ids = distinct(stops.iter().map(|one| one.slip_id));
    slip_link::stopped(tx, &ids).await
}

/// The rows of these envelopes whose end is open, with their threads loaded.
async fn open_rows(
    tx: &mut Tx,
    work: &mut Work,
    ids: &[EnvelopeId],
) -> Result<BTreeMap<EnvelopeId, Sent>, StoreError> {
    let rows = store::outgoing::sent(tx, ids).await?;
    let threads = distinct(rows.iter().map(|row| row.thread_id));
    work.threads.load(tx, &threads).await?;
    Ok(rows.into_iter().map(|row| (row.envelope_id, row)).collect())
}

/// A referral that will not arrive: it ends as not deliverable, or as withdrawn when that is why.
pub(super) fn undelivered(
    threads: &mut ThreadSet,
    thread_id: &ThreadId,
    problem: Problem,
    at_ms: i64,
    envelope_id: &EnvelopeId,
) {
    threads.set(thread_id, |thread| {
        thread.delivery = Delivery::Undelivered;
        thread.problem = Some(problem);
    });
    let (mv, party, reason) = if problem == Problem::ConsentWithdrawn {
        (Move::Withdraw, Party::Person, Reason::NotSaid)
    } else {
        (Move::Drop, Party::Gateway, Reason::NotDeliverable)
    };
    let step = Step {
        event_id: EventId::from_bytes(*envelope_id.as_bytes()),
        mv,
        party,
        reason: Some(reason),
        happened_at_ms: at_ms,
        deadline_ms: None,
        words_id: None,
        numbered: Numbered::Not,
    };
    settled(threads.step(thread_id, &step));
}

/// A step that the thread's own table refuses has nothing left to say: the thread has ended otherwise meanwhile.
fn settled(outcome: Result<bool, Refused>) {
    if let Err(refused) = outcome {
        tracing::debug!(%refused, "a thread had moved on before a receipt came");
    }
}

fn trail(code: Code, row: &Sent, problem: Option<Problem>, at_ms: i64) -> Event {
    let event = Event::new(code, at_ms)
        .id("envelope", row.envelope_id.as_bytes())
        .hash("envelope_hash", &row.envelope_hash)
        .id("thread", row.thread_id.as_bytes())
        .org("to", &row.peer)
        .word("kind", row.kind.as_str());
    match problem {
        Some(problem) => event.word("problem", problem.as_str()),
        None => event,
    }
}
