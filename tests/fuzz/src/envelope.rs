//! Envelopes: head alone, whole with a good signature, and the way from a body through the seal and back.
//! The whole is signed here over whatever head came, so that what lies behind the signature is reached.

use crate::world::{self, NETWORK, PERSON, SEALING, key, network};
use crate::{refused, slip};
use kith_proto::envelope::{
    ENVELOPE_BYTES_MAX, ENVELOPE_LIFE_MS_MAX, EnvelopeError, Ground, HEAD_BYTES_MAX, Head, envelope_hash,
    open, seal_envelope, verify,
};
use kith_proto::seal::{self, ENC_LEN};
use kith_proto::sign::{Context, PublicKey, sha256};
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use prost::Message as _;

pub(crate) fn head_seeds() -> Vec<Vec<u8>> {
    EnvelopeKind::ALL
        .iter()
        .map(|kind| world::head(*kind).encode_to_vec())
        .collect()
}

pub(crate) fn head(data: &[u8]) {
    let head = match Head::parse(data) {
        Ok(head) => head,
        Err(error) => return refused(error.problem()),
    };
    assert!(data.len() <= HEAD_BYTES_MAX);
    assert!(head.from != head.to && head.created_at_ms >= 0);
    assert!((1..=ENVELOPE_LIFE_MS_MAX).contains(&(head.expires_at_ms - head.created_at_ms)));
    match (&head.ground, head.kind) {
        (Ground::Membership, EnvelopeKind::Question | EnvelopeKind::Answer)
        | (Ground::Note(_), EnvelopeKind::Disclosure) => {}
        (Ground::Slip { signed, claimed }, kind) => {
            let slipless = [
                EnvelopeKind::Question,
                EnvelopeKind::Answer,
                EnvelopeKind::Disclosure,
            ];
            assert!(!slipless.contains(&kind));
            assert_eq!(claimed.network, head.network);
            assert_eq!(
                kith_proto::slip::Slip::decode(&signed.slip).as_ref(),
                Ok(claimed.as_ref())
            );
            slip::limits(claimed);
        }
        (ground, kind) => panic!("{kind} on {ground:?}"),
    }
    let encoded = head.to_wire().encode_to_vec();
    // A single category may come unpacked, which is a byte shorter than what we write.
    if encoded.len() > HEAD_BYTES_MAX {
        return;
    }
    assert_eq!(Head::parse(&encoded).as_ref(), Ok(&head));
    let again = Head::parse(&encoded).map(|head| head.to_wire().encode_to_vec());
    assert_eq!(again.as_ref(), Ok(&encoded), "one canonical form");
}

pub(crate) fn whole_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        EnvelopeKind::Referral,
        EnvelopeKind::Question,
        EnvelopeKind::Event,
    ]
    .into_iter()
    .map(|kind| sealed(world::head(kind), &body_of(kind)).encode_to_vec())
    .collect();
    let dead = v1::Envelope {
        head: world::head(EnvelopeKind::Message).encode_to_vec().into(),
        enc: vec![0; ENC_LEN].into(),
        ciphertext: vec![0; 528].into(),
        signature: Vec::new().into(),
    };
    seeds.push(dead.encode_to_vec());
    seeds
}

/// Signs head and seal line as `envelope.proto` says, whatever they are.
fn sign(envelope: &mut v1::Envelope) {
    let (enc, ciphertext) = (&envelope.enc, &envelope.ciphertext);
    let length = u64::try_from(enc.len() + ciphertext.len())
        .expect("a length")
        .to_be_bytes();
    let line = [
        sha256(&[&envelope.head]).as_slice(),
        &length,
        &sha256(&[enc, ciphertext]),
    ]
    .concat();
    let signature = key(4).sign(Context::Header, &[&envelope.head, &line]);
    envelope.signature = signature.expect("a signature").0.to_vec().into();
}

fn known(_: &kith_proto::id::OrgId) -> Option<PublicKey> {
    Some(key(4).public())
}

pub(crate) fn whole(data: &[u8]) {
    let Ok(mut envelope) = v1::Envelope::decode(data) else {
        return;
    };
    if let Err(error) = verify(&envelope, known) {
        refused(error.problem());
    }
    sign(&mut envelope);
    let head = Head::parse(&envelope.head);
    let verified = match verify(&envelope, known) {
        Ok(verified) => verified,
        Err(error) => {
            let sizes = envelope.enc.len() != ENC_LEN
                || envelope.encoded_len() > ENVELOPE_BYTES_MAX
                || envelope.head.len() > HEAD_BYTES_MAX;
            let form = head
                .as_ref()
                .is_ok_and(|h| matches!(h.kind, EnvelopeKind::Question | EnvelopeKind::Answer));
            assert!(
                sizes || form || head.err() == Some(error),
                "signed and whole, but {error}"
            );
            return refused(error.problem());
        }
    };
    assert_eq!(head.as_ref(), Ok(&verified.head));
    assert_eq!(verified.hash, envelope_hash(&envelope));
    assert!(envelope.encoded_len() <= ENVELOPE_BYTES_MAX);
    assert_eq!(verify(&envelope, |_| None), Err(EnvelopeError::UnknownMember));
    assert_eq!(
        verify(&envelope, |_| Some(key(5).public())),
        Err(EnvelopeError::BadSignature)
    );
    for part in 0..4_u8 {
        let mut other = envelope.clone();
        let field = match part {
            0 => &mut other.head,
            1 => &mut other.enc,
            2 => &mut other.ciphertext,
            _ => &mut other.signature,
        };
        let mut bytes = field.to_vec();
        match bytes.last_mut() {
            Some(byte) => *byte ^= 1,
            None => bytes.push(1),
        }
        *field = bytes.into();
        assert!(verify(&other, known).is_err(), "part {part} is signed");
        assert!(
            envelope_hash(&other) != verified.hash,
            "part {part} is in the hash"
        );
    }
    if let Err(error) = open(&verified, &SEALING) {
        refused(error.problem());
    }
}

/// A body of this kind that fits [`world::head`].
fn body_of(kind: EnvelopeKind) -> v1::Body {
    let part = |category: i32, name: &str, value: &str| v1::Part {
        category,
        fields: vec![v1::Field {
            name: name.to_owned(),
            value: value.to_owned(),
        }],
    };
    let parts = vec![
        part(1, "preferred_name", "ሰላም"),
        part(4, "in_their_words", "Company."),
    ];
    let inner = match kind {
        EnvelopeKind::Question => Body::Question(v1::Question {
            language: "ti".into(),
            ..Default::default()
        }),
        EnvelopeKind::Answer => Body::Answer(v1::Answer {
            possible: 1,
            ..Default::default()
        }),
        EnvelopeKind::Referral => Body::Referral(v1::Referral {
            purpose: 1,
            parts,
            ..Default::default()
        }),
        EnvelopeKind::Event => Body::Event(v1::Event {
            r#move: 8,
            words: "Gladly.".into(),
            ..Default::default()
        }),
        EnvelopeKind::Message => Body::Message(v1::ThreadMessage {
            parts,
            ..Default::default()
        }),
        EnvelopeKind::Blob => Body::Blob(v1::Blob {
            chunks: 1,
            content: vec![1; 40],
            ..Default::default()
        }),
        EnvelopeKind::Withdrawal => Body::Withdrawal(v1::Withdrawal {
            scope: 2,
            ..Default::default()
        }),
        EnvelopeKind::WithdrawalProof => Body::WithdrawalProof(v1::WithdrawalProof {
            outcome: 1,
            ..Default::default()
        }),
        EnvelopeKind::AccessReport => Body::AccessReport(v1::AccessReport {
            day: "2027-01-01".into(),
            ..Default::default()
        }),
        EnvelopeKind::Disclosure => Body::Disclosure(v1::Disclosure {
            ground: 1,
            ..Default::default()
        }),
    };
    let (salt, person) = PERSON;
    let named = kind == EnvelopeKind::Referral || kind == EnvelopeKind::Event;
    v1::Body {
        person_salt: if named { salt.to_vec() } else { Vec::new() },
        person_id: if named { person.to_vec() } else { Vec::new() },
        body: Some(inner),
    }
}

fn sealed(head: v1::Head, body: &v1::Body) -> v1::Envelope {
    seal_envelope(head, body, SEALING.public(), &key(4), &[8; 64])
        .expect("a good envelope")
        .into_envelope()
}

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let number = |kind: EnvelopeKind| kind.number().to_le_bytes()[0];
    let seed = |kind: &EnvelopeKind| [vec![number(*kind)], body_of(*kind).encode_to_vec()].concat();
    EnvelopeKind::ALL.iter().map(seed).collect()
}

/// First byte: the head's kind. The rest is sealed as it is, past every check of the sender, and opened.
pub(crate) fn body(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let kind = EnvelopeKind::try_from(i32::from(*kind)).unwrap_or(EnvelopeKind::Referral);
    let head = world::head(kind);
    let Ok(padded) = seal::pad(bytes) else {
        return;
    };
    let head_bytes = head.encode_to_vec();
    let info = [b"kith/v1/envelope".as_slice(), NETWORK.as_bytes()].concat();
    let made = seal::seal(SEALING.public(), &info, &head_bytes, &padded, &[9; 64]).expect("a sealed body");
    let mut envelope = v1::Envelope {
        head: head_bytes.into(),
        enc: made.enc.into(),
        ciphertext: made.ciphertext.into(),
        signature: Vec::new().into(),
    };
    sign(&mut envelope);
    let verified = match verify(&envelope, known) {
        Ok(verified) => verified,
        Err(error) => return assert_eq!(error, EnvelopeError::TooLarge, "only a form is too large here"),
    };
    assert_eq!(verified.head.network, network());
    let opened = open(&verified, &SEALING);
    let decoded = v1::Body::decode(bytes);
    let sender = decoded
        .as_ref()
        .ok()
        .map(|body| seal_envelope(head, body, SEALING.public(), &key(4), &[8; 64]).map(|_| ()));
    match opened {
        Ok(body) => {
            assert_eq!(decoded.as_ref(), Ok(&body));
            assert_eq!(sender, Some(Ok(())), "what opens could have been sent");
        }
        Err(error) => {
            assert!(
                sender.is_none_or(|sent| sent == Err(error)),
                "the sender is told the same: {error}"
            );
            refused(error.problem());
        }
    }
}
