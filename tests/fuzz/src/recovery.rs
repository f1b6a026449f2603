//! Shares as people type them, and bundles that nobody made on purpose: on paper and in files for years, then read once, in distress.

use crate::refused;
use kith_proto::recovery::{
    BUNDLE_RANDOMNESS_LEN, BundleHead, BundleReader, BundleWriter, RecoveryKeys, RecoverySecret, Share,
    Sheet, bundle_head, check_bundle,
};
use std::sync::LazyLock;

static KEYS: LazyLock<RecoveryKeys> = LazyLock::new(|| {
    RecoverySecret::from_bytes([7; 32])
        .keys()
        .expect("the keys of a secret")
});

fn bundle(plain: &[u8]) -> Vec<u8> {
    let head = BundleHead {
        sheet: KEYS.sheet,
        network: "lune-valley.example".parse().expect("a network"),
        organisation: "riverside-gp".parse().expect("an organisation"),
        made_at_ms: 1_800_000_000_000,
    };
    let randomness = [5; BUNDLE_RANDOMNESS_LEN];
    let begun = BundleWriter::begin(Vec::new(), &KEYS.to_sheet(), &head, &randomness);
    let mut writer = begun.expect("a bundle");
    writer.write(plain).expect("a bundle in memory");
    writer.finish().expect("a bundle in memory").0
}

pub(crate) fn share_seeds() -> Vec<Vec<u8>> {
    let shares = Share::split(&RecoverySecret::from_bytes([7; 32]), &[9; 32]).expect("three shares");
    let texts = shares.map(|share| share.to_string());
    let lower = texts[0].to_lowercase().replace(' ', "-");
    texts.into_iter().chain([lower]).map(String::into_bytes).collect()
}

/// A share that is read stands for one printed form, and never joins with another sheet's.
pub(crate) fn shares(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Share::parse(&text) {
        Ok(share) => {
            assert_eq!(Share::parse(&share.to_string()).as_ref(), Ok(&share));
            assert!((1..=3).contains(&share.number()));
            let other = Share::split(&RecoverySecret::from_bytes([8; 32]), &[9; 32]).expect("three shares");
            for other in &other {
                refused(
                    Share::combine(&share, other)
                        .expect_err("of two sheets")
                        .problem(),
                );
            }
        }
        Err(error) => refused(error.problem()),
    }
}

pub(crate) fn bundle_seeds() -> Vec<Vec<u8>> {
    vec![
        bundle(b""),
        bundle(b"a row"),
        bundle(&[3; 65_537]),
        KEYS.to_sheet().to_bytes().to_vec(),
    ]
}

/// Only what its node made is a bundle; whatever is checked well opens to its end.
pub(crate) fn bundles(data: &[u8]) {
    // widens on every machine that this runs on.
    let bytes = data.len() as u64;
    match check_bundle(&mut &data[..], bytes, &KEYS) {
        Ok(head) => {
            assert_eq!(bundle_head(&mut &data[..]).ok().as_ref(), Some(&head));
            let mut reader = BundleReader::begin(data, bytes, &KEYS).expect("it was checked");
            while let Some(chunk) = reader.next_chunk().expect("it was checked") {
                assert!(chunk.len() <= 64 << 10);
            }
        }
        Err(error) => {
            refused(error.problem());
            if let Ok(mut reader) = BundleReader::begin(data, bytes, &KEYS) {
                let ended = loop {
                    match reader.next_chunk() {
                        Ok(Some(_)) => {}
                        ended => break ended.map(|_| ()),
                    }
                };
                refused(ended.expect_err("it was not checked well").problem());
            }
        }
    }
    match Sheet::from_bytes(data) {
        Ok(sheet) => assert_eq!(sheet.to_bytes().as_slice(), data),
        Err(error) => refused(error.problem()),
    }
}
