//! Who is there, in which language, and may they: every request passes here before its page is made.
//! A layer around all routes, made by `server`; a page finds the [`Visit`] in its request.
//! It must never log or keep a secret, nor let a form of another site change anything.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use kith_proto::problem::Problem;
use kith_service::web::language::Language;
use kith_service::web::protect::{self, Secret};

use super::Workspace;
use super::roles::{Who, who};
use super::visit::{Away, Seat, Visit};
use crate::colleagues;

/// Longest wait for a page: a person has gone by then.
const PAGE_MAX: Duration = Duration::from_secs(20);

/// Lets a request in, and sets the headers of whatever is answered.
pub(super) async fn enter(
    State(workspace): State<Arc<Workspace>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let route = matched.as_ref().map(MatchedPath::as_str).unwrap_or_default();
    let passed = pass(workspace, route, request, next);
    let mut response = match tokio::time::timeout(PAGE_MAX, passed).await {
        Ok(response) => response,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    response.headers_mut().extend(protect::headers());
    response
}

async fn pass(workspace: Arc<Workspace>, route: &str, mut request: Request, next: Next) -> Response {
    let (seat, language) = match known(&workspace, request.headers()).await {
        Ok(known) => known,
        Err(away) => return away.into_response(),
    };
    let path = request.uri().path_and_query().map(ToString::to_string);
    let visit = Visit {
        seat,
        language,
        path: path.unwrap_or_default(),
        workspace,
    };
    // Before anything is shown: who was ended may be alive again in a database that is an older copy.
    if *visit.node().own_log_ended.borrow() {
        let sentence = visit.words().say("older-copy");
        return visit
            .told(StatusCode::SERVICE_UNAVAILABLE, &sentence)
            .into_response();
    }
    let method = match *request.method() {
        Method::HEAD => "GET",
        ref method => method.as_str(),
    };
    if method != "GET" && !protect::is_own(request.headers()) {
        return visit.trouble(Problem::Unauthenticated).into_response();
    }
    match (who(method, route), &visit.seat) {
        (None, _) => return visit.trouble(Problem::NotFound).into_response(),
        (Some(Who::With(_)), None) => return Redirect::to("/sign-in").into_response(),
        (Some(Who::With(roles)), Some(seat)) => {
            if !roles.iter().any(|role| seat.caller.roles.contains(*role)) {
                return visit.trouble(Problem::RoleNotAllowed).into_response();
            }
        }
        (Some(Who::Anybody), _) => {}
    }
    request.extensions_mut().insert(visit);
    next.run(request).await
}

/// Whose session the request comes in, and which language they read: the one they chose, or what their browser asks for.
async fn known(workspace: &Arc<Workspace>, headers: &HeaderMap) -> Result<(Option<Seat>, Language), Away> {
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let chosen = protect::cookie(headers, &workspace.language_cookie).and_then(Language::of_tag);
    let mut language = chosen.unwrap_or_else(|| Language::accepted(accepted.unwrap_or_default()));
    let secret = protect::cookie(headers, &workspace.session_cookie).and_then(Secret::read);
    let Some(secret) = secret else {
        return Ok((None, language));
    };
    let session = match colleagues::session(&workspace.node, &secret).await {
        Ok(session) => session,
        Err(error) => {
            let visit = Visit {
                workspace: workspace.clone(),
                seat: None,
                language,
                path: String::from("/"),
            };
            return Err(visit.refused(error.problem(), &error));
        }
    };
    let seat = session.map(|session| {
        language = Language::of_tag(&session.language).unwrap_or(language);
        Seat {
            caller: session.caller,
            label: session.label,
            secret,
        }
    });
    Ok((seat, language))
}
