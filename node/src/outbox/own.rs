//! Bodies kept under this node's own sealing key: what must be sealed again after every holding is gone.
//! Called by `outbox` alone. Never keeps anything that a person said: what lies here is ids and codes.
//!
//! A kept body is: key id (16) ‖ encapsulation ([`ENC_LEN`]) ‖ ciphertext. A sealing key is destroyed 31 days after it was
//! replaced, and an envelope lives for 30, so that its body can be opened for as long as it may be sealed again.

use kith_proto::envelope::EnvelopeError;
use kith_proto::id::EnvelopeId;
use kith_proto::seal::{self, ENC_LEN};

use super::OutboxError;
use crate::content::ContentError;
use crate::node::Node;

/// What the seal is for.
const INFO: &[u8] = b"kith/node/outbox_envelope.body";
/// Bytes of a key id.
const KEY_ID_LEN: usize = 16;

/// Seals the body of an envelope to the newest key.
pub(super) fn seal(node: &Node, envelope_id: EnvelopeId, body: &[u8]) -> Result<Vec<u8>, OutboxError> {
    let key = node.keys.newest_sealing_key().ok_or(ContentError::Library)?;
    let random = node.rng.bytes()?;
    let sealed = seal::seal(key.key.public(), INFO, envelope_id.as_bytes(), body, &random);
    let sealed = sealed.map_err(|_| ContentError::Library)?;
    Ok([key.id.as_slice(), &sealed.enc, &sealed.ciphertext].concat())
}

/// Opens it with the key that it was sealed to; [`ContentError::Erased`] once that is destroyed.
pub(super) fn open(node: &Node, envelope_id: EnvelopeId, kept: &[u8]) -> Result<Vec<u8>, OutboxError> {
    let malformed = EnvelopeError::Malformed("body");
    let (id, rest) = kept.split_first_chunk::<KEY_ID_LEN>().ok_or(malformed)?;
    let (enc, ciphertext) = rest.split_first_chunk::<ENC_LEN>().ok_or(malformed)?;
    let held = node.keys.sealing_key(id).ok_or(ContentError::Erased)?;
    let opened = seal::open(&held.key, INFO, envelope_id.as_bytes(), enc, ciphertext);
    Ok(opened.map_err(|_| malformed)?)
}
