//! Sending referrals, one or many at once. Called by the gRPC edge with what it parsed.
//!
//! ```text
//! one read for the chunk ──> rules, body, seal (no transaction) ──> door `send`: checked again, written, committed
//! ```
//! Never sends without a live slip that allows it: the slip is looked at before sealing and again under the counters'
//! lock in the transaction that queues the envelope. Never seals inside that transaction.

mod door;
mod ground;
mod prepare;

use kith_proto::id::{GrantId, OrgId, PersonId, RequestId, ThreadId};
use kith_proto::permits::{CategorySet, Refusal};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::StoreError;

use crate::content::ContentError;
use crate::node::Node;
use crate::outbox::OutboxError;
use crate::parts::Parts;
use crate::requests::{Asked, RepeatError};
use crate::tokens::Caller;

pub use door::{SendDoor, door};

use ground::Ground;
use prepare::Prepared;

/// Envelopes sealed between two chances for other tasks: about a millisecond.
const SEALED_AT_ONCE: usize = 4;

/// A referral to send, as the edge parsed it.
#[derive(Clone, Debug)]
pub struct NewReferral {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// Whom it is about.
    pub person_id: PersonId,
    /// The consent that allows it.
    pub grant_id: GrantId,
    /// To whom.
    pub recipient: OrgId,
    /// Why.
    pub purpose: Purpose,
    /// What is shared beyond the person's record; a field of the same name replaces the record's.
    pub parts: Parts,
    /// Which of the person's own parts go along.
    pub categories: CategorySet,
    /// When an answer is wanted, ms UTC; 0 for the default of the state `sent`.
    pub answer_by_ms: i64,
}

/// A referral that is in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its thread.
    pub thread_id: ThreadId,
    /// When the recipient should have taken it up.
    pub deadline_ms: i64,
}

/// Why a referral was not sent, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such person or grant, not this caller's, or the grant is another person's.
    #[error("no such person or grant")]
    NotFound,
    /// The rule of consent says no: see [`Refusal`].
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This organisation is suspended: ask the network's operator.
    #[error("this organisation is suspended")]
    Suspended,
    /// The person did not agree to this purpose: ask them.
    #[error("the consent is for another purpose")]
    PurposeNotAllowed,
    /// Nothing is left to share: the record has none of the wanted parts.
    #[error("the referral has nothing in it")]
    Empty,
    /// The day for an answer has passed.
    #[error("the day for an answer has passed")]
    AnswerByPassed,
    /// The person took part of the consent back while this was made ready: send it again, and it is held to what is left.
    #[error("the consent was narrowed meanwhile")]
    Narrowed,
    /// The envelope could not be made.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The request id came before with another request.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The content's keys failed, or the record was erased.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl SendError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Refused(refusal) => refusal.code().parse().unwrap_or(Problem::Invalid),
            Self::Suspended => Problem::MemberSuspended,
            Self::PurposeNotAllowed => Problem::ConsentMissing,
            Self::Empty | Self::AnswerByPassed => Problem::Invalid,
            Self::Outbox(error) => error.problem(),
            Self::Repeat(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) | Self::Narrowed => Problem::Unavailable,
        }
    }

    /// What the edge answers.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.problem());
        match self {
            Self::Outbox(error) => error.failure(),
            Self::Refused(Refusal::CategoryNotAllowed(missing)) => failure.with_field(
                "categories",
                format!("The person did not agree to share: {missing}."),
            ),
            Self::Suspended => failure.with_sentence(
                "Your own organisation is suspended from the network for now, so nothing new can be sent. Ask the network's operator.",
            ),
            Self::PurposeNotAllowed => failure.with_field(
                "purpose",
                "The person agreed to another purpose; ask them about this one.",
            ),
            Self::Empty => failure.with_field(
                "parts",
                "Nothing is left to share; add a part, or fill in the record.",
            ),
            Self::AnswerByPassed => failure.with_field("answer_by_ms", "This day has passed."),
            _ => failure,
        }
    }
}

impl NewReferral {
    /// What was asked, in one form, for telling repeats from conflicts.
    fn asked(&self) -> Asked {
        let request = v1::SendReferralRequest {
            request_id: Vec::new(),
            person_id: self.person_id.as_bytes().to_vec(),
            grant_id: self.grant_id.as_bytes().to_vec(),
            recipient: self.recipient.to_string(),
            purpose: self.purpose.number(),
            parts: self.parts.as_slice().to_vec(),
            categories: self.categories.iter().map(Category::number).collect(),
            answer_by_ms: self.answer_by_ms,
        };
        Asked::new("send_referral", self.request_id, &request)
    }
}

/// Sends referrals and gives one answer for each, in their order, after the commit. One that is refused refuses only
/// itself. A chunk of up to 64 keeps the read small; more work, but each makes the others wait.
pub async fn send_many(
    node: &Node,
    caller: &Caller,
    wanted: Vec<NewReferral>,
) -> Vec<Result<Sent, SendError>> {
    let prepared = prepare_many(node, caller, &wanted).await;
    hand_in(node, prepared).await
}

/// Makes referrals ready for the door: one read, then rules and seals, with chances for other tasks between.
pub(crate) async fn prepare_many(
    node: &Node,
    caller: &Caller,
    wanted: &[NewReferral],
) -> Vec<Result<Prepared, SendError>> {
    let ground = match Ground::read(node, wanted).await {
        Ok(ground) => ground,
        Err(error) => return wanted.iter().map(|_| Err(error.clone().into())).collect(),
    };
    let mut prepared = Vec::with_capacity(wanted.len());
    for (place, new) in wanted.iter().enumerate() {
        prepared.push(prepare::prepare(node, caller, &ground, new));
        if place % SEALED_AT_ONCE == SEALED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    prepared
}

/// Hands what is new to the door and answers all in their order; wakes link and watchers after the commit.
pub(crate) async fn hand_in(
    node: &Node,
    prepared: Vec<Result<Prepared, SendError>>,
) -> Vec<Result<Sent, SendError>> {
    let mut rows = Vec::with_capacity(prepared.len());
    let mut envelopes = Vec::with_capacity(prepared.len());
    let mut answers: Vec<Option<Result<Sent, SendError>>> = Vec::with_capacity(prepared.len());
    for prepared in prepared {
        answers.push(match prepared {
            Ok(Prepared::New(row)) => {
                envelopes.push(row.envelope());
                rows.push(*row);
                None
            }
            Ok(Prepared::Repeat(sent)) => Some(Ok(sent)),
            Err(error) => Some(Err(error)),
        });
    }
    let written = node.send_door.submit_all(rows).await;
    let mut written = written.into_iter().zip(envelopes);
    let mut last_change = 0;
    let finish = |answer: Option<Result<Sent, SendError>>| match answer {
        Some(answer) => answer,
        None => {
            let (done, (hash, envelope)) = written.next().ok_or(SendError::NotFound)?;
            let done = done?;
            if done.outbox > 0 {
                node.fresh.put(done.outbox, hash, envelope);
            }
            last_change = last_change.max(done.changed);
            Ok(done.sent)
        }
    };
    let answers: Vec<Result<Sent, SendError>> = answers.into_iter().map(finish).collect();
    if last_change > 0 {
        node.tell_change(last_change);
        node.outbox_ready.notify_one();
    }
    answers
}

/// Sends one referral: a chunk of one.
pub async fn send(node: &Node, caller: &Caller, new: NewReferral) -> Result<Sent, SendError> {
    send_many(node, caller, vec![new])
        .await
        .pop()
        .unwrap_or(Err(SendError::NotFound))
}
