//! Gives every unary call a deadline and answers a passed one with `DEADLINE_EXCEEDED` (tonic alone says `CANCELLED`).
//! Every gRPC server of a node or gateway puts [`Deadlines`] outermost with `Server::builder().layer(…)`.
//! It must never cut a stream that is meant to stay open: those methods are named when it is made.

use crate::status::status;
use kith_proto::problem::Problem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

/// Longest time a server works on one unary call.
pub const UNARY_MAX: Duration = Duration::from_secs(30);
/// How much earlier than the caller's own deadline we answer: tonic starts a timer of its own for the same header and
/// must not win. A few timer ticks (1 ms each).
const ANSWER_EARLY: Duration = Duration::from_millis(5);

/// A tower layer: the server's deadline for every method but the named streaming ones.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    unary_max: Duration,
    streaming: &'static [&'static str],
}

impl Deadlines {
    /// Takes the full paths of streaming methods, as `/kith.v1.RelayService/Attach`; all others get [`UNARY_MAX`], or
    /// the caller's `grpc-timeout` when that is shorter.
    pub const fn new(streaming: &'static [&'static str]) -> Self {
        Self {
            unary_max: UNARY_MAX,
            streaming,
        }
    }

    /// Sets another longest time.
    pub const fn with_unary_max(mut self, unary_max: Duration) -> Self {
        self.unary_max = unary_max;
        self
    }

    fn of(&self, path: &str, headers: &HeaderMap) -> Option<Duration> {
        if self.streaming.contains(&path) {
            return None;
        }
        let callers = headers
            .get("grpc-timeout")
            .and_then(|v| v.to_str().ok())
            .and_then(grpc_timeout);
        Some(callers.map_or(self.unary_max, |c| {
            c.saturating_sub(ANSWER_EARLY).min(self.unary_max)
        }))
    }
}

impl<S> Layer<S> for Deadlines {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline {
            inner,
            deadlines: *self,
        }
    }
}

/// A service whose calls end by their deadline; made by [`Deadlines`].
#[derive(Clone, Debug)]
pub struct WithDeadline<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<S, A, B> Service<Request<A>> for WithDeadline<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let within = self.deadlines.of(request.uri().path(), request.headers());
        // The timer starts now and not at the first poll, so that it is never later than tonic's.
        #[expect(clippy::disallowed_methods, reason = "the one timer of a call")]
        let timer = within.map(tokio::time::sleep);
        let call = self.inner.call(request);
        match timer {
            None => Box::pin(call),
            Some(timer) => Box::pin(async move {
                tokio::select! {
                    biased;
                    answer = call => answer,
                    () = timer => Ok(status(Problem::DeadlineExceeded).into_http()),
                }
            }),
        }
    }
}

/// Reads a `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Timeout"); `None` if it is not one.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(count * 3600),
        'M' => Duration::from_secs(count * 60),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
