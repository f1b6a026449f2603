//! `witness`: a stand-alone witness on the machine of another operator. Makes its key and serves `add-checkpoint`.
//! Never listens without TLS but on this computer.

use super::{World, say, shown};
use crate::keys::WitnessKeys;
use crate::witness::{self, StandAlone};
use anyhow::Context as _;
use kith_proto::log::note::{KeyKind, VerifierKey};
use kith_service::shutdown::Shutdown;
use kith_service::tls::incoming::{self, Incoming};
use kith_service::tls::{KeyedChain, server_config, with_http1};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What can be done with a witness.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Makes the witness's key; prints the line that the network's owner needs as the last line.
    Init(Init),
    /// Serves it.
    Serve(Serve),
}

/// What `witness init` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// What the witness is called in policies, by custom like a web address: `witness.example`.
    #[arg(long)]
    name: String,
    /// An empty or new folder.
    #[arg(long)]
    data: PathBuf,
}

/// What `witness serve` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The folder that `witness init` made.
    #[arg(long)]
    data: PathBuf,
    /// The key of a log, as the gateway's command `log` prints it; once for each.
    #[arg(long, required = true, value_parser = read_log_key)]
    log_key: Vec<VerifierKey>,
    /// The fingerprint of the root of a log's network, 64 hexadecimal digits; once for each. By that root's word the witness takes up the
    /// next epoch of a log whose gateway came back from a backup; without it, name the new key of the log then.
    #[arg(long, value_parser = read_root)]
    root: Vec<String>,
    /// Where to listen; without TLS on this computer alone, for a web server in front.
    #[arg(long, default_value = "127.0.0.1:7500")]
    listen: SocketAddr,
    /// The certificate chain, PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(super) async fn run(command: Command, world: World) -> anyhow::Result<()> {
    match command {
        Command::Init(arguments) => init(&arguments, &world),
        Command::Serve(arguments) => serve(arguments, world).await,
    }
}

fn init(arguments: &Init, world: &World) -> anyhow::Result<()> {
    let keys = WitnessKeys::create(&arguments.data, &arguments.name, &world.rng)?;
    say(format_args!(
        "The witness {} has its key in {}. It cosigns the logs that you name to it, as long as they only grow; it learns no name and \
         no content. Keep the folder: with an older copy of it the witness could be made to sign twice.\n\
         Give this line to the owner of the network, for `kith-gateway policy --witness`:",
        keys.name,
        shown(&arguments.data)
    ))?;
    say(keys.public())
}

async fn serve(arguments: Serve, world: World) -> anyhow::Result<()> {
    let data = &arguments.data;
    WitnessKeys::load(data)?;
    if arguments.tls_cert.is_none() && !arguments.listen.ip().is_loopback() {
        anyhow::bail!(
            "without --tls-cert and --tls-key a witness listens on this computer only, such as 127.0.0.1:7500"
        );
    }
    let _lock = super::lock(data)?;
    let shutdown = Shutdown::new();
    shutdown.on_signal()?;
    let witness = StandAlone::open(data, (arguments.log_key, arguments.root), world.clock.clone()).await?;
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(chain), Some(key)) => {
            let read = |path: &PathBuf| {
                std::fs::read(path).with_context(|| format!("the file {} cannot be used", shown(path)))
            };
            let (chain, key) = (read(chain)?, read(key)?);
            let chain = KeyedChain {
                chain_pem: &chain,
                key_pem: &key,
            };
            let config = server_config(chain, None, move || world.clock.now_ms())?;
            Some(with_http1(&config))
        }
        _ => None,
    };
    let sockets = incoming::tcp(super::listen(data, arguments.listen).await?);
    let incoming = match tls {
        Some(config) => Incoming::tls(sockets, config),
        None => Incoming::plain(sockets),
    };
    witness::serve(witness, incoming, shutdown.wait()).await?;
    Ok(())
}

/// Reads a root's fingerprint, or says what it looks like.
fn read_root(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    let is_read = data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 32);
    let shape = "the fingerprint of a root has 64 hexadecimal digits; `kith-gateway init` printed it";
    is_read.then_some(text).ok_or_else(|| shape.to_owned())
}

/// Reads the key of a log, or says where it comes from.
fn read_log_key(text: &str) -> Result<VerifierKey, String> {
    let shape =
        "the key of a log is one line that `kith-gateway log` prints after the word log; copy it again";
    let key: VerifierKey = text.trim().parse().map_err(|_| shape.to_owned())?;
    match key.kind() {
        KeyKind::Ed25519 => Ok(key),
        KeyKind::Cosignature => Err(String::from(
            "this is the key of a witness; name the log, as `kith-gateway log` prints it",
        )),
    }
}
