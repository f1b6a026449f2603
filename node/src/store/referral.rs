//! New rows of `referral`. Called by sending and receiving; the moving part of a thread is changed elsewhere, by
//! compare-and-swap.
//! Never holds content, never inserts a thread twice.

use kith_proto::id::{EnvelopeId, PersonId, ThreadId, TokenId};
use kith_proto::words::Purpose;
use kith_service::store::{Insert, StoreError, Tx, bytes, column, query};

use super::{id, word};
use crate::threads::Thread;

static INSERT: Insert = Insert::into(
    "INSERT INTO referral (thread_id, side, peer, person_id, slip_id, owner_token, purpose, state, came_from, \
     expired_from, consent, delivery, problem, epoch, number, answer_by_ms, deadline_ms, created_at_ms, updated_at_ms, \
     changed, arrival, envelope_id)",
    22,
    "",
);

/// A thread that is new at this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThread {
    /// Its moving part.
    pub thread: Thread,
    /// The person, at the sender.
    pub person_id: Option<PersonId>,
    /// Who sent it, at the sender.
    pub owner_token: Option<TokenId>,
    /// Why it is shared.
    pub purpose: Purpose,
    /// When an answer is wanted; 0 when nobody chose.
    pub answer_by_ms: i64,
    /// When the referral was made.
    pub created_at_ms: i64,
    /// The envelope of the referral.
    pub envelope_id: EnvelopeId,
}

/// A new thread with the two numbers that it gets under the counters' lock.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a> {
    /// The thread.
    pub new: &'a NewThread,
    /// Its place in the order of changes.
    pub changed: i64,
    /// Its place in the order of sending or of arrival.
    pub arrival: i64,
}

/// Inserts new threads; [`StoreError::Unique`] when one is there.
pub async fn insert(tx: &mut Tx, rows: &[Numbered<'_>]) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let (new, thread) = (row.new, &row.new.thread);
        let now = thread.situation;
        q.bind(thread.thread_id.as_bytes().to_vec())
            .bind(thread.side.as_str())
            .bind(thread.peer.to_string())
            .bind(new.person_id.map(|id| id.as_bytes().to_vec()))
            .bind(thread.slip_id.as_bytes().to_vec())
            .bind(new.owner_token.map(|id| id.as_bytes().to_vec()))
            .bind(new.purpose.as_str())
            .bind(now.state.as_str())
            .bind(now.came_from.map(|state| state.as_str()))
            .bind(now.expired_from.map(|state| state.as_str()))
            .bind(now.consent.as_str())
            .bind(thread.delivery.as_str())
            .bind(thread.problem.map(|problem| problem.as_str()))
            .bind(super::stored(thread.epoch))
            .bind(super::stored(thread.number))
            .bind(new.answer_by_ms)
            .bind(thread.deadline_ms)
            .bind(new.created_at_ms)
            .bind(thread.updated_at_ms)
            .bind(row.changed)
            .bind(row.arrival)
            .bind(new.envelope_id.as_bytes().to_vec())
    });
    inserted.await.map(drop)
}

/// What was asked of the recipient, beside the content.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The person.
    pub person_id: PersonId,
    /// The salt that opens the slip's commitment to them.
    pub person_salt: [u8; 32],
    /// Why it is shared.
    pub purpose: Purpose,
    /// When an answer is wanted; 0 when nobody chose.
    pub answer_by_ms: i64,
}

const ASKED: &str = "SELECT referral.person_id AS person_id, referral.purpose AS purpose, \
     referral.answer_by_ms AS answer_by_ms, slip.person_salt AS person_salt FROM referral \
     JOIN slip ON slip.slip_id = referral.slip_id WHERE referral.thread_id = $1 AND referral.side = 'sent'";

/// What a sent referral asked; none when there is no such thread.
pub async fn asked(tx: &mut Tx, thread_id: ThreadId) -> Result<Option<Asked>, StoreError> {
    let found = tx.one(query(ASKED).bind(thread_id.as_bytes().to_vec())).await?;
    let read = |row| {
        Ok(Asked {
            person_id: id(&row, "referral", "person_id")?,
            person_salt: bytes(&row, "slip", "person_salt")?,
            purpose: word(&row, "referral", "purpose")?,
            answer_by_ms: column(&row, "referral", "answer_by_ms")?,
        })
    };
    found.map(read).transpose()
}
