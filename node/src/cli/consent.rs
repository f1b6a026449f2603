//! `kith-node consent`: shows the statement, records what a person agreed to, narrows and withdraws it.
//! Called by the command line's dispatch; talks to the node's `ConsentService`.
//! It must never fill in an answer that only the person can give: what was understood is always asked for.

use super::options::Own;
use super::say::{day, end_of_day_ms, hex, id, opened_words, stop_seed};
use super::statement::of_another_language;
use super::talk::{Client, answer, answer_to, ask, long_text};
use crate::grants::{is_in_language, stop_code};
use anyhow::{Context as _, bail};
use clap::ValueEnum;
use kith_proto::lifecycle::Consent;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use serde_json::{Value, json};

/// What to do about consent.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ConsentCommand {
    /// Show the text to read out or show before asking.
    Statement {
        /// Its language.
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// Record what a person agreed to.
    Record(Box<Record>),
    /// List the grants of a person.
    List {
        /// The person: id or name.
        #[arg(long)]
        person: String,
    },
    /// Show one grant: how far a withdrawal got, and who opened what was shared.
    Show {
        /// The grant's id.
        grant: String,
    },
    /// Allow an organisation less: only these parts from now on.
    Narrow {
        /// The grant's id.
        grant: String,
        /// What stays allowed.
        #[command(flatten)]
        allow: Allow,
    },
    /// The person takes consent back.
    Withdraw {
        /// The grant's id.
        grant: String,
        /// Only for this organisation.
        #[arg(long, value_name = "ORGANISATION", conflicts_with = "everything")]
        from: Option<String>,
        /// This consent and everything that followed from it.
        #[arg(long)]
        everything: bool,
        /// It was recorded wrongly; nobody changed their mind.
        #[arg(long)]
        recorded_wrongly: bool,
    },
    /// Stop a consent with the stop code on the person's sheet. Nothing about the person is asked or shown.
    Stop {
        /// The code, as it is written there.
        code: String,
    },
}

/// Who, what, why.
#[derive(clap::Args, Debug)]
pub(crate) struct Allow {
    /// The organisations that may have it, such as `tigrinya-circle`.
    #[arg(long = "to", required = true, value_name = "ORGANISATION")]
    to: Vec<String>,
    /// The parts they may have: identity, contact, communication, need, health, family, education, practical.
    #[arg(long, required = true, value_delimiter = ',', value_name = "PARTS")]
    share: Vec<String>,
    /// What for: care, peer_support, settlement, education, practical_help.
    #[arg(long = "for", required = true, value_delimiter = ',', value_name = "PURPOSES")]
    purposes: Vec<String>,
    /// Words about how it goes may flow back.
    #[arg(long)]
    progress: bool,
}

/// The conversation in which a person agreed.
#[derive(clap::Args, Debug)]
pub(crate) struct Record {
    /// The person: id or name.
    #[arg(long)]
    person: String,
    #[command(flatten)]
    allow: Allow,
    /// What they said they understood, in their own words; `-` reads it from standard input.
    #[arg(long)]
    understood: String,
    /// Who agreed.
    #[arg(long, value_enum, default_value = "person")]
    given_by: GivenBy,
    /// How you talked.
    #[arg(long, value_enum, default_value = "in-person")]
    how: How,
    /// The language they heard it in.
    #[arg(long, default_value = "en")]
    language: String,
    /// Who interpreted.
    #[arg(long, value_enum, default_value = "none")]
    interpreter: Interpreter,
    /// The statement was read aloud.
    #[arg(long)]
    read_aloud: bool,
    /// The basis on which your organisation processes it.
    #[arg(long, value_enum, default_value = "consent")]
    basis: Basis,
    /// The last day it holds, as 2026-11-23; 90 days when left out.
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GivenBy {
    Person = 1,
    ParentOrGuardian = 2,
    OtherAuthority = 3,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    InPerson = 1,
    Phone = 2,
    Video = 3,
    Paper = 4,
    Self_ = 5,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Interpreter {
    None = 1,
    Professional = 2,
    Peer = 3,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Basis {
    Consent = 1,
    PublicTask = 2,
    LegitimateInterests = 3,
    VitalInterests = 4,
    LegalObligation = 5,
}

impl Allow {
    fn into_wire(self) -> anyhow::Result<Vec<v1::Allowed>> {
        let categories: Vec<i32> = numbers(&self.share, super::category, Category::number)?;
        let purposes: Vec<i32> = numbers(&self.purposes, super::purpose, Purpose::number)?;
        let one = |recipient| v1::Allowed {
            recipient,
            categories: categories.clone(),
            purposes: purposes.clone(),
            progress: self.progress,
        };
        Ok(self.to.into_iter().map(one).collect())
    }
}

fn numbers<T>(
    texts: &[String],
    read: impl Fn(&str) -> anyhow::Result<T>,
    number: impl Fn(T) -> i32,
) -> anyhow::Result<Vec<i32>> {
    texts.iter().map(|text| Ok(number(read(text.trim())?))).collect()
}

/// Runs one command.
pub(crate) async fn run(client: &Client, command: ConsentCommand) -> anyhow::Result<()> {
    match command {
        ConsentCommand::Statement { language } => show_statement(client, language).await,
        ConsentCommand::Record(record) => self::record(client, *record).await,
        ConsentCommand::List { person } => list(client, &person).await,
        ConsentCommand::Show { grant } => show(client, &grant).await,
        ConsentCommand::Stop { code } => stop(client, &code).await,
        ConsentCommand::Narrow { grant, allow } => narrow(client, &grant, allow).await,
        ConsentCommand::Withdraw {
            grant,
            from,
            everything,
            recorded_wrongly,
        } => {
            let scope = match (&from, everything) {
                (Some(_), _) => v1::WithdrawalScope::Organisation,
                (None, true) => v1::WithdrawalScope::AllThatFollowed,
                (None, false) => v1::WithdrawalScope::Consent,
            };
            withdraw(
                client,
                &grant,
                (scope, from.unwrap_or_default()),
                recorded_wrongly,
            )
            .await
        }
    }
}

async fn statement(client: &Client, language: String) -> anyhow::Result<v1::Statement> {
    let asked = v1::GetStatementRequest {
        statement_id: String::new(),
        language,
    };
    let got = answer(client.consent().get_statement(ask(asked)).await)?;
    got.statement.context("The node's answer is empty.")
}

async fn show_statement(client: &Client, language: String) -> anyhow::Result<()> {
    let statement = statement(client, language.clone()).await?;
    let value = json!({
        "statement_id": statement.statement_id,
        "language": statement.language,
        "asked_language": language,
        "text": statement.text,
        "text_hash": hex(&statement.text_hash),
        "reviewed_by": statement.reviewed_by,
    });
    if let Some(notice) = of_another_language(&statement.language, &language) {
        client.out.remark(&format!("{notice}\n"))?;
    }
    client.out.say(&statement.text, &value)
}

/// In which language the text was, and how they heard it where that is another: the record says so too.
fn heard(record: &Record, text_language: &str) -> anyhow::Result<Option<String>> {
    let asked = record.language.as_str();
    if is_in_language(text_language, asked) {
        return Ok(None);
    }
    let by = match record.interpreter {
        Interpreter::Professional => "a professional interpreter",
        Interpreter::Peer => "a peer",
        Interpreter::None => bail!(
            "There is no reviewed text in `{asked}`, only the one in `{text_language}`. Say who interpreted it, with --interpreter \
             professional or peer; if they heard it in `{text_language}`, leave --language out."
        ),
    };
    Ok(Some(format!(
        "Recorded as read in `{text_language}` and interpreted into `{asked}` by {by}: there is no reviewed text in `{asked}`."
    )))
}

async fn record(client: &Client, record: Record) -> anyhow::Result<()> {
    let statement = statement(client, record.language.clone()).await?;
    let heard = heard(&record, &statement.language)?;
    let asked = v1::RecordGrantRequest {
        request_id: client.request_id()?,
        person_id: client.person(&record.person).await?,
        capture: Some(v1::Capture {
            given_by: record.given_by as i32,
            given_how: record.how as i32,
            language: record.language,
            interpreter: record.interpreter as i32,
            read_aloud: record.read_aloud,
            understood: long_text(record.understood)?,
            statement_id: statement.statement_id,
            statement_language: statement.language.clone(),
            text_hash: statement.text_hash,
        }),
        allowed: record.allow.into_wire()?,
        lawful_basis: record.basis as i32,
        expires_at_ms: record
            .until
            .as_deref()
            .map(end_of_day_ms)
            .transpose()?
            .unwrap_or(0),
    };
    let given = answer(client.consent().record_grant(ask(asked)).await)?;
    let (grant, code) = (hex(&given.grant_id), stop_code(&given.stop_seed));
    let value = json!({
        "grant": grant,
        "expires_at_ms": given.expires_at_ms,
        "stop_code": code,
        "statement_language": statement.language,
    });
    let until = day(given.expires_at_ms);
    client.out.say(
        &format!("Recorded. It holds until {until}. Grant: {grant}"),
        &value,
    )?;
    if let Some(heard) = heard {
        client.out.remark(&heard)?;
    }
    client.out.remark(&format!(
        "Stop code: {code}\nWrite it on a sheet for the person now, with to whom, what and until when: it is shown only once. Whoever \
         brings it to this organisation stops all of this, and need not say who they are: `kith-node consent stop CODE`. An organisation that \
         it was shared with ends its own part with `kith-node withdraw` and the referral's code."
    ))
}

async fn list(client: &Client, person: &str) -> anyhow::Result<()> {
    let person_id = client.person(person).await?;
    let grants = grants_of(client, person_id).await?;
    if grants.is_empty() {
        return client.out.remark("No consent of this person is recorded here.");
    }
    for grant in &grants {
        client.out.say(&sentence(grant), &grant_json(grant))?;
    }
    Ok(())
}

/// Every grant of a person.
pub(crate) async fn grants_of(client: &Client, person_id: Vec<u8>) -> anyhow::Result<Vec<v1::Grant>> {
    let (mut grants, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = v1::ListGrantsRequest {
            person_id: person_id.clone(),
            page_size: 0,
            page_token,
        };
        let page = answer(client.consent().list_grants(ask(asked)).await)?;
        grants.extend(page.grants);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(grants);
        }
    }
}

async fn show(client: &Client, grant: &str) -> anyhow::Result<()> {
    let asked = v1::GetGrantRequest { grant_id: id(grant)? };
    let grant = answer(client.consent().get_grant(ask(asked)).await)?
        .grant
        .context("The node's answer is empty.")?;
    client.out.say(&sentence(&grant), &grant_json(&grant))?;
    for recipient in &grant.recipients {
        let how = match (
            recipient.proof.is_some(),
            recipient.withdrawal_reached_at_ms,
            recipient.withdrawal_sent_at_ms,
        ) {
            (true, _, _) => "withdrawn, and they proved it",
            (false, reached, _) if reached > 0 => "withdrawn; it reached them, their proof is due",
            (false, _, sent) if sent > 0 => "withdrawn; it has not reached them yet",
            _ => "as agreed",
        };
        client.out.remark(&format!("  {}: {how}", recipient.recipient))?;
        for opening in &recipient.openings {
            let opened = opened_words(opening, &recipient.recipient);
            client.out.remark(&format!("    {opened}"))?;
        }
    }
    Ok(())
}

async fn narrow(client: &Client, grant: &str, allow: Allow) -> anyhow::Result<()> {
    let asked = v1::NarrowGrantRequest {
        request_id: client.request_id()?,
        grant_id: id(grant)?,
        allowed: allow.into_wire()?,
    };
    let narrowed = answer(client.consent().narrow_grant(ask(asked)).await)?;
    client.out.say(
        "Narrowed. From now on only this much may be shared.",
        &json!({ "narrowed_at_ms": narrowed.narrowed_at_ms }),
    )
}

async fn withdraw(
    client: &Client,
    grant: &str,
    (scope, recipient): (v1::WithdrawalScope, String),
    invalidated: bool,
) -> anyhow::Result<()> {
    let asked = v1::WithdrawGrantRequest {
        request_id: client.request_id()?,
        grant_id: id(grant)?,
        scope: scope.into(),
        recipient,
        invalidated,
        stop_seed: Vec::new(),
    };
    take_back(client, asked).await
}

async fn stop(client: &Client, code: &str) -> anyhow::Result<()> {
    let asked = v1::WithdrawGrantRequest {
        request_id: client.request_id()?,
        scope: v1::WithdrawalScope::Consent.into(),
        stop_seed: stop_seed(code)?,
        ..v1::WithdrawGrantRequest::default()
    };
    take_back(client, asked).await
}

async fn take_back(client: &Client, asked: v1::WithdrawGrantRequest) -> anyhow::Result<()> {
    let own: Own = &[("recipient", "--from"), ("grant_id", "grant")];
    let done = answer_to(client.consent().withdraw_grant(ask(asked)).await, own, &[])?;
    let sentence =
        "Withdrawn. Nothing more is sent under it, and everyone who has something is told to erase it.";
    client
        .out
        .say(sentence, &json!({ "withdrawn_at_ms": done.withdrawn_at_ms }))
}

fn sentence(grant: &v1::Grant) -> String {
    let allowed = grant
        .allowed
        .iter()
        .map(|a| format!("{} may have {}", a.recipient, words::<Category>(&a.categories)));
    let stands = match Consent::try_from(grant.state) {
        Ok(Consent::Live) => format!("until {}", day(grant.expires_at_ms)),
        _ => String::from("no longer: it was taken back or has run out"),
    };
    format!(
        "{}  {}; {stands}",
        hex(&grant.grant_id),
        allowed.collect::<Vec<_>>().join("; ")
    )
}

fn words<T: TryFrom<i32> + std::fmt::Display>(numbers: &[i32]) -> String {
    numbers
        .iter()
        .map(|n| super::word::<T>(*n))
        .collect::<Vec<_>>()
        .join(", ")
}

fn opening_json(opening: &v1::ReportedOpening) -> Value {
    json!({
        "day": opening.day,
        "hour": opening.hour,
        "role": opening.role,
        "reason": opening.reason,
    })
}

fn grant_json(grant: &v1::Grant) -> Value {
    let list = |numbers: &[i32]| {
        numbers
            .iter()
            .map(|n| super::word::<Category>(*n))
            .collect::<Vec<_>>()
    };
    let purposes = |numbers: &[i32]| {
        numbers
            .iter()
            .map(|n| super::word::<Purpose>(*n))
            .collect::<Vec<_>>()
    };
    let allowed = grant.allowed.iter().map(|a| {
        json!({
            "recipient": a.recipient,
            "categories": list(&a.categories),
            "purposes": purposes(&a.purposes),
            "progress": a.progress,
        })
    });
    let recipients = grant.recipients.iter().map(|r| {
        json!({
            "recipient": r.recipient,
            "slip": hex(&r.slip_id),
            "withdrawal_sent_at_ms": r.withdrawal_sent_at_ms,
            "withdrawal_reached_at_ms": r.withdrawal_reached_at_ms,
            "proof": r.proof.as_ref().map(|p| p.outcome().as_str_name()),
            "openings": r.openings.iter().map(opening_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "grant": hex(&grant.grant_id),
        "person": hex(&grant.person_id),
        "state": super::word::<Consent>(grant.state),
        "given_at_ms": grant.given_at_ms,
        "expires_at_ms": grant.expires_at_ms,
        "allowed": allowed.collect::<Vec<_>>(),
        "recipients": recipients.collect::<Vec<_>>(),
    })
}
