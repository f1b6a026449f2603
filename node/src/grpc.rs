//! The gRPC edge: what the organisation's own systems and its command line call.
//! `serve` runs it; each file has the handlers of one service. Parse, one use-case, answer: nothing else.
//! It must never hold a rule or a statement, and never answer with a status that `kith_service::status` did not make.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | listening, limits, health, reflection |
//! | `guard` | who calls, and may they |
//! | `roles` | the role × call table |
//! | `parse` | reading fields with their limits |
//! | `page` | page tokens and watch cursors |
//! | `person`, `consent`, `referral`, `directory`, `audit` | the handlers |
//! | `bulk`, `watch` | the two long streams |

mod audit;
mod bulk;
mod consent;
mod directory;
mod guard;
mod page;
mod parse;
mod person;
mod referral;
mod roles;
pub mod server;
mod watch;

use crate::node::Node;
use crate::restore;
use crate::threads_view::Visible;
use crate::tokens::{Caller, Role};
use kith_proto::problem::Problem;
use kith_service::shutdown::Shutdown;
use kith_service::status::{Failure, status};
use kith_service::tls::dial::Dial;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// Most watches at once: one for each desk of an organisation and then some.
const WATCHES_MAX: usize = 256;

/// What every handler has.
#[derive(Clone)]
struct Edge {
    node: Arc<Node>,
    dial: Dial,
    shutdown: Shutdown,
    watches: Arc<Semaphore>,
}

impl Edge {
    fn new(node: Arc<Node>, dial: Dial, shutdown: Shutdown) -> Self {
        Self {
            node,
            dial,
            shutdown,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        }
    }
}

impl Edge {
    /// Waits until this database is known to be older than the network has seen it, for the long streams; gives what they end with.
    async fn is_older(&self) -> Failure {
        let mut ended = self.node.own_log_ended.subscribe();
        // Cannot fail: the sender lives as long as the node.
        ended.wait_for(|ended| *ended).await.ok();
        older()
    }
}

/// What everybody is answered while this database is older than the network has seen it.
fn older() -> Failure {
    Failure::new(Problem::WrongState).with_sentence(restore::SENTENCE)
}

/// Takes the caller that the guard put into the request. Without one nothing is answered.
fn split<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    match extensions.remove::<Caller>() {
        Some(caller) => Ok((caller, message)),
        None => Err(status(Problem::Unauthenticated)),
    }
}

/// Whose threads a caller opens: a referrer its own.
const fn visible(caller: &Caller) -> Visible {
    if caller.sees_all() {
        Visible::All
    } else {
        Visible::Own(caller.token_id)
    }
}

/// Whose threads a caller sees in lists without content: an auditor all of them.
const fn listed(caller: &Caller) -> Visible {
    if caller.roles.contains(Role::Auditor) {
        Visible::All
    } else {
        visible(caller)
    }
}

/// Answers, or says why not. The cause of an internal failure goes to the log here, once.
fn reply<T>(call: &'static str, outcome: Result<T, Failure>) -> Result<Response<T>, Status> {
    match outcome {
        Ok(answer) => Ok(Response::new(answer)),
        Err(failure) => {
            tracing::debug!(call, problem = failure.problem.as_str(), "refused");
            Err(status(failure))
        }
    }
}

/// A use-case's refusal on its way out. What the caller cannot be told, and cannot mend, goes to the log here, once.
fn refused(failure: Failure, cause: &dyn std::error::Error) -> Failure {
    if failure.problem == Problem::Unavailable {
        tracing::warn!(%cause, "a call failed");
    }
    failure
}
