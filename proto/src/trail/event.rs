//! Events and their preimages: lines of `name=value`, `code` and `at_ms` first, in printable ASCII.
//! Use-cases write them, opened leaves are read with [`Told::read`].
//! Never a value that a person wrote: the methods take ids, hashes, slugs, numbers and words of this program only.

use super::Code;
use crate::id::{NetworkName, OrgId, TokenId};
use crate::problem::Problem;
use data_encoding::HEXLOWER;
use std::fmt::Write as _;

/// Longest preimage, in bytes: a withdrawal of a grant with every recipient that it may have names each by slip and slug.
pub const PREIMAGE_BYTES_MAX: usize = 32 * 1024;

/// Something that happened, ready to be written. Give it its salt when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    code: Code,
    at_ms: i64,
    preimage: String,
}

impl Event {
    /// Begins an event, with its time in milliseconds UTC.
    pub fn new(code: Code, at_ms: i64) -> Self {
        let mut preimage = String::with_capacity(256);
        preimage.push_str("code=");
        preimage.push_str(code.as_str());
        let begun = Self {
            code,
            at_ms,
            preimage,
        };
        begun.number("at_ms", at_ms)
    }

    /// What happened.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// When, in milliseconds UTC.
    pub const fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// The event as text, without a newline at its end.
    pub fn preimage(&self) -> &str {
        &self.preimage
    }

    /// Adds an id, in hexadecimal.
    #[must_use]
    pub fn id(self, name: &'static str, id: &[u8; 16]) -> Self {
        self.line(name, &HEXLOWER.encode(id))
    }

    /// Adds the hash of something public or sealed, in hexadecimal.
    #[must_use]
    pub fn hash(self, name: &'static str, hash: &[u8; 32]) -> Self {
        self.line(name, &HEXLOWER.encode(hash))
    }

    /// Adds the token of whoever called.
    #[must_use]
    pub fn token(self, token: &TokenId) -> Self {
        self.id("token", token.as_bytes())
    }

    /// Adds an organisation.
    #[must_use]
    pub fn org(self, name: &'static str, org: &OrgId) -> Self {
        self.line(name, org.as_str())
    }

    /// Adds a network.
    #[must_use]
    pub fn network(self, network: &NetworkName) -> Self {
        self.line("network", network.as_str())
    }

    /// Adds a word of a closed list.
    #[must_use]
    pub fn word(self, name: &'static str, word: &'static str) -> Self {
        self.line(name, word)
    }

    /// Adds a number: a count or a time.
    #[must_use]
    pub fn number(mut self, name: &'static str, number: i64) -> Self {
        // cannot fail: writing into a String returns no error.
        let _ = write!(self.preimage, "\n{name}={number}");
        self
    }

    fn line(mut self, name: &'static str, value: &str) -> Self {
        self.preimage.push('\n');
        self.preimage.push_str(name);
        self.preimage.push('=');
        self.preimage.push_str(value);
        self
    }
}

/// Why a preimage was not read: refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event cannot be read")]
pub struct EventError;

impl EventError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        Problem::Invalid
    }
}

/// An opened event: its lines, as claimed until its leaf is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// What happened.
    pub code: Code,
    /// When, in milliseconds UTC.
    pub at_ms: i64,
    lines: Vec<(&'a str, &'a str)>,
}

impl<'a> Told<'a> {
    /// Reads a preimage in its one spelling. [`EventError`] over [`PREIMAGE_BYTES_MAX`], without code and time in their places, or
    /// with anything but lines of a small-letter name and a printable ASCII value.
    pub fn read(preimage: &'a str) -> Result<Self, EventError> {
        if preimage.len() > PREIMAGE_BYTES_MAX {
            return Err(EventError);
        }
        let mut lines = preimage.split('\n').map(|line| {
            let (name, value) = line.split_once('=').ok_or(EventError)?;
            let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let printable = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
            if plain && printable {
                Ok((name, value))
            } else {
                Err(EventError)
            }
        });
        let mut first = |wanted| match lines.next() {
            Some(Ok((name, value))) if name == wanted => Ok(value),
            _ => Err(EventError),
        };
        let code = first("code")?.parse().map_err(|_| EventError)?;
        let written = first("at_ms")?;
        let at_ms: i64 = written.parse().map_err(|_| EventError)?;
        if at_ms.to_string() != written {
            return Err(EventError);
        }
        Ok(Self {
            code,
            at_ms,
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    /// Every line after code and time, in their order.
    pub fn lines(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines.iter().copied()
    }

    /// The values of one name, in their order.
    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.lines
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| *value)
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.lines.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| *value)
    }

    /// The id under a name; `None` when there is none, or no id of 16 bytes.
    pub fn id(&self, name: &str) -> Option<[u8; 16]> {
        let bytes = HEXLOWER.decode(self.get(name)?.as_bytes()).ok()?;
        bytes.try_into().ok()
    }

    /// The hash under a name; `None` when there is none, or no hash of 32 bytes.
    pub fn hash(&self, name: &str) -> Option<[u8; 32]> {
        let bytes = HEXLOWER.decode(self.get(name)?.as_bytes()).ok()?;
        bytes.try_into().ok()
    }
}
