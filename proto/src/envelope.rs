//! Envelopes: head parsed, body sealed, both signed; the one way in and out of the wire form.
//! The sender's node seals, the gateway verifies, the recipient's node verifies and opens; `permits` then judges.
//! Never re-serialise a head that came off the wire, never read a clock, never say in an error what a body held.

use prost::Message as _;

use crate::id::{EnvelopeId, NetworkName, OrgId, PersonId, ThreadId};
use crate::permits::CategorySet;
use crate::problem::Problem;
use crate::seal::{self, ENC_LEN, RANDOMNESS_LEN, SealError, SealingPublicKey};
use crate::sign::{SigningKey, sha256};
use crate::slip::{self, Slip, SlipError};
use crate::v1::{self, body, head};
use crate::words::{Category, EnvelopeKind};

mod hashed;

pub use hashed::{Hashed, Verified, envelope_hash, open, verify};

/// The longest serialised head, in bytes.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// The longest serialised envelope, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 20;
/// Longest life of an envelope, in milliseconds: the 30-day mailbox window of the design, section 5.
pub const ENVELOPE_LIFE_MS_MAX: i64 = 30 * 24 * 60 * 60 * 1000;
/// How long a member publishes one sealing key before the next: 30 days (design, section 5).
pub const SEALING_KEY_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How long after a change of keys an envelope sealed to the previous one is still taken: a day, in which every sender that is
/// attached has long seen the new one.
pub const PREVIOUS_KEY_TAKEN_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a member keeps its previous sealing key after the next one counts: what was taken to it at the last moment may
/// wait a whole life of an envelope. Afterwards the key is destroyed.
pub const PREVIOUS_KEY_KEPT_MS: i64 = PREVIOUS_KEY_TAKEN_MS + ENVELOPE_LIFE_MS_MAX;
/// The head's version.
pub const VERSION: u32 = 1;
/// The head's suite.
pub const SUITE: u32 = 1;
/// The start of the seal's info; the network's name follows.
const INFO: &[u8] = b"kith/v1/envelope";

/// Why an envelope was not sealed, taken or opened, by what the caller can do; carries no part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Head, body or envelope is over its limit: make it smaller.
    #[error("the envelope is too large")]
    TooLarge,
    /// The named part is missing or out of range: repair the program that made it.
    #[error("the envelope's {0} cannot be read")]
    Malformed(&'static str),
    /// The slip in the head does not parse: as [`SlipError`] says.
    #[error(transparent)]
    Slip(#[from] SlipError),
    /// No key is known for the sender: fetch its binding, or refuse.
    #[error("the sender is unknown")]
    UnknownMember,
    /// The sender did not sign this head and seal: refuse it.
    #[error("the envelope's signature does not verify")]
    BadSignature,
    /// Sealed to another key than the one given: try another key that is still held, or ask for re-sealing.
    #[error("the envelope is sealed to another key")]
    StaleKey,
    /// The body does not open, or its padding is wrong: refuse it.
    #[error("the sealed body does not open")]
    Sealed,
    /// The body is of another kind than the head says: refuse it.
    #[error("the body is of another kind than the head")]
    WrongKind,
    /// The body holds categories that the head does not declare: refuse it, or declare them.
    #[error("not declared: {0}")]
    Undeclared(CategorySet),
    /// The body opens no commitment where it must, or another person's: no consent covers it.
    #[error("the slip is not about this person")]
    OtherPerson,
    /// The cryptographic library failed: try again.
    #[error("the cryptographic library failed")]
    Library,
}

impl EnvelopeError {
    /// The problem code that every API answers with.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::TooLarge => Problem::TooLarge,
            Self::Malformed(_) | Self::BadSignature | Self::Sealed | Self::WrongKind => Problem::Invalid,
            Self::Slip(error) => error.problem(),
            Self::UnknownMember => Problem::NotAMember,
            Self::StaleKey => Problem::StaleKey,
            Self::Undeclared(_) => Problem::CategoryNotAllowed,
            Self::OtherPerson => Problem::ConsentMissing,
            Self::Library => Problem::Unavailable,
        }
    }
}

/// What an envelope names as allowing it; not verified here.
#[derive(Clone, Debug, PartialEq)]
pub enum Ground {
    /// Membership alone: questions and answers.
    Membership,
    /// A slip, parsed and of the head's network. Its signature is still to be checked with
    /// [`SignedSlip::verify`](crate::slip::SignedSlip::verify).
    Slip {
        /// The slip as sent.
        signed: v1::SignedSlip,
        /// What it claims.
        claimed: Box<Slip>,
    },
    /// A disclosure note as sent, still to be parsed and verified.
    Note(v1::SignedDisclosureNote),
}

/// A head whose every field was checked; made only by [`Head::parse`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Head {
    /// The idempotency key on every hop.
    pub envelope_id: EnvelopeId,
    /// The network.
    pub network: NetworkName,
    /// The sender.
    pub from: OrgId,
    /// The recipient; never the sender.
    pub to: OrgId,
    /// What the body is.
    pub kind: EnvelopeKind,
    /// The thread it belongs to.
    pub thread_id: ThreadId,
    /// What it names as allowing it; of the sort that its kind needs.
    pub ground: Ground,
    /// Every category that the body holds a part of.
    pub categories: CategorySet,
    /// When it was made, in milliseconds UTC.
    pub created_at_ms: i64,
    /// When it is dropped if not delivered; after `created_at_ms`, by at most [`ENVELOPE_LIFE_MS_MAX`].
    pub expires_at_ms: i64,
    /// [`sealing_key_id`] of the key it is sealed to.
    pub sealing_key_id: [u8; 16],
}

impl Head {
    /// Parses a head as sent: size, version, suite, then every field; the ground must be of the kind's sort.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bad = EnvelopeError::Malformed;
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        let wire = v1::Head::decode(bytes).map_err(|_| bad("head"))?;
        if wire.version != VERSION {
            return Err(bad("version"));
        }
        if wire.suite != SUITE {
            return Err(bad("suite"));
        }
        let life = wire.expires_at_ms.saturating_sub(wire.created_at_ms);
        if wire.created_at_ms < 0 || !(1..=ENVELOPE_LIFE_MS_MAX).contains(&life) {
            return Err(bad("times"));
        }
        let kind = EnvelopeKind::try_from(wire.kind).map_err(|_| bad("kind"))?;
        let network: NetworkName = wire.network.parse().map_err(|_| bad("network"))?;
        let head = Self {
            envelope_id: EnvelopeId::try_from(wire.envelope_id.as_slice()).map_err(|_| bad("id"))?,
            from: wire.from.parse().map_err(|_| bad("sender"))?,
            to: wire.to.parse().map_err(|_| bad("recipient"))?,
            kind,
            thread_id: ThreadId::try_from(wire.thread_id.as_slice()).map_err(|_| bad("thread id"))?,
            ground: ground(kind, wire.ground, &network)?,
            network,
            categories: slip::categories(&wire.categories).ok_or(bad("categories"))?,
            created_at_ms: wire.created_at_ms,
            expires_at_ms: wire.expires_at_ms,
            sealing_key_id: wire
                .sealing_key_id
                .try_into()
                .map_err(|_| bad("sealing key id"))?,
        };
        if head.from == head.to {
            return Err(bad("recipient"));
        }
        Ok(head)
    }

    /// The wire form of this head; only for making a new envelope, never for one that was received.
    pub fn to_wire(&self) -> v1::Head {
        v1::Head {
            version: VERSION,
            suite: SUITE,
            envelope_id: self.envelope_id.as_bytes().to_vec(),
            network: self.network.to_string(),
            from: self.from.to_string(),
            to: self.to.to_string(),
            kind: self.kind.number(),
            thread_id: self.thread_id.as_bytes().to_vec(),
            ground: match &self.ground {
                Ground::Membership => None,
                Ground::Slip { signed, .. } => Some(head::Ground::Slip(signed.clone())),
                Ground::Note(note) => Some(head::Ground::DisclosureNote(note.clone())),
            },
            categories: self.categories.iter().map(Category::number).collect(),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            sealing_key_id: self.sealing_key_id.to_vec(),
        }
    }
}

/// Questions and answers have no ground, disclosures a note, all others a slip of this network.
fn ground(
    kind: EnvelopeKind,
    found: Option<head::Ground>,
    network: &NetworkName,
) -> Result<Ground, EnvelopeError> {
    use EnvelopeKind as Kind;
    match (kind, found) {
        (Kind::Question | Kind::Answer, None) => Ok(Ground::Membership),
        (Kind::Disclosure, Some(head::Ground::DisclosureNote(note))) => Ok(Ground::Note(note)),
        (Kind::Question | Kind::Answer | Kind::Disclosure, _) => Err(EnvelopeError::Malformed("ground")),
        (_, Some(head::Ground::Slip(signed))) => {
            let claimed = Box::new(Slip::decode(&signed.slip)?);
            if claimed.network != *network {
                return Err(SlipError::OtherNetwork.into());
            }
            Ok(Ground::Slip { signed, claimed })
        }
        _ => Err(EnvelopeError::Malformed("ground")),
    }
}

/// The id of a sealing key: the first 16 bytes of its SHA-256.
pub fn sealing_key_id(key: &SealingPublicKey) -> [u8; 16] {
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(sha256(&[key.as_bytes()])) {
        *to = from;
    }
    id
}

/// Makes an envelope: checks head and body as the recipient will, seals, signs. Version, suite and sealing key id
/// of the head are written here. The randomness must be fresh, uniform and secret.
pub fn seal_envelope(
    head: v1::Head,
    body: &v1::Body,
    to: &SealingPublicKey,
    signer: &SigningKey,
    randomness: &[u8; RANDOMNESS_LEN],
) -> Result<Hashed, EnvelopeError> {
    let head = v1::Head {
        version: VERSION,
        suite: SUITE,
        sealing_key_id: sealing_key_id(to).to_vec(),
        ..head
    };
    let head_bytes = head.encode_to_vec();
    let head = Head::parse(&head_bytes)?;
    check_body(&head, body)?;
    let padded = seal::pad(&body.encode_to_vec()).map_err(sealing)?;
    let sealed = seal::seal(to, &info(&head.network), &head_bytes, &padded, randomness).map_err(sealing)?;
    let envelope = v1::Envelope {
        head: head_bytes.into(),
        enc: sealed.enc.into(),
        ciphertext: sealed.ciphertext.into(),
        signature: Vec::new().into(),
    };
    let signed = Hashed::sign(envelope, signer)?;
    check_sizes(signed.envelope())?;
    check_bucket(head.kind, signed.envelope())?;
    Ok(signed)
}

fn info(network: &NetworkName) -> Vec<u8> {
    [INFO, network.as_str().as_bytes()].concat()
}

fn sealing(error: SealError) -> EnvelopeError {
    match error {
        SealError::PublicKey => EnvelopeError::Malformed("sealing key"),
        SealError::TooLarge => EnvelopeError::TooLarge,
        SealError::Open | SealError::Padding => EnvelopeError::Sealed,
        SealError::Library => EnvelopeError::Library,
    }
}

fn check_sizes(envelope: &v1::Envelope) -> Result<(), EnvelopeError> {
    if envelope.head.len() > HEAD_BYTES_MAX || envelope.encoded_len() > ENVELOPE_BYTES_MAX {
        Err(EnvelopeError::TooLarge)
    } else if envelope.enc.len() != ENC_LEN {
        Err(EnvelopeError::Malformed("encapsulated key"))
    } else {
        Ok(())
    }
}

/// Every ciphertext fills a bucket, so that nobody sends by its length what the seal hides; questions and answers the smallest.
fn check_bucket(kind: EnvelopeKind, envelope: &v1::Envelope) -> Result<(), EnvelopeError> {
    let padded = envelope.ciphertext.len().saturating_sub(seal::TAG_LEN);
    let form = matches!(kind, EnvelopeKind::Question | EnvelopeKind::Answer);
    if !seal::BUCKETS.contains(&padded) {
        Err(EnvelopeError::Malformed("ciphertext"))
    } else if form && seal::BUCKETS.first() != Some(&padded) {
        Err(EnvelopeError::TooLarge)
    } else {
        Ok(())
    }
}

/// Holds a body against its head: kind, categories, person.
fn check_body(head: &Head, body: &v1::Body) -> Result<(), EnvelopeError> {
    let inner = body.body.as_ref().ok_or(EnvelopeError::Malformed("body"))?;
    if kind_of(inner) != head.kind {
        return Err(EnvelopeError::WrongKind);
    }
    let undeclared = categories_of(inner)?.missing_from(head.categories);
    if !undeclared.is_empty() {
        return Err(EnvelopeError::Undeclared(undeclared));
    }
    check_person(head, body)
}

const fn kind_of(inner: &body::Body) -> EnvelopeKind {
    match inner {
        body::Body::Question(_) => EnvelopeKind::Question,
        body::Body::Answer(_) => EnvelopeKind::Answer,
        body::Body::Referral(_) => EnvelopeKind::Referral,
        body::Body::Event(_) => EnvelopeKind::Event,
        body::Body::Message(_) => EnvelopeKind::Message,
        body::Body::Blob(_) => EnvelopeKind::Blob,
        body::Body::Withdrawal(_) => EnvelopeKind::Withdrawal,
        body::Body::WithdrawalProof(_) => EnvelopeKind::WithdrawalProof,
        body::Body::AccessReport(_) => EnvelopeKind::AccessReport,
        body::Body::Disclosure(_) => EnvelopeKind::Disclosure,
    }
}

/// The categories that a body holds: those of its parts, and `progress` for an event's words.
fn categories_of(inner: &body::Body) -> Result<CategorySet, EnvelopeError> {
    let parts = match inner {
        body::Body::Referral(referral) => &referral.parts,
        body::Body::Message(message) => &message.parts,
        body::Body::Disclosure(disclosure) => &disclosure.parts,
        body::Body::Event(event) => {
            // What is returned after a restore is codes and times: words hidden in it would flow without consent.
            let returned = event.returned.iter().flat_map(|returned| &returned.events);
            let is_bare = |event: &v1::Event| event.words.is_empty() && event.returned.is_none();
            if !returned.clone().all(is_bare) {
                return Err(EnvelopeError::Malformed("returned"));
            }
            let words = (!event.words.is_empty()).then_some(Category::Progress);
            return Ok(words.into_iter().collect());
        }
        _ => return Ok(CategorySet::EMPTY),
    };
    let numbers: Vec<i32> = parts.iter().map(|part| part.category).collect();
    slip::categories(&numbers).ok_or(EnvelopeError::Malformed("parts"))
}

/// A referral opens its slip's commitment; any other body under a slip may; a body without a slip names no person.
fn check_person(head: &Head, body: &v1::Body) -> Result<(), EnvelopeError> {
    let named = !body.person_salt.is_empty() || !body.person_id.is_empty();
    let claimed = match &head.ground {
        Ground::Slip { claimed, .. } => claimed,
        Ground::Membership | Ground::Note(_) if named => return Err(EnvelopeError::Malformed("person")),
        Ground::Membership | Ground::Note(_) => return Ok(()),
    };
    if !named {
        return if head.kind == EnvelopeKind::Referral {
            Err(EnvelopeError::OtherPerson)
        } else {
            Ok(())
        };
    }
    let bad = EnvelopeError::Malformed("person");
    let salt: [u8; 32] = body.person_salt.as_slice().try_into().map_err(|_| bad)?;
    let person = PersonId::try_from(body.person_id.as_slice()).map_err(|_| bad)?;
    if slip::person_commitment(&salt, &person) == claimed.person_commitment {
        Ok(())
    } else {
        Err(EnvelopeError::OtherPerson)
    }
}

#[cfg(test)]
mod tests;
