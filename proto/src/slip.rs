//! Slips: what a grant allows between the capturing member and one other, naming no person.
//! The sender's node issues them; gateway and recipient's node verify them and hand [`Slip::terms`] to `permits`.
//! Never read a clock (expiry is `permits`' to judge), never put a person or a plaintext's hash into a slip.

use prost::Message as _;

use crate::id::{NetworkName, OrgId, PersonId, SlipId};
use crate::permits::{CategorySet, SlipTerms};
use crate::problem::Problem;
use crate::sign::{Context, PublicKey, Signature, SigningKey, sha256};
use crate::v1;
use crate::words::{Category, Purpose};

/// The longest time between a slip's issue and its expiry: 366 days, in milliseconds.
pub const SLIP_LIFE_MS_MAX: i64 = 366 * 24 * 60 * 60 * 1000;
/// The label in front of the seed that a stop secret is derived from; the zero byte ends it.
const STOP_LABEL: &[u8] = b"kith/v1/stop\0";

/// Why a slip was not taken, by what the caller can do; carries no value of the slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlipError {
    /// The named field is missing, repeated or out of range: repair the program that made the slip.
    #[error("the slip's {0} cannot be read")]
    Malformed(&'static str),
    /// The slip belongs to another network: ask for consent in this one.
    #[error("the slip is of another network")]
    OtherNetwork,
    /// No key is known for the capturing member: fetch its binding, or refuse.
    #[error("the slip's member is unknown")]
    UnknownMember,
    /// The capturing member did not sign this slip: refuse it.
    #[error("the slip's signature does not verify")]
    BadSignature,
    /// The signing library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl SlipError {
    /// The problem code that every API answers with.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Malformed(_) | Self::OtherNetwork | Self::BadSignature => Problem::Invalid,
            Self::UnknownMember => Problem::NotAMember,
            Self::Library => Problem::Unavailable,
        }
    }
}

/// A slip whose every field was checked; made only by [`Slip::parse`] and what calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slip {
    /// Its id, fresh for each grant and recipient.
    pub id: SlipId,
    /// The network it holds in.
    pub network: NetworkName,
    /// The capturing member.
    pub from: OrgId,
    /// The one other member.
    pub to: OrgId,
    /// What it may be used for, in wire order; none consents to nothing, which `permits` refuses.
    pub purposes: Vec<Purpose>,
    /// What may be shared.
    pub categories: CategorySet,
    /// When it was issued, in milliseconds UTC.
    pub issued_at_ms: i64,
    /// The first millisecond at which it no longer holds; at most [`SLIP_LIFE_MS_MAX`] after its issue.
    pub expires_at_ms: i64,
    /// Whether words about how it goes may flow.
    pub progress: bool,
    /// [`person_commitment`] of the person it is about.
    pub person_commitment: [u8; 32],
    /// [`stop_hash`] of the secret that the person holds.
    pub stop_hash: [u8; 32],
}

impl Slip {
    /// Checks every field; [`SlipError::Malformed`] names the first that fails.
    pub fn parse(wire: &v1::Slip) -> Result<Self, SlipError> {
        let bad = SlipError::Malformed;
        let (issued_at_ms, expires_at_ms) = (wire.issued_at_ms, wire.expires_at_ms);
        if issued_at_ms < 0 {
            return Err(bad("issue time"));
        }
        // cannot overflow once both are known not to be negative.
        if expires_at_ms <= issued_at_ms || expires_at_ms - issued_at_ms > SLIP_LIFE_MS_MAX {
            return Err(bad("expiry"));
        }
        let slip = Self {
            id: SlipId::try_from(wire.slip_id.as_slice()).map_err(|_| bad("id"))?,
            network: wire.network.parse().map_err(|_| bad("network"))?,
            from: wire.from.parse().map_err(|_| bad("capturing member"))?,
            to: wire.to.parse().map_err(|_| bad("other member"))?,
            purposes: purposes(&wire.purposes)?,
            categories: categories(&wire.categories).ok_or(bad("categories"))?,
            issued_at_ms,
            expires_at_ms,
            progress: wire.progress,
            person_commitment: hash(&wire.person_commitment).ok_or(bad("person commitment"))?,
            stop_hash: hash(&wire.stop_hash).ok_or(bad("stop hash"))?,
        };
        if slip.from == slip.to {
            return Err(bad("other member"));
        }
        Ok(slip)
    }

    /// Parses a serialised slip; [`SlipError::Malformed`] when it is none or a field fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, SlipError> {
        let wire = v1::Slip::decode(bytes).map_err(|_| SlipError::Malformed("bytes"))?;
        Self::parse(&wire)
    }

    /// The wire form, purposes and categories in wire order.
    pub fn to_wire(&self) -> v1::Slip {
        v1::Slip {
            slip_id: self.id.as_bytes().to_vec(),
            network: self.network.to_string(),
            from: self.from.to_string(),
            to: self.to.to_string(),
            purposes: self.purposes.iter().map(|purpose| purpose.number()).collect(),
            categories: self.categories.iter().map(Category::number).collect(),
            issued_at_ms: self.issued_at_ms,
            expires_at_ms: self.expires_at_ms,
            progress: self.progress,
            person_commitment: self.person_commitment.to_vec(),
            stop_hash: self.stop_hash.to_vec(),
        }
    }

    /// The bytes that are signed; [`Slip::decode`] gives the same slip back.
    pub fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// What `permits` reads; whether it was withdrawn is the caller's knowledge.
    pub fn terms(&self, withdrawn: bool) -> SlipTerms<'_> {
        SlipTerms {
            from: self.from.as_str(),
            to: self.to.as_str(),
            purposes: &self.purposes,
            categories: self.categories,
            expires_at_ms: self.expires_at_ms,
            progress: self.progress,
            withdrawn,
        }
    }
}

/// Issues and verifies signed slips.
#[derive(Clone, Copy, Debug)]
pub struct SignedSlip;

impl SignedSlip {
    /// Signs a slip with the capturing member's key. [`SlipError::Malformed`] if the slip was changed into one that
    /// does not parse, [`SlipError::Library`] when signing fails.
    pub fn issue(slip: &Slip, signer: &SigningKey) -> Result<v1::SignedSlip, SlipError> {
        let bytes = slip.encode();
        Slip::decode(&bytes)?;
        let signature = signer
            .sign(Context::Slip, &[&bytes])
            .map_err(|_| SlipError::Library)?;
        Ok(v1::SignedSlip {
            slip: bytes,
            signature: signature.0.to_vec(),
        })
    }

    /// Parses a signed slip and checks its network and the capturing member's signature over the bytes as sent.
    /// `key_of` gives the key that the member signed with then; says nothing about expiry or withdrawal.
    pub fn verify(
        signed: &v1::SignedSlip,
        network: &NetworkName,
        key_of: impl Fn(&OrgId) -> Option<PublicKey>,
    ) -> Result<Slip, SlipError> {
        let slip = Slip::decode(&signed.slip)?;
        if slip.network != *network {
            return Err(SlipError::OtherNetwork);
        }
        let signature = signed.signature.as_slice().try_into();
        let signature = Signature(signature.map_err(|_| SlipError::Malformed("signature"))?);
        let key = key_of(&slip.from).ok_or(SlipError::UnknownMember)?;
        key.verify(Context::Slip, &[&signed.slip], &signature)
            .map_err(|_| SlipError::BadSignature)?;
        Ok(slip)
    }
}

/// The commitment to one person under one salt: SHA-256 of salt ‖ id. The salt must be fresh, random and kept.
pub fn person_commitment(salt: &[u8; 32], person: &PersonId) -> [u8; 32] {
    sha256(&[salt, person.as_bytes()])
}

/// The secret that stops sharing, derived from the 16-byte seed on the person's receipt.
pub fn stop_secret(seed: &[u8; 16]) -> [u8; 32] {
    sha256(&[STOP_LABEL, seed])
}

/// The secret that stops one slip of a grant, derived from the grant's seed: SHA-256 of label ‖ seed ‖ slip id, so that
/// the slips of one person show no common hash.
pub fn stop_secret_of(seed: &[u8; 16], slip: &SlipId) -> [u8; 32] {
    sha256(&[STOP_LABEL, seed, slip.as_bytes()])
}

/// What a slip carries of a stop secret: its SHA-256.
pub fn stop_hash(secret: &[u8; 32]) -> [u8; 32] {
    sha256(&[secret])
}

/// Reads category numbers; `None` when one is unknown or comes twice.
pub(crate) fn categories(numbers: &[i32]) -> Option<CategorySet> {
    let mut set = CategorySet::EMPTY;
    for number in numbers {
        let category = Category::try_from(*number).ok()?;
        if set.contains(category) {
            return None;
        }
        set.insert(category);
    }
    Some(set)
}

/// Reads purpose numbers into wire order; refuses unknown and repeated ones.
fn purposes(numbers: &[i32]) -> Result<Vec<Purpose>, SlipError> {
    let mut found = Vec::new();
    for number in numbers {
        let purpose = Purpose::try_from(*number).map_err(|_| SlipError::Malformed("purposes"))?;
        if found.contains(&purpose) {
            return Err(SlipError::Malformed("purposes"));
        }
        found.push(purpose);
    }
    found.sort_unstable();
    Ok(found)
}

fn hash(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
