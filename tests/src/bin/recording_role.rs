//! As `role`, but its gateway writes down what it reads and writes inside TLS. Started by the story that searches that.

use kith_tests::recording::Serve;
use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let Some(serve) = Serve::asked(&args) else {
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
