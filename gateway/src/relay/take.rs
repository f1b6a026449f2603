//! The take door: submissions of all streams become mailbox rows, outcomes and audit events, in one transaction with a fixed number
//! of multi-row statements. Called by the streams with rows that [`super::submit`] has checked.
//! Never answers before the commit, never reads a row per envelope, never verifies a signature.
//!
//! Rows are locked in this order: slips, pairs, counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use kith_proto::envelope::{Ground, Verified};
use kith_proto::id::{OrgId, SlipId};
use kith_proto::order::OrderError;
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{Batch, BatchAnswers, Store, StoreError, Tx};
use prost::Message as _;

mod again;
pub(super) mod decide;

use self::again::Again;
use self::decide::{Decided, Held, Stored};
use super::reoffer;
use super::submit::{Line, Submission, What};
use crate::audit::{Code, Event, Salted};
use crate::gate::{self, Refusal};
use crate::gateway::Gateway;
use crate::limits::{SUBMISSION_ENVELOPES_MAX, TAKE_ROWS_MAX};
use crate::store::counter::{self, Counter};
use crate::store::mailbox::{self, BatchRow, Content, Posted};
use crate::store::pair::{self, Pair};
use crate::store::slip::{self, Seen, SlipRow};
use crate::store::taken::{self, TakenRow};
use crate::store::{self, audit};

/// What becomes of one line, told to its sender after the commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Taken, now or when it came before.
    Taken {
        /// The envelope's id.
        envelope_id: [u8; 16],
        /// Its hash.
        envelope_hash: [u8; 32],
        /// When it was first taken.
        taken_at_ms: i64,
    },
    /// Refused for good, as signed.
    Refused(v1::Refused),
    /// Not taken; its number is free.
    Later {
        /// The envelope's id.
        envelope_id: [u8; 16],
        /// Its hash.
        envelope_hash: [u8; 32],
        /// Why, and when it may come again.
        refusal: Refusal,
    },
}

/// Why a submission has no answers; its stream ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// The order batch does not go on from what is held: the node must compare histories.
    #[error(transparent)]
    Order(OrderError),
    /// The gateway could not sign or draw randomness: try again.
    #[error("the cryptographic library failed")]
    Library,
    /// Nothing was kept, or it is unknown whether it was: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway is stopping: try again.
    #[error("the gateway is stopping")]
    Stopping,
}

impl TakeError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Order(error) => error.problem(),
            Self::Library | Self::Stopping => Problem::Unavailable,
            Self::Store(error) => error.problem(),
        }
    }
}

/// The door's handle.
pub type TakeDoor = Batch<Submission, Answers, TakeError>;

/// What becomes of one submission.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// One a line, in their order.
    pub lines: Vec<Answer>,
    /// How many rows it left that serve nobody, see [`crate::budget`].
    pub idle_rows: usize,
}

/// Opens the door; its writer ends with the gateway.
pub fn open(store: &Store, gateway: Weak<Gateway>) -> TakeDoor {
    store.batch("take", TAKE_ROWS_MAX, move |mut tx, rows| {
        let gateway = gateway.upgrade();
        async move {
            match gateway {
                Some(gateway) => take(&gateway, &mut tx, &rows).await,
                None => Ok(rows.iter().map(|_| Err(TakeError::Stopping)).collect()),
            }
        }
    })
}

async fn take(gateway: &Gateway, tx: &mut Tx, rows: &[Submission]) -> BatchAnswers<Answers, TakeError> {
    let now_ms = gateway.clock.now_ms();
    let held = look_up(tx, rows, now_ms).await?;
    let decided = decide::decide(gateway, rows, held, now_ms);
    let written = decided.and_then(|decided| {
        let rows = prepare(gateway, rows, &decided, now_ms)?;
        Ok((decided, rows))
    });
    match written {
        Ok((decided, prepared)) => {
            write(tx, &decided, prepared, now_ms).await?;
            Ok(decided.answers)
        }
        Err(error) => Ok(rows.iter().map(|_| Err(error.clone())).collect()),
    }
}

/// Days since 1970-01-01 UTC, for the count of questions and answers.
pub(crate) const fn day(now_ms: i64) -> i64 {
    now_ms.div_euclid(24 * 60 * 60 * 1000)
}

/// Locks slips and pairs and reads what the decisions need.
async fn look_up(tx: &mut Tx, rows: &[Submission], now_ms: i64) -> Result<Held, StoreError> {
    let slips = seen(rows);
    let slip_ids: Vec<SlipId> = slips.keys().copied().collect();
    let pairs: BTreeSet<Pair> = rows.iter().map(|row| row.pair.clone()).collect();
    let recipients: BTreeSet<&OrgId> = rows.iter().map(|row| &row.pair.recipient).collect();
    let ids: BTreeSet<[u8; 16]> = lines(rows).map(|line| line.answer_id).collect();
    let ids: Vec<[u8; 16]> = ids.into_iter().collect();
    let mut held = Held {
        slips: slip::see(tx, &slips).await?,
        stops: slip::stops(tx, &slip_ids).await?,
        pairs: pair::lock(tx, &pairs).await?,
        waiting: pair::waiting(tx, &recipients).await?,
        ids: taken::by_ids(tx, &ids).await?,
        ..Held::default()
    };
    let senders: BTreeSet<&OrgId> = rows
        .iter()
        .filter(|row| row.lines.iter().any(is_form))
        .map(|row| &row.pair.sender)
        .collect();
    if !senders.is_empty() {
        let senders: Vec<&OrgId> = senders.into_iter().collect();
        held.forms = taken::forms(tx, &senders, day(now_ms)).await?;
    }
    for row in rows {
        look_up_repeats(tx, row, &mut held).await?;
    }
    again::look_up(tx, rows, &mut held, now_ms).await?;
    Ok(held)
}

/// Reads the outcomes of lines that came before; none in the ordinary course.
async fn look_up_repeats(tx: &mut Tx, row: &Submission, held: &mut Held) -> Result<(), StoreError> {
    let last = held.pairs.get(&row.pair).map_or(0, |pair| pair.position.number());
    let repeated = row
        .lines
        .iter()
        .filter_map(|line| line.number)
        .filter(|number| *number <= last);
    let (Some(first), Some(until)) = (repeated.clone().min(), repeated.max()) else {
        return Ok(());
    };
    // A batch of consecutive lines; one that is not is refused before its outcomes are asked for.
    let rows_max = row.lines.len().max(SUBMISSION_ENVELOPES_MAX);
    for outcome in taken::by_numbers(tx, &row.pair, (first, until), rows_max).await? {
        if let Some(number) = outcome.number {
            held.numbers.insert((row.pair.clone(), number), outcome);
        }
    }
    Ok(())
}

fn lines(rows: &[Submission]) -> impl Iterator<Item = &Line> {
    rows.iter().flat_map(|row| &row.lines)
}

fn is_form(line: &Line) -> bool {
    match &line.what {
        What::Envelope {
            read: Ok(verified), ..
        } => {
            matches!(verified.head.kind, EnvelopeKind::Question | EnvelopeKind::Answer)
        }
        What::Envelope { .. } | What::Withheld => false,
    }
}

/// The slips of all envelopes that are their sender's; the first one of each id speaks for it.
fn seen(rows: &[Submission]) -> BTreeMap<SlipId, Seen> {
    let mut slips = BTreeMap::new();
    for line in lines(rows) {
        let What::Envelope {
            read: Ok(verified), ..
        } = &line.what
        else {
            continue;
        };
        if let Ground::Slip { signed, claimed } = &verified.head.ground {
            slips.entry(claimed.id).or_insert_with(|| Seen {
                row: SlipRow {
                    sender: claimed.from.clone(),
                    recipient: claimed.to.clone(),
                    stop_hash: claimed.stop_hash,
                },
                expires_at_ms: claimed.expires_at_ms,
                slip_hash: sha256(&[&signed.slip]),
            });
        }
    }
    slips
}

/// Rows that need randomness, drawn before anything is written.
struct Prepared {
    batches: Vec<BatchRow>,
    batch_ids: BTreeMap<usize, [u8; 16]>,
    /// With their places among all that is put in.
    posted: Vec<Posted>,
    /// What waits already, with its new place.
    placed: Vec<([u8; 16], i64)>,
    events: Vec<Salted>,
}

impl Prepared {
    /// The id under which the order batch of a submission is kept; none outside the order.
    fn batch_id(
        &mut self,
        gateway: &Gateway,
        rows: &[Submission],
        submission: usize,
    ) -> Result<Option<[u8; 16]>, TakeError> {
        if let Some(id) = self.batch_ids.get(&submission) {
            return Ok(Some(*id));
        }
        let Some((row, order)) = rows
            .get(submission)
            .and_then(|row| Some((row, row.order.as_ref()?)))
        else {
            return Ok(None);
        };
        let batch_id = gateway.rng.bytes().map_err(|_| TakeError::Library)?;
        self.batch_ids.insert(submission, batch_id);
        self.batches.push(BatchRow {
            batch_id,
            pair: row.pair.clone(),
            batch: order.encoded.clone(),
        });
        Ok(Some(batch_id))
    }

    /// The next place.
    fn place(&self) -> i64 {
        i64::try_from(self.posted.len() + self.placed.len()).unwrap_or(i64::MAX)
    }
}

fn prepare(
    gateway: &Gateway,
    rows: &[Submission],
    decided: &Decided<'_>,
    now_ms: i64,
) -> Result<Prepared, TakeError> {
    let mut prepared = Prepared {
        batches: Vec::new(),
        batch_ids: BTreeMap::new(),
        posted: Vec::new(),
        placed: Vec::new(),
        events: Vec::new(),
    };
    // In the order in which they were decided: what comes again and what is new stand in one order of their pair.
    let mut agains = decided.again.iter().peekable();
    for stored in &decided.stored {
        while let Some(again) = agains.next_if(|again| again.place < stored.place) {
            put_again(gateway, rows, (again, &mut prepared), now_ms)?;
        }
        let event = event(gateway, stored, now_ms).map_err(|_| TakeError::Library)?;
        prepared.events.push(event);
        let content = match (&stored.line.what, &stored.tombstone) {
            (_, Some(tombstone)) => Content::Tombstone(tombstone.encode_to_vec()),
            (What::Envelope { encoded, .. }, None) if stored.head.is_some() => {
                Content::Envelope(encoded.clone())
            }
            _ => continue,
        };
        let batch_id = prepared.batch_id(gateway, rows, stored.submission)?;
        let posted = posted((&stored.outcome, stored.head), batch_id, content, now_ms);
        let position = prepared.place();
        prepared.posted.push(Posted { position, ..posted });
    }
    for again in agains {
        put_again(gateway, rows, (again, &mut prepared), now_ms)?;
    }
    Ok(prepared)
}

/// Prepares what is put into the mailbox again: under the batch that comes now, as its key signed that.
fn put_again(
    gateway: &Gateway,
    rows: &[Submission],
    (again, prepared): (&Again<'_>, &mut Prepared),
    now_ms: i64,
) -> Result<(), TakeError> {
    let position = prepared.place();
    if again.waits {
        prepared.placed.push((again.outcome.envelope_id, position));
        return Ok(());
    }
    let content = match (&again.line.what, &again.tombstone) {
        (_, Some(tombstone)) => Content::Tombstone(tombstone.encode_to_vec()),
        (What::Envelope { encoded, .. }, None) => Content::Envelope(encoded.clone()),
        (What::Withheld, None) => return Ok(()),
    };
    let head = again.head.filter(|_| again.tombstone.is_none());
    let batch_id = prepared.batch_id(gateway, rows, again.submission)?;
    // Outside the order the envelope's own signature counts, by the key of when it was taken.
    let taken_at_ms = again.line.number.map_or(again.outcome.taken_at_ms, |_| now_ms);
    let posted = posted((&again.outcome, head), batch_id, content, taken_at_ms);
    prepared.posted.push(Posted { position, ..posted });
    Ok(())
}

fn posted(
    (outcome, head): (&TakenRow, Option<&Verified>),
    batch_id: Option<[u8; 16]>,
    content: Content,
    taken_at_ms: i64,
) -> Posted {
    let head = head.map(|verified| &verified.head);
    let slip_id = head.and_then(|head| match &head.ground {
        Ground::Slip { claimed, .. } => Some(claimed.id),
        Ground::Membership | Ground::Note(_) => None,
    });
    Posted {
        position: 0,
        pair: outcome.pair.clone(),
        number: outcome.number,
        envelope_id: outcome.envelope_id,
        envelope_hash: outcome.envelope_hash,
        kind: mailbox::kind_word(head.map(|head| head.kind)),
        slip_id,
        exempt: head.is_none_or(gate::is_exempt),
        batch_id,
        taken_at_ms,
        expires_at_ms: head.map_or(i64::MAX, |head| head.expires_at_ms),
        content,
    }
}

fn event(
    gateway: &Gateway,
    stored: &Stored<'_>,
    now_ms: i64,
) -> Result<Salted, kith_service::rng::RandomFailed> {
    let outcome = &stored.outcome;
    let (code, problem) = match (stored.second, outcome.problem) {
        (Some(second), _) => (Code::EnvelopeTakenAgain, second.problem),
        (None, None) => (Code::EnvelopeTaken, None),
        (None, problem) => (Code::EnvelopeRefused, problem),
    };
    let envelope_id = stored
        .second
        .map_or(outcome.envelope_id, |second| second.envelope_id);
    let number = outcome
        .number
        .map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let event = Event::new(code, now_ms)
        .org("from", &outcome.pair.sender)
        .org("to", &outcome.pair.recipient)
        .id("envelope", &envelope_id)
        .hash("envelope_hash", &outcome.envelope_hash)
        .number("number", number);
    let event = match problem {
        Some(problem) => event.word("problem", problem.as_str()),
        None => event,
    };
    // The row that is kept of a second number stands under an id of its own.
    let event = match stored.second {
        Some(second) => event
            .id("stand_in", &outcome.envelope_id)
            .word("delivery", if second.again { "again" } else { "not_again" }),
        None => event,
    };
    // Of a refused one as well, as far as it could be read.
    let event = match &stored.line.what {
        What::Envelope {
            read: Ok(verified), ..
        } => about(event, verified),
        What::Envelope { .. } | What::Withheld => event,
    };
    Salted::new(&gateway.rng, event)
}

/// What the head says of an envelope that could be read.
fn about(event: Event, verified: &Verified) -> Event {
    let head = &verified.head;
    let event = event
        .word("kind", head.kind.as_str())
        .id("thread", head.thread_id.as_bytes());
    match &head.ground {
        // A referral says what the slip's row must go on saying.
        Ground::Slip { claimed, .. } if head.kind == EnvelopeKind::Referral => event
            .id("slip", claimed.id.as_bytes())
            .number("until_ms", claimed.expires_at_ms)
            .hash("stop_hash", &claimed.stop_hash),
        Ground::Slip { claimed, .. } => event.id("slip", claimed.id.as_bytes()),
        Ground::Membership | Ground::Note(_) => event,
    }
}

async fn write(
    tx: &mut Tx,
    decided: &Decided<'_>,
    mut prepared: Prepared,
    now_ms: i64,
) -> Result<(), StoreError> {
    if decided.stored.is_empty() && decided.again.is_empty() {
        return Ok(());
    }
    pair::advance(tx, &decided.moved).await?;
    taken::count_forms(tx, &decided.forms, day(now_ms)).await?;
    let outcomes: Vec<_> = decided.stored.iter().map(|stored| &stored.outcome).collect();
    taken::insert(tx, &outcomes).await?;
    mailbox::keep_batches(tx, &prepared.batches, now_ms).await?;
    let places = prepared.posted.len() + prepared.placed.len();
    if places > 0 {
        let first = counter::take(tx, Counter::Mailbox, places).await?;
        for row in &mut prepared.posted {
            row.position += first;
        }
        mailbox::post(tx, &prepared.posted).await?;
        for (_, position) in &mut prepared.placed {
            *position += first;
        }
        store::reoffer::place(tx, &prepared.placed).await?;
    }
    for (pair, row) in &decided.reoffers {
        store::reoffer::move_on(tx, pair, row, now_ms).await?;
        if row.after >= row.through {
            reoffer::later(tx, pair, row.through).await?;
        }
    }
    audit::insert(tx, &prepared.events).await
}
