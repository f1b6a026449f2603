//! Envelopes as an attacker would send them: cut, flipped, oversized, mis-addressed, with undeclared categories.
use super::hashed::seal_line;
use super::*;
use crate::seal::SealingKey;
use crate::sign::Context;
use crate::slip::{SLIP_LIFE_MS_MAX, SignedSlip, person_commitment};
use proptest::prelude::*;

const SALT: [u8; 32] = [4; 32];
const PERSON: [u8; 16] = [5; 16];

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn sealer(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32]).unwrap()
}

fn wire_slip() -> v1::Slip {
    v1::Slip {
        slip_id: vec![1; 16],
        network: "lune-valley.example".into(),
        from: "riverside-gp".into(),
        to: "harbour-aid".into(),
        purposes: vec![1],
        categories: vec![1, 4],
        issued_at_ms: 1000,
        expires_at_ms: 900_000,
        progress: true,
        person_commitment: person_commitment(&SALT, &PersonId::from_bytes(PERSON)).to_vec(),
        stop_hash: vec![6; 32],
    }
}

fn head(kind: EnvelopeKind) -> v1::Head {
    let slip = SignedSlip::issue(&Slip::parse(&wire_slip()).unwrap(), &signer(1)).unwrap();
    v1::Head {
        version: VERSION,
        suite: SUITE,
        envelope_id: vec![2; 16],
        network: "lune-valley.example".into(),
        from: "riverside-gp".into(),
        to: "harbour-aid".into(),
        kind: kind.number(),
        thread_id: vec![3; 16],
        ground: match kind {
            EnvelopeKind::Question | EnvelopeKind::Answer => None,
            EnvelopeKind::Disclosure => {
                Some(head::Ground::DisclosureNote(v1::SignedDisclosureNote::default()))
            }
            _ => Some(head::Ground::Slip(slip)),
        },
        categories: if kind == EnvelopeKind::Referral {
            vec![1, 4]
        } else {
            vec![]
        },
        created_at_ms: 2000,
        expires_at_ms: 3000,
        sealing_key_id: vec![0; 16],
    }
}

fn referral(categories: &[i32]) -> v1::Body {
    let part = |category: &i32| v1::Part {
        category: *category,
        fields: vec![v1::Field {
            name: "name".into(),
            value: "Selam".into(),
        }],
    };
    v1::Body {
        person_salt: SALT.to_vec(),
        person_id: PERSON.to_vec(),
        body: Some(body::Body::Referral(v1::Referral {
            purpose: 1,
            parts: categories.iter().map(part).collect(),
            ..Default::default()
        })),
    }
}

fn bare(inner: body::Body) -> v1::Body {
    v1::Body {
        body: Some(inner),
        ..Default::default()
    }
}

fn sealed(head: v1::Head, body: &v1::Body) -> Result<v1::Envelope, EnvelopeError> {
    seal_envelope(head, body, sealer(2).public(), &signer(1), &[9; 64]).map(Hashed::into_envelope)
}

/// What [`seal_envelope`] would make if it checked nothing.
fn forged(head: v1::Head, body: &v1::Body) -> v1::Envelope {
    let key = sealer(2);
    let head_bytes = v1::Head {
        sealing_key_id: sealing_key_id(key.public()).to_vec(),
        ..head
    }
    .encode_to_vec();
    let padded = seal::pad(&body.encode_to_vec()).unwrap();
    let info = info(&"lune-valley.example".parse().unwrap());
    let made = seal::seal(key.public(), &info, &head_bytes, &padded, &[9; 64]).unwrap();
    signed(v1::Envelope {
        head: head_bytes.into(),
        enc: made.enc.into(),
        ciphertext: made.ciphertext.into(),
        signature: vec![].into(),
    })
}

fn signed(mut envelope: v1::Envelope) -> v1::Envelope {
    let line = seal_line(&envelope);
    envelope.signature = signer(1)
        .sign(Context::Header, &[&envelope.head, &line])
        .unwrap()
        .0
        .to_vec()
        .into();
    envelope
}

fn good() -> v1::Envelope {
    sealed(head(EnvelopeKind::Referral), &referral(&[1, 4])).unwrap()
}

fn verified(envelope: &v1::Envelope) -> Result<Verified, EnvelopeError> {
    verify(envelope, |org| {
        (org.as_str() == "riverside-gp").then(|| signer(1).public())
    })
}

fn opened(envelope: &v1::Envelope) -> Result<v1::Body, EnvelopeError> {
    open(&verified(envelope)?, &sealer(2))
}

#[test]
fn round_trips_for_every_sort_of_ground() {
    let envelope = good();
    assert_eq!(opened(&envelope), Ok(referral(&[1, 4])));
    assert_eq!(verified(&envelope).unwrap().hash, envelope_hash(&envelope));
    for (kind, inner) in [
        (EnvelopeKind::Question, body::Body::Question(Default::default())),
        (EnvelopeKind::Event, body::Body::Event(Default::default())),
        (
            EnvelopeKind::Withdrawal,
            body::Body::Withdrawal(Default::default()),
        ),
        (
            EnvelopeKind::Disclosure,
            body::Body::Disclosure(Default::default()),
        ),
    ] {
        let body = bare(inner);
        assert_eq!(opened(&sealed(head(kind), &body).unwrap()), Ok(body), "{kind}");
    }
}

#[test]
fn truncations_and_flipped_bits_are_refused() {
    let bytes = good().encode_to_vec();
    for end in (0..bytes.len()).step_by(7) {
        let refused = v1::Envelope::decode(&bytes[..end]).map_or(true, |e| opened(&e).is_err());
        assert!(refused, "cut at {end}");
    }
    type Field = fn(&mut v1::Envelope) -> &mut prost::bytes::Bytes;
    let fields: [Field; 4] = [
        |e| &mut e.head,
        |e| &mut e.enc,
        |e| &mut e.ciphertext,
        |e| &mut e.signature,
    ];
    for (place, field) in fields.into_iter().enumerate() {
        let bits = field(&mut good()).len() * 8;
        for bit in (0..bits).step_by(61) {
            let mut bad = good();
            let mut bytes = field(&mut bad).to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            *field(&mut bad) = bytes.into();
            assert!(verified(&bad).is_err(), "field {place}, bit {bit}");
            // The sender's own signature does not cure a change behind the seal.
            if place < 3 {
                assert!(opened(&signed(bad)).is_err(), "field {place}, bit {bit}");
            }
        }
    }
}

#[test]
fn oversized_heads_envelopes_and_forms_are_refused() {
    let mut big = good();
    big.head = vec![0; HEAD_BYTES_MAX + 1].into();
    assert_eq!(verified(&big), Err(EnvelopeError::TooLarge));
    let mut big = good();
    big.ciphertext = vec![0; ENVELOPE_BYTES_MAX].into();
    assert_eq!(verified(&big), Err(EnvelopeError::TooLarge));
    let mut long = head(EnvelopeKind::Disclosure);
    long.ground = Some(head::Ground::DisclosureNote(v1::SignedDisclosureNote {
        note: vec![0; HEAD_BYTES_MAX],
        signature: vec![],
    }));
    let disclosure = bare(body::Body::Disclosure(Default::default()));
    assert_eq!(sealed(long, &disclosure), Err(EnvelopeError::TooLarge));
    let blob = bare(body::Body::Blob(v1::Blob {
        content: vec![0; ENVELOPE_BYTES_MAX],
        ..Default::default()
    }));
    assert_eq!(
        sealed(head(EnvelopeKind::Blob), &blob),
        Err(EnvelopeError::TooLarge)
    );
    let question = bare(body::Body::Question(v1::Question {
        area: "a".repeat(600),
        ..Default::default()
    }));
    let question_head = head(EnvelopeKind::Question);
    assert_eq!(
        sealed(question_head.clone(), &question),
        Err(EnvelopeError::TooLarge)
    );
    assert_eq!(
        opened(&forged(question_head, &question)),
        Err(EnvelopeError::TooLarge)
    );
}

#[test]
fn the_wrong_address_sender_or_key_is_refused() {
    let envelope = good();
    assert_eq!(verify(&envelope, |_| None), Err(EnvelopeError::UnknownMember));
    assert_eq!(
        verify(&envelope, |_| Some(signer(7).public())),
        Err(EnvelopeError::BadSignature)
    );
    let seen = verified(&envelope).unwrap();
    assert_eq!(open(&seen, &sealer(8)), Err(EnvelopeError::StaleKey));
    // An order line vouches for an envelope of the line's own sender only.
    let hashed = Hashed::new(envelope.clone());
    let (sender, stranger) = ("riverside-gp".parse().unwrap(), "somebody-else".parse().unwrap());
    assert_eq!(hashed.vouched_for(&sender).unwrap(), seen);
    assert_eq!(
        hashed.vouched_for(&stranger),
        Err(EnvelopeError::Malformed("sender"))
    );
    // A body taken out of one head and put under another does not open.
    let mut moved = good();
    let mut elsewhere = v1::Head::decode(moved.head.as_ref()).unwrap();
    elsewhere.to = "somebody-else".into();
    moved.head = elsewhere.encode_to_vec().into();
    assert_eq!(verified(&moved), Err(EnvelopeError::BadSignature));
    assert_eq!(opened(&signed(moved)), Err(EnvelopeError::Sealed));
}

#[test]
fn a_body_that_contradicts_its_head_is_neither_made_nor_taken() {
    let kind = EnvelopeKind::Referral;
    let undeclared = EnvelopeError::Undeclared([Category::Health].into_iter().collect());
    let mut stranger = referral(&[1]);
    stranger.person_id = vec![6; 16];
    let mut nobody = referral(&[1]);
    (nobody.person_salt, nobody.person_id) = (vec![], vec![]);
    let mut half = referral(&[1]);
    half.person_salt.clear();
    let mut named = bare(body::Body::Question(Default::default()));
    named.person_id = PERSON.to_vec();
    let words = bare(body::Body::Event(v1::Event {
        words: "well".into(),
        ..Default::default()
    }));
    let progress = EnvelopeError::Undeclared([Category::Progress].into_iter().collect());
    let person = EnvelopeError::Malformed("person");
    let table = [
        (kind, referral(&[1, 5]), undeclared),
        (kind, referral(&[1, 1]), EnvelopeError::Malformed("parts")),
        (
            kind,
            bare(body::Body::Event(Default::default())),
            EnvelopeError::WrongKind,
        ),
        (kind, v1::Body::default(), EnvelopeError::Malformed("body")),
        (kind, stranger, EnvelopeError::OtherPerson),
        (kind, nobody, EnvelopeError::OtherPerson),
        (kind, half, person),
        (EnvelopeKind::Question, named, person),
        (EnvelopeKind::Event, words, progress),
    ];
    for (kind, body, why) in table {
        assert_eq!(sealed(head(kind), &body), Err(why));
        assert_eq!(opened(&forged(head(kind), &body)), Err(why));
    }
}

#[test]
fn every_field_of_a_head_is_checked() {
    type Change = fn(&mut v1::Head);
    let table: [(&str, Change); 16] = [
        ("version", |h| h.version = 2),
        ("suite", |h| h.suite = 0),
        ("id", |h| h.envelope_id.clear()),
        ("network", |h| h.network = "x".into()),
        ("sender", |h| h.from = "X".into()),
        ("recipient", |h| h.to.clear()),
        ("recipient", |h| h.to = h.from.clone()),
        ("kind", |h| h.kind = 11),
        ("ground", |h| h.kind = 1),
        ("ground", |h| h.kind = 10),
        ("ground", |h| h.ground = None),
        ("thread id", |h| h.thread_id.push(0)),
        ("categories", |h| h.categories.push(1)),
        ("times", |h| h.expires_at_ms = h.created_at_ms),
        ("times", |h| {
            h.expires_at_ms = h.created_at_ms + ENVELOPE_LIFE_MS_MAX + 1
        }),
        ("sealing key id", |h| h.sealing_key_id.clear()),
    ];
    for (field, change) in table {
        let mut bad = head(EnvelopeKind::Referral);
        change(&mut bad);
        assert_eq!(
            Head::parse(&bad.encode_to_vec()),
            Err(EnvelopeError::Malformed(field))
        );
    }
}

#[test]
fn a_head_with_a_bad_slip_is_refused() {
    type Change = fn(&mut v1::Slip);
    let table: [(SlipError, Change); 2] = [
        (SlipError::OtherNetwork, |s| s.network = "other.example".into()),
        (SlipError::Malformed("expiry"), |s| {
            s.expires_at_ms = s.issued_at_ms + SLIP_LIFE_MS_MAX + 1;
        }),
    ];
    for (why, change) in table {
        let mut slip = wire_slip();
        change(&mut slip);
        let mut bad = head(EnvelopeKind::Referral);
        bad.ground = Some(head::Ground::Slip(v1::SignedSlip {
            slip: slip.encode_to_vec(),
            signature: vec![0; 64],
        }));
        assert_eq!(
            sealed(bad.clone(), &referral(&[1])),
            Err(EnvelopeError::Slip(why))
        );
        assert_eq!(
            verified(&forged(bad, &referral(&[1]))),
            Err(EnvelopeError::Slip(why))
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Head::parse(&bytes);
        let _ = v1::Envelope::decode(bytes.as_slice()).map(|e| verified(&e));
    }

    #[test]
    fn heads_round_trip(
        id: [u8; 16],
        kind in prop::sample::select(EnvelopeKind::ALL),
        categories in prop::sample::subsequence((1..=9).collect::<Vec<i32>>(), 0..=9).prop_shuffle(),
        created in 0..1_i64 << 50,
        life in 1..=ENVELOPE_LIFE_MS_MAX,
    ) {
        let wire = v1::Head {
            envelope_id: id.to_vec(),
            categories,
            created_at_ms: created,
            expires_at_ms: created + life,
            ..head(kind)
        };
        let parsed = Head::parse(&wire.encode_to_vec()).unwrap();
        prop_assert_eq!(Head::parse(&parsed.to_wire().encode_to_vec()), Ok(parsed));
    }
}

#[test]
fn a_returned_thread_holds_no_words_and_no_other_thread() {
    let categories = |inner: v1::Event| {
        let returned = v1::Returned {
            events: vec![v1::Event::default(), inner],
            ..v1::Returned::default()
        };
        categories_of(&body::Body::Event(v1::Event {
            returned: Some(returned),
            ..v1::Event::default()
        }))
    };
    assert_eq!(categories(v1::Event::default()), Ok(CategorySet::EMPTY));
    let malformed = Err(EnvelopeError::Malformed("returned"));
    let words = v1::Event {
        words: "canary".into(),
        ..v1::Event::default()
    };
    assert_eq!(categories(words), malformed);
    let nested = v1::Event {
        returned: Some(v1::Returned::default()),
        ..v1::Event::default()
    };
    assert_eq!(categories(nested), malformed);
}
