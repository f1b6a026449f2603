//! Fuzz targets: what must hold of every parser of `kith-proto` that takes bytes or text from somebody else.
//! `tests/replay.rs` runs them for a moment in every `tests/run`, `tests/fuzz/run` for as long as you like (README.md).
//! A target tells a fault by a panic; it may read no clock, no randomness and no file, so that an input always gives the same.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target tells a fault by a panic"
)]

mod chain;
mod envelope;
mod log;
mod order;
mod receipts;
mod recovery;
mod screen;
mod seal;
mod slip;
mod statements;
mod text;
mod token;
mod trail;

pub mod corpus;
pub mod mutate;
pub mod world;

use kith_proto::problem::Problem;

/// One target: a name, what must hold, good inputs to begin with, and how many changed ones a replay tries.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its file in `corpus/`.
    pub name: &'static str,
    /// Panics when what must hold does not.
    pub check: fn(&[u8]),
    /// Inputs that are accepted, made by the code under test so that they never grow old.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Changed inputs in one replay; fewer where an input costs a key exchange.
    pub rounds: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "names",
        check: text::names,
        seeds: text::name_seeds,
        rounds: 20_000,
    },
    Target {
        name: "words",
        check: text::words,
        seeds: text::word_seeds,
        rounds: 20_000,
    },
    Target {
        name: "human_code",
        check: text::human_code,
        seeds: text::code_seeds,
        rounds: 5_000,
    },
    Target {
        name: "screen",
        check: screen::check,
        seeds: screen::seeds,
        rounds: 1_000,
    },
    Target {
        name: "slip",
        check: slip::check,
        seeds: slip::seeds,
        rounds: 3_000,
    },
    Target {
        name: "head",
        check: envelope::head,
        seeds: envelope::head_seeds,
        rounds: 20_000,
    },
    Target {
        name: "envelope",
        check: envelope::whole,
        seeds: envelope::whole_seeds,
        rounds: 300,
    },
    Target {
        name: "body",
        check: envelope::body,
        seeds: envelope::body_seeds,
        rounds: 20,
    },
    Target {
        name: "order",
        check: order::check,
        seeds: order::seeds,
        rounds: 2_000,
    },
    Target {
        name: "receipts",
        check: receipts::check,
        seeds: receipts::seeds,
        rounds: 3_000,
    },
    Target {
        name: "statements",
        check: statements::check,
        seeds: statements::seeds,
        rounds: 2_000,
    },
    Target {
        name: "chain",
        check: chain::check,
        seeds: chain::seeds,
        rounds: 600,
    },
    Target {
        name: "token",
        check: token::check,
        seeds: token::seeds,
        rounds: 1_000,
    },
    Target {
        name: "seal",
        check: seal::check,
        seeds: seal::seeds,
        rounds: 100,
    },
    Target {
        name: "signature",
        check: seal::signature,
        seeds: seal::signature_seeds,
        rounds: 2_000,
    },
    Target {
        name: "note",
        check: log::notes,
        seeds: log::note_seeds,
        rounds: 3_000,
    },
    Target {
        name: "log_proof",
        check: log::proofs,
        seeds: log::proof_seeds,
        rounds: 1_000,
    },
    Target {
        name: "tile",
        check: log::tiles,
        seeds: log::tile_seeds,
        rounds: 3_000,
    },
    Target {
        name: "trail_event",
        check: trail::events_and_entries,
        seeds: trail::event_seeds,
        rounds: 5_000,
    },
    Target {
        name: "trail_export",
        check: trail::exports,
        seeds: trail::export_seeds,
        rounds: 1_000,
    },
    Target {
        name: "share",
        check: recovery::shares,
        seeds: recovery::share_seeds,
        rounds: 5_000,
    },
    Target {
        name: "bundle",
        check: recovery::bundles,
        seeds: recovery::bundle_seeds,
        rounds: 200,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// Holds a refusal against the closed list of what bad input may be answered with. None of it may be retried: the sender
/// would send the same input for ever.
fn refused(problem: Problem) {
    let of_input = [
        Problem::Invalid,
        Problem::TooLarge,
        Problem::NotAMember,
        Problem::Unauthenticated,
        Problem::ClockOff,
        Problem::Conflict,
        Problem::WrongState,
        Problem::CategoryNotAllowed,
        Problem::ConsentMissing,
        Problem::StaleKey,
    ];
    assert!(of_input.contains(&problem), "{problem} is no answer to bad input");
}
