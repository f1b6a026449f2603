//! Stories of pairs: order under every sequence of answers, pauses, forks. Never a gateway here, only its words.

use kith_proto::id::ThreadId;
use kith_proto::words::EnvelopeKind;

use super::*;

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

/// An id that has nothing of the hash.
fn id_of(seq: i64) -> EnvelopeId {
    EnvelopeId::from_bytes([0xA0 + seq as u8; 16])
}

fn row(seq: i64, peer: &str) -> OutboxRow {
    OutboxRow {
        seq,
        peer: org(peer),
        kind: EnvelopeKind::Referral,
        thread_id: ThreadId::from_bytes([1; 16]),
        slip_id: None,
        envelope_id: id_of(seq),
        envelope_hash: [seq as u8; 32],
        ordered: true,
        withheld: false,
        envelope_bytes: 1,
        again: false,
        number: None,
    }
}

fn say(pairs: &mut Pairs, seq: i64, word: Word) -> Settled {
    pairs.answer(&id_of(seq), &[seq as u8; 32], word, 1_000)
}

fn settled(settled: &Settled) -> Vec<(i64, Option<u64>)> {
    settled
        .answered
        .iter()
        .map(|one| (one.row.seq, one.number))
        .collect()
}

fn left(leaving: Option<Leaving>) -> Option<u64> {
    leaving.and_then(|one| one.number)
}

#[test]
fn answers_settle_in_the_order_of_their_pair_however_they_come() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 10);
    for seq in 1..=4 {
        assert_eq!(left(pairs.take(row(seq, "hope-street"))), Some(seq as u64));
    }
    assert_eq!(settled(&say(&mut pairs, 3, Word::Taken(5))), []);
    assert_eq!(settled(&say(&mut pairs, 1, Word::Taken(5))), [(1, Some(1))]);
    let refused = Word::Refused {
        problem: Problem::ConsentWithdrawn,
        at_ms: 6,
    };
    assert_eq!(
        settled(&say(&mut pairs, 2, refused)),
        [(2, Some(2)), (3, Some(3))]
    );
    assert_eq!(pairs.before(&org("hope-street"), 4), Position::at(3, [3; 32]));
    assert_eq!(settled(&say(&mut pairs, 4, Word::Taken(7))), [(4, Some(4))]);
    assert_eq!(
        settled(&say(&mut pairs, 4, Word::Taken(7))),
        [],
        "an answer twice"
    );
}

#[test]
fn a_withheld_line_is_answered_by_its_hash_alone() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 10);
    let withheld = OutboxRow {
        withheld: true,
        ..row(1, "hope-street")
    };
    pairs.take(withheld);
    pairs.take(row(2, "hope-street"));
    assert_eq!(settled(&say(&mut pairs, 2, Word::Taken(5))), []);
    let half_of_the_hash = EnvelopeId::from_bytes([1; 16]);
    let unknown = Word::Refused {
        problem: Problem::ConsentWithdrawn,
        at_ms: 5,
    };
    assert_eq!(
        settled(&pairs.answer(&half_of_the_hash, &[1; 32], unknown, 1_000)),
        [(1, Some(1)), (2, Some(2))]
    );
}

#[test]
fn an_answer_about_another_hash_is_no_answer() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 10);
    pairs.take(row(1, "hope-street"));
    assert_eq!(settled(&pairs.answer(&id_of(1), &[9; 32], Word::Taken(5), 0)), []);
    assert_eq!(pairs.room(), 9);
}

#[test]
fn what_is_not_taken_now_pauses_its_pair_alone_until_all_is_answered() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 10);
    for seq in 1..=3 {
        pairs.take(row(seq, "hope-street"));
    }
    let not_now = |problem| Word::NotNow {
        problem,
        retry_after_ms: 500,
    };
    assert_eq!(settled(&say(&mut pairs, 1, Word::Taken(5))), [(1, Some(1))]);
    let stale = say(&mut pairs, 2, not_now(Problem::StaleKey));
    assert_eq!(stale.stale.len(), 1);
    assert_eq!(left(pairs.take(row(4, "hope-street"))), None, "the pair waits");
    assert_eq!(
        left(pairs.take(row(5, "harbour-welcome"))),
        Some(1),
        "another does not"
    );
    assert_eq!(pairs.due(9_000), [], "row 3 is without an answer");
    say(&mut pairs, 3, not_now(Problem::Unavailable));
    assert_eq!(pairs.due(1_400), []);
    assert_eq!(pairs.next_due_ms(), Some(1_500));
    assert_eq!(pairs.due(1_500), [(org("hope-street"), 1)]);
    let again = pairs.take_up(
        &org("hope-street"),
        vec![row(2, "hope-street"), row(3, "hope-street")],
        false,
    );
    assert_eq!(
        again.iter().map(|one| one.number).collect::<Vec<_>>(),
        [Some(2), Some(3)]
    );
    say(&mut pairs, 2, Word::Taken(8));
    say(&mut pairs, 3, Word::Taken(8));
    assert_eq!(
        pairs.due(2_000),
        [(org("hope-street"), 3)],
        "more was passed over"
    );
    assert_eq!(
        pairs.take_up(&org("hope-street"), vec![row(4, "hope-street")], true)[0].number,
        Some(4)
    );
    assert_eq!(
        left(pairs.take(row(6, "hope-street"))),
        Some(5),
        "the pair goes on with the others"
    );
}

#[test]
fn a_gateway_with_another_history_stops_the_pair_alone() {
    let held = || {
        vec![
            (org("hope-street"), Position::at(5, [5; 32])),
            (org("riverside-gp"), Position::at(2, [2; 32])),
        ]
    };
    for (number, hash, goes_on) in [(5, 5, true), (7, 7, true), (5, 6, false), (4, 4, false)] {
        let mut pairs = Pairs::new(Position::START, held(), 10);
        let theirs = Position::at(number, [hash; 32]);
        assert_eq!(
            pairs.compare(org("hope-street"), theirs),
            goes_on,
            "{number} {hash}"
        );
        assert_eq!(left(pairs.take(row(9, "hope-street"))), goes_on.then_some(6));
        assert_eq!(left(pairs.take(row(10, "riverside-gp"))), Some(3));
    }
    let mut pairs = Pairs::new(Position::START, held(), 10);
    assert_eq!(pairs.stop_unlisted(&[org("hope-street")].into()), 1);
    assert_eq!(left(pairs.take(row(9, "riverside-gp"))), None);
}

#[test]
fn a_run_goes_on_whatever_the_gateway_holds_of_before_it() {
    let start = Position::run(2).unwrap();
    let in_run = Position::at(start.number() + 2, [2; 32]);
    let mut pairs = Pairs::new(
        start,
        vec![(org("hope-street"), start), (org("riverside-gp"), in_run)],
        10,
    );
    assert!(pairs.compare(org("hope-street"), Position::at(9, [9; 32])));
    assert!(
        !pairs.compare(org("riverside-gp"), Position::at(9, [9; 32])),
        "lines of the run are lost"
    );
    assert_eq!(pairs.stop_unlisted(&[org("riverside-gp")].into()), 0);
    let first = Some(start.number() + 1);
    assert_eq!(left(pairs.take(row(1, "hope-street"))), first);
    assert_eq!(pairs.before(&org("hope-street"), start.number() + 1), start);
    assert_eq!(
        left(pairs.take(row(2, "north-school"))),
        first,
        "nothing was sent to it before"
    );
}

#[test]
fn a_pair_that_goes_back_behind_a_run_sends_what_it_had_and_goes_on_in_the_run() {
    let start = Position::run(2).unwrap();
    let first = start.number() + 1;
    let again = |seq: i64, number: u64| OutboxRow {
        number: Some(number),
        ..row(seq, "hope-street")
    };
    let held = vec![(org("hope-street"), Position::at(5, [5; 32]))];
    let mut pairs = Pairs::new(start, held.clone(), 10);
    for (seq, number) in [(6, 6), (7, 7), (8, first)] {
        assert_eq!(left(pairs.take(again(seq, number))), Some(number));
    }
    assert_eq!(left(pairs.take(row(9, "hope-street"))), Some(first + 1));
    assert_eq!(pairs.before(&org("hope-street"), first), start);
    assert_eq!(
        pairs.before(&org("hope-street"), first + 1),
        Position::at(first, [8; 32])
    );
    for (seq, number) in [(6, 6), (7, 7), (8, first), (9, first + 1)] {
        assert_eq!(
            settled(&say(&mut pairs, seq, Word::Taken(5))),
            [(seq, Some(number))]
        );
    }
    // Nothing was sent in the run yet: its numbers are for what is new, all the same.
    let mut pairs = Pairs::new(start, held.clone(), 10);
    assert_eq!(left(pairs.take(again(6, 6))), Some(6));
    assert_eq!(left(pairs.take(row(7, "hope-street"))), Some(first));
    // A line of before the run that comes behind it, or one that has a hole before it, stops the pair.
    for number in [5, 7, first + 1] {
        let mut pairs = Pairs::new(start, held.clone(), 10);
        assert_eq!(left(pairs.take(again(6, number))), None, "{number}");
        assert_eq!(pairs.went_back(), number == 5);
    }
}

#[test]
fn rows_outside_the_order_wait_for_themselves() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 2);
    let loose = OutboxRow {
        ordered: false,
        kind: EnvelopeKind::Withdrawal,
        ..row(1, "hope-street")
    };
    assert_eq!(pairs.take(loose.clone()).unwrap().number, None);
    assert_eq!((pairs.take(loose.clone()), pairs.room()), (None, 1));
    say(
        &mut pairs,
        1,
        Word::NotNow {
            problem: Problem::Unavailable,
            retry_after_ms: 500,
        },
    );
    assert_eq!(
        (pairs.due_loose(1_499, 9, 1 << 20), pairs.next_due_ms()),
        (vec![], Some(1_500))
    );
    assert_eq!(pairs.due_loose(1_500, 9, 1 << 20), [1]);
    assert!(pairs.take(loose).is_some());
    assert_eq!(settled(&say(&mut pairs, 1, Word::Taken(9))), [(1, None)]);
    assert_eq!(pairs.room(), 2);
}

/// One read of the store takes so many, and the stream lets so many: the rest is due at the next look.
#[test]
fn of_many_that_are_due_as_many_are_taken_as_fit() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 20);
    let loose = |seq: i64| OutboxRow {
        ordered: false,
        kind: EnvelopeKind::Withdrawal,
        ..row(seq, "hope-street")
    };
    for seq in 1..=20 {
        pairs.take(loose(seq)).unwrap();
        pairs.hold(&loose(seq), 1_000);
    }
    assert_eq!(pairs.room(), 20);
    let mut all = pairs.due_loose(1_000, 8, 1 << 20);
    assert_eq!(all.len(), 8);
    for seq in &all {
        pairs.take(loose(*seq)).unwrap();
    }
    for seq in 31..=40 {
        pairs.take(row(seq, "hope-street")).unwrap();
    }
    let next = pairs.due_loose(1_000, 8, 1 << 20);
    assert_eq!((next.len(), pairs.next_due_ms()), (2, Some(1_000)));
    all.extend(next);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 10, "none is given twice");
}

/// What is read of the store at once has a limit in memory; one that is over it alone goes alone.
#[test]
fn of_many_that_are_due_as_many_are_taken_as_there_is_memory_for() {
    let mut pairs = Pairs::new(Position::START, Vec::new(), 20);
    for (seq, envelope_bytes) in [(1, 400), (2, 400), (3, 400), (4, 9_000)] {
        let loose = OutboxRow {
            ordered: false,
            kind: EnvelopeKind::Withdrawal,
            envelope_bytes,
            ..row(seq, "hope-street")
        };
        pairs.take(loose.clone()).unwrap();
        pairs.hold(&loose, 1_000);
    }
    let mut taken = Vec::new();
    for _ in 0..4 {
        let some = pairs.due_loose(1_000, 8, 1_000);
        assert!(some.len() == 1 || !some.contains(&4), "{some:?}");
        assert!(some.len() <= 2);
        taken.extend(some);
    }
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4]);
}
