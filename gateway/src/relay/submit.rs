//! From a `Submission` frame to rows for the take door: limits, the order batch's signature, and everything that an envelope
//! proves by itself. Runs in the stream's own task before any transaction, so that no cryptography waits under a write lock.
//! Never answers and never stores.

use std::sync::Arc;

use kith_proto::envelope::{Hashed, Verified};
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::{order, v1};
use prost::Message as _;

use super::RelayError;
use crate::gate::{self, Peer, Refusal, SignedBy};
use crate::gateway::Gateway;
use crate::limits::{SUBMISSION_BYTES_MAX, SUBMISSION_ENVELOPES_MAX};
use crate::members::KnownMember;
use crate::store::pair::Pair;

/// Envelopes whose signatures are checked before other tasks get their turn: about a millisecond.
const CHECKED_AT_ONCE: usize = 8;

/// One submission, ready for the take door.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its pair.
    pub pair: Pair,
    /// The signed order batch; `None` for one envelope outside the order.
    pub order: Option<Order>,
    /// What is to be answered, in pair order.
    pub lines: Vec<Line>,
}

impl Submission {
    /// Whether it is of withdrawals and their proofs alone.
    pub fn ends_things(&self) -> bool {
        self.lines.iter().all(|line| match &line.what {
            What::Envelope {
                read: Ok(verified), ..
            } => gate::ends_things(&verified.head),
            What::Envelope { .. } | What::Withheld => false,
        })
    }
}

/// An order batch whose signature was checked.
#[derive(Clone, Debug)]
pub struct Order {
    /// The batch.
    pub batch: v1::OrderBatch,
    /// The batch as it is kept for the recipient.
    pub encoded: Vec<u8>,
}

/// One envelope, or the line of one that was withheld.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number in the pair; `None` outside the order.
    pub number: Option<u64>,
    /// The envelope's hash.
    pub hash: [u8; 32],
    /// The id that its answer carries; of a withheld line, or a head without an id, the first half of the hash.
    pub answer_id: [u8; 16],
    /// What came.
    pub what: What,
}

/// What came on a line.
#[derive(Clone, Debug)]
pub enum What {
    /// An envelope, and what it proves by itself.
    Envelope {
        /// The envelope as it goes on to the recipient.
        encoded: Vec<u8>,
        /// Its verified head, or why it is refused.
        read: Result<Box<Verified>, Refusal>,
    },
    /// Nothing: its consent ended before it left.
    Withheld,
}

/// Checks a submission of `sender`. An error ends the stream.
pub async fn prepare(
    gateway: &Gateway,
    sender: &Arc<KnownMember>,
    submission: v1::Submission,
) -> Result<Submission, RelayError> {
    check_limits(&submission)?;
    let reader = Reader {
        gateway,
        sender,
        now_ms: gateway.clock.now_ms(),
    };
    match submission.order {
        Some(batch) => reader.ordered(batch, submission.envelopes).await,
        None => reader.unordered(submission.envelopes),
    }
}

/// How many answers a submission asks for, before it is checked.
pub fn lines_of(submission: &v1::Submission) -> usize {
    let lines = submission.order.as_ref().map_or(0, |order| order.lines.len());
    lines.max(submission.envelopes.len())
}

fn check_limits(submission: &v1::Submission) -> Result<(), RelayError> {
    let envelopes = &submission.envelopes;
    let bytes: usize = envelopes.iter().map(prost::Message::encoded_len).sum();
    if envelopes.len() > SUBMISSION_ENVELOPES_MAX || (envelopes.len() > 1 && bytes > SUBMISSION_BYTES_MAX) {
        return Err(RelayError::Frame(Problem::TooLarge));
    }
    if submission.order.is_none() && envelopes.len() != 1 {
        return Err(RelayError::Frame(Problem::Invalid));
    }
    Ok(())
}

struct Reader<'a> {
    gateway: &'a Gateway,
    sender: &'a KnownMember,
    now_ms: i64,
}

impl Reader<'_> {
    async fn ordered(
        &self,
        batch: v1::OrderBatch,
        envelopes: Vec<v1::Envelope>,
    ) -> Result<Submission, RelayError> {
        let sender = &self.sender.member.org;
        let recipient: OrgId = batch
            .to
            .parse()
            .map_err(|_| RelayError::Frame(Problem::Invalid))?;
        let key = self
            .sender
            .member
            .key_at(self.now_ms)
            .ok_or(RelayError::NoMember)?;
        order::verify(&key.signing_key, sender, &recipient, &batch).map_err(RelayError::Order)?;
        let mut envelopes = envelopes.into_iter().map(Hashed::new).peekable();
        let mut lines = Vec::with_capacity(batch.lines.len());
        for (done, line) in batch.lines.iter().enumerate() {
            let hash: [u8; 32] = line
                .envelope_hash
                .as_slice()
                .try_into()
                .map_err(|_| RelayError::Frame(Problem::Invalid))?;
            let envelope = envelopes.next_if(|envelope| envelope.hash() == hash);
            lines.push(self.line(Some(line.number), hash, envelope));
            if done % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        if envelopes.next().is_some() {
            // An envelope that no line names, or one out of its place.
            return Err(RelayError::Frame(Problem::Invalid));
        }
        let encoded = batch.encode_to_vec();
        Ok(Submission {
            pair: Pair {
                sender: sender.clone(),
                recipient,
            },
            order: Some(Order { batch, encoded }),
            lines,
        })
    }

    fn unordered(&self, envelopes: Vec<v1::Envelope>) -> Result<Submission, RelayError> {
        let envelope = envelopes.into_iter().next();
        let envelope = envelope.ok_or(RelayError::Frame(Problem::Invalid))?;
        // Without an order line only the head says for whom it is.
        let head = v1::Head::decode(&*envelope.head).map_err(|_| RelayError::Frame(Problem::Invalid))?;
        let recipient = head.to.parse().map_err(|_| RelayError::Frame(Problem::Invalid))?;
        let envelope = Hashed::new(envelope);
        Ok(Submission {
            pair: Pair {
                sender: self.sender.member.org.clone(),
                recipient,
            },
            order: None,
            lines: vec![self.line(None, envelope.hash(), Some(envelope))],
        })
    }

    fn line(&self, number: Option<u64>, hash: [u8; 32], hashed: Option<Hashed>) -> Line {
        let Some(hashed) = hashed else {
            return Line {
                number,
                hash,
                answer_id: first_half(&hash),
                what: What::Withheld,
            };
        };
        let peer = Peer {
            network: &self.gateway.network,
            member: &self.sender.member,
        };
        let key_then = |member: &OrgId, at_ms: i64| {
            let known = self.gateway.members.get(member)?;
            known.member.key_at(at_ms).map(|binding| binding.signing_key)
        };
        let signed_by = match number {
            Some(_) => SignedBy::OrderLine,
            None => SignedBy::Header,
        };
        let read = gate::read(&hashed, signed_by, peer, self.now_ms, key_then);
        let answer_id = match &read {
            Ok(verified) => *verified.head.envelope_id.as_bytes(),
            Err(_) => claimed_id(hashed.envelope()).unwrap_or_else(|| first_half(&hash)),
        };
        let encoded = hashed.envelope().encode_to_vec();
        Line {
            number,
            hash,
            answer_id,
            what: What::Envelope {
                encoded,
                read: read.map(Box::new),
            },
        }
    }
}

/// The id that a refused head claims, so that its sender finds the envelope again.
fn claimed_id(envelope: &v1::Envelope) -> Option<[u8; 16]> {
    let head = v1::Head::decode(&*envelope.head).ok()?;
    head.envelope_id.as_slice().try_into().ok()
}

/// The id under which a line without its envelope is put down.
pub fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = *from;
    }
    id
}
