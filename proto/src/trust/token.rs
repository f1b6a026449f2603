//! The invite token as text: what `invite` prints and `join` takes.
//! Text: `kith1.` and base64url without padding of length (4 bytes, big-endian) ‖ message ‖ first 8 bytes of its SHA-256.
//! Never print the seed in `Debug`; never take the check bytes for trust: they find typing errors only.

use super::{Invite, Registrar, RootKey, TrustError, must_be_valid, read_registrar, verify_invite};
use crate::problem::Problem;
use crate::sign::{PublicKey, SigningKey, sha256};
use crate::v1;
use data_encoding::BASE64URL_NOPAD;
use prost::Message;

/// What every token starts with.
pub const TOKEN_PREFIX: &str = "kith1.";
/// Longest token, in bytes of text: three statements of some 500 bytes, an issuer of 1 KiB, a policy of up to 5 KiB.
pub const TOKEN_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Longest gateway address, in bytes.
const GATEWAY_BYTES_MAX: usize = 255;
const LENGTH_LEN: usize = 4;
const CHECK_LEN: usize = 8;

/// Why a token was not taken, by what the person who pasted it can do; carries no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else was pasted: find the token.
    #[error("this is not a Kith invite; an invite starts with kith1.")]
    Foreign,
    /// The end is missing: copy the whole line.
    #[error("the end of the invite is missing; copy the whole of it")]
    Cut,
    /// A character changed or was added: copy it again.
    #[error("the invite was altered; copy it again from where it was printed")]
    Altered,
    /// Longer than any token: copy the token alone.
    #[error("the text is too long for an invite")]
    TooLarge,
    /// Whole, but its contents are not an invite: ask for a new one.
    #[error("the invite cannot be read; ask for a new one")]
    Malformed,
}

impl TokenError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::TooLarge => Problem::TooLarge,
            Self::Foreign | Self::Cut | Self::Altered | Self::Malformed => Problem::Invalid,
        }
    }
}

/// A decoded token: readable, and its root key is the fingerprint's; nothing else is verified yet.
#[derive(Clone, PartialEq)]
pub struct InviteToken {
    /// The gateway's address.
    pub gateway: String,
    /// The root's public key; the token's reader pins it.
    pub root: PublicKey,
    /// The one-use seed that signs the first binding; secret.
    pub seed: [u8; 32],
    /// The registrar, signed by the root.
    pub registrar: v1::Signed,
    /// The invite, signed by the registrar.
    pub invite: v1::Signed,
    /// The gateway's TLS issuing certificate, signed by the root.
    pub issuer: v1::Signed,
    /// The witness policy, signed by the root.
    pub policy: v1::Signed,
}

impl std::fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InviteToken({}, {:?}, ..)", self.gateway, self.root)
    }
}

impl InviteToken {
    /// Writes the token as text; [`TokenError::TooLarge`] when it would be longer than a token may be.
    pub fn encode(&self) -> Result<String, TokenError> {
        let message = v1::InviteToken {
            gateway: gateway(self.gateway.clone())?,
            root_fingerprint: sha256(&[&self.root.0]).to_vec(),
            seed: self.seed.to_vec(),
            registrar: Some(self.registrar.clone()),
            invite: Some(self.invite.clone()),
            root_public_key: self.root.0.to_vec(),
            issuer: Some(self.issuer.clone()),
            policy: Some(self.policy.clone()),
        }
        .encode_to_vec();
        let length = u32::try_from(message.len()).map_err(|_| TokenError::TooLarge)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&message);
        bytes.extend(sha256(&[&message]).into_iter().take(CHECK_LEN));
        let text = format!("{TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(TokenError::TooLarge);
        }
        Ok(text)
    }

    /// Reads a token from text; white space around it is left out.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(body) = text.strip_prefix(TOKEN_PREFIX) else {
            let cut = !text.is_empty() && TOKEN_PREFIX.starts_with(text);
            return Err(if cut { TokenError::Cut } else { TokenError::Foreign });
        };
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(TokenError::TooLarge);
        }
        Self::from_message(
            v1::InviteToken::decode(checked(body)?.as_slice()).map_err(|_| TokenError::Malformed)?,
        )
    }

    /// Verifies registrar and invite from the token's own root, and that the seed is the invite's.
    pub fn verify(&self, now_ms: i64) -> Result<(Registrar, Invite), TrustError> {
        let registrar = read_registrar(&self.registrar, &self.root, None)?;
        must_be_valid(&registrar, now_ms)?;
        let invite = verify_invite(&self.invite, &registrar, now_ms)?;
        if SigningKey::from_seed(self.seed)?.public() != invite.seed_public_key {
            return Err(TrustError::Forged);
        }
        Ok((registrar, invite))
    }

    fn from_message(message: v1::InviteToken) -> Result<Self, TokenError> {
        let key = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| TokenError::Malformed);
        let root = PublicKey(key(&message.root_public_key)?);
        RootKey::Fingerprint(key(&message.root_fingerprint)?)
            .accept(&root)
            .map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            gateway: gateway(message.gateway)?,
            root,
            seed: key(&message.seed)?,
            registrar: message.registrar.ok_or(TokenError::Malformed)?,
            invite: message.invite.ok_or(TokenError::Malformed)?,
            issuer: message.issuer.ok_or(TokenError::Malformed)?,
            policy: message.policy.ok_or(TokenError::Malformed)?,
        })
    }
}

/// Returns the message of a token's body, told apart from a cut and from an altered one by length and check bytes.
fn checked(body: &str) -> Result<Vec<u8>, TokenError> {
    let text = body.as_bytes();
    let (whole, _) = text.split_at(text.len() - text.len() % 4);
    let start = BASE64URL_NOPAD.decode(whole).map_err(|_| TokenError::Altered)?;
    let length = start.first_chunk::<LENGTH_LEN>().ok_or(TokenError::Cut)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| TokenError::Altered)?;
    if length > TOKEN_TEXT_BYTES_MAX {
        return Err(TokenError::Altered);
    }
    let expected = BASE64URL_NOPAD.encode_len(LENGTH_LEN + length + CHECK_LEN);
    if text.len() < expected {
        return Err(TokenError::Cut);
    }
    let bytes = BASE64URL_NOPAD.decode(text).map_err(|_| TokenError::Altered)?;
    let message = bytes
        .get(LENGTH_LEN..LENGTH_LEN + length)
        .ok_or(TokenError::Altered)?;
    let check = bytes.get(LENGTH_LEN + length..).ok_or(TokenError::Altered)?;
    if sha256(&[message]).get(..CHECK_LEN) != Some(check) {
        return Err(TokenError::Altered);
    }
    Ok(message.to_vec())
}

fn gateway(address: String) -> Result<String, TokenError> {
    let plain = !address.is_empty() && address.bytes().all(|b| b.is_ascii_graphic());
    if plain && address.len() <= GATEWAY_BYTES_MAX {
        Ok(address)
    } else {
        Err(TokenError::Malformed)
    }
}
