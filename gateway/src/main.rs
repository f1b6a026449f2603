//! The `kith-gateway` binary: the system's clock and randomness, and the command line.
//! Never put a rule here.

use kith_service::clock::Clock;
use kith_service::rng::Rng;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kith_gateway::cli::run(std::env::args_os(), Clock::system(), Rng::system()).await
}
