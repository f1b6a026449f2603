//! What would help, in the person's words, and who could: the services of the network that offer it, each with why it is shown.

use std::collections::BTreeSet;

use axum::extract::Path;
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::web::form::{Choice, Faults, Field, Question, area, choices};
use maud::html;

use super::super::answers::Answers;
use super::super::visit::{Answer, Visit};
use super::{Making, Step};
use crate::drafts;
use crate::moves::WORDS_BYTES_MAX;
use crate::parts::text_fault;

/// The page about what would help.
pub(in super::super) async fn need(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    let answers = making.answers().clone();
    need_page(&visit, &making, (&answers, &Faults::new()))
}

fn need_page(visit: &Visit, making: &Making, (answers, faults): (&drafts::Answers, &Faults)) -> Answer {
    let words = visit.words();
    let title = words.say("refer-need-title");
    let (label, hint, legend) = (
        words.word("field", "in_their_words"),
        words.say("refer-need-hint"),
        words.say("refer-need-purpose"),
    );
    let field = Field {
        name: "need",
        label: &label,
        hint: &hint,
        value: &answers.need,
        length_max: WORDS_BYTES_MAX,
        is_optional: false,
    };
    let question = Question {
        name: "purpose",
        legend: &legend,
        hint: "",
        many: false,
    };
    let purpose = |purpose: &Purpose| Choice {
        value: purpose.as_str().to_owned(),
        text: words.word("purpose", purpose.as_str()),
        hint: String::new(),
        is_chosen: answers.purpose == purpose.as_str(),
    };
    let purposes: Vec<Choice> = Purpose::ALL.iter().map(purpose).collect();
    let content = html! {
        (faults.summary(words))
        (making.above(visit, Step::Need))
        h1 { (title) }
        form method="post" action=(making.at(Step::Need)) {
            (visit.carried()?)
            (area(words, &field, faults))
            (choices(words, &question, &purposes, faults))
            button type="submit" { (words.say("refer-on")) }
        }
    };
    if faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, faults, content)
    }
}

/// Takes what would help.
pub(in super::super) async fn needed(visit: Visit, Path(draft): Path<String>, given: Answers) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    let words = visit.words();
    let mut answers = making.answers().clone();
    given.line("need").clone_into(&mut answers.need);
    given.line("purpose").clone_into(&mut answers.purpose);
    let mut faults = Faults::new();
    if answers.need.is_empty() {
        faults.add("need", words.say("refer-need-missing"));
    } else if let Some((problem, _)) = text_fault(&answers.need, WORDS_BYTES_MAX) {
        faults.add("need", words.word("problem", problem.as_str()));
    }
    if answers.purpose.parse::<Purpose>().is_err() {
        faults.add("purpose", words.say("refer-need-purpose-missing"));
    }
    if !faults.is_empty() {
        return need_page(&visit, &making, (&answers, &faults));
    }
    // A service that was chosen for something else is chosen anew.
    if answers.purpose != making.answers().purpose {
        answers.recipient.clear();
        answers.categories.clear();
    }
    making.save(&visit, answers, Step::Service).await
}

/// A service that could help.
struct Match {
    org: OrgId,
    name: String,
    service: v1::Service,
    /// The person's languages that it has.
    languages: Vec<String>,
}

/// The services for a purpose: those that speak the person's language first, then by name. What is paused or suspended takes nobody now.
fn matches(visit: &Visit, making: &Making) -> Vec<Match> {
    let node = visit.node();
    let Ok(purpose) = making.answers().purpose.parse::<Purpose>() else {
        return Vec::new();
    };
    let spoken: BTreeSet<String> = making
        .field(Category::Communication, "languages")
        .split([',', ' ', ';'])
        .filter(|tag| !tag.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut found = Vec::new();
    for (org, listed) in node.members.all().iter() {
        if listed.suspended || org == node.organisation() {
            continue;
        }
        for service in listed.services.iter().filter(|service| !service.paused) {
            if service.purposes.contains(&purpose.number()) {
                let languages = service
                    .languages
                    .iter()
                    .filter(|tag| spoken.contains(&tag.to_lowercase()));
                found.push(Match {
                    org: org.clone(),
                    name: listed.member.name.clone(),
                    languages: languages.cloned().collect(),
                    service: service.clone(),
                });
            }
        }
    }
    found.sort_by(|a, b| (a.languages.is_empty(), &a.name).cmp(&(b.languages.is_empty(), &b.name)));
    found
}

/// The least that the service of an organisation needs for a purpose.
pub(super) fn minimum(visit: &Visit, making: &Making) -> BTreeSet<Category> {
    let org = &making.answers().recipient;
    let found = matches(visit, making);
    let of = found.iter().filter(|one| one.org.as_str() == org);
    of.flat_map(|one| &one.service.minimum_categories)
        .filter_map(|category| Category::try_from(*category).ok())
        .collect()
}

/// The page about who could help.
pub(in super::super) async fn service(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    if let Some(before) = making.lacks(Step::Service) {
        return Ok(before);
    }
    service_page(&visit, &making, &Faults::new())
}

fn service_page(visit: &Visit, making: &Making, faults: &Faults) -> Answer {
    let words = visit.words();
    let title = words.say("refer-service-title");
    let legend = words.say("refer-service-legend");
    let question = Question {
        name: "recipient",
        legend: &legend,
        hint: "",
        many: false,
    };
    let why = |one: &Match| {
        let purpose = words.word("purpose", &making.answers().purpose);
        let mut why = words.say_with("refer-service-why", &[("purpose", &purpose)]);
        if !one.languages.is_empty() {
            let languages = [("languages", one.languages.join(", "))];
            why = format!(
                "{why} {}",
                words.say_with("refer-service-speaks", &[(languages[0].0, &languages[0].1)])
            );
        }
        for said in [&one.service.place, &one.service.schedule] {
            if !said.is_empty() {
                why = format!("{why} {said}.");
            }
        }
        why
    };
    let choice = |one: &Match| Choice {
        value: one.org.to_string(),
        text: format!("{}: {}", one.name, one.service.name),
        hint: why(one),
        is_chosen: making.answers().recipient == one.org.as_str(),
    };
    let found: Vec<Choice> = matches(visit, making).iter().map(choice).collect();
    let content = html! {
        (faults.summary(words))
        (making.above(visit, Step::Service))
        h1 { (title) }
        @if found.is_empty() {
            p { (words.say("refer-service-none")) }
        } @else {
            form method="post" action=(making.at(Step::Service)) {
                (visit.carried()?)
                (choices(words, &question, &found, faults))
                button type="submit" { (words.say("refer-on")) }
            }
        }
    };
    if faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, faults, content)
    }
}

/// Takes who could help.
pub(in super::super) async fn served(visit: Visit, Path(draft): Path<String>, given: Answers) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    let chosen = given.line("recipient");
    if !matches(&visit, &making)
        .iter()
        .any(|one| one.org.as_str() == chosen)
    {
        let mut faults = Faults::new();
        let key = if chosen.is_empty() {
            "refer-service-missing"
        } else {
            "refer-service-gone"
        };
        faults.add("recipient", visit.words().say(key));
        return service_page(&visit, &making, &faults);
    }
    let mut answers = making.answers().clone();
    if answers.recipient != chosen {
        chosen.clone_into(&mut answers.recipient);
        // Whoever agreed did so to another organisation.
        answers.is_agreed = false;
        answers.categories.clear();
    }
    if answers.recipient.is_empty() {
        return Err(visit.trouble(Problem::Invalid));
    }
    making.save(&visit, answers, Step::Aloud).await
}
