//! What prepared arrivals change, gathered in memory and written in a few statements. Called inside the transaction.
//! Never applies an envelope that is in `received`, never shows anything of one that is refused.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{EnvelopeId, MessageId, OrgId, SlipId, ThreadId};
use kith_proto::lifecycle::{Consent, Delivery, Party, State};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_service::rng::Rng;
use kith_service::store::{StoreError, Tx};

use super::door::{Effect, NewReferral, NewSlip, Row, Withdrawn};
use super::letter::{Event, Meta};
use super::{Receipt, ReceiveError};
use crate::audit::{self, Code};
use crate::cut::{self, Cut};
use crate::moves::told;
use crate::outbox::{self, Outgoing};
use crate::store;
use crate::store::content::Content;
use crate::store::counter::Counter;
use crate::store::holding::{Holding, NewestEpoch};
use crate::store::received::{Known, Received};
use crate::store::referral::Numbered as NewRow;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::store::slip_link;
use crate::thread_set::ThreadSet;
use crate::threads::{self, Numbered, Side, Step};

/// What one transaction gathers.
#[derive(Default)]
pub(super) struct Work<'a> {
    /// What a holding must be wrapped for; one that is not is prepared again.
    pub(super) newest: NewestEpoch,
    /// In which this node numbers events of its inbox.
    thread_epoch: u64,
    known: BTreeMap<EnvelopeId, Known>,
    pub(super) slips: BTreeMap<SlipId, (SlipStanding, kith_proto::id::HoldingId)>,
    pub(super) threads: ThreadSet,
    /// Messages that are there.
    said: BTreeSet<(ThreadId, MessageId)>,
    positions: BTreeMap<OrgId, Position>,
    received: Vec<Received>,
    new_holdings: Vec<&'a Holding>,
    new_slips: Vec<&'a SlipRow>,
    new_threads: Vec<&'a NewReferral>,
    /// Sent from here, and given back after a restore.
    pub(super) returned_threads: Vec<store::referral::NewThread>,
    /// Whose consent stands, by the word of who captured it.
    pub(super) word_came: BTreeSet<ThreadId>,
    content: Vec<&'a Content>,
    messages: Vec<store::message::NewMessage>,
    outgoing: Vec<&'a Outgoing>,
    pub(super) trail: Vec<audit::Event>,
}

impl<'a> Work<'a> {
    /// Loads what the rows speak of: envelopes that came before, slips, threads.
    pub(super) async fn load(
        tx: &mut Tx,
        (newest, thread_epoch): (NewestEpoch, u64),
        rows: &[Row],
    ) -> Result<Self, StoreError> {
        let mut work = Self {
            newest,
            thread_epoch,
            ..Self::default()
        };
        let envelopes: Vec<EnvelopeId> = rows.iter().map(|row| row.meta.envelope_id).collect();
        let known = store::received::known(tx, &envelopes).await?;
        work.known = known.into_iter().map(|one| (one.envelope_id, one)).collect();
        let (mut slips, mut threads) = (BTreeSet::new(), BTreeSet::new());
        for row in rows {
            let (slip, thread) = row.effect.speaks_of();
            slips.extend(slip);
            threads.extend(thread);
        }
        let slips: Vec<SlipId> = slips.into_iter().collect();
        for (slip_id, standing, holding_id) in slip_link::standing(tx, &slips).await? {
            work.slips.insert(slip_id, (standing, holding_id));
        }
        let threads: Vec<ThreadId> = threads.into_iter().collect();
        work.threads.load(tx, &threads).await?;
        let messages: Vec<_> = rows.iter().filter_map(|row| row.effect.message()).collect();
        work.said = store::message::known(tx, &messages).await?.into_iter().collect();
        Ok(work)
    }

    /// Applies one row after those before it; [`ReceiveError::Changed`] when it must be prepared again.
    pub(super) async fn apply(&mut self, tx: &mut Tx, row: &'a Row) -> Result<Receipt, ReceiveError> {
        let meta = &row.meta;
        if let Some(known) = self.known.get(&meta.envelope_id) {
            let same = known.envelope_hash == meta.envelope_hash;
            let problem = if same {
                known.problem
            } else {
                Some(Problem::Conflict)
            };
            let receipt = meta.receipt(problem, known.at_ms);
            self.move_on(meta);
            return Ok(receipt);
        }
        let problem = match &row.effect {
            Effect::Known => return Err(ReceiveError::Changed),
            Effect::Nothing { problem, .. } => Err(*problem),
            Effect::Referral(referral) => self.referral(meta, referral)?,
            Effect::Event {
                thread_id,
                slip_id,
                event,
                content,
            } => self.event(meta, (thread_id, slip_id), event, content.as_ref()),
            Effect::Proposal {
                thread_id,
                before,
                step,
                content,
                reply,
            } => {
                if self.threads.get(thread_id).map(threads::Thread::before) != Some(*before) {
                    return Err(ReceiveError::Changed);
                }
                self.proposal(thread_id, step, content.as_ref(), reply)
            }
            Effect::Returned(returning) => self.returned(tx, meta, returning).await?,
            Effect::Message {
                thread_id,
                slip_id,
                message_id,
                content,
            } => {
                let message = store::message::NewMessage {
                    thread_id: *thread_id,
                    message_id: *message_id,
                    side: Side::Inbox,
                    at_ms: meta.received_at_ms,
                };
                self.message(meta, slip_id, message, content.as_ref())
            }
            Effect::AccessReport(reported) => self.access_report(tx, meta, reported).await?,
            Effect::Withdrawal(withdrawn) => self.withdrawal(tx, meta, withdrawn).await?,
            Effect::Proof(proved) => self.proof(tx, meta, proved).await?,
        };
        let problem = problem.err();
        let tombstone = matches!(row.effect, Effect::Nothing { tombstone: true, .. });
        self.keep(meta, row.effect.speaks_of(), problem, tombstone);
        Ok(meta.receipt(problem, meta.received_at_ms))
    }

    /// Writes down that the envelope came, and what is answered.
    fn keep(
        &mut self,
        meta: &Meta,
        (slip, thread): (Option<SlipId>, Option<ThreadId>),
        problem: Option<Problem>,
        tombstone: bool,
    ) {
        self.move_on(meta);
        let received = Received {
            envelope_id: meta.envelope_id,
            envelope_hash: meta.envelope_hash,
            peer: meta.peer.clone(),
            problem,
            at_ms: meta.received_at_ms,
        };
        let known = Known {
            envelope_id: meta.envelope_id,
            envelope_hash: meta.envelope_hash,
            problem,
            at_ms: meta.received_at_ms,
        };
        self.known.insert(meta.envelope_id, known);
        self.received.push(received);
        let code = match problem {
            None => Code::EnvelopeReceived,
            Some(_) if tombstone => Code::EnvelopeDropped,
            Some(_) => Code::EnvelopeRejected,
        };
        let event = meta.event(code, (slip, thread));
        self.trail.push(match problem {
            None => event,
            Some(problem) => event.word("problem", problem.as_str()),
        });
    }

    fn move_on(&mut self, meta: &Meta) {
        if let Some(position) = meta.position {
            let entry = self.positions.entry(meta.peer.clone()).or_insert(position);
            if entry.number() < position.number() {
                *entry = position;
            }
        }
    }

    fn referral(
        &mut self,
        meta: &Meta,
        referral: &'a NewReferral,
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let thread = &referral.new.thread;
        if self.threads.get(&thread.thread_id).is_some() {
            return Ok(Err(Problem::Conflict));
        }
        match self.slips.get(&thread.slip_id) {
            Some((SlipStanding::Withdrawn, _)) => return Ok(Err(Problem::ConsentWithdrawn)),
            Some((SlipStanding::Expired, _)) => return Ok(Err(Problem::ConsentExpired)),
            Some((SlipStanding::Live, holding_id)) if *holding_id != referral.content.holding_id => {
                return Err(ReceiveError::Changed);
            }
            Some(_) => {}
            None => self.bring(&referral.new_slip)?,
        }
        self.threads.add_new(thread.clone());
        let step = threads::receive_step(&thread.thread_id, Side::Inbox, meta.received_at_ms);
        if let Err(refused) = self.threads.step(&thread.thread_id, &step) {
            return Ok(Err(threads::problem_of(refused)));
        }
        // Numbered as its sender does by itself; what follows must be none that was given before a restore.
        let epoch = self.thread_epoch;
        self.threads.set(&thread.thread_id, |thread| thread.epoch = epoch);
        self.new_threads.push(referral);
        Ok(Ok(()))
    }

    /// Inserts a slip that this row brings; one that another row was to bring, and did not, is prepared again, and so is one
    /// whose epoch ended meanwhile.
    pub(super) fn bring(&mut self, new_slip: &'a NewSlip) -> Result<(), ReceiveError> {
        let (holding, slip) = new_slip.as_ref().ok_or(ReceiveError::Changed)?;
        if !self.newest.wraps(holding) {
            return Err(ReceiveError::Changed);
        }
        self.slips
            .insert(slip.slip_id, (SlipStanding::Live, holding.holding_id));
        self.new_holdings.push(holding);
        self.new_slips.push(slip);
        Ok(())
    }

    /// Whether the thread is there, with this member, under this slip.
    pub(super) fn is_of(
        &self,
        meta: &Meta,
        thread_id: &ThreadId,
        slip_id: &SlipId,
        side: Option<Side>,
    ) -> bool {
        self.threads.get(thread_id).is_some_and(|thread| {
            thread.peer == meta.peer && thread.slip_id == *slip_id && side.is_none_or(|s| s == thread.side)
        })
    }

    fn event(
        &mut self,
        meta: &Meta,
        (thread_id, slip_id): (&ThreadId, &SlipId),
        event: &Event,
        content: Option<&'a Content>,
    ) -> Result<(), Problem> {
        let Some((epoch, number, state, deadline_ms)) = event.numbered else {
            return Err(Problem::Invalid);
        };
        if !self.is_of(meta, thread_id, slip_id, Some(Side::Sent)) {
            return Err(Problem::NotFound);
        }
        self.took_it(thread_id, number, event.happened_at_ms);
        let stands = self.threads.get(thread_id).map(|thread| thread.situation.state);
        let step = Step {
            event_id: event.event_id,
            mv: event.mv,
            party: threads::party_of_numbered(stands.unwrap_or(state), event.mv),
            reason: event.reason,
            happened_at_ms: event.happened_at_ms,
            deadline_ms: Some(deadline_ms),
            words_id: content.map(|row| row.content_id),
            numbered: Numbered::ByWriter { epoch, number, state },
        };
        if self.threads.step(thread_id, &step).map_err(threads::problem_of)? {
            self.content.extend(content);
        }
        Ok(())
    }

    /// An event after number 1 says that the recipient's machine has the referral, even where its receipt is still to come.
    pub(super) fn took_it(&mut self, thread_id: &ThreadId, number: u64, at_ms: i64) {
        let stands = self.threads.get(thread_id).map(|thread| thread.situation.state);
        if number > 1 && stands == Some(State::Sent) {
            let step = threads::receive_step(thread_id, Side::Sent, at_ms);
            if self.threads.step(thread_id, &step).is_ok() {
                self.threads
                    .set(thread_id, |thread| thread.delivery = Delivery::Delivered);
            }
        }
    }

    fn proposal(
        &mut self,
        thread_id: &ThreadId,
        step: &Step,
        content: Option<&'a Content>,
        reply: &'a Outgoing,
    ) -> Result<(), Problem> {
        if self.threads.step(thread_id, step).map_err(threads::problem_of)? {
            self.content.extend(content);
            self.outgoing.push(reply);
        }
        Ok(())
    }

    fn message(
        &mut self,
        meta: &Meta,
        slip_id: &SlipId,
        mut message: store::message::NewMessage,
        content: Option<&'a Content>,
    ) -> Result<(), Problem> {
        if !self.is_of(meta, &message.thread_id, slip_id, None) {
            return Err(Problem::NotFound);
        }
        // Another member's message stands on the other side of the thread.
        if let Some(thread) = self.threads.get(&message.thread_id) {
            if thread.situation.consent != Consent::Live {
                return Err(Problem::ConsentWithdrawn);
            }
            message.side = if thread.side == Side::Sent {
                Side::Inbox
            } else {
                Side::Sent
            };
        }
        let content = content.ok_or(Problem::ConsentWithdrawn)?;
        if !self.said.insert((message.thread_id, message.message_id)) {
            return Ok(());
        }
        self.threads.set(&message.thread_id, |thread| {
            thread.updated_at_ms = meta.received_at_ms
        });
        self.content.push(content);
        self.messages.push(message);
        Ok(())
    }

    async fn withdrawal(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        withdrawn: &'a Withdrawn,
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let Withdrawn {
            withdrawal_id,
            slip_id,
            narrowed,
            new_slip,
            ..
        } = withdrawn;
        if !self.slips.contains_key(slip_id) {
            self.bring(new_slip)?;
        }
        // What rows before this one bring must be in the store before it is destroyed there.
        self.write_new(tx).await?;
        let Some((standing, holding_id)) = self.slips.get_mut(slip_id) else {
            return Err(ReceiveError::Changed);
        };
        if withdrawn.whole {
            let cut = Cut {
                slip_id: *slip_id,
                holding_id: *holding_id,
                party: Party::Person,
                withdrawal_id: withdrawal_id.as_bytes(),
                at_ms: withdrawn.withdrawn_at_ms.min(meta.received_at_ms),
            };
            *standing = SlipStanding::Withdrawn;
            self.trail.extend(cut::cut(tx, &mut self.threads, &cut).await?);
        } else if let Some(narrowed) = narrowed {
            if narrowed.holding_id != *holding_id {
                return Err(ReceiveError::Changed);
            }
            if !store::holding::replace_keys(tx, self.newest, std::slice::from_ref(narrowed)).await? {
                return Err(ReceiveError::Changed);
            }
        }
        self.outgoing.push(&withdrawn.proof);
        Ok(Ok(()))
    }

    /// Inserts the holdings and slips gathered so far.
    pub(super) async fn write_new(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let holdings: Vec<Holding> = std::mem::take(&mut self.new_holdings)
            .into_iter()
            .cloned()
            .collect();
        // cannot be refused: `bring` looked at each.
        if !store::holding::insert(tx, self.newest, &holdings).await? {
            return Err(StoreError::Abandoned);
        }
        let slips: Vec<SlipRow> = std::mem::take(&mut self.new_slips).into_iter().cloned().collect();
        store::slip::insert(tx, &slips).await
    }

    /// Writes everything that was gathered; says whether something waits for the gateway now.
    pub(super) async fn write(
        mut self,
        tx: &mut Tx,
        counter: &mut Counter,
        rng: &Rng,
    ) -> Result<bool, StoreError> {
        self.write_new(tx).await?;
        let mut new_threads = Vec::with_capacity(self.new_threads.len());
        for referral in &self.new_threads {
            let mut new = referral.new.clone();
            if let Some(thread) = self.threads.get(&new.thread.thread_id) {
                new.thread = thread.clone();
            }
            new_threads.push((new, counter.next_change(), counter.next_inbox()));
        }
        for new in &self.returned_threads {
            let mut new = new.clone();
            if let Some(thread) = self.threads.get(&new.thread.thread_id) {
                new.thread = thread.clone();
            }
            new_threads.push((new, counter.next_change(), counter.next_sent()));
        }
        let rows = new_threads.iter();
        let rows: Vec<NewRow<'_>> = rows
            .map(|(new, changed, arrival)| NewRow {
                new,
                changed: *changed,
                arrival: *arrival,
            })
            .collect();
        store::referral::insert(tx, &rows).await?;
        let said: Vec<_> = self
            .new_threads
            .iter()
            .map(|referral| &referral.content)
            .collect();
        store::referral_content::insert(tx, &said).await?;
        store::content::insert_all(tx, &self.content, |row| row).await?;
        store::message::insert(tx, &self.messages).await?;
        outbox::queue(tx, counter, &self.outgoing).await?;
        let replies = self.outgoing.iter();
        self.trail
            .extend(replies.map(|reply| told::sent(reply, reply.at_ms)));
        store::received::insert(tx, &self.received).await?;
        let positions: Vec<(OrgId, Position)> = self.positions.into_iter().collect();
        store::pair::put_received(tx, &positions).await?;
        let heard = self.word_came.iter();
        let heard: Vec<(ThreadId, i64)> = heard.map(|id| (*id, counter.next_change())).collect();
        store::thread::word_came(tx, &heard).await?;
        self.trail.extend(self.threads.take_trail());
        self.threads.write(tx, counter).await?;
        audit::insert(tx, counter, rng, &self.trail).await?;
        Ok(!self.outgoing.is_empty())
    }
}
