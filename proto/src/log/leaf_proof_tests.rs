//! Receipts of leaves: the example's form, what is refused, changed bits.

use super::checkpoint::Checkpoint;
use super::leaf_proof::*;
use super::note::*;
use super::note_tests::{key, name, verifier};
use super::proof::*;
use super::proof_tests::{Nodes, leaves};
use super::tree::*;
use proptest::prelude::*;

const SIZE: u64 = 23;

fn log_keys() -> [VerifierKey; 1] {
    [verifier("log.example/1", KeyKind::Ed25519, 1)]
}

fn leaf(index: u64) -> Hash {
    leaves(SIZE)[usize::try_from(index).unwrap()]
}

fn receipt(index: u64, extra: &[u8]) -> LeafProof {
    let nodes = Nodes::over(leaves(SIZE));
    let head = head_of(leaves(SIZE)).unwrap();
    let checkpoint = Checkpoint::new(&name("log.example/1"), head).unwrap();
    let mut note = checkpoint.note(vec![checkpoint.sign(&key(1)).unwrap()]).unwrap();
    note.add(checkpoint.cosign(&name("w2.example"), &key(2), 7).unwrap())
        .unwrap();
    let hashes = nodes.make(&Plan::inclusion(index, SIZE).unwrap());
    LeafProof::new(index, hashes, note, extra.to_vec()).unwrap()
}

/// The lines of the example of tlog-proof, whose own hashes and signatures are cut short.
#[test]
fn a_receipt_has_the_form_of_the_specification() {
    let text = receipt(22, b"extra bytes").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["c2sp.org/tlog-proof@v1", "extra ZXh0cmEgYnl0ZXM=", "index 22"]
    );
    assert!(lines[3..6].iter().all(|line| line.parse::<Hash>().is_ok()));
    assert_eq!(lines[6..9], ["", "log.example/1", "23"]);
    assert_eq!(lines[10], "");
    assert!(lines[11].starts_with("— log.example/1 ") && lines[12].starts_with("— w2.example "));
    assert!(text.ends_with("=\n"));
    assert!(!receipt(22, b"").to_string().contains("extra"));
    let read: LeafProof = text.parse().unwrap();
    assert_eq!(
        (read.index(), read.extra(), read.hashes().len()),
        (22, b"extra bytes".as_slice(), 3)
    );
    assert_eq!(read.note().signatures().len(), 2);
}

#[test]
fn every_leaf_has_a_receipt_and_no_other_leaf_fits_it() {
    for index in 0..SIZE {
        let read: LeafProof = receipt(index, b"").to_string().parse().unwrap();
        for tried in 0..SIZE {
            let opened = read.open(&leaf(tried), &log_keys());
            if tried == index {
                assert_eq!(opened.unwrap().head().size, SIZE);
            } else {
                assert_eq!(opened, Err(LeafProofError::Proof(ProofError::Unproven)));
            }
        }
        let strangers = [verifier("log.example/1", KeyKind::Ed25519, 2)];
        let unsigned = Err(LeafProofError::Note(NoteError::Unsigned));
        assert_eq!(read.open(&leaf(index), &strangers), unsigned);
    }
}

#[test]
fn what_is_no_receipt_is_refused() {
    let good = receipt(4, b"x").to_string();
    let changed = |from: &str, to: &str| good.replacen(from, to, 1);
    let hash = format!("{EMPTY_ROOT}\n");
    for (bad, error) in [
        (String::new(), NoteError::Malformed),
        (changed("@v1", "@v2"), NoteError::Malformed),
        (changed("c2sp", "\nc2sp"), NoteError::Malformed),
        (changed("extra eA==", "extra "), NoteError::Malformed),
        (changed("extra eA==", "extra"), NoteError::Malformed),
        (changed("extra eA==", "extra eB=="), NoteError::Malformed),
        (changed("extra eA==", "extra eA==eA=="), NoteError::Malformed),
        (
            changed("extra eA==", "extra eA==\nextra eA=="),
            NoteError::Malformed,
        ),
        (changed("index 4", "index 04"), NoteError::Malformed),
        (changed("index 4", "index  4"), NoteError::Malformed),
        (changed("index 4", "index"), NoteError::Malformed),
        (changed("index 4\n", "index 4\nindex 4\n"), NoteError::Malformed),
        (changed("index 4\n", "index 4\n\n"), NoteError::Malformed),
        (
            changed("index 4", &format!("index {LEAVES_MAX}")),
            NoteError::TooLarge,
        ),
        (
            changed("index 4\n", &format!("index 4\n{}", hash.repeat(60))),
            NoteError::TooLarge,
        ),
        (changed("\n", "\r\n"), NoteError::Malformed),
        (good.trim_end().to_owned(), NoteError::Malformed),
        (format!("{good}\n"), NoteError::Malformed),
        (
            format!("{good}{}", " ".repeat(LEAF_PROOF_BYTES_MAX)),
            NoteError::TooLarge,
        ),
    ] {
        assert_eq!(bad.parse::<LeafProof>(), Err(error), "{bad:?}");
    }
    let note = receipt(4, b"").note().clone();
    let most = vec![1; EXTRA_BYTES_MAX];
    let largest = LeafProof::new(LEAVES_MAX - 1, vec![EMPTY_ROOT; 63], note.clone(), most).unwrap();
    assert_eq!(largest.to_string().parse(), Ok(largest));
    let more = vec![1; EXTRA_BYTES_MAX + 1];
    assert_eq!(LeafProof::new(0, vec![], note, more), Err(NoteError::TooLarge));
}

proptest! {
    /// Of all bits, only those of the extra bytes and of unknown signatures may change.
    #[test]
    fn any_flipped_bit_is_refused_or_was_never_signed(index in 0..SIZE, at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let made = receipt(index, b"preimage");
        let mut bytes = made.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(());
        };
        let Ok(read) = text.parse::<LeafProof>() else {
            return Ok(());
        };
        prop_assert_eq!(read.to_string(), text);
        if read.open(&leaf(index), &log_keys()).is_ok() {
            prop_assert_eq!(read.index(), index);
            prop_assert_eq!(read.hashes(), made.hashes());
            prop_assert_eq!(read.note().text(), made.note().text());
            prop_assert_eq!(&read.note().signatures()[0], &made.note().signatures()[0]);
        }
    }

    #[test]
    fn what_is_read_is_written_the_same(head in "(c2sp.org/tlog-proof@v1\n)?(extra [A-Za-z0-9+/]{4}\n)?index [0-9]{1,20}", more in "(\n[A-Za-z0-9+/]{42}[AQgw]=){0,3}") {
        let text = format!("{head}{more}\n\n{}", receipt(3, b"").note());
        if let Ok(read) = text.parse::<LeafProof>() {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
