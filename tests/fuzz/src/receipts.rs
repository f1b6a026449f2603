//! Receipts, refusals, tombstones, stop notices and renewals: what can be signed can be verified, and every field is signed.
//! First byte: which frame; the rest is the frame. Its signature is made here, then one field after another is changed.

use crate::refused;
use crate::world::{FROM, NOW_MS, TO, key};
use kith_proto::receipt::{ReceiptError, SignedFrame, sign, verify};
use kith_proto::v1;
use prost::Message;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (ids, hashes) = (vec![vec![2; 16], vec![3; 16]], vec![vec![4; 32], vec![5; 32]]);
    let (envelope_id, envelope_hash) = (vec![2; 16], vec![4; 32]);
    let frames = [
        v1::GatewayReceipts {
            envelope_ids: ids.clone(),
            envelope_hashes: hashes.clone(),
            taken_at_ms: NOW_MS,
            signature: vec![],
        }
        .encode_to_vec(),
        v1::RecipientReceipts {
            from: FROM.to_owned(),
            to: TO.to_owned(),
            envelope_ids: ids,
            envelope_hashes: hashes,
            received_at_ms: NOW_MS,
            problems: vec![0, 4],
            signature: vec![],
        }
        .encode_to_vec(),
        v1::Refused {
            envelope_id: envelope_id.clone(),
            envelope_hash: envelope_hash.clone(),
            problem: 6,
            categories: vec![1, 5],
            refused_at_ms: NOW_MS,
            signature: vec![],
            retry_after_ms: 0,
        }
        .encode_to_vec(),
        v1::Dropped {
            envelope_id,
            envelope_hash,
            number: 9,
            problem: 8,
            dropped_at_ms: NOW_MS,
            ..Default::default()
        }
        .encode_to_vec(),
        v1::StopNotice {
            slip_id: vec![1; 16],
            withdrawn_at_ms: NOW_MS,
            ..Default::default()
        }
        .encode_to_vec(),
        v1::RenewRequest {
            organisation: FROM.to_owned(),
            certificate_request_der: vec![0x30; 90],
            made_at_ms: NOW_MS,
            signature: vec![],
        }
        .encode_to_vec(),
    ];
    frames
        .into_iter()
        .zip(0_u8..)
        .map(|(frame, place)| [vec![place], frame].concat())
        .collect()
}

pub(crate) fn check(data: &[u8]) {
    let Some((place, bytes)) = data.split_first() else {
        return;
    };
    match place % 6 {
        0 => frame::<v1::GatewayReceipts>(
            bytes,
            &[&|r| r.taken_at_ms ^= 1, &|r| r.envelope_ids.reverse(), &|r| {
                std::mem::swap(&mut r.envelope_ids, &mut r.envelope_hashes);
            }],
        ),
        1 => frame::<v1::RecipientReceipts>(
            bytes,
            &[
                &|r| std::mem::swap(&mut r.from, &mut r.to),
                &|r| r.received_at_ms ^= 1,
                &|r| r.problems.reverse(),
                &|r| r.envelope_hashes.reverse(),
            ],
        ),
        2 => frame::<v1::Refused>(
            bytes,
            &[
                &|r| r.problem = r.problem % 20 + 1,
                &|r| r.refused_at_ms ^= 1,
                &|r| r.categories.push(1),
                &|r| r.categories.truncate(1),
                &|r| r.envelope_hash.reverse(),
            ],
        ),
        3 => frame::<v1::Dropped>(
            bytes,
            &[
                &|r| r.number ^= 1,
                &|r| r.problem = r.problem % 20 + 1,
                &|r| r.dropped_at_ms ^= 1,
                &|r| r.envelope_id.reverse(),
            ],
        ),
        4 => frame::<v1::StopNotice>(bytes, &[&|r| r.withdrawn_at_ms ^= 1, &|r| r.slip_id.reverse()]),
        _ => frame::<v1::RenewRequest>(
            bytes,
            &[&|r| r.organisation.push('x'), &|r| r.made_at_ms ^= 1, &|r| {
                r.certificate_request_der.push(0)
            }],
        ),
    }
}

fn frame<F>(bytes: &[u8], changes: &[&dyn Fn(&mut F)])
where
    F: SignedFrame + Message + Default + Clone + PartialEq,
{
    let Ok(mut frame) = F::decode(bytes) else {
        return;
    };
    let (signer, other) = (key(4), key(5));
    if let Err(error) = verify(&signer.public(), &frame) {
        refused(error.problem());
    }
    if let Err(error) = sign(&signer, &mut frame) {
        assert_eq!(
            verify(&signer.public(), &frame),
            Err(error),
            "who may not sign it may not read it"
        );
        return refused(error.problem());
    }
    assert_eq!(verify(&signer.public(), &frame), Ok(()));
    assert_eq!(verify(&other.public(), &frame), Err(ReceiptError::Forged));
    let sent = F::decode(frame.encode_to_vec().as_slice()).expect("its own bytes");
    assert_eq!(verify(&signer.public(), &sent), Ok(()));
    for (place, change) in changes.iter().enumerate() {
        let mut changed = frame.clone();
        change(&mut changed);
        let verified = verify(&signer.public(), &changed);
        assert_eq!(verified.is_ok(), changed == frame, "change {place} is not signed");
    }
}
