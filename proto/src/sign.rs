//! Ed25519 signatures (RFC 8032) with domain separation, and SHA-256.
//! Called wherever the protocol signs or checks: envelope headers, slips, receipts, order lines, key bindings, invites,
//! the registrar's and the root's statements. Signed bytes are context ‖ 0x00 ‖ message.
//! Never sign without a [`Context`] but what a log signs as its format says, never make a key from anything but a seed that was passed in, never print a seed.
//!
//! The parts of a message are joined without lengths: each context's message layout must be unambiguous by itself
//! (fixed-width fields, or one variable field whose length is covered). No context holds a zero byte, so the
//! separator makes signatures of two contexts disjoint.
//!
//! One door has no context: `PlainText`, for the signed notes of [`crate::log`], whose format leaves no room for one.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::HEXLOWER;

/// What a signature is about; a signature made for one context verifies in no other. The list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// An envelope's head and seal line, by the sending member.
    Header,
    /// A slip, by the member that captured the consent.
    Slip,
    /// A receipt over envelope hashes, by the gateway or the recipient's node.
    Receipt,
    /// A batch of order lines of one pair of members, by the sending member.
    Order,
    /// A member's key binding, by its previous signing key (the first one by the invite's key).
    Binding,
    /// An invite's public half with organisation, kind and expiry, by the registrar.
    Invite,
    /// The registrar's key and its year, by the root.
    Registrar,
    /// A disclosure note (safeguarding), by the sending member.
    Disclosure,
    /// A proof of what a withdrawal did, by the member it reached.
    Proof,
    /// The network's witness and enforcement policy, by the root.
    Policy,
    /// The change to a new thread epoch, by the node that writes it.
    Epoch,
    /// A directory entry for a service, by the member that offers it.
    Service,
    /// A member's suspension or its end, by the registrar.
    Suspension,
    /// A tombstone for a refused, dropped or expired envelope, by the gateway.
    Dropped,
    /// A request for a new client certificate, by the member's signing key.
    Renewal,
    /// A notice that a slip is stopped, by the member that says so.
    Withdrawal,
    /// The gateway's TLS issuing certificate, by the root.
    Issuer,
    /// An exported trail up to its last line, by the log's keeper.
    Export,
    /// A later epoch of the gateway's log, by the root.
    LogEpoch,
}

impl Context {
    /// Every context, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Header,
        Self::Slip,
        Self::Receipt,
        Self::Order,
        Self::Binding,
        Self::Invite,
        Self::Registrar,
        Self::Disclosure,
        Self::Proof,
        Self::Policy,
        Self::Epoch,
        Self::Service,
        Self::Suspension,
        Self::Dropped,
        Self::Renewal,
        Self::Withdrawal,
        Self::Issuer,
        Self::Export,
        Self::LogEpoch,
    ];

    /// The ASCII text that is signed in front of the message: `kith/v1/` and one word, no zero byte.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "kith/v1/header",
            Self::Slip => "kith/v1/slip",
            Self::Receipt => "kith/v1/receipt",
            Self::Order => "kith/v1/order",
            Self::Binding => "kith/v1/binding",
            Self::Invite => "kith/v1/invite",
            Self::Registrar => "kith/v1/registrar",
            Self::Disclosure => "kith/v1/disclosure",
            Self::Proof => "kith/v1/proof",
            Self::Policy => "kith/v1/policy",
            Self::Epoch => "kith/v1/epoch",
            Self::Service => "kith/v1/service",
            Self::Suspension => "kith/v1/suspension",
            Self::Dropped => "kith/v1/dropped",
            Self::Renewal => "kith/v1/renewal",
            Self::Withdrawal => "kith/v1/withdrawal",
            Self::Issuer => "kith/v1/issuer",
            Self::Export => "kith/v1/export",
            Self::LogEpoch => "kith/v1/log_epoch",
        }
    }

    /// Joins context ‖ 0x00 ‖ parts.
    fn message(self, parts: &[&[u8]]) -> Vec<u8> {
        let context = self.as_str().as_bytes();
        let length = context.len() + 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut message = Vec::with_capacity(length);
        message.extend_from_slice(context);
        message.push(0);
        for part in parts {
            message.extend_from_slice(part);
        }
        message
    }
}

/// A text that is signed as it is, without a context: a note, or what a witness signs of one (C2SP signed-note, tlog-cosignature).
/// It holds no zero byte, and every message of a [`Context`] holds one, right after the context; so no text is the message of
/// any context, and a signature over the one never verifies as the other, whatever keys are shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainText<'a>(&'a str);

impl<'a> PlainText<'a> {
    /// Takes a text up; none when it holds a zero byte.
    pub(crate) fn new(text: &'a str) -> Option<Self> {
        (!text.bytes().any(|b| b == 0)).then_some(Self(text))
    }
}

/// The signature is not this key's over this context and message; says no more, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// The cryptographic library refused to load a key or to sign (out of memory, or a broken build).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing library failed")]
pub struct SigningFailed;

/// An Ed25519 signature: 64 bytes, R ‖ S (RFC 8032, 5.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 public key: 32 bytes (RFC 8032, 5.1.5). Any 32 bytes can be held; a bad point, also one of small order,
/// verifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Checks a signature over context ‖ 0x00 ‖ parts; [`BadSignature`] when it is not this key's.
    pub fn verify(
        &self,
        context: Context,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        verify_raw(self, &context.message(parts), signature)
    }

    /// Checks a signature over a text without context; [`BadSignature`] when it is not this key's.
    pub(crate) fn verify_text(&self, text: PlainText<'_>, signature: &Signature) -> Result<(), BadSignature> {
        verify_raw(self, text.0.as_bytes(), signature)
    }

    /// The key's fingerprint: SHA-256 of its 32 bytes, as 64 lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&sha256(&[&self.0]))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", HEXLOWER.encode(&self.0))
    }
}

/// An Ed25519 private key, loaded once and used for many signatures; its bytes are wiped when it is dropped.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Loads the key of a 32-byte seed (RFC 8032, 5.1.5); the seed must be uniformly random and secret.
    /// [`SigningFailed`] only when the library fails.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, SigningFailed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SigningFailed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SigningFailed)?;
        Ok(Self {
            pair,
            public: PublicKey(public),
        })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs context ‖ 0x00 ‖ parts, deterministically (RFC 8032 uses no randomness).
    /// [`SigningFailed`] only when the library fails.
    pub fn sign(&self, context: Context, parts: &[&[u8]]) -> Result<Signature, SigningFailed> {
        sign_raw(self, &context.message(parts))
    }

    /// Signs a text without context. Only for a text that this program made and whose format says by itself what it is, never
    /// for one that somebody else chose: there is no context to keep it apart from other texts.
    pub(crate) fn sign_text(&self, text: PlainText<'_>) -> Result<Signature, SigningFailed> {
        sign_raw(self, text.0.as_bytes())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey(of {:?})", self.public)
    }
}

/// Signs bytes as they are; only for the two ways of [`SigningKey`] and the RFC's test vectors.
fn sign_raw(key: &SigningKey, message: &[u8]) -> Result<Signature, SigningFailed> {
    let signature = key.pair.try_sign(message).map_err(|_| SigningFailed)?;
    signature
        .as_ref()
        .try_into()
        .map(Signature)
        .map_err(|_| SigningFailed)
}

/// The encodings of the eight points of small order, the sign left out, and the two others that stand for such a point: a key
/// among them would verify one signature over every message and in every context, and anybody could make it.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn ends(first: u8, fill: u8, last: u8) -> [u8; 32] {
        let mut bytes = [fill; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    let eighth = *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
        \xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";
    let other_eighth = *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\
        \x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a";
    [
        ends(0, 0, 0),
        ends(1, 0, 0),
        eighth,
        other_eighth,
        ends(0xec, 0xff, 0x7f),
        ends(0xed, 0xff, 0x7f),
        ends(0xee, 0xff, 0x7f),
    ]
};

fn is_small_order(key: &PublicKey) -> bool {
    let mut bytes = key.0;
    bytes[31] &= 0x7f;
    SMALL_ORDER.contains(&bytes)
}

/// Verifies bytes as they are; only for the two ways of [`PublicKey`] and the RFC's test vectors.
fn verify_raw(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    if is_small_order(key) {
        return Err(BadSignature);
    }
    UnparsedPublicKey::new(&ED25519, &key.0)
        .verify(message, &signature.0)
        .map_err(|_| BadSignature)
}

/// SHA-256 (FIPS 180-4) of the parts joined without separators: 32 bytes.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        hash.update(part);
    }
    let mut out = [0; 32];
    // cannot fail: a SHA-256 digest has 32 bytes, as many as `out`.
    for (to, from) in out.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER as HEX;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEX.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32]).unwrap()
    }

    /// RFC 8032, 7.1: TEST 1 to 3 as (seed, public key, message, signature).
    const RFC8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn rfc_8032_vectors() {
        for [seed, public, message, signature] in RFC8032 {
            let key = SigningKey::from_seed(bytes(seed)).unwrap();
            let message = HEX.decode(message.as_bytes()).unwrap();
            assert_eq!(key.public(), PublicKey(bytes(public)));
            assert_eq!(sign_raw(&key, &message).unwrap(), Signature(bytes(signature)));
            assert_eq!(
                verify_raw(&key.public(), &message, &Signature(bytes(signature))),
                Ok(())
            );
        }
    }

    #[test]
    fn contexts_are_distinct_and_hold_no_zero_byte() {
        let mut texts: Vec<_> = Context::ALL.iter().map(|c| c.as_str()).collect();
        assert!(
            texts
                .iter()
                .all(|t| t.starts_with("kith/v1/") && t.bytes().all(|b| b.is_ascii_graphic()))
        );
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 19);
    }

    #[test]
    fn a_signature_verifies_in_its_own_context_only() {
        let key = key();
        for made in Context::ALL {
            let signature = key.sign(*made, &[b"head", b"seal line"]).unwrap();
            for tried in Context::ALL {
                let result = key.public().verify(*tried, &[b"head", b"seal line"], &signature);
                assert_eq!(result.is_ok(), made == tried, "{made:?} as {tried:?}");
            }
        }
    }

    #[test]
    fn the_signed_bytes_are_context_zero_message() {
        let signature = key().sign(Context::Slip, &[b"ab", b"", b"c"]).unwrap();
        assert_eq!(
            verify_raw(&key().public(), b"kith/v1/slip\0abc", &signature),
            Ok(())
        );
        assert_eq!(key().sign(Context::Slip, &[b"abc"]).unwrap(), signature);
    }

    #[test]
    fn a_text_is_the_message_of_no_context() {
        let key = key();
        for context in Context::ALL {
            let message = [context.as_str().as_bytes(), b"\0", b"a text\n"].concat();
            assert!(PlainText::new(std::str::from_utf8(&message).unwrap()).is_none());
            for text in [
                "a text\n",
                context.as_str(),
                &format!("{}\na text\n", context.as_str()),
            ] {
                let plain = PlainText::new(text).unwrap();
                let signature = key.sign_text(plain).unwrap();
                assert_eq!(key.public().verify_text(plain, &signature), Ok(()));
                for parts in [vec![], vec![text.as_bytes()], vec![b"a text\n".as_slice()]] {
                    let verified = key.public().verify(*context, &parts, &signature);
                    assert_eq!(verified, Err(BadSignature));
                    let signature = key.sign(*context, &parts).unwrap();
                    assert_eq!(key.public().verify_text(plain, &signature), Err(BadSignature));
                }
            }
        }
    }

    /// R a point of small order, S zero: such a key would verify it over anything.
    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        let signature = |r: &[u8; 32]| {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(r);
            Signature(bytes)
        };
        let signs = |point: [u8; 32]| {
            let mut other = point;
            other[31] |= 0x80;
            [point, other]
        };
        let points: Vec<[u8; 32]> = SMALL_ORDER.into_iter().flat_map(signs).collect();
        let believed = points.iter().filter(|key| {
            points.iter().any(|r| {
                let one = |n: u8| {
                    UnparsedPublicKey::new(&ED25519, key)
                        .verify(&[n], &signature(r).0)
                        .is_ok()
                };
                (0..64).any(one)
            })
        });
        assert!(
            believed.count() >= 8,
            "each of the eight is one that the library alone would believe"
        );
        for key in points.iter().copied().map(PublicKey) {
            for context in Context::ALL {
                let verified = points
                    .iter()
                    .any(|r| key.verify(*context, &[b"m"], &signature(r)).is_ok());
                assert!(!verified, "{key:?}");
            }
        }
        assert!(!is_small_order(&self::key().public()));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (key, message) = (key(), *b"a short message");
        let signature = key.sign(Context::Header, &[&message]).unwrap();
        for bit in 0..64 * 8 {
            let mut bad = signature;
            bad.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                key.public().verify(Context::Header, &[&message], &bad),
                Err(BadSignature),
                "bit {bit}"
            );
        }
        for bit in 0..message.len() * 8 {
            let mut bad = message;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                key.public().verify(Context::Header, &[&bad], &signature),
                Err(BadSignature)
            );
        }
        for bit in 0..32 * 8 {
            let mut bad = key.public();
            bad.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                bad.verify(Context::Header, &[&message], &signature),
                Err(BadSignature)
            );
        }
    }

    #[test]
    fn sha256_joins_its_parts_and_debug_shows_no_seed() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(HEX.encode(&sha256(&[b"a", b"", b"bc"])), abc);
        assert_eq!(PublicKey([0; 32]).fingerprint(), HEX.encode(&sha256(&[&[0; 32]])));
        assert!(!format!("{:?}", key()).contains(&HEX.encode(&[7; 32])));
    }
}
