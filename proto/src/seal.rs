//! Sealing of envelope bodies: HPKE base mode (RFC 9180) with ML-KEM-768 + X25519 (KEM 0x647a), HKDF-SHA256,
//! ChaCha20-Poly1305, and padding to size buckets. Called by `envelope`; nothing else seals or opens.
//! Never draws randomness (the random number generator given to the library refuses every call), never says why an
//! opening failed, never prints a key. Base mode does not say who sealed: the envelope's signature does.

use hpke_rs::hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs::libcrux::HpkeLibcrux;
use hpke_rs::{Context, Hpke, HpkePrivateKey, Mode};
use hpke_rs_crypto::{HpkeCrypto, TryCryptoRng, TryRng};

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

/// A random number generator that refuses: proof that no operation here draws randomness by itself.
#[derive(Debug)]
struct NoRandomness;

/// The answer to whoever asks [`NoRandomness`].
#[derive(Debug, thiserror::Error)]
#[error("sealing takes its randomness as an argument")]
struct Refused;

impl TryRng for NoRandomness {
    type Error = Refused;

    fn try_next_u32(&mut self) -> Result<u32, Refused> {
        Err(Refused)
    }

    fn try_next_u64(&mut self) -> Result<u64, Refused> {
        Err(Refused)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Refused> {
        Err(Refused)
    }
}

impl TryCryptoRng for NoRandomness {}

type Crypto = HpkeLibcrux<NoRandomness>;

/// The suite: four code points and no state, so making one costs nothing.
fn suite() -> Hpke<Crypto> {
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

/// A private sealing key; its bytes are wiped when it is dropped. The library expands it at every opening.
pub struct SealingKey {
    private: HpkePrivateKey,
    public: SealingPublicKey,
}

impl SealingKey {
    /// Derives the key pair of a 32-byte seed (RFC 9180 DeriveKeyPair, as draft-ietf-hpke-pq defines it for this KEM);
    /// the seed must be uniformly random and secret. [`SealError::Library`] only when the library fails.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, SealError> {
        let pair = suite().derive_key_pair(&seed).map_err(|_| SealError::Library)?;
        let (private, public) = pair.into_keys();
        let public = SealingPublicKey::from_bytes(public.as_slice()).map_err(|_| SealError::Library)?;
        Ok(Self { private, public })
    }

    /// The public half.
    pub fn public(&self) -> &SealingPublicKey {
        &self.public
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey(of {:?})", self.public)
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
    if enc.len() != ENC_LEN || !(TAG_LEN..=top).contains(&ciphertext.len()) {
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
) -> Result<(Vec<u8>, Context<Crypto>), SealError> {
    // The lengths are right by type, so what the library refuses is the key: a coefficient out of range, or a
    // point of small order.
    let (secret, enc) =
        Crypto::kem_encaps_derand(KEM, &to.0, randomness).map_err(|_| SealError::PublicKey)?;
    let context = suite()
        .key_schedule(&secret, info, &[], &[])
        .map_err(|_| SealError::Library)?;
    Ok((enc, context))
}

/// The recipient's side of the key schedule (SetupBaseR).
fn receiver(key: &SealingKey, info: &[u8], enc: &[u8]) -> Result<Context<Crypto>, SealError> {
    suite()
        .setup_receiver(enc, &key.private, info, None, None, None)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANDOM: [u8; RANDOMNESS_LEN] = [9; RANDOMNESS_LEN];

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32]).unwrap()
    }

    fn sealed(plaintext: &[u8]) -> Sealed {
        seal(key(1).public(), b"info", b"aad", plaintext, &RANDOM).unwrap()
    }

    fn opened(sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        open(&key(1), b"info", b"aad", &sealed.enc, &sealed.ciphertext)
    }

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        data_encoding::HEXLOWER
            .decode(value.as_str().unwrap().as_bytes())
            .unwrap()
    }

    /// The vectors of draft-ietf-hpke-pq's authors: key derivation, encapsulation, key schedule, every encryption.
    #[test]
    fn reference_vectors() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/vectors/hpke/mlkem768-x25519.json"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: the reference vectors are not here");
            return;
        };
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert!(!vectors.is_empty());
        for v in &vectors {
            let key = SealingKey::from_seed(hex(&v["ikmR"]).try_into().unwrap()).unwrap();
            assert!(key.private == HpkePrivateKey::new(hex(&v["skRm"])));
            assert_eq!(key.public().as_bytes().as_slice(), hex(&v["pkRm"]));
            let (info, enc) = (hex(&v["info"]), hex(&v["enc"]));
            let random: [u8; RANDOMNESS_LEN] = hex(&v["ikmE"]).try_into().unwrap();
            let (made, mut out) = sender(key.public(), &info, &random).unwrap();
            assert_eq!(made, enc);
            let mut back = receiver(&key, &info, &enc).unwrap();
            let encryptions = v["encryptions"].as_array().unwrap();
            assert!(!encryptions.is_empty());
            for e in encryptions {
                let (aad, pt, ct) = (hex(&e["aad"]), hex(&e["pt"]), hex(&e["ct"]));
                assert_eq!(out.seal(&aad, &pt).unwrap(), ct);
                assert_eq!(back.open(&aad, &ct).unwrap(), pt);
            }
            for e in v["exports"].as_array().unwrap() {
                let length = usize::try_from(e["L"].as_u64().unwrap()).unwrap();
                let exported = back.export(&hex(&e["exporter_context"]), length).unwrap();
                assert_eq!(exported, hex(&e["exported_value"]));
            }
            let first = &encryptions[0];
            let (aad, pt, ct) = (hex(&first["aad"]), hex(&first["pt"]), hex(&first["ct"]));
            let whole = seal(key.public(), &info, &aad, &pt, &random).unwrap();
            assert_eq!(
                whole,
                Sealed {
                    enc: enc.clone(),
                    ciphertext: ct.clone()
                }
            );
            assert_eq!(open(&key, &info, &aad, &enc, &ct).unwrap(), pt);
        }
    }

    #[test]
    fn the_same_randomness_gives_the_same_bytes_and_other_randomness_others() {
        assert_eq!(sealed(b"body"), sealed(b"body"));
        let mut random = RANDOM;
        for at in [0, 63] {
            random[at] ^= 1;
            let other = seal(key(1).public(), b"info", b"aad", b"body", &random).unwrap();
            assert_ne!(other.enc, sealed(b"body").enc);
            assert_ne!(other.ciphertext, sealed(b"body").ciphertext);
        }
    }

    #[test]
    fn opens_with_the_right_key_info_and_aad_only() {
        let s = sealed(b"body");
        assert_eq!((s.enc.len(), s.ciphertext.len()), (ENC_LEN, 4 + TAG_LEN));
        assert_eq!(opened(&s).unwrap(), b"body");
        for (seed, info, aad) in [
            (2, "info", "aad"),
            (1, "inf", "aad"),
            (1, "info", "aae"),
            (1, "infoa", "ad"),
        ] {
            let result = open(&key(seed), info.as_bytes(), aad.as_bytes(), &s.enc, &s.ciphertext);
            assert_eq!(result, Err(SealError::Open), "{seed} {info} {aad}");
        }
    }

    #[test]
    fn truncated_and_lengthened_bytes_are_refused() {
        let s = sealed(b"body");
        for enc in [&s.enc[..0], &s.enc[..ENC_LEN - 1], &[&s.enc[..], &[0]].concat()] {
            assert_eq!(
                opened(&Sealed {
                    enc: enc.to_vec(),
                    ..s.clone()
                }),
                Err(SealError::Open)
            );
        }
        for length in 0..s.ciphertext.len() {
            let cut = Sealed {
                ciphertext: s.ciphertext[..length].to_vec(),
                ..s.clone()
            };
            assert_eq!(opened(&cut), Err(SealError::Open), "{length}");
        }
        let long = Sealed {
            ciphertext: [&s.ciphertext[..], &[0]].concat(),
            ..s
        };
        assert_eq!(opened(&long), Err(SealError::Open));
    }

    #[test]
    fn flipped_bits_are_refused() {
        let s = sealed(b"body");
        // 101 is prime to 8, so every bit position within a byte is among the samples.
        for bit in (0..s.enc.len() * 8).step_by(101) {
            let mut bad = s.clone();
            bad.enc[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&bad), Err(SealError::Open), "enc bit {bit}");
        }
        for bit in 0..s.ciphertext.len() * 8 {
            let mut bad = s.clone();
            bad.ciphertext[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&bad), Err(SealError::Open), "ciphertext bit {bit}");
        }
    }

    #[test]
    fn malformed_public_keys_and_too_large_bodies_are_refused() {
        for length in [0, PUBLIC_KEY_LEN - 1, PUBLIC_KEY_LEN + 1] {
            assert_eq!(
                SealingPublicKey::from_bytes(&vec![0; length]),
                Err(SealError::PublicKey)
            );
        }
        let mut out_of_range = *key(1).public().as_bytes();
        out_of_range[..3].fill(0xff);
        let mut small_order = *key(1).public().as_bytes();
        small_order[PUBLIC_KEY_LEN - 32..].fill(0);
        for bytes in [out_of_range, small_order] {
            let result = seal(&SealingPublicKey(bytes), b"", b"", b"", &RANDOM);
            assert_eq!(result, Err(SealError::PublicKey));
        }
        let big = vec![0; (1008 << 10) + 1];
        assert_eq!(
            seal(key(1).public(), b"", b"", &big, &RANDOM),
            Err(SealError::TooLarge)
        );
    }

    #[test]
    fn padding_fills_each_bucket_to_its_brim() {
        for (at, size) in BUCKETS.into_iter().enumerate() {
            let padded = pad(&vec![1; size - PREFIX_LEN]).unwrap();
            assert_eq!(
                (padded.len(), unpad(&padded).unwrap().len()),
                (size, size - PREFIX_LEN)
            );
            let over = pad(&vec![1; size - PREFIX_LEN + 1]).map(|p| p.len());
            assert_eq!(over, BUCKETS.get(at + 1).copied().ok_or(SealError::TooLarge));
        }
        assert!(BUCKETS[BUCKETS.len() - 1] + TAG_LEN + ENC_LEN + (8 << 10) + 1024 <= 1 << 20);
    }

    #[test]
    fn wrong_padding_is_refused() {
        let good = pad(b"body").unwrap();
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            bad
        };
        let larger_bucket = [&good[..], &[0; 512]].concat();
        let cases = [
            vec![],
            vec![0; 3],
            vec![0; 4],
            good[..511].to_vec(),
            [&good[..], &[0]].concat(),
            larger_bucket,
            with(0, 0xff),
            with(2, 2),
            with(3, 3),
            with(8, 1),
            with(511, 1),
        ];
        for bad in cases {
            assert_eq!(unpad(&bad), Err(SealError::Padding), "length {}", bad.len());
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let shown = format!("{:?}", key(1));
        assert!(shown.starts_with("SealingKey(of SealingPublicKey(sha256 ") && shown.len() < 120);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pad_then_unpad(plaintext in prop::collection::vec(any::<u8>(), 0..5000)) {
            let padded = pad(&plaintext).unwrap();
            prop_assert!(BUCKETS.contains(&padded.len()));
            prop_assert_eq!(unpad(&padded).unwrap(), &plaintext[..]);
        }

        #[test]
        fn unpad_takes_only_what_pad_makes(length in 0u32..600, at in 4usize..512, byte: u8) {
            let mut padded = vec![0; 512];
            padded[..4].copy_from_slice(&length.to_be_bytes());
            padded[at] = byte;
            if let Ok(plaintext) = unpad(&padded) {
                prop_assert_eq!(pad(plaintext).unwrap(), padded);
            }
        }

        #[test]
        fn seal_then_open(plaintext in prop::collection::vec(any::<u8>(), 0..600), random: [u8; 64]) {
            let s = seal(key(1).public(), b"info", b"aad", &plaintext, &random).unwrap();
            prop_assert_eq!(opened(&s).unwrap(), plaintext);
        }
    }
}
