//! Moves that people of this organisation ask for: made here and told to the other side, or proposed to it.
//! Called by `MoveReferral` and, through it, the command line. Withdrawing goes through [`crate::withdrawals`].
//! Never seals inside a transaction, never writes over a thread that moved meanwhile, never moves without the trail.
//!
//! ```text
//! look (thread, slip, holding) ──> plan ──> seal ──> one transaction: still as it was? then row, event, words, outbox, trail
//!          ^────────────────────────── no: at most five times ──────────────┘
//! ```

pub(crate) mod look;
pub(crate) mod plan;
pub(crate) mod told;

use kith_proto::id::{EventId, ThreadId};
use kith_proto::lifecycle::{Move, Reason, Refused};
use kith_proto::part::FIELD_VALUE_BYTES_MAX;
use kith_proto::permits::Refusal;
use kith_proto::problem::Problem;
use kith_proto::screen::{Found, screen};
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};

use crate::audit;
use crate::content::ContentError;
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::requests::{self, Asked, RepeatError};
use crate::store;
use crate::store::counter::Counter;
use crate::store::thread::Update;
use crate::threads::{EventRow, Thread, problem_of};
use crate::tokens::Caller;
use crate::withdrawals;

use look::{Seen, look};
use plan::{Plan, plan};
use told::Told;

/// How often a move is planned again because the thread moved meanwhile. Each time another writer got on, so that more
/// than a few mean a machine is asking in a loop.
pub const ATTEMPTS_MAX: u32 = 5;
/// Longest words of a move or message, in bytes: as one field of a part.
pub const WORDS_BYTES_MAX: usize = FIELD_VALUE_BYTES_MAX;

/// One move, as asked.
#[derive(Clone)]
pub struct NewMove {
    /// The request, for repeats.
    pub asked: Asked,
    /// Who asks.
    pub caller: Caller,
    /// The thread.
    pub thread_id: ThreadId,
    /// The verb.
    pub mv: Move,
    /// Why; every move into a terminal state needs one.
    pub reason: Option<Reason>,
    /// Words for the other side, where progress may flow; mostly empty.
    pub words: String,
}

/// Why a move or message was not taken, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// No such thread, or not the caller's.
    #[error("no such thread for this caller")]
    NotFound,
    /// The lifecycle does not allow it now: see [`Refused`].
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Consent does not allow it: see [`Refusal`].
    #[error(transparent)]
    Consent(#[from] Refusal),
    /// The words are longer than [`WORDS_BYTES_MAX`], or missing where they are the message.
    #[error("the words are missing or too long")]
    Words,
    /// The words look like they have an immigration number in them: remove it.
    #[error(transparent)]
    Number(#[from] Found),
    /// The request id came before with another request.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The thread moved [`ATTEMPTS_MAX`] times meanwhile: try again.
    #[error("the thread kept moving")]
    Busy,
    /// The envelope was not sealed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The words were not sealed for keeping, or were erased.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MoveError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Refused(refused) => problem_of(*refused),
            Self::Consent(refusal) => refusal.code().parse().unwrap_or(Problem::Invalid),
            Self::Words => Problem::Invalid,
            Self::Number(_) => Problem::NumberRefused,
            Self::Repeat(error) => error.problem(),
            Self::Busy | Self::Random(_) => Problem::Unavailable,
            Self::Outbox(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// What one transaction made of something that was prepared before it.
pub(crate) enum Written<A> {
    /// It stands; the number of the last change, where there was one.
    Done(A, Option<i64>),
    /// Something it was prepared on has changed: prepare it again.
    Overtaken,
}

/// Makes or proposes a move. A repeat gets the first answer; a move to where things already are changes nothing.
pub async fn move_referral(node: &Node, new: &NewMove) -> Result<v1::MoveReferralResponse, MoveError> {
    check_words(&new.words)?;
    if new.mv == Move::Withdraw {
        return withdrawals::by_thread(node, new).await;
    }
    let event_id = EventId::from_bytes(node.rng.bytes()?);
    for _ in 0..ATTEMPTS_MAX {
        let found = node
            .store
            .read("look at move", |mut tx| async move { find(&mut tx, new).await })
            .await?;
        let seen = match found {
            Known::Answered(answer) => return Ok(answer),
            Known::Seen(seen) => seen,
        };
        let act = act(node, new, *seen, event_id)?;
        let act = &act;
        let write = node.store.tx(
            "move",
            |mut tx| async move { write(&mut tx, node, new, act).await },
        );
        if let Written::Done(answer, changed) = write.await? {
            if let Some(number) = changed {
                node.tell_change(number);
                node.outbox_ready.notify_one();
            }
            return Ok(answer);
        }
    }
    Err(MoveError::Busy)
}

/// What the store says before anything is decided.
enum Known {
    Answered(v1::MoveReferralResponse),
    Seen(Box<Seen>),
}

async fn find(tx: &mut Tx, new: &NewMove) -> Result<Known, MoveError> {
    if let Some(answer) = requests::first_answer(tx, &new.asked).await? {
        return Ok(Known::Answered(answer));
    }
    let seen = look(tx, &new.caller, &new.thread_id).await?;
    seen.map(|seen| Known::Seen(Box::new(seen)))
        .ok_or(MoveError::NotFound)
}

/// Everything that one move writes.
struct Act {
    seen: Seen,
    /// What is written over the row, and the event; none for a move to where things already are.
    moved: Option<(Thread, EventRow, Told)>,
    answer: v1::MoveReferralResponse,
}

fn act(node: &Node, new: &NewMove, seen: Seen, event_id: EventId) -> Result<Act, MoveError> {
    let asked = plan::Asked {
        event_id,
        mv: new.mv,
        reason: new.reason,
        words_id: (!new.words.is_empty()).then_some(*event_id.as_bytes()),
        now_ms: node.now_ms(),
    };
    let planned = plan(&seen.thread, &asked)?;
    let (state, proposed, deadline_ms) = plan::answer_state(&planned, &seen.thread);
    let answer = v1::MoveReferralResponse {
        state: state.number(),
        proposed,
        deadline_ms,
    };
    let moved = match planned {
        Plan::Nothing => None,
        Plan::Made(change) => Some((change.thread, change.event)),
        Plan::Proposed(event) => {
            let updated_at_ms = asked.now_ms.max(seen.thread.updated_at_ms);
            Some((
                Thread {
                    updated_at_ms,
                    ..seen.thread.clone()
                },
                *event,
            ))
        }
    };
    let tell = |(thread, event): (Thread, EventRow)| -> Result<_, MoveError> {
        let told = told::event(node, &seen, &event, &new.words)?;
        Ok((thread, event, told))
    };
    let moved = moved.map(tell).transpose()?;
    Ok(Act { seen, moved, answer })
}

async fn write(
    tx: &mut Tx,
    node: &Node,
    new: &NewMove,
    act: &Act,
) -> Result<Written<v1::MoveReferralResponse>, MoveError> {
    let mut counter = Counter::lock(tx).await?;
    if let Some(answer) = requests::first_answer(tx, &new.asked).await? {
        return Ok(Written::Done(answer, None));
    }
    if !act.seen.still_stands(tx, !new.words.is_empty()).await? {
        return Ok(Written::Overtaken);
    }
    let now_ms = node.now_ms();
    requests::keep(tx, &new.asked, &act.answer, now_ms).await?;
    let Some((thread, event, told)) = &act.moved else {
        counter.save(tx).await?;
        return Ok(Written::Done(act.answer, None));
    };
    let changed = counter.next_change();
    let update = Update {
        before: act.seen.thread.before(),
        thread: thread.clone(),
        changed,
    };
    if store::thread::update(tx, &[update]).await? != 1 {
        return Ok(Written::Overtaken);
    }
    store::thread::put_events(tx, std::slice::from_ref(event)).await?;
    told.write(tx, &mut counter).await?;
    let trail = [
        audit::brought_about(told::moved(event), &new.caller),
        told.trail(now_ms),
    ];
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    counter.save(tx).await?;
    Ok(Written::Done(act.answer, Some(changed)))
}

/// Words that may be sent: none, or a text within its limit without an immigration number.
pub(crate) fn check_words(words: &str) -> Result<(), MoveError> {
    if words.len() > WORDS_BYTES_MAX {
        return Err(MoveError::Words);
    }
    Ok(screen(words)?)
}
