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

pub(super) mod decide;

use self::decide::{Decided, Held, Stored};
use super::submit::{Line, Submission, What};
use crate::audit::{Code, Event, Salted};
use crate::gate::{self, Refusal};
use crate::gateway::Gateway;
use crate::limits::{SUBMISSION_ENVELOPES_MAX, TAKE_ROWS_MAX};
use crate::store::counter::{self, Counter};
use crate::store::mailbox::{self, BatchRow, Content, Posted};
use crate::store::pair::{self, Pair};
use crate::store::slip::{self, Seen, SlipRow};
use crate::store::{audit, taken};

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
    posted: Vec<Posted>,
    events: Vec<Salted>,
}

fn prepare(
    gateway: &Gateway,
    rows: &[Submission],
    decided: &Decided<'_>,
    now_ms: i64,
) -> Result<Prepared, TakeError> {
    let mut batch_ids: BTreeMap<usize, [u8; 16]> = BTreeMap::new();
    let mut prepared = Prepared {
        batches: Vec::new(),
        posted: Vec::new(),
        events: Vec::new(),
    };
    for stored in &decided.stored {
        let event = event(gateway, stored, now_ms).map_err(|_| TakeError::Library)?;
        prepared.events.push(event);
        let content = match (&stored.line.what, &stored.tombstone) {
            (_, Some(tombstone)) => Content::Tombstone(tombstone.encode_to_vec()),
            (What::Envelope { encoded, .. }, None) if stored.head.is_some() => {
                Content::Envelope(encoded.clone())
            }
            _ => continue,
        };
        let order = rows.get(stored.submission).and_then(|row| row.order.as_ref());
        let batch_id = match (order, batch_ids.get(&stored.submission)) {
            (None, _) => None,
            (Some(_), Some(id)) => Some(*id),
            (Some(order), None) => {
                let batch_id = gateway.rng.bytes().map_err(|_| TakeError::Library)?;
                batch_ids.insert(stored.submission, batch_id);
                prepared.batches.push(BatchRow {
                    batch_id,
                    pair: stored.outcome.pair.clone(),
                    batch: order.encoded.clone(),
                });
                Some(batch_id)
            }
        };
        prepared.posted.push(posted(stored, batch_id, content, now_ms));
    }
    Ok(prepared)
}

fn posted(stored: &Stored<'_>, batch_id: Option<[u8; 16]>, content: Content, now_ms: i64) -> Posted {
    let head = stored.head.map(|verified| &verified.head);
    let slip_id = head.and_then(|head| match &head.ground {
        Ground::Slip { claimed, .. } => Some(claimed.id),
        Ground::Membership | Ground::Note(_) => None,
    });
    Posted {
        position: 0,
        pair: stored.outcome.pair.clone(),
        number: stored.outcome.number,
        envelope_id: stored.outcome.envelope_id,
        envelope_hash: stored.outcome.envelope_hash,
        kind: mailbox::kind_word(head.map(|head| head.kind)),
        slip_id,
        exempt: head.is_none_or(gate::is_exempt),
        batch_id,
        taken_at_ms: now_ms,
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
    let code = match outcome.problem {
        None => Code::EnvelopeTaken,
        Some(_) => Code::EnvelopeRefused,
    };
    let number = outcome
        .number
        .map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let event = Event::new(code, now_ms)
        .org("from", &outcome.pair.sender)
        .org("to", &outcome.pair.recipient)
        .id("envelope", &outcome.envelope_id)
        .hash("envelope_hash", &outcome.envelope_hash)
        .number("number", number);
    let event = match outcome.problem {
        Some(problem) => event.word("problem", problem.as_str()),
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
    if decided.stored.is_empty() {
        return Ok(());
    }
    pair::advance(tx, &decided.moved).await?;
    taken::count_forms(tx, &decided.forms, day(now_ms)).await?;
    let outcomes: Vec<_> = decided.stored.iter().map(|stored| &stored.outcome).collect();
    taken::insert(tx, &outcomes).await?;
    mailbox::keep_batches(tx, &prepared.batches, now_ms).await?;
    if !prepared.posted.is_empty() {
        let first = counter::take(tx, Counter::Mailbox, prepared.posted.len()).await?;
        for (position, row) in (first..).zip(&mut prepared.posted) {
            row.position = position;
        }
        mailbox::post(tx, &prepared.posted).await?;
    }
    audit::insert(tx, &prepared.events).await
}
