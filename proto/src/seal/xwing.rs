//! X-Wing, the key encapsulation of the suite (draft-connolly-cfrg-xwing-kem-06, section 5): ML-KEM-768 by
//! `libcrux-ml-kem`, X25519 by `aws-lc-rs`, SHA-3 by `libcrux-sha3`; only what joins them is written here. Called by
//! `seal`. Never draws randomness, never keeps a seed: a private key is unfolded once, when it is loaded.
//!
//! ```text
//! seed   = SHAKE256(ikm ‖ "HPKE-v1" ‖ "KEM" ‖ 0x647a ‖ 13 ‖ "DeriveKeyPair" ‖ 32), 32 bytes       draft-ietf-hpke-pq
//! ML-KEM seed ‖ X25519 private = SHAKE256(seed), 64 ‖ 32 bytes                                       section 5.2
//! public = ML-KEM public ‖ X25519 public, 1184 ‖ 32 bytes                                                    5.2
//! enc    = ML-KEM ciphertext ‖ X25519 ephemeral public, 1088 ‖ 32 bytes                                      5.4
//! shared = SHA3-256(ML-KEM shared ‖ X25519 shared ‖ X25519 ephemeral public ‖ X25519 public ‖ label)         5.3
//! ```

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey};
use zeroize::{Zeroize as _, Zeroizing};

use super::{ENC_LEN, PUBLIC_KEY_LEN, RANDOMNESS_LEN, SealError, SealingPublicKey};

/// Bytes of a seed, of an X25519 key and of each shared secret.
const KEY_LEN: usize = 32;
/// Bytes of the ML-KEM part of a public key.
const ML_KEM_PUBLIC_LEN: usize = PUBLIC_KEY_LEN - KEY_LEN;
/// Bytes of the ML-KEM part of an encapsulated key.
const ML_KEM_CIPHERTEXT_LEN: usize = ENC_LEN - KEY_LEN;
/// Bytes of the seed of an ML-KEM key pair.
const ML_KEM_SEED_LEN: usize = 64;
/// What follows the input in the hash that makes a seed: version, KEM, length and name of the label, length of the seed.
const DERIVE: &[u8] = b"HPKE-v1KEM\x64\x7a\x00\x0dDeriveKeyPair\x00\x20";
/// The draft's label, a picture in two lines.
const LABEL: &[u8; 6] = br"\.//^\";

/// A secret, wiped when it is dropped.
pub(super) type Secret = Zeroizing<[u8; KEY_LEN]>;

/// An unfolded private key. When it is dropped the ML-KEM key is wiped here and the X25519 key by its library; copies that
/// the libraries leave on the stack are out of reach.
pub(super) struct UnfoldedKey {
    ml_kem: Box<MlKem768PrivateKey>,
    x25519: PrivateKey,
    public: SealingPublicKey,
}

impl Drop for UnfoldedKey {
    fn drop(&mut self) {
        self.ml_kem[0..MlKem768PrivateKey::len()].zeroize();
    }
}

impl UnfoldedKey {
    /// The key pair of RFC 9180's DeriveKeyPair, as draft-ietf-hpke-pq defines it for this KEM.
    /// [`SealError::Library`] only when a library fails.
    pub(super) fn derive(ikm: &[u8; KEY_LEN]) -> Result<Self, SealError> {
        let mut seed = Secret::default();
        let input = Zeroizing::new([ikm, DERIVE].concat());
        libcrux_sha3::shake256_ema(seed.as_mut_slice(), &input);
        Self::unfold(&seed)
    }

    /// The key pair of an X-Wing seed (section 5.2, expandDecapsulationKey).
    pub(super) fn unfold(seed: &[u8; KEY_LEN]) -> Result<Self, SealError> {
        let mut expanded = Zeroizing::new([0; ML_KEM_SEED_LEN + KEY_LEN]);
        libcrux_sha3::shake256_ema(expanded.as_mut_slice(), seed);
        let (ml_kem_seed, x25519) = expanded.split_first_chunk().ok_or(SealError::Library)?;
        let (ml_kem, ml_kem_public) = mlkem768::generate_key_pair(*ml_kem_seed).into_parts();
        let ml_kem = Box::new(ml_kem);
        let (x25519, x25519_public) = x25519_pair(x25519)?;
        let public = [ml_kem_public.as_ref(), x25519_public.as_ref()].concat();
        let public = SealingPublicKey::from_bytes(&public).map_err(|_| SealError::Library)?;
        Ok(Self {
            ml_kem,
            x25519,
            public,
        })
    }

    /// The public half.
    pub(super) fn public(&self) -> &SealingPublicKey {
        &self.public
    }

    /// The shared secret of an encapsulated key (section 5.5). An altered one gives another secret (FIPS 203, section 6.3)
    /// or, with a point of small order, [`SealError::Open`].
    pub(super) fn decapsulate(&self, enc: &[u8; ENC_LEN]) -> Result<Secret, SealError> {
        let (ciphertext, ephemeral) = enc
            .split_first_chunk::<ML_KEM_CIPHERTEXT_LEN>()
            .ok_or(SealError::Open)?;
        let ciphertext = MlKem768Ciphertext::from(ciphertext);
        let of_ml_kem = Zeroizing::new(mlkem768::decapsulate(&self.ml_kem, &ciphertext));
        let of_x25519 = agree(&self.x25519, ephemeral).ok_or(SealError::Open)?;
        let public = &self.public.0[ML_KEM_PUBLIC_LEN..];
        Ok(combine(&of_ml_kem, &of_x25519, ephemeral, public))
    }
}

/// Makes a shared secret and its encapsulated key (section 5.4, EncapsulateDerand): 32 bytes of the randomness are for
/// ML-KEM, 32 are the X25519 ephemeral key. [`SealError::PublicKey`] when a coefficient of the ML-KEM key is out of range
/// (FIPS 203, section 7.2) or the X25519 key is a point of small order.
pub(super) fn encapsulate(
    to: &SealingPublicKey,
    randomness: &[u8; RANDOMNESS_LEN],
) -> Result<(Secret, Vec<u8>), SealError> {
    let (to_ml_kem, to_x25519) =
        to.0.split_first_chunk::<ML_KEM_PUBLIC_LEN>()
            .ok_or(SealError::PublicKey)?;
    let to_ml_kem = MlKem768PublicKey::from(to_ml_kem);
    if !mlkem768::validate_public_key(&to_ml_kem) {
        return Err(SealError::PublicKey);
    }
    let (for_ml_kem, for_x25519) = randomness.split_first_chunk().ok_or(SealError::Library)?;
    let (ciphertext, of_ml_kem) = mlkem768::encapsulate(&to_ml_kem, *for_ml_kem);
    let of_ml_kem = Zeroizing::new(of_ml_kem);
    let (ephemeral, ephemeral_public) = x25519_pair(for_x25519)?;
    let of_x25519 = agree(&ephemeral, to_x25519).ok_or(SealError::PublicKey)?;
    let secret = combine(&of_ml_kem, &of_x25519, ephemeral_public.as_ref(), to_x25519);
    Ok((secret, [ciphertext.as_ref(), ephemeral_public.as_ref()].concat()))
}

/// The X25519 key pair of 32 bytes, which RFC 7748 (section 5) makes a scalar whatever they are.
fn x25519_pair(private: &[u8]) -> Result<(PrivateKey, agreement::PublicKey), SealError> {
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| SealError::Library)?;
    let public = key.compute_public_key().map_err(|_| SealError::Library)?;
    Ok((key, public))
}

/// X25519's shared secret. `None` when it is all zero, as a point of small order makes it: the draft would take it, both
/// libraries refuse it (RFC 7748, section 6.1).
fn agree(key: &PrivateKey, with: &[u8]) -> Option<Secret> {
    let with = UnparsedPublicKey::new(&X25519, with);
    agreement::agree(key, with, (), |secret| {
        secret.try_into().map(Secret::new).map_err(|_| ())
    })
    .ok()
}

/// The combiner (section 5.3).
fn combine(of_ml_kem: &Secret, of_x25519: &Secret, ephemeral: &[u8], public: &[u8]) -> Secret {
    let input = [&of_ml_kem[..], &of_x25519[..], ephemeral, public, LABEL];
    let input = Zeroizing::new(input.concat());
    let mut shared = Secret::default();
    libcrux_sha3::sha256_ema(shared.as_mut_slice(), &input);
    shared
}
