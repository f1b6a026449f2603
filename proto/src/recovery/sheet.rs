//! The recovery secret and what is derived from it (HKDF-SHA256, one label each). Called when a sheet is made, by the node for each
//! bundle with the public part, and by a restore with two shares.
//! Never lets the secret or what opens a bundle into [`Sheet`], which is what a node keeps.
//!
//! ```text
//! secret ─ HKDF("kith/v1/recovery") ─┬─ "sheet" ──> id of the sheet, first 5 bytes
//!                                    ├─ "seal"  ──> seed of the sealing key       node keeps the public half
//!                                    ├─ "fetch" ──> fetch secret                  node and gateway keep its SHA-256
//!                                    └─ "auth"  ──> key of the bundle's MAC       node keeps it
//! ```

use aws_lc_rs::{hkdf, hmac};
use std::fmt;
use zeroize::Zeroizing;

use crate::human_code::SYMBOLS;
use crate::problem::Problem;
use crate::seal::{PUBLIC_KEY_LEN, SealingKey, SealingPublicKey};
use crate::sign::sha256;

const SALT: &[u8] = b"kith/v1/recovery";
/// The first byte of a stored [`Sheet`].
const VERSION: u8 = 1;
/// Version, id, public key, hash and key.
const SHEET_LEN: usize = 1 + 5 + PUBLIC_KEY_LEN + 32 + 32;

/// Why a sheet cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// The stored sheet was altered: make a new one.
    #[error("what this node keeps of its recovery sheet cannot be read: make a new sheet")]
    Malformed,
    /// The cryptographic library failed: try again.
    #[error("the cryptographic library failed: try again")]
    Library,
}

impl SheetError {
    /// The problem code.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed => Problem::Invalid,
            Self::Library => Problem::Unavailable,
        }
    }
}

/// Which sheet: on every share and every bundle, so that those of two sheets are told apart. Says nothing about the secret that could
/// be used. `Display` writes `XXXX-XXXX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SheetId(pub [u8; 5]);

/// The secret of a sheet, 32 bytes; wiped when dropped.
pub struct RecoverySecret(Zeroizing<[u8; 32]>);

/// What makes a bundle one of this node's: HMAC-SHA256.
#[derive(Clone)]
pub struct AuthKey(Zeroizing<[u8; 32]>);

/// What two shares give: everything that opens and fetches a bundle.
pub struct RecoveryKeys {
    /// Whose shares they were.
    pub sheet: SheetId,
    /// Opens the bundles of this sheet.
    pub sealing: SealingKey,
    /// Shows the gateway that the caller holds the sheet.
    pub fetch_secret: Zeroizing<[u8; 32]>,
    /// Tells bundles of the node from others.
    pub auth: AuthKey,
}

/// What a node keeps of its sheet.
#[derive(Clone)]
pub struct Sheet {
    /// Its id.
    pub id: SheetId,
    /// What bundles are sealed to.
    pub sealing: SealingPublicKey,
    /// What the gateway compares the fetch secret with: [`fetch_hash`].
    pub fetch_hash: [u8; 32],
    /// What bundles are marked with.
    pub auth: AuthKey,
}

/// SHA-256 of a fetch secret.
pub fn fetch_hash(fetch_secret: &[u8; 32]) -> [u8; 32] {
    sha256(&[fetch_secret])
}

impl RecoverySecret {
    /// Takes 32 fresh, uniform, secret bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the sheet with this secret.
    pub fn sheet(&self) -> Result<SheetId, SheetError> {
        let [a, b, c, d, e, ..] = *self.derive(b"sheet")?;
        Ok(SheetId([a, b, c, d, e]))
    }

    /// Everything that is derived from it; [`SheetError::Library`] only when the library fails.
    pub fn keys(&self) -> Result<RecoveryKeys, SheetError> {
        let sealing = SealingKey::from_seed(*self.derive(b"seal")?).map_err(|_| SheetError::Library)?;
        Ok(RecoveryKeys {
            sheet: self.sheet()?,
            sealing,
            fetch_secret: self.derive(b"fetch")?,
            auth: AuthKey(self.derive(b"auth")?),
        })
    }

    fn derive(&self, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, SheetError> {
        let mut out = Zeroizing::new([0; 32]);
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(self.0.as_slice());
        let labels = [label];
        let expanded = key.expand(&labels, hkdf::HKDF_SHA256);
        let filled = expanded.and_then(|expanded| expanded.fill(out.as_mut_slice()));
        filled.map_err(|_| SheetError::Library)?;
        Ok(out)
    }
}

impl RecoveryKeys {
    /// What a node keeps.
    pub fn to_sheet(&self) -> Sheet {
        Sheet {
            id: self.sheet,
            sealing: self.sealing.public().clone(),
            fetch_hash: fetch_hash(&self.fetch_secret),
            auth: self.auth.clone(),
        }
    }
}

impl Sheet {
    /// The bytes that a node stores.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SHEET_LEN));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(self.sealing.as_bytes());
        bytes.extend_from_slice(&self.fetch_hash);
        bytes.extend_from_slice(self.auth.0.as_slice());
        bytes
    }

    /// Reads them; [`SheetError::Malformed`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SheetError> {
        let read = || {
            let (version, rest) = bytes.split_first()?;
            let (id, rest) = rest.split_first_chunk::<5>()?;
            let (sealing, rest) = rest.split_first_chunk::<PUBLIC_KEY_LEN>()?;
            let (fetch_hash, rest) = rest.split_first_chunk::<32>()?;
            let auth: [u8; 32] = rest.try_into().ok()?;
            (*version == VERSION).then_some(())?;
            Some(Self {
                id: SheetId(*id),
                sealing: SealingPublicKey::from_bytes(sealing).ok()?,
                fetch_hash: *fetch_hash,
                auth: AuthKey(Zeroizing::new(auth)),
            })
        };
        read().ok_or(SheetError::Malformed)
    }
}

impl AuthKey {
    /// Begins a MAC.
    pub(super) fn begin(&self) -> hmac::Context {
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()))
    }
}

impl fmt::Display for SheetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        for place in 0..8 {
            let symbol = char::from(SYMBOLS[(number >> (35 - 5 * place)) as usize & 31]);
            write!(f, "{}{symbol}", if place == 4 { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for SheetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SheetId({self})")
    }
}

impl fmt::Debug for RecoverySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoverySecret(..)")
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}

impl fmt::Debug for RecoveryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKeys(of {:?})", self.sheet)
    }
}

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sheet({})", self.id)
    }
}
