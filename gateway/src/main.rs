//! The `kith-gateway` binary: reads the command line and runs one command with the system's clock and randomness.
//! Never put a rule here.

fn main() -> std::process::ExitCode {
    kith_gateway::cli::run()
}
