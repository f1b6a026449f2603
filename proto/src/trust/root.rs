//! The root as it is pinned, before anything that it signed is believed. Nodes, gateways and verifiers of exports hold one.
//! Never take a key for the pinned one by anything but the whole of it or of its hash.

use super::TrustError;
use crate::sign::{PublicKey, sha256};

/// The root as a node pins it: the key itself, or only its fingerprint until the key is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKey {
    /// The public key.
    Key(PublicKey),
    /// SHA-256 of the public key.
    Fingerprint([u8; 32]),
}

impl RootKey {
    /// Returns the offered key when it is the pinned one; [`TrustError::Forged`] when it is another.
    pub fn accept(&self, offered: &PublicKey) -> Result<PublicKey, TrustError> {
        let same = match self {
            Self::Key(key) => key == offered,
            Self::Fingerprint(hash) => *hash == sha256(&[&offered.0]),
        };
        if same {
            Ok(*offered)
        } else {
            Err(TrustError::Forged)
        }
    }
}
