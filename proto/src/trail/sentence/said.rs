//! The parts of a sentence, each from the lines that an event has. Only [`super::sentence`] calls it.
//! Never let a value through as it is: ids are cut, slugs and words are parsed first.

use super::Reader;
use crate::human_code::HumanCode;
use crate::id::{OrgId, ThreadId};
use crate::log::origin::Keeper;
use crate::problem::Problem;
use crate::trail::Code;
use crate::trail::event::Told;
use data_encoding::HEXLOWER;

/// Longest word that is shown; the longest of a closed list has 22 letters.
const WORD_BYTES_MAX: usize = 40;
/// How many hexadecimal digits of an id are shown: enough to find it in a list, few enough to read out.
const SHORT_DIGITS: usize = 8;

/// An event, and for whom it is told.
pub(super) struct Said<'a> {
    told: &'a Told<'a>,
    reader: &'a Reader<'a>,
}

impl<'a> Said<'a> {
    pub(super) const fn new(told: &'a Told<'a>, reader: &'a Reader<'a>) -> Self {
        Self { told, reader }
    }

    pub(super) const fn code(&self) -> Code {
        self.told.code
    }

    pub(super) fn is_of_gateway(&self) -> bool {
        *self.reader.keeper == Keeper::Gateway
    }

    /// The name of whoever keeps the log.
    pub(super) fn home(&self) -> String {
        match self.reader.keeper {
            Keeper::Gateway => "the gateway".to_owned(),
            Keeper::Node(org) => self.named(org),
        }
    }

    /// The server itself, where nobody asked it.
    pub(super) fn machine(&self) -> String {
        match self.reader.keeper {
            Keeper::Gateway => "The gateway".to_owned(),
            Keeper::Node(org) => format!("The node of {}", self.named(org)),
        }
    }

    /// Who did it: a caller by role and sign-in, or the server.
    pub(super) fn who(&self) -> String {
        let Some(token) = self.short("token") else {
            return self.machine();
        };
        let roles = self.listed("as ", "role");
        let roles = if roles.is_empty() {
            roles
        } else {
            format!(", {roles}")
        };
        format!("Somebody at {} (sign-in {token}{roles})", self.home())
    }

    /// What was opened, by the narrowest subject.
    pub(super) fn opened(&self) -> String {
        if self.told.id("thread").is_some() {
            return "a referral".to_owned();
        }
        if self.told.id("grant").is_some() {
            return "a consent".to_owned();
        }
        match self.short("person") {
            Some(person) => format!("the record of a person (record {person})"),
            None => "a record".to_owned(),
        }
    }

    /// What an envelope carries.
    pub(super) fn thing(&self) -> String {
        let article = if self.starts_sentence() { "A" } else { "a" };
        match self.word("kind") {
            Some(kind) if kind.starts_with(['a', 'e']) => format!("{article}n {kind}"),
            Some(kind) => format!("{article} {kind}"),
            None if self.word("move").as_deref() == Some("send") => format!("{article} referral"),
            None => format!("{article}n envelope"),
        }
    }

    fn starts_sentence(&self) -> bool {
        matches!(
            self.code(),
            Code::EnvelopeRefused | Code::EnvelopeDropped | Code::EnvelopeDelivered
        )
    }

    /// On which referral or envelope. The code of a referral is known inside its two nodes only.
    pub(super) fn about(&self) -> String {
        match (self.told.id("thread"), self.short("envelope")) {
            (Some(thread), _) if !self.is_of_gateway() => {
                format!(", referral {}", HumanCode::of(&ThreadId::from_bytes(thread)))
            }
            (_, Some(envelope)) => format!(", envelope {envelope}"),
            _ => String::new(),
        }
    }

    /// For which purpose, of which parts, and the problem that stood in the way.
    pub(super) fn why(&self) -> String {
        let problem = match self.told.get("problem") {
            None => String::new(),
            Some(text) => match text.parse::<Problem>() {
                Ok(problem) => format!(", because {}", reason(problem)),
                Err(_) => ", for a reason that this program does not know".to_owned(),
            },
        };
        let purposes = self.listed(", for ", "purpose");
        let categories = self.listed(", with the parts ", "category");
        format!("{purposes}{categories}{problem}")
    }

    /// Which consent it rests on.
    pub(super) fn allowed_by(&self) -> String {
        let word = match self.code() {
            // What is done to a consent is not allowed by it.
            Code::GrantGiven | Code::GrantNarrowed | Code::GrantWithdrawn | Code::GrantExpired => "",
            Code::SlipStopped | Code::WithdrawalProved | Code::AccessReported | Code::HoldingDestroyed => "",
            Code::SlipIssued => "under ",
            _ => "allowed by ",
        };
        let slips: Vec<String> = self.told.all("slip").filter_map(short).collect();
        match (slips.is_empty(), self.short("grant")) {
            (true, None) => String::new(),
            (true, Some(grant)) => format!(", {word}consent {grant}"),
            (false, None) => format!(", {word}consent slip {}", joined(&slips)),
            (false, Some(grant)) => format!(", {word}consent {grant} by slip {}", joined(&slips)),
        }
    }

    /// An id's first digits in brackets after what it is; nothing where there is none.
    pub(super) fn bracketed(&self, what: &str, name: &str) -> String {
        let shown = self.short(name).map(|digits| format!(" ({what} {digits})"));
        shown.unwrap_or_default()
    }

    /// The first digits of an id or hash.
    pub(super) fn short(&self, name: &str) -> Option<String> {
        short(self.told.get(name)?)
    }

    /// An organisation's name.
    pub(super) fn org(&self, name: &str) -> Option<String> {
        self.told.get(name)?.parse().ok().map(|org| self.named(&org))
    }

    /// As [`Said::org`], at the beginning of a sentence that cannot do without.
    pub(super) fn other(&self, name: &str) -> String {
        self.org(name)
            .unwrap_or_else(|| "The other organisation".to_owned())
    }

    /// Every organisation under a name after an introduction; nothing where there is none.
    pub(super) fn orgs(&self, before: &str, name: &str) -> String {
        let parsed = self.told.all(name).filter_map(|org| org.parse().ok());
        let mut names: Vec<String> = parsed.map(|org| self.named(&org)).collect();
        names.dedup();
        if names.is_empty() {
            String::new()
        } else {
            format!("{before}{}", joined(&names))
        }
    }

    /// A word of a closed list, with spaces.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        plain(self.told.get(name)?)
    }

    /// Every word under a name after an introduction; nothing where there is none.
    pub(super) fn listed(&self, before: &str, name: &str) -> String {
        let words: Vec<String> = self.told.all(name).filter_map(plain).collect();
        if words.is_empty() {
            String::new()
        } else {
            format!("{before}{}", joined(&words))
        }
    }

    /// Whether a line says just this.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.told.get(name) == Some(value)
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.told.get(name)?.parse().ok()
    }

    /// How many of what.
    pub(super) fn count(&self, one: &str, many: &str) -> Option<String> {
        let count = self.number("count")?;
        Some(format!("{count} {}", if count == 1 { one } else { many }))
    }

    fn named(&self, org: &OrgId) -> String {
        (self.reader.name_of)(org).unwrap_or_else(|| org.to_string())
    }
}

/// The first digits of what is hexadecimal and long enough to be an id.
fn short(value: &str) -> Option<String> {
    let id = matches!(HEXLOWER.decode(value.as_bytes()), Ok(bytes) if bytes.len() >= 16);
    value.get(..SHORT_DIGITS).filter(|_| id).map(str::to_owned)
}

fn plain(word: &str) -> Option<String> {
    let letters = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (letters && word.len() <= WORD_BYTES_MAX).then(|| word.replace('_', " "))
}

/// `a`, `a and b`, `a, b and c`.
fn joined(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// A problem as the end of "because …".
const fn reason(problem: Problem) -> &'static str {
    match problem {
        Problem::Invalid => "something in it was missing or could not be read",
        Problem::ConsentMissing => "no consent covered it",
        Problem::ConsentExpired => "the consent had run out",
        Problem::ConsentWithdrawn => "the person had taken their consent back",
        Problem::RecipientNotAllowed => "the consent did not name this organisation",
        Problem::CategoryNotAllowed => "the consent left out one of its parts",
        Problem::NotAMember => "the organisation was no member of the network",
        Problem::MemberSuspended => "the organisation was suspended",
        Problem::WrongState => "the referral's state did not allow it",
        Problem::RoleNotAllowed => "the role did not allow it",
        Problem::NotFound => "what it belongs to was not found",
        Problem::CapacityFull => "the week's places were taken",
        Problem::StaleKey => "it was locked for a key no longer in use",
        Problem::TooLarge => "it was too large",
        Problem::Unavailable => "the other side could not be reached",
        Problem::Unauthenticated => "it was not signed by whom it named",
        Problem::Conflict => "the same id had come before with other content",
        Problem::NumberRefused => "its words looked like an immigration number",
        Problem::ClockOff => "a clock was wrong by more than an hour",
        Problem::DeadlineExceeded => "it did not arrive in time",
    }
}
