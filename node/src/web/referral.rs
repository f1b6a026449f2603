//! One referral: how to reach the person safely and what is asked first, then the rest, what happened, and what can be done now. Opening it is
//! in the trail before it is shown. Called by the routes under `/referrals/{code}`.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::human_code::HumanCode;
use kith_proto::id::ThreadId;
use kith_proto::lifecycle::{Delivery, Move, Owner, Reason, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::web::form::{Faults, Field, area};
use maud::{Markup, html};

use super::answers::Answers;
use super::visit::{Answer, Away, Visit, opens};
use super::work::{due, state};
use crate::messages::{self, Asking};
use crate::moves::{MoveError, WORDS_BYTES_MAX};
use crate::requests::Asked;
use crate::threads_view::{self, Opening, Which};

/// Opens a referral by the code in its address, as the person at the screen.
pub(super) async fn open(visit: &Visit, code: &str) -> Result<v1::Thread, Away> {
    let Ok(code) = HumanCode::parse(code) else {
        return Err(visit.trouble(Problem::NotFound));
    };
    let caller = visit.caller()?;
    let opening = Opening {
        caller,
        visible: opens(&caller),
        which: Which::Code(code),
    };
    let opened = threads_view::open(visit.node(), &opening).await;
    opened.map_err(|error| visit.refused(error.problem(), &error))
}

/// The thread of an opened referral.
pub(super) fn thread_id(line: &v1::ReferralLine) -> Option<ThreadId> {
    let bytes: [u8; 16] = line.thread_id.as_slice().try_into().ok()?;
    Some(ThreadId::from_bytes(bytes))
}

/// What was just done, which the page says first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Just {
    /// Nothing.
    #[default]
    Nothing,
    /// A move was made.
    Moved,
    /// A move was proposed to the other side.
    Proposed,
    /// A message was sent.
    Sent,
}

impl Just {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Moved => "moved",
            Self::Proposed => "proposed",
            Self::Sent => "sent",
        }
    }

    /// The referral's address that says so.
    pub(super) fn at(self, code: &str) -> String {
        format!("/referrals/{code}?just={}", self.as_str())
    }
}

/// What the address says beside the code.
#[derive(serde::Deserialize)]
pub(super) struct Beside {
    #[serde(default)]
    just: String,
}

/// The page.
pub(super) async fn show(visit: Visit, Path(code): Path<String>, Query(beside): Query<Beside>) -> Answer {
    let all = [Just::Moved, Just::Proposed, Just::Sent];
    let just = all.into_iter().find(|just| just.as_str() == beside.just);
    let just = just.unwrap_or_default();
    let thread = open(&visit, &code).await?;
    let writing = Writing {
        just,
        ..Writing::default()
    };
    page(&visit, &thread, &writing)
}

/// A message as it comes back with what is to be put right, or what was just done.
#[derive(Default)]
struct Writing {
    just: Just,
    words: String,
    request_id: Option<String>,
    faults: Faults,
}

fn page(visit: &Visit, thread: &v1::Thread, writing: &Writing) -> Answer {
    let words = visit.words();
    let line = thread.line.clone().unwrap_or_default();
    let title = words.say_with("referral-title", &[("code", &line.code)]);
    let carried = match &writing.request_id {
        Some(id) => visit.carried_again(id),
        None => visit.carried()?,
    };
    let content = html! {
        (writing.faults.summary(words))
        @if let Some(just) = just(visit, &line, writing.just) { p.told role="status" { (just) } }
        (visit.heading(&title, &line.code))
        p { strong { (turn(visit, &line)) } " · " (state(words, line.state)) (due(words, &line, visit.node().now_ms())) }
        @if let Some(referral) = &thread.referral {
            (shared(visit, &line, referral))
        } @else {
            p.aside { (closed(visit, &line)) }
        }
        (facts(visit, &line))
        (deeds(visit, thread, &line))
        (messages(visit, thread))
        @if !thread.moves.is_empty() {
            (write(visit, &line, (writing, carried)))
        }
        (history(visit, thread))
    };
    if writing.faults.is_empty() {
        visit.page(&title, content)
    } else {
        visit.page_again(&title, &writing.faults, content)
    }
}

fn just(visit: &Visit, line: &v1::ReferralLine, just: Just) -> Option<String> {
    let words = visit.words();
    match just {
        Just::Nothing => None,
        Just::Moved => Some(words.say_with("referral-done", &[("state", &state(words, line.state))])),
        Just::Proposed => Some(words.say_with(
            "referral-proposed",
            &[("organisation", &visit.called(&line.organisation))],
        )),
        Just::Sent => Some(words.say("referral-sent-message")),
    }
}

fn closed(visit: &Visit, line: &v1::ReferralLine) -> String {
    if line.awaits_word {
        visit.words().say_with(
            "referral-awaits",
            &[("organisation", &visit.called(&line.organisation))],
        )
    } else {
        visit.words().say("referral-closed")
    }
}

/// What was shared: for whoever received it first how to reach the person safely, then what is asked; then the rest.
fn shared(visit: &Visit, line: &v1::ReferralLine, referral: &v1::Referral) -> Markup {
    let words = visit.words();
    let called = visit.called(&line.organisation);
    let organisation = [("organisation", called.as_str())];
    let is_inbox = line.side == v1::Side::Inbox as i32;
    if !is_inbox && referral.parts.is_empty() && referral.consent.is_none() {
        return html! { p.aside { (words.say_with("referral-given-back", &organisation)) } };
    }
    let of = |category: Category| {
        let of = referral
            .parts
            .iter()
            .find(|part| part.category == category.number());
        of.filter(|part| !part.fields.is_empty())
    };
    let first = [Category::Contact, Category::Need];
    let rest = referral.parts.iter().filter(|part| {
        let category = Category::try_from(part.category);
        !part.fields.is_empty() && !category.is_ok_and(|category| first.contains(&category))
    });
    let rest: Vec<&v1::Part> = rest.collect();
    html! {
        h2 { (words.say("referral-reach")) }
        @match of(Category::Contact) {
            Some(part) => (fields(visit, part)),
            None if is_inbox => p { (words.say_with("referral-reach-none", &organisation)) },
            None => p { (words.say("referral-not-provided")) },
        }
        h2 { (words.say("referral-asked")) }
        @match of(Category::Need) {
            Some(part) => (fields(visit, part)),
            None => p { (words.say("referral-not-provided")) },
        }
        @if !rest.is_empty() {
            h2 { (words.say("referral-more")) }
            @for part in rest {
                @if let Ok(category) = Category::try_from(part.category) {
                    h3 { (words.word("category", category.as_str())) }
                }
                (fields(visit, part))
            }
        }
    }
}

fn fields(visit: &Visit, part: &v1::Part) -> Markup {
    html! {
        dl.facts {
            @for field in &part.fields {
                dt { (visit.words().word("field", &field.name)) }
                dd dir="auto" { (field.value) }
            }
        }
    }
}

fn facts(visit: &Visit, line: &v1::ReferralLine) -> Markup {
    let words = visit.words();
    let is_inbox = line.side == v1::Side::Inbox as i32;
    let delivery = Delivery::try_from(line.delivery).ok().filter(|_| !is_inbox);
    html! {
        dl.facts {
            dt { (words.say(if is_inbox { "referral-from" } else { "referral-to" })) }
            dd { bdi { (visit.called(&line.organisation)) } }
            @if let Ok(purpose) = Purpose::try_from(line.purpose) {
                dt { (words.say("referral-purpose")) }
                dd { (words.word("purpose", purpose.as_str())) }
            }
            @if let Some(delivery) = delivery {
                dt { (words.say("referral-delivery")) }
                dd { (words.word("delivery", delivery.as_str())) }
            }
            @if let Ok(problem) = Problem::try_from(line.problem) {
                dt { (words.say("fault")) }
                dd { (words.word("problem", problem.as_str())) }
            }
        }
    }
}

fn turn(visit: &Visit, line: &v1::ReferralLine) -> String {
    let own = if line.side == v1::Side::Inbox as i32 {
        Owner::Recipient
    } else {
        Owner::Sender
    };
    let owner = State::try_from(line.state).ok().and_then(State::clock_owner);
    let key = match owner {
        None => "referral-turn-nobody",
        Some(Owner::Both) => "referral-turn-both",
        Some(owner) if owner == own => "referral-turn-yours",
        Some(_) => "referral-turn-theirs",
    };
    visit.words().say(key)
}

/// The moves that the lifecycle allows now, and no other.
fn deeds(visit: &Visit, thread: &v1::Thread, line: &v1::ReferralLine) -> Markup {
    let words = visit.words();
    let moves = thread
        .moves
        .iter()
        .filter_map(|number| Move::try_from(*number).ok());
    let moves: Vec<Move> = moves.collect();
    html! {
        h2 { (words.say("referral-next")) }
        @if moves.is_empty() {
            p { (words.say("referral-no-next")) }
        } @else {
            ul.deeds {
                @for (place, mv) in moves.iter().enumerate() {
                    li {
                        a.button.second[place > 0] href={ "/referrals/" (line.code) "/" (in_address(*mv)) } {
                            (words.word("move", mv.as_str()))
                        }
                    }
                }
            }
        }
    }
}

/// A move as addresses have it.
pub(super) fn in_address(mv: Move) -> String {
    mv.as_str().replace('_', "-")
}

fn messages(visit: &Visit, thread: &v1::Thread) -> Markup {
    let words = visit.words();
    html! {
        @if !thread.messages.is_empty() {
            h2 { (words.say("referral-messages")) }
            ol.list {
                @for message in &thread.messages {
                    li {
                        p dir="auto" { (message.words) }
                    }
                }
            }
        }
    }
}

fn write(visit: &Visit, line: &v1::ReferralLine, (writing, carried): (&Writing, Markup)) -> Markup {
    let words = visit.words();
    let (label, hint) = (words.say("referral-write"), words.say("referral-write-hint"));
    let field = Field {
        name: "words",
        label: &label,
        hint: &hint,
        value: &writing.words,
        length_max: WORDS_BYTES_MAX,
        is_optional: false,
    };
    html! {
        form method="post" action={ "/referrals/" (line.code) "/messages" } {
            (carried)
            (area(words, &field, &writing.faults))
            button.second type="submit" { (words.say("referral-write-send")) }
        }
    }
}

fn history(visit: &Visit, thread: &v1::Thread) -> Markup {
    let words = visit.words();
    html! {
        h2 { (words.say("referral-history")) }
        ol.list {
            @for event in &thread.events {
                li {
                    p { (happened(visit, event)) }
                    @if !event.words.is_empty() { p dir="auto" { (event.words) } }
                }
            }
        }
        @if thread.events.is_empty() { p { (words.say("referral-no-next")) } }
    }
}

fn happened(visit: &Visit, event: &v1::Event) -> String {
    let words = visit.words();
    let what = Move::try_from(event.r#move).map(|mv| words.word("moved", mv.as_str()));
    let (day, what) = (words.day(event.happened_at_ms), what.unwrap_or_default());
    match Reason::try_from(event.reason) {
        Ok(reason) => {
            let reason = words.word("reason", reason.as_str());
            let named = [("day", day.as_str()), ("what", &what), ("reason", &reason)];
            words.say_with("referral-history-why", &named)
        }
        Err(_) => words.say_with("referral-history-line", &[("day", &day), ("what", &what)]),
    }
}

/// Takes a message.
pub(super) async fn message(visit: Visit, Path(code): Path<String>, answers: Answers) -> Answer {
    let thread = open(&visit, &code).await?;
    let line = thread.line.clone().unwrap_or_default();
    let caller = visit.caller()?;
    let (Some(request_id), Some(thread_id)) = (answers.request_id(), thread_id(&line)) else {
        return Err(visit.trouble(Problem::Invalid));
    };
    let said = answers.line("words").to_owned();
    let request = v1::SendMessageRequest {
        request_id: Vec::new(),
        thread_id: line.thread_id.clone(),
        words: said.clone(),
    };
    let asking = Asking {
        asked: Asked::new("send_message", request_id, &request),
        caller,
        thread_id,
        words: said.clone(),
    };
    let error = match messages::send(visit.node(), &asking).await {
        Ok(_) => return Ok(Redirect::to(&Just::Sent.at(&line.code)).into_response()),
        Err(error) => error,
    };
    let words = visit.words();
    let mut writing = Writing {
        just: Just::Nothing,
        words: said,
        request_id: Some(answers.line("request_id").to_owned()),
        faults: Faults::new(),
    };
    match &error {
        MoveError::Words if writing.words.is_empty() => {
            writing.faults.add("words", words.say("referral-write-missing"));
        }
        MoveError::Words => writing.faults.add("words", words.say("referral-write-long")),
        MoveError::Number(_) => writing
            .faults
            .add("words", words.word("problem", "number_refused")),
        error => return Err(visit.refused(error.problem(), error)),
    }
    page(&visit, &thread, &writing)
}
