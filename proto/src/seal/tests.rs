//! Sealing, opening and padding: the published vectors, what is refused, and round trips.

use super::*;
use proptest::prelude::*;

const RANDOM: [u8; RANDOMNESS_LEN] = [9; RANDOMNESS_LEN];

fn key(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32]).unwrap()
}

fn sealed(plaintext: &[u8]) -> Sealed {
    seal(key(1).public(), b"info", b"aad", plaintext, &RANDOM).unwrap()
}

fn opened(sealed: &Sealed) -> Result<Vec<u8>, SealError> {
    open(&key(1), b"info", b"aad", &sealed.enc, &sealed.ciphertext)
}

fn hex(value: &serde_json::Value) -> Vec<u8> {
    data_encoding::HEXLOWER
        .decode(value.as_str().unwrap().as_bytes())
        .unwrap()
}

/// The vectors of draft-ietf-hpke-pq's authors: key derivation, encapsulation, key schedule, every encryption.
#[test]
fn reference_vectors() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/vectors/hpke/mlkem768-x25519.json"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: the reference vectors are not here");
        return;
    };
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    for v in &vectors {
        let key = SealingKey::from_seed(hex(&v["ikmR"]).try_into().unwrap()).unwrap();
        assert_eq!(key.public().as_bytes().as_slice(), hex(&v["pkRm"]));
        let unfolded = UnfoldedKey::unfold(&hex(&v["skRm"]).try_into().unwrap()).unwrap();
        assert_eq!(unfolded.public(), key.public());
        let (info, enc) = (hex(&v["info"]), hex(&v["enc"]));
        let random: [u8; RANDOMNESS_LEN] = hex(&v["ikmE"]).try_into().unwrap();
        let (made, mut out) = sender(key.public(), &info, &random).unwrap();
        assert_eq!(made, enc);
        let mut back = receiver(&key, &info, &enc).unwrap();
        let secret = unfolded.decapsulate(enc.as_slice().try_into().unwrap()).unwrap();
        assert_eq!(secret.as_slice(), hex(&v["shared_secret"]));
        let encryptions = v["encryptions"].as_array().unwrap();
        assert!(!encryptions.is_empty());
        for e in encryptions {
            let (aad, pt, ct) = (hex(&e["aad"]), hex(&e["pt"]), hex(&e["ct"]));
            assert_eq!(out.seal(&aad, &pt).unwrap(), ct);
            assert_eq!(back.open(&aad, &ct).unwrap(), pt);
        }
        for e in v["exports"].as_array().unwrap() {
            let length = usize::try_from(e["L"].as_u64().unwrap()).unwrap();
            let exported = back.export(&hex(&e["exporter_context"]), length).unwrap();
            assert_eq!(exported, hex(&e["exported_value"]));
        }
        let first = &encryptions[0];
        let (aad, pt, ct) = (hex(&first["aad"]), hex(&first["pt"]), hex(&first["ct"]));
        let whole = seal(key.public(), &info, &aad, &pt, &random).unwrap();
        assert_eq!(
            whole,
            Sealed {
                enc: enc.clone(),
                ciphertext: ct.clone()
            }
        );
        assert_eq!(open(&key, &info, &aad, &enc, &ct).unwrap(), pt);
    }
}

#[test]
fn the_same_randomness_gives_the_same_bytes_and_other_randomness_others() {
    assert_eq!(sealed(b"body"), sealed(b"body"));
    let mut random = RANDOM;
    for at in [0, 63] {
        random[at] ^= 1;
        let other = seal(key(1).public(), b"info", b"aad", b"body", &random).unwrap();
        assert_ne!(other.enc, sealed(b"body").enc);
        assert_ne!(other.ciphertext, sealed(b"body").ciphertext);
    }
}

#[test]
fn opens_with_the_right_key_info_and_aad_only() {
    let s = sealed(b"body");
    assert_eq!((s.enc.len(), s.ciphertext.len()), (ENC_LEN, 4 + TAG_LEN));
    assert_eq!(opened(&s).unwrap(), b"body");
    for (seed, info, aad) in [
        (2, "info", "aad"),
        (1, "inf", "aad"),
        (1, "info", "aae"),
        (1, "infoa", "ad"),
    ] {
        let result = open(&key(seed), info.as_bytes(), aad.as_bytes(), &s.enc, &s.ciphertext);
        assert_eq!(result, Err(SealError::Open), "{seed} {info} {aad}");
    }
}

#[test]
fn truncated_and_lengthened_bytes_are_refused() {
    let s = sealed(b"body");
    for enc in [&s.enc[..0], &s.enc[..ENC_LEN - 1], &[&s.enc[..], &[0]].concat()] {
        assert_eq!(
            opened(&Sealed {
                enc: enc.to_vec(),
                ..s.clone()
            }),
            Err(SealError::Open)
        );
    }
    for length in 0..s.ciphertext.len() {
        let cut = Sealed {
            ciphertext: s.ciphertext[..length].to_vec(),
            ..s.clone()
        };
        assert_eq!(opened(&cut), Err(SealError::Open), "{length}");
    }
    let long = Sealed {
        ciphertext: [&s.ciphertext[..], &[0]].concat(),
        ..s
    };
    assert_eq!(opened(&long), Err(SealError::Open));
}

#[test]
fn flipped_bits_are_refused() {
    let s = sealed(b"body");
    // 101 is prime to 8, so every bit position within a byte is among the samples.
    for bit in (0..s.enc.len() * 8).step_by(101) {
        let mut bad = s.clone();
        bad.enc[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opened(&bad), Err(SealError::Open), "enc bit {bit}");
    }
    for bit in 0..s.ciphertext.len() * 8 {
        let mut bad = s.clone();
        bad.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opened(&bad), Err(SealError::Open), "ciphertext bit {bit}");
    }
}

#[test]
fn malformed_public_keys_and_too_large_bodies_are_refused() {
    for length in [0, PUBLIC_KEY_LEN - 1, PUBLIC_KEY_LEN + 1] {
        assert_eq!(
            SealingPublicKey::from_bytes(&vec![0; length]),
            Err(SealError::PublicKey)
        );
    }
    let mut out_of_range = *key(1).public().as_bytes();
    out_of_range[..3].fill(0xff);
    let mut small_order = *key(1).public().as_bytes();
    small_order[PUBLIC_KEY_LEN - 32..].fill(0);
    for bytes in [out_of_range, small_order] {
        let result = seal(&SealingPublicKey(bytes), b"", b"", b"", &RANDOM);
        assert_eq!(result, Err(SealError::PublicKey));
    }
    let big = vec![0; (1008 << 10) + 1];
    assert_eq!(
        seal(key(1).public(), b"", b"", &big, &RANDOM),
        Err(SealError::TooLarge)
    );
}

#[test]
fn padding_fills_each_bucket_to_its_brim() {
    for (at, size) in BUCKETS.into_iter().enumerate() {
        let padded = pad(&vec![1; size - PREFIX_LEN]).unwrap();
        assert_eq!(
            (padded.len(), unpad(&padded).unwrap().len()),
            (size, size - PREFIX_LEN)
        );
        let over = pad(&vec![1; size - PREFIX_LEN + 1]).map(|p| p.len());
        assert_eq!(over, BUCKETS.get(at + 1).copied().ok_or(SealError::TooLarge));
    }
    assert!(BUCKETS[BUCKETS.len() - 1] + TAG_LEN + ENC_LEN + (8 << 10) + 1024 <= 1 << 20);
}

#[test]
fn wrong_padding_is_refused() {
    let good = pad(b"body").unwrap();
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    let larger_bucket = [&good[..], &[0; 512]].concat();
    let cases = [
        vec![],
        vec![0; 3],
        vec![0; 4],
        good[..511].to_vec(),
        [&good[..], &[0]].concat(),
        larger_bucket,
        with(0, 0xff),
        with(2, 2),
        with(3, 3),
        with(8, 1),
        with(511, 1),
    ];
    for bad in cases {
        assert_eq!(unpad(&bad), Err(SealError::Padding), "length {}", bad.len());
    }
}

#[test]
fn debug_shows_no_private_key() {
    let shown = format!("{:?}", key(1));
    assert!(shown.starts_with("SealingKey(of SealingPublicKey(sha256 ") && shown.len() < 120);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pad_then_unpad(plaintext in prop::collection::vec(any::<u8>(), 0..5000)) {
        let padded = pad(&plaintext).unwrap();
        prop_assert!(BUCKETS.contains(&padded.len()));
        prop_assert_eq!(unpad(&padded).unwrap(), &plaintext[..]);
    }

    #[test]
    fn unpad_takes_only_what_pad_makes(length in 0u32..600, at in 4usize..512, byte: u8) {
        let mut padded = vec![0; 512];
        padded[..4].copy_from_slice(&length.to_be_bytes());
        padded[at] = byte;
        if let Ok(plaintext) = unpad(&padded) {
            prop_assert_eq!(pad(plaintext).unwrap(), padded);
        }
    }

    #[test]
    fn seal_then_open(plaintext in prop::collection::vec(any::<u8>(), 0..600), random: [u8; 64]) {
        let s = seal(key(1).public(), b"info", b"aad", &plaintext, &random).unwrap();
        prop_assert_eq!(opened(&s).unwrap(), plaintext);
    }
}
