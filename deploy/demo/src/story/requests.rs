//! The requests behind the steps of the story: recording a person with their consent, and sending.
//! Used by `steps` alone. Never decides whether an answer is the one the story tells.

use super::steps::{Agreed, Ask};
use crate::cast::{Person, said};
use crate::client::{Client, Refused};
use anyhow::Context as _;
use kith_proto::v1::{self, send_referrals_response::Outcome};
use kith_proto::words::Category;

/// Records person and consent.
pub(super) async fn record(client: &mut Client, ask: Ask) -> anyhow::Result<Agreed> {
    let person = ask.person;
    let request = v1::CreatePersonRequest {
        request_id: client.request_id()?,
        parts: known_of(person),
    };
    let created = client.persons.create_person(request).await;
    let person_id = created.map_err(Refused::from)?.into_inner().person_id;
    let statement = v1::GetStatementRequest {
        statement_id: String::new(),
        language: "en".to_owned(),
    };
    let statement = client
        .consent
        .get_statement(statement)
        .await
        .map_err(Refused::from)?
        .into_inner();
    let statement = statement.statement.context("no statement")?;
    let request = v1::RecordGrantRequest {
        request_id: client.request_id()?,
        person_id: person_id.clone(),
        capture: Some(v1::Capture {
            given_by: v1::GivenBy::Person.into(),
            given_how: v1::GivenHow::InPerson.into(),
            language: person.language.to_owned(),
            interpreter: v1::Interpreter::Professional.into(),
            read_aloud: true,
            understood: said::UNDERSTOOD.to_owned(),
            statement_id: statement.statement_id,
            statement_language: statement.language,
            text_hash: statement.text_hash,
        }),
        allowed: vec![v1::Allowed {
            recipient: ask.to.id.to_owned(),
            categories: ask.categories.iter().map(|category| category.number()).collect(),
            purposes: vec![ask.purpose.number()],
            progress: true,
        }],
        lawful_basis: v1::LawfulBasis::Consent.into(),
        expires_at_ms: 0,
    };
    let granted = client
        .consent
        .record_grant(request)
        .await
        .map_err(Refused::from)?
        .into_inner();
    Ok(Agreed {
        person_id,
        grant_id: granted.grant_id,
    })
}

/// What is asked for, and health beside it.
pub(super) fn with_health(ask: Ask, health: &str) -> Vec<v1::Part> {
    vec![
        part(Category::Need, &[("in_their_words", ask.need)]),
        part(Category::Health, &[("summary", health)]),
    ]
}

/// Sends one referral over the bulk stream and returns its answer.
pub(super) async fn send(
    client: &mut Client,
    ask: Ask,
    agreed: &Agreed,
    parts: Vec<v1::Part>,
) -> anyhow::Result<Result<v1::SendReferralResponse, Refused>> {
    let own = [Category::Identity, Category::Contact, Category::Communication];
    let along = own.iter().filter(|category| ask.categories.contains(category));
    let referral = v1::SendReferralRequest {
        request_id: client.request_id()?,
        person_id: agreed.person_id.clone(),
        grant_id: agreed.grant_id.clone(),
        recipient: ask.to.id.to_owned(),
        purpose: ask.purpose.number(),
        parts,
        categories: along.map(|category| category.number()).collect(),
        answer_by_ms: 0,
    };
    let requests = tokio_stream::iter([v1::SendReferralsRequest {
        referral: Some(referral),
    }]);
    let mut answers = client
        .referrals
        .send_referrals(requests)
        .await
        .map_err(Refused::from)?
        .into_inner();
    let answer = answers
        .message()
        .await
        .map_err(Refused::from)?
        .context("no answer")?;
    match answer.outcome.context("an empty answer")? {
        Outcome::Sent(sent) => Ok(Ok(sent)),
        Outcome::Refused(refused) => Ok(Err(Refused {
            problem: refused.problem.try_into()?,
            sentence: refused.sentence,
            fields: refused
                .fields
                .into_iter()
                .map(|f| (f.field, f.sentence))
                .collect(),
        })),
    }
}

pub(super) fn part(category: Category, fields: &[(&str, &str)]) -> v1::Part {
    let fields = fields.iter().map(|(name, value)| v1::Field {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    v1::Part {
        category: category.number(),
        fields: fields.collect(),
    }
}

pub(super) fn listed(categories: &[Category]) -> String {
    let words: Vec<&str> = categories.iter().map(|category| category.as_str()).collect();
    words.join(", ")
}

pub(super) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// What an organisation knows of a person, without what is empty.
fn known_of(person: Person) -> Vec<v1::Part> {
    let parts = [
        (Category::Identity, "preferred_name", person.name),
        (Category::Identity, "birth_date", person.born),
        (Category::Communication, "languages", person.language),
        (Category::Contact, "safe_phone", person.phone),
    ];
    let mut known: Vec<v1::Part> = Vec::new();
    for (category, name, value) in parts.into_iter().filter(|(_, _, value)| !value.is_empty()) {
        let mut new = part(category, &[(name, value)]);
        match known.iter_mut().find(|part| part.category == new.category) {
            Some(part) => part.fields.append(&mut new.fields),
            None => known.push(new),
        }
    }
    known
}
