//! Reads the fields of a request: every limit in one place, every fault named by its field.
//! Each handler makes one [`Fields`], reads through it and ends with [`Fields::finish`]; all faults come back at once.
//! It must never put a value into an answer: a sentence says what is wrong, not what was written.

use crate::parts::{Parts, text_fault};
use kith_proto::id::OrgId;
use kith_proto::part::FIELD_VALUE_BYTES_MAX;
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::text::without_wrapping;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::status::Failure;
use std::collections::BTreeSet;

/// Lines of a page when the caller names no number.
pub(crate) const PAGE_SIZE_DEFAULT: u32 = 50;
/// Most lines of a page.
pub(crate) const PAGE_SIZE_MAX: u32 = 200;
/// Longest page token or watch cursor, in bytes: base64url of at most 96 bytes.
pub(crate) const PAGE_TOKEN_BYTES_MAX: usize = 128;
/// Longest words of a message or a move, in bytes: as one field of a part.
pub(crate) const WORDS_BYTES_MAX: usize = FIELD_VALUE_BYTES_MAX;
/// Longest reason for opening a record, in bytes: one sentence.
pub(crate) const OPENING_REASON_BYTES_MAX: usize = 200;
/// Longest beginning of a name to look for, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// Longest short text: a statement's id, a code, a place, a schedule.
pub(crate) const SHORT_TEXT_BYTES_MAX: usize = 200;
/// Longest language tag (BCP 47 recommends room for 35).
pub(crate) const LANGUAGE_BYTES_MAX: usize = 35;
/// Most faults named in one answer; one who sends more has other worries than the rest of the list.
const FAULTS_MAX: usize = 32;

const ID_SENTENCE: &str = "This must be exactly 16 bytes.";
const MISSING_SENTENCE: &str = "This is missing.";

/// What is wrong with a request so far.
#[derive(Default)]
pub(crate) struct Fields {
    problem: Option<Problem>,
    wrong: Vec<(String, String)>,
}

impl Fields {
    /// Nothing is wrong yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Notes a fault. The whole answer's problem is the one that most needs saying: a refused number, then size.
    pub(crate) fn refuse(&mut self, problem: Problem, field: impl Into<String>, sentence: impl Into<String>) {
        let weight = |p: Problem| match p {
            Problem::NumberRefused => 2,
            Problem::TooLarge => 1,
            _ => 0,
        };
        if self.problem.is_none_or(|known| weight(problem) > weight(known)) {
            self.problem = Some(problem);
        }
        if self.wrong.len() < FAULTS_MAX {
            self.wrong.push((field.into(), sentence.into()));
        }
    }

    fn invalid<T>(&mut self, field: &str, sentence: &str) -> Option<T> {
        self.refuse(Problem::Invalid, field, sentence);
        None
    }

    /// Ends the reading: the value, or every fault found. A value that is `None` without a fault is refused too.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        match (self.problem, value) {
            (None, Some(value)) => Ok(value),
            (problem, _) => {
                let mut failure = Failure::new(problem.unwrap_or(Problem::Invalid));
                failure.fields = self.wrong;
                Err(failure)
            }
        }
    }

    /// An id of 16 bytes.
    pub(crate) fn id<T: for<'a> TryFrom<&'a [u8]>>(&mut self, field: &str, bytes: &[u8]) -> Option<T> {
        match T::try_from(bytes) {
            Ok(id) if bytes.len() == 16 => Some(id),
            _ => self.invalid(field, ID_SENTENCE),
        }
    }

    /// A word of a closed list, by its number; 0 is missing.
    pub(crate) fn word<T: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<T> {
        match T::try_from(number) {
            Ok(word) => Some(word),
            Err(_) if number == 0 => self.invalid(field, MISSING_SENTENCE),
            Err(_) => self.invalid(field, "This is not one of the words that may stand here."),
        }
    }

    /// A word of a closed list that may be left out.
    pub(crate) fn word_if_any<T: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<Option<T>> {
        if number == 0 {
            Some(None)
        } else {
            self.word(field, number).map(Some)
        }
    }

    /// The words of a closed list, each once; `least` is how many there must be.
    pub(crate) fn word_list<T>(&mut self, field: &str, numbers: &[i32], least: usize) -> Option<Vec<T>>
    where
        T: TryFrom<i32> + Ord + Copy,
    {
        let words: Option<Vec<T>> = numbers.iter().map(|n| T::try_from(*n).ok()).collect();
        let Some(words) = words else {
            return self.invalid(field, "One of these is not a word that may stand here.");
        };
        if words.len() < least {
            return self.invalid(field, MISSING_SENTENCE);
        }
        if words.iter().collect::<BTreeSet<_>>().len() < words.len() {
            return self.invalid(field, "One of these is named twice.");
        }
        Some(words)
    }

    /// Categories, each once.
    pub(crate) fn categories(&mut self, field: &str, numbers: &[i32], least: usize) -> Option<CategorySet> {
        let list = self.word_list::<Category>(field, numbers, least)?;
        Some(list.into_iter().collect())
    }

    /// Purposes, each once, at least one.
    pub(crate) fn purposes(&mut self, field: &str, numbers: &[i32]) -> Option<Vec<Purpose>> {
        self.word_list(field, numbers, 1)
    }

    /// An organisation's id.
    pub(crate) fn org(&mut self, field: &str, text: &str) -> Option<OrgId> {
        if text.is_empty() {
            return self.invalid(field, MISSING_SENTENCE);
        }
        match text.parse() {
            Ok(org) => Some(org),
            Err(_) => self.invalid(field, "This is not an organisation's id, such as `riverside-gp`."),
        }
    }

    /// A time in ms UTC; 0 leaves it to the node.
    pub(crate) fn time_ms(&mut self, field: &str, at_ms: i64) -> Option<i64> {
        if at_ms < 0 {
            self.invalid(field, "This is not a time.")
        } else {
            Some(at_ms)
        }
    }

    /// Free text of at most `bytes_max` bytes, screened; may be empty.
    pub(crate) fn text(&mut self, field: &str, text: String, bytes_max: usize) -> Option<String> {
        let text = without_wrapping(&text);
        match text_fault(text, bytes_max) {
            None => Some(text.to_owned()),
            Some((problem, sentence)) => {
                self.refuse(problem, field, sentence);
                None
            }
        }
    }

    /// Free text that must not be empty.
    pub(crate) fn text_needed(&mut self, field: &str, text: String, bytes_max: usize) -> Option<String> {
        if text.trim().is_empty() {
            return self.invalid(field, MISSING_SENTENCE);
        }
        self.text(field, text, bytes_max)
    }

    /// A language tag (BCP 47 by its characters and lengths, not by its registry).
    pub(crate) fn language(&mut self, field: &str, tag: String) -> Option<String> {
        if tag.is_empty() {
            return self.invalid(field, MISSING_SENTENCE);
        }
        let subtag = |s: &str| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
        let first = tag.split('-').next().unwrap_or_default();
        let letters = first.len() >= 2 && first.bytes().all(|b| b.is_ascii_alphabetic());
        if tag.len() > LANGUAGE_BYTES_MAX || !letters || !tag.split('-').all(subtag) {
            return self.invalid(field, "This is not a language tag, such as `en` or `ti`.");
        }
        Some(tag)
    }

    /// How many lines a page has.
    pub(crate) fn page_size(&mut self, size: u32) -> Option<u32> {
        match size {
            0 => Some(PAGE_SIZE_DEFAULT),
            1..=PAGE_SIZE_MAX => Some(size),
            _ => {
                self.refuse(Problem::TooLarge, "page_size", "A page has at most 200 lines.");
                None
            }
        }
    }

    /// The parts of a person or referral, with every fault of them.
    pub(crate) fn parts(&mut self, parts: Vec<v1::Part>) -> Option<Parts> {
        match Parts::parse(parts) {
            Ok(parts) => Some(parts),
            Err(faults) => {
                for fault in faults {
                    self.refuse(fault.problem, fault.field, fault.sentence);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
