//! Consent: the text to read aloud, in large letters; then the questions about it on one page, or that the person said no, which is recorded too.
//! Never words of consent that a machine wrote: where there is no reviewed text in a language, the English one is read out by an interpreter.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::web::form::{Choice, Faults, Field, Question, area, choices, line};
use kith_service::web::language::Language;
use maud::{Markup, html};

use super::super::answers::Answers;
use super::super::visit::{Answer, Away, Visit};
use super::ask::minimum;
use super::{Making, Step};
use crate::drafts;
use crate::grants::{self, UNDERSTOOD_BYTES_MAX, is_in_language};
use crate::parts::text_fault;
use crate::threads::DAY_MS;

/// For how many days somebody may agree: a month, the usual 90 days, a year.
pub(super) const DAYS: [u32; 3] = [30, 90, 365];
/// Longest tag of a language, in bytes.
const TAG_BYTES_MAX: usize = 35;

/// The words of who gave consent, as forms send them.
pub(super) const GIVEN_BY: [(&str, v1::GivenBy); 3] = [
    ("person", v1::GivenBy::Person),
    ("parent_or_guardian", v1::GivenBy::ParentOrGuardian),
    ("other_authority", v1::GivenBy::OtherAuthority),
];
/// Of how.
pub(super) const GIVEN_HOW: [(&str, v1::GivenHow); 5] = [
    ("in_person", v1::GivenHow::InPerson),
    ("phone", v1::GivenHow::Phone),
    ("video", v1::GivenHow::Video),
    ("paper", v1::GivenHow::Paper),
    ("self", v1::GivenHow::Self_),
];
/// Of who interpreted.
pub(super) const INTERPRETER: [(&str, v1::Interpreter); 3] = [
    ("none", v1::Interpreter::None),
    ("professional", v1::Interpreter::Professional),
    ("peer", v1::Interpreter::Peer),
];

/// The reviewed text that is read out, in the page's language where there is one.
pub(super) async fn statement(visit: &Visit, language: &str) -> Result<v1::Statement, Away> {
    let node = visit.node();
    let found = grants::reviewed_statement(&node.store, &node.membership.network, "", language).await;
    let found = found.map_err(|error| visit.refused(error.problem(), &error))?;
    found.ok_or_else(|| visit.trouble(Problem::NotFound))
}

/// The text, to be read aloud.
pub(in super::super) async fn aloud(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    if let Some(before) = making.lacks(Step::Aloud) {
        return Ok(before);
    }
    let statement = statement(&visit, visit.language.tag()).await?;
    let words = visit.words();
    let title = words.say("refer-aloud-title");
    let answers = making.answers();
    let purpose = words.word("purpose", &answers.purpose);
    let called = visit.called(&answers.recipient);
    let named = [("organisation", called.as_str()), ("purpose", &purpose)];
    let content = html! {
        (making.above(&visit, Step::Aloud))
        h1 { (title) }
        p { (words.say_with("refer-aloud-lead", &named)) }
        @if !is_in_language(&statement.language, visit.language.tag()) {
            p.aside { (words.say("refer-aloud-interpret")) }
        }
        @if statement.reviewed_by.is_empty() {
            p.care { (words.say("refer-aloud-unreviewed")) }
        }
        div.aloud lang=(statement.language) dir="auto" {
            @for paragraph in statement.text.split("\n\n") { p { (paragraph) } }
        }
        ul.deeds {
            li { a.button href=(making.at(Step::Consent)) { (words.say("refer-aloud-yes")) } }
            li {
                form method="post" action={ "/refer/" (making.draft.draft_id) "/refused" } {
                    (visit.carried()?)
                    button.second type="submit" { (words.say("refer-aloud-no")) }
                }
            }
        }
    };
    visit.page(&title, content)
}

/// The person said no: that is recorded, and nothing is sent.
pub(in super::super) async fn refused(visit: Visit, Path(draft): Path<String>, _: Answers) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    let caller = visit.caller()?;
    let noted = drafts::refused(visit.node(), &caller, &making.draft).await;
    noted.map_err(|error| visit.refused(error.problem(), &error))?;
    Ok(Redirect::to("/referrals").into_response())
}

/// The categories of which there is something to share, in their order: what is recorded, and the need.
pub(super) fn shareable(making: &Making) -> Vec<Category> {
    let has = |category: &Category| {
        *category == Category::Need
            || making
                .person
                .parts
                .iter()
                .any(|part| part.category == category.number())
    };
    let all = Category::ALL.iter().copied();
    all.filter(|category| *category != Category::Progress && has(category))
        .collect()
}

/// The questions about consent, as answered so far; at first what is usual, and the least that the service needs.
pub(in super::super) async fn consent(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    if let Some(before) = making.lacks(Step::Consent) {
        return Ok(before);
    }
    let mut answers = making.answers().clone();
    if answers.categories.is_empty() {
        let least = minimum(&visit, &making);
        let chosen = shareable(&making)
            .into_iter()
            .filter(|category| least.contains(category));
        answers.categories = chosen.map(|category| category.as_str().to_owned()).collect();
    }
    if answers.days == 0 {
        answers.days = 90;
    }
    page(&visit, &making, (&answers, &Faults::new()))
}

fn page(visit: &Visit, making: &Making, (answers, faults): (&drafts::Answers, &Faults)) -> Answer {
    let words = visit.words();
    let title = words.say("refer-consent-title");
    let (label, hint) = (
        words.say("refer-consent-understood"),
        words.say("refer-consent-understood-hint"),
    );
    let understood = Field {
        name: "understood",
        label: &label,
        hint: &hint,
        value: &answers.understood,
        length_max: UNDERSTOOD_BYTES_MAX,
        is_optional: false,
    };
    let content = html! {
        (faults.summary(words))
        (making.above(visit, Step::Consent))
        h1 { (title) }
        form method="post" action=(making.at(Step::Consent)) {
            (visit.carried()?)
            (parts(visit, making, (answers, faults)))
            (one(visit, ("given_by", &GIVEN_BY.map(|(word, _)| word)), &answers.given_by, faults))
            (one(visit, ("given_how", &GIVEN_HOW.map(|(word, _)| word)), &answers.given_how, faults))
            (heard(visit, answers, faults))
            (one(visit, ("interpreter", &INTERPRETER.map(|(word, _)| word)), &answers.interpreter, faults))
            (area(words, &understood, faults))
            (until(visit, answers, faults))
            (one(visit, ("progress", &["yes", "no"]), if answers.progress { "yes" } else { "no" }, faults))
            button type="submit" { (words.say("refer-on")) }
        }
    };
    if faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, faults, content)
    }
}

/// A question with one answer of a closed list.
fn one(visit: &Visit, (name, all): (&'static str, &[&str]), chosen: &str, faults: &Faults) -> Markup {
    let words = visit.words();
    let legend = words.word("refer-consent", name);
    let question = Question {
        name,
        legend: &legend,
        hint: "",
        many: false,
    };
    let choice = |word: &&str| Choice {
        value: (*word).to_owned(),
        text: words.word(&name.replace('_', "-"), word),
        hint: String::new(),
        is_chosen: chosen == *word,
    };
    let all: Vec<Choice> = all.iter().map(choice).collect();
    choices(words, &question, &all, faults)
}

fn parts(visit: &Visit, making: &Making, (answers, faults): (&drafts::Answers, &Faults)) -> Markup {
    let words = visit.words();
    let legend = words.say_with(
        "refer-consent-parts",
        &[("organisation", &visit.called(&answers.recipient))],
    );
    let least = minimum(visit, making);
    let hint = words.say("refer-consent-parts-hint");
    let question = Question {
        name: "categories",
        legend: &legend,
        hint: &hint,
        many: true,
    };
    let choice = |category: Category| Choice {
        value: category.as_str().to_owned(),
        text: words.word("category", category.as_str()),
        hint: if least.contains(&category) {
            words.say("refer-consent-needed")
        } else {
            String::new()
        },
        is_chosen: answers.categories.iter().any(|word| word == category.as_str()),
    };
    let all: Vec<Choice> = shareable(making).into_iter().map(choice).collect();
    choices(words, &question, &all, faults)
}

/// In which language they heard it: one of those of the pages, or another by its tag.
fn heard(visit: &Visit, answers: &drafts::Answers, faults: &Faults) -> Markup {
    let words = visit.words();
    let legend = words.word("refer-consent", "language");
    let question = Question {
        name: "language",
        legend: &legend,
        hint: "",
        many: false,
    };
    let known = Language::of_tag(&answers.language);
    let choice = |language: Language| Choice {
        value: language.tag().to_owned(),
        text: language.own_name().to_owned(),
        hint: String::new(),
        is_chosen: known == Some(language),
    };
    let mut all: Vec<Choice> = Language::ALL.map(choice).to_vec();
    all.push(Choice {
        value: "other".to_owned(),
        text: words.say("refer-consent-other-language"),
        hint: String::new(),
        is_chosen: known.is_none() && !answers.language.is_empty(),
    });
    let (label, hint) = (
        words.say("refer-consent-tag"),
        words.say("refer-consent-tag-hint"),
    );
    let tag = Field {
        name: "tag",
        label: &label,
        hint: &hint,
        value: if known.is_none() { &answers.language } else { "" },
        length_max: TAG_BYTES_MAX,
        is_optional: true,
    };
    html! {
        (choices(words, &question, &all, faults))
        (line(words, &tag, faults))
    }
}

fn until(visit: &Visit, answers: &drafts::Answers, faults: &Faults) -> Markup {
    let words = visit.words();
    let legend = words.word("refer-consent", "days");
    let question = Question {
        name: "days",
        legend: &legend,
        hint: "",
        many: false,
    };
    let choice = |days: u32| Choice {
        value: days.to_string(),
        text: words.count("refer-days", days.into()),
        hint: String::new(),
        is_chosen: answers.days == days,
    };
    choices(words, &question, &DAYS.map(choice), faults)
}

/// Takes the answers about consent.
pub(in super::super) async fn consented(visit: Visit, Path(draft): Path<String>, given: Answers) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    let mut answers = making.answers().clone();
    let line = |name: &str| given.line(name).to_owned();
    (answers.given_by, answers.given_how) = (line("given_by"), line("given_how"));
    (answers.interpreter, answers.understood) = (line("interpreter"), line("understood"));
    answers.language = match given.line("language") {
        "other" => line("tag"),
        tag => tag.to_owned(),
    };
    let may: BTreeSet<&str> = shareable(&making)
        .iter()
        .map(|category| category.as_str())
        .collect();
    let chosen = given.all("categories").filter(|word| may.contains(word));
    answers.categories = chosen.map(str::to_owned).collect();
    answers.days = given
        .line("days")
        .parse()
        .ok()
        .filter(|days| DAYS.contains(days))
        .unwrap_or_default();
    answers.progress = given.line("progress") == "yes";
    let statement = statement(&visit, visit.language.tag()).await?;
    let faults = faults(&visit, &making, (&answers, &statement.language));
    if !faults.is_empty() {
        return page(&visit, &making, (&answers, &faults));
    }
    answers.is_agreed = true;
    answers.text_language = statement.language;
    let today = visit.node().now_ms().div_euclid(DAY_MS);
    answers.until_ms = (today + i64::from(answers.days)) * DAY_MS;
    making.save(&visit, answers, Step::Check).await
}

/// What is to be put right, in the order of the questions.
fn faults(visit: &Visit, making: &Making, (answers, text): (&drafts::Answers, &str)) -> Faults {
    let words = visit.words();
    let mut faults = Faults::new();
    let least = minimum(visit, making);
    let lacks = least
        .iter()
        .any(|category| !answers.categories.iter().any(|word| word == category.as_str()));
    if answers.categories.is_empty() || lacks {
        faults.add("categories", words.say("refer-consent-parts-missing"));
    }
    for (name, is_answered) in [
        (
            "given_by",
            GIVEN_BY.iter().any(|(word, _)| *word == answers.given_by),
        ),
        (
            "given_how",
            GIVEN_HOW.iter().any(|(word, _)| *word == answers.given_how),
        ),
        ("language", is_tag(&answers.language)),
        (
            "interpreter",
            INTERPRETER.iter().any(|(word, _)| *word == answers.interpreter),
        ),
    ] {
        if !is_answered {
            faults.add(name, words.say("refer-consent-choose"));
        }
    }
    if answers.interpreter == "none" && is_tag(&answers.language) && !is_in_language(text, &answers.language)
    {
        faults.add("interpreter", words.say("refer-consent-interpreter-missing"));
    }
    if answers.understood.is_empty() {
        faults.add("understood", words.say("refer-consent-understood-missing"));
    } else if let Some((problem, _)) = text_fault(&answers.understood, UNDERSTOOD_BYTES_MAX) {
        faults.add("understood", words.word("problem", problem.as_str()));
    }
    if answers.days == 0 {
        faults.add("days", words.say("refer-consent-choose"));
    }
    faults
}

/// Whether a text could be the tag of a language (BCP 47).
fn is_tag(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.len() <= 8 && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() >= 2 && text.len() <= TAG_BYTES_MAX && text.split('-').all(is_part)
}
