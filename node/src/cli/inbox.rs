//! `kith-node inbox`, `sent` and `show`: what came, what went, and one thread opened.
//! Called by the command line's dispatch; talks to the node's `ReferralService`.
//! It must never open a thread to draw a list: a list shows codes, states and days alone.

use super::person::{parts_json, parts_lines};
use super::say::{day, delivery_words, hex, moved_words, state_words};
use super::talk::{Client, answer, ask};
use anyhow::Context as _;
use kith_proto::lifecycle::{Consent, Delivery, Move, Reason, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::Purpose;
use serde_json::{Value, json};

/// Which lines to list.
#[derive(clap::Args, Debug)]
pub(crate) struct Lines {
    /// Only these states, such as received or accepted.
    #[arg(long, value_delimiter = ',', value_name = "STATES")]
    state: Vec<String>,
    /// Only the newest so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    most: u32,
}

/// Lists one side.
pub(crate) async fn list(client: &Client, side: v1::Side, lines: Lines) -> anyhow::Result<()> {
    let states = lines
        .state
        .iter()
        .map(|text| super::state(text.trim()).map(State::number));
    let asked = v1::ListReferralsRequest {
        side: side.into(),
        states: states.collect::<anyhow::Result<_>>()?,
        page_size: lines.most,
        page_token: String::new(),
    };
    let page = answer(client.referrals().list_referrals(ask(asked)).await)?;
    for line in &page.referrals {
        client.out.say(&sentence(line), &line_json(line))?;
    }
    if page.referrals.is_empty() {
        client.out.remark("There is nothing here.")?;
    }
    if !page.next_page_token.is_empty() {
        client
            .out
            .remark("There are older ones; show more with --most 200.")?;
    }
    Ok(())
}

/// Opens a thread by its code, which the trail notes with the reason.
pub(crate) async fn open(client: &Client, code: &str, reason: &str) -> anyhow::Result<v1::Thread> {
    let asked = v1::GetReferralRequest {
        code: code.to_owned(),
        opening_reason: reason.to_owned(),
        ..Default::default()
    };
    let got = answer(client.referrals().get_referral(ask(asked)).await)?;
    got.thread.context("The node's answer is empty.")
}

/// Shows a thread.
pub(crate) async fn show(client: &Client, code: &str, reason: &str) -> anyhow::Result<()> {
    let thread = open(client, code, reason).await?;
    let out = client.out;
    let line = thread.line.clone().unwrap_or_default();
    out.say(&sentence(&line), &thread_json(&thread))?;
    match &thread.referral {
        Some(referral) if is_given_back(&line, referral) => out.remark(&format!(
            "What it said is held by {}: this node sent it after the backup that it came back from.",
            line.organisation
        ))?,
        Some(referral) => parts_lines(out, &referral.parts)?,
        None if line.awaits_word => out.remark(&format!(
            "This node came back from a backup. What was shared here opens once {} has said that it still stands; it was asked to. You can \
             answer all the same. If it takes long, ask them to start their node.",
            line.organisation
        ))?,
        None => out.remark("What was shared is no longer here: consent has ended.")?,
    }
    for event in &thread.events {
        let reason = Reason::try_from(event.reason).map(|r| format!(", because {}", spaced(r.as_str())));
        let words = if event.words.is_empty() {
            String::new()
        } else {
            format!(": {}", event.words)
        };
        let made = Move::try_from(event.r#move).map_or("moved", moved_words);
        out.remark(&format!(
            "{}  {made}{}{words}",
            day(event.happened_at_ms),
            reason.unwrap_or_default()
        ))?;
    }
    for message in &thread.messages {
        out.remark(&format!("message: {}", message.words))?;
    }
    let moves: Vec<String> = thread
        .moves
        .iter()
        .map(|m| super::word::<Move>(*m).replace('_', "-"))
        .collect();
    if moves.is_empty() {
        Ok(())
    } else {
        out.remark(&format!("You may now: {}.", moves.join(", ")))
    }
}

/// Whether a referral was sent from here and is listed again without what it said: every other has the record of its consent.
fn is_given_back(line: &v1::ReferralLine, referral: &v1::Referral) -> bool {
    line.side == v1::Side::Sent as i32 && referral.consent.is_none() && referral.parts.is_empty()
}

/// One line for people.
pub(crate) fn sentence(line: &v1::ReferralLine) -> String {
    let here = line.side == v1::Side::Inbox as i32;
    let stands = State::try_from(line.state).map_or("in a state that this program does not know", |s| {
        state_words(s, here)
    });
    let mut text = format!(
        "{}  {} {}: {stands}",
        line.code,
        if here { "from" } else { "to" },
        line.organisation
    );
    let delivery = Delivery::try_from(line.delivery)
        .ok()
        .filter(|_| !here)
        .and_then(delivery_words);
    if let Some(delivery) = delivery {
        text.push_str(&format!("; {delivery}"));
    }
    if let Ok(problem) = Problem::try_from(line.problem) {
        text.push_str(&format!(". {}", problem.sentence()));
    }
    if line.awaits_word {
        text.push_str("; closed until they have said that consent still stands");
    }
    if line.deadline_ms > 0 {
        text.push_str(&format!("; by {}", day(line.deadline_ms)));
    }
    text
}

/// One line for machines.
pub(crate) fn line_json(line: &v1::ReferralLine) -> Value {
    let side = if line.side == v1::Side::Inbox as i32 {
        "inbox"
    } else {
        "sent"
    };
    json!({
        "thread": hex(&line.thread_id),
        "code": line.code,
        "side": side,
        "organisation": line.organisation,
        "purpose": super::word::<Purpose>(line.purpose),
        "state": super::word::<State>(line.state),
        "delivery": super::word::<Delivery>(line.delivery),
        "consent": super::word::<Consent>(line.consent),
        "created_at_ms": line.created_at_ms,
        "updated_at_ms": line.updated_at_ms,
        "deadline_ms": line.deadline_ms,
        "number": line.number,
        "problem": Problem::try_from(line.problem).ok().map(Problem::as_str),
        "awaits_word": line.awaits_word,
    })
}

fn thread_json(thread: &v1::Thread) -> Value {
    let events = thread.events.iter().map(|e| {
        json!({
            "number": e.number,
            "move": super::word::<Move>(e.r#move),
            "state": super::word::<State>(e.state),
            "reason": Reason::try_from(e.reason).ok().map(Reason::as_str),
            "happened_at_ms": e.happened_at_ms,
            "deadline_ms": e.deadline_ms,
            "words": e.words,
        })
    });
    let messages = thread
        .messages
        .iter()
        .map(|m| json!({ "message": hex(&m.message_id), "words": m.words }));
    let referral = thread.referral.as_ref();
    json!({
        "line": line_json(&thread.line.clone().unwrap_or_default()),
        "parts": referral.map(|r| parts_json(&r.parts)),
        "consent_statement": referral.and_then(|r| r.consent.as_ref()).map(|c| c.statement_id.as_str()),
        "events": events.collect::<Vec<_>>(),
        "messages": messages.collect::<Vec<_>>(),
        "moves": thread.moves.iter().map(|m| super::word::<Move>(*m)).collect::<Vec<_>>(),
    })
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}
