//! What a witness is asked: the table of answers, the form of the request, and changes.

use super::checkpoint::Checkpoint;
use super::note::*;
use super::note_tests::{key, name, verifier};
use super::proof::*;
use super::proof_tests::{Nodes, leaves};
use super::tree::*;
use super::witness::*;
use proptest::prelude::*;

fn log_keys() -> [VerifierKey; 1] {
    [verifier("log.example/1", KeyKind::Ed25519, 1)]
}

fn head(size: u64) -> TreeHead {
    head_of(leaves(size)).unwrap()
}

fn note(head: TreeHead) -> Note {
    let checkpoint = Checkpoint::new(&name("log.example/1"), head).unwrap();
    checkpoint.note(vec![checkpoint.sign(&key(1)).unwrap()]).unwrap()
}

fn proof(old: u64, size: u64) -> Vec<Hash> {
    Nodes::over(leaves(size)).make(&Plan::consistency(old, size).unwrap())
}

fn request(old: u64, size: u64) -> AddCheckpoint {
    AddCheckpoint::new(old, proof(old, size), note(head(size))).unwrap()
}

/// The rules of tlog-witness, in their order, each with its status.
#[test]
fn every_rule_has_its_answer() {
    let forged = |size| TreeHead {
        root: Hash([1; 32]),
        ..head(size)
    };
    let of = |old, proof: Vec<Hash>, head| AddCheckpoint::new(old, proof, note(head)).unwrap();
    let cases = [
        (request(0, 0), None, Ok(())),
        (request(0, 5), None, Ok(())),
        (request(5, 9), Some(head(5)), Ok(())),
        (request(9, 9), Some(head(9)), Ok(())),
        (of(6, vec![], head(5)), Some(head(6)), Err(400)),
        (of(6, vec![], head(5)), Some(head(5)), Err(400)),
        (request(4, 9), Some(head(5)), Err(409)),
        (request(0, 9), Some(head(5)), Err(409)),
        (request(5, 9), None, Err(409)),
        (of(0, vec![], forged(0)), None, Err(422)),
        (of(0, vec![EMPTY_ROOT], head(5)), None, Err(422)),
        (of(5, vec![], head(9)), Some(head(5)), Err(422)),
        (of(5, proof(5, 9), forged(9)), Some(head(5)), Err(422)),
        (request(5, 9), Some(forged(5)), Err(422)),
        (of(9, vec![], forged(9)), Some(head(9)), Err(422)),
    ];
    for (request, last, answer) in cases {
        let checked = request.check(&log_keys(), last.as_ref());
        let found = checked.map(|_| ()).map_err(WitnessRefusal::http_status);
        assert_eq!(found, answer, "{request}");
        let strangers = [verifier("log.example/1", KeyKind::Ed25519, 2)];
        let unknown = request.check(&strangers, last.as_ref());
        assert_eq!(unknown, Err(WitnessRefusal::NotItsLog));
    }
    let other = request(0, 9).check(&log_keys(), Some(&head(5)));
    assert_eq!(other, Err(WitnessRefusal::OtherSize { size: 5 }));
}

#[test]
fn a_request_has_the_form_of_the_specification() {
    let made = request(5, 9);
    let text = made.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "old 5");
    let proof_lines = made_lines(&proof(5, 9));
    assert_eq!(lines[1..=proof_lines.len()], proof_lines);
    assert_eq!(lines[proof_lines.len() + 1..][..3], ["", "log.example/1", "9"]);
    assert_eq!(text.parse(), Ok(made.clone()));
    assert_eq!(made.claimed_origin(), "log.example/1");
    let changed = |from: &str, to: &str| text.replacen(from, to, 1);
    let many = format!("old 5\n{}", format!("{EMPTY_ROOT}\n").repeat(64));
    for (bad, error) in [
        (String::new(), NoteError::Malformed),
        (changed("old 5", "old 05"), NoteError::Malformed),
        (changed("old 5", "old"), NoteError::Malformed),
        (changed("old 5", "Old 5"), NoteError::Malformed),
        (changed("old 5\n", "old 5\n\n"), NoteError::Malformed),
        (changed("old 5\n", "old 5\nAAAA\n"), NoteError::Malformed),
        (
            changed("old 5", &format!("old {}", LEAVES_MAX + 1)),
            NoteError::TooLarge,
        ),
        (changed("old 5\n", &many), NoteError::TooLarge),
        (changed("\n9\n", "\nnine\n"), NoteError::Malformed),
        (
            format!("{text}{}", " ".repeat(ADD_CHECKPOINT_BYTES_MAX)),
            NoteError::TooLarge,
        ),
    ] {
        assert_eq!(bad.parse::<AddCheckpoint>(), Err(error), "{bad:?}");
    }
}

fn made_lines(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_string).collect()
}

#[test]
fn an_answer_is_read_as_written() {
    let checkpoint = request(5, 9).check(&log_keys(), Some(&head(5))).unwrap();
    let cosigned = [2, 3].map(|seed| checkpoint.cosign(&name("w.example"), &key(seed), 8).unwrap());
    let text = write_answer(&cosigned);
    assert_eq!(read_answer(&text).unwrap(), cosigned);
    for bad in [
        "",
        "\n",
        text.trim_end(),
        &format!("{text}\n"),
        &format!("9\n{text}"),
    ] {
        assert_eq!(read_answer(bad), Err(NoteError::Malformed), "{bad:?}");
    }
    let line = text.lines().next().unwrap();
    assert_eq!(
        read_answer(&format!("{line}\n").repeat(65)),
        Err(NoteError::TooLarge)
    );
}

proptest! {
    #[test]
    fn any_flipped_bit_of_a_request_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let made = request(5, 9);
        let mut bytes = made.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(());
        };
        if let Ok(read) = text.parse::<AddCheckpoint>() {
            prop_assert_eq!(read.to_string(), text);
            prop_assert!(read.check(&log_keys(), Some(&head(5))).is_err());
        }
    }

    #[test]
    fn any_text_is_refused_or_written_the_same(old in "old [0-9]{1,20}", more in "(\n[A-Za-z0-9+/]{42}[AQgw]=){0,3}") {
        let text = format!("{old}{more}\n\n{}", note(head(9)));
        if let Ok(read) = text.parse::<AddCheckpoint>() {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
