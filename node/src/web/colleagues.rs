//! Who signs in here, for admins: added, given a link, ended. Called by the routes under `/colleagues`.
//! Never shows a link a second time.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::id::TokenId;
use kith_proto::problem::Problem;
use kith_service::web::form::{Choice, Faults, Field, Question, choices, line};
use kith_service::web::protect::Secret;
use maud::{Markup, html};

use super::answers::Answers;
use super::visit::{Answer, Away, Visit};
use crate::colleagues::{self, Colleague, ColleagueError, Desk};
use crate::tokens::{LABEL_BYTES_MAX, Role, Roles};

/// Somebody to add, as far as they were written.
#[derive(Default)]
struct Adding {
    name: String,
    roles: Roles,
    faults: Faults,
}

/// The list, and the form that adds somebody.
pub(super) async fn list(visit: Visit) -> Answer {
    page(&visit, &Adding::default()).await
}

async fn page(visit: &Visit, adding: &Adding) -> Answer {
    let all = colleagues::list(&visit.node().store).await;
    let all = all.map_err(|error| visit.refused(error.problem(), &error))?;
    let carried = visit.carried()?;
    let words = visit.words();
    let title = words.say("colleagues-title");
    let content = html! {
        (adding.faults.summary(words))
        h1 { (title) }
        p { (words.say("colleagues-lead")) }
        ul.list { @for one in &all { (row(visit, one, &carried)) } }
        h2 { (words.say("colleagues-add")) }
        (form(visit, adding, &carried))
    };
    if adding.faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, &adding.faults, content)
    }
}

fn row(visit: &Visit, one: &Colleague, carried: &Markup) -> Markup {
    let words = visit.words();
    let path = format!(
        "/colleagues/{}",
        data_encoding::HEXLOWER.encode(one.colleague_id.as_bytes())
    );
    let of = words.say_with("colleagues-link-of", &[("name", &one.label)]);
    html! {
        li {
            p { strong { bdi { (one.label) } } }
            @for role in one.roles.iter() { p.quiet { (words.word("role", role.as_str())) } }
            @match one.ended_at_ms {
                Some(at_ms) => p { (words.say_with("colleagues-ended", &[("day", &words.day(at_ms))])) },
                None => {
                    p.quiet { (words.say_with("colleagues-since", &[("day", &words.day(one.created_at_ms))])) }
                    div.deeds {
                    form method="post" action={ (path) "/link" } {
                        (carried)
                        button.plain type="submit" { (words.say("colleagues-link")) span.unseen { " " (of) } }
                    }
                    form method="post" action={ (path) "/end" } {
                        (carried)
                        button.plain type="submit" { (words.say("colleagues-end")) span.unseen { " " (of) } }
                    }
                    }
                },
            }
        }
    }
}

fn form(visit: &Visit, adding: &Adding, carried: &Markup) -> Markup {
    let words = visit.words();
    let (label, hint, legend) = (
        words.say("colleagues-name"),
        words.say("colleagues-name-hint"),
        words.say("colleagues-roles"),
    );
    let field = Field {
        name: "name",
        label: &label,
        hint: &hint,
        value: &adding.name,
        length_max: LABEL_BYTES_MAX,
        is_optional: false,
    };
    let question = Question {
        name: "role",
        legend: &legend,
        hint: "",
        many: true,
    };
    let role = |role: Role| Choice {
        value: role.to_string(),
        text: words.word("role", role.as_str()),
        hint: String::new(),
        is_chosen: adding.roles.contains(role),
    };
    html! {
        form method="post" action="/colleagues" {
            (carried)
            (line(words, &field, &adding.faults))
            (choices(words, &question, &Role::ALL.map(role), &adding.faults))
            button type="submit" { (words.say("colleagues-add-do")) }
        }
    }
}

/// Adds somebody, and shows the link with which they sign in.
pub(super) async fn add(visit: Visit, headers: HeaderMap, answers: Answers) -> Answer {
    let words = visit.words();
    let mut adding = Adding {
        name: answers.line("name").to_owned(),
        roles: answers
            .all("role")
            .filter_map(|role| role.parse::<Role>().ok())
            .collect(),
        faults: Faults::new(),
    };
    if adding.name.is_empty() || adding.name.len() > LABEL_BYTES_MAX {
        adding.faults.add("name", words.say("colleagues-name-wrong"));
    }
    if adding.roles.is_empty() {
        adding.faults.add("role", words.say("colleagues-roles-wrong"));
    }
    if !adding.faults.is_empty() {
        return page(&visit, &adding).await;
    }
    let added = colleagues::add(Desk::of(visit.node()), adding.name, adding.roles).await;
    let added = added.map_err(|error| visit.refused(error.problem(), &error))?;
    show_link(&visit, &headers, &added).await
}

/// Makes a link for somebody and shows it, this once.
pub(super) async fn link(visit: Visit, Path(id): Path<String>, headers: HeaderMap, _: Answers) -> Answer {
    let colleague = find(&visit, &id).await?;
    show_link(&visit, &headers, &colleague).await
}

/// Ends somebody.
pub(super) async fn end(visit: Visit, Path(id): Path<String>, _: Answers) -> Answer {
    let colleague = find(&visit, &id).await?;
    match colleagues::end(Desk::of(visit.node()), &colleague.colleague_id).await {
        Ok(()) | Err(ColleagueError::NotFound) => Ok(Redirect::to("/colleagues").into_response()),
        Err(error) => Err(visit.refused(error.problem(), &error)),
    }
}

async fn find(visit: &Visit, id: &str) -> Result<Colleague, Away> {
    let bytes = data_encoding::HEXLOWER.decode(id.as_bytes()).unwrap_or_default();
    let id: [u8; 16] = bytes.try_into().map_err(|_| visit.trouble(Problem::NotFound))?;
    let id = TokenId::from_bytes(id);
    let all = colleagues::list(&visit.node().store).await;
    let all = all.map_err(|error| visit.refused(error.problem(), &error))?;
    let found = all.into_iter().find(|one| one.colleague_id == id);
    found.ok_or_else(|| visit.trouble(Problem::NotFound))
}

async fn show_link(visit: &Visit, headers: &HeaderMap, colleague: &Colleague) -> Answer {
    let made = colleagues::make_link(Desk::of(visit.node()), &colleague.colleague_id).await;
    let secret = made.map_err(|error| visit.refused(error.problem(), &error))?;
    let words = visit.words();
    let named = [("name", colleague.label.as_str())];
    let title = words.say_with("colleagues-link-title", &named);
    let content = html! {
        h1 { (title) }
        p { (words.say_with("colleagues-link-lead", &named)) }
        p.told { bdi.link { (address(headers, &secret)) } }
        p { a href="/colleagues" { (words.say("colleagues-back")) } }
    };
    visit.page(&title, content)
}

/// Where a link leads: to the server as this browser reached it.
fn address(headers: &HeaderMap, secret: &Secret) -> String {
    let of = |name: axum::http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = of(HOST).unwrap_or_default();
    let is_plain =
        host.starts_with("127.0.0.1") || host.starts_with("localhost") || host.starts_with("[::1]");
    let scheme = match of(axum::http::header::ORIGIN).and_then(|origin| origin.split_once("://")) {
        Some((scheme, _)) => scheme,
        None if is_plain => "http",
        None => "https",
    };
    format!("{scheme}://{host}/sign-in/{}", secret.written())
}
