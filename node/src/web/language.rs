//! Choosing a language: for this browser, and for whoever is signed in.
//! Never leads to another site.

use axum::Form;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::problem::Problem;
use kith_service::web::language::Language;
use kith_service::web::protect;

use super::visit::{Answer, Visit};
use crate::colleagues;

/// How long a browser remembers it, in seconds.
const KEPT_S: i64 = 365 * 24 * 60 * 60;
/// Longest address to come back to, in bytes.
const BACK_BYTES_MAX: usize = 512;

/// What the foot of every page sends. It carries no token of a session, as nothing but a language comes of it.
#[derive(serde::Deserialize)]
pub(super) struct Choice {
    to: String,
    back: String,
}

/// Takes the choice.
pub(super) async fn choose(visit: Visit, Form(choice): Form<Choice>) -> Answer {
    let Some(language) = Language::of_tag(&choice.to) else {
        return Err(visit.trouble(Problem::Invalid));
    };
    if let Some(seat) = &visit.seat
        && let Err(error) = colleagues::speak(visit.node(), &seat.caller.token_id, language.tag()).await
    {
        return Err(visit.refused(error.problem(), &error));
    }
    let mut response = Redirect::to(back(&choice.back)).into_response();
    if let Some(cookie) = protect::set_cookie(&visit.workspace.language_cookie, language.tag(), KEPT_S) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// An address of this server, or its beginning.
fn back(asked: &str) -> &str {
    let is_own = asked.starts_with('/')
        && !asked.starts_with("//")
        && asked.len() <= BACK_BYTES_MAX
        && asked.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_on_this_server() {
        for own in ["/", "/referrals?turn=theirs", "/referrals/K7M2-9QXD-44"] {
            assert_eq!(back(own), own);
        }
        let long = format!("/{}", "a".repeat(BACK_BYTES_MAX));
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\nb",
            &long,
        ] {
            assert_eq!(back(other), "/", "{other}");
        }
    }
}
