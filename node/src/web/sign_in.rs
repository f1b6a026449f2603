//! Signing in by a link, and out. The link's own page only shows a button: programs that look at links in messages use nothing up.
//! Never says whether a link was wrong, used or too old.

use axum::extract::Path;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse as _, Redirect};
use kith_service::web::protect::{self, Secret};
use maud::html;

use super::answers::Answers;
use super::visit::{Answer, Visit};
use crate::colleagues::{self, SESSION_MS};

/// What somebody sees who is not signed in.
pub(super) async fn nobody(visit: Visit) -> Answer {
    let words = visit.words();
    let title = words.say("sign-in-title");
    let content = html! {
        h1 { (title) }
        @if visit.workspace.passkeys.is_some() { (super::passkey::button(&visit, ("enter", "passkey-enter"))) }
        p { (words.say("sign-in-none")) }
    };
    visit.page(&title, content)
}

fn sentence(visit: &Visit, key: &str) -> Answer {
    let words = visit.words();
    let title = words.say("sign-in-title");
    let content = html! {
        h1 { (title) }
        p { (words.say(key)) }
    };
    visit.page(&title, content)
}

/// The page of a link.
pub(super) async fn link(visit: Visit, Path(link): Path<String>) -> Answer {
    let found = match Secret::read(&link) {
        Some(secret) => colleagues::is_link(visit.node(), &secret).await,
        None => Ok(false),
    };
    match found.map_err(|error| visit.refused(error.problem(), &error))? {
        false => sentence(&visit, "sign-in-over"),
        true => {
            let words = visit.words();
            let title = words.say("sign-in-title");
            let content = html! {
                h1 { (title) }
                p { (words.say("sign-in-ready")) }
                // To its own address.
                form method="post" {
                    button type="submit" { (words.say("sign-in-button")) }
                }
            };
            visit.page(&title, content)
        }
    }
}

/// Uses the link up.
pub(super) async fn enter(visit: Visit, Path(link): Path<String>) -> Answer {
    let entered = match Secret::read(&link) {
        Some(secret) => colleagues::sign_in(visit.node(), &secret).await,
        None => Ok(None),
    };
    match entered.map_err(|error| visit.refused(error.problem(), &error))? {
        None => sentence(&visit, "sign-in-over"),
        Some(secret) => with_cookie(&visit, &secret.written(), SESSION_MS / 1000),
    }
}

/// Ends the session.
pub(super) async fn leave(visit: Visit, _: Answers) -> Answer {
    if let Some(seat) = &visit.seat {
        let left = colleagues::sign_out(visit.node(), &seat.secret).await;
        left.map_err(|error| visit.refused(error.problem(), &error))?;
    }
    with_cookie(&visit, "", 0)
}

/// On to the start, with the session's cookie set or taken away.
fn with_cookie(visit: &Visit, value: &str, seconds: i64) -> Answer {
    let mut response = Redirect::to("/").into_response();
    if let Some(cookie) = protect::set_cookie(&visit.workspace.session_cookie, value, seconds) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
