//! Slips: one meaning for all three who read one, one canonical form, a signature that nothing else carries.

use crate::refused;
use crate::world::{key, network, wire_slip};
use kith_proto::sign::{Context, Signature};
use kith_proto::slip::{SLIP_LIFE_MS_MAX, SignedSlip, Slip, SlipError};
use kith_proto::v1;
use prost::Message as _;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let bare = v1::Slip {
        purposes: vec![],
        categories: vec![],
        progress: false,
        ..wire_slip()
    };
    let all = v1::Slip {
        purposes: vec![5, 4, 3, 2, 1],
        categories: (1..10).collect(),
        ..wire_slip()
    };
    [wire_slip(), bare, all]
        .iter()
        .map(prost::Message::encode_to_vec)
        .collect()
}

pub(crate) fn check(data: &[u8]) {
    let signer = key(4);
    let signed = v1::SignedSlip {
        slip: data.to_vec(),
        signature: signer
            .sign(Context::Slip, &[data])
            .expect("a signature")
            .0
            .to_vec(),
    };
    let verified = SignedSlip::verify(&signed, &network(), |_| Some(signer.public()));
    let slip = match Slip::decode(data) {
        Ok(slip) => slip,
        Err(error) => {
            assert_eq!(verified, Err(error));
            return refused(error.problem());
        }
    };
    let ours = slip.network == network();
    assert_eq!(
        verified,
        if ours {
            Ok(slip.clone())
        } else {
            Err(SlipError::OtherNetwork)
        }
    );
    limits(&slip);
    let encoded = slip.encode();
    assert_eq!(Slip::decode(&encoded), Ok(slip.clone()));
    assert_eq!(
        Slip::decode(&encoded).expect("a slip").encode(),
        encoded,
        "one canonical form"
    );
    let again = SignedSlip::issue(&slip, &signer).expect("what parses can be issued");
    assert_eq!(
        SignedSlip::verify(&again, &slip.network, |_| Some(signer.public())),
        Ok(slip.clone())
    );
    let stranger = SignedSlip::verify(&again, &slip.network, |_| None);
    assert_eq!(stranger, Err(SlipError::UnknownMember));
    let forged = SignedSlip::verify(&again, &slip.network, |_| Some(key(5).public()));
    assert_eq!(forged, Err(SlipError::BadSignature));
    let signature: [u8; 64] = again.signature.as_slice().try_into().expect("64 bytes");
    let elsewhere = signer
        .public()
        .verify(Context::Header, &[&again.slip], &Signature(signature));
    assert!(elsewhere.is_err(), "a slip's signature is no envelope's");
}

/// What every accepted slip keeps.
pub(crate) fn limits(slip: &Slip) {
    assert!(slip.from != slip.to);
    assert!(slip.issued_at_ms >= 0);
    assert!((1..=SLIP_LIFE_MS_MAX).contains(&(slip.expires_at_ms - slip.issued_at_ms)));
    assert!(
        slip.purposes.is_sorted_by(|a, b| a < b),
        "each purpose once, in order"
    );
    let wire = slip.to_wire();
    assert!(
        wire.categories.is_sorted_by(|a, b| a < b),
        "each category once, in order"
    );
    let known = v1::Slip::decode(slip.encode().as_slice()).expect("its own bytes");
    assert_eq!(known, wire);
}
