//! As `role`, but its gateway writes down what it reads and writes inside TLS, and its nodes log more than an operator would.
//! Started by the stories that search both.

use kith_tests::recording::{LOG, Serve};
use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    let Some(serve) = Serve::asked(&args) else {
        if matches!(args.as_slice(), [_, _, _, role, command, ..] if role == "node" && command == "serve") {
            args.extend(["--log-filter".into(), LOG.into()]);
        }
        return kith_demo::play_role(&args).await.unwrap_or(ExitCode::FAILURE);
    };
    match serve.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "the recording gateway stopped: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
