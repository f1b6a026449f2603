//! Bundles: what goes in comes out, and nothing else is ever taken for one.

use std::fmt::Write as _;

use super::*;
use crate::problem::Problem;

const TEXT: &[u8] = b"Amina, 07700 900123";

fn keys(seed: u8) -> RecoveryKeys {
    RecoverySecret::from_bytes([seed; 32]).keys().unwrap()
}

fn head(keys: &RecoveryKeys) -> BundleHead {
    BundleHead {
        sheet: keys.sheet,
        network: "lune-valley.example".parse().unwrap(),
        organisation: "riverside-gp".parse().unwrap(),
        made_at_ms: 1_800_000_000_000,
    }
}

fn bundle(keys: &RecoveryKeys, plain: &[u8]) -> (Vec<u8>, Written) {
    let mut writer = BundleWriter::begin(
        Vec::new(),
        &keys.to_sheet(),
        &head(keys),
        &[5; BUNDLE_RANDOMNESS_LEN],
    )
    .unwrap();
    for piece in plain.chunks(10_007) {
        writer.write(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn open(bytes: &[u8], keys: &RecoveryKeys) -> Result<Vec<u8>, BundleError> {
    let (read, plain) = read_all(bytes, keys)?;
    assert_eq!(read, head(keys));
    Ok(plain)
}

fn read_all(bytes: &[u8], keys: &RecoveryKeys) -> Result<(BundleHead, Vec<u8>), BundleError> {
    let mut plain = Vec::new();
    let mut reader = BundleReader::begin(bytes, bytes.len() as u64, keys)?;
    while let Some(chunk) = reader.next_chunk()? {
        plain.extend_from_slice(chunk);
    }
    Ok((reader.head().clone(), plain))
}

fn checked(bytes: &[u8], keys: &RecoveryKeys) -> Result<BundleHead, BundleError> {
    check_bundle(&mut &bytes[..], bytes.len() as u64, keys)
}

#[test]
fn every_length_comes_back() {
    let keys = keys(1);
    for length in [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 300_000] {
        let plain: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
        let (bytes, written) = bundle(&keys, &plain);
        assert_eq!(written.bytes, bytes.len() as u64);
        assert_eq!(written.hash, crate::sign::sha256(&[&bytes]));
        assert_eq!(checked(&bytes, &keys).unwrap(), head(&keys));
        assert_eq!(open(&bytes, &keys).unwrap(), plain, "{length}");
    }
}

#[test]
fn nothing_of_the_text_is_in_clear() {
    let (bytes, _) = bundle(&keys(1), &TEXT.repeat(5_000));
    assert!(!bytes.windows(5).any(|window| window == b"Amina"));
}

#[test]
fn a_flip_anywhere_is_refused_before_anything_is_opened() {
    let keys = keys(1);
    let (good, _) = bundle(&keys, &vec![3; 70_000]);
    // Every byte of the head; of the sealed key and the chunks some.
    let step = |at: usize| if at < 60 { 1 } else { 499 };
    let mut at = 0;
    while at < good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let error = checked(&bad, &keys).expect_err("a flip");
        assert_ne!(error.problem(), Problem::Unavailable, "{at}: {error}");
        assert!(read_all(&bad, &keys).is_err(), "{at}");
        at += step(at);
    }
    let mut last = good.clone();
    *last.last_mut().unwrap() ^= 1;
    assert!(matches!(checked(&last, &keys), Err(BundleError::Altered)));
}

#[test]
fn cut_off_moved_and_longer_bundles_are_refused() {
    let keys = keys(1);
    let (good, _) = bundle(&keys, &vec![3; 200_000]);
    for length in (0..good.len()).step_by(997).chain([good.len() - 1]) {
        assert!(checked(&good[..length], &keys).is_err(), "{length}");
        assert!(open(&good[..length], &keys).is_err(), "{length}");
    }
    let longer = [good.as_slice(), b"x"].concat();
    assert!(matches!(checked(&longer, &keys), Err(BundleError::Altered)));
    // The size that was said is not the size that is there.
    assert!(check_bundle(&mut &good[..], good.len() as u64 + 1, &keys).is_err());
    let begins = good.len() - 32 - (200_000 + 4 * 16);
    let mut moved = good.clone();
    let (first, second) = moved[begins..].split_at_mut(65_552);
    first.swap_with_slice(&mut second[..65_552]);
    assert!(matches!(checked(&moved, &keys), Err(BundleError::Altered)));
    assert!(open(&moved, &keys).is_err(), "the chunks themselves are in order");
}

#[test]
fn chunks_hold_their_order_and_end_without_the_mac_too() {
    // Whoever has the auth key, a thief of the node, can mark anything; still nothing that was sealed can be cut or moved.
    let keys = keys(1);
    let (good, _) = bundle(&keys, &vec![3; 200_000]);
    let cut = good.len() - 32 - (200_000 - 3 * 65_536 + 16);
    let mut body = good[..cut].to_vec();
    let mut mac = keys.auth.begin();
    mac.update(&body);
    body.extend_from_slice(mac.sign().as_ref());
    assert!(checked(&body, &keys).is_ok(), "the mark is good");
    assert!(
        matches!(open(&body, &keys), Err(BundleError::Altered)),
        "the end is missing"
    );
}

#[test]
fn who_knows_only_the_public_key_cannot_make_one() {
    let keys = keys(1);
    let mut forged = keys.to_sheet();
    forged.auth = RecoverySecret::from_bytes([2; 32]).keys().unwrap().auth;
    let writer = BundleWriter::begin(Vec::new(), &forged, &head(&keys), &[5; BUNDLE_RANDOMNESS_LEN]).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    assert!(matches!(checked(&bytes, &keys), Err(BundleError::Altered)));
    assert!(matches!(open(&bytes, &keys), Err(BundleError::Altered)));
}

#[test]
fn what_the_node_keeps_opens_nothing() {
    let keys = keys(1);
    let (bytes, _) = bundle(&keys, TEXT);
    let sheet = Sheet::from_bytes(&keys.to_sheet().to_bytes()).unwrap();
    // All a thief of the node has: the sheet's public key, and any private key of his own.
    let thief = RecoveryKeys {
        sheet: sheet.id,
        auth: sheet.auth.clone(),
        ..self::keys(8)
    };
    assert!(checked(&bytes, &thief).is_ok());
    assert!(matches!(open(&bytes, &thief), Err(BundleError::Altered)));
}

#[test]
fn other_files_and_other_sheets_are_said() {
    let (one, other) = (keys(1), keys(2));
    let (bytes, _) = bundle(&one, TEXT);
    match checked(&bytes, &other) {
        Err(BundleError::OtherSheet { bundle, shares }) => {
            assert_eq!((bundle, shares), (one.sheet, other.sheet));
        }
        wrong => panic!("{wrong:?}"),
    }
    assert!(matches!(
        checked(b"PK\x03\x04 something else", &one),
        Err(BundleError::NotABundle)
    ));
    assert!(matches!(checked(b"", &one), Err(BundleError::NotABundle)));
    let mut later = bytes;
    later[7] = b'2';
    assert!(matches!(checked(&later, &one), Err(BundleError::Newer)));
    let huge = check_bundle(&mut &later[..], BUNDLE_BYTES_MAX + 1, &one);
    assert!(matches!(huge, Err(BundleError::TooLarge)));
}

#[test]
fn a_kept_sheet_is_read_as_it_was_written_and_nothing_else_is() {
    let sheet = keys(1).to_sheet();
    let bytes = sheet.to_bytes();
    let read = Sheet::from_bytes(&bytes).unwrap();
    assert_eq!((read.id, read.fetch_hash), (sheet.id, sheet.fetch_hash));
    assert_eq!(read.sealing, sheet.sealing);
    for bad in [&bytes[..bytes.len() - 1], &[], &[9; 1286]] {
        assert_eq!(Sheet::from_bytes(bad).unwrap_err(), SheetError::Malformed);
    }
    assert_eq!(fetch_hash(&keys(1).fetch_secret), sheet.fetch_hash);
    let shown = format!(
        "{sheet:?} {:?} {:?}",
        keys(1),
        RecoverySecret::from_bytes([1; 32])
    );
    assert!(!shown.contains("1, 1") && shown.contains("(..)"), "{shown}");
}

/// A bundle that was made by the first version must open for as long as somebody may hold one.
#[test]
fn the_golden_bundle() {
    let kept: String = include_str!("../golden/recovery_bundle.hex")
        .split_whitespace()
        .collect();
    let (made, _) = bundle(&keys(1), TEXT);
    let mut hex = String::new();
    for byte in &made {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert_eq!(hex, kept, "the bytes of a bundle have changed");
    let kept = data_encoding::HEXLOWER.decode(kept.as_bytes()).unwrap();
    assert_eq!(open(&kept, &keys(1)).unwrap(), TEXT);
}
