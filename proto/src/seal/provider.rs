//! What `hpke-rs` calculates with for the one suite of `seal`: HKDF-SHA256 and ChaCha20-Poly1305.
//! Its trait has no place for a key that is held unfolded, so the key encapsulation is called beside it, by `seal`; here
//! it is refused, like everything else that the suite has not. Never draws randomness.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use hpke_rs::hpke_types::{
    AeadAlgorithm, KdfAlgorithm, KemAlgorithm, SingleStageKdfAlgorithm, TwoStageKdfAlgorithm,
};
use hpke_rs_crypto::error::Error;
use hpke_rs_crypto::{HpkeCrypto, TryCryptoRng, TryRng};

use super::{AEAD, KDF, TAG_LEN};

/// The provider: HKDF-SHA256 and ChaCha20-Poly1305 of aws-lc.
#[derive(Debug)]
pub(super) struct Provider;

/// A random number generator that refuses: proof that no operation here draws randomness by itself.
#[derive(Debug)]
pub(super) struct NoRandomness;

/// The answer to whoever asks [`NoRandomness`].
#[derive(Debug, thiserror::Error)]
#[error("sealing takes its randomness as an argument")]
pub(super) struct Refused;

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

/// How many bytes an expansion gives.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl HpkeCrypto for Provider {
    type HpkePrng = NoRandomness;

    fn name() -> String {
        "Kith".into()
    }

    fn supports_kdf(alg: KdfAlgorithm) -> Result<(), Error> {
        if alg == KDF {
            Ok(())
        } else {
            Err(Error::UnknownKdfAlgorithm)
        }
    }

    fn supports_kem(_: KemAlgorithm) -> Result<(), Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn supports_aead(alg: AeadAlgorithm) -> Result<(), Error> {
        if alg == AEAD {
            Ok(())
        } else {
            Err(Error::UnknownAeadAlgorithm)
        }
    }

    fn kdf_extract(alg: TwoStageKdfAlgorithm, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, Error> {
        check_kdf(alg)?;
        // The extraction step is one HMAC (RFC 5869, section 2.2); aws-lc's own does not give its result away.
        let salt = hmac::Key::new(hmac::HMAC_SHA256, salt);
        Ok(hmac::sign(&salt, ikm).as_ref().to_vec())
    }

    fn kdf_expand(
        alg: TwoStageKdfAlgorithm,
        prk: &[u8],
        info: &[u8],
        output_size: usize,
    ) -> Result<Vec<u8>, Error> {
        check_kdf(alg)?;
        let failed = |_| Error::CryptoLibraryError("the key was not derived".into());
        let mut out = vec![0; output_size];
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk);
        let info = [info];
        let expanded = prk.expand(&info, Length(output_size)).map_err(failed)?;
        expanded.fill(&mut out).map_err(failed)?;
        Ok(out)
    }

    fn aead_seal(
        alg: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        msg: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (key, nonce) = key_and_nonce(alg, key, nonce)?;
        let mut bytes = Vec::with_capacity(msg.len() + TAG_LEN);
        bytes.extend_from_slice(msg);
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut bytes)
            .map_err(|_| Error::CryptoLibraryError("the body was not sealed".into()))?;
        Ok(bytes)
    }

    fn aead_open(
        alg: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        msg: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (key, nonce) = key_and_nonce(alg, key, nonce)?;
        let (ciphertext, tag) = msg
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Error::AeadInvalidCiphertext)?;
        let mut plaintext = vec![0; ciphertext.len()];
        key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, &mut plaintext)
            .map_err(|_| Error::AeadOpenError)?;
        Ok(plaintext)
    }

    fn kdf_derive(_: SingleStageKdfAlgorithm, _: &[u8], _: usize) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKdfAlgorithm)
    }

    fn dh(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn secret_to_public(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn dh_validate_sk(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_key_gen(_: KemAlgorithm, _: &mut NoRandomness) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_key_gen_derand(_: KemAlgorithm, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_encaps(_: KemAlgorithm, _: &[u8], _: &mut NoRandomness) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_encaps_derand(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_decaps(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }
}

fn check_kdf(alg: TwoStageKdfAlgorithm) -> Result<(), Error> {
    if alg == TwoStageKdfAlgorithm::HkdfSha256 {
        Ok(())
    } else {
        Err(Error::UnknownKdfAlgorithm)
    }
}

/// The key and nonce of one message. `hpke-rs` gives a fresh pair to each (RFC 9180, section 5.2).
fn key_and_nonce(alg: AeadAlgorithm, key: &[u8], nonce: &[u8]) -> Result<(LessSafeKey, Nonce), Error> {
    if alg != AEAD {
        return Err(Error::UnknownAeadAlgorithm);
    }
    let key = UnboundKey::new(&CHACHA20_POLY1305, key)
        .map_err(|_| Error::CryptoLibraryError("the key has the wrong length".into()))?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::AeadInvalidNonce)?;
    Ok((LessSafeKey::new(key), nonce))
}
