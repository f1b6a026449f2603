//! All answers once more, each with the way to change it; sending; and what happens next, with the person's stop code.
//! Records the consent and sends under two ids that the draft keeps: however often it is asked for, each is done once.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::human_code::HumanCode;
use kith_proto::id::{GrantId, RequestId};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use maud::{Markup, html};

use super::super::answers::Answers;
use super::super::visit::{Answer, Away, Visit};
use super::agree::{GIVEN_BY, GIVEN_HOW, INTERPRETER, statement};
use super::{Making, Step};
use crate::drafts;
use crate::grants::{self, Allowed, NewGrant, stop_code};
use crate::parts::Parts;
use crate::referrals::{self, NewReferral, SendError};

/// All answers.
pub(in super::super) async fn check(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    if let Some(before) = making.lacks(Step::Check) {
        return Ok(before);
    }
    let words = visit.words();
    let title = words.say("refer-check-title");
    let content = html! {
        (making.above(&visit, Step::Check))
        h1 { (title) }
        dl.facts {
            (row(&visit, "refer-check-person", (making.name(), None)))
            (row(&visit, "refer-check-need", (&making.answers().need, Some(making.at(Step::Need)))))
            (told(&visit, &making))
        }
        form method="post" action={ "/refer/" (draft) "/send" } {
            (visit.carried()?)
            p { (words.say_with("refer-check-lead", &[("organisation", &visit.called(&making.answers().recipient))])) }
            button type="submit" { (words.say("refer-check-send")) }
        }
    };
    visit.page(&title, content)
}

fn row(visit: &Visit, key: &str, (value, change): (&str, Option<String>)) -> Markup {
    let words = visit.words();
    let what = words.say(key);
    html! {
        dt { (what) }
        dd {
            bdi { (value) }
            @if let Some(at) = change {
                " " a href=(at) { (words.say("refer-check-change")) span.unseen { " " (what) } }
            }
        }
    }
}

/// The answers about what for, to whom, and consent.
fn told(visit: &Visit, making: &Making) -> Markup {
    let words = visit.words();
    let answers = making.answers();
    let parts: Vec<String> = answers
        .categories
        .iter()
        .map(|word| words.word("category", word))
        .collect();
    let agreed = [
        words.word("given-by", &answers.given_by),
        words.word("given-how", &answers.given_how),
        answers.language.clone(),
        words.word("interpreter", &answers.interpreter),
    ];
    let progress = words.say(if answers.progress { "yes" } else { "no" });
    let (service, consent) = (making.at(Step::Service), making.at(Step::Consent));
    html! {
        (row(visit, "refer-check-purpose", (&words.word("purpose", &answers.purpose), Some(making.at(Step::Need)))))
        (row(visit, "refer-check-recipient", (&visit.called(&answers.recipient), Some(service))))
        (row(visit, "refer-check-parts", (&parts.join(", "), Some(consent.clone()))))
        (row(visit, "refer-check-agreed", (&agreed.join(", "), Some(consent.clone()))))
        (row(visit, "refer-consent-understood", (&answers.understood, Some(consent.clone()))))
        (row(visit, "refer-sent-until", (&words.day(answers.until_ms.saturating_sub(1)), Some(consent.clone()))))
        (row(visit, "refer-consent-progress", (&progress, Some(consent))))
    }
}

/// Records the consent, if that was not done yet.
async fn record(visit: &Visit, making: &Making) -> Result<v1::RecordGrantResponse, Away> {
    let answers = making.answers();
    let caller = visit.caller()?;
    let invalid = || visit.trouble(Problem::Invalid);
    let statement = statement(visit, &answers.text_language).await?;
    let of =
        |word: &str, all: &[(&str, i32)]| all.iter().find(|(of, _)| *of == word).map(|(_, number)| *number);
    let capture = v1::Capture {
        given_by: of(&answers.given_by, &GIVEN_BY.map(|(word, of)| (word, of.into()))).ok_or_else(invalid)?,
        given_how: of(&answers.given_how, &GIVEN_HOW.map(|(word, of)| (word, of.into())))
            .ok_or_else(invalid)?,
        language: answers.language.clone(),
        interpreter: of(
            &answers.interpreter,
            &INTERPRETER.map(|(word, of)| (word, of.into())),
        )
        .ok_or_else(invalid)?,
        read_aloud: true,
        understood: answers.understood.clone(),
        statement_id: statement.statement_id,
        statement_language: statement.language,
        text_hash: statement.text_hash,
    };
    let new = NewGrant {
        request_id: id(&answers.grant_request).ok_or_else(invalid)?,
        person_id: making.draft.person_id,
        capture,
        allowed: vec![Allowed {
            recipient: answers.recipient.parse().map_err(|_| invalid())?,
            categories: categories(answers).collect(),
            purposes: vec![answers.purpose.parse().map_err(|_| invalid())?],
            progress: answers.progress,
        }],
        lawful_basis: v1::LawfulBasis::Consent,
        expires_at_ms: answers.until_ms,
    };
    let recorded = grants::record(visit.node(), &caller, &new).await;
    recorded.map_err(|error| visit.refused(error.problem(), &error))
}

fn id(text: &str) -> Option<RequestId> {
    text.parse().ok()
}

fn categories(answers: &drafts::Answers) -> impl Iterator<Item = Category> {
    answers.categories.iter().filter_map(|word| word.parse().ok())
}

/// Sends it.
pub(in super::super) async fn send(visit: Visit, Path(draft): Path<String>, _: Answers) -> Answer {
    let making = Making::open(&visit, &draft).await?;
    if let Some(before) = making.lacks(Step::Check) {
        return Ok(before);
    }
    let granted = record(&visit, &making).await?;
    let answers = making.answers();
    let invalid = || visit.trouble(Problem::Invalid);
    let need = v1::Part {
        category: Category::Need.number(),
        fields: vec![v1::Field {
            name: "in_their_words".to_owned(),
            value: answers.need.clone(),
        }],
    };
    let shares_need = categories(answers).any(|category| category == Category::Need);
    let parts = if shares_need { vec![need] } else { Vec::new() };
    let own: CategorySet = categories(answers)
        .filter(|category| {
            making
                .person
                .parts
                .iter()
                .any(|part| part.category == category.number())
        })
        .collect();
    let new = NewReferral {
        request_id: id(&answers.send_request).ok_or_else(invalid)?,
        person_id: making.draft.person_id,
        grant_id: GrantId::try_from(granted.grant_id.as_slice()).map_err(|_| invalid())?,
        recipient: answers.recipient.parse().map_err(|_| invalid())?,
        purpose: answers.purpose.parse::<Purpose>().map_err(|_| invalid())?,
        parts: Parts::parse(parts).map_err(|_| invalid())?,
        categories: own,
        answer_by_ms: 0,
    };
    let caller = visit.caller()?;
    let sent = referrals::send(visit.node(), &caller, new).await;
    let sent = sent.map_err(|error: SendError| visit.refused(error.problem(), &error))?;
    let code = HumanCode::of(&sent.thread_id).to_string();
    let noted = drafts::sent(visit.node(), &caller, &making.draft, code).await;
    noted.map_err(|error| visit.refused(error.problem(), &error))?;
    Ok(Redirect::to(&making.sent()).into_response())
}

/// What happens next, and what the person takes along.
pub(in super::super) async fn sent(visit: Visit, Path(draft): Path<String>) -> Answer {
    let making = Making::look(&visit, &draft).await?;
    let answers = making.answers();
    if answers.code.is_empty() {
        return Ok(Redirect::to(&making.at(Step::Check)).into_response());
    }
    // The first answer again: the seed is nowhere else to be seen.
    let granted = record(&visit, &making).await?;
    let words = visit.words();
    let title = words.say("refer-sent-title");
    let called = visit.called(&answers.recipient);
    let named = [("organisation", called.as_str()), ("code", &answers.code)];
    let until = words.day(granted.expires_at_ms.saturating_sub(1));
    let content = html! {
        section.told role="status" {
            h1 { (title) }
            p { (words.say("refer-sent-code")) " " strong.code { (answers.code) } }
        }
        p { (words.say_with("refer-sent-next", &named)) }
        h2 { (words.say("refer-sent-sheet")) }
        dl.facts {
            (row(&visit, "refer-check-recipient", (&called, None)))
            (row(&visit, "refer-sent-until", (&until, None)))
            (row(&visit, "refer-sent-stop", (&stop_code(&granted.stop_seed), None)))
        }
        p { (words.say("refer-sent-stop-hint")) }
        ul.deeds {
            li { a.button href={ "/referrals/" (answers.code) } { (words.say("refer-sent-look")) } }
            li { a.button.second href="/refer" { (words.say("refer-sent-another")) } }
        }
    };
    visit.page(&title, content)
}
