//! What becomes of each line of a batch: taken, refused for good, to come again, or answered as before. Pure but for the gateway's
//! signature on refusals: works on what [`super`] has looked up and gives what it has to write.
//! Lines of one pair are decided in their order, across the submissions of the batch; nothing is taken twice or past a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_proto::envelope::{Ground, Verified};
use kith_proto::id::{OrgId, SlipId};
use kith_proto::order::{self, OrderError, Position};
use kith_proto::permits::MemberState;
use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_proto::{receipt, v1};

use super::again::Again;
use super::{Answer, Answers, TakeError};
use crate::gate::{self, Facts, Refusal, SlipRecord};
use crate::gateway::Gateway;
use crate::limits::{BEHIND_RETRY_MS, REOFFER_RETRY_MS, RETURNING_RETRY_MS};
use crate::members::{KnownMember, MemberMap};
use crate::relay::answer;
use crate::relay::submit::{Line, Submission, What};
use crate::store::pair::{Moved, Pair, PairRow};
use crate::store::reoffer::ReofferRow;
use crate::store::restore::RestoreRow;
use crate::store::slip::{SeenSlips, StopRow};
use crate::store::taken::TakenRow;

/// What was looked up for a batch.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Where its pairs stand.
    pub(super) pairs: BTreeMap<Pair, PairRow>,
    /// Outcomes by id, of every id that its lines claim.
    pub(super) ids: BTreeMap<[u8; 16], TakenRow>,
    /// Outcomes by number, of the lines that came before.
    pub(super) numbers: BTreeMap<(Pair, u64), TakenRow>,
    /// The slips of its envelopes as recorded.
    pub(super) slips: SeenSlips,
    /// Their stops that count.
    pub(super) stops: BTreeMap<SlipId, StopRow>,
    /// Questions and answers taken today.
    pub(super) forms: BTreeMap<Pair, i64>,
    /// Bytes waiting for each recipient.
    pub(super) waiting: BTreeMap<OrgId, i64>,
    /// Pairs that are to be offered again.
    pub(super) reoffers: BTreeMap<Pair, ReofferRow>,
    /// Recipients that came back from a backup.
    pub(super) restores: BTreeMap<OrgId, RestoreRow>,
    /// What waits of the lines that come again.
    pub(super) waits: BTreeSet<[u8; 16]>,
}

/// A line with a new outcome.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    /// Which submission of the batch.
    pub(super) submission: usize,
    /// The line.
    pub(super) line: &'a Line,
    /// The head, when it was taken.
    pub(super) head: Option<&'a Verified>,
    /// Its outcome.
    pub(super) outcome: TakenRow,
    /// What came under a second number.
    pub(super) second: Option<Second>,
    /// What its recipient gets in its place; `None` when it was taken, or stands outside the order.
    pub(super) tombstone: Option<v1::Dropped>,
    /// Its place among all that was decided.
    pub(super) place: usize,
}

/// An envelope that the gateway had taken, under a second number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Second {
    /// Its id; its outcome stands under a stand-in.
    pub(super) envelope_id: [u8; 16],
    /// Whether it is delivered once more.
    pub(super) again: bool,
    /// Why it may not be.
    pub(super) problem: Option<Problem>,
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Decided<'a> {
    /// For each submission its answers, or why its stream ends.
    pub(super) answers: Vec<Result<Answers, TakeError>>,
    /// New outcomes, in the order of their positions.
    pub(super) stored: Vec<Stored<'a>>,
    /// How far its pairs moved.
    pub(super) moved: BTreeMap<Pair, Moved>,
    /// Questions and answers taken.
    pub(super) forms: BTreeMap<Pair, i64>,
    /// What goes into mailboxes again, in the order of their positions.
    pub(super) again: Vec<Again<'a>>,
    /// How far pairs came that are offered again.
    pub(super) reoffers: BTreeMap<Pair, ReofferRow>,
}

/// Decides a batch. Fails as a whole when the gateway can neither sign nor draw randomness.
pub(super) fn decide<'a>(
    gateway: &Gateway,
    rows: &'a [Submission],
    held: Held,
    now_ms: i64,
) -> Result<Decided<'a>, TakeError> {
    let mut decider = Decider {
        gateway,
        members: gateway.members.all(),
        is_restored: gateway.restored.is_some(),
        now_ms,
        held,
        idle_rows: 0,
        out: Decided::default(),
    };
    for (index, row) in rows.iter().enumerate() {
        decider.idle_rows = 0;
        let answers = match decider.submission(index, row) {
            Err(error @ TakeError::Library) => return Err(error),
            answers => answers,
        };
        let idle_rows = decider.idle_rows;
        decider
            .out
            .answers
            .push(answers.map(|lines| Answers { lines, idle_rows }));
    }
    Ok(decider.out)
}

pub(super) struct Decider<'a, 'g> {
    pub(super) gateway: &'g Gateway,
    members: Arc<MemberMap>,
    /// Whether members may be missing who joined after the backup that this gateway came back from.
    is_restored: bool,
    pub(super) now_ms: i64,
    pub(super) held: Held,
    /// Rows of the submission at hand that serve nobody.
    pub(super) idle_rows: usize,
    pub(super) out: Decided<'a>,
}

impl<'a> Decider<'a, '_> {
    fn submission(&mut self, index: usize, row: &'a Submission) -> Result<Vec<Answer>, TakeError> {
        let Some(order) = &row.order else {
            let answers = row.lines.iter().map(|line| self.unordered(index, row, line));
            return answers.collect();
        };
        let last = self.position(&row.pair);
        match order::resume(last, &order.batch) {
            Ok(_) | Err(OrderError::Gap { .. }) => {}
            Err(error) => return Err(TakeError::Order(error)),
        }
        let (stored, offered) = (self.out.stored.len(), self.out.again.len());
        let mut repeats = 0;
        // Repeats come first, so a fork is found before anything of the submission has been decided.
        let answers = row.lines.iter().map(|line| match line.number {
            Some(number) if number <= last.number() => {
                repeats += 1;
                self.repeat((index, row), (number, line))
            }
            Some(_) if let Some(wish) = self.held.reoffers.get(&row.pair) => {
                // What is missing in front comes first, and this in a later transaction, behind it.
                let ended = self.reoffer(&row.pair).unwrap_or(*wish).after >= wish.through;
                let wait_ms = if ended { BEHIND_RETRY_MS } else { REOFFER_RETRY_MS };
                Ok(self.later(row, line, Refusal::later(Problem::Unavailable, wait_ms)))
            }
            Some(number) if order::follows(number, self.position(&row.pair).number()) => {
                self.next(index, row, line)
            }
            _ => Ok(self.later(row, line, Refusal::later(Problem::Unavailable, BEHIND_RETRY_MS))),
        });
        let answers = answers.collect::<Result<Vec<Answer>, TakeError>>()?;
        if self.out.stored.len() > stored {
            // The batch is kept whole. What comes under a second number is among what is offered, and was counted by itself.
            self.idle_rows += usize::saturating_sub(repeats, self.out.again.len() - offered);
        }
        Ok(answers)
    }

    fn position(&self, pair: &Pair) -> Position {
        match (self.out.moved.get(pair), self.held.pairs.get(pair)) {
            (Some(moved), _) => moved.position,
            (None, Some(row)) => row.position,
            (None, None) => Position::START,
        }
    }

    /// Answers a line that came before, from its stored outcome. One that is no longer known has outlived its window.
    fn repeat(
        &mut self,
        of: (usize, &'a Submission),
        (number, line): (u64, &'a Line),
    ) -> Result<Answer, TakeError> {
        match self.held.numbers.get(&(of.1.pair.clone(), number)).cloned() {
            Some(row) if row.envelope_hash != line.hash => Err(TakeError::Order(OrderError::Fork { number })),
            Some(row) => {
                let first = self.first(of.1, line, row);
                let not_now = self.ordered_again(of, (number, line), &first)?;
                Ok(not_now.unwrap_or_else(|| again(&first)))
            }
            None => self.refused(line, Refusal::last(Problem::DeadlineExceeded)),
        }
    }

    /// Decides the line that follows on the pair's last one.
    fn next(&mut self, index: usize, row: &'a Submission, line: &'a Line) -> Result<Answer, TakeError> {
        if let Some(known) = self.taken_before(row, line) {
            return self.take_again((index, row), line, &known);
        }
        match self.verdict(row, line, true) {
            Ok(head) => Ok(self.take(index, row, line, head)),
            Err(refusal) if refusal.is_final() => self.refuse(index, row, line, refusal),
            Err(refusal) => Ok(self.later(row, line, refusal)),
        }
    }

    /// Decides an envelope outside the order: a repeat is answered as before, another envelope under its id refused.
    fn unordered(&mut self, index: usize, row: &'a Submission, line: &'a Line) -> Result<Answer, TakeError> {
        if let Some(known) = self.held.ids.get(&line.answer_id).cloned() {
            return if known.envelope_hash == line.hash && known.pair == row.pair {
                self.loose_again((index, row), line, &known);
                Ok(again(&known))
            } else {
                self.refused(line, Refusal::last(Problem::Conflict))
            };
        }
        match self.verdict(row, line, false) {
            Ok(head) => Ok(self.take(index, row, line, head)),
            Err(refusal) if refusal.is_final() => self.refuse(index, row, line, refusal),
            Err(refusal) => Ok(self.later(row, line, refusal)),
        }
    }

    fn verdict(&self, row: &Submission, line: &'a Line, ordered: bool) -> Result<&'a Verified, Refusal> {
        let What::Envelope { encoded, read } = &line.what else {
            return Err(Refusal::last(Problem::ConsentWithdrawn));
        };
        if self.is_restored && !self.members.contains_key(&row.pair.recipient) {
            // It enrols again by itself; until then its mail waits where it is.
            return Err(Refusal::later(Problem::NotAMember, RETURNING_RETRY_MS));
        }
        let verified = read.as_ref().map_err(|refusal| *refusal)?;
        let head = &verified.head;
        if head.to != row.pair.recipient || order::is_ordered(head.kind) != ordered {
            return Err(Refusal::last(Problem::Invalid));
        }
        if self.held.ids.contains_key(&line.answer_id) {
            return Err(Refusal::last(Problem::Conflict));
        }
        let pair = &row.pair;
        let moved = self.out.moved.get(pair).map_or(0, |moved| moved.bytes);
        let recipient = self.members.get(&pair.recipient);
        let facts = Facts {
            now_ms: self.now_ms,
            from: state(self.members.get(&pair.sender)),
            to: state(recipient),
            recipient: recipient.map(|known| &known.member),
            slip: self.slip_record(verified),
            forms_today: self.held.forms.get(pair).copied().unwrap_or_default(),
            mailbox_bytes: self
                .held
                .waiting
                .get(&pair.recipient)
                .copied()
                .unwrap_or_default(),
            pair_bytes: self.held.pairs.get(pair).map_or(0, |row| row.mailbox_bytes) + moved,
            envelope_bytes: i64::try_from(encoded.len()).unwrap_or(i64::MAX),
        };
        gate::judge(head, &facts)?;
        Ok(verified)
    }

    fn slip_record(&self, verified: &Verified) -> SlipRecord {
        let Ground::Slip { claimed, .. } = &verified.head.ground else {
            return SlipRecord::Standing;
        };
        let Some(row) = self.held.slips.rows.get(&claimed.id) else {
            return SlipRecord::Another;
        };
        let same =
            row.sender == claimed.from && row.recipient == claimed.to && row.stop_hash == claimed.stop_hash;
        if !same {
            SlipRecord::Another
        } else if self.held.stops.contains_key(&claimed.id) {
            SlipRecord::Stopped
        } else {
            SlipRecord::Standing
        }
    }

    fn take(&mut self, index: usize, row: &'a Submission, line: &'a Line, head: &'a Verified) -> Answer {
        let bytes = match &line.what {
            What::Envelope { encoded, .. } => i64::try_from(encoded.len()).unwrap_or(i64::MAX),
            What::Withheld => 0,
        };
        self.advance(row, line, bytes);
        if let Ground::Slip { claimed, .. } = &head.head.ground {
            self.held.slips.new.remove(&claimed.id);
        }
        *self.held.waiting.entry(row.pair.recipient.clone()).or_default() += bytes;
        if matches!(head.head.kind, EnvelopeKind::Question | EnvelopeKind::Answer) {
            *self.held.forms.entry(row.pair.clone()).or_default() += 1;
            *self.out.forms.entry(row.pair.clone()).or_default() += 1;
        }
        let outcome = self.outcome(row, line, line.answer_id);
        let answer = again(&outcome);
        self.store(Stored {
            submission: index,
            line,
            head: Some(head),
            outcome,
            second: None,
            tombstone: None,
            place: self.place(),
        });
        answer
    }

    fn refuse(
        &mut self,
        index: usize,
        row: &'a Submission,
        line: &'a Line,
        refusal: Refusal,
    ) -> Result<Answer, TakeError> {
        let refused = self.sign_refused(line, refusal)?;
        self.idle_rows += 1;
        // A used or unknown id keeps its own outcome; this one goes under a stand-in.
        let free = !self.held.ids.contains_key(&line.answer_id);
        let row_id = if free {
            line.answer_id
        } else {
            self.gateway.rng.bytes().map_err(|_| TakeError::Library)?
        };
        let tombstone = match line.number {
            Some(number) => Some(self.tombstone(row_id, line, number, refusal.problem)?),
            None => None,
        };
        self.advance(row, line, 0);
        let outcome = TakenRow {
            problem: Some(refusal.problem),
            refused: Some(refused.clone()),
            ..self.outcome(row, line, row_id)
        };
        self.store(Stored {
            submission: index,
            line,
            head: None,
            outcome,
            second: None,
            tombstone,
            place: self.place(),
        });
        Ok(Answer::Refused(refused))
    }

    pub(super) fn tombstone(
        &self,
        row_id: [u8; 16],
        line: &Line,
        number: u64,
        problem: Problem,
    ) -> Result<v1::Dropped, TakeError> {
        let mut dropped = v1::Dropped {
            envelope_id: row_id.to_vec(),
            envelope_hash: line.hash.to_vec(),
            number,
            problem: problem.number(),
            dropped_at_ms: self.now_ms,
            signature: Vec::new(),
        };
        receipt::sign(&self.gateway.keys.signing, &mut dropped).map_err(|_| TakeError::Library)?;
        Ok(dropped)
    }

    fn refused(&self, line: &Line, refusal: Refusal) -> Result<Answer, TakeError> {
        self.sign_refused(line, refusal).map(Answer::Refused)
    }

    fn sign_refused(&self, line: &Line, refusal: Refusal) -> Result<v1::Refused, TakeError> {
        let envelope = (line.answer_id, line.hash);
        answer::refused(&self.gateway.keys.signing, envelope, refusal, self.now_ms)
            .map_err(|_| TakeError::Library)
    }

    /// The next place among all that is decided.
    pub(super) fn place(&self) -> usize {
        self.out.stored.len() + self.out.again.len()
    }

    pub(super) fn outcome(&self, row: &Submission, line: &Line, envelope_id: [u8; 16]) -> TakenRow {
        TakenRow {
            envelope_id,
            envelope_hash: line.hash,
            pair: row.pair.clone(),
            number: line.number,
            taken_at_ms: self.now_ms,
            problem: None,
            refused: None,
            delivered_at_ms: None,
        }
    }

    /// Leaves a line to come again; what stays of it is the row of a slip that nobody has shown before, and of a pair with nobody.
    fn later(&mut self, row: &Submission, line: &Line, refusal: Refusal) -> Answer {
        if let What::Envelope {
            read: Ok(verified), ..
        } = &line.what
            && let Ground::Slip { claimed, .. } = &verified.head.ground
        {
            self.idle_rows += usize::from(self.held.slips.new.remove(&claimed.id));
        }
        self.idle_rows += usize::from(!self.members.contains_key(&row.pair.recipient));
        later(line, refusal)
    }

    pub(super) fn advance(&mut self, row: &Submission, line: &Line, bytes: i64) {
        let position = match line.number {
            Some(number) => Position::at(number, line.hash),
            None => self.position(&row.pair),
        };
        let moved = self.out.moved.entry(row.pair.clone());
        let moved = moved.or_insert(Moved { position, bytes: 0 });
        moved.position = position;
        moved.bytes += bytes;
    }

    /// Adds bytes to what waits of a pair that does not move.
    pub(super) fn add_bytes(&mut self, pair: &Pair, bytes: i64) {
        let position = self.position(pair);
        let moved = self.out.moved.entry(pair.clone());
        moved.or_insert(Moved { position, bytes: 0 }).bytes += bytes;
    }

    pub(super) fn store(&mut self, stored: Stored<'a>) {
        let outcome = &stored.outcome;
        self.held.ids.insert(outcome.envelope_id, outcome.clone());
        if let Some(number) = outcome.number {
            self.held
                .numbers
                .insert((outcome.pair.clone(), number), outcome.clone());
        }
        self.out.stored.push(stored);
    }
}

fn state(member: Option<&Arc<KnownMember>>) -> MemberState {
    member.map_or(MemberState::NotMember, |known| known.state.into())
}

/// The answer of an outcome. One that was taken is receipted as taken, also when it was dropped later: a notice told that.
fn again(row: &TakenRow) -> Answer {
    match &row.refused {
        Some(refused) => Answer::Refused(refused.clone()),
        None => Answer::Taken {
            envelope_id: row.envelope_id,
            envelope_hash: row.envelope_hash,
            taken_at_ms: row.taken_at_ms,
        },
    }
}

/// The answer to a line that may come again.
pub(crate) fn later(line: &Line, refusal: Refusal) -> Answer {
    Answer::Later {
        envelope_id: line.answer_id,
        envelope_hash: line.hash,
        refusal,
    }
}
