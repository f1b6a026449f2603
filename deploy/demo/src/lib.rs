//! A whole network with one command: a gateway and five nodes on loopback, synthetic people, referrals both ways.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cast`] | the organisations and people |
//! | [`clock`] | the clock that a file can move |
//! | [`process`] | the servers, each this program again |
//! | [`network`] | the network as a whole |
//! | [`client`] | one user's gRPC calls |
//! | [`tampered`] | a node without the question of consent |
//! | [`story`] | the referrals, step by step, each verified |

use kith_service::rng::Rng;
use std::ffi::OsString;
use std::process::ExitCode;

pub mod cast;
pub mod client;
pub mod clock;
pub mod network;
pub mod process;
pub mod story;
pub mod tampered;

/// Runs one of the network's own commands with the demo's movable clock, when the command line asks for it:
/// `role CLOCK-FILE gateway|node ARGUMENTS…`. The benchmark and the network tests start their processes so too.
pub async fn play_role(args: &[OsString]) -> Option<ExitCode> {
    let [_, word, clock_file, role, rest @ ..] = args else {
        return None;
    };
    if word != "role" {
        return None;
    }
    let (clock, rng) = (clock::movable(clock_file.into()), Rng::system());
    let rest = std::iter::once(role.clone()).chain(rest.iter().cloned());
    match role.to_str() {
        Some("gateway") => Some(kith_gateway::cli::run(rest, clock, rng).await),
        Some("node") => Some(kith_node::cli::run(rest, clock, rng).await),
        _ => None,
    }
}
