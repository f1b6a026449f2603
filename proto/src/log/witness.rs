//! What a log asks of a witness, and when the witness cosigns (C2SP tlog-witness, `add-checkpoint`).
//! Logs write the request, witnesses check it against the last head they cosigned, and answer with signature lines.
//! Never cosign before the new head is stored in place of the last one, in the same transaction that read it: else two requests
//! at once could roll the log back.
//!
//! ```text
//! old 20852014
//! base64 of a hash        (consistency proof from the old size; none when it is 0)
//!
//! the checkpoint's note
//! ```

use super::checkpoint::{Checkpoint, decimal};
use super::leaf_proof::hash_lines;
use super::note::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, Note, NoteError, NoteSignature, VerifierKey};
use super::proof::{PROOF_HASHES_MAX, verify_consistency};
use super::tree::{EMPTY_ROOT, Hash, LEAVES_MAX, TreeHead};
use crate::problem::Problem;
use std::fmt;
use std::str::FromStr;

/// Longest request, in bytes: the note and the lines before it.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX + 4 * 1024;

/// Why a witness does not cosign, by what the log can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// The request cannot be read, or its old size is beyond the checkpoint's: repair it.
    #[error("the request cannot be read")]
    Malformed,
    /// Not signed by a key that the witness knows for this origin, or forged: ask the witness's operator.
    #[error("the checkpoint is not signed by a known log")]
    NotItsLog,
    /// The witness last cosigned another size: ask again with a proof from that one.
    #[error("the witness last cosigned size {size}")]
    OtherSize {
        /// That size; 0 when it cosigned none.
        size: u64,
    },
    /// The new tree does not begin with the old one: keep both notes and tell a person. A log that is asked nothing wrong never
    /// sees this.
    #[error("the checkpoint is not consistent with the last one")]
    Inconsistent,
}

impl WitnessRefusal {
    /// The HTTP status that tlog-witness asks for. (404, an origin that nobody knows, is said before anything is checked.)
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotItsLog => 403,
            Self::OtherSize { .. } => 409,
            Self::Inconsistent => 422,
        }
    }

    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed => Problem::Invalid,
            Self::NotItsLog => Problem::Unauthenticated,
            Self::OtherSize { .. } => Problem::WrongState,
            Self::Inconsistent => Problem::Conflict,
        }
    }
}

/// A request to cosign a checkpoint, as read. Written and read, it is the same to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    note: Note,
}

impl AddCheckpoint {
    /// Puts a request together. The note's text must be a checkpoint. [`NoteError::TooLarge`] over [`LEAVES_MAX`] or
    /// [`PROOF_HASHES_MAX`].
    pub fn new(old_size: u64, proof: Vec<Hash>, note: Note) -> Result<Self, NoteError> {
        if old_size > LEAVES_MAX || proof.len() > PROOF_HASHES_MAX {
            return Err(NoteError::TooLarge);
        }
        // Its form only; who signed it is asked when it is checked.
        note.text().parse::<Checkpoint>()?;
        Ok(Self {
            old_size,
            proof,
            note,
        })
    }

    /// The origin that it claims: which log's keys, and which last head, [`AddCheckpoint::check`] is to be given.
    pub fn claimed_origin(&self) -> &str {
        self.note.text().lines().next().unwrap_or_default()
    }

    /// The checkpoint's note, as claimed: evidence, when it is refused as inconsistent.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Decides whether the witness may cosign, given the log's keys and the head it last cosigned for this origin (none: of size
    /// 0). In the order of tlog-witness: signature, old size, last size, consistency.
    pub fn check(
        &self,
        log_keys: &[VerifierKey],
        last: Option<&TreeHead>,
    ) -> Result<Checkpoint, WitnessRefusal> {
        let checkpoint = Checkpoint::open(&self.note, log_keys).map_err(|_| WitnessRefusal::NotItsLog)?;
        if self.old_size > checkpoint.head().size {
            return Err(WitnessRefusal::Malformed);
        }
        let last = last.copied().unwrap_or(TreeHead {
            size: 0,
            root: EMPTY_ROOT,
        });
        if self.old_size != last.size {
            return Err(WitnessRefusal::OtherSize { size: last.size });
        }
        verify_consistency(&last, checkpoint.head(), &self.proof)
            .map_err(|_| WitnessRefusal::Inconsistent)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for AddCheckpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let (lines, note) = text.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let mut lines = lines.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size.and_then(decimal).ok_or(NoteError::Malformed)?;
        Self::new(old_size, hash_lines(lines)?, Note::parse(note.as_bytes())?)
    }
}

/// Writes a witness's answer: its signature lines.
pub fn write_answer(cosignatures: &[NoteSignature]) -> String {
    cosignatures.iter().map(|line| format!("{line}\n")).collect()
}

/// Reads a witness's answer, 1 to [`NOTE_SIGNATURES_MAX`] lines. Nothing in it is believed yet: put a line under a note only when
/// the note still verifies with it, or whoever reads the note refuses it as forged.
pub fn read_answer(text: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge);
    }
    let lines = text.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    if lines.split('\n').count() > NOTE_SIGNATURES_MAX {
        return Err(NoteError::TooLarge);
    }
    lines.split('\n').map(str::parse).collect()
}
