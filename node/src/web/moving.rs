//! Moves of a referral: one page a move, with what it needs and nothing else; what cannot be undone says so. Called by the routes
//! `/referrals/{code}/{move}`.
//! Never offers a move that the lifecycle does not allow now.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::lifecycle::{Move, Reason, Refused};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::web::form::{Choice, Faults, Field, Question, area, choices};
use maud::{Markup, html};

use super::answers::Answers;
use super::referral::{Just, in_address, open, thread_id};
use super::visit::{Answer, Away, Visit};
use crate::moves::{self, MoveError, NewMove, WORDS_BYTES_MAX};
use crate::requests::Asked;

/// A move on its way: which referral, which move, and what was answered so far.
struct Moving {
    line: v1::ReferralLine,
    mv: Move,
    reason: Option<Reason>,
    words: String,
    request_id: Option<String>,
    faults: Faults,
}

/// Opens the referral and finds the move, if it is allowed now.
async fn begin(visit: &Visit, code: &str, word: &str) -> Result<Moving, Away> {
    let mv: Move = word
        .replace('-', "_")
        .parse()
        .map_err(|_| visit.trouble(Problem::NotFound))?;
    let thread = open(visit, code).await?;
    if !thread.moves.contains(&mv.number()) {
        return Err(visit.trouble(Problem::WrongState));
    }
    Ok(Moving {
        line: thread.line.unwrap_or_default(),
        mv,
        reason: None,
        words: String::new(),
        request_id: None,
        faults: Faults::new(),
    })
}

/// The page of a move.
pub(super) async fn ask(visit: Visit, Path((code, word)): Path<(String, String)>) -> Answer {
    let moving = begin(&visit, &code, &word).await?;
    page(&visit, &moving)
}

fn page(visit: &Visit, moving: &Moving) -> Answer {
    let words = visit.words();
    let (mv, line) = (moving.mv, &moving.line);
    let verb = words.word("move", mv.as_str());
    let title = words.say_with("moving-title", &[("move", &verb), ("code", &line.code)]);
    let carried = match &moving.request_id {
        Some(id) => visit.carried_again(id),
        None => visit.carried()?,
    };
    let grave = grave(visit, moving);
    let content = html! {
        (moving.faults.summary(words))
        (visit.heading(&title, &line.code))
        @if let Some(warning) = &grave { p.care { (warning) } }
        form method="post" action={ "/referrals/" (line.code) "/" (in_address(mv)) } {
            (carried)
            @if mv.needs_reason() { (reasons(visit, moving)) }
            @if mv != Move::Withdraw { (saying(visit, moving)) }
            ul.deeds {
                li { button.grave[grave.is_some()] type="submit" { (verb) } }
                li { a.button.second href={ "/referrals/" (line.code) } { (words.say("moving-leave")) } }
            }
        }
    };
    if moving.faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, &moving.faults, content)
    }
}

/// What cannot be undone.
fn grave(visit: &Visit, moving: &Moving) -> Option<String> {
    let words = visit.words();
    if moving.mv == Move::Withdraw {
        return Some(words.say_with(
            "moving-withdraw",
            &[("organisation", &visit.called(&moving.line.organisation))],
        ));
    }
    let ends = moving.mv.target().is_some_and(|state| state.is_terminal());
    (ends && moving.mv != Move::Complete).then(|| words.say("moving-grave"))
}

fn reasons(visit: &Visit, moving: &Moving) -> Markup {
    let words = visit.words();
    let legend = words.say("moving-reason");
    let question = Question {
        name: "reason",
        legend: &legend,
        hint: "",
        many: false,
    };
    let choice = |reason: &Reason| Choice {
        value: reason.as_str().to_owned(),
        text: words.word("reason", reason.as_str()),
        hint: String::new(),
        is_chosen: moving.reason == Some(*reason),
    };
    let all: Vec<Choice> = moving.mv.reasons().iter().map(choice).collect();
    choices(words, &question, &all, &moving.faults)
}

/// Whether a move is nothing without words.
const fn needs_words(mv: Move) -> bool {
    matches!(mv, Move::RequestInfo | Move::AnswerInfo)
}

fn saying(visit: &Visit, moving: &Moving) -> Markup {
    let words = visit.words();
    let key = match moving.mv {
        Move::RequestInfo => "moving-words-question",
        Move::AnswerInfo => "moving-words-answer",
        _ => "moving-words",
    };
    let label = words.say_with(key, &[("organisation", &visit.called(&moving.line.organisation))]);
    let hint = words.say("moving-words-hint");
    let field = Field {
        name: "words",
        label: &label,
        hint: &hint,
        value: &moving.words,
        length_max: WORDS_BYTES_MAX,
        is_optional: !needs_words(moving.mv),
    };
    area(words, &field, &moving.faults)
}

/// Makes the move.
pub(super) async fn make(
    visit: Visit,
    Path((code, word)): Path<(String, String)>,
    answers: Answers,
) -> Answer {
    let mut moving = begin(&visit, &code, &word).await?;
    moving.reason = answers.line("reason").parse().ok();
    moving.reason = moving
        .reason
        .filter(|reason| moving.mv.reasons().contains(reason));
    answers.line("words").clone_into(&mut moving.words);
    moving.request_id = Some(answers.line("request_id").to_owned());
    let words = visit.words();
    if moving.mv.needs_reason() && moving.reason.is_none() {
        moving.faults.add("reason", words.say("moving-reason-missing"));
    }
    if needs_words(moving.mv) && moving.words.is_empty() {
        moving.faults.add("words", words.say("moving-words-missing"));
    }
    if !moving.faults.is_empty() {
        return page(&visit, &moving);
    }
    let caller = visit.caller()?;
    let (Some(request_id), Some(thread_id)) = (answers.request_id(), thread_id(&moving.line)) else {
        return Err(visit.trouble(Problem::Invalid));
    };
    let request = v1::MoveReferralRequest {
        request_id: Vec::new(),
        thread_id: moving.line.thread_id.clone(),
        r#move: moving.mv.number(),
        reason: moving.reason.map_or(0, Reason::number),
        words: moving.words.clone(),
    };
    let new = NewMove {
        asked: Asked::new("move_referral", request_id, &request),
        caller,
        thread_id,
        mv: moving.mv,
        reason: moving.reason,
        words: moving.words.clone(),
    };
    match moves::move_referral(visit.node(), &new).await {
        Ok(moved) => {
            let just = if moved.proposed {
                Just::Proposed
            } else {
                Just::Moved
            };
            Ok(Redirect::to(&just.at(&moving.line.code)).into_response())
        }
        Err(error) => again(&visit, moving, &error),
    }
}

/// The page again where a field would mend it; what stands in the way otherwise.
fn again(visit: &Visit, mut moving: Moving, error: &MoveError) -> Answer {
    let words = visit.words();
    match error {
        MoveError::Refused(Refused::ReasonMissing) => {
            moving.faults.add("reason", words.say("moving-reason-missing"));
        }
        MoveError::Words => moving.faults.add("words", words.say("moving-words-long")),
        MoveError::Number(_) => moving
            .faults
            .add("words", words.word("problem", "number_refused")),
        error => return Err(visit.refused(error.problem(), error)),
    }
    page(visit, &moving)
}
