//! Offering again what a restored member lost: asked for by `restore`, judged line by line here for the take door, ended by the sweeper
//! when nobody comes. Every envelope comes at the number and hash under which it was taken; what may no longer pass leaves a tombstone.
//! Never takes anything that was not taken before, never lets a newer line of a pair come before the missing ones.

use std::collections::BTreeMap;

use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::bury::{BuryError, Told};
use crate::gate;
use crate::gateway::Gateway;
use crate::limits::{REOFFER_ROWS_MAX, REOFFER_STALLED_MS, RESTORE_MS_MAX};
use crate::member_restore::Missing;
use crate::store::counter::{self, Counter};
use crate::store::mailbox::{self, Content, Posted};
use crate::store::pair::{self, Pair};
use crate::store::reoffer::{self, ReofferRow};
use crate::store::taken::{self, TakenRow};

/// Asks for what is missing. What waited behind is put at later places when the last of it has come; where nothing is missing now,
/// an earlier wish ends.
pub async fn ask(
    tx: &mut Tx,
    missing: &Missing,
    (since_ms, asked_at_ms): (i64, i64),
) -> Result<(), StoreError> {
    reoffer::put(tx, &missing.rows, (since_ms, asked_at_ms)).await?;
    let recipients = missing.whole.iter().map(|pair| &pair.recipient).collect();
    let standing = reoffer::of(tx, &recipients).await?;
    for pair in missing.whole.iter().filter(|pair| standing.contains_key(*pair)) {
        reoffer::remove(tx, pair).await?;
        later(tx, pair, 0).await?;
    }
    Ok(())
}

/// Puts what waits of a pair behind a number at places behind all others, in the order of its numbers. The caller holds the pair.
pub async fn later(tx: &mut Tx, pair: &Pair, after: u64) -> Result<(), StoreError> {
    let behind = reoffer::behind(tx, pair, after).await?;
    if behind.is_empty() {
        return Ok(());
    }
    let first = counter::take(tx, Counter::Mailbox, behind.len()).await?;
    let places: Vec<_> = behind
        .iter()
        .rev()
        .map(|line| line.envelope_id)
        .zip(first..)
        .collect();
    reoffer::place(tx, &places).await
}

/// Why an envelope that was taken is not delivered when it comes again; judged as on delivery, so that mail of a suspended member waits.
pub fn barred(
    known: &TakenRow,
    head: Option<&kith_proto::envelope::Head>,
    stopped: bool,
    now_ms: i64,
) -> Option<Problem> {
    let withheld = known.problem.unwrap_or(Problem::ConsentWithdrawn);
    let Some(head) = head else {
        return Some(withheld);
    };
    if known.refused.is_some() {
        return Some(withheld);
    }
    if gate::is_exempt(head) {
        None
    } else if stopped {
        Some(Problem::ConsentWithdrawn)
    } else if known.problem.is_some() {
        known.problem
    } else {
        (head.expires_at_ms <= now_ms).then_some(Problem::DeadlineExceeded)
    }
}

/// Ends the wish to a sender that says it has nothing to offer, as it lost that itself.
pub async fn nothing_comes(gateway: &Gateway, pair: &Pair, restore_id: &[u8; 16]) -> Result<(), BuryError> {
    let none = |mut tx: Tx| async move { reoffer::nothing_comes(&mut tx, pair, restore_id).await };
    if gateway.store.tx("nothing to offer", none).await? {
        tracing::warn!(sender = %pair.sender, "what a restored member lost, its sender has lost too");
        give_up_all(gateway, gateway.clock.now_ms()).await?;
    }
    Ok(())
}

/// Ends every re-offer that was waited for longer than senders keep what they sent, or that nothing comes of.
pub async fn give_up_all(gateway: &Gateway, now_ms: i64) -> Result<(), BuryError> {
    loop {
        let (more, woken) = gateway
            .store
            .tx("give up a re-offer", |mut tx| async move {
                let asked_ms = now_ms.saturating_sub(RESTORE_MS_MAX);
                let moved_ms = now_ms.saturating_sub(REOFFER_STALLED_MS);
                let mut told = Told::default();
                let more = give_up(gateway, &mut tx, (asked_ms, moved_ms), &mut told).await?;
                Ok::<_, BuryError>((more, told.write(&mut tx).await?))
            })
            .await?;
        gateway.relay.wake_all(&woken);
        if !more {
            return Ok(());
        }
    }
}

/// Ends one re-offer that was asked for, or last moved, too long ago (before these two times): tombstones stand for what is missing, some in one call.
/// Says whether there may be more to end.
async fn give_up(
    gateway: &Gateway,
    tx: &mut Tx,
    before: (i64, i64),
    told: &mut Told,
) -> Result<bool, BuryError> {
    let Some((pair, _)) = reoffer::overdue(tx, before).await? else {
        return Ok(false);
    };
    pair::lock(tx, &std::iter::once(pair.clone()).collect()).await?;
    // Under the lock: it may have gone on meanwhile.
    let Some((_, row)) = reoffer::overdue(tx, before)
        .await?
        .filter(|(found, _)| *found == pair)
    else {
        return Ok(true);
    };
    let between = (row.after.saturating_add(1), row.through);
    let known = taken::by_numbers(tx, &pair, between, REOFFER_ROWS_MAX).await?;
    // By what is known, not by counting: between two runs lie more numbers than anybody can walk through.
    let last = known.last().filter(|_| known.len() == REOFFER_ROWS_MAX);
    let until = last.and_then(|last| last.number).unwrap_or(row.through);
    let lines = batches_with(tx, &pair, (row.after, until)).await?;
    let ids: Vec<[u8; 16]> = known.iter().map(|row| row.envelope_id).collect();
    let waiting = mailbox::held(tx, &ids).await?;
    let mut posted = Vec::new();
    // One that waits under a second number leaves its first empty.
    let waits = |row: &TakenRow| {
        waiting
            .get(&row.envelope_id)
            .is_some_and(|held| held.number == row.number)
    };
    for outcome in known.iter().filter(|row| !waits(row)) {
        let number = outcome.number.unwrap_or_default();
        let problem = outcome.problem.unwrap_or(Problem::DeadlineExceeded);
        // Under an id of its own: the envelope may yet come again, under another number.
        let stand_in = gateway.rng.bytes().map_err(|_| BuryError::Library)?;
        let dropped = tombstone(gateway, (outcome, stand_in), problem)?;
        posted.push(Posted {
            position: 0,
            pair: pair.clone(),
            number: Some(number),
            envelope_id: stand_in,
            envelope_hash: outcome.envelope_hash,
            kind: mailbox::kind_word(None),
            slip_id: None,
            exempt: true,
            batch_id: lines.get(&number).copied(),
            taken_at_ms: outcome.taken_at_ms,
            expires_at_ms: i64::MAX,
            content: Content::Tombstone(dropped.encode_to_vec()),
        });
    }
    if posted.iter().any(|row| row.batch_id.is_none()) {
        tracing::warn!(
            "lines that were not offered again are signed by nobody any more; their pair has a gap"
        );
    }
    posted.retain(|row| row.batch_id.is_some());
    if !posted.is_empty() {
        let first = counter::take(tx, Counter::Mailbox, posted.len()).await?;
        for (position, row) in (first..).zip(&mut posted) {
            row.position = position;
        }
        mailbox::post(tx, &posted).await?;
    }
    let moved = ReofferRow { after: until, ..row };
    reoffer::move_on(tx, &pair, &moved, before.1).await?;
    if moved.after >= moved.through {
        later(tx, &pair, 0).await?;
    }
    told.woken.insert(pair.recipient);
    Ok(true)
}

fn tombstone(
    gateway: &Gateway,
    (outcome, stand_in): (&TakenRow, [u8; 16]),
    problem: Problem,
) -> Result<v1::Dropped, BuryError> {
    let mut dropped = v1::Dropped {
        envelope_id: stand_in.to_vec(),
        envelope_hash: outcome.envelope_hash.to_vec(),
        number: outcome.number.unwrap_or_default(),
        problem: problem.number(),
        dropped_at_ms: gateway.clock.now_ms(),
        signature: Vec::new(),
    };
    receipt::sign(&gateway.keys.signing, &mut dropped).map_err(|_| BuryError::Library)?;
    Ok(dropped)
}

/// In which kept order batch each of some numbers stands.
async fn batches_with(
    tx: &mut Tx,
    pair: &Pair,
    (after, until): (u64, u64),
) -> Result<BTreeMap<u64, [u8; 16]>, StoreError> {
    let mut found = BTreeMap::new();
    let mut last: Vec<u8> = Vec::new();
    loop {
        let page = reoffer::batches_of(tx, pair, &last).await?;
        let Some((id, _)) = page.last() else {
            return Ok(found);
        };
        last = id.to_vec();
        for (id, batch) in &page {
            let lines = batch.lines.iter().map(|line| line.number);
            found.extend(
                lines
                    .filter(|number| *number > after && *number <= until)
                    .map(|number| (number, *id)),
            );
        }
    }
}
