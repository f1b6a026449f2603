//! Lists drawn from seeds; and the same seed twice, which must give the same trace.

use crate::op::{self, Host, Op, Org};
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

/// Runs a list twice under a seed.
fn twice(seed: u64, ops: &[Op]) {
    let run = || run::holds(seed, ops).trace;
    let (first, second) = (run(), run());
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

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seed = number("KITH_SIM_SEED").unwrap_or(SEEDS);
    twice(seed, &op::draw(seed, OPS));
}

/// Whatever the seed draws: a node that comes back while its mail is on its way, and the gateway after it.
#[test]
fn the_same_losses_give_the_same_trace() {
    let (node, gateway) = (Host::Node(Org::Circle), Host::Gateway);
    let refer = |from, to| Op::Refer { from, to };
    let (wait, back) = (Op::Wait { ms: 500 }, refer(Org::Circle, Org::Gp));
    twice(
        SEEDS,
        &[
            Op::Backup { host: node },
            refer(Org::Gp, Org::Circle),
            back,
            wait,
            Op::Hold { org: Org::Gp },
            back,
            Op::Restore { host: node },
            wait,
            Op::Rest,
            Op::Backup { host: gateway },
            refer(Org::Gp, Org::Circle),
            back,
            wait,
            Op::Restore { host: gateway },
            back,
        ],
    );
}
