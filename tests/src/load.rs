//! Persons, grants and referrals in number, through the same gRPC calls that an organisation's system makes.
//! Used by the benchmark and by the `kill -9` story.

use anyhow::Context as _;
use kith_demo::client::Client;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use tokio::task::JoinSet;

/// Calls at once while persons and grants are made.
const PREPARING_AT_ONCE: usize = 32;
/// What each referral asks: the words are filled up to 4 KiB.
const NEED_BYTES: usize = 4096;

/// A person who agreed that one referral may go to one organisation.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The person.
    pub person_id: Vec<u8>,
    /// Their grant.
    pub grant_id: Vec<u8>,
}

/// Makes `count` persons and one grant each for `recipient`.
pub async fn prepare(client: &Client, recipient: &str, count: usize) -> anyhow::Result<Vec<Ready>> {
    let statement = v1::GetStatementRequest {
        statement_id: String::new(),
        language: "en".to_owned(),
    };
    let statement = client
        .clone()
        .consent
        .get_statement(statement)
        .await?
        .into_inner();
    let statement = statement.statement.context("no statement")?;
    let mut making = JoinSet::new();
    let mut ready = Vec::with_capacity(count);
    for number in 0..count {
        if making.len() == PREPARING_AT_ONCE {
            ready.push(making.join_next().await.context("nothing was begun")???);
        }
        making.spawn(one(
            client.clone(),
            recipient.to_owned(),
            statement.clone(),
            number,
        ));
    }
    while let Some(made) = making.join_next().await {
        ready.push(made??);
    }
    Ok(ready)
}

async fn one(
    mut client: Client,
    recipient: String,
    statement: v1::Statement,
    number: usize,
) -> anyhow::Result<Ready> {
    let person = v1::CreatePersonRequest {
        request_id: client.request_id()?,
        parts: vec![part(
            Category::Identity,
            "preferred_name",
            format!("Person {number}"),
        )],
    };
    let person_id = client.persons.create_person(person).await?.into_inner().person_id;
    let grant = v1::RecordGrantRequest {
        request_id: client.request_id()?,
        person_id: person_id.clone(),
        capture: Some(v1::Capture {
            given_by: v1::GivenBy::Person.into(),
            given_how: v1::GivenHow::InPerson.into(),
            language: "en".to_owned(),
            interpreter: v1::Interpreter::None.into(),
            read_aloud: true,
            understood: "They may read what I asked for.".to_owned(),
            statement_id: statement.statement_id,
            statement_language: statement.language,
            text_hash: statement.text_hash,
        }),
        allowed: vec![v1::Allowed {
            recipient,
            categories: vec![Category::Identity.number(), Category::Need.number()],
            purposes: vec![Purpose::PeerSupport.number()],
            progress: false,
        }],
        lawful_basis: v1::LawfulBasis::Consent.into(),
        expires_at_ms: 0,
    };
    let grant_id = client.consent.record_grant(grant).await?.into_inner().grant_id;
    Ok(Ready { person_id, grant_id })
}

/// The request of one 4 KiB referral.
pub fn referral(client: &Client, recipient: &str, ready: &Ready) -> anyhow::Result<v1::SendReferralRequest> {
    let mut words =
        "Company on Tuesdays, and somebody to go to the first class with. ".repeat(NEED_BYTES / 64);
    words.truncate(NEED_BYTES);
    Ok(v1::SendReferralRequest {
        request_id: client.request_id()?,
        person_id: ready.person_id.clone(),
        grant_id: ready.grant_id.clone(),
        recipient: recipient.to_owned(),
        purpose: Purpose::PeerSupport.number(),
        parts: vec![part(Category::Need, "in_their_words", words)],
        categories: vec![Category::Identity.number()],
        answer_by_ms: 0,
    })
}

fn part(category: Category, name: &str, value: String) -> v1::Part {
    v1::Part {
        category: category.number(),
        fields: vec![v1::Field {
            name: name.to_owned(),
            value,
        }],
    }
}
