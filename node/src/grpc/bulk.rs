//! `SendReferrals`: many referrals on one stream, answered one by one in any order.
//! Called by the `ReferralService` handlers. What is ready is taken in chunks, so that one commit serves many.
//! It must never hold more than a bounded number of referrals, answer one twice, or copy a body.
//!
//! ```text
//! stream ──> chunk of what is ready (≤ 64) ──> task: parse ──> send_many ──> answers ──> stream
//!            at most 8 chunks at work; a caller who reads no answers stops the intake
//! ```

use super::referral::parse_send;
use super::{Edge, refused};
use crate::referrals::{self, NewReferral, Sent};
use crate::tokens::Caller;
use kith_proto::human_code::HumanCode;
use kith_proto::v1;
use kith_service::status::{Failure, failure_of, status};
use std::pin::Pin;
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream as _;
use tonic::{Status, Streaming};

/// Most referrals in one chunk.
pub(crate) const CHUNK_MAX: usize = 64;
/// Most chunks at work for one stream: half a thousand referrals of usual size, about 8 MiB.
const CHUNKS_MAX: usize = 8;
/// Answers that wait to be read before the intake stops.
const ANSWERS_MAX: usize = CHUNK_MAX * 2;

type Answers = mpsc::Sender<Result<v1::SendReferralsResponse, Status>>;

/// Starts the stream of answers. The requests are taken by one task, each chunk is sent by one of its own.
pub(crate) fn start(
    edge: &Edge,
    caller: Caller,
    requests: Streaming<v1::SendReferralsRequest>,
) -> mpsc::Receiver<Result<v1::SendReferralsResponse, Status>> {
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    edge.shutdown.spawn(take(edge.clone(), caller, requests, answers));
    answered
}

async fn take(
    edge: Edge,
    caller: Caller,
    mut requests: Streaming<v1::SendReferralsRequest>,
    answers: Answers,
) {
    let stop = edge.shutdown.wait();
    tokio::pin!(stop);
    let mut chunks = JoinSet::new();
    let broken = loop {
        while chunks.len() >= CHUNKS_MAX {
            chunks.join_next().await;
        }
        while chunks.try_join_next().is_some() {}
        let ready = tokio::select! {
            ready = next_chunk(&mut requests) => ready,
            () = answers.closed() => break None,
            older = edge.is_older() => break Some(status(older)),
            () = &mut stop => break Some(status(kith_proto::problem::Problem::Unavailable)),
        };
        if !ready.requests.is_empty() {
            chunks.spawn(send(edge.clone(), caller, ready.requests, answers.clone()));
        }
        match ready.then {
            Then::More => {}
            Then::End => break None,
            Then::Broken(error) => break Some(status(failure_of(&error))),
        }
    };
    // What was taken is answered before the stream ends, so that a caller knows the fate of every request.
    while chunks.join_next().await.is_some() {}
    if let Some(error) = broken {
        answers.send(Err(error)).await.ok();
    }
}

struct Ready {
    requests: Vec<v1::SendReferralRequest>,
    then: Then,
}

enum Then {
    More,
    End,
    Broken(Status),
}

/// Waits for one request, then takes what else is there without waiting. Cancel-safe: nothing is taken before it
/// returns in the same poll.
async fn next_chunk(requests: &mut Streaming<v1::SendReferralsRequest>) -> Ready {
    std::future::poll_fn(|context| {
        let mut taken = Vec::new();
        let then = loop {
            match Pin::new(&mut *requests).poll_next(context) {
                Poll::Pending if taken.is_empty() => return Poll::Pending,
                Poll::Pending => break Then::More,
                Poll::Ready(None) => break Then::End,
                Poll::Ready(Some(Err(error))) => break Then::Broken(error),
                Poll::Ready(Some(Ok(request))) => taken.push(request.referral.unwrap_or_default()),
            }
            if taken.len() == CHUNK_MAX {
                break Then::More;
            }
        };
        Poll::Ready(Ready {
            requests: taken,
            then,
        })
    })
    .await
}

/// Sends one chunk and answers each of it. A failed answer means that the caller has gone: what was sent stays sent,
/// and a repeat of the same request ids gives the same answers.
async fn send(edge: Edge, caller: Caller, requests: Vec<v1::SendReferralRequest>, answers: Answers) {
    let mut ids = Vec::with_capacity(requests.len());
    let mut wanted: Vec<NewReferral> = Vec::with_capacity(requests.len());
    for mut request in requests {
        let id = std::mem::take(&mut request.request_id);
        match parse_send(&id, request) {
            Ok(referral) => {
                ids.push(id);
                wanted.push(referral);
            }
            Err(failure) => {
                answers.send(Ok(refused_wire(id, failure))).await.ok();
            }
        }
    }
    let outcomes = referrals::send_many(&edge.node, &caller, wanted).await;
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        let answer = match outcome {
            Ok(sent) => v1::SendReferralsResponse {
                request_id: id,
                outcome: Some(v1::send_referrals_response::Outcome::Sent(sent_wire(&sent))),
            },
            Err(error) => refused_wire(id, refused(error.failure(), &error)),
        };
        answers.send(Ok(answer)).await.ok();
    }
}

/// What a caller is told of a sent referral.
pub(crate) fn sent_wire(sent: &Sent) -> v1::SendReferralResponse {
    v1::SendReferralResponse {
        thread_id: sent.thread_id.as_bytes().to_vec(),
        code: HumanCode::of(&sent.thread_id).to_string(),
        deadline_ms: sent.deadline_ms,
    }
}

fn refused_wire(request_id: Vec<u8>, failure: Failure) -> v1::SendReferralsResponse {
    let sentence = failure.sentence().to_owned();
    let fields = failure
        .fields
        .into_iter()
        .map(|(field, sentence)| v1::FieldProblem { field, sentence });
    let refused = v1::ReferralRefused {
        problem: failure.problem.number(),
        sentence,
        fields: fields.collect(),
    };
    v1::SendReferralsResponse {
        request_id,
        outcome: Some(v1::send_referrals_response::Outcome::Refused(refused)),
    }
}
