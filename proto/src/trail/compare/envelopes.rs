//! Envelopes: what its sender, the gateway and its recipient say of each. Only [`super::compare`] calls it.
//! Never compare an envelope's first try with its second: one that was refused may come again under the same id, so that of each
//! account its last word counts.

use super::{Account, Case, Finding, short};
use crate::problem::Problem;
use crate::trail::Code;
use crate::trail::event::Told;

/// How an envelope ended, as one account has it; the problem as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending<'a> {
    /// At its recipient, who took it or refused it.
    Arrived(Option<&'a str>),
    /// At the gateway, which did not take it.
    Refused(Option<&'a str>),
    /// After it was taken.
    Dropped(Option<&'a str>),
}

/// What one account says of one envelope.
struct Word<'a> {
    account: &'a Account<'a>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    sent: bool,
    taken: bool,
    ending: Option<Ending<'a>>,
    hash: Option<[u8; 32]>,
}

impl<'a> Word<'a> {
    /// Gathers an account's lines about an envelope; none where it has none.
    fn of(account: &'a Account<'a>, id: &str) -> Option<Self> {
        let mut word = Self {
            account,
            from: None,
            to: None,
            sent: false,
            taken: false,
            ending: None,
            hash: None,
        };
        let lines = account
            .told
            .iter()
            .filter(|told| told.get("envelope") == Some(id));
        let mut any = false;
        for told in lines.filter(|told| is_of_envelopes(told.code)) {
            any = true;
            word.take(told);
        }
        any.then_some(word)
    }

    fn take(&mut self, told: &Told<'a>) {
        // A node leaves itself out: of what it sent it names to whom, of what it received from whom.
        let own = self.account.slug();
        let (from, to) = (told.get("from"), told.get("to"));
        self.from = from.or(if to.is_some() { own } else { None }).or(self.from);
        self.to = to.or(if from.is_some() { own } else { None }).or(self.to);
        self.hash = told.hash("envelope_hash").or(self.hash);
        let problem = told.get("problem");
        match told.code {
            Code::EnvelopeSent => self.sent = true,
            Code::EnvelopeTaken => {
                self.taken = true;
                self.ending = self.ending.filter(|ending| !matches!(ending, Ending::Refused(_)));
            }
            // It had its ending at its first number; what is delivered again says so by itself.
            Code::EnvelopeTakenAgain => self.taken = true,
            Code::EnvelopeRefused => self.ending = Some(Ending::Refused(problem)),
            Code::EnvelopeDropped => self.ending = Some(Ending::Dropped(problem)),
            Code::EnvelopeReceived => self.ending = Some(Ending::Arrived(None)),
            _ => self.ending = Some(Ending::Arrived(problem)),
        }
    }
}

const fn is_of_envelopes(code: Code) -> bool {
    matches!(
        code,
        Code::EnvelopeSent
            | Code::EnvelopeTaken
            | Code::EnvelopeTakenAgain
            | Code::EnvelopeRefused
            | Code::EnvelopeDropped
            | Code::EnvelopeReceived
            | Code::EnvelopeRejected
            | Code::EnvelopeDelivered
    )
}

/// Compares every envelope of the thread; says how many.
pub(super) fn compare(case: &Case<'_>, findings: &mut Vec<Finding>) -> usize {
    let ids = case.named("envelope");
    for id in &ids {
        let words: Vec<Word<'_>> = case.accounts.iter().filter_map(|one| Word::of(one, id)).collect();
        let found = findings.len();
        facts(case, id, &words, findings);
        // Two accounts of two envelopes under one id lack nothing of each other.
        if findings.len() == found {
            steps(case, id, &words, findings);
        }
    }
    ids.len()
}

/// Organisations, hash and end: what every two accounts must say alike.
fn facts(case: &Case<'_>, id: &str, words: &[Word<'_>], findings: &mut Vec<Finding>) {
    let envelope = short(id);
    for (at, word) in words.iter().enumerate() {
        for by in words.iter().take(at) {
            let mut report = |what: String| {
                findings.push(case.contradicts(word.account, by.account, &what));
            };
            if differ(word.from, by.from) || differ(word.to, by.to) {
                report(format!("envelope {envelope} is between other organisations"));
            }
            if differ(word.hash, by.hash) {
                report(format!("envelope {envelope} has another content"));
            }
            if let (Some(this), Some(that)) = (word.ending, by.ending)
                && this != that
            {
                let (this, that) = (ended_as(this), ended_as(that));
                report(format!(
                    "it says that envelope {envelope} {this}, and the other that it {that}"
                ));
            }
        }
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// What one account lacks of what another says.
fn steps(case: &Case<'_>, id: &str, words: &[Word<'_>], findings: &mut Vec<Finding>) {
    let from = words.iter().find_map(|word| word.from);
    let to = words.iter().find_map(|word| word.to);
    let [sender, recipient] = [from, to].map(|org| org.and_then(|org| case.of_org(org)));
    let word_of = |account: &Account<'_>| words.iter().find(|word| std::ptr::eq(word.account, account));
    let envelope = short(id);
    if let Some(sender) = sender
        && let Some(by) = words
            .first()
            .filter(|_| word_of(sender).is_none_or(|word| !word.sent))
    {
        // Whoever else says it; the sender's own later lines, where nobody does.
        let by = words
            .iter()
            .find(|word| !std::ptr::eq(word.account, sender))
            .unwrap_or(by);
        findings.push(case.lacks(sender, by.account, &format!("envelope {envelope} was sent")));
    }
    let ending = words.iter().find(|word| word.ending.is_some());
    let refused = matches!(ending.and_then(|word| word.ending), Some(Ending::Refused(_)));
    let taken = words
        .iter()
        .find(|word| word.taken)
        .or(ending.filter(|_| !refused));
    for account in [sender, case.gateway()].into_iter().flatten() {
        if let Some(by) = taken
            && word_of(account).is_none_or(|word| !word.taken)
        {
            findings.push(case.lacks(
                account,
                by.account,
                &format!("the gateway took envelope {envelope}"),
            ));
        }
    }
    let Some((by, end)) = ending.and_then(|by| Some((by, by.ending?))) else {
        return;
    };
    // What did not arrive, its recipient need not know of.
    let told = if matches!(end, Ending::Arrived(_)) {
        recipient
    } else {
        None
    };
    for account in [sender, case.gateway(), told].into_iter().flatten() {
        if word_of(account).is_none_or(|word| word.ending.is_none()) {
            findings.push(case.lacks(
                account,
                by.account,
                &format!("envelope {envelope} {}", ended_as(end)),
            ));
        }
    }
}

fn ended_as(ending: Ending<'_>) -> String {
    let (what, problem) = match ending {
        Ending::Arrived(None) => ("was delivered", None),
        Ending::Arrived(problem) => ("was refused by its recipient", problem),
        Ending::Refused(problem) => ("was refused by the gateway", problem),
        Ending::Dropped(problem) => ("was dropped", problem),
    };
    match problem.map(str::parse::<Problem>) {
        Some(Ok(problem)) => format!("{what} as \"{}\"", problem.as_str().replace('_', " ")),
        _ => what.to_owned(),
    }
}
