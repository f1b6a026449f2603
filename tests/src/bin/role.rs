//! The program that the network tests start as a gateway or a node. It does nothing else.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    kith_demo::play_role(&args).await.unwrap_or(ExitCode::FAILURE)
}
