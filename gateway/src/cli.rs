//! The commands of `kith-gateway`. Each file parses its own arguments, calls use-cases, and says in plain sentences what it did.
//! Called by `main`, and by whoever re-executes itself as a gateway with a clock of its own; nothing here can shift time.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use kith_proto::id::{NetworkName, OrgId};
use kith_proto::log::note::{KeyKind, VerifierKey};
use kith_proto::recovery::RestoreReason;
use kith_proto::text::is_of_a_name;
use kith_proto::trust::NAME_BYTES_MAX;
use kith_proto::words::OrganisationKind;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::telemetry::{self, LogFormat};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::TcpListener;

use crate::gateway::{Gateway, GatewayConfig};
use crate::keys::GatewayKeys;

mod audit;
mod epoch;
mod init;
mod invite;
mod log;
mod lost;
mod members;
mod policy;
mod restore;
mod serve;
mod suspend;
mod witness;

/// The router of one Kith network: it passes on sealed referrals and cannot read them.
#[derive(Debug, Parser)]
#[command(name = "kith-gateway", version)]
struct Arguments {
    /// How log lines look on the standard error stream: text or json.
    #[arg(long, default_value = "text", global = true)]
    log_format: LogFormat,
    /// What is logged, for example `info` or `warn,kith_gateway=debug`.
    #[arg(long, default_value = "info", global = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the keys of a new network, in three folders that are kept apart.
    Init(init::Arguments),
    /// Invites one organisation to join; prints a token as the last line.
    Invite(invite::Arguments),
    /// Lists the members.
    Members(Place),
    /// Suspends a member: it may still end things, and nothing else.
    Suspend(suspend::Arguments),
    /// Ends a member's suspension.
    Resume(suspend::Arguments),
    /// Says that a member's computer is lost: blocks its keys, and prints the token for new ones.
    Lost(lost::Lost),
    /// Prints the token for new keys of a member, from the request that `lost` has printed.
    Rekey(lost::Rekey),
    /// Shows what is in the log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Signs who has to cosign the gateway's log; run it where the root's key is.
    Policy(policy::Arguments),
    /// Signs that the gateway's log may begin anew after a backup; run it where the root's key is.
    Epoch(epoch::Arguments),
    /// Takes up a database that came back from a backup: the log begins its next epoch, by the root's word.
    Restore(restore::Arguments),
    /// Says where the gateway's log stands, and by which key witnesses know it.
    Log(Place),
    /// A witness of gateways' logs, on the machine of another operator.
    #[command(subcommand)]
    Witness(witness::Command),
    /// Serves the network.
    Serve(serve::Arguments),
}

/// Where the gateway's keys and rows are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The folder `gateway` that `init` made.
    #[arg(long)]
    data: PathBuf,
    /// The store: `sqlite:///path/file.db` or `postgres://…`; a file in the data folder unless given.
    #[arg(long)]
    store: Option<String>,
}

impl Place {
    /// The store that is named, or else the one that `serve` was given last.
    fn config(&self) -> anyhow::Result<GatewayConfig> {
        let config = GatewayConfig::in_folder(&self.data);
        let store = match &self.store {
            Some(url) => Some(url.clone()),
            None => GatewayKeys::kept_store(&self.data)?,
        };
        Ok(match store {
            Some(store_url) => GatewayConfig { store_url, ..config },
            None => config,
        })
    }

    async fn open(&self, world: World) -> anyhow::Result<std::sync::Arc<Gateway>> {
        Ok(Gateway::open(&self.config()?, world.clock, world.rng).await?)
    }
}

/// What a command takes from outside: time and randomness.
struct World {
    clock: Clock,
    rng: Rng,
}

/// Runs one command to its end. `arguments` begin with the program's name. A failure is one line on the standard error
/// stream and exit code 1; a command line that cannot be read is 2.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, clock: Clock, rng: Rng) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            // Help and version come this way too; nobody is left to tell when printing fails.
            wrong.print().ok();
            return ExitCode::from(if wrong.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(arguments, World { clock, rng }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr().lock(), "kith-gateway: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments, world: World) -> anyhow::Result<()> {
    telemetry::init(arguments.log_format, &arguments.log)?;
    match arguments.command {
        Command::Init(arguments) => init::run(&arguments, &world),
        Command::Invite(arguments) => invite::run(arguments, &world),
        Command::Members(place) => members::run(&place, world).await,
        Command::Suspend(arguments) => suspend::suspend(arguments, world).await,
        Command::Resume(arguments) => suspend::resume(arguments, world).await,
        Command::Lost(arguments) => lost::lost(arguments, world).await,
        Command::Rekey(arguments) => lost::rekey(&arguments, &world),
        Command::Audit(command) => audit::run(command, world).await,
        Command::Policy(arguments) => policy::run(&arguments, &world),
        Command::Epoch(arguments) => epoch::run(&arguments, &world),
        Command::Restore(arguments) => restore::run(arguments, world).await,
        Command::Log(place) => log::run(&place, world).await,
        Command::Witness(command) => witness::run(command, world).await,
        Command::Serve(arguments) => serve::run(arguments, world).await,
    }
}

/// Reads an organisation's id, or says what one looks like.
fn org(text: &str) -> Result<OrgId, String> {
    let shape = "an id has 3 to 40 small letters, digits and single hyphens between them, and begins with a letter, such as riverside-gp";
    text.parse().map_err(|_| shape.to_owned())
}

/// Reads the key of a witness as `witness init` prints it, or says what it looks like.
fn witness(text: &str) -> Result<VerifierKey, String> {
    let shape = "a witness's key is one line, its name, eight digits and letters, and base64, with + between them; copy it again";
    let key: VerifierKey = text.trim().parse().map_err(|_| shape.to_owned())?;
    match key.kind() {
        KeyKind::Cosignature => Ok(key),
        KeyKind::Ed25519 => Err(String::from(
            "this is the key of a log; a witness needs one of its own, which its operator prints",
        )),
    }
}

/// Takes a folder for this process alone, until the file is dropped; the system lets go of it even after a crash.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("serve.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", shown(&path)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another process serves {} already, so this one does not; stop that one first",
            shown(data)
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", shown(&path)))
        }
    }
}

/// Listens, writes the address into the folder, and says it.
async fn listen(data: &Path, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let file = data.join("address");
    std::fs::write(&file, format!("{address}\n"))
        .with_context(|| format!("cannot write {}", shown(&file)))?;
    say(format_args!("listening {address}"))?;
    Ok(listener)
}

/// Reads a network's name, or says what one looks like.
fn network(text: &str) -> Result<NetworkName, String> {
    let shape = "a network is named like a domain, with at least one dot, in small letters, digits and hyphens, such as lune-valley.org.uk";
    text.parse().map_err(|_| shape.to_owned())
}

/// Reads a kind of organisation as people type it, or says which there are.
fn kind(text: &str) -> Result<OrganisationKind, String> {
    let typed = text.to_lowercase().replace(['-', ' '], "_");
    typed.parse().map_err(|_| {
        let known: Vec<&str> = OrganisationKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("choose one of: {}", known.join(", "))
    })
}

/// Reads why a gateway is restored, or says which reasons there are.
fn restore_reason(text: &str) -> Result<RestoreReason, String> {
    text.parse().map_err(|_| {
        let known: Vec<&str> = RestoreReason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("choose one of: {}", known.join(", "))
    })
}

/// Takes an organisation's name as others will read it, or says what is wrong with it.
fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(String::from("the name is missing"));
    }
    if !text.chars().all(is_of_a_name) {
        let hidden = "there is a hidden character in it that is no text or turns the writing round; type it instead of pasting it";
        return Err(hidden.to_owned());
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(format!(
            "it is too long; {NAME_BYTES_MAX} letters at most, fewer in some scripts"
        ));
    }
    Ok(text.trim().to_owned())
}

/// Writes one line to the standard output stream.
fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// A path as people read it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
