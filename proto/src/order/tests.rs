//! Order lines: gaps, repeats, forks and reordering are told apart.
use super::*;
use crate::sign::sha256;
use proptest::prelude::*;
use prost::Message;

fn key() -> SigningKey {
    SigningKey::from_seed([5; 32]).unwrap()
}

fn pair() -> (OrgId, OrgId) {
    ("the-practice".parse().unwrap(), "the-council".parse().unwrap())
}

fn batch(last: Position, hashes: &[u8]) -> (v1::OrderBatch, Position) {
    let hashes: Vec<_> = hashes.iter().map(|n| [*n; 32]).collect();
    sign(&key(), &pair().0, &pair().1, last, &hashes).unwrap()
}

#[test]
fn batches_follow_on_each_other() {
    let (first, at) = batch(Position::START, &[1, 2, 3]);
    assert_eq!(verify(&key().public(), &pair().0, &pair().1, &first), Ok(()));
    assert_eq!(check(Position::START, &first), Ok(at));
    assert_eq!(at, Position::at(3, [3; 32]));
    let (second, end) = batch(at, &[4]);
    assert_eq!(check(at, &second), Ok(end));
    assert_eq!(end.number(), 4);
}

#[test]
fn an_envelope_with_two_lines_is_never_signed_nor_taken() {
    let twice = [[1; 32], [2; 32], [1; 32]];
    let signed = sign(&key(), &pair().0, &pair().1, Position::START, &twice);
    assert_eq!(signed.map(drop), Err(OrderError::Malformed));
    let (mut bad, _) = batch(Position::START, &[1, 2, 3]);
    bad.lines[2].envelope_hash = vec![1; 32];
    let malformed = Err(OrderError::Malformed);
    assert_eq!(
        verify(&key().public(), &pair().0, &pair().1, &bad),
        malformed.map(drop)
    );
    assert_eq!(check(Position::START, &bad), malformed);
    assert_eq!(resume(Position::at(1, [1; 32]), &bad), Err(OrderError::Malformed));
}

#[test]
fn gap_repeat_fork_and_reorder_are_told_apart() {
    let (first, at) = batch(Position::START, &[1, 2, 3]);
    let (second, _) = batch(at, &[4, 5]);
    assert_eq!(
        check(Position::START, &second),
        Err(OrderError::Gap { expected: 1 })
    );
    assert_eq!(check(at, &first), Err(OrderError::Repeat { number: 1 }));
    assert_eq!(
        check(Position::at(1, [1; 32]), &first),
        Err(OrderError::Repeat { number: 1 })
    );
    assert_eq!(
        check(Position::at(1, [9; 32]), &first),
        Err(OrderError::Fork { number: 1 })
    );
    assert_eq!(
        check(Position::at(3, [9; 32]), &second),
        Err(OrderError::Fork { number: 4 })
    );
    let mut bad = first.clone();
    bad.lines.swap(1, 2);
    assert_eq!(check(Position::START, &bad), Err(OrderError::Gap { expected: 2 }));
    bad = first.clone();
    bad.lines.remove(1);
    assert_eq!(check(Position::START, &bad), Err(OrderError::Gap { expected: 2 }));
    bad = first.clone();
    bad.lines[2].previous_hash = vec![9; 32];
    assert_eq!(check(Position::START, &bad), Err(OrderError::Fork { number: 3 }));
    bad = first;
    bad.lines[0].previous_hash = vec![0; 32];
    assert_eq!(check(Position::START, &bad), Err(OrderError::Fork { number: 1 }));
    bad.lines[0].number = 0;
    assert_eq!(check(Position::START, &bad), Err(OrderError::Malformed));
    assert!(check(Position::at(u64::MAX, [1; 32]), &bad).is_err());
}

#[test]
fn lines_that_are_held_already_are_passed_over_when_resuming() {
    let (first, at) = batch(Position::START, &[1, 2, 3]);
    let middle = Position::at(2, [2; 32]);
    assert_eq!(resume(Position::START, &first), Ok((0, at)));
    assert_eq!(resume(middle, &first), Ok((2, at)));
    assert_eq!(resume(at, &first), Ok((3, at)));
    assert_eq!(
        resume(Position::at(9, [9; 32]), &first),
        Ok((3, Position::at(9, [9; 32])))
    );
    assert_eq!(
        resume(Position::at(2, [7; 32]), &first),
        Err(OrderError::Fork { number: 2 })
    );
    let (second, _) = batch(at, &[4, 5]);
    assert_eq!(resume(middle, &second), Err(OrderError::Gap { expected: 3 }));
    let mut bad = first.clone();
    bad.lines.swap(0, 1);
    assert_eq!(resume(at, &bad), Err(OrderError::Malformed));
    bad = first;
    bad.lines[2].previous_hash = vec![9; 32];
    assert_eq!(resume(middle, &bad), Err(OrderError::Fork { number: 3 }));
}

#[test]
fn every_flipped_bit_another_pair_and_another_key_are_refused() {
    let (from, to) = pair();
    let (good, _) = batch(Position::START, &[1, 2]);
    let bytes = good.encode_to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bad) = v1::OrderBatch::decode(bad.as_slice()) {
            assert!(
                bad == good || verify(&key().public(), &from, &to, &bad).is_err(),
                "bit {bit}"
            );
        }
    }
    assert_eq!(
        verify(&key().public(), &to, &from, &good),
        Err(OrderError::Forged)
    );
    let other = SigningKey::from_seed([6; 32]).unwrap().public();
    assert_eq!(verify(&other, &from, &to, &good), Err(OrderError::Forged));
}

#[test]
fn empty_and_long_batches_are_refused() {
    let (from, to) = pair();
    let sign = |hashes: &[[u8; 32]]| sign(&key(), &from, &to, Position::START, hashes);
    assert_eq!(sign(&[]).err(), Some(OrderError::Malformed));
    let hashes =
        |count: usize| -> Vec<[u8; 32]> { (0..count).map(|n| sha256(&[&n.to_be_bytes()])).collect() };
    assert!(sign(&hashes(ORDER_LINES_MAX)).is_ok());
    assert_eq!(
        sign(&hashes(ORDER_LINES_MAX + 1)).err(),
        Some(OrderError::TooLarge)
    );
    assert_eq!(
        check(Position::START, &v1::OrderBatch::default()),
        Err(OrderError::Malformed)
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), number in any::<u64>()) {
        if let Ok(batch) = v1::OrderBatch::decode(bytes.as_slice()) {
            let _ = check(Position::at(number, [1; 32]), &batch);
            prop_assert!(verify(&key().public(), &pair().0, &pair().1, &batch).is_err());
        }
    }
}

#[test]
fn withdrawals_their_proofs_and_attachments_stand_outside_the_order() {
    for kind in EnvelopeKind::ALL {
        let outside = ["withdrawal", "withdrawal_proof", "blob"].contains(&kind.as_str());
        assert_eq!(is_ordered(*kind), !outside, "{kind}");
    }
}

#[test]
fn a_later_run_follows_on_whatever_came_before_it() {
    let start = Position::run(2).unwrap();
    assert!(start.is_before_run() && !Position::START.is_before_run());
    assert_eq!(Position::run(0), Ok(Position::START));
    assert_eq!(Position::run(u64::MAX / RUN_LINES), Err(OrderError::TooLarge));
    let (first, at) = batch(start, &[1, 2]);
    assert_eq!(at, Position::at(2 * RUN_LINES + 2, [2; 32]));
    for last in [
        Position::START,
        Position::at(7, [7; 32]),
        start,
        Position::at(RUN_LINES + 9, [9; 32]),
    ] {
        assert_eq!(check(last, &first), Ok(at), "{last:?}");
        assert_eq!(resume(last, &first), Ok((0, at)), "{last:?}");
    }
    let (second, end) = batch(at, &[3]);
    assert_eq!(check(at, &second), Ok(end));
    // Not from the middle of it, nor behind it, nor as if it followed on something.
    assert!(matches!(
        check(Position::START, &second),
        Err(OrderError::Gap { .. })
    ));
    let number = 2 * RUN_LINES + 1;
    assert_eq!(check(at, &first), Err(OrderError::Repeat { number }));
    assert_eq!(resume(at, &first), Ok((2, at)));
    let later = Position::at(3 * RUN_LINES + 1, [3; 32]);
    assert_eq!(check(later, &first), Err(OrderError::Repeat { number }));
    let mut bad = first;
    bad.lines[0].previous_hash = vec![7; 32];
    assert_eq!(check(Position::at(7, [7; 32]), &bad), Err(OrderError::Malformed));
    // Nor anywhere else in a batch, where nothing is held against what came before.
    let (mut bad, _) = batch(Position::at(4, [4; 32]), &[1, 2]);
    bad.lines[1].number = number;
    assert_eq!(resume(Position::START, &bad), Err(OrderError::Malformed));
    bad.lines[1].previous_hash.clear();
    bad.lines[1].number = (1 << 63) + 1;
    assert_eq!(resume(Position::START, &bad), Err(OrderError::Malformed));
}

#[test]
fn a_position_is_read_as_it_is_written() {
    let run = Position::run(3).unwrap();
    for position in [
        Position::START,
        Position::at(7, [7; 32]),
        run,
        Position::at(run.number() + 1, [1; 32]),
    ] {
        let hash = position.hash().map(|hash| hash.to_vec()).unwrap_or_default();
        assert_eq!(Position::of_wire(position.number(), &hash), Some(position));
    }
    assert_eq!(
        Position::of_wire(0, &[0; 32]),
        Some(Position::START),
        "as older nodes write it"
    );
    for (number, hash) in [
        (7, &[][..]),
        (7, &[7; 31]),
        (run.number(), &[7; 32]),
        (u64::MAX, &[7; 32]),
        (1 << 63, &[]),
    ] {
        assert_eq!(Position::of_wire(number, hash), None, "{number}");
    }
}

#[test]
fn a_line_follows_on_the_one_before_it_or_begins_a_later_run() {
    let first = 2 * RUN_LINES + 1;
    for (number, last) in [
        (1, 0),
        (8, 7),
        (first, 0),
        (first, 7),
        (first, RUN_LINES + 9),
        (first + 1, first),
    ] {
        assert!(follows(number, last), "{number} on {last}");
    }
    for (number, last) in [
        (0, 0),
        (7, 7),
        (6, 7),
        (9, 7),
        (first, first),
        (first, first + 1),
        (first + 1, 7),
        (2 * RUN_LINES, 7),
    ] {
        assert!(!follows(number, last), "{number} on {last}");
    }
}

#[test]
fn a_run_may_follow_wherever_another_ended_but_has_no_hole() {
    let run = |first: u64, last: u64| Stretch {
        first,
        last,
        count: last - first + 1,
    };
    let first = 2 * RUN_LINES + 1;
    assert!(is_whole((3, 3), &[]));
    assert!(!is_whole((3, 4), &[]));
    assert!(is_whole((3, 8), &[run(4, 8)]));
    assert!(!is_whole((3, 8), &[run(5, 8)]), "one is missing in front");
    assert!(!is_whole((3, 9), &[run(4, 8)]), "one is missing behind");
    assert!(is_whole((3, first + 1), &[run(4, 8), run(first, first + 1)]));
    assert!(is_whole((3, first + 1), &[run(first, first + 1)]));
    assert!(is_whole((first, first + 1), &[run(first + 1, first + 1)]));
    assert!(!is_whole((3, first + 1), &[run(4, 8), run(first + 1, first + 1)]));
    assert!(
        is_whole((3, first - 1), &[run(4, 8)]),
        "nothing of the run is needed"
    );
    let holey = Stretch {
        count: 4,
        ..run(4, 8)
    };
    assert!(!is_whole((3, first), &[holey, run(first, first)]));
    let backward = Stretch {
        first: 4,
        last: 3,
        count: 0,
    };
    assert!(!is_whole((3, 3), &[backward]));
}
