//! Who calls, and may they: every call of the node's services passes here before its handler runs.
//! A layer around the whole server, made once by `server`; a handler finds the [`Caller`] in its request.
//! It must never log or keep a token, nor say whether a token was unknown, revoked or missing.
//!
//! ```text
//! path ──> in the table? no: health, reflection or nothing of ours; passed on without a caller
//!      ──> bearer token ──> hash ──> cached or looked up ──> roles ──> handler
//! ```

use super::roles::roles_of;
use crate::node::Node;
use crate::tokens::{self, Caller};
use kith_proto::problem::Problem;
use kith_service::status::{Failure, status};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tonic::codegen::BoxFuture;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

/// How long a looked-up token is believed, in ms: so long a revoked one may still work.
const BELIEVED_MS: i64 = 5_000;
/// Most tokens in the cache: more than an organisation has people and systems.
const CACHED_MAX: usize = 1_024;
/// Longest bearer token looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// Most calls at work at once, over all connections; a stream counts once, for its start.
const CALLS_MAX: usize = 1_024;
/// When to come again after [`CALLS_MAX`] was reached, in ms.
const RETRY_AFTER_MS: i64 = 500;

/// The layer.
#[derive(Clone)]
pub(crate) struct Guard {
    gate: Arc<Gate>,
}

struct Gate {
    node: Arc<Node>,
    /// Believed tokens by hash, and until when.
    believed: Mutex<BTreeMap<[u8; 32], (i64, Caller)>>,
    places: Arc<Semaphore>,
}

impl Guard {
    /// Guards the calls of this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let places = Arc::new(Semaphore::new(CALLS_MAX));
        Self {
            gate: Arc::new(Gate {
                node,
                believed: Mutex::default(),
                places,
            }),
        }
    }
}

impl Gate {
    /// Who calls, if they may make this call.
    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
        let Some(roles) = roles_of(path) else {
            return Ok(None);
        };
        // Before anybody is looked up: a revoked token may be alive again in a database that is an older copy.
        if *self.node.own_log_ended.borrow() {
            return Err(super::older());
        }
        let Some(caller) = self.caller(headers).await? else {
            let noted = self.node.failed_sign_ins.note(&self.node).await;
            noted.map_err(|error| Failure::new(error.problem()))?;
            return Err(Problem::Unauthenticated.into());
        };
        if roles.iter().any(|role| caller.roles.contains(*role)) {
            Ok(Some(caller))
        } else {
            Err(Problem::RoleNotAllowed.into())
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
        let Some(token) = bearer(headers) else {
            return Ok(None);
        };
        let hash = tokens::hash(token);
        let now_ms = self.node.clock.now_ms();
        if let Some(caller) = self.believed(&hash, now_ms) {
            return Ok(Some(caller));
        }
        let found = tokens::find(&self.node, &hash).await.map_err(|error| {
            tracing::warn!(%error, "a token could not be looked up");
            Failure::new(error.problem())
        })?;
        if let Some(caller) = &found {
            self.believe(hash, caller, now_ms);
        }
        Ok(found)
    }

    fn believed(&self, hash: &[u8; 32], now_ms: i64) -> Option<Caller> {
        let believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep a token alive, so both ends are looked at.
        let fresh = |until_ms: i64| (now_ms..=now_ms.saturating_add(BELIEVED_MS)).contains(&until_ms);
        believed
            .get(hash)
            .filter(|(until_ms, _)| fresh(*until_ms))
            .map(|(_, caller)| *caller)
    }

    fn believe(&self, hash: [u8; 32], caller: &Caller, now_ms: i64) {
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        if believed.len() >= CACHED_MAX {
            believed.clear();
        }
        believed.insert(hash, (now_ms.saturating_add(BELIEVED_MS), *caller));
    }
}

/// The token of `authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let fits = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(token)
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            gate: self.gate.clone(),
        }
    }
}

/// A service whose callers are known; made by [`Guard`].
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, A, B> Service<Request<A>> for Guarded<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    A: Send + 'static,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<Response<B>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        // The one that was asked whether it is ready is the one that is called; the clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let gate = self.gate.clone();
        Box::pin(async move {
            let Ok(_place) = gate.places.clone().try_acquire_owned() else {
                let busy = Failure::new(Problem::Unavailable).with_retry_after(RETRY_AFTER_MS);
                return Ok(status(busy).into_http());
            };
            match gate.admit(request.uri().path(), request.headers()).await {
                Err(failure) => return Ok(status(failure).into_http()),
                Ok(None) => {}
                Ok(Some(caller)) => {
                    request.extensions_mut().insert(caller);
                }
            }
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.parse().unwrap());
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn a_bearer_token_is_read_and_nothing_else() {
        assert_eq!(found("Bearer abc"), Some("abc".into()));
        assert_eq!(found("bearer  abc "), Some("abc".into()));
        for other in [
            "abc",
            "Basic abc",
            "Bearer",
            "Bearer ",
            &format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1)),
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
