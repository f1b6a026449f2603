//! One request: who is there, in which language, and how pages and troubles are answered to them. Made by the guard; every page takes it.
//! Never answers with a sentence that is not in the texts.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::HEXLOWER;
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_service::web::form::Faults;
use kith_service::web::language::Language;
use kith_service::web::page::{Entry, Page, SignedIn};
use kith_service::web::protect::Secret;
use kith_service::web::words::Words;
use maud::{Markup, html};

use super::Workspace;
use crate::node::Node;
use crate::threads_view::Visible;
use crate::tokens::{Caller, Role};

/// What a request comes to.
pub(super) type Answer = Result<Response, Away>;

/// An answer that is not the page that was asked for: what stands in the way, or where to go first.
pub(super) struct Away(Box<Response>);

impl From<Response> for Away {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for Away {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Who sits in front of the page.
#[derive(Clone)]
pub(super) struct Seat {
    /// As everything that they ask for is done.
    pub(super) caller: Caller,
    /// What colleagues know them by.
    pub(super) label: String,
    /// Of their session.
    pub(super) secret: Secret,
}

/// One request.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) workspace: Arc<Workspace>,
    pub(super) seat: Option<Seat>,
    pub(super) language: Language,
    /// The path and query that were asked for.
    pub(super) path: String,
}

impl Visit {
    /// The visit that the guard made; every route is behind it.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, Away> {
        let found = extensions.get::<Self>().cloned();
        found.ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response().into())
    }

    pub(super) fn node(&self) -> &Node {
        &self.workspace.node
    }

    pub(super) fn words(&self) -> Words<'_> {
        self.workspace.texts.of(self.language)
    }

    /// What an organisation is called: its name in the directory, or its id where it is in none.
    pub(super) fn called(&self, organisation: &str) -> String {
        let org = organisation.parse::<OrgId>().ok();
        let listed = org.and_then(|org| self.node().members.get(&org));
        listed.map_or_else(|| organisation.to_owned(), |listed| listed.member.name.clone())
    }

    /// Whoever is signed in; a page whose route needs nobody has nobody.
    pub(super) fn caller(&self) -> Result<Caller, Away> {
        let caller = self.seat.as_ref().map(|seat| seat.caller);
        caller.ok_or_else(|| Redirect::to("/sign-in").into_response().into())
    }

    /// What every form of this session carries: its token, and a new request's id.
    pub(super) fn carried(&self) -> Result<Markup, Away> {
        let request_id: [u8; 16] = self
            .node()
            .rng
            .bytes()
            .map_err(|_| self.trouble(Problem::Unavailable))?;
        Ok(self.carried_again(&HEXLOWER.encode(&request_id)))
    }

    /// The same for a form that comes back with faults: it stays the same request.
    pub(super) fn carried_again(&self, request_id: &str) -> Markup {
        html! {
            @if let Some(seat) = &self.seat {
                input type="hidden" name="form_token" value=(seat.secret.form_token());
            }
            input type="hidden" name="request_id" value=(request_id);
        }
    }

    fn menu(&self) -> Vec<Entry> {
        let Some(seat) = &self.seat else {
            return Vec::new();
        };
        let has = |role| seat.caller.roles.contains(role);
        let mut entries = Vec::new();
        let mut add = |href: &str, key: &str| {
            entries.push(Entry {
                href: href.to_owned(),
                text: self.words().say(key),
                is_here: self.is_at(href),
            });
        };
        if has(Role::Referrer) || has(Role::Coordinator) || has(Role::Auditor) {
            add("/referrals", "menu-referrals");
        }
        if has(Role::Referrer) || has(Role::Coordinator) {
            add("/refer", "menu-refer");
        }
        if has(Role::Admin) {
            add("/colleagues", "menu-colleagues");
        }
        add("/passkeys", "menu-passkeys");
        entries
    }

    /// Whether the page is this one or one below it.
    fn is_at(&self, href: &str) -> bool {
        let rest = self.path.strip_prefix(href);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn render(&self, title: &str, has_faults: bool, content: Markup) -> Markup {
        let organisation = &self.node().membership.name;
        let signed_in = self.seat.as_ref().map(|seat| SignedIn {
            label: &seat.label,
            form_token: seat.secret.form_token(),
        });
        let page = Page {
            words: self.words(),
            organisation,
            title,
            path: &self.path,
            has_faults,
            menu: self.menu(),
            signed_in,
            content,
        };
        page.render()
    }

    /// A heading with a referral's code in it, which is not broken across lines.
    pub(super) fn heading(&self, title: &str, code: &str) -> Markup {
        let (before, after) = title.split_once(code).unwrap_or((title, ""));
        html! {
            h1 {
                (before)
                @if before.len() < title.len() { span.unbroken { (code) } }
                (after)
            }
        }
    }

    /// A page; its content begins with its heading.
    pub(super) fn page(&self, title: &str, content: Markup) -> Answer {
        Ok(self.render(title, false, content).into_response())
    }

    /// A page that comes back because something in it is to be put right.
    pub(super) fn page_again(&self, title: &str, faults: &Faults, content: Markup) -> Answer {
        let page = self.render(title, !faults.is_empty(), content);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    }

    /// Says what stands in the way, and what to do.
    pub(super) fn trouble(&self, problem: Problem) -> Away {
        let sentence = self.words().word("problem", problem.as_str());
        let status = match problem {
            Problem::NotFound => StatusCode::NOT_FOUND,
            Problem::Unauthenticated | Problem::RoleNotAllowed => StatusCode::FORBIDDEN,
            Problem::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Problem::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::CONFLICT,
        };
        self.told(status, &sentence)
    }

    /// A page with one sentence, and the way back.
    pub(super) fn told(&self, status: StatusCode, sentence: &str) -> Away {
        let title = self.words().say("trouble-title");
        let back = if self.seat.is_some() { "/" } else { "/sign-in" };
        let content = html! {
            h1 { (title) }
            p { (sentence) }
            p { a href=(back) { (self.words().say("trouble-back")) } }
        };
        (status, self.render(&title, false, content))
            .into_response()
            .into()
    }

    /// As [`Visit::trouble`]; the cause of what nobody at the screen can mend goes to the log.
    pub(super) fn refused(&self, problem: Problem, cause: &dyn std::error::Error) -> Away {
        if problem == Problem::Unavailable {
            tracing::warn!(%cause, "a page could not be made");
        }
        self.trouble(problem)
    }
}

/// Whose threads somebody opens: a referrer their own.
pub(super) const fn opens(caller: &Caller) -> Visible {
    if caller.sees_all() {
        Visible::All
    } else {
        Visible::Own(caller.token_id)
    }
}

/// Whose threads somebody sees in lists without content: an auditor all of them.
pub(super) const fn lists(caller: &Caller) -> Visible {
    if caller.roles.contains(Role::Auditor) {
        Visible::All
    } else {
        opens(caller)
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Away;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Away> {
        Self::of(&parts.extensions)
    }
}
