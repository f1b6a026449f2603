//! The gateway's answers to submissions: taken, or refused for good. Called inside the `settle` transaction.
//! Never moves a pair's position past a row whose own answer is not written in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{EventId, OrgId, ThreadId};
use kith_proto::lifecycle::Delivery;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};

use super::{Answered, Work, distinct};
use crate::audit::{Code, Event};
use crate::store::counter::Counter;
use crate::store::{self, slip_link};
use crate::{settle::notices, thread_set::ThreadSet};

/// Writes answers in the order of each pair.
pub(super) async fn write(
    tx: &mut Tx,
    counter: &mut Counter,
    work: &mut Work,
    mut answered: Vec<Answered>,
) -> Result<(), StoreError> {
    if answered.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    answered.retain(|one| seen.insert(one.row.seq));
    let settled: BTreeMap<i64, bool> = store::outgoing::settle(tx, &answered)
        .await?
        .into_iter()
        .collect();
    for one in answered.iter().filter(|one| one.resealed) {
        store::outgoing::was_resealed(tx, &one.row).await?;
    }
    put_positions(tx, &answered).await?;
    // A row that was settled before has had its effects; one that is sent again, all but those of a refusal.
    answered.retain(|one| match settled.get(&one.row.seq) {
        Some(refused) => !one.row.again || (*refused && one.problem.is_some() && !one.row.withheld),
        None => false,
    });
    work.trail.extend(answered.iter().map(trail));
    let (taken, refused): (Vec<_>, Vec<_>) = answered.iter().partition(|one| one.problem.is_none());
    let referrals = taken.iter().filter(|one| one.row.kind == EnvelopeKind::Referral);
    let referrals: Vec<(ThreadId, i64)> = referrals
        .map(|one| (one.row.thread_id, counter.next_change()))
        .collect();
    store::thread::taken(tx, &referrals).await?;
    let events = taken.iter().filter(|one| one.row.kind == EnvelopeKind::Event);
    // An event goes out under its own id, see `moves::told`.
    let event_id = |one: &Answered| EventId::from_bytes(*one.row.envelope_id.as_bytes());
    let events: Vec<(ThreadId, EventId)> = events.map(|one| (one.row.thread_id, event_id(one))).collect();
    store::thread::confirm_events(tx, &events).await?;
    for one in taken
        .iter()
        .filter(|one| one.row.kind == EnvelopeKind::Withdrawal)
    {
        let slips: Vec<_> = one.row.slip_id.into_iter().collect();
        slip_link::withdrawal_sent(tx, &slips, one.at_ms).await?;
    }
    refuse(tx, &mut work.threads, &refused).await
}

/// What the gateway refused for good ends a referral that never arrived; of any other kind the thread keeps the problem.
async fn refuse(tx: &mut Tx, threads: &mut ThreadSet, refused: &[&Answered]) -> Result<(), StoreError> {
    let ids = distinct(refused.iter().map(|one| one.row.thread_id));
    threads.load(tx, &ids).await?;
    for one in refused.iter().filter(|one| !one.row.withheld) {
        let problem = one.problem.unwrap_or(Problem::Invalid);
        match one.row.kind {
            EnvelopeKind::Referral => {
                notices::undelivered(
                    threads,
                    &one.row.thread_id,
                    problem,
                    one.at_ms,
                    &one.row.envelope_id,
                );
            }
            EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof => {}
            kind => {
                let of = (&one.row.peer, &one.row.thread_id, &one.row.envelope_id);
                notices::has_problem(tx, threads, (kind, of), problem).await?;
            }
        }
    }
    for one in refused
        .iter()
        .filter(|one| one.row.withheld && one.row.kind == EnvelopeKind::Referral)
    {
        threads.set(&one.row.thread_id, |thread| {
            thread.delivery = Delivery::Undelivered
        });
    }
    Ok(())
}

async fn put_positions(tx: &mut Tx, answered: &[Answered]) -> Result<(), StoreError> {
    let mut last: BTreeMap<OrgId, Position> = BTreeMap::new();
    for one in answered {
        let Some(number) = one.number else {
            continue;
        };
        let position = Position::at(number, one.row.envelope_hash);
        let entry = last.entry(one.row.peer.clone()).or_insert(position);
        if entry.number() < number {
            *entry = position;
        }
    }
    let last: Vec<(OrgId, Position)> = last.into_iter().collect();
    store::pair::put_sent(tx, &last).await
}

fn trail(one: &Answered) -> Event {
    let code = if one.problem.is_none() {
        Code::EnvelopeTaken
    } else {
        Code::EnvelopeRefused
    };
    let event = Event::new(code, one.at_ms)
        .id("envelope", one.row.envelope_id.as_bytes())
        .hash("envelope_hash", &one.row.envelope_hash)
        .id("thread", one.row.thread_id.as_bytes())
        .org("to", &one.row.peer)
        .word("kind", one.row.kind.as_str());
    match one.problem {
        Some(problem) => event.word("problem", problem.as_str()),
        None => event,
    }
}
