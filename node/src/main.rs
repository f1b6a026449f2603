//! The node's program: the system's clock and randomness, and the command line.
//! Run by people, unit files and containers.
//! It must never do anything that the library cannot be asked to do by another program.

use kith_service::clock::Clock;
use kith_service::rng::Rng;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kith_node::cli::run(std::env::args_os(), Clock::system(), Rng::system()).await
}
