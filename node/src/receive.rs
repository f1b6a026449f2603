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
mod proof;
mod proposal;
mod report;
mod returned;

use std::collections::BTreeSet;

use kith_proto::envelope::{EnvelopeError, Head};
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
    /// Whether other arrivals would have met it as well, or time cures it; if not, it is about this arrival alone.
    fn is_of_all(&self) -> bool {
        let of_content =
            |error: &ContentError| matches!(error, ContentError::Random(_) | ContentError::Library);
        match self {
            Self::Store(error) => error.is_of_the_whole_store(),
            Self::Content(error) | Self::Outbox(OutboxError::Content(error)) => of_content(error),
            Self::Outbox(OutboxError::Envelope(EnvelopeError::Library) | OutboxError::Random(_))
            | Self::Random(_)
            | Self::Changed => true,
            Self::Outbox(OutboxError::Envelope(_) | OutboxError::NotAMember | OutboxError::NotLogged(_)) => {
                false
            }
        }
    }

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

/// What became of arrivals.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// One for each arrival that was kept or refused.
    pub receipts: Vec<Receipt>,
    /// Who sent something that cannot be kept, however often it comes: it and what follows it of their order has no receipt.
    pub stuck: BTreeSet<OrgId>,
}

/// Receives arrivals in their order and gives a receipt for each, after its commit. What cannot be kept for a cause of its
/// own holds back its own pair alone. On an error what came before the failing arrival is kept, and nothing after it.
pub async fn receive(node: &Node, arrivals: Vec<Arrival>) -> Result<Received, ReceiveError> {
    let received_at_ms = node.now_ms();
    let mut letters = arrivals
        .into_iter()
        .map(|arrival| Letter::read(arrival, received_at_ms));
    let mut received = Received::default();
    let mut together = Vec::new();
    loop {
        let next = letters.next();
        let alone = next.as_ref().is_none_or(Letter::goes_alone);
        if alone && !together.is_empty() {
            write(node, std::mem::take(&mut together), &mut received).await?;
        }
        match next {
            None => return Ok(received),
            Some(letter) if alone => {
                if received.may_write(&letter) {
                    let peer = letter.arrival.peer.clone();
                    match proposal::receive(node, letter).await {
                        Ok(receipt) => received.receipts.push(receipt),
                        Err(error) => received.give_up(peer, error)?,
                    }
                }
            }
            Some(letter) => together.push(letter),
        }
    }
}

impl Received {
    /// Whether a letter can be written: nothing before it in its pair's order was given up.
    fn may_write(&self, letter: &Letter) -> bool {
        letter.arrival.position.is_none() || !self.stuck.contains(&letter.arrival.peer)
    }

    /// Notes that a letter was not written for a cause of its own; an error that others would meet as well is given back.
    fn give_up(&mut self, peer: OrgId, error: ReceiveError) -> Result<(), ReceiveError> {
        if error.is_of_all() {
            return Err(error);
        }
        tracing::error!(pair = %peer, %error, "an envelope cannot be kept");
        self.stuck.insert(peer);
        Ok(())
    }
}

/// Writes letters together, or each alone when they were refused for what one of them holds.
async fn write(node: &Node, mut letters: Vec<Letter>, received: &mut Received) -> Result<(), ReceiveError> {
    letters.retain(|letter| received.may_write(letter));
    let Err((rest, error)) = write_together(node, letters, received).await else {
        return Ok(());
    };
    if error.is_of_all() {
        return Err(error);
    }
    for letter in rest {
        if received.may_write(&letter) {
            let peer = letter.arrival.peer.clone();
            if let Err((_, error)) = write_together(node, vec![letter], received).await {
                received.give_up(peer, error)?;
            }
        }
    }
    Ok(())
}

/// Prepares and writes letters; those that something overtook are prepared again. An order of a pair is kept: once one
/// letter must be prepared again, so must all that follow. Gives back what was not written, and why.
async fn write_together(
    node: &Node,
    mut letters: Vec<Letter>,
    received: &mut Received,
) -> Result<(), (Vec<Letter>, ReceiveError)> {
    let mut in_vain = 0;
    while in_vain < ATTEMPTS {
        let rows: Vec<Row> = match prepare::prepare(node, &letters).await {
            Ok(rows) => rows,
            Err(error) => return Err((letters, error)),
        };
        let mut done = 0;
        let mut failed = None;
        for answer in node.receive_door.submit_all(rows).await {
            match answer {
                Ok(written) => {
                    received.receipts.push(written.told(node));
                    done += 1;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        letters.drain(..done);
        match failed {
            None => return Ok(()),
            Some(ReceiveError::Changed) => in_vain = if done == 0 { in_vain + 1 } else { 0 },
            Some(error) => return Err((letters, error)),
        }
    }
    Err((letters, ReceiveError::Changed))
}
