//! Idempotency: every write carries an id of the caller's choice, a repeat gets the first answer, and the same id with
//! another body is refused. Called inside the transaction of every write.
//! Never keeps what was asked, only its hash; never keeps an answer with a secret in it.

use kith_proto::id::RequestId;
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;
use kith_service::store::{StoreError, Tx};
use prost::Message;

use crate::store::request::{self, Answered};

/// A write that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The caller's id.
    pub request_id: RequestId,
    /// Which call, for example `send_referral`.
    pub call: &'static str,
    /// SHA-256 of call and request.
    pub body_hash: [u8; 32],
}

/// Why a repeat was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepeatError {
    /// The id came before with another body: choose another id.
    #[error("this request id came before with another request")]
    OtherBody,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RepeatError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::OtherBody => Problem::Conflict,
            Self::Store(error) => error.problem(),
        }
    }
}

impl Asked {
    /// What was asked, by the request as it came (with or without its id).
    pub fn new(call: &'static str, request_id: RequestId, request: &impl Message) -> Self {
        let body_hash = sha256(&[call.as_bytes(), &[0], &request.encode_to_vec()]);
        Self {
            request_id,
            call,
            body_hash,
        }
    }

    /// The first answer, if it was answered before.
    pub fn answer_of<'a>(&self, found: Option<&'a Answered>) -> Result<Option<&'a [u8]>, RepeatError> {
        match found {
            None => Ok(None),
            Some(first) if first.call == self.call && first.body_hash == self.body_hash => {
                Ok(Some(&first.answer))
            }
            Some(_) => Err(RepeatError::OtherBody),
        }
    }

    /// The row of its answer.
    pub fn answered(&self, answer: &impl Message) -> Answered {
        Answered {
            request_id: self.request_id,
            call: self.call.to_owned(),
            body_hash: self.body_hash,
            answer: answer.encode_to_vec(),
        }
    }
}

/// Finds the first answer to a request; ask under the counters' lock before writing.
pub async fn first_answer<A: Message + Default>(
    tx: &mut Tx,
    asked: &Asked,
) -> Result<Option<A>, RepeatError> {
    let found = request::find(tx, &[asked.request_id]).await?;
    let corrupt = |_| StoreError::Corrupt {
        table: "request",
        column: "answer",
    };
    match asked.answer_of(found.get(&asked.request_id))? {
        Some(answer) => Ok(Some(A::decode(answer).map_err(corrupt)?)),
        None => Ok(None),
    }
}

/// Keeps the answer for repeats.
pub async fn keep(tx: &mut Tx, asked: &Asked, answer: &impl Message, at_ms: i64) -> Result<(), StoreError> {
    request::insert(tx, &[asked.answered(answer)], at_ms).await
}
