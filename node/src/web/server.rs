//! The server of the workspace: where it listens, its limits, its routes. `serve` runs it beside the gRPC edge.
//! It must never listen on an address that others can reach without TLS.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use kith_proto::problem::Problem;
use kith_service::shutdown::Shutdown;
use kith_service::tls::incoming::{self, Incoming};
use kith_service::web::own;
use kith_service::web::words::WordsError;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{At, Workspace, colleagues, guard, language, moving, passkey, refer, referral, sign_in, work};
use crate::node::Node;

/// Largest form, in bytes: three times the longest words, as every byte of a letter may be written as three, and names.
const FORM_BYTES_MAX: usize = 64 << 10;

/// Why the workspace is not there.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The texts cannot be read: a fault of the build.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The server ended by itself.
    #[error("the server of the workspace ended")]
    Ended(#[source] tonic::transport::Error),
}

impl WebError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        Problem::Unavailable
    }
}

/// The routes; those of the table of roles, each behind the guard.
fn routes(workspace: &Arc<Workspace>) -> Router {
    Router::new()
        .route("/", get(work::start))
        .route("/sign-in", get(sign_in::nobody))
        .route("/sign-in/{link}", get(sign_in::link).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/passkeys", get(passkey::list))
        .route("/passkeys/make", post(passkey::make))
        .route("/passkeys/made", post(passkey::made))
        .route("/passkeys/enter", post(passkey::enter))
        .route("/passkeys/entered", post(passkey::entered))
        .route("/passkeys/end", post(passkey::end))
        .route("/language", post(language::choose))
        .route("/referrals", get(work::list))
        .route("/referrals/{code}", get(referral::show))
        .route("/referrals/{code}/messages", post(referral::message))
        .route("/referrals/{code}/{move}", get(moving::ask).post(moving::make))
        .route("/refer", get(refer::who).post(refer::take))
        .route("/refer/find", post(refer::find))
        .route("/refer/{draft}/need", get(refer::need).post(refer::needed))
        .route("/refer/{draft}/service", get(refer::service).post(refer::served))
        .route("/refer/{draft}/aloud", get(refer::aloud))
        .route("/refer/{draft}/refused", post(refer::refused))
        .route(
            "/refer/{draft}/consent",
            get(refer::consent).post(refer::consented),
        )
        .route("/refer/{draft}/check", get(refer::check))
        .route("/refer/{draft}/send", post(refer::send))
        .route("/refer/{draft}/sent", get(refer::sent))
        .route("/colleagues", get(colleagues::list).post(colleagues::add))
        .route("/colleagues/{id}/link", post(colleagues::link))
        .route("/colleagues/{id}/end", post(colleagues::end))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(workspace.clone(), guard::enter))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .merge(own::routes())
}

/// Never reached: the guard answers whatever is in no table.
async fn nothing() -> axum::http::StatusCode {
    axum::http::StatusCode::NOT_FOUND
}

/// Answers until the shutdown is requested.
pub async fn run<IO>(
    node: Arc<Node>,
    incoming: Incoming<IO>,
    at: At,
    shutdown: Shutdown,
) -> Result<(), WebError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let workspace = Arc::new(Workspace::new(node, &at)?);
    incoming::server()
        .accept_http1(true)
        .add_routes(routes(&workspace).into())
        .serve_with_incoming_shutdown(incoming, shutdown.wait())
        .await
        .map_err(WebError::Ended)
}
