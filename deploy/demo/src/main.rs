//! `cargo demo`: starts a network, tells its story, stays up until Ctrl-C; `--story` ends after the story, `--no-story` tells
//! none.
//! Prints plain sentences; exits 0 only if every step's outcome was verified.

use clap::Parser;
use kith_demo::{cast::ORGS, network::Network, play_role, story};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// A whole Kith network on this machine: one gateway, five organisations, synthetic people.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Demo {
    /// End after the story; the exit status is 0 only if every step's outcome was verified.
    #[arg(long)]
    story: bool,
    /// Tell no story: start the network and keep it up.
    #[arg(long, conflicts_with = "story")]
    no_story: bool,
    /// Keep the network in this folder (otherwise a temporary one, removed at the end).
    #[arg(long)]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = play_role(&args).await {
        return code;
    }
    match run(Demo::parse_from(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "The demo stopped: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(demo: Demo) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("kith-demo-").tempdir()?;
    let folder = demo.data.as_deref().unwrap_or(temporary.path());
    let folder = std::path::absolute(folder)?;
    let mut network = Network::start(std::env::current_exe()?, &folder, &ORGS).await?;
    if !demo.no_story {
        story::tell(&mut network).await?;
    }
    if !demo.story {
        writeln!(
            std::io::stdout(),
            "\nThe network stays up until Ctrl-C. Addresses and tokens: {}",
            folder.join("demo.json").display()
        )?;
        tokio::signal::ctrl_c().await?;
    }
    network.stop().await
}
