//! What comes again for a member that lost it: which of the lines that were answered before are put into its mailbox once more.
//! Called by the take door, which looks up for it and writes what it gives. Never gives an envelope another answer than its first.

use std::collections::BTreeSet;

use kith_proto::envelope::{Ground, Verified};
use kith_proto::id::OrgId;
use kith_proto::order;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::decide::{Decider, Held, Second, Stored};
use super::{Answer, TakeError};
use crate::limits::{CLOCK_AHEAD_MS_MAX, RESTORE_MS_MAX};
use crate::relay::reoffer::barred;
use crate::relay::submit::{Line, Submission, What};
use crate::store::pair::Pair;
use crate::store::reoffer::{self, ReofferRow};
use crate::store::taken::TakenRow;
use crate::store::{mailbox, restore};

/// A line that is put into the mailbox again, or a tombstone in its place.
#[derive(Debug)]
pub(super) struct Again<'a> {
    /// Which submission of the batch.
    pub(super) submission: usize,
    /// The line.
    pub(super) line: &'a Line,
    /// The head, when the envelope came.
    pub(super) head: Option<&'a Verified>,
    /// Its first outcome.
    pub(super) outcome: TakenRow,
    /// What its recipient gets in its place.
    pub(super) tombstone: Option<v1::Dropped>,
    /// It waits already: only its place is new.
    pub(super) waits: bool,
    /// Its place among all that was decided.
    pub(super) place: usize,
}

/// Reads which pairs are to be offered again and who was restored, and what of the lines that came before waits. Two small reads of
/// tables that are nearly always empty.
pub(super) async fn look_up(
    tx: &mut Tx,
    rows: &[Submission],
    held: &mut Held,
    now_ms: i64,
) -> Result<(), StoreError> {
    let recipients: BTreeSet<&OrgId> = rows.iter().map(|row| &row.pair.recipient).collect();
    held.reoffers = reoffer::of(tx, &recipients).await?;
    let mut ids: BTreeSet<[u8; 16]> = BTreeSet::new();
    let mut restored: BTreeSet<&OrgId> = BTreeSet::new();
    for row in rows {
        for line in &row.lines {
            let last = held.pairs.get(&row.pair).map_or(0, |pair| pair.position.number());
            let known = match line.number {
                Some(number) if number > last => held.ids.get(&line.answer_id),
                Some(number) if held.reoffers.contains_key(&row.pair) => {
                    held.numbers.get(&(row.pair.clone(), number))
                }
                Some(_) => None,
                None => held.ids.get(&line.answer_id),
            };
            let Some(known) = known else { continue };
            ids.extend([known.envelope_id, line.answer_id]);
            if line.number.is_none_or(|number| number > last) {
                restored.insert(&row.pair.recipient);
            }
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let since_ms = now_ms.saturating_sub(RESTORE_MS_MAX);
    held.restores = restore::last_after(tx, &restored, since_ms).await?;
    let ids: Vec<[u8; 16]> = ids.into_iter().collect();
    held.waits = mailbox::held(tx, &ids).await?.into_keys().collect();
    Ok(())
}

impl<'a> Decider<'a, '_> {
    /// The wish for a pair, as far as this batch has fulfilled it.
    pub(super) fn reoffer(&self, pair: &Pair) -> Option<ReofferRow> {
        let moved = self.out.reoffers.get(pair);
        moved.or_else(|| self.held.reoffers.get(pair)).copied()
    }

    /// What an envelope came to at its first number: at a second one stands a stand-in of it. A refusal stands for itself.
    pub(super) fn first(&self, row: &Submission, line: &Line, here: TakenRow) -> TakenRow {
        let first = self.held.ids.get(&line.answer_id);
        let is_first = |first: &&TakenRow| {
            first.pair == row.pair && first.envelope_hash == line.hash && first.number.is_some()
        };
        match first.filter(is_first) {
            Some(first) if here.refused.is_none() => first.clone(),
            _ => here,
        }
    }

    /// Puts a line of the order into the mailbox again if it is the next one that is missing; says that it must come again where only
    /// time is lacking.
    pub(super) fn ordered_again(
        &mut self,
        (index, row): (usize, &'a Submission),
        (number, line): (u64, &'a Line),
        known: &TakenRow,
    ) -> Result<Option<Answer>, TakeError> {
        let known = &TakenRow {
            number: Some(number),
            ..known.clone()
        };
        let Some(wish) = self.reoffer(&row.pair) else {
            return Ok(None);
        };
        if number > wish.through || !order::follows(number, wish.after) {
            return Ok(None);
        }
        let (head, unreadable) = match &line.what {
            What::Envelope { read: Ok(head), .. } => (Some(&**head), None),
            What::Envelope {
                read: Err(refusal), ..
            } if !refusal.is_final() => {
                return Ok(Some(super::decide::later(line, *refusal)));
            }
            What::Envelope {
                read: Err(refusal), ..
            } => (None, Some(refusal.problem)),
            What::Withheld => (None, None),
        };
        let stopped = head.is_some_and(|head| self.is_stopped(head));
        let problem = barred(known, head.map(|verified| &verified.head), stopped, self.now_ms);
        // The first outcome of a second number may be forgotten: nothing would know the envelope when it is signed for.
        let is_forgotten = head.is_some() && known.envelope_id != line.answer_id;
        let problem = problem.or(is_forgotten.then_some(Problem::Conflict));
        let waits = self.held.waits.contains(&known.envelope_id);
        let tombstone = match problem {
            Some(problem) if !waits => {
                let problem = known.problem.or(unreadable).unwrap_or(problem);
                Some(self.tombstone(known.envelope_id, line, number, problem)?)
            }
            _ => None,
        };
        self.put_again(Again {
            submission: index,
            line,
            head,
            outcome: known.clone(),
            tombstone,
            waits,
            place: self.place(),
        });
        let moved = ReofferRow {
            after: number,
            ..wish
        };
        self.out.reoffers.insert(row.pair.clone(), moved);
        Ok(None)
    }

    /// The outcome of an envelope of the order that comes under a second number: its sender came back from a backup, lacks a line of those that a
    /// restored recipient lost, and so cannot offer the others where they stood.
    pub(super) fn taken_before(&self, row: &Submission, line: &Line) -> Option<TakenRow> {
        let known = self.held.ids.get(&line.answer_id)?;
        let is_same = known.pair == row.pair && known.envelope_hash == line.hash && known.number.is_some();
        let is_taken = known.refused.is_none() && matches!(&line.what, What::Envelope { read: Ok(_), .. });
        (is_same && is_taken).then(|| known.clone())
    }

    /// Takes an envelope under a second number and puts it into the mailbox again, where its recipient lost it. Where it did not, where the envelope may not
    /// pass any more, or waits under its first number, a tombstone stands at the second.
    pub(super) fn take_again(
        &mut self,
        (index, row): (usize, &'a Submission),
        line: &'a Line,
        known: &TakenRow,
    ) -> Result<Answer, TakeError> {
        let (What::Envelope { read: Ok(head), .. }, Some(number)) = (&line.what, line.number) else {
            return Err(TakeError::Library);
        };
        self.advance(row, line, 0);
        self.idle_rows += 1;
        let stand_in = self.gateway.rng.bytes().map_err(|_| TakeError::Library)?;
        let outcome = TakenRow {
            problem: Some(Problem::Conflict),
            ..self.outcome(row, line, stand_in)
        };
        let stopped = self.is_stopped(head);
        let problem = barred(known, Some(&head.head), stopped, self.now_ms);
        let waits = self.held.waits.contains(&known.envelope_id);
        let second = Second {
            envelope_id: known.envelope_id,
            again: problem.is_none() && !waits && self.is_lost(row, known),
            problem,
        };
        let (envelope_id, tombstone) = if second.again {
            (known.envelope_id, None)
        } else {
            let problem = problem.unwrap_or(Problem::Conflict);
            (stand_in, Some(self.tombstone(stand_in, line, number, problem)?))
        };
        self.put_again(Again {
            submission: index,
            line,
            head: Some(head),
            outcome: TakenRow {
                envelope_id,
                ..outcome.clone()
            },
            tombstone,
            waits: false,
            place: self.place(),
        });
        self.store(Stored {
            submission: index,
            line,
            head: None,
            outcome,
            second: Some(second),
            tombstone: None,
            place: self.place(),
        });
        Ok(Answer::Taken {
            envelope_id: known.envelope_id,
            envelope_hash: known.envelope_hash,
            taken_at_ms: known.taken_at_ms,
        })
    }

    /// Puts an envelope outside the order into the mailbox again when its recipient had it and lost it.
    pub(super) fn loose_again(
        &mut self,
        (index, row): (usize, &'a Submission),
        line: &'a Line,
        known: &TakenRow,
    ) {
        let What::Envelope { read: Ok(head), .. } = &line.what else {
            return;
        };
        let lost = self.is_lost(row, known);
        let stopped = self.is_stopped(head);
        if !lost
            || self.held.waits.contains(&known.envelope_id)
            || barred(known, Some(&head.head), stopped, self.now_ms).is_some()
        {
            return;
        }
        self.put_again(Again {
            submission: index,
            line,
            head: Some(head),
            outcome: known.clone(),
            tombstone: None,
            waits: false,
            place: self.place(),
        });
    }

    /// Whether the recipient came back from a backup since it signed for an envelope: delivered, not taken, since the backup, as what waited long
    /// was lost as well.
    fn is_lost(&self, row: &Submission, known: &TakenRow) -> bool {
        let Some(restore) = self.held.restores.get(&row.pair.recipient) else {
            return false;
        };
        let since_ms = restore.backup_at_ms.saturating_sub(CLOCK_AHEAD_MS_MAX);
        known
            .delivered_at_ms
            .is_some_and(|at_ms| at_ms >= since_ms && at_ms <= restore.at_ms)
    }

    fn is_stopped(&self, verified: &Verified) -> bool {
        match &verified.head.ground {
            Ground::Slip { claimed, .. } => self.held.stops.contains_key(&claimed.id),
            Ground::Membership | Ground::Note(_) => false,
        }
    }

    /// Counts the bytes that wait again; whoever is bound by quotas was so the first time.
    fn put_again(&mut self, again: Again<'a>) {
        let bytes = match &again.line.what {
            What::Envelope { encoded, .. } if again.tombstone.is_none() && !again.waits => {
                i64::try_from(encoded.len()).unwrap_or(i64::MAX)
            }
            What::Envelope { .. } | What::Withheld => 0,
        };
        self.add_bytes(&again.outcome.pair, bytes);
        self.held.waits.insert(again.outcome.envelope_id);
        self.out.again.push(again);
    }
}
