//! One symmetric key and what it seals: ChaCha20-Poly1305 with a random nonce in front.
//! Called by the other parts of `content` alone.
//! Never seals without saying where the result will lie: the place is bound as associated data.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use kith_service::rng::Rng;

use super::ContentError;

/// Bytes of a wrapped 32-byte key: nonce, key, tag.
pub(super) const WRAPPED_LEN: usize = NONCE_LEN + 32 + 16;

/// Where a sealed value lies; it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The row's id.
    pub row: [u8; 16],
    /// The column.
    pub column: &'static str,
}

impl Place {
    /// table ‖ 0 ‖ row ‖ column: no table has a zero byte and rows have one length, so no two places are alike.
    fn bytes(&self) -> Vec<u8> {
        [self.table.as_bytes(), &[0], &self.row, self.column.as_bytes()].concat()
    }
}

/// A key, held for the time of one call.
pub(super) struct DataKey {
    key: LessSafeKey,
    seed: [u8; 32],
}

impl DataKey {
    pub(super) fn new(seed: [u8; 32]) -> Result<Self, ContentError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &seed).map_err(|_| ContentError::Library)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            seed,
        })
    }

    /// The bytes to wrap under another key.
    pub(super) const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Seals: nonce ‖ ciphertext ‖ tag. A key seals far fewer than 2^32 values, so random nonces do not meet.
    pub(super) fn seal(&self, rng: &Rng, place: &Place, text: &[u8]) -> Result<Vec<u8>, ContentError> {
        let nonce = rng.bytes::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + text.len() + 16);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (_, body) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(place.bytes()), body);
        sealed.extend_from_slice(tag.map_err(|_| ContentError::Library)?.as_ref());
        Ok(sealed)
    }

    /// Opens what [`DataKey::seal`] made for this place; [`ContentError::Foreign`] for anything else.
    pub(super) fn open(&self, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, ContentError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(ContentError::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| ContentError::Foreign)?;
        let mut text = body.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(place.bytes()), &mut text);
        let length = opened.map_err(|_| ContentError::Foreign)?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}
