//! The receipt of one leaf, `.tlog-proof` (C2SP tlog-proof): its index, its inclusion proof and the checkpoint, verifiable offline.
//! Trails and exports carry it; the offline verifier and anybody's own tool check it.
//! Never trust the extra bytes: nobody signed them.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64            (left out when there is none)
//! index 73894
//! base64 of a hash        (from the leaf's sibling up)
//!
//! the checkpoint's note
//! ```

use super::checkpoint::{Checkpoint, decimal};
use super::note::{NOTE_BYTES_MAX, Note, NoteError, VerifierKey};
use super::proof::{PROOF_HASHES_MAX, ProofError, verify_inclusion};
use super::tree::{Hash, LEAVES_MAX, bytes_of};
use crate::problem::Problem;
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// Most extra bytes: an opened leaf's preimage and salt.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;
/// Longest `.tlog-proof`, in bytes: the note, the extra bytes in base64, and the lines between.
pub const LEAF_PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + EXTRA_BYTES_MAX / 3 * 4 + 8 * 1024;
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a receipt was not read or believed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafProofError {
    /// It, or its checkpoint, cannot be read or is not its log's.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The leaf is not in the tree that the log signed.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl LeafProofError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Note(error) => error.problem(),
            Self::Proof(error) => error.problem(),
        }
    }
}

/// A receipt as read, not believed before [`LeafProof::open`]. Written and read, it is the same to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    note: Note,
}

impl LeafProof {
    /// Puts a receipt together, with extra bytes or none (an empty list). The note's text must be a checkpoint.
    /// [`NoteError::TooLarge`] over [`LEAVES_MAX`], [`PROOF_HASHES_MAX`] or [`EXTRA_BYTES_MAX`].
    pub fn new(index: u64, hashes: Vec<Hash>, note: Note, extra: Vec<u8>) -> Result<Self, NoteError> {
        if index >= LEAVES_MAX || hashes.len() > PROOF_HASHES_MAX || extra.len() > EXTRA_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        // Its form only; who signed it is asked when it is opened.
        note.text().parse::<Checkpoint>()?;
        Ok(Self {
            extra,
            index,
            hashes,
            note,
        })
    }

    /// Verifies that the log of these keys has signed the checkpoint and that the leaf of this hash is in its tree.
    /// Whether the checkpoint counts is for the policy to say, of [`LeafProof::note`].
    pub fn open(&self, leaf: &Hash, log_keys: &[VerifierKey]) -> Result<Checkpoint, LeafProofError> {
        let checkpoint = Checkpoint::open(&self.note, log_keys)?;
        verify_inclusion(checkpoint.head(), self.index, leaf, &self.hashes)?;
        Ok(checkpoint)
    }

    /// The leaf's number, as claimed.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof, as claimed.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint's note, as claimed.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What came with it and nobody signed; empty when there is none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }
}

impl fmt::Display for LeafProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", BASE64.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for LeafProof {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > LEAF_PROOF_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let (lines, note) = text.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let mut lines = lines.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(NoteError::Malformed);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = match extra.and_then(|line| line.strip_prefix("extra ")) {
            None => Vec::new(),
            // No extra bytes are written as no line.
            Some("") => return Err(NoteError::Malformed),
            Some(text) => bytes_of(text).ok_or(NoteError::Malformed)?,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or(NoteError::Malformed)?;
        Self::new(index, hash_lines(lines)?, Note::parse(note.as_bytes())?, extra)
    }
}

/// Reads the hashes of a proof, one a line; at most [`PROOF_HASHES_MAX`].
pub(super) fn hash_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, NoteError> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == PROOF_HASHES_MAX {
            return Err(NoteError::TooLarge);
        }
        hashes.push(line.parse().map_err(|_| NoteError::Malformed)?);
    }
    Ok(hashes)
}
