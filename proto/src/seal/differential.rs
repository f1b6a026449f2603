//! Test: what `seal` makes and takes, against `hpke-rs` with libcrux for everything. Same bytes, each opens the other's,
//! both refuse the same.

use hpke_rs::libcrux::HpkeLibcrux;
use hpke_rs::{HpkePrivateKey, HpkePublicKey};
use hpke_rs_crypto::HpkeCrypto;
use proptest::prelude::*;

use super::*;

type Library = HpkeLibcrux<NoRandomness>;

/// Lengths of a plaintext: around the block sizes of the cipher often, up to 64 KiB.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..300, 0usize..=64 << 10, Just(64 << 10)]
}

fn library() -> Hpke<Library> {
    Hpke::new_with_rng(Mode::Base, KEM, KDF, AEAD, NoRandomness)
}

/// Both forms of the key pair of a seed, which must have one public half.
fn keys(seed: [u8; 32]) -> (SealingKey, HpkePrivateKey) {
    let ours = SealingKey::from_seed(seed).unwrap();
    let (theirs, public) = library().derive_key_pair(&seed).unwrap().into_keys();
    assert!(public == HpkePublicKey::new(ours.public().0.to_vec()));
    (ours, theirs)
}

fn library_seal(
    to: &SealingPublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    randomness: &[u8; RANDOMNESS_LEN],
) -> Option<Sealed> {
    let (secret, enc) = Library::kem_encaps_derand(KEM, &to.0, randomness).ok()?;
    let mut context = library().key_schedule(&secret, info, &[], &[]).unwrap();
    let ciphertext = context.seal(aad, plaintext).unwrap();
    Some(Sealed { enc, ciphertext })
}

fn library_open(key: &HpkePrivateKey, info: &[u8], aad: &[u8], sealed: &Sealed) -> Option<Vec<u8>> {
    let (enc, ciphertext) = (&sealed.enc, &sealed.ciphertext);
    library()
        .open(enc, key, info, aad, ciphertext, None, None, None)
        .ok()
}

/// What both make of an envelope: `None` when both refuse it.
fn both_open(seed: [u8; 32], info: &[u8], aad: &[u8], sealed: &Sealed) -> Option<Vec<u8>> {
    let (ours, theirs) = keys(seed);
    let opened = open(&ours, info, aad, &sealed.enc, &sealed.ciphertext).ok();
    assert_eq!(opened, library_open(&theirs, info, aad, sealed));
    opened
}

/// What both make of a plaintext: `None` when both refuse the key.
fn both_seal(to: &SealingPublicKey, randomness: &[u8; RANDOMNESS_LEN]) -> Option<Sealed> {
    let ours = seal(to, b"info", b"aad", b"body", randomness);
    assert!(!matches!(ours, Err(error) if error != SealError::PublicKey));
    assert_eq!(
        ours.clone().ok(),
        library_seal(to, b"info", b"aad", b"body", randomness)
    );
    ours.ok()
}

/// Every u-coordinate below 2^256 of a point of order 1, 2, 4 or 8, on the curve or its twist.
fn small_order() -> Vec<[u8; 32]> {
    let top = |low: u8| {
        let mut u = [0xff; 32];
        (u[0], u[31]) = (low, 0x7f);
        u
    };
    let of_order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut points: Vec<[u8; 32]> = of_order_8
        .iter()
        .map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap())
        .map(|bytes| bytes.try_into().unwrap())
        .collect();
    let mut one = [0; 32];
    one[0] = 1;
    // p is 2^255 - 19, so 0xed is p itself.
    points.extend([[0; 32], one, top(0xec), top(0xed), top(0xee)]);
    let masked = points.clone().into_iter().map(|mut u| {
        u[31] |= 0x80;
        u
    });
    points.extend(masked.collect::<Vec<_>>());
    points
}

#[test]
fn points_of_small_order_are_refused_by_both() {
    let (seed, random) = ([1; 32], [9; RANDOMNESS_LEN]);
    let key = SealingKey::from_seed(seed).unwrap();
    let sealed = both_seal(key.public(), &random).unwrap();
    for u in small_order() {
        let mut to = key.public().clone();
        to.0[PUBLIC_KEY_LEN - 32..].copy_from_slice(&u);
        assert_eq!(both_seal(&to, &random), None, "to {u:x?}");
        let mut bad = sealed.clone();
        bad.enc[ENC_LEN - 32..].copy_from_slice(&u);
        assert_eq!(both_open(seed, b"info", b"aad", &bad), None, "enc {u:x?}");
    }
}

#[test]
fn other_forms_of_an_x25519_key_are_the_same_to_both() {
    let key = SealingKey::from_seed([1; 32]).unwrap();
    let mut masked = key.public().clone();
    masked.0[PUBLIC_KEY_LEN - 1] |= 0x80;
    // p + 9, the base point written in another way.
    let mut unreduced = key.public().clone();
    unreduced.0[PUBLIC_KEY_LEN - 32..].fill(0xff);
    unreduced.0[PUBLIC_KEY_LEN - 32] = 0xf6;
    unreduced.0[PUBLIC_KEY_LEN - 1] = 0x7f;
    for to in [key.public(), &masked, &unreduced] {
        for random in [[0; RANDOMNESS_LEN], [0xff; RANDOMNESS_LEN]] {
            assert!(both_seal(to, &random).is_some());
        }
    }
}

#[test]
fn wrong_lengths_are_refused_by_both() {
    let (ours, theirs) = keys([1; 32]);
    let good = both_seal(ours.public(), &[9; RANDOMNESS_LEN]).unwrap();
    for length in [0, 1, 32, ENC_LEN - 32, ENC_LEN - 1, ENC_LEN + 1, 2 * ENC_LEN] {
        let mut bad = good.clone();
        bad.enc.resize(length, 0);
        let opened = open(&ours, b"info", b"aad", &bad.enc, &bad.ciphertext);
        assert_eq!(opened, Err(SealError::Open), "enc of {length}");
        assert_eq!(library_open(&theirs, b"info", b"aad", &bad), None);
    }
    for length in 0..good.ciphertext.len() {
        let mut bad = good.clone();
        bad.ciphertext.truncate(length);
        assert_eq!(both_open([1; 32], b"info", b"aad", &bad), None, "{length}");
    }
}

#[test]
fn the_provider_refuses_what_is_not_of_the_suite() {
    let seal = |alg, key: &[u8], nonce: &[u8]| Provider::aead_seal(alg, key, nonce, b"", b"");
    assert!(seal(AEAD, &[0; 32], &[0; 12]).is_ok());
    assert!(seal(AeadAlgorithm::Aes256Gcm, &[0; 32], &[0; 12]).is_err());
    for (key, nonce) in [(0, 12), (31, 12), (33, 12), (32, 0), (32, 11), (32, 13)] {
        let (key, nonce) = (vec![0; key], vec![0; nonce]);
        assert!(seal(AEAD, &key, &nonce).is_err());
        assert!(Provider::aead_open(AEAD, &key, &nonce, b"", &[0; 16]).is_err());
    }
    for length in 0..16 {
        assert!(Provider::aead_open(AEAD, &[0; 32], &[0; 12], b"", &vec![0; length]).is_err());
    }
    let mut suite = suite();
    assert!(suite.generate_key_pair().is_err());
    assert!(suite.derive_key_pair(&[0; 32]).is_err());
    let to = HpkePublicKey::new(SealingKey::from_seed([1; 32]).unwrap().public().0.to_vec());
    assert!(suite.setup_sender(&to, b"", None, None, None).is_err());
    let key = HpkePrivateKey::new(vec![1; 32]);
    assert!(
        suite
            .setup_receiver(&[0; ENC_LEN], &key, b"", None, None, None)
            .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_bytes_and_each_opens_the_others(
        seed: [u8; 32],
        random: [u8; RANDOMNESS_LEN],
        length in lengths(),
        info in prop::collection::vec(any::<u8>(), 0..100),
        aad in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (ours, theirs) = keys(seed);
        let mut plaintext = vec![0; length];
        libcrux_sha3::shake256_ema(&mut plaintext, &seed);
        let sealed = seal(ours.public(), &info, &aad, &plaintext, &random).unwrap();
        let by_library = library_seal(ours.public(), &info, &aad, &plaintext, &random).unwrap();
        prop_assert!(sealed == by_library);
        prop_assert!(open(&ours, &info, &aad, &by_library.enc, &by_library.ciphertext).unwrap() == plaintext);
        prop_assert!(library_open(&theirs, &info, &aad, &sealed).unwrap() == plaintext);
    }

    #[test]
    fn one_flipped_bit_is_refused_by_both(
        seed: [u8; 32],
        random: [u8; RANDOMNESS_LEN],
        length in 0usize..2000,
        part in 0usize..4,
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let key = SealingKey::from_seed(seed).unwrap();
        let (mut info, mut aad) = (b"info".to_vec(), b"aad".to_vec());
        let mut sealed = seal(key.public(), &info, &aad, &vec![7; length], &random).unwrap();
        prop_assert_eq!(both_open(seed, &info, &aad, &sealed), Some(vec![7; length]));
        let bytes = match part {
            0 => &mut info,
            1 => &mut aad,
            2 => &mut sealed.enc,
            _ => &mut sealed.ciphertext,
        };
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(both_open(seed, &info, &aad, &sealed), None);
    }
}
