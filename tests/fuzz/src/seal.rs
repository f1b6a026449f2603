//! Padding, the seal and single signatures, on bytes that nobody made on purpose.

use crate::refused;
use crate::world::{SEALING, key};
use kith_proto::problem::Problem;
use kith_proto::seal::{
    BUCKETS, ENC_LEN, PUBLIC_KEY_LEN, SealError, SealingPublicKey, TAG_LEN, open, pad, seal, unpad,
};
use kith_proto::sign::{Context, PublicKey, Signature};

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let made = seal(SEALING.public(), b"info", b"aad", &[1; 40], &[9; 64]).expect("a sealed text");
    vec![
        pad(b"").expect("a short text"),
        pad(&[1; 508]).expect("a full bucket"),
        pad(&[1; 509]).expect("the next bucket"),
        [made.enc, made.ciphertext].concat(),
        SEALING.public().as_bytes().to_vec(),
    ]
}

pub(crate) fn check(data: &[u8]) {
    if let Ok(plain) = unpad(data) {
        assert!(BUCKETS.contains(&data.len()));
        assert_eq!(pad(plain).as_deref(), Ok(data), "one padded form");
    }
    if let Ok(padded) = pad(data) {
        assert_eq!(unpad(&padded), Ok(data));
    }
    if let Some((enc, ciphertext)) = data.split_at_checked(ENC_LEN) {
        match open(&SEALING, b"info", b"aad", enc, ciphertext) {
            Ok(plain) => assert_eq!(plain.len() + TAG_LEN, ciphertext.len()),
            Err(error) => assert_eq!(error, SealError::Open, "one answer to everything wrong"),
        }
        assert_eq!(
            open(&SEALING, b"other", b"aad", enc, ciphertext),
            Err(SealError::Open)
        );
    }
    let taken = SealingPublicKey::from_bytes(data);
    assert_eq!(taken.is_ok(), data.len() == PUBLIC_KEY_LEN);
    if let Ok(to) = taken {
        assert_eq!(to.as_bytes().as_slice(), data);
        match seal(&to, b"info", b"aad", b"text", &[9; 64]) {
            Ok(sealed) => assert_eq!(
                (sealed.enc.len(), sealed.ciphertext.len()),
                (ENC_LEN, 4 + TAG_LEN)
            ),
            Err(error) => assert_eq!(error, SealError::PublicKey),
        }
    }
}

pub(crate) fn signature_seeds() -> Vec<Vec<u8>> {
    let signer = key(4);
    let good = signer
        .sign(Context::Order, &[b"three words here"])
        .expect("a signature");
    let good = [signer.public().0.as_slice(), &good.0, b"three words here"].concat();
    // The point that adds nothing: R is it too, S is 0.
    let mut one = [0; 32];
    one[0] = 1;
    vec![
        good,
        [one.as_slice(), &one, &[0; 32], b"anything"].concat(),
        vec![0; 112],
    ]
}

/// 32 bytes of key, 64 of signature, the message: a signature that counts, counts for one context and message only.
pub(crate) fn signature(data: &[u8]) {
    let Some((public, rest)) = data.split_first_chunk::<32>() else {
        return;
    };
    let Some((signature, message)) = rest.split_first_chunk::<64>() else {
        return;
    };
    let (public, signature) = (PublicKey(*public), Signature(*signature));
    let (front, back) = message.split_at(message.len() / 2);
    let counts: Vec<&Context> = Context::ALL
        .iter()
        .filter(|context| public.verify(**context, &[message], &signature).is_ok())
        .collect();
    assert!(counts.len() < 2, "one signature in {counts:?}");
    for context in counts {
        assert_eq!(public.verify(*context, &[front, back], &signature), Ok(()));
        let longer = public.verify(*context, &[message, b"."], &signature);
        assert!(longer.is_err(), "one signature for two messages");
        let mut other = signature;
        other.0[63] ^= 0x10;
        assert!(
            public.verify(*context, &[message], &other).is_err(),
            "two signatures, one of them made by nobody"
        );
    }
    assert_eq!(public.fingerprint().len(), 64);
    refused(Problem::Unauthenticated);
}
