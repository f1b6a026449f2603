//! The first page: somebody who is recorded here already, or a new person, of whom a preferred name is enough.

use axum::response::{IntoResponse as _, Redirect};
use kith_proto::id::{PersonId, RequestId};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::web::form::{Faults, Field, line};
use maud::{Markup, html};

use super::super::answers::Answers;
use super::super::visit::{Answer, Visit};
use crate::drafts;
use crate::parts::Parts;
use crate::persons::{self, Line, NewPerson};

/// Most people that a search shows: more are found by writing more of the name.
const FOUND_MAX: usize = 20;
/// Longest answer of a line, in bytes.
const LINE_BYTES_MAX: usize = 200;

/// The fields of a new person, by the names that records have; only the first is needed.
const FIELDS: [(Category, &str); 4] = [
    (Category::Identity, "preferred_name"),
    (Category::Communication, "languages"),
    (Category::Contact, "safe_phone"),
    (Category::Contact, "safe_way"),
];

/// What was written on the page so far.
#[derive(Default)]
struct Page {
    search: String,
    found: Option<(Vec<Line>, bool)>,
    new: [String; 4],
    faults: Faults,
}

/// The page.
pub(in super::super) async fn who(visit: Visit) -> Answer {
    page(&visit, &Page::default()).await
}

/// The same with what a search found. Names are in no address, so the search is a form that is sent.
pub(in super::super) async fn find(visit: Visit, answers: Answers) -> Answer {
    let caller = visit.caller()?;
    let search = answers.line("search").to_owned();
    let found = persons::list(visit.node(), &caller, &search, (None, FOUND_MAX)).await;
    let found = found.map_err(|error| visit.refused(error.problem(), &error))?;
    let shown = Page {
        search,
        found: Some(found),
        ..Page::default()
    };
    page(&visit, &shown).await
}

async fn page(visit: &Visit, shown: &Page) -> Answer {
    let caller = visit.caller()?;
    let begun = drafts::list(visit.node(), &caller).await;
    let begun = begun.map_err(|error| visit.refused(error.problem(), &error))?;
    let carried = visit.carried()?;
    let words = visit.words();
    let title = words.say("refer-who-title");
    let search = (words.say("refer-who-search"), words.say("refer-who-search-hint"));
    let field = Field {
        name: "search",
        label: &search.0,
        hint: &search.1,
        value: &shown.search,
        length_max: LINE_BYTES_MAX,
        is_optional: false,
    };
    let (at, of) = (words.number(1), words.number(6));
    let content = html! {
        (shown.faults.summary(words))
        p.quiet { (words.say_with("refer-step-first", &[("at", &at), ("of", &of)])) }
        h1 { (title) }
        @if !begun.is_empty() {
            h2 { (words.say("refer-who-begun")) }
            ul.list {
                @for (draft_id, at_ms) in &begun {
                    li { a href={ "/refer/" (draft_id) "/check" } { (words.say_with("refer-who-begun-on", &[("day", &words.time(*at_ms))])) } }
                }
            }
        }
        h2 { (words.say("refer-who-known")) }
        form method="post" action="/refer/find" {
            (carried)
            (line(words, &field, &Faults::new()))
            button.second type="submit" { (words.say("refer-who-find")) }
        }
        @if let Some((found, more)) = &shown.found { (people(visit, (found, *more), &carried)) }
        h2 { (words.say("refer-who-new")) }
        (new(visit, shown, &carried))
    };
    if shown.faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, &shown.faults, content)
    }
}

fn people(visit: &Visit, (found, more): (&[Line], bool), carried: &Markup) -> Markup {
    let words = visit.words();
    html! {
        @if found.is_empty() { p { (words.say("refer-who-none")) } }
        ul.list {
            @for one in found {
                li {
                    form method="post" action="/refer" {
                        (carried)
                        input type="hidden" name="person" value=(one.person_id);
                        button.plain type="submit" { bdi { (one.preferred_name) } }
                    }
                }
            }
        }
        @if more { p { (words.say("refer-who-more")) } }
    }
}

fn new(visit: &Visit, shown: &Page, carried: &Markup) -> Markup {
    let words = visit.words();
    html! {
        form method="post" action="/refer" {
            (carried)
            @for ((_, name), value) in FIELDS.iter().zip(&shown.new) {
                @let label = words.word("field", name);
                @let hint = words.word("refer-who-hint", name);
                @let field = Field {
                    name,
                    label: &label,
                    hint: &hint,
                    value,
                    length_max: LINE_BYTES_MAX,
                    is_optional: *name != "preferred_name",
                };
                (line(words, &field, &shown.faults))
            }
            button type="submit" { (words.say("refer-on")) }
        }
    }
}

/// Begins a draft about the person who was chosen, or records a new one first.
pub(in super::super) async fn take(visit: Visit, answers: Answers) -> Answer {
    let caller = visit.caller()?;
    let request_id = answers
        .request_id()
        .ok_or_else(|| visit.trouble(Problem::Invalid))?;
    let person_id = match answers.line("person") {
        "" => match record(&visit, &answers, request_id).await? {
            Ok(person_id) => person_id,
            Err(shown) => return page(&visit, &shown).await,
        },
        chosen => chosen.parse().map_err(|_| visit.trouble(Problem::NotFound))?,
    };
    let begun = drafts::begin(visit.node(), &caller, request_id, person_id).await;
    begun.map_err(|error| visit.refused(error.problem(), &error))?;
    Ok(Redirect::to(&format!("/refer/{request_id}/need")).into_response())
}

/// Records a new person; gives the page again where something is to be put right.
async fn record(
    visit: &Visit,
    answers: &Answers,
    request_id: RequestId,
) -> Result<Result<PersonId, Page>, super::super::visit::Away> {
    let words = visit.words();
    let mut shown = Page {
        new: FIELDS.map(|(_, name)| answers.line(name).to_owned()),
        ..Page::default()
    };
    if shown.new[0].is_empty() {
        shown
            .faults
            .add("preferred_name", words.say("refer-who-name-missing"));
    }
    let parts = Category::ALL.iter().map(|category| {
        let of = FIELDS
            .iter()
            .zip(&shown.new)
            .filter(|((of, _), value)| of == category && !value.is_empty());
        let field = |((_, name), value): (&(Category, &str), &String)| v1::Field {
            name: (*name).to_owned(),
            value: value.clone(),
        };
        v1::Part {
            category: category.number(),
            fields: of.map(field).collect(),
        }
    });
    let parts: Vec<v1::Part> = parts.filter(|part| !part.fields.is_empty()).collect();
    let parts = match Parts::parse(parts) {
        Ok(parts) => parts,
        Err(faults) => {
            let problem = faults.first().map_or(Problem::Invalid, |fault| fault.problem);
            shown
                .faults
                .add("preferred_name", words.word("problem", problem.as_str()));
            return Ok(Err(shown));
        }
    };
    if !shown.faults.is_empty() {
        return Ok(Err(shown));
    }
    let caller = visit.caller()?;
    let made = persons::create(visit.node(), &caller, &NewPerson { request_id, parts }).await;
    let made = made.map_err(|error| visit.refused(error.problem(), &error))?;
    let person_id = made.person_id.as_slice().try_into();
    Ok(Ok(person_id.map_err(|_| visit.trouble(Problem::Unavailable))?))
}
