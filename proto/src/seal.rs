//! Sealing of envelope bodies: HPKE base mode (RFC 9180) with ML-KEM-768 + X25519 (KEM 0x647a), HKDF-SHA256,
//! ChaCha20-Poly1305, and padding to size buckets. Called by `envelope`; nothing else seals or opens.
//! `hpke-rs` has the key schedule, `xwing` the KEM, `provider` the AEAD; `differential` holds them against `hpke-rs` with
//! libcrux alone. Never draws randomness (the random number generator given to the library refuses every call), never
//! says why an opening failed, never prints a key. Base mode does not say who sealed: the envelope's signature does.

#[cfg(test)]
mod differential;
mod provider;
#[cfg(test)]
mod tests;
mod xwing;

use hpke_rs::hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs::{Context, Hpke, Mode};

use provider::{NoRandomness, Provider};
use xwing::UnfoldedKey;

/// Bytes of randomness that one sealing takes: 32 for ML-KEM, then 32 for the X25519 ephemeral key.
pub const RANDOMNESS_LEN: usize = 64;
/// Bytes of a sealing public key: ML-KEM-768 1184, X25519 32.
pub const PUBLIC_KEY_LEN: usize = 1216;
/// Bytes of an encapsulated key (`enc`): ML-KEM-768 1088, X25519 32.
pub const ENC_LEN: usize = 1120;
/// Bytes that a ciphertext is longer than its plaintext (Poly1305 tag).
pub const TAG_LEN: usize = 16;

/// Sizes in bytes that a padded plaintext may have, ascending: from 2 KiB on two to a doubling, so that padding adds a
/// half at most. 784 KiB takes an attachment chunk of 768 KiB and its fields. The top, 1008 KiB, leaves 16 KiB of a
/// 1 MiB envelope: head 8 KiB, the rest for `enc`, tag, seal line, signature and framing.
#[rustfmt::skip]
pub const BUCKETS: [usize; 21] = [
    512, 1 << 10,
    2 << 10, 3 << 10, 4 << 10, 6 << 10, 8 << 10, 12 << 10, 16 << 10, 24 << 10, 32 << 10, 48 << 10,
    64 << 10, 96 << 10, 128 << 10, 192 << 10, 256 << 10, 384 << 10, 512 << 10, 784 << 10, 1008 << 10,
];
/// Bytes of the big-endian length in front of a padded plaintext.
const PREFIX_LEN: usize = 4;
/// The longest plaintext that [`pad`] takes, in bytes.
pub const MAX_PLAINTEXT_LEN: usize = BUCKETS[BUCKETS.len() - 1] - PREFIX_LEN;

/// The suite's code points.
const KEM: KemAlgorithm = KemAlgorithm::XWingDraft06;
const KDF: KdfAlgorithm = KdfAlgorithm::HkdfSha256;
const AEAD: AeadAlgorithm = AeadAlgorithm::ChaCha20Poly1305;

/// Why a body was not sealed, opened, padded or unpadded; carries no bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The public key has the wrong length or is no ML-KEM-768 ‖ X25519 key.
    #[error("the sealing public key is malformed")]
    PublicKey,
    /// The plaintext is longer than [`MAX_PLAINTEXT_LEN`].
    #[error("the body is too large")]
    TooLarge,
    /// Key, info, associated data, encapsulated key or ciphertext do not belong together.
    #[error("the sealed body does not open")]
    Open,
    /// The padded plaintext has no bucket's length, not the smallest one, or a fill that is not zero.
    #[error("the body's padding is wrong")]
    Padding,
    /// The cryptographic library failed.
    #[error("the sealing library failed")]
    Library,
}

/// The suite: four code points and no state, so making one costs nothing.
fn suite() -> Hpke<Provider> {
    Hpke::new_with_rng(Mode::Base, KEM, KDF, AEAD, NoRandomness)
}

/// The public half of a sealing key: ML-KEM-768 encapsulation key ‖ X25519 public key, 1216 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SealingPublicKey([u8; PUBLIC_KEY_LEN]);

impl SealingPublicKey {
    /// Takes the wire form; [`SealError::PublicKey`] when it has not 1216 bytes. The ML-KEM check of its contents
    /// (FIPS 203, 7.2) is made at every [`seal`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self).map_err(|_| SealError::PublicKey)
    }

    /// The wire form, 1216 bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }
}

impl std::fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = crate::sign::sha256(&[&self.0]);
        write!(
            f,
            "SealingPublicKey(sha256 {})",
            data_encoding::HEXLOWER.encode(&id)
        )
    }
}

/// A private sealing key, unfolded; wiped when it is dropped. What is stored of it is its 32-byte seed.
pub struct SealingKey(UnfoldedKey);

impl SealingKey {
    /// Derives the key pair of a 32-byte seed (RFC 9180 DeriveKeyPair, as draft-ietf-hpke-pq defines it for this KEM);
    /// the seed must be uniformly random and secret. [`SealError::Library`] only when the library fails.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, SealError> {
        UnfoldedKey::derive(&seed).map(Self)
    }

    /// The public half.
    pub fn public(&self) -> &SealingPublicKey {
        self.0.public()
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey(of {:?})", self.public())
    }
}

/// A sealed body as it crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulated key, 1120 bytes.
    pub enc: Vec<u8>,
    /// The ciphertext with its tag: 16 bytes longer than the plaintext.
    pub ciphertext: Vec<u8>,
}

/// Seals a plaintext to a public key (RFC 9180 SealBase, sequence number 0); `info` and `aad` are bound and stay clear.
/// The randomness must be fresh, uniform and secret: used twice for one key it gives the same key and nonce.
/// Pads nothing. [`SealError::TooLarge`] above the top bucket, [`SealError::PublicKey`] when the key is malformed.
pub fn seal(
    to: &SealingPublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    randomness: &[u8; RANDOMNESS_LEN],
) -> Result<Sealed, SealError> {
    if plaintext.len() > BUCKETS[BUCKETS.len() - 1] {
        return Err(SealError::TooLarge);
    }
    let (enc, mut context) = sender(to, info, randomness)?;
    let ciphertext = context.seal(aad, plaintext).map_err(|_| SealError::Library)?;
    Ok(Sealed { enc, ciphertext })
}

/// Opens what [`seal`] made (RFC 9180 OpenBase); unpads nothing. Whatever is wrong, the answer is [`SealError::Open`].
pub fn open(
    key: &SealingKey,
    info: &[u8],
    aad: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let top = BUCKETS[BUCKETS.len() - 1] + TAG_LEN;
    if !(TAG_LEN..=top).contains(&ciphertext.len()) {
        return Err(SealError::Open);
    }
    receiver(key, info, enc)?
        .open(aad, ciphertext)
        .map_err(|_| SealError::Open)
}

/// The sender's side of the key schedule (SetupBaseS), with the encapsulation's randomness given.
fn sender(
    to: &SealingPublicKey,
    info: &[u8],
    randomness: &[u8; RANDOMNESS_LEN],
) -> Result<(Vec<u8>, Context<Provider>), SealError> {
    let (secret, enc) = xwing::encapsulate(to, randomness)?;
    let context = suite()
        .key_schedule(secret.as_slice(), info, &[], &[])
        .map_err(|_| SealError::Library)?;
    Ok((enc, context))
}

/// The recipient's side of the key schedule (SetupBaseR).
fn receiver(key: &SealingKey, info: &[u8], enc: &[u8]) -> Result<Context<Provider>, SealError> {
    let enc = enc.try_into().map_err(|_| SealError::Open)?;
    let secret = key.0.decapsulate(enc)?;
    suite()
        .key_schedule(secret.as_slice(), info, &[], &[])
        .map_err(|_| SealError::Open)
}

/// The smallest bucket that takes a plaintext of this length with its prefix.
fn bucket(length: usize) -> Result<usize, SealError> {
    let needed = length.checked_add(PREFIX_LEN).ok_or(SealError::TooLarge)?;
    BUCKETS
        .into_iter()
        .find(|size| *size >= needed)
        .ok_or(SealError::TooLarge)
}

/// Pads to the smallest bucket: 4-byte big-endian length ‖ plaintext ‖ zeros.
/// [`SealError::TooLarge`] above [`MAX_PLAINTEXT_LEN`].
pub fn pad(plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let size = bucket(plaintext.len())?;
    let length = u32::try_from(plaintext.len()).map_err(|_| SealError::TooLarge)?;
    let mut padded = Vec::with_capacity(size);
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(plaintext);
    padded.resize(size, 0);
    Ok(padded)
}

/// The plaintext inside a padded one. [`SealError::Padding`] unless the bytes are exactly what [`pad`] makes of it,
/// so that a body has one padded form only.
pub fn unpad(padded: &[u8]) -> Result<&[u8], SealError> {
    let (prefix, rest) = padded
        .split_first_chunk::<PREFIX_LEN>()
        .ok_or(SealError::Padding)?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| SealError::Padding)?;
    let (plaintext, fill) = rest.split_at_checked(length).ok_or(SealError::Padding)?;
    let right_size = bucket(length) == Ok(padded.len());
    if !right_size || fill.iter().fold(0, |seen, byte| seen | byte) != 0 {
        return Err(SealError::Padding);
    }
    Ok(plaintext)
}
