//! Runs every target on its seeds, on the kept inputs of `corpus/` and on a fixed number of changed ones: always the same ones.
//! A failure prints the input in hexadecimal; put it into `corpus/NAME.txt` as a line and it is tried for ever.
#![expect(clippy::unwrap_used, reason = "a replay tells a fault by a panic")]

use kith_fuzz::mutate::{Dice, mutated};
use kith_fuzz::{TARGETS, corpus, target};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn replay(name: &str) {
    let target = target(name).unwrap();
    let mut inputs = (target.seeds)();
    assert!(!inputs.is_empty());
    inputs.extend(corpus::read(name).unwrap());
    let changed = (0..target.rounds).map(|round| mutated(&inputs, &mut Dice::new(name, u64::from(round))));
    for input in inputs.iter().cloned().chain(changed) {
        if let Err(fault) = catch_unwind(AssertUnwindSafe(|| (target.check)(&input))) {
            eprintln!("{name}: {}", data_encoding::HEXLOWER.encode(&input));
            resume_unwind(fault);
        }
    }
}

macro_rules! replays {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })+

        #[test]
        fn every_target_is_replayed() {
            let here = [$(stringify!($name)),+];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), here);
        }
    };
}

replays!(names words human_code screen slip head envelope body order receipts statements chain token seal signature note log_proof tile trail_event trail_export share bundle);
