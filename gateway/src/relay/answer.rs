//! The answers to a stream's submissions as signed frames: one receipt for all envelopes of one time, one refusal each.
//! Called by the stream after the take door has committed. Never signs a receipt for anything that is not durable.

use std::collections::BTreeMap;

use kith_proto::receipt::{self, RECEIPT_ENVELOPES_MAX, ReceiptError};
use kith_proto::sign::SigningKey;
use kith_proto::v1::{self, attach_response::Frame};
use kith_proto::words::Category;

use super::take::Answer;
use crate::gate::Refusal;

/// An envelope's id and hash.
type Named = ([u8; 16], [u8; 32]);

/// Makes the frames that answer the envelopes, receipts first.
pub fn frames(key: &SigningKey, answers: Vec<Answer>, now_ms: i64) -> Result<Vec<Frame>, ReceiptError> {
    let mut taken: BTreeMap<i64, Vec<Named>> = BTreeMap::new();
    let mut refusals = Vec::new();
    for answer in answers {
        match answer {
            Answer::Taken {
                envelope_id,
                envelope_hash,
                taken_at_ms,
            } => taken
                .entry(taken_at_ms)
                .or_default()
                .push((envelope_id, envelope_hash)),
            Answer::Refused(frame) => refusals.push(Frame::Refused(frame)),
            Answer::Later {
                envelope_id,
                envelope_hash,
                refusal,
            } => refusals.push(Frame::Refused(refused(
                key,
                (envelope_id, envelope_hash),
                refusal,
                now_ms,
            )?)),
        }
    }
    let mut frames = Vec::with_capacity(taken.len() + refusals.len());
    for (taken_at_ms, envelopes) in taken {
        for part in envelopes.chunks(RECEIPT_ENVELOPES_MAX) {
            frames.push(Frame::Receipts(receipts(key, part, taken_at_ms)?));
        }
    }
    frames.append(&mut refusals);
    Ok(frames)
}

fn receipts(
    key: &SigningKey,
    envelopes: &[Named],
    taken_at_ms: i64,
) -> Result<v1::GatewayReceipts, ReceiptError> {
    let mut frame = v1::GatewayReceipts {
        envelope_ids: envelopes.iter().map(|(id, _)| id.to_vec()).collect(),
        envelope_hashes: envelopes.iter().map(|(_, hash)| hash.to_vec()).collect(),
        taken_at_ms,
        signature: Vec::new(),
    };
    receipt::sign(key, &mut frame)?;
    Ok(frame)
}

/// Signs a refusal of the envelope with this id and hash.
pub fn refused(
    key: &SigningKey,
    (id, hash): Named,
    refusal: Refusal,
    now_ms: i64,
) -> Result<v1::Refused, ReceiptError> {
    let mut frame = v1::Refused {
        envelope_id: id.to_vec(),
        envelope_hash: hash.to_vec(),
        problem: refusal.problem.number(),
        categories: refusal.categories.iter().map(Category::number).collect(),
        refused_at_ms: now_ms,
        signature: Vec::new(),
        retry_after_ms: refusal.retry_after_ms,
    };
    receipt::sign(key, &mut frame)?;
    Ok(frame)
}
