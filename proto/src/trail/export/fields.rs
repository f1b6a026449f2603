//! How the values of an export's lines are written: bytes and messages in base64, names, hashes and proofs as their own text.
//! The lines' derived code calls it. Never accept what would be written otherwise: [`super::Line::read`] compares.

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// What has one text of its own.
pub(super) mod text {
    use super::*;
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(|_| D::Error::custom("text"))
    }
}

/// Whose log: a slug, or nothing for the gateway.
pub(super) mod keeper {
    use super::*;
    use crate::log::origin::Keeper;

    pub(crate) fn serialize<S: Serializer>(keeper: &Keeper, to: S) -> Result<S::Ok, S::Error> {
        match keeper {
            Keeper::Gateway => to.serialize_str(""),
            Keeper::Node(org) => to.serialize_str(org.as_str()),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Keeper, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Keeper::Gateway);
        }
        text.parse()
            .map(Keeper::Node)
            .map_err(|_| D::Error::custom("keeper"))
    }
}

/// A fixed number of bytes.
pub(super) mod bytes {
    use super::*;

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let decoded = decoded(from)?;
        decoded.try_into().map_err(|_| D::Error::custom("length"))
    }
}

/// A public key.
pub(super) mod public_key {
    use super::*;
    use crate::sign::PublicKey;

    pub(crate) fn serialize<S: Serializer>(key: &PublicKey, to: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&key.0, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PublicKey, D::Error> {
        bytes::deserialize(from).map(PublicKey)
    }
}

/// A signature.
pub(super) mod signature {
    use super::*;
    use crate::sign::Signature;

    pub(crate) fn serialize<S: Serializer>(signature: &Signature, to: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&signature.0, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        bytes::deserialize(from).map(Signature)
    }
}

/// A message of the protocol.
pub(super) mod message {
    use super::*;
    use prost::Message;

    pub(crate) fn serialize<M: Message, S: Serializer>(message: &M, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(&message.encode_to_vec()))
    }

    pub(crate) fn deserialize<'de, M: Message + Default, D: Deserializer<'de>>(
        from: D,
    ) -> Result<M, D::Error> {
        M::decode(decoded(from)?.as_slice()).map_err(|_| D::Error::custom("message"))
    }
}

/// A signed note.
pub(super) mod note {
    use super::*;
    use crate::log::note::Note;

    pub(crate) fn serialize<S: Serializer>(note: &Note, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(note)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Note, D::Error> {
        let text = String::deserialize(from)?;
        Note::parse(text.as_bytes()).map_err(|_| D::Error::custom("note"))
    }
}

/// The hashes of a proof.
pub(super) mod hashes {
    use super::*;
    use crate::log::tree::Hash;

    pub(crate) fn serialize<S: Serializer>(hashes: &[Hash], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(hashes.iter().map(Hash::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hash>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let hashes = texts.iter().map(|text| text.parse());
        hashes
            .collect::<Result<_, _>>()
            .map_err(|_| D::Error::custom("hash"))
    }
}

fn decoded<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64
        .decode(text.as_bytes())
        .map_err(|_| D::Error::custom("base64"))
}
