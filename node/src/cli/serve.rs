//! `kith-node serve`: runs the node until it is asked to stop.
//! Called by the command line's dispatch with the process's clock and randomness.
//! It must never listen before the folder's lock is held, nor leave an address behind that nobody listens on.

use super::talk::{ADDRESS_FILE, Talk, WEB_FILE, store_of};
use crate::grpc::server::{Listen, listen};
use crate::keys::DataFolder;
use crate::node::{Config, Node};
use crate::serve::{self, Serve};
use crate::web::At;
use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::telemetry::{self, LogFormat};
use kith_service::tls::dial::Dial;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// Where and how to run.
#[derive(clap::Args, Debug)]
pub(crate) struct ServeArguments {
    /// Where your own systems and commands reach the node. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    grpc: SocketAddr,
    /// The certificate for that address (PEM, leaf first); needed when other computers can reach it.
    #[arg(long, requires = "grpc_tls_key", value_name = "FILE")]
    grpc_tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, requires = "grpc_tls_cert", value_name = "FILE")]
    grpc_tls_key: Option<PathBuf>,
    /// Where your own people reach the workspace in a browser. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    web: SocketAddr,
    /// The address that browsers know it by, where that is another, such as https://work.example.org: passkeys belong to it.
    #[arg(long, value_name = "URL")]
    web_origin: Option<String>,
    /// The certificate for that address (PEM, leaf first); needed when other computers can reach it.
    #[arg(long, requires = "web_tls_key", value_name = "FILE")]
    web_tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, requires = "web_tls_cert", value_name = "FILE")]
    web_tls_key: Option<PathBuf>,
    /// The database, such as postgres://…; a file in the data folder when left out.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Where the daily recovery bundle goes, such as a USB stick; remembered. Two are kept there, for two days at most.
    #[arg(long, value_name = "FOLDER")]
    bundles: Option<PathBuf>,
    /// How the log looks: text or json.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log: LogFormat,
    /// What the log has, as in info,kith_node=debug.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log_filter: String,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn run(
    talk: &Talk,
    arguments: ServeArguments,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<()> {
    telemetry::init(arguments.log, &arguments.log_filter)?;
    let folder = talk.folder()?;
    let chain = chain_of(&arguments.grpc_tls_cert, &arguments.grpc_tls_key)?;
    let listening = listen_for("grpc", arguments.grpc, chain.as_ref())?;
    let web_chain = chain_of(&arguments.web_tls_cert, &arguments.web_tls_key)?;
    let web = listen_for("web", arguments.web, web_chain.as_ref())?;
    let shutdown = Shutdown::new();
    shutdown.on_signal()?;
    let config = Config {
        folder: folder.clone(),
        store_url: store_of(&folder, arguments.store.clone())?,
        store_blocking: false,
    };
    let node = Node::open(config, clock.clone(), rng).await?;
    if let Some(url) = &arguments.store {
        folder.keep_store(url)?;
    }
    if let Some(bundles) = &arguments.bundles {
        keep_bundles(&folder, bundles)?;
    }
    let scheme = if web.chain.is_some() { "https" } else { "http" };
    let of_web = clock.clone();
    let (incoming, address) = listen(listening, move || clock.now_ms()).await?;
    let (web_incoming, web_address) = listen(web, move || of_web.now_ms()).await?;
    let web_address = called(scheme, web_address);
    let at = At {
        zone: TimeZone::system(),
        origin: Url::parse(arguments.web_origin.as_deref().unwrap_or(&web_address)).ok(),
    };
    let files = [
        (WEB_FILE, web_address.clone()),
        (ADDRESS_FILE, address.to_string()),
    ];
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), text).context("The data folder cannot be written to.")?;
    }
    let organisation = node.organisation().to_string();
    talk.out().say(
        &format!(
            "{organisation} is running; its own people open {web_address} in a browser, its own systems reach it at {address}. Stop it with Ctrl-C."
        ),
        &json!({ "organisation": organisation, "grpc": address.to_string(), "web": web_address }),
    )?;
    let served = serve::serve(
        Arc::new(node),
        Serve {
            incoming,
            web: Some((web_incoming, at)),
            dial: Dial::tcp(),
            shutdown,
        },
    )
    .await;
    // Left behind only if it cannot be removed; a client then finds that nobody listens.
    for (name, _) in &files {
        std::fs::remove_file(folder.path().join(name)).ok();
    }
    Ok(served?)
}

/// An address as browsers are given it: this computer by its name, as passkeys do not belong to numbers.
fn called(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_loopback() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

fn keep_bundles(folder: &DataFolder, bundles: &Path) -> anyhow::Result<()> {
    let named = std::path::absolute(bundles)?;
    if !named.is_dir() {
        bail!(
            "There is no folder {} for recovery bundles: make it, or plug in what it is on.",
            named.display()
        );
    }
    Ok(folder.keep_bundles(&named)?)
}

/// A certificate chain and its key, both PEM.
type Chain = (Vec<u8>, Vec<u8>);

/// Where to listen, refused where others could reach it without TLS.
fn listen_for<'a>(
    of: &'static str,
    address: SocketAddr,
    chain: Option<&'a Chain>,
) -> anyhow::Result<Listen<'a>> {
    let chain = chain.map(|(cert, key)| (cert.as_slice(), key.as_slice()));
    let listen = Listen { of, address, chain };
    listen.check()?;
    Ok(listen)
}

/// Certificate chain and key, where both were named.
fn chain_of(cert: &Option<PathBuf>, key: &Option<PathBuf>) -> anyhow::Result<Option<Chain>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((read(cert)?, read(key)?))),
        _ => Ok(None),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read.", file.display()))
}
