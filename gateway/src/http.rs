//! The edge in plain HTTPS, beside gRPC on the same port: the log by the paths of C2SP tlog-tiles, and `add-checkpoint` of tlog-witness.
//! Anonymous, with places of its own so that a crowd of readers keeps nobody from enrolling or stopping, and with a deadline.
//! Never serves more than what is in a signed tree: codes and hashes.
//!
//! | path | answer |
//! |---|---|
//! | `/checkpoint` | the newest checkpoint that counts |
//! | `/tile/L/N[.p/W]`, `/tile/entries/N[.p/W]` | a tile, a bundle |
//! | `/log/EPOCH/…` | the same of one epoch, whose tiles never change: the log's own prefix |
//! | `/log/EPOCH/word` | the root's word for an epoch after the first, as `kith_proto::log::epoch_word` writes it |
//! | `POST /add-checkpoint` | the gateway's cosignature under a member's checkpoint |

use crate::gateway::Gateway;
use crate::grpc::Anonymous;
use crate::limits::{HTTP_MS_MAX, TILE_KEPT_S};
use crate::log::{self, ReadError};
use crate::member_logs::{self, Answer, MemberLogError};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{StatusCode, Uri, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use kith_proto::log::tile::Tile;
use kith_proto::log::witness::ADD_CHECKPOINT_BYTES_MAX;
use kith_proto::problem::Problem;
use kith_service::log::ask::SIZE_TYPE;
use std::sync::Arc;
use std::time::Duration;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const NOTHING: (StatusCode, &str) = (StatusCode::NOT_FOUND, "There is nothing here.\n");

/// What the paths of the log need.
#[derive(Clone)]
struct Shared {
    gateway: Arc<Gateway>,
    anonymous: Arc<Anonymous>,
}

/// Puts the paths beside the gRPC services; those are reached over HTTP/2 alone, as they always were.
pub(crate) fn beside(grpc: Router, gateway: &Arc<Gateway>) -> Router {
    let shared = Shared {
        gateway: gateway.clone(),
        anonymous: Arc::default(),
    };
    let paths = Router::new()
        .route("/checkpoint", get(read))
        .route("/tile/{*rest}", get(read))
        .route("/log/{*rest}", get(read))
        .route("/add-checkpoint", post(add_checkpoint))
        .with_state(shared);
    grpc.layer(middleware::from_fn(over_http2)).merge(paths)
}

/// gRPC needs HTTP/2; whoever asks for something else by HTTP/1.1 is told that it is not here.
async fn over_http2(request: Request, next: Next) -> Response {
    match request.version() {
        Version::HTTP_2 => next.run(request).await,
        _ => NOTHING.into_response(),
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Checkpoint,
    Word,
    Tile(Tile),
}

/// Reads a path in its one spelling: the epoch, if it names one, and what it wants of it.
fn wanted(path: &str) -> Option<(Option<u64>, Wanted)> {
    let path = path.strip_prefix('/')?;
    let (epoch, rest) = match path.strip_prefix("log/") {
        None => (None, path),
        Some(path) => {
            let (number, rest) = path.split_once('/')?;
            let epoch: u64 = number.parse().ok()?;
            (
                Some(Some(epoch).filter(|epoch| epoch.to_string() == number)?),
                rest,
            )
        }
    };
    match rest {
        "checkpoint" => Some((epoch, Wanted::Checkpoint)),
        "word" if epoch.is_some() => Some((epoch, Wanted::Word)),
        tile => Some((epoch, Wanted::Tile(tile.parse().ok()?))),
    }
}

async fn read(State(shared): State<Shared>, uri: Uri) -> Response {
    let Some((epoch, wanted)) = wanted(uri.path()) else {
        return NOTHING.into_response();
    };
    let Ok(_place) = shared.anonymous.enter() else {
        return busy();
    };
    let gateway = &shared.gateway;
    let answer = async {
        match wanted {
            Wanted::Checkpoint => {
                let note = log::counted(gateway, epoch).await?;
                Ok::<_, ReadError>(note.map(|note| note.to_string().into_bytes()))
            }
            Wanted::Word => Ok(log::word(gateway, epoch).await?.map(String::into_bytes)),
            Wanted::Tile(tile) => log::tile(gateway, epoch, tile).await,
        }
    };
    match within(answer).await {
        None => busy(),
        Some(Ok(Some(bytes))) => {
            let (kind, kept) = headers(epoch, wanted);
            ([(CONTENT_TYPE, kind), (CACHE_CONTROL, &kept)], bytes).into_response()
        }
        Some(Ok(None) | Err(ReadError::NoSuchPart)) => NOTHING.into_response(),
        Some(Err(error)) => {
            tracing::warn!(%error, "a part of the log could not be served");
            busy()
        }
    }
}

/// The type, and how long an answer may be kept. Without an epoch a path means another tree once a new epoch begins, so only the paths
/// of one epoch are for ever; and a partial tile is soon asked for no more.
fn headers(epoch: Option<u64>, wanted: Wanted) -> (&'static str, String) {
    match wanted {
        Wanted::Checkpoint | Wanted::Word => (TEXT, String::from("no-cache")),
        Wanted::Tile(tile) if epoch.is_some() && !tile.is_partial() => {
            (BYTES, format!("public, max-age={TILE_KEPT_S}, immutable"))
        }
        Wanted::Tile(_) => (BYTES, String::from("public, max-age=60")),
    }
}

async fn add_checkpoint(State(shared): State<Shared>, body: Body) -> Response {
    let gateway = &shared.gateway;
    let answer = async {
        // A place is taken when the request is here, so that a slow line holds none.
        let request = match text(body).await {
            Ok(request) => request,
            Err(refused) => return refused,
        };
        let Ok(_place) = shared.anonymous.enter() else {
            return busy();
        };
        match member_logs::add_checkpoint(gateway, None, &request).await {
            Ok(answer) => answered(answer),
            Err(error) => {
                tracing::info!(call = "add-checkpoint", %error, problem = error.problem().as_str(), "refused");
                not_cosigned(&error)
            }
        }
    };
    within(answer).await.unwrap_or_else(busy)
}

/// Reads a request of a witness, no longer than it may be.
pub(crate) async fn text(body: Body) -> Result<String, Response> {
    let bytes = to_bytes(body, ADD_CHECKPOINT_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| refused(413, "The request is too large."))?;
    let text = String::from_utf8(bytes.into());
    text.map_err(|_| refused(400, "The request cannot be read."))
}

/// A witness's answer, as tlog-witness has it.
pub(crate) fn answered(answer: Answer) -> Response {
    match answer {
        Answer::Cosigned(lines) => ([(CONTENT_TYPE, TEXT)], lines).into_response(),
        Answer::HeldSize(size) => (
            StatusCode::CONFLICT,
            [(CONTENT_TYPE, SIZE_TYPE)],
            format!("{size}\n"),
        )
            .into_response(),
    }
}

fn not_cosigned(error: &MemberLogError) -> Response {
    let status = match error {
        MemberLogError::Request(_) => 400,
        MemberLogError::NotItsOwn => 404,
        MemberLogError::EpochOver { .. } | MemberLogError::TooManyEpochs => 403,
        MemberLogError::Refused(refused) => refused.http_status(),
        MemberLogError::Note(_) | MemberLogError::Store(_) | MemberLogError::Random(_) => return busy(),
    };
    refused(status, error.sentence().unwrap_or(error.problem().sentence()))
}

/// A refusal in one sentence.
pub(crate) fn refused(status: u16, sentence: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, [(CONTENT_TYPE, TEXT)], format!("{sentence}\n")).into_response()
}

/// Turned away for the moment.
pub(crate) fn busy() -> Response {
    let sentence = Problem::Unavailable.sentence();
    let mut busy = refused(503, sentence);
    busy.headers_mut()
        .insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
    busy
}

/// Works on an answer no longer than [`HTTP_MS_MAX`].
pub(crate) async fn within<T>(answer: impl Future<Output = T>) -> Option<T> {
    let answer = tokio::time::timeout(Duration::from_millis(HTTP_MS_MAX), answer);
    answer.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_thing_in_one_spelling() {
        let tile = |path: &str| Wanted::Tile(path.parse().unwrap());
        assert_eq!(wanted("/checkpoint"), Some((None, Wanted::Checkpoint)));
        assert_eq!(wanted("/log/2/checkpoint"), Some((Some(2), Wanted::Checkpoint)));
        assert_eq!(wanted("/log/2/word"), Some((Some(2), Wanted::Word)));
        assert_eq!(wanted("/tile/0/000.p/3"), Some((None, tile("tile/0/000.p/3"))));
        let entries = tile("tile/entries/x001/234");
        assert_eq!(wanted("/log/1/tile/entries/x001/234"), Some((Some(1), entries)));
        for other in [
            "/",
            "/tile",
            "/tile/9/000",
            "/tile/0/0",
            "/log/checkpoint",
            "/word",
            "/log/-1/checkpoint",
            "/tile/0/000/",
        ] {
            assert_eq!(wanted(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_full_tile_of_one_epoch_is_kept_for_ever() {
        let full = Wanted::Tile("tile/0/000".parse().unwrap());
        let partial = Wanted::Tile("tile/0/000.p/3".parse().unwrap());
        assert!(headers(Some(1), full).1.ends_with("immutable"));
        for other in [(None, full), (Some(1), partial), (Some(1), Wanted::Checkpoint)] {
            assert!(!headers(other.0, other.1).1.contains("immutable"));
        }
    }

    #[test]
    fn who_finds_no_place_is_told_to_come_back() {
        let places = Anonymous::default();
        let held: Vec<_> = std::iter::from_fn(|| places.enter().ok()).collect();
        assert_eq!(held.len(), crate::limits::ANONYMOUS_IN_FLIGHT_MAX);
        drop(held);
        assert!(places.enter().is_ok());
        let busy = busy();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
    }
}
