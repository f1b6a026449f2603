//! What a form brought: its answers by name. Called by every page that takes a form.
//! Never gives the answers of a form that does not carry the token of the session it came in.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{FromRequest, Request};
use kith_proto::id::RequestId;
use kith_proto::problem::Problem;

use super::visit::{Away, Visit};

/// The answers of a form.
pub(super) struct Answers(BTreeMap<String, Vec<String>>);

impl Answers {
    /// What stands in a field, without white space around it; empty where nothing does.
    pub(super) fn line(&self, name: &str) -> &str {
        let found = self.0.get(name).and_then(|values| values.first());
        found.map(|value| value.trim()).unwrap_or_default()
    }

    /// Every value of a field.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The id that the form had from the start, so that what is sent twice is done once.
    pub(super) fn request_id(&self) -> Option<RequestId> {
        let text = self.line("request_id").as_bytes();
        let bytes: [u8; 16] = data_encoding::HEXLOWER.decode(text).ok()?.try_into().ok()?;
        Some(RequestId::from_bytes(bytes))
    }
}

impl<S: Send + Sync> FromRequest<S> for Answers {
    type Rejection = Away;

    async fn from_request(request: Request, state: &S) -> Result<Self, Away> {
        let visit = Visit::of(request.extensions())?;
        let read = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Ok(Form(pairs)) = read else {
            return Err(visit.trouble(Problem::Invalid));
        };
        let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            // Browsers end lines with two characters; limits count one.
            answers.entry(name).or_default().push(value.replace("\r\n", "\n"));
        }
        let answers = Self(answers);
        match &visit.seat {
            Some(seat) if !seat.secret.is_of_form(answers.line("form_token")) => {
                Err(visit.trouble(Problem::Unauthenticated))
            }
            _ => Ok(answers),
        }
    }
}
