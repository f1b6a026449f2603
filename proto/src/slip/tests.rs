//! Slips: every field checked, forged and foreign ones refused, what is issued verifies.
use super::*;
use proptest::prelude::*;

fn wire() -> v1::Slip {
    v1::Slip {
        slip_id: vec![1; 16],
        network: "lune-valley.example".into(),
        from: "riverside-gp".into(),
        to: "harbour-aid".into(),
        purposes: vec![1, 2],
        categories: vec![1, 4],
        issued_at_ms: 1000,
        expires_at_ms: 2000,
        progress: true,
        person_commitment: vec![2; 32],
        stop_hash: stop_hash(&stop_secret(&[3; 16])).to_vec(),
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn network() -> NetworkName {
    "lune-valley.example".parse().unwrap()
}

#[test]
fn issue_and_verify_round_trip() {
    let slip = Slip::parse(&wire()).unwrap();
    let signed = SignedSlip::issue(&slip, &key(1)).unwrap();
    let found = SignedSlip::verify(&signed, &network(), |org| {
        (org.as_str() == "riverside-gp").then(|| key(1).public())
    });
    assert_eq!(found, Ok(slip.clone()));
    let terms = slip.terms(true);
    assert_eq!(
        (terms.from, terms.to, terms.withdrawn),
        ("riverside-gp", "harbour-aid", true)
    );
    assert!(terms.allowed().contains(Category::Progress));
}

#[test]
fn refuses_wrong_signature_network_and_member() {
    let slip = Slip::parse(&wire()).unwrap();
    let signed = SignedSlip::issue(&slip, &key(1)).unwrap();
    let own = |_: &OrgId| Some(key(1).public());
    let other = SignedSlip::verify(&signed, &network(), |_| Some(key(2).public()));
    assert_eq!(other, Err(SlipError::BadSignature));
    let unknown = SignedSlip::verify(&signed, &network(), |_| None);
    assert_eq!(unknown, Err(SlipError::UnknownMember));
    let elsewhere = "other.example".parse().unwrap();
    assert_eq!(
        SignedSlip::verify(&signed, &elsewhere, own),
        Err(SlipError::OtherNetwork)
    );
    for bit in 0..signed.slip.len() * 8 {
        let mut bad = signed.clone();
        bad.slip[bit / 8] ^= 1 << (bit % 8);
        assert!(SignedSlip::verify(&bad, &network(), own).is_err(), "bit {bit}");
    }
    let mut short = signed;
    short.signature.pop();
    assert_eq!(
        SignedSlip::verify(&short, &network(), own),
        Err(SlipError::Malformed("signature"))
    );
}

#[test]
fn every_field_is_checked() {
    type Change = fn(&mut v1::Slip);
    let table: [(&str, Change); 18] = [
        ("id", |s| s.slip_id.truncate(15)),
        ("network", |s| s.network = "Lune".into()),
        ("capturing member", |s| s.from = "x".into()),
        ("other member", |s| s.to.clear()),
        ("other member", |s| s.to = s.from.clone()),
        ("purposes", |s| s.purposes.push(1)),
        ("purposes", |s| s.purposes.push(0)),
        ("purposes", |s| s.purposes.push(6)),
        ("categories", |s| s.categories.push(4)),
        ("categories", |s| s.categories.push(10)),
        ("categories", |s| s.categories.push(-1)),
        ("issue time", |s| s.issued_at_ms = -1),
        ("issue time", |s| {
            (s.issued_at_ms, s.expires_at_ms) = (i64::MIN, i64::MAX);
        }),
        ("expiry", |s| s.expires_at_ms = s.issued_at_ms),
        ("expiry", |s| {
            s.expires_at_ms = s.issued_at_ms + SLIP_LIFE_MS_MAX + 1
        }),
        ("expiry", |s| s.expires_at_ms = i64::MAX),
        ("person commitment", |s| s.person_commitment.push(0)),
        ("stop hash", |s| s.stop_hash.clear()),
    ];
    for (field, change) in table {
        let mut bad = wire();
        change(&mut bad);
        assert_eq!(Slip::parse(&bad), Err(SlipError::Malformed(field)));
    }
    let mut longest = wire();
    longest.expires_at_ms = longest.issued_at_ms + SLIP_LIFE_MS_MAX;
    assert!(Slip::parse(&longest).is_ok());
}

#[test]
fn a_slip_changed_after_parsing_is_not_issued() {
    let mut slip = Slip::parse(&wire()).unwrap();
    slip.expires_at_ms = i64::MAX;
    assert_eq!(
        SignedSlip::issue(&slip, &key(1)),
        Err(SlipError::Malformed("expiry"))
    );
}

#[test]
fn commitments_differ_by_salt_and_person_and_secrets_by_seed() {
    let person = PersonId::from_bytes([1; 16]);
    let one = person_commitment(&[0; 32], &person);
    assert_ne!(one, person_commitment(&[1; 32], &person));
    assert_ne!(one, person_commitment(&[0; 32], &PersonId::from_bytes([2; 16])));
    assert_ne!(stop_secret(&[0; 16]), stop_secret(&[1; 16]));
    assert_ne!(stop_hash(&stop_secret(&[0; 16])), stop_secret(&[0; 16]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Slip::decode(&bytes);
    }

    #[test]
    fn encode_and_decode_round_trip(
        id: [u8; 16],
        purposes in prop::sample::subsequence(vec![1, 2, 3, 4, 5], 0..=5).prop_shuffle(),
        categories in prop::sample::subsequence((1..=9).collect::<Vec<i32>>(), 0..=9).prop_shuffle(),
        issued in 0..1_i64 << 50,
        life in 1..=SLIP_LIFE_MS_MAX,
        progress: bool,
        commitment: [u8; 32],
    ) {
        let slip = Slip::parse(&v1::Slip {
            slip_id: id.to_vec(),
            purposes,
            categories,
            issued_at_ms: issued,
            expires_at_ms: issued + life,
            progress,
            person_commitment: commitment.to_vec(),
            ..wire()
        }).unwrap();
        prop_assert_eq!(Slip::decode(&slip.encode()), Ok(slip));
    }
}
