//! An envelope on its way in: hashed once, then believed, then opened. Also the last step of making one.
//! Gateway and recipient believe an envelope by the order line that names its hash or, outside the order, by its own signature.
//! Never opens what was not believed, never takes the hash of one envelope for another's: each step owns its envelope.
//!
//! ```text
//! seal line = SHA-256(head) ‖ length of enc and ciphertext ‖ SHA-256(enc ‖ ciphertext)      72 bytes
//! signature = Ed25519 over kith/v1/header ‖ head ‖ seal line                                64 bytes
//! hash      = SHA-256(seal line ‖ length of enc ‖ signature)
//! ```
//! The hash names every byte of the envelope, the large part through the seal line, so that it is read once. Lengths are
//! 8 bytes, big-endian.

use prost::Message as _;

use super::{EnvelopeError, Head, check_body, check_bucket, check_sizes, info, sealing, sealing_key_id};
use crate::id::OrgId;
use crate::seal::{self, SealingKey};
use crate::sign::{Context, PublicKey, Signature, SigningKey, sha256};
use crate::v1;

/// Bytes of a seal line: two hashes and a length.
const SEAL_LINE_LEN: usize = 72;

/// An envelope with its hash; nothing of it is believed yet. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hashed {
    envelope: v1::Envelope,
    seal_line: [u8; SEAL_LINE_LEN],
    hash: [u8; 32],
}

/// An envelope whose sizes and head were checked and whose sender is known to have made it; made only by
/// [`Hashed::verify`] and [`Hashed::vouched_for`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// The parsed head.
    pub head: Head,
    /// [`envelope_hash`] of the whole.
    pub hash: [u8; 32],
    envelope: v1::Envelope,
}

impl Hashed {
    /// Hashes an envelope as it came.
    pub fn new(envelope: v1::Envelope) -> Self {
        let seal_line = seal_line(&envelope);
        Self {
            hash: hash(&seal_line, &envelope),
            seal_line,
            envelope,
        }
    }

    /// Signs an envelope that has no signature yet.
    pub(super) fn sign(mut envelope: v1::Envelope, signer: &SigningKey) -> Result<Self, EnvelopeError> {
        let seal_line = seal_line(&envelope);
        let signature = signer.sign(Context::Header, &[&envelope.head, &seal_line]);
        let signature = signature.map_err(|_| EnvelopeError::Library)?;
        envelope.signature = signature.0.to_vec().into();
        Ok(Self {
            hash: hash(&seal_line, &envelope),
            seal_line,
            envelope,
        })
    }

    /// Its hash, as order lines and receipts name it.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The envelope itself.
    pub const fn envelope(&self) -> &v1::Envelope {
        &self.envelope
    }

    /// The envelope alone.
    pub fn into_envelope(self) -> v1::Envelope {
        self.envelope
    }

    /// Checks sizes, head and the sender's signature, in this order; opens nothing and verifies no slip or note.
    /// `key_of` gives the signing key of a member of this network.
    pub fn verify(&self, key_of: impl Fn(&OrgId) -> Option<PublicKey>) -> Result<Verified, EnvelopeError> {
        let (head, signature) = self.read()?;
        let key = key_of(&head.from).ok_or(EnvelopeError::UnknownMember)?;
        key.verify(
            Context::Header,
            &[&self.envelope.head, &self.seal_line],
            &signature,
        )
        .map_err(|_| EnvelopeError::BadSignature)?;
        Ok(self.believed(head))
    }

    /// Checks sizes and head of an envelope whose [`hash`](Self::hash) stands in an order line of `sender`: by signing the
    /// line, the sender signed every byte of it, so that its own signature need not be checked once more. It is the
    /// caller who has verified the line, with the sender's key; an envelope of another sender is refused.
    pub fn vouched_for(&self, sender: &OrgId) -> Result<Verified, EnvelopeError> {
        let (head, _) = self.read()?;
        if head.from == *sender {
            Ok(self.believed(head))
        } else {
            Err(EnvelopeError::Malformed("sender"))
        }
    }

    fn read(&self) -> Result<(Head, Signature), EnvelopeError> {
        check_sizes(&self.envelope)?;
        let signature = self.envelope.signature.as_ref().try_into();
        let signature = Signature(signature.map_err(|_| EnvelopeError::Malformed("signature"))?);
        let head = Head::parse(&self.envelope.head)?;
        check_bucket(head.kind, &self.envelope)?;
        Ok((head, signature))
    }

    fn believed(&self, head: Head) -> Verified {
        Verified {
            head,
            hash: self.hash,
            envelope: self.envelope.clone(),
        }
    }
}

/// [`Hashed::verify`] of an envelope whose hash nobody needs before.
pub fn verify(
    envelope: &v1::Envelope,
    key_of: impl Fn(&OrgId) -> Option<PublicKey>,
) -> Result<Verified, EnvelopeError> {
    Hashed::new(envelope.clone()).verify(key_of)
}

/// Opens a verified envelope with the recipient's key and holds the body against the head: kind, declared
/// categories, the slip's person. Whether `to` is this node is the caller's to check.
pub fn open(verified: &Verified, key: &SealingKey) -> Result<v1::Body, EnvelopeError> {
    let (head, envelope) = (&verified.head, &verified.envelope);
    if head.sealing_key_id != sealing_key_id(key.public()) {
        return Err(EnvelopeError::StaleKey);
    }
    let info = info(&head.network);
    let padded =
        seal::open(key, &info, &envelope.head, &envelope.enc, &envelope.ciphertext).map_err(sealing)?;
    let plaintext = seal::unpad(&padded).map_err(sealing)?;
    let body = v1::Body::decode(plaintext).map_err(|_| EnvelopeError::Malformed("body"))?;
    check_body(head, &body)?;
    Ok(body)
}

/// What order lines and receipts name an envelope by: SHA-256 over its seal line, the length of its enc and its signature.
pub fn envelope_hash(envelope: &v1::Envelope) -> [u8; 32] {
    hash(&seal_line(envelope), envelope)
}

fn hash(seal_line: &[u8; SEAL_LINE_LEN], envelope: &v1::Envelope) -> [u8; 32] {
    sha256(&[seal_line, &length(envelope.enc.len()), &envelope.signature])
}

/// SHA-256(head) ‖ 8-byte length of enc and ciphertext ‖ SHA-256(enc ‖ ciphertext).
/// Where enc ends is fixed by [`check_sizes`].
pub(super) fn seal_line(envelope: &v1::Envelope) -> [u8; SEAL_LINE_LEN] {
    let (enc, ciphertext) = (&envelope.enc, &envelope.ciphertext);
    let sealed_len = length(enc.len().saturating_add(ciphertext.len()));
    let (head, sealed) = (sha256(&[&envelope.head]), sha256(&[enc, ciphertext]));
    let parts = head.into_iter().chain(sealed_len).chain(sealed);
    let mut line = [0; SEAL_LINE_LEN];
    // cannot leave a byte unset: 32, 8 and 32 bytes.
    for (to, from) in line.iter_mut().zip(parts) {
        *to = from;
    }
    line
}

const fn length(bytes: usize) -> [u8; 8] {
    // widens: no supported target has a usize over 64 bits.
    (bytes as u64).to_be_bytes()
}
