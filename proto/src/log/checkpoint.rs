//! Checkpoints (C2SP tlog-checkpoint): what a log says of itself and signs, and what witnesses cosign (C2SP tlog-cosignature).
//! Logs sign them, witnesses cosign them, everybody else opens them before believing a proof.
//! Never sign two of one origin that no consistency proof joins: the caller's store decides that, before the call.
//!
//! ```text
//! lune-valley.example/gateway/1
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```

use super::note::{KeyKind, KeyName, Note, NoteError, NoteSignature, VerifierKey};
use super::tree::{LEAVES_MAX, TreeHead};
use crate::sign::SigningKey;
use std::fmt;
use std::str::FromStr;

/// Longest origin, in bytes; as a key name's.
pub const ORIGIN_BYTES_MAX: usize = super::note::KEY_NAME_BYTES_MAX;
/// Most extension lines; nothing here writes any, and the specification advises against them.
pub const EXTENSION_LINES_MAX: usize = 16;
/// Longest extension line, in bytes without its newline.
pub const EXTENSION_BYTES_MAX: usize = 1024;

/// The text of a checkpoint: an origin, a tree head, and lines that others may have added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: TreeHead,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// States a tree head of a log; without extension lines. [`NoteError::TooLarge`] over [`LEAVES_MAX`].
    pub fn new(origin: &KeyName, head: TreeHead) -> Result<Self, NoteError> {
        if head.size > LEAVES_MAX {
            return Err(NoteError::TooLarge);
        }
        Ok(Self {
            origin: origin.as_str().to_owned(),
            head,
            extensions: Vec::new(),
        })
    }

    /// Opens a log's note: one of the log's keys must have signed it as its log, under the name that is the origin. What witnesses
    /// signed is for the policy. [`NoteError::Unsigned`] or [`NoteError::Forged`] by the signatures, [`NoteError::Foreign`] when
    /// the text is about another origin, [`NoteError::Malformed`] or [`NoteError::TooLarge`] when it is no checkpoint.
    pub fn open(note: &Note, log_keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let mut verified = note.verify(log_keys)?;
        verified.retain(|by| by.key.kind() == KeyKind::Ed25519);
        if verified.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let checkpoint: Self = note.text().parse()?;
        if verified
            .iter()
            .any(|by| by.key.name().as_str() == checkpoint.origin)
        {
            Ok(checkpoint)
        } else {
            Err(NoteError::Foreign)
        }
    }

    /// Signs it as its log. [`NoteError::Malformed`] when the origin cannot be a key's name.
    pub fn sign(&self, key: &SigningKey) -> Result<NoteSignature, NoteError> {
        NoteSignature::of_log(&self.origin.parse()?, key, &self.to_string())
    }

    /// Cosigns it as a witness: as of this time, in seconds since 1970, it is the largest tree of this origin that the witness
    /// has seen, and consistent with all before. [`NoteError::Malformed`] for a time before 1 or over 2^63 - 1.
    pub fn cosign(
        &self,
        witness: &KeyName,
        key: &SigningKey,
        time_s: u64,
    ) -> Result<NoteSignature, NoteError> {
        if time_s == 0 || i64::try_from(time_s).is_err() {
            return Err(NoteError::Malformed);
        }
        NoteSignature::of_witness(witness, key, time_s, &self.to_string())
    }

    /// Puts signatures under it.
    pub fn note(&self, signatures: Vec<NoteSignature>) -> Result<Note, NoteError> {
        Note::new(self.to_string(), signatures)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The size and root of its tree.
    pub const fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Lines after the root, which nothing here reads.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Whether the two prove a fork by themselves: one origin and size, two roots.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.origin == other.origin && self.head.size == other.head.size && self.head.root != other.head.root
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, self.head.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    /// Reads the text of a note; at least three lines, each not empty and ending in a newline.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let lines = text.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let lines: Vec<&str> = lines.split('\n').take(3 + EXTENSION_LINES_MAX + 1).collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(NoteError::Malformed);
        };
        if lines
            .iter()
            .any(|line| line.is_empty() || line.contains(|c| c < ' '))
        {
            return Err(NoteError::Malformed);
        }
        let size = decimal(size).ok_or(NoteError::Malformed)?;
        let root = root.parse().map_err(|_| NoteError::Malformed)?;
        let too_large = size > LEAVES_MAX
            || origin.len() > ORIGIN_BYTES_MAX
            || extensions.len() > EXTENSION_LINES_MAX
            || extensions.iter().any(|line| line.len() > EXTENSION_BYTES_MAX);
        if too_large {
            return Err(NoteError::TooLarge);
        }
        Ok(Self {
            origin: (*origin).to_owned(),
            head: TreeHead { size, root },
            extensions: extensions.iter().map(|line| (*line).to_owned()).collect(),
        })
    }
}

/// Reads a number in its one spelling: decimal digits without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}
