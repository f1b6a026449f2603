//! `cargo demo`: starts a network, tells its story, stays up until Ctrl-C; `--story` ends after the story, `--no-story` tells
//! none.
//! Prints plain sentences; exits 0 only if every step's outcome was verified.

use anyhow::Context as _;
use clap::Parser;
use kith_demo::cast::{GP, ORGS};
use kith_demo::{network::Network, play_role, story};
use std::io::Write as _;
use std::path::{Path, PathBuf};
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
        let told = how_to_use(&network, &folder, demo.data.is_some())?;
        writeln!(std::io::stdout(), "\n{told}")?;
        tokio::signal::ctrl_c().await?;
    }
    network.stop().await
}

/// What to type in another terminal, and what Ctrl-C does.
fn how_to_use(network: &Network, folder: &Path, is_kept: bool) -> anyhow::Result<String> {
    let node = network.node(GP).context("the practice did not start")?;
    let token = node.tokens.get("coordinator").context("it has no token")?;
    let (data, list) = (node.data_dir.display(), folder.join("demo.json"));
    let end = if is_kept {
        "ends it; `cargo demo` with the same --data takes it up again"
    } else {
        "ends it and deletes it (--data FOLDER keeps one)"
    };
    let mut workspaces = String::new();
    for org in ORGS {
        workspaces.push_str(&format!("    {}: {}\n", org.name, network.sign_in_link(org)?));
    }
    Ok(format!(
        "Each organisation's workspace, with a link that signs one browser in, once, within half an hour:\n\n{workspaces}\n\
         The network stays up until Ctrl-C, which {end}. Everybody's addresses, folders and tokens are in\n{}\n\n\
         In another terminal, in this folder, as the coordinator of {} (the first time it builds the command):\n\n    \
         export KITH_DATA='{data}'\n    export KITH_TOKEN={token}\n    \
         cargo run --quiet -p kith-node -- organisations",
        list.display(),
        node.org.name
    ))
}
