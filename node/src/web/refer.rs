//! Making a referral, a page a question, with the person in the room: who, what would help, which service, the text to read aloud, the questions
//! about consent, and all of it once more before it is sent. Six pages; what was answered is kept after each.
//! Called by the routes under `/refer`. Never sends anything before the person has agreed; never puts a name into an address.

mod agree;
mod ask;
mod check;
mod who;

pub(super) use agree::{aloud, consent, consented, refused};
pub(super) use ask::{need, needed, served, service};
pub(super) use check::{check, send, sent};
pub(super) use who::{find, take, who};

use axum::response::{IntoResponse as _, Redirect, Response};
use kith_proto::id::RequestId;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Category;
use maud::{Markup, html};

use super::visit::{Answer, Away, Visit};
use crate::drafts::{self, Answers, Draft};
use crate::persons;

/// The pages of a draft, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Need,
    Service,
    Aloud,
    Consent,
    Check,
}

impl Step {
    /// Those after the first page, which has no draft yet.
    const ALL: [Self; 5] = [Self::Need, Self::Service, Self::Aloud, Self::Consent, Self::Check];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Need => "need",
            Self::Service => "service",
            Self::Aloud => "aloud",
            Self::Consent => "consent",
            Self::Check => "check",
        }
    }

    /// Which page of the six it is.
    const fn number(self) -> u64 {
        self as u64 + 2
    }
}

/// A draft as a page has it: with whom it is about, as they are recorded.
struct Making {
    draft: Draft,
    person: v1::Person,
}

impl Making {
    /// As [`Making::look`]; one that was sent leads to what was said of it, as nothing of it can be changed any more.
    async fn open(visit: &Visit, draft_id: &str) -> Result<Self, Away> {
        let making = Self::look(visit, draft_id).await?;
        if making.answers().code.is_empty() {
            return Ok(making);
        }
        Err(Redirect::to(&making.sent()).into_response().into())
    }

    /// Opens a draft of whoever is signed in, and the person's record: opening it is in the trail.
    async fn look(visit: &Visit, draft_id: &str) -> Result<Self, Away> {
        let caller = visit.caller()?;
        let id: RequestId = draft_id.parse().map_err(|_| visit.trouble(Problem::NotFound))?;
        let draft = drafts::open(visit.node(), &caller, &id).await;
        let draft = draft.map_err(|error| visit.refused(error.problem(), &error))?;
        let person = persons::get(visit.node(), &caller, &draft.person_id).await;
        let person = person.map_err(|error| visit.refused(error.problem(), &error))?;
        Ok(Self { draft, person })
    }

    fn answers(&self) -> &Answers {
        &self.draft.answers
    }

    /// A field of the person's record.
    fn field(&self, category: Category, name: &str) -> &str {
        let mut parts = self
            .person
            .parts
            .iter()
            .filter(|part| part.category == category.number());
        let field = parts.find_map(|part| part.fields.iter().find(|field| field.name == name));
        field.map(|field| field.value.as_str()).unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.field(Category::Identity, "preferred_name")
    }

    /// The address of one of its pages.
    fn at(&self, step: Step) -> String {
        format!("/refer/{}/{}", self.draft.draft_id, step.as_str())
    }

    /// The address of what was said when it was sent.
    fn sent(&self) -> String {
        format!("/refer/{}/sent", self.draft.draft_id)
    }

    /// Keeps what was answered, and leads on.
    async fn save(&self, visit: &Visit, answers: Answers, next: Step) -> Answer {
        let caller = visit.caller()?;
        let saved = drafts::save(visit.node(), &caller, &self.draft, answers).await;
        saved.map_err(|error| visit.refused(error.problem(), &error))?;
        Ok(Redirect::to(&self.at(next)).into_response())
    }

    /// The first page that lacks an answer which this one builds on; none where all of them are there.
    fn lacks(&self, step: Step) -> Option<Response> {
        let answers = self.answers();
        let is_there = |step: &Step| match step {
            Step::Need => !answers.need.is_empty() && !answers.purpose.is_empty(),
            Step::Service => !answers.recipient.is_empty(),
            Step::Aloud | Step::Check => true,
            Step::Consent => answers.is_agreed,
        };
        let mut before = Step::ALL.iter().take_while(|other| **other != step);
        let missing = before.find(|step| !is_there(step));
        missing.map(|step| Redirect::to(&self.at(*step)).into_response())
    }

    /// What stands above the heading: which page of how many, and the way back.
    fn above(&self, visit: &Visit, step: Step) -> Markup {
        let before = Step::ALL.iter().rev().skip_while(|other| **other != step).nth(1);
        let words = visit.words();
        let (at, of) = (words.number(step.number()), words.number(6));
        html! {
            @if let Some(before) = before {
                p { a href=(self.at(*before)) { (words.say("back")) } }
            }
            p.quiet { (words.say_with("refer-step", &[("at", &at), ("of", &of), ("name", self.name())])) }
        }
    }
}
