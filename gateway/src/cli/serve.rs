//! `serve`: opens the gateway and serves until SIGINT or SIGTERM. One process at a time on a SQLite store.

use super::{Place, World, say, shown};
use crate::gateway;
use crate::keys::GatewayKeys;
use anyhow::Context as _;
use kith_service::shutdown::Shutdown;
use kith_service::tls::incoming;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 takes a free one. TLS always, so any address is allowed.
    #[arg(long, default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
}

pub(super) async fn run(arguments: Arguments, world: World) -> anyhow::Result<()> {
    let data = &arguments.place.data;
    GatewayKeys::look(data)?;
    // Held until the process ends; the system lets go of it even after a crash.
    let _lock = match arguments.place.config()?.store_url.starts_with("sqlite:") {
        true => Some(lock(data)?),
        false => None,
    };
    let shutdown = Shutdown::new();
    shutdown.on_signal()?;
    let gateway = arguments.place.open(world).await?;
    if let Some(url) = &arguments.place.store {
        GatewayKeys::keep_store(data, url)?;
    }
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let file = data.join("address");
    std::fs::write(&file, format!("{address}\n"))
        .with_context(|| format!("cannot write {}", shown(&file)))?;
    say(format_args!("listening {address}"))?;
    gateway::serve(gateway, incoming::tcp(listener), shutdown).await?;
    Ok(())
}

/// Takes the folder for this process alone.
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
