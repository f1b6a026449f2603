//! Whether the accounts that sender, recipient and gateway give of one referral agree, line by line, and which line is missing where.
//! `audit compare` calls it with two or three verified exports; auditors read its findings.
//! Never call an account a lie: it says which one lacks or contradicts what, and a person asks why.
//!
//! | compared | where |
//! |---|---|
//! | each envelope of the thread | its sender: sent, taken, its end; the gateway: taken, its end; its recipient: its end; hashes and both organisations everywhere |
//! | each move | both nodes: the same event has the same move and state |
//! | each log | two checkpoints of one size have one root |
//! | each slip of the thread | withdrawn by its node ↔ stopped by the gateway; proof sent ↔ proof received |
//!
//! The gateway knows no thread; its lines are found by the envelopes and slips that the nodes name. An envelope under way is no
//! finding: what nobody says has happened is missing nowhere. Ask both nodes for the thread with its slips, at the same time or later
//! than its last line.

use super::code::Code;
use super::event::Told;
use super::verify::Verified;
use crate::id::{OrgId, ThreadId};
use crate::log::origin::Keeper;
use crate::problem::Problem;
use data_encoding::HEXLOWER;
use std::collections::BTreeSet;

mod envelopes;
mod moves;
mod slips;

/// Why accounts cannot be compared: give others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// One account agrees with itself.
    #[error("two accounts at least are needed")]
    TooFew,
    /// Two are of one organisation: leave one out.
    #[error("two accounts are of the same organisation")]
    Twice,
    /// They are of two networks, or under two roots.
    #[error("the accounts are of two networks")]
    OtherNetwork,
}

impl CompareError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        Problem::Invalid
    }
}

/// What a finding says of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// It says otherwise than another.
    Contradicts,
    /// It lacks what another says.
    Lacks,
    /// Something could not be compared; the accounts may agree all the same.
    NotCompared,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What sort.
    pub kind: FindingKind,
    /// Whose account it is about.
    pub keeper: Keeper,
    /// It as one plain sentence.
    pub sentence: String,
}

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Findings: contradictions first, then what is lacking, then what could not be compared.
    pub findings: Vec<Finding>,
    /// How many envelopes were compared.
    pub envelopes: usize,
    /// How many moves were compared.
    pub moves: usize,
}

impl Comparison {
    /// Whether nothing is missing and nothing contradicts, as far as it could be compared.
    pub fn agrees(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.kind == FindingKind::NotCompared)
    }
}

/// Compares what two or three accounts say of a thread.
pub fn compare(thread: &ThreadId, exports: &[&Verified]) -> Result<Comparison, CompareError> {
    comparable(exports)?;
    let mut accounts: Vec<Account<'_>> = exports.iter().map(|export| Account::new(export)).collect();
    // The same findings in whatever order the files were given.
    accounts.sort_by_key(Account::keeper);
    let thread = HEXLOWER.encode(thread.as_bytes());
    let case = Case {
        accounts: &accounts,
        thread: &thread,
    };
    let mut findings = limits(&case);
    forks(&case, &mut findings);
    let envelopes = envelopes::compare(&case, &mut findings);
    let moves = moves::compare(&case, &mut findings);
    slips::compare(&case, &mut findings);
    findings.sort_by_key(|finding| finding.kind);
    Ok(Comparison {
        findings,
        envelopes,
        moves,
    })
}

/// The accounts, and which thread is asked about, in hexadecimal.
struct Case<'a> {
    accounts: &'a [Account<'a>],
    thread: &'a str,
}

impl<'a> Case<'a> {
    fn of(&self, keeper: &Keeper) -> Option<&'a Account<'a>> {
        self.accounts.iter().find(|account| account.keeper() == keeper)
    }

    fn of_org(&self, org: &str) -> Option<&'a Account<'a>> {
        self.of(&Keeper::Node(org.parse().ok()?))
    }

    fn gateway(&self) -> Option<&'a Account<'a>> {
        self.of(&Keeper::Gateway)
    }

    fn nodes(&self) -> impl Iterator<Item = &'a Account<'a>> {
        let nodes = self.accounts.iter();
        nodes.filter(|account| *account.keeper() != Keeper::Gateway)
    }

    /// Every value that the nodes' lines of the thread have under a name.
    fn named(&self, name: &'static str) -> BTreeSet<&'a str> {
        let lines = self.nodes().flat_map(|account| account.told.iter());
        let of_thread = lines.filter(|told| told.get("thread") == Some(self.thread));
        of_thread.flat_map(|told| told.all(name)).collect()
    }

    /// The name of an organisation that somebody's keys are proven under; its slug where none are.
    fn name(&self, org: &str) -> String {
        let parsed: Result<OrgId, _> = org.parse();
        let name = parsed.ok().and_then(|org| {
            let names = self
                .accounts
                .iter()
                .find_map(|account| account.export.name_of(&org));
            names.map(str::to_owned)
        });
        // An event that is proven to be in a log may still name anything as an organisation.
        name.unwrap_or_else(|| {
            org.parse::<OrgId>()
                .map_or_else(|_| "somebody".to_owned(), |o| o.to_string())
        })
    }

    fn account(&self, keeper: &Keeper) -> String {
        match keeper {
            Keeper::Gateway => "the gateway's account".to_owned(),
            Keeper::Node(org) => format!("the account of {}", self.name(org.as_str())),
        }
    }

    fn lacks(&self, who: &Account<'_>, by: &Account<'_>, what: &str) -> Finding {
        let (lacking, saying) = (self.account(who.keeper()), self.account(by.keeper()));
        Finding {
            kind: FindingKind::Lacks,
            keeper: who.keeper().clone(),
            sentence: capital(format!("{lacking} does not say that {what}, but {saying} does.")),
        }
    }

    fn contradicts(&self, who: &Account<'_>, by: &Account<'_>, what: &str) -> Finding {
        let (one, other) = (self.account(who.keeper()), self.account(by.keeper()));
        Finding {
            kind: FindingKind::Contradicts,
            keeper: who.keeper().clone(),
            sentence: capital(format!("{one} contradicts {other}: {what}.")),
        }
    }
}

/// An export with its events read.
struct Account<'a> {
    export: &'a Verified,
    told: Vec<Told<'a>>,
}

impl<'a> Account<'a> {
    fn new(export: &'a Verified) -> Self {
        Self {
            export,
            told: export.events().iter().filter_map(|event| event.told()).collect(),
        }
    }

    fn keeper(&self) -> &'a Keeper {
        self.export.keeper()
    }

    /// The slug of a node; nothing of the gateway.
    fn slug(&self) -> Option<&'a str> {
        match self.keeper() {
            Keeper::Gateway => None,
            Keeper::Node(org) => Some(org.as_str()),
        }
    }

    /// Its lines of a code that have this value under a name.
    fn lines(&self, code: Code, name: &'static str, value: &str) -> impl Iterator<Item = &Told<'a>> {
        let of_code = self.told.iter().filter(move |told| told.code == code);
        of_code.filter(move |told| told.all(name).any(|one| one == value))
    }
}

fn comparable(exports: &[&Verified]) -> Result<(), CompareError> {
    let [first, rest @ ..] = exports else {
        return Err(CompareError::TooFew);
    };
    if rest.is_empty() {
        return Err(CompareError::TooFew);
    }
    let foreign = |export: &&&Verified| {
        let (one, other) = (export.header(), first.header());
        one.network != other.network || one.root_public_key != other.root_public_key
    };
    if rest.iter().any(|export| foreign(&export)) {
        return Err(CompareError::OtherNetwork);
    }
    let keepers: BTreeSet<&Keeper> = exports.iter().map(|export| export.keeper()).collect();
    if keepers.len() == exports.len() {
        Ok(())
    } else {
        Err(CompareError::Twice)
    }
}

/// What limits the comparison from the outset: an account that is not there, one that is narrowed, lines that are not opened.
fn limits(case: &Case<'_>) -> Vec<Finding> {
    let not_compared = |keeper: &Keeper, sentence: String| Finding {
        kind: FindingKind::NotCompared,
        keeper: keeper.clone(),
        sentence: capital(sentence),
    };
    let mut findings = Vec::new();
    if case.gateway().is_none() {
        let sentence = "The gateway's account is not here: what it took and delivered could not be compared.";
        findings.push(not_compared(&Keeper::Gateway, sentence.to_owned()));
    }
    for org in others(case) {
        let sentence = format!(
            "The account of {} is not here: what it sent and received could not be compared.",
            case.name(org.as_str())
        );
        findings.push(not_compared(&Keeper::Node(org), sentence));
    }
    for account in case.accounts {
        let keeper = account.keeper();
        let question = &account.export.header().question;
        let narrow = |(name, value): (&String, &String)| name != "thread" || value != case.thread;
        if question.iter().any(narrow) {
            let sentence = format!(
                "{} was asked for by other filters than this referral: a line may be missing because it was not asked for.",
                case.account(keeper)
            );
            findings.push(not_compared(keeper, sentence));
        }
        let closed = account.export.events().len() - account.told.len();
        if closed > 0 {
            let sentence = format!(
                "{} has {closed} lines that are not opened: what they say could not be compared.",
                case.account(keeper)
            );
            findings.push(not_compared(keeper, sentence));
        }
    }
    findings
}

/// Checkpoints of one log that two accounts show with one size and two roots: somebody was shown another log.
fn forks(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (at, account) in case.accounts.iter().enumerate() {
        for by in case.accounts.iter().take(at) {
            let mut heads = account.export.heads.iter();
            let other = |key| by.export.heads.get(key);
            if heads.any(|(key, root)| other(key).is_some_and(|other| other != root)) {
                let what = "they rest on two versions of one log, which must have one";
                findings.push(case.contradicts(account, by, what));
            }
        }
    }
}

/// The organisations that the thread's lines name and of which there is no account.
fn others(case: &Case<'_>) -> BTreeSet<OrgId> {
    let named = case.named("to").into_iter().chain(case.named("from"));
    let parsed = named.filter_map(|org| org.parse().ok());
    parsed
        .filter(|org: &OrgId| case.of_org(org.as_str()).is_none())
        .collect()
}

/// An id as it is shown: its first digits, where it is one.
fn short(id: &str) -> &str {
    let digits = id.bytes().all(|b| b.is_ascii_hexdigit());
    id.get(..8).filter(|_| digits).unwrap_or("without an id")
}

fn capital(sentence: String) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
