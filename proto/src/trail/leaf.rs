//! Leaves: what of an event stands in the log. Sequencers make them, members and verifiers open them.
//! Never shows more than the code: salt and preimage stay with whoever may know them.
//!
//! ```text
//! entry       code ‖ 0x20 ‖ base64(commitment)
//! commitment  SHA-256("kith/v1/leaf" ‖ salt ‖ preimage)
//! ```

use super::Code;
use super::event::{EventError, Told};
use crate::log::tree::Hash;
use crate::sign::sha256;
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// Random bytes that keep a preimage from being guessed.
pub type Salt = [u8; 16];

const CONTEXT: &[u8] = b"kith/v1/leaf";

/// An entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// What happened.
    pub code: Code,
    /// SHA-256 over context, salt and preimage.
    pub commitment: [u8; 32],
}

impl Leaf {
    /// The leaf of an event.
    pub fn new(code: Code, salt: &Salt, preimage: &str) -> Self {
        Self {
            code,
            commitment: sha256(&[CONTEXT, salt, preimage.as_bytes()]),
        }
    }

    /// Reads a preimage and gives the leaf that it makes with this salt: compare its hash, or the entry, with the log's.
    pub fn opened<'a>(salt: &Salt, preimage: &'a str) -> Result<(Self, Told<'a>), EventError> {
        let told = Told::read(preimage)?;
        Ok((Self::new(told.code, salt, preimage), told))
    }

    /// The hash that stands in the tree.
    pub fn hash(&self) -> Hash {
        Hash::of_leaf(self.to_string().as_bytes())
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, BASE64.encode(&self.commitment))
    }
}

impl FromStr for Leaf {
    type Err = EventError;

    /// Reads an entry in its one spelling.
    fn from_str(entry: &str) -> Result<Self, EventError> {
        let (code, commitment) = entry.split_once(' ').ok_or(EventError)?;
        let commitment: Hash = commitment.parse().map_err(|_| EventError)?;
        Ok(Self {
            code: code.parse().map_err(|_| EventError)?,
            commitment: commitment.0,
        })
    }
}
