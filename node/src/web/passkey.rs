//! Signing in with a device, and the passkeys of whoever is signed in. Making and using one needs the browser's script; all else does not.
//! Called by the routes under `/passkeys`. Answers of a device come as JSON, under the same guard as forms.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse as _, Redirect, Response};
use data_encoding::HEXLOWER;
use kith_proto::problem::Problem;
use kith_service::web::protect;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::answers::Answers;
use super::visit::{Answer, Away, Visit};
use crate::colleagues::SESSION_MS;
use crate::passkeys::{self, PasskeyError, Passkeys, Stored};

/// A button that the script works on; without it a sentence stands there.
pub(super) fn button(visit: &Visit, (does, key): (&str, &str)) -> Markup {
    let words = visit.words();
    let token = visit.seat.as_ref().map(|seat| seat.secret.form_token());
    html! {
        div data-passkey=(does) data-token=[token] data-failed=(words.say("passkey-failed")) {
            p.quiet { (words.say("passkey-needs-script")) }
            button type="button" hidden { (words.say(key)) }
            p.fault role="alert" {}
        }
    }
}

fn of(visit: &Visit) -> Result<&Passkeys, Away> {
    let found = visit.workspace.passkeys.as_ref();
    found.ok_or_else(|| visit.trouble(Problem::NotFound))
}

/// The passkeys of whoever is signed in.
pub(super) async fn list(visit: Visit) -> Answer {
    let caller = visit.caller()?;
    let all = passkeys::of(visit.node(), &caller.token_id).await;
    let all = all.map_err(|error| visit.refused(error.problem(), &error))?;
    let words = visit.words();
    let title = words.say("passkey-title");
    let carried = visit.carried()?;
    let content = html! {
        h1 { (title) }
        p { (words.say("passkey-lead")) }
        @if all.is_empty() { p { (words.say("passkey-none")) } }
        ul.list { @for one in &all { (row(&visit, one, &carried)) } }
        @if visit.workspace.passkeys.is_some() {
            (button(&visit, ("make", "passkey-make")))
        } @else {
            p { (words.say("passkey-address")) }
        }
    };
    visit.page(&title, content)
}

fn row(visit: &Visit, one: &Stored, carried: &Markup) -> Markup {
    let words = visit.words();
    let name = words.say_with("passkey-one", &[("day", &words.time(one.made_at_ms))]);
    html! {
        li {
            p { strong { (name) } }
            @if let Some(at_ms) = one.used_at_ms {
                p.quiet { (words.say_with("passkey-used", &[("day", &words.time(at_ms))])) }
            }
            form method="post" action="/passkeys/end" {
                (carried)
                input type="hidden" name="passkey" value=(HEXLOWER.encode(&one.credential_id));
                button.plain type="submit" { (words.say("passkey-end")) span.unseen { " " (name) } }
            }
        }
    }
}

/// Takes one away.
pub(super) async fn end(visit: Visit, answers: Answers) -> Answer {
    let caller = visit.caller()?;
    let id = HEXLOWER.decode(answers.line("passkey").as_bytes());
    let id = id.map_err(|_| visit.trouble(Problem::Invalid))?;
    let ended = passkeys::end(visit.node(), &caller, &id).await;
    ended.map_err(|error| visit.refused(error.problem(), &error))?;
    Ok(Redirect::to("/passkeys").into_response())
}

/// What a browser is asked, and under which id it answers.
#[derive(Serialize)]
struct Asked<T> {
    id: String,
    asked: T,
}

/// What it answers.
#[derive(Deserialize)]
struct Given<T> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    form_token: String,
    answer: Option<T>,
}

impl<T: for<'a> Deserialize<'a>> Given<T> {
    /// Reads an answer; with a session only of a page of it.
    fn read(visit: &Visit, body: &Bytes) -> Result<Self, Away> {
        let given: Self = serde_json::from_slice(body).map_err(|_| visit.trouble(Problem::Invalid))?;
        match &visit.seat {
            Some(seat) if !seat.secret.is_of_form(&given.form_token) => {
                Err(visit.trouble(Problem::Unauthenticated))
            }
            _ => Ok(given),
        }
    }

    fn parts(self, visit: &Visit) -> Result<([u8; 16], T), Away> {
        let id = HEXLOWER.decode(self.id.as_bytes()).ok();
        let id = id.and_then(|id| id.try_into().ok());
        id.zip(self.answer).ok_or_else(|| visit.trouble(Problem::Invalid))
    }
}

fn json<T: Serialize>(visit: &Visit, (id, asked): ([u8; 16], T)) -> Answer {
    let id = HEXLOWER.encode(&id);
    let written = serde_json::to_string(&Asked { id, asked });
    let written = written.map_err(|_| visit.trouble(Problem::Unavailable))?;
    let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
    Ok((kind, written).into_response())
}

fn refused(visit: &Visit) -> impl FnOnce(PasskeyError) -> Away + '_ {
    |error| visit.refused(error.problem(), &error)
}

/// Asks the browser to make one.
pub(super) async fn make(visit: Visit, body: Bytes) -> Answer {
    Given::<serde_json::Value>::read(&visit, &body)?;
    let caller = visit.caller()?;
    let label = visit
        .seat
        .as_ref()
        .map(|seat| seat.label.clone())
        .unwrap_or_default();
    let asked = of(&visit)?.make(visit.node(), &caller, &label).await;
    json(&visit, asked.map_err(refused(&visit))?)
}

/// Takes the one that it made.
pub(super) async fn made(visit: Visit, body: Bytes) -> Answer {
    let given = Given::<RegisterPublicKeyCredential>::read(&visit, &body)?;
    let caller = visit.caller()?;
    let (id, answer) = given.parts(&visit)?;
    let made = of(&visit)?.made(visit.node(), &caller, (&id, &answer)).await;
    made.map_err(refused(&visit))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Asks the browser who is there.
pub(super) async fn enter(visit: Visit) -> Answer {
    let asked = of(&visit)?.enter(visit.node());
    json(&visit, asked.map_err(refused(&visit))?)
}

/// Signs in whoever it says.
pub(super) async fn entered(visit: Visit, body: Bytes) -> Answer {
    // Nobody is signed in yet, or somebody else is, who ends with it.
    let given: Given<PublicKeyCredential> =
        serde_json::from_slice(&body).map_err(|_| visit.trouble(Problem::Invalid))?;
    let (id, answer) = given.parts(&visit)?;
    let entered = of(&visit)?.entered(visit.node(), (&id, &answer)).await;
    let secret = entered.map_err(refused(&visit))?;
    let mut response: Response = StatusCode::NO_CONTENT.into_response();
    let cookie = protect::set_cookie(
        &visit.workspace.session_cookie,
        &secret.written(),
        SESSION_MS / 1000,
    );
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
