//! How the command line speaks: plain sentences for people, JSON lines for machines, days, and words for each state.
//! Every command answers through [`Out`]; a refusal is shown with its sentence and its fields.
//! It must never print a cause, a stack or a token that was not just made for the caller.

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use kith_proto::calendar::{self, days};
use kith_proto::lifecycle::{Delivery, Move, State};
use kith_proto::v1;
use kith_service::status::{Failure, failure_of};
use serde_json::{Value, json};
use std::io::{self, Write as _};

use crate::status::Awaiting;
pub(crate) use kith_proto::calendar::{DAY_MS, day};

/// Where the answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// One JSON object for each answer instead of sentences.
    pub(crate) json: bool,
}

impl Out {
    /// Gives one answer, either way. Fails when nobody reads any more.
    pub(crate) fn say(self, sentence: &str, value: &Value) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{value}")?;
        } else {
            writeln!(out, "{sentence}")?;
        }
        Ok(out.flush()?)
    }

    /// Adds a sentence that machines do not need.
    pub(crate) fn remark(self, sentence: &str) -> anyhow::Result<()> {
        if !self.json {
            writeln!(io::stdout().lock(), "{sentence}")?;
        }
        Ok(())
    }

    /// Shows why a command did not do what it was asked to: sentences to stderr, or JSON to stdout. Nobody is told when
    /// the reader of the answers has gone, as `head` does.
    pub(crate) fn refusal(self, error: &anyhow::Error) {
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref::<io::Error>().is_some_and(gone) {
            return;
        }
        let refusal = error.downcast_ref::<Refusal>();
        let shown = match (refusal, self.json) {
            (Some(Refusal(failure)), true) => writeln!(io::stdout().lock(), "{}", failure_json(failure)),
            (None, true) => writeln!(io::stdout().lock(), "{}", json!({ "sentence": sentence(error) })),
            (Some(refusal), false) => writeln!(io::stderr().lock(), "{refusal}"),
            (None, false) => writeln!(io::stderr().lock(), "{}", sentence(error)),
        };
        // Nobody is left to tell when this fails.
        shown.ok();
    }
}

/// An error as a sentence; its causes are left out. Errors of the program begin small and have no full stop.
fn sentence(error: &anyhow::Error) -> String {
    let outer = error.to_string();
    let mut letters = outer.chars();
    let first = letters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    let stop = if outer.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// A call that the node refused.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Failure);

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Self(failure_of(&status))
    }
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.sentence())?;
        for (field, sentence) in &self.0.fields {
            match field.as_str() {
                "" => write!(f, "\n  {sentence}")?,
                field => write!(f, "\n  {field}: {sentence}")?,
            }
        }
        Ok(())
    }
}

fn failure_json(failure: &Failure) -> Value {
    let fields = failure
        .fields
        .iter()
        .map(|(f, s)| json!({ "field": f, "sentence": s }));
    json!({
        "problem": failure.problem.as_str(),
        "sentence": failure.sentence(),
        "fields": fields.collect::<Vec<_>>(),
    })
}

/// Writes an id as the command line shows and takes it.
pub(crate) fn hex(id: &[u8]) -> String {
    HEXLOWER.encode(id)
}

/// Reads an id of 16 bytes.
pub(crate) fn id(text: &str) -> anyhow::Result<Vec<u8>> {
    match HEXLOWER.decode(text.trim().to_lowercase().as_bytes()) {
        Ok(bytes) if bytes.len() == 16 => Ok(bytes),
        _ => bail!("`{text}` is not an id; an id has 32 letters and digits."),
    }
}

/// Reads a stop code, however it is grouped.
pub(crate) fn stop_seed(text: &str) -> anyhow::Result<Vec<u8>> {
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    match HEXLOWER.decode(plain.to_lowercase().as_bytes()) {
        Ok(bytes) if bytes.len() == 16 => Ok(bytes),
        _ => bail!(
            "This is not a stop code: it has eight groups of four letters (a to f) and digits. Copy it again."
        ),
    }
}

/// Says of an opening at a recipient: in which role, when and what for; `tigrinya-circle` is whose.
pub(crate) fn opened_words(opening: &v1::ReportedOpening, organisation: &str) -> String {
    let role = &opening.role;
    let article = if role.starts_with('a') { "an" } else { "a" };
    let (hour, day) = (opening.hour, long_day(&opening.day));
    let reason = opening.reason.replace('_', " ");
    format!(
        "opened by {article} {role} of {organisation} on {day}, between {hour:02}:00 and {:02}:00 UTC, for {reason}",
        hour + 1
    )
}

/// Writes a day as people read it: `26 November 2026`. What is no day stays as it is.
fn long_day(text: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let Some(start_ms) = calendar::read_day(text) else {
        return text.to_owned();
    };
    let (year, month, day) = calendar::civil(start_ms / DAY_MS);
    let place = usize::try_from(month - 1).ok();
    let name = place.and_then(|place| MONTHS.get(place)).unwrap_or(&"");
    format!("{day} {name} {year}")
}

/// Reads a day as the last millisecond of it, UTC.
pub(crate) fn end_of_day_ms(text: &str) -> anyhow::Result<i64> {
    let say = || format!("`{text}` is not a day; write it as 2026-11-23.");
    let numbers: Option<Vec<i64>> = text.split('-').map(|n| n.parse().ok()).collect();
    let Some([year, month, day]) = numbers.as_deref() else {
        bail!(say())
    };
    let days = days(*year, *month, *day).with_context(say)?;
    Ok(days * DAY_MS + DAY_MS - 1)
}

/// Says of a member what stays closed after a restore until it has spoken.
pub(crate) fn awaiting(one: &Awaiting) -> String {
    let (organisation, threads) = (&one.organisation, one.threads);
    let referrals = if threads == 1 { "referral" } else { "referrals" };
    format!(
        "What {organisation} shared in {threads} {referrals} opens once it has said that it still stands: this node came back from a \
         backup, and {organisation} was asked to. If it takes long, ask them to start their node."
    )
}

/// The same for machines.
pub(crate) fn awaiting_json(all: &[Awaiting]) -> Value {
    let one = |one: &Awaiting| json!({ "organisation": one.organisation.as_str(), "referrals": one.threads });
    all.iter().map(one).collect()
}

/// Where a referral stands, in words; `here` says whether this organisation received it.
pub(crate) const fn state_words(state: State, here: bool) -> &'static str {
    match (state, here) {
        (State::Draft, _) => "a draft, not sent",
        (State::Sent, _) => "sent, not yet arrived",
        (State::Received, true) => "arrived; nobody here has acknowledged it yet",
        (State::Received, false) => "arrived; nobody there has acknowledged it yet",
        (State::Acknowledged, true) => "acknowledged; waiting for your answer",
        (State::Acknowledged, false) => "seen by a person there; waiting for their answer",
        (State::InfoRequested, true) => "waiting for them to answer your question",
        (State::InfoRequested, false) => "they asked you something; waiting for your answer",
        (State::Waitlisted, _) => "on the waiting list",
        (State::Accepted, _) => "accepted",
        (State::HandoffPlanned, _) => "accepted; a meeting is planned",
        (State::NoShow, _) => "accepted; the meeting did not take place",
        (State::InProgress, _) => "being helped",
        (State::CancelRequested, true) => "they ask you to stop; waiting for your answer",
        (State::CancelRequested, false) => "you asked them to stop; waiting for their answer",
        (State::Completed, _) => "completed",
        (State::NotCompleted, _) => "ended without its aim",
        (State::Declined, _) => "declined",
        (State::Forwarded, _) => "passed on",
        (State::Cancelled, _) => "cancelled",
        (State::Withdrawn, _) => "withdrawn: the person took consent back",
        (State::Expired, _) => "expired: nobody answered in time",
        (State::EnteredInError, _) => "entered in error",
    }
}

/// How far the machines carried it, where that needs saying.
pub(crate) const fn delivery_words(delivery: Delivery) -> Option<&'static str> {
    match delivery {
        Delivery::Queued => Some("waiting to leave this node"),
        Delivery::Taken => Some("held by the gateway until their node is on"),
        Delivery::Delivered => None,
        Delivery::Undelivered => Some("not delivered"),
    }
}

/// What happened, as a line of a thread's history.
pub(crate) const fn moved_words(mv: Move) -> &'static str {
    match mv {
        Move::Send => "sent",
        Move::Discard => "discarded",
        Move::Receive => "arrived",
        Move::Acknowledge => "acknowledged",
        Move::RequestInfo => "question asked",
        Move::AnswerInfo => "question answered",
        Move::Waitlist => "put on the waiting list",
        Move::Accept => "accepted",
        Move::Decline => "declined",
        Move::Forward => "passed on",
        Move::PlanHandoff => "meeting planned",
        Move::ReplanHandoff => "meeting to be planned again",
        Move::Meet => "met",
        Move::Miss => "meeting missed",
        Move::Start => "help begun",
        Move::Complete => "completed",
        Move::NotComplete => "ended without its aim",
        Move::RequestCancel => "asked to cancel",
        Move::Cancel => "cancelled",
        Move::RefuseCancel => "cancelling refused",
        Move::Withdraw => "consent withdrawn",
        Move::Expire => "expired",
        Move::Reinstate => "taken up again",
        Move::EnterInError => "marked as entered in error",
        Move::Drop => "dropped by the gateway",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_both_ways_and_none_is_made_up() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-23", 20_780),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(end_of_day_ms(text).unwrap(), days * DAY_MS + DAY_MS - 1, "{text}");
            assert_eq!(day(days * DAY_MS), text);
            assert_eq!(day(days * DAY_MS + DAY_MS - 1), text);
        }
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "1969-12-31",
            "26-11-23",
            "2026-11-31",
            "x-y-z",
        ] {
            assert!(end_of_day_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_opening_is_said_in_plain_words() {
        let said = |role: &str, day: &str, hour| {
            let opening = v1::ReportedOpening {
                day: day.to_owned(),
                hour,
                role: role.to_owned(),
                reason: "peer_support".to_owned(),
            };
            opened_words(&opening, "riverside-gp")
        };
        assert_eq!(
            said("coordinator", "2026-11-26", 14),
            "opened by a coordinator of riverside-gp on 26 November 2026, between 14:00 and 15:00 UTC, for peer support"
        );
        assert_eq!(
            said("auditor", "2027-01-01", 23),
            "opened by an auditor of riverside-gp on 1 January 2027, between 23:00 and 24:00 UTC, for peer support"
        );
    }

    #[test]
    fn ids_are_32_digits() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(hex(&id(text).unwrap()), text);
        assert_eq!(id(&text.to_uppercase()).unwrap(), id(text).unwrap());
        for bad in ["", "0011", "zz112233445566778899aabbccddeeff"] {
            assert!(id(bad).is_err());
            assert!(stop_seed(bad).is_err());
        }
        let code = crate::grants::stop_code(&id(text).unwrap());
        assert_eq!(code, "0011-2233-4455-6677-8899-aabb-ccdd-eeff");
        for typed in [code.as_str(), "0011 2233 4455 6677 8899 AABB CCDD EEFF", text] {
            assert_eq!(stop_seed(typed).unwrap(), id(text).unwrap(), "{typed}");
        }
    }

    #[test]
    fn an_error_becomes_a_sentence_and_a_sentence_stays_one() {
        let shown = |text: &'static str| sentence(&anyhow::anyhow!(text));
        assert_eq!(
            shown("another process uses this data folder"),
            "Another process uses this data folder."
        );
        assert_eq!(
            shown("Say which. Choose one of: a, b."),
            "Say which. Choose one of: a, b."
        );
    }

    #[test]
    fn a_refusal_shows_its_sentence_and_fields() {
        let failure =
            Failure::new(kith_proto::problem::Problem::Invalid).with_field("recipient", "This is missing.");
        let shown = Refusal(failure).to_string();
        assert!(shown.ends_with("\n  recipient: This is missing."), "{shown}");
        let failure =
            Failure::new(kith_proto::problem::Problem::Invalid).with_field("", "Nobody has reviewed it.");
        let shown = Refusal(failure).to_string();
        assert!(shown.ends_with("\n  Nobody has reviewed it."), "{shown}");
    }
}
