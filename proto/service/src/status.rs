//! The one place that turns a [`Problem`] into a gRPC status, and a received status back into a problem.
//! Every gRPC edge answers through [`status`]; every client reads through [`problem_of`] or [`failure_of`].
//! It must never put a cause, a value of the request or anything about a person into a status.

use kith_proto::problem::Problem;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `domain` of every `ErrorInfo`; a reason of another domain is not ours to read.
pub const DOMAIN: &str = "kith";
/// Most marked fields in one status: the details travel in one HTTP/2 header, which peers cap at 16 KiB.
pub const FIELDS_MAX: usize = 32;
/// Longest sentence or field name taken from a peer, in characters: the length every own sentence keeps to.
pub const SENTENCE_CHARS_MAX: usize = 200;
/// Longest wait taken from a peer: an hour, after which asking again costs nothing.
pub const RETRY_AFTER_MS_MAX: i64 = 3_600_000;

/// A refusal on its way to a caller: the problem, and what the caller needs to act on it.
///
/// Sentences are for caseworkers and are also logged; they name no person and quote no input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which of the closed list of problems.
    pub problem: Problem,
    /// A sentence that fits better than the problem's own.
    pub sentence: Option<Cow<'static, str>>,
    /// Each field at fault (its name in the message) with one sentence.
    pub fields: Vec<(String, String)>,
    /// When to ask again, in ms from now; only sent for a problem that may be retried.
    pub retry_after_ms: Option<i64>,
}

impl Failure {
    /// A refusal with the problem's own sentence.
    pub const fn new(problem: Problem) -> Self {
        Self {
            problem,
            sentence: None,
            fields: Vec::new(),
            retry_after_ms: None,
        }
    }

    /// Marks one more field as at fault.
    pub fn with_field(mut self, field: impl Into<String>, sentence: impl Into<String>) -> Self {
        self.fields.push((field.into(), sentence.into()));
        self
    }

    /// Replaces the problem's own sentence.
    pub fn with_sentence(mut self, sentence: impl Into<Cow<'static, str>>) -> Self {
        self.sentence = Some(sentence.into());
        self
    }

    /// Says when to ask again, in ms from now.
    pub const fn with_retry_after(mut self, after_ms: i64) -> Self {
        self.retry_after_ms = Some(after_ms);
        self
    }

    /// The sentence to show: the given one, or the problem's own.
    pub fn sentence(&self) -> &str {
        self.sentence.as_deref().unwrap_or(self.problem.sentence())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(problem)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        status(failure)
    }
}

/// Makes the gRPC status: the problem's code, one sentence, and as rich details the problem's code word
/// (`ErrorInfo`), the fields (`BadRequest`, the first [`FIELDS_MAX`]) and the wait (`RetryInfo`).
pub fn status(failure: impl Into<Failure>) -> Status {
    let failure = failure.into();
    let mut details = ErrorDetails::new();
    details.set_error_info(failure.problem.as_str(), DOMAIN, HashMap::new());
    for (field, sentence) in failure.fields.iter().take(FIELDS_MAX) {
        details.add_bad_request_violation(field, sentence);
    }
    if let (true, Some(after_ms)) = (failure.problem.retryable(), failure.retry_after_ms) {
        details.set_retry_info(Some(Duration::from_millis(after_ms.max(0).unsigned_abs())));
    }
    let code = Code::from_i32(failure.problem.grpc().number());
    Status::with_error_details(code, failure.sentence(), details)
}

/// Reads the problem back out of a status that [`status`] made; `None` for any other status.
pub fn problem_of(status: &Status) -> Option<Problem> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    info.reason.parse().ok()
}

/// Reads any status as a refusal. One that [`status`] did not make (a proxy's, tonic's own) is judged by its code,
/// and its message is dropped; what a peer wrote is cut to the limits above.
pub fn failure_of(status: &Status) -> Failure {
    let Some(problem) = problem_of(status) else {
        return Failure::new(problem_of_code(status));
    };
    let mut failure = Failure::new(problem);
    let message = cut(status.message());
    if !message.is_empty() && message != problem.sentence() {
        failure.sentence = Some(Cow::Owned(message));
    }
    let details = status.get_error_details();
    if let Some(bad) = details.bad_request() {
        let fields = bad.field_violations.iter().take(FIELDS_MAX);
        failure.fields = fields.map(|v| (cut(&v.field), cut(&v.description))).collect();
    }
    if let Some(delay) = details.retry_info().and_then(|r| r.retry_delay) {
        let after_ms = i64::try_from(delay.as_millis()).unwrap_or(RETRY_AFTER_MS_MAX);
        failure.retry_after_ms = problem.retryable().then_some(after_ms.min(RETRY_AFTER_MS_MAX));
    }
    failure
}

/// What a bare code means for the caller. Everything unexpected is `Unavailable`: nothing was promised, and a retry
/// under the same id is harmless. tonic reports an expired timer as `Cancelled`.
fn problem_of_code(status: &Status) -> Problem {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => Problem::DeadlineExceeded,
        Code::Unauthenticated => Problem::Unauthenticated,
        Code::NotFound => Problem::NotFound,
        Code::InvalidArgument => Problem::Invalid,
        Code::OutOfRange => Problem::TooLarge,
        _ => Problem::Unavailable,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SENTENCE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
