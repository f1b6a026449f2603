//! A thread that its other party returns, after this node came back from a backup. Called inside the `receive` transaction.
//! Never takes anything of one that no restore of this node asked for, or one too long ago: it is receipted, so that nobody looks for a
//! fault, and has no effect; but for the word that consent still stands, which is taken however late. Never one from anybody but the thread's other party; never lets a sender
//! lead a thread of this inbox where the table does not.
//!
//! | the thread | what comes of it |
//! |---|---|
//! | known, sent from here | its writer's numbered events are taken as though each came by itself |
//! | known, in the inbox | this node is the writer, and has lost what it numbered: the events are followed through the table, or none of them |
//! | unknown, sent from here | listed again, without the person and without what was said |
//! | unknown, theirs | refused: the referral itself comes first |

use kith_proto::lifecycle::{self, Consent, Delivery, Move, Outcome, Party, Situation, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::Tx;
use prost::Message as _;

use super::ReceiveError;
use super::apply::Work;
use super::door::Returning;
use super::letter::{Event, Meta};
use crate::audit::{self, Code};
use crate::cut::{self, Cut};
use crate::restore::RETURNED_MS_MAX;
use crate::store;
use crate::store::referral::NewThread;
use crate::store::returning::Place;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::threads::{self, DAY_MS, EventRow, Numbered, Side, Step, Thread};

/// Most threads of one slip that are listed again: a person is rarely referred twice under one consent.
const LISTED_OF_SLIP_MAX: usize = 8;
/// How far the clock by which a referral was made may be off that of the backup: no node sends by one that is further off.
const CREATED_SKEW_MS: i64 = 60 * 60 * 1000;

/// The place of an event in the writer's order.
type Order = (u64, u64);

/// An event with its place, state and deadline.
#[derive(Clone, Copy)]
struct At<'a> {
    event: &'a Event,
    order: Order,
    state: State,
    deadline_ms: i64,
}

impl<'a> Work<'a> {
    /// Takes a returned thread, or says why not.
    pub(super) async fn returned(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        returning: &'a Returning,
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let stands = self.take_word(tx, meta, returning).await?;
        let since_ms = meta.received_at_ms.saturating_sub(RETURNED_MS_MAX);
        let is_recent = store::restore::accepts(tx, &returning.returned.restore_id, since_ms).await?;
        if !is_recent && !stands {
            // Of an attempt that was itself lost: the other party did nothing wrong, and returns the thread for the attempt that stands.
            return Ok(Ok(()));
        }
        let taken = match self.threads.get(&returning.thread_id).cloned() {
            _ if !is_recent => Ok(()),
            Some(thread) => self.known(tx, meta, (returning, &thread)).await?,
            None => self.unknown(tx, meta, returning).await?,
        };
        if taken.is_ok() {
            let event = audit::Event::new(Code::ThreadReturned, meta.received_at_ms)
                .id("thread", returning.thread_id.as_bytes())
                .id("slip", returning.slip_id.as_bytes())
                .id("envelope", meta.envelope_id.as_bytes())
                .org("organisation", &meta.peer)
                .word("purpose", returning.returned.purpose.as_str())
                .number("created_at_ms", returning.returned.created_at_ms);
            self.trail.push(if returning.returned.yours {
                event.word("side", Side::Sent.as_str())
            } else {
                event.word("side", Side::Inbox.as_str())
            });
        }
        Ok(taken)
    }

    /// Who captured the consent says whether it stands: what was shared may be opened again here, but for what was taken back. Says whether
    /// it stands. A word for an earlier coming back counts no more: consent may have ended between that and the last.
    async fn take_word(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        returning: &'a Returning,
    ) -> Result<bool, ReceiveError> {
        let (thread_id, slip_id) = (&returning.thread_id, &returning.slip_id);
        if returning.returned.cut
            || returning.returned.yours
            || !self.is_of(meta, thread_id, slip_id, Some(Side::Inbox))
            || !store::restore::is_newest(tx, &returning.returned.restore_id).await?
        {
            return Ok(false);
        }
        if let Some(narrowed) = &returning.narrowed {
            // The referral, and its slip, may have come just now, before this.
            self.write_new(tx).await?;
            let held = self.slips.get(slip_id).map(|(_, holding_id)| *holding_id);
            if held != Some(narrowed.holding_id)
                || !store::holding::replace_keys(tx, self.newest, std::slice::from_ref(narrowed)).await?
            {
                return Err(ReceiveError::Changed);
            }
        }
        self.word_came.insert(*thread_id);
        Ok(true)
    }

    async fn known(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        (returning, thread): (&'a Returning, &Thread),
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let side = if returning.returned.yours {
            Side::Sent
        } else {
            Side::Inbox
        };
        if !self.is_of(meta, &returning.thread_id, &returning.slip_id, Some(side)) {
            return Ok(Err(Problem::NotFound));
        }
        // The referral itself may have come just now, before this.
        let mut held = store::returning::places(tx, &returning.thread_id).await?;
        held.extend(self.threads.places(&returning.thread_id));
        let events = in_order(&returning.returned.events);
        match side {
            Side::Sent => {
                // Whoever returns it has it: the receipt may have gone with the disk.
                self.threads
                    .set(&thread.thread_id, |thread| thread.delivery = Delivery::Delivered);
                self.follow_writer(thread, &events);
            }
            Side::Inbox => self.go_on_as_writer(thread, &events, &held),
        }
        Ok(Ok(()))
    }

    /// This node sent it: what the writer numbered counts, in its order; a repeat changes nothing.
    fn follow_writer(&mut self, thread: &Thread, events: &[At<'_>]) {
        let id = &thread.thread_id;
        for at in events.iter().filter(|at| at.order.1 > 0) {
            self.took_it(id, at.order.1, at.event.happened_at_ms);
            let stands = self
                .threads
                .get(id)
                .map_or(at.state, |thread| thread.situation.state);
            let step = Step {
                event_id: at.event.event_id,
                mv: at.event.mv,
                party: threads::party_of_numbered(stands, at.event.mv),
                reason: at.event.reason,
                happened_at_ms: at.event.happened_at_ms,
                deadline_ms: Some(at.deadline_ms),
                words_id: None,
                numbered: Numbered::ByWriter {
                    epoch: at.order.0,
                    number: at.order.1,
                    state: at.state,
                },
            };
            if let Err(refused) = self.threads.step(id, &step) {
                let problem = threads::problem_of(refused);
                self.threads.set(id, |thread| thread.problem = Some(problem));
                return;
            }
        }
    }

    /// This node is the writer and lost what it numbered after its backup. All of it is followed, or a person must look. What is said to
    /// be of the epoch that began with the restore, or of a later one, was never numbered here; and once this node has numbered an
    /// event of that epoch, nothing that comes is later than it.
    fn go_on_as_writer(&mut self, thread: &Thread, events: &[At<'_>], held: &[Place]) {
        let newest_held = held.iter().map(|place| (place.epoch, place.number)).max();
        let newest_held = newest_held.unwrap_or_default();
        let is_held = |at: &At<'_>| {
            held.iter()
                .any(|place| place.event_id == *at.event.event_id.as_bytes())
        };
        let missing = events
            .iter()
            .filter(|at| at.order.0 < thread.epoch && !is_held(at));
        let missing: Vec<At<'_>> = missing.copied().collect();
        let (later, earlier): (Vec<At<'_>>, Vec<At<'_>>) = missing
            .into_iter()
            .filter(|at| at.order.1 > 0)
            .partition(|at| at.order > newest_held);
        let Some(followed) = followed(thread, &later) else {
            self.threads.set(&thread.thread_id, |thread| {
                thread.problem = Some(Problem::Conflict);
            });
            return;
        };
        for (at, moves) in earlier
            .iter()
            .map(|at| (at, false))
            .chain(later.iter().map(|at| (at, true)))
        {
            self.threads.give_back(row(thread, at), moves);
        }
        if let Some(last) = later.last() {
            self.threads.set(&thread.thread_id, |thread| {
                thread.situation = followed;
                thread.number = last.order.1;
                thread.deadline_ms = deadline_ms(last);
                thread.updated_at_ms = thread.updated_at_ms.max(last.event.happened_at_ms);
            });
        }
    }

    /// This node had sent it after its backup: it is listed again, as its writer has it.
    async fn unknown(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        returning: &'a Returning,
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let (returned, slip_id) = (&returning.returned, returning.slip_id);
        let events = in_order(&returned.events);
        let Some(last) = events.iter().rfind(|at| at.order.1 > 0).copied() else {
            return Ok(Err(Problem::Invalid));
        };
        // The other party's referral comes by itself, and before this; a slip that this node did not sign is not its own.
        if !returned.yours || (returning.new_slip.is_none() && !self.slips.contains_key(&slip_id)) {
            return Ok(Err(Problem::NotFound));
        }
        if !self.can_be_lost(tx, meta, returning).await? {
            return Ok(Err(Problem::NotFound));
        }
        if !self.slips.contains_key(&slip_id) {
            self.bring(&returning.new_slip)?;
            self.write_new(tx).await?;
        }
        let thread = sent_thread(meta, returning, (&events, last));
        let new = NewThread {
            thread: thread.clone(),
            person_id: None,
            owner_token: None,
            purpose: returned.purpose,
            answer_by_ms: returned.answer_by_ms,
            created_at_ms: returned.created_at_ms,
            envelope_id: meta.envelope_id,
        };
        self.threads.add_new(thread.clone());
        self.returned_threads.push(new);
        for at in &events {
            self.threads
                .give_back(row(&thread, at), at.order == last.order || at.order.1 == 0);
        }
        self.stop_again(tx, meta, (returning, &thread)).await?;
        Ok(Ok(()))
    }

    /// Whether this node may have made the thread after its backup, and lost it: what is older it held, or let go. And no more of one slip
    /// than a person is ever referred under it.
    async fn can_be_lost(
        &self,
        tx: &mut Tx,
        meta: &Meta,
        returning: &Returning,
    ) -> Result<bool, ReceiveError> {
        let since_ms = meta.received_at_ms.saturating_sub(RETURNED_MS_MAX);
        let backup_at_ms = store::restore::earliest_backup(tx, since_ms).await?;
        let listed = store::restore::count_listed(tx, &returning.slip_id).await?;
        let in_this_batch = self.returned_threads.iter();
        let in_this_batch = in_this_batch.filter(|new| new.thread.slip_id == returning.slip_id);
        Ok(
            returning.returned.created_at_ms >= backup_at_ms.saturating_sub(CREATED_SKEW_MS)
                && listed.saturating_add(in_this_batch.count()) < LISTED_OF_SLIP_MAX,
        )
    }

    /// A slip that ended while this copy did not know it ends here too: its stop was told, or the thread says so.
    async fn stop_again(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        (returning, thread): (&'a Returning, &Thread),
    ) -> Result<(), ReceiveError> {
        let slip_id = returning.slip_id;
        if self
            .slips
            .get(&slip_id)
            .is_some_and(|(standing, _)| *standing == SlipStanding::Withdrawn)
        {
            // Its proof was here before it.
            let found = store::slip::find(tx, &[slip_id]).await?;
            let consent = if found.iter().any(is_erased) {
                Consent::Erased
            } else {
                Consent::Cut
            };
            self.threads
                .set(&thread.thread_id, |thread| thread.situation.consent = consent);
            return Ok(());
        }
        let stopped_at_ms = store::restore::stopped_at(tx, &slip_id).await?;
        let is_withdrawn = thread.situation.state == State::Withdrawn;
        let at_ms = match (stopped_at_ms, is_withdrawn) {
            (Some(at_ms), _) => at_ms,
            (None, true) => thread.updated_at_ms.min(meta.received_at_ms),
            (None, false) => return Ok(()),
        };
        let Some((standing, holding_id)) = self.slips.get_mut(&slip_id) else {
            return Ok(());
        };
        *standing = SlipStanding::Withdrawn;
        let cut = Cut {
            slip_id,
            holding_id: *holding_id,
            party: Party::Person,
            withdrawal_id: slip_id.as_bytes(),
            at_ms,
        };
        let lines = cut::cut(tx, &mut self.threads, &cut).await?;
        self.trail.extend(lines);
        Ok(())
    }
}

/// Whether the recipient has proved that it erased what it held.
fn is_erased(slip: &SlipRow) -> bool {
    let proof = slip.proof.as_deref().map(v1::WithdrawalProof::decode);
    proof.is_some_and(|proof| {
        proof.is_ok_and(|proof| proof.outcome == i32::from(v1::WithdrawalOutcome::Erased))
    })
}

/// In the writer's order; what it has not numbered first, by time.
fn in_order(events: &[Event]) -> Vec<At<'_>> {
    let mut all: Vec<At<'_>> = Vec::with_capacity(events.len());
    for event in events {
        if let Some((epoch, number, state, deadline_ms)) = event.numbered {
            let order = (epoch, number);
            all.push(At {
                event,
                order,
                state,
                deadline_ms,
            });
        }
    }
    all.sort_by_key(|at| (at.order, at.event.happened_at_ms));
    all.dedup_by_key(|at| at.event.event_id);
    all
}

/// Where a thread stands after these events of its own, each of which the table must allow and lead to the state it names; none where
/// it does not, or where a number is missing or given twice.
fn followed(thread: &Thread, events: &[At<'_>]) -> Option<Situation> {
    let mut now = thread.situation;
    let mut number = thread.number;
    for at in events {
        let party = threads::party_of_numbered(now.state, at.event.mv);
        let next = match lifecycle::apply(now, at.event.mv, party, at.event.reason).ok()? {
            Outcome::Changed(next) => next,
            Outcome::AlreadyThere | Outcome::Late => now,
            Outcome::Discarded => return None,
        };
        if next.state != at.state || Some(at.order.1) != number.checked_add(1) {
            return None;
        }
        (now, number) = (next, at.order.1);
    }
    Some(now)
}

fn sent_thread(meta: &Meta, returning: &Returning, (events, last): (&[At<'_>], At<'_>)) -> Thread {
    // Where an expired referral would be taken up again.
    let before = events
        .iter()
        .rfind(|at| at.order.1 > 0 && at.state != State::Expired);
    let is_withdrawn = last.state == State::Withdrawn;
    let situation = Situation {
        state: last.state,
        came_from: returning
            .returned
            .came_from
            .filter(|_| last.state == State::CancelRequested),
        expired_from: before
            .filter(|_| last.state == State::Expired)
            .map(|before| before.state),
        consent: if is_withdrawn { Consent::Cut } else { Consent::Live },
    };
    Thread {
        thread_id: returning.thread_id,
        side: Side::Sent,
        peer: meta.peer.clone(),
        slip_id: returning.slip_id,
        situation,
        delivery: Delivery::Delivered,
        problem: None,
        epoch: last.order.0,
        number: last.order.1,
        deadline_ms: deadline_ms(&last),
        updated_at_ms: last.event.happened_at_ms,
    }
}

/// The deadline after an event: what it names, else the state's default from its time; 0 in a terminal state.
fn deadline_ms(last: &At<'_>) -> i64 {
    match last.state.deadline_days_default() {
        None => 0,
        Some(_) if last.deadline_ms > 0 => last.deadline_ms,
        Some(days) => last.event.happened_at_ms.saturating_add(i64::from(days) * DAY_MS),
    }
}

fn row(thread: &Thread, at: &At<'_>) -> EventRow {
    let (state, mv) = (at.state, at.event.mv);
    EventRow {
        thread_id: thread.thread_id,
        epoch: at.order.0,
        number: at.order.1,
        event_id: at.event.event_id,
        mv,
        state,
        reason: at.event.reason,
        party: party(at),
        late: false,
        provisional: false,
        happened_at_ms: at.event.happened_at_ms,
        deadline_ms: at.deadline_ms,
        words_id: None,
    }
}

/// Whose move it was, as far as the wire has it: by who alone may make it.
fn party(at: &At<'_>) -> Party {
    match at.event.mv {
        Move::Send | Move::Reinstate | Move::RequestCancel | Move::AnswerInfo => Party::Sender,
        Move::Expire => Party::Timer,
        Move::Withdraw => Party::Person,
        Move::Drop => Party::Gateway,
        _ => Party::Recipient,
    }
}
