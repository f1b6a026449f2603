//! Receipts: every flipped bit and every other context is refused.
use super::*;
use proptest::prelude::*;
use prost::Message;

fn key() -> SigningKey {
    SigningKey::from_seed([5; 32]).unwrap()
}

fn gateway() -> v1::GatewayReceipts {
    v1::GatewayReceipts {
        envelope_ids: vec![vec![1; 16], vec![2; 16]],
        envelope_hashes: vec![vec![3; 32], vec![4; 32]],
        taken_at_ms: 1_800_000_000_000,
        signature: vec![],
    }
}

fn recipient() -> v1::RecipientReceipts {
    v1::RecipientReceipts {
        from: "the-practice".to_owned(),
        to: "the-council".to_owned(),
        envelope_ids: vec![vec![1; 16]],
        envelope_hashes: vec![vec![3; 32]],
        received_at_ms: 7,
        problems: vec![0],
        signature: vec![],
    }
}

fn refused() -> v1::Refused {
    v1::Refused {
        envelope_id: vec![1; 16],
        envelope_hash: vec![3; 32],
        problem: 6,
        categories: vec![1, 2],
        refused_at_ms: 7,
        signature: vec![],
        retry_after_ms: 0,
    }
}

fn dropped() -> v1::Dropped {
    v1::Dropped {
        envelope_id: vec![1; 16],
        envelope_hash: vec![3; 32],
        number: 4,
        problem: 6,
        dropped_at_ms: 7,
        signature: vec![],
    }
}

fn stop() -> v1::StopNotice {
    v1::StopNotice {
        slip_id: vec![1; 16],
        withdrawn_at_ms: 7,
        signature: vec![],
    }
}

fn renewal() -> v1::RenewRequest {
    v1::RenewRequest {
        organisation: "the-practice".to_owned(),
        certificate_request_der: vec![1; 50],
        made_at_ms: 7,
        signature: vec![],
    }
}

/// Signs, verifies, and flips every bit of the encoded frame: each flip is unreadable or refused.
fn every_flip_is_refused<F: SignedFrame + Message + Default + PartialEq>(mut frame: F) {
    sign(&key(), &mut frame).unwrap();
    assert_eq!(verify(&key().public(), &frame), Ok(()));
    let bytes = frame.encode_to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bad) = F::decode(bad.as_slice()) {
            assert!(
                bad == frame || verify(&key().public(), &bad).is_err(),
                "bit {bit}"
            );
        }
    }
    let other = SigningKey::from_seed([6; 32]).unwrap().public();
    assert_eq!(verify(&other, &frame), Err(ReceiptError::Forged));
    frame.set_signature(vec![0; 63]);
    assert_eq!(verify(&key().public(), &frame), Err(ReceiptError::Malformed));
}

#[test]
fn every_flipped_bit_of_every_frame_is_refused() {
    every_flip_is_refused(gateway());
    every_flip_is_refused(recipient());
    every_flip_is_refused(refused());
    every_flip_is_refused(dropped());
    every_flip_is_refused(stop());
    every_flip_is_refused(renewal());
}

#[test]
fn no_layout_is_anothers_and_a_signature_stays_in_its_context() {
    let all = [
        (Context::Receipt, gateway().layout().unwrap()),
        (Context::Receipt, recipient().layout().unwrap()),
        (Context::Receipt, refused().layout().unwrap()),
        (Context::Dropped, dropped().layout().unwrap()),
        (Context::Withdrawal, stop().layout().unwrap()),
        (Context::Renewal, renewal().layout().unwrap()),
    ];
    for (i, (context, layout)) in all.iter().enumerate() {
        let signature = key().sign(*context, &[layout]).unwrap();
        for (j, (other, bytes)) in all.iter().enumerate() {
            let result = key().public().verify(*other, &[bytes], &signature);
            assert_eq!(result.is_ok(), i == j, "{i} as {j}");
        }
        for other in Context::ALL.iter().filter(|c| *c != context) {
            assert!(key().public().verify(*other, &[layout], &signature).is_err());
        }
    }
    let moved = v1::RecipientReceipts {
        from: "the-practic".into(),
        to: "ethe-council".into(),
        ..recipient()
    };
    assert_ne!(moved.layout(), recipient().layout());
}

#[test]
fn the_stop_notice_is_laid_out_as_documented() {
    let mut bytes = vec![0, 0, 0, 16];
    bytes.extend([1; 16]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(stop().layout().unwrap(), bytes);
}

#[test]
fn wrong_lengths_counts_and_numbers_are_not_signed() {
    let malformed = Err(ReceiptError::Malformed);
    let mut bad = gateway();
    bad.envelope_ids.pop();
    assert_eq!(sign(&key(), &mut bad), malformed);
    bad = gateway();
    bad.envelope_hashes[0].pop();
    assert_eq!(sign(&key(), &mut bad), malformed);
    assert_eq!(sign(&key(), &mut v1::GatewayReceipts::default()), malformed);
    bad.envelope_ids = vec![vec![1; 16]; RECEIPT_ENVELOPES_MAX + 1];
    assert_eq!(sign(&key(), &mut bad), Err(ReceiptError::TooLarge));
    assert_eq!(
        sign(
            &key(),
            &mut v1::RecipientReceipts {
                problems: vec![99],
                ..recipient()
            }
        ),
        malformed
    );
    assert_eq!(
        sign(
            &key(),
            &mut v1::RecipientReceipts {
                from: "A".into(),
                ..recipient()
            }
        ),
        malformed
    );
    assert_eq!(
        sign(
            &key(),
            &mut v1::Refused {
                problem: 0,
                ..refused()
            }
        ),
        malformed
    );
    assert_eq!(
        sign(
            &key(),
            &mut v1::Refused {
                categories: vec![-1],
                ..refused()
            }
        ),
        malformed
    );
    assert_eq!(
        sign(
            &key(),
            &mut v1::Dropped {
                problem: 99,
                ..dropped()
            }
        ),
        malformed
    );
    assert_eq!(
        sign(
            &key(),
            &mut v1::StopNotice {
                slip_id: vec![],
                ..stop()
            }
        ),
        malformed
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let public = key().public();
        let frame = v1::GatewayReceipts::decode(bytes.as_slice());
        prop_assert!(frame.is_err() || verify(&public, &frame.unwrap()).is_err());
        let frame = v1::RecipientReceipts::decode(bytes.as_slice());
        prop_assert!(frame.is_err() || verify(&public, &frame.unwrap()).is_err());
        let frame = v1::Refused::decode(bytes.as_slice());
        prop_assert!(frame.is_err() || verify(&public, &frame.unwrap()).is_err());
    }
}
