//! Lists drawn from seeds; and the same seed twice, which must give the same trace.

use crate::op;
use crate::run::{self, Ran};

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 8;
/// Operations of a list: enough for some ten referrals, half of them in trouble.
const OPS: usize = 80;

fn hold(seed: u64) -> Ran {
    run::holds(seed, &op::draw(seed, OPS))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_must_hold_holds_for_every_seed() {
    if let Some(seed) = number("KITH_SIM_SEED") {
        eprintln!("{}", hold(seed).trace);
        return;
    }
    for seed in 0..number("KITH_SIM_SEEDS").unwrap_or(SEEDS) {
        hold(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seed = number("KITH_SIM_SEED").unwrap_or(SEEDS);
    let (first, second) = (hold(seed).trace, hold(seed).trace);
    let differs = first
        .lines()
        .zip(second.lines())
        .find(|(one, other)| one != other);
    assert_eq!(
        differs, None,
        "the first difference between two runs of seed {seed}"
    );
    assert_eq!(first.len(), second.len());
}
