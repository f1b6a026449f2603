//! What arrived from other members, already verified and opened by the link: prepared, then written by the batch door
//! `receive`, in the order of each pair, many in one transaction.
//!
//! ```text
//! arrivals ──> letter (what the body says) ──> prepare (keys, sealed content, replies) ──> door: one transaction ──> receipts
//!                                     a proposal to a thread goes alone, as its reply names the state it led to
//! ```
//! Called by the link's receiving half. Never answers an envelope before the commit that keeps it, never applies one twice.

mod apply;
mod door;
mod letter;
mod prepare;
mod proposal;

use kith_proto::envelope::Head;
use kith_proto::id::{EnvelopeId, OrgId};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::store::StoreError;

use crate::content::ContentError;
use crate::node::Node;
use crate::outbox::OutboxError;

pub use door::{RECEIVE_ROWS_MAX, ReceiveDoor, door};

use door::Row;
use letter::Letter;

/// How often an arrival is prepared again because something changed between preparing and writing.
const ATTEMPTS: u32 = 5;

/// One envelope, or the tombstone of one, in the order in which it came.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who sent it.
    pub peer: OrgId,
    /// The position of the pair after it; none for kinds outside the order.
    pub position: Option<Position>,
    /// The envelope.
    pub envelope_id: EnvelopeId,
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// What came.
    pub what: What,
}

/// What an arrival holds.
#[derive(Clone, Debug)]
pub enum What {
    /// A verified and opened envelope.
    Opened(Box<Opened>),
    /// An envelope that did not verify or open, and why; nothing of it is shown.
    Refused(Problem),
    /// The gateway's signed word that the envelope will never come.
    Tombstone(Problem),
}

/// A verified and opened envelope about a person.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its head.
    pub head: Head,
    /// The slip in the head, as signed and as parsed; its signature was checked.
    pub signed: v1::SignedSlip,
    /// What the slip says.
    pub slip: Slip,
    /// What was sealed.
    pub body: v1::Body,
}

/// What the sender is told of one arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The sender.
    pub peer: OrgId,
    /// The envelope.
    pub envelope_id: EnvelopeId,
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Why it was refused.
    pub problem: Option<Problem>,
    /// When it came first, by the gateway's time.
    pub at_ms: i64,
}

/// Why arrivals were not written; they come again on the next stream.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content could not be sealed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A reply could not be sealed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// Something changed between preparing and writing: prepare it again.
    #[error("something changed meanwhile")]
    Changed,
}

impl ReceiveError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Outbox(error) => error.problem(),
            Self::Random(_) | Self::Changed => Problem::Unavailable,
        }
    }
}

/// Receives arrivals in their order and gives one receipt each, after their commit. On an error what came before the
/// failing arrival is kept, and nothing after it.
pub async fn receive(node: &Node, arrivals: Vec<Arrival>) -> Result<Vec<Receipt>, ReceiveError> {
    let received_at_ms = node.now_ms();
    let mut letters = arrivals
        .into_iter()
        .map(|arrival| Letter::read(arrival, received_at_ms));
    let mut receipts = Vec::new();
    let mut together = Vec::new();
    loop {
        let next = letters.next();
        let alone = next.as_ref().is_none_or(Letter::goes_alone);
        if alone && !together.is_empty() {
            receipts.extend(write(node, std::mem::take(&mut together)).await?);
        }
        match next {
            None => return Ok(receipts),
            Some(letter) if alone => receipts.push(proposal::receive(node, letter).await?),
            Some(letter) => together.push(letter),
        }
    }
}

/// Prepares and writes letters; those that something overtook are prepared again. An order of a pair is kept: once one
/// letter must be prepared again, so must all that follow.
async fn write(node: &Node, letters: Vec<Letter>) -> Result<Vec<Receipt>, ReceiveError> {
    let mut receipts = Vec::with_capacity(letters.len());
    let mut letters = letters;
    for _ in 0..ATTEMPTS {
        let rows: Vec<Row> = prepare::prepare(node, &letters).await?;
        let answers = node.receive_door.submit_all(rows).await;
        let mut answers = answers.into_iter();
        let mut done = 0;
        let overtaken = loop {
            match answers.next() {
                None => return Ok(receipts),
                Some(Ok(written)) => {
                    receipts.push(written.told(node));
                    done += 1;
                }
                Some(Err(ReceiveError::Changed)) => break true,
                Some(Err(error)) => return Err(error),
            }
        };
        if overtaken {
            letters.drain(..done);
        }
    }
    Err(ReceiveError::Changed)
}
