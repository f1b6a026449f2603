//! Taking consent back: wholly, at one organisation, or for some categories.
//! Called by `WithdrawGrant`, `NarrowGrant` and the move `withdraw`. What others take back arrives through `receive`.
//! Never leaves a key of what was taken back, never waits for the gateway or a recipient before access ends here.
//!
//! ```text
//! look (grant, slips, keys) ──> seal a WITHDRAWAL for each slip ──> one transaction: keys destroyed, queued mail held back,
//!     threads withdrawn, stop pending, WITHDRAWALs queued, trail
//! ```
//! The WITHDRAWAL's body is kept for sealing again under the person's own holding, as the slip's keys are gone.

mod ending;
mod narrowing;

use kith_proto::id::{GrantId, OrgId};
use kith_proto::lifecycle::Party;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};

use crate::content::ContentError;
use crate::moves::look::look;
use crate::moves::{ATTEMPTS_MAX, MoveError, NewMove, Written};
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::requests::{self, Asked, RepeatError};
use crate::store;
use crate::store::grant::{GrantRecord, GrantState};
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipSide, SlipStanding};
use crate::thread_set::ThreadSet;
use crate::threads::Side;
use crate::tokens::Caller;

use ending::Ending;
pub(crate) use ending::{Meaning, sealed_again};
pub use narrowing::{NewNarrowing, narrow};

/// How far consent is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// From one organisation.
    Organisation(OrgId),
    /// This consent, from everyone it names.
    Consent,
    /// This consent and everything that followed from it.
    AllThatFollowed,
}

/// One withdrawal, as asked.
#[derive(Clone)]
pub struct NewWithdrawal {
    /// The request, for repeats.
    pub asked: Asked,
    /// Who asks, on the person's word.
    pub caller: Caller,
    /// The grant.
    pub grant_id: GrantId,
    /// How far.
    pub scope: Scope,
    /// Recorded wrongly, rather than a changed mind.
    pub invalidated: bool,
}

/// Why consent was not taken back or narrowed, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// No such grant, or not the caller's.
    #[error("no such grant for this caller")]
    NotFound,
    /// The grant never named this organisation.
    #[error("the grant does not name this organisation")]
    Recipient,
    /// A grant can be narrowed, never widened: ask the person for a new one.
    #[error("the grant does not allow so much already")]
    More,
    /// The grant has ended: there is nothing to narrow.
    #[error("the grant has ended")]
    Ended,
    /// The request id came before with another request.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// Something changed [`ATTEMPTS_MAX`] times meanwhile: try again.
    #[error("the grant kept changing")]
    Busy,
    /// The withdrawal was not sealed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The keys of content could not be opened.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WithdrawError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Recipient => Problem::RecipientNotAllowed,
            Self::More => Problem::Invalid,
            Self::Ended => Problem::ConsentWithdrawn,
            Self::Repeat(error) => error.problem(),
            Self::Busy | Self::Random(_) => Problem::Unavailable,
            Self::Outbox(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

impl From<WithdrawError> for MoveError {
    fn from(error: WithdrawError) -> Self {
        match error {
            // A thread always has its slip: only the first can come from a move.
            WithdrawError::NotFound
            | WithdrawError::Recipient
            | WithdrawError::More
            | WithdrawError::Ended => Self::NotFound,
            WithdrawError::Repeat(error) => error.into(),
            WithdrawError::Busy => Self::Busy,
            WithdrawError::Outbox(error) => error.into(),
            WithdrawError::Content(error) => error.into(),
            WithdrawError::Random(error) => error.into(),
            WithdrawError::Store(error) => error.into(),
        }
    }
}

/// A grant as found for a caller.
struct Found {
    grant: GrantRecord,
    /// Every slip of it.
    slips: Vec<SlipRow>,
    /// The person's own holding.
    own: Holding,
}

/// Finds a grant that the caller may end; any, without a caller.
async fn find(tx: &mut Tx, caller: Option<&Caller>, grant_id: &GrantId) -> Result<Found, WithdrawError> {
    let grant = store::grant::find(tx, &[*grant_id])
        .await?
        .pop()
        .ok_or(WithdrawError::NotFound)?;
    let person = store::person::get(tx, &grant.person_id).await?;
    let person = person.ok_or(StoreError::Corrupt {
        table: "grant_record",
        column: "person_id",
    })?;
    if caller.is_some_and(|caller| !caller.sees(&person.owner_token)) {
        return Err(WithdrawError::NotFound);
    }
    let own = store::holding::get(tx, person.holding_id).await?;
    let own = own.ok_or(StoreError::Corrupt {
        table: "person",
        column: "holding_id",
    })?;
    let slips = store::slip::of_grants(tx, &[*grant_id]).await?;
    Ok(Found { grant, slips, own })
}

/// Takes consent back. A repeat, and a withdrawal of what has ended, change nothing and get the first time.
pub async fn withdraw(node: &Node, new: &NewWithdrawal) -> Result<v1::WithdrawGrantResponse, WithdrawError> {
    take_back(node, new, Some(&new.caller)).await
}

/// Takes consent back for whoever brought the grant's stop code ([`by_stop_seed`](crate::grants::by_stop_seed)): as
/// [`withdraw`], whoever recorded the person.
pub async fn stop(node: &Node, new: &NewWithdrawal) -> Result<v1::WithdrawGrantResponse, WithdrawError> {
    take_back(node, new, None).await
}

async fn take_back(
    node: &Node,
    new: &NewWithdrawal,
    caller: Option<&Caller>,
) -> Result<v1::WithdrawGrantResponse, WithdrawError> {
    for _ in 0..ATTEMPTS_MAX {
        let look = |mut tx: Tx| async move {
            let answer = requests::first_answer(&mut tx, &new.asked).await?;
            let found = find(&mut tx, caller, &new.grant_id).await?;
            Ok::<_, WithdrawError>((answer, found))
        };
        let (answer, found) = node.store.read("look at withdrawal", look).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let now_ms = node.now_ms();
        let plan = plan(node, (new, caller.is_none()), &found, now_ms)?;
        let withdrawn_at_ms = if plan.endings.is_empty() {
            ended_at(&found, new)
        } else {
            now_ms
        };
        let plan = &plan;
        let write = |mut tx: Tx| async move {
            let answer = |_: &ThreadSet| v1::WithdrawGrantResponse { withdrawn_at_ms };
            ending::write(&mut tx, node, plan, answer).await
        };
        if let Written::Done(answer, changed) = node.store.tx("withdraw", write).await? {
            tell(node, changed);
            return Ok(answer);
        }
    }
    Err(WithdrawError::Busy)
}

/// Takes consent back for the organisation on the other side of a thread: at the sender as a withdrawal of its slip, at
/// the recipient by cutting its own access first and telling the capturing node after.
pub(crate) async fn by_thread(node: &Node, new: &NewMove) -> Result<v1::MoveReferralResponse, MoveError> {
    for _ in 0..ATTEMPTS_MAX {
        let look = |mut tx: Tx| async move {
            let answer = requests::first_answer(&mut tx, &new.asked).await?;
            let seen = look(&mut tx, &new.caller, &new.thread_id)
                .await?
                .ok_or(MoveError::NotFound)?;
            let own = match seen.slip.grant_id {
                Some(grant_id) => Some(find(&mut tx, Some(&new.caller), &grant_id).await?.own),
                None => None,
            };
            Ok::<_, MoveError>((answer, seen, own))
        };
        let (answer, seen, own) = node.store.read("look at withdrawal", look).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let meaning = Meaning {
            scope: v1::WithdrawalScope::Organisation,
            invalidated: false,
            categories: Vec::new(),
            at_ms: node.now_ms(),
        };
        let ended = seen.slip.state == SlipStanding::Withdrawn;
        let endings = match (ended, own) {
            (true, _) => Vec::new(),
            (false, own) => vec![Ending::prepare(node, seen.slip.clone(), &meaning, own.as_ref())?],
        };
        let plan = &ending::Plan {
            asked: &new.asked,
            caller: &new.caller,
            endings,
            party: if seen.thread.side == Side::Inbox {
                Party::Recipient
            } else {
                Party::Person
            },
            grant: seen.slip.grant_id.map(|id| (id, false)),
            by_stop_code: false,
            at_ms: meaning.at_ms,
        };
        let thread = &seen.thread;
        let write = |mut tx: Tx| async move {
            let answer = |threads: &ThreadSet| {
                let now = threads.get(&thread.thread_id).unwrap_or(thread);
                let (state, deadline_ms) = (now.situation.state.number(), now.deadline_ms);
                v1::MoveReferralResponse {
                    state,
                    proposed: false,
                    deadline_ms,
                }
            };
            ending::write(&mut tx, node, plan, answer).await
        };
        if let Written::Done(answer, changed) = node.store.tx("withdraw thread", write).await? {
            tell(node, changed);
            return Ok(answer);
        }
    }
    Err(MoveError::Busy)
}

/// What a withdrawal of a grant ends: the slips in its scope that have not ended so before.
fn plan<'a>(
    node: &Node,
    (new, by_stop_code): (&'a NewWithdrawal, bool),
    found: &Found,
    now_ms: i64,
) -> Result<ending::Plan<'a>, WithdrawError> {
    let scope = match &new.scope {
        Scope::Organisation(_) => v1::WithdrawalScope::Organisation,
        Scope::Consent => v1::WithdrawalScope::Consent,
        Scope::AllThatFollowed => v1::WithdrawalScope::AllThatFollowed,
    };
    let meaning = Meaning {
        scope,
        invalidated: new.invalidated,
        categories: Vec::new(),
        at_ms: now_ms,
    };
    let mut endings = Vec::new();
    for slip in in_scope(found, &new.scope)? {
        if slip.state != SlipStanding::Withdrawn {
            endings.push(Ending::prepare(node, slip.clone(), &meaning, Some(&found.own))?);
        }
    }
    Ok(ending::Plan {
        asked: &new.asked,
        caller: &new.caller,
        endings,
        party: Party::Person,
        grant: Some((new.grant_id, new.invalidated)),
        by_stop_code,
        at_ms: now_ms,
    })
}

/// The slips that a scope names; [`WithdrawError::Recipient`] when it names an organisation that has none.
fn in_scope<'a>(found: &'a Found, scope: &Scope) -> Result<Vec<&'a SlipRow>, WithdrawError> {
    let captured = found.slips.iter().filter(|slip| slip.side == SlipSide::Captured);
    match scope {
        Scope::Consent | Scope::AllThatFollowed => Ok(captured.collect()),
        Scope::Organisation(org) => {
            let slips: Vec<&SlipRow> = captured.filter(|slip| slip.peer == *org).collect();
            if slips.is_empty() {
                Err(WithdrawError::Recipient)
            } else {
                Ok(slips)
            }
        }
    }
}

/// When what is asked for had ended already.
fn ended_at(found: &Found, new: &NewWithdrawal) -> i64 {
    let slips = in_scope(found, &new.scope).unwrap_or_default();
    let last = slips.iter().filter_map(|slip| slip.ended_at_ms).max();
    let grant = found
        .grant
        .ended_at_ms
        .filter(|_| found.grant.state != GrantState::Live);
    last.or(grant).unwrap_or_default()
}

/// Tells watchers and the link, after the commit.
fn tell(node: &Node, changed: Option<i64>) {
    if let Some(number) = changed {
        node.tell_change(number);
        node.outbox_ready.notify_one();
    }
}

/// How far withdrawals of a grant got at each recipient: sent, reached, proof.
pub async fn recipients(tx: &mut Tx, grant_id: &GrantId) -> Result<Vec<v1::GrantRecipient>, StoreError> {
    let reached = store::withdrawals::reached(tx, grant_id).await?;
    let recipient = |one: store::withdrawals::Reached| v1::GrantRecipient {
        recipient: one.recipient,
        slip_id: one.slip_id.as_bytes().to_vec(),
        withdrawal_sent_at_ms: one.sent_at_ms.unwrap_or_default(),
        withdrawal_reached_at_ms: one.reached_at_ms.unwrap_or_default(),
        proof: one.proof,
        openings: Vec::new(),
    };
    Ok(reached.into_iter().map(recipient).collect())
}
