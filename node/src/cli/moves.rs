//! `kith-node acknowledge|accept|decline|…`: one lifecycle move on a thread, and messages.
//! Called by the command line's dispatch; talks to the node's `ReferralService`.
//! It must never choose a reason for a person: where one is needed and none given, the node says so.

use super::inbox;
use super::options::Own;
use super::say::{day, hex, state_words};
use super::talk::{Client, answer, answer_to, ask, long_text};
use anyhow::{Context as _, bail};
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::v1;
use serde_json::json;

/// Which thread, why, and words.
#[derive(clap::Args, Debug)]
pub(crate) struct OnThread {
    /// The referral's code, such as K7M2-9QXD-44.
    pub(crate) code: String,
    /// Why; needed to decline, complete, cancel and whatever else ends it. Left out, the reasons that fit are listed.
    #[arg(long)]
    reason: Option<String>,
    /// Words with it, if the person agreed that words may flow; `-` reads them from standard input.
    #[arg(long)]
    words: Option<String>,
}

/// Makes the move, or proposes it where the other side decides.
pub(crate) async fn make(client: &Client, wanted: Move, on: OnThread) -> anyhow::Result<()> {
    let reason = on
        .reason
        .as_deref()
        .map(|text| fitting(wanted, text))
        .transpose()?;
    // Whether a wish to cancel needs one is known once the thread is open.
    if wanted != Move::Cancel {
        ask_for_reason(wanted, reason)?;
    }
    let words = on.words.map(long_text).transpose()?.unwrap_or_default();
    let thread = inbox::open(client, &on.code, "").await?;
    let line = thread.line.context("The node's answer is empty.")?;
    let mv = possible(wanted, &thread.moves);
    ask_for_reason(mv, reason)?;
    let asked = v1::MoveReferralRequest {
        request_id: client.request_id()?,
        thread_id: line.thread_id,
        r#move: mv.number(),
        reason: reason.map_or(0, Reason::number),
        words,
    };
    let moved = answer(client.referrals().move_referral(ask(asked)).await)?;
    let here = line.side == v1::Side::Inbox as i32;
    let stands = State::try_from(moved.state).map_or("changed", |state| state_words(state, here));
    let sentence = match (moved.proposed, moved.deadline_ms) {
        (true, _) => format!(
            "{}: asked for. It counts once {} has taken it.",
            line.code, line.organisation
        ),
        (false, 0) => format!("{}: {stands}.", line.code),
        (false, by_ms) => format!("{}: {stands}; by {}.", line.code, day(by_ms)),
    };
    let value = json!({
        "code": line.code,
        "move": mv.as_str(),
        "state": super::word::<State>(moved.state),
        "proposed": moved.proposed,
        "deadline_ms": moved.deadline_ms,
    });
    client.out.say(&sentence, &value)
}

/// Reads a reason that fits the move, or says which do.
fn fitting(mv: Move, text: &str) -> anyhow::Result<Reason> {
    match mv.reasons() {
        [] => super::choose(Reason::ALL, text, "reason"),
        fitting => super::choose(fitting, text, &format!("reason to {}", spoken(mv))),
    }
}

/// Says which reasons there are where one is needed and none was given.
fn ask_for_reason(mv: Move, reason: Option<Reason>) -> anyhow::Result<()> {
    if reason.is_some() || !mv.needs_reason() {
        return Ok(());
    }
    let known = super::listed(mv.reasons());
    bail!(
        "Say with --reason why you {}. Choose one of: {known}.",
        spoken(mv)
    )
}

/// The verb as it is said.
fn spoken(mv: Move) -> String {
    match mv {
        Move::NotComplete => String::from("end it without its aim"),
        Move::RefuseCancel => String::from("refuse to cancel"),
        other => other.as_str().replace('_', " "),
    }
}

/// To cancel after acceptance is to ask for it: people should not have to know the difference.
fn possible(wanted: Move, open: &[i32]) -> Move {
    let has = |mv: Move| open.contains(&mv.number());
    if wanted == Move::Cancel && !has(Move::Cancel) && has(Move::RequestCancel) {
        return Move::RequestCancel;
    }
    wanted
}

/// Sends words on the thread.
pub(crate) async fn message(client: &Client, code: &str, words: String) -> anyhow::Result<()> {
    let thread = inbox::open(client, code, "").await?;
    let line = thread.line.context("The node's answer is empty.")?;
    let asked = v1::SendMessageRequest {
        request_id: client.request_id()?,
        thread_id: line.thread_id,
        words: long_text(words)?,
    };
    let own: Own = &[("words", "words")];
    let sent = answer_to(client.referrals().send_message(ask(asked)).await, own, &[])?;
    client.out.say(
        "On its way.",
        &json!({ "code": line.code, "message": hex(&sent.message_id) }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_becomes_a_request_only_where_nothing_else_is_open() {
        let both = [Move::Cancel.number(), Move::RequestCancel.number()];
        assert_eq!(possible(Move::Cancel, &both), Move::Cancel);
        assert_eq!(possible(Move::Cancel, &both[1..]), Move::RequestCancel);
        assert_eq!(possible(Move::Cancel, &[]), Move::Cancel);
        assert_eq!(possible(Move::Decline, &both[1..]), Move::Decline);
    }

    #[test]
    fn only_the_reasons_that_fit_are_listed_and_taken() {
        let said = ask_for_reason(Move::Decline, None).unwrap_err().to_string();
        assert!(
            said.starts_with("Say with --reason why you decline. Choose one of: full, not_our_service,"),
            "{said}"
        );
        assert!(!said.contains("help_given"), "{said}");
        let said = fitting(Move::Complete, "full").unwrap_err().to_string();
        assert_eq!(
            said,
            "`full` is not a reason to complete. Choose one of: help_given, partly_given, other."
        );
        assert_eq!(
            fitting(Move::Decline, "not-our-service").unwrap(),
            Reason::NotOurService
        );
        assert!(ask_for_reason(Move::Accept, None).is_ok());
        assert!(ask_for_reason(Move::RequestCancel, None).is_ok());
    }
}
