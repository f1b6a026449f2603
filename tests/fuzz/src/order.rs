//! Order batches: the signature covers all of one, and a batch is taken against a position or it is not, however it is asked.

use crate::refused;
use crate::world::{FROM, TO, key, org};
use kith_proto::order::{ORDER_LINES_MAX, OrderError, Position, check as check_batch, resume, sign, verify};
use kith_proto::sign::Context;
use kith_proto::v1;
use prost::Message as _;

fn batch(count: u8, last: Position) -> v1::OrderBatch {
    let hashes: Vec<[u8; 32]> = (1..=count).map(|n| [n; 32]).collect();
    sign(&key(4), &org(FROM), &org(TO), last, &hashes)
        .expect("a batch")
        .0
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let late = Position::at(u64::MAX - 2, [200; 32]);
    let far = Position::at(7, [200; 32]);
    [
        batch(1, Position::START),
        batch(3, Position::START),
        batch(2, late),
        batch(5, far),
    ]
    .iter()
    .map(prost::Message::encode_to_vec)
    .collect()
}

/// The signed bytes as the head of `order.rs` tells them.
fn layout(batch: &v1::OrderBatch) -> Vec<u8> {
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len())
            .expect("a length")
            .to_be_bytes()
            .to_vec()
    };
    let count = u32::try_from(batch.lines.len())
        .expect("a count")
        .to_be_bytes()
        .to_vec();
    let text = |text: &str| [length(text.as_bytes()), text.as_bytes().to_vec()].concat();
    let mut bytes = [text(&batch.from), text(&batch.to), count].concat();
    for line in &batch.lines {
        bytes.extend(line.number.to_be_bytes());
        for hash in [&line.previous_hash, &line.envelope_hash] {
            bytes.extend(length(hash));
            bytes.extend(hash);
        }
    }
    bytes
}

pub(crate) fn check(data: &[u8]) {
    let Ok(mut batch) = v1::OrderBatch::decode(data) else {
        return;
    };
    let (from, to, signer) = (org(FROM), org(TO), key(4));
    if let Err(error) = verify(&signer.public(), &from, &to, &batch) {
        refused(error.problem());
    }
    let signature = signer.sign(Context::Order, &[&layout(&batch)]);
    batch.signature = signature.expect("a signature").0.to_vec();
    match verify(&signer.public(), &from, &to, &batch) {
        Ok(()) => {
            assert_eq!((batch.from.as_str(), batch.to.as_str()), (FROM, TO));
            assert!((1..=ORDER_LINES_MAX).contains(&batch.lines.len()));
            assert_eq!(
                verify(&signer.public(), &to, &from, &batch),
                Err(OrderError::Forged)
            );
            assert_eq!(
                verify(&key(5).public(), &from, &to, &batch),
                Err(OrderError::Forged)
            );
        }
        Err(error) => refused(error.problem()),
    }
    for last in positions(&batch) {
        against(last, &batch);
    }
}

/// The start, and every position that the batch itself speaks of.
fn positions(batch: &v1::OrderBatch) -> Vec<Position> {
    let before = |line: &v1::OrderLine| {
        let hash: [u8; 32] = line.previous_hash.as_slice().try_into().ok()?;
        Some(Position::at(line.number.wrapping_sub(1), hash))
    };
    let at = |line: &v1::OrderLine| {
        let hash: [u8; 32] = line.envelope_hash.as_slice().try_into().ok()?;
        Some(Position::at(line.number, hash))
    };
    let lines = batch.lines.iter().take(8);
    std::iter::once(Position::START)
        .chain(lines.flat_map(|line| [before(line), at(line)]).flatten())
        .collect()
}

fn against(last: Position, batch: &v1::OrderBatch) {
    let checked = check_batch(last, batch);
    let resumed = resume(last, batch);
    match checked {
        Ok(after) => {
            let count = u64::try_from(batch.lines.len()).expect("a count");
            assert_eq!(after.number() - last.number(), count);
            let newest = batch.lines.last().map(|line| line.envelope_hash.as_slice());
            assert_eq!(after.hash().as_ref().map(<[u8; 32]>::as_slice), newest);
            assert_eq!(resumed, Ok((0, after)));
            assert!(check_batch(after, batch).is_err(), "nothing is taken twice");
            assert_eq!(
                resume(after, batch),
                Ok((batch.lines.len(), after)),
                "but may be told twice"
            );
        }
        Err(error) => refused(error.problem()),
    }
    match resumed {
        Ok((skipped, after)) => {
            assert!(after.number() >= last.number(), "a position never goes back");
            let rest = v1::OrderBatch {
                lines: batch.lines[skipped..].to_vec(),
                ..batch.clone()
            };
            if rest.lines.is_empty() {
                assert_eq!(after, last);
            } else {
                assert_eq!(check_batch(last, &rest), Ok(after));
            }
        }
        Err(error) => refused(error.problem()),
    }
}
