//! `serve`: opens the gateway and serves until SIGINT or SIGTERM. One process at a time on a SQLite store.

use super::{Place, World, shown};
use crate::gateway;
use crate::keys::GatewayKeys;
use crate::limits::WITNESS_MS_MAX;
use crate::witnessing::ask;
use anyhow::Context as _;
use kith_service::clock::Clock;
use kith_service::log::ask::{Asker, WitnessUrl};
use kith_service::shutdown::Shutdown;
use kith_service::tls::dial::Dial;
use kith_service::tls::incoming;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 takes a free one. TLS always, so any address is allowed.
    #[arg(long, default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// A witness that is asked to cosign the log, as `https://witness.example`; once for each.
    #[arg(long)]
    witness: Vec<WitnessUrl>,
    /// The certificates to trust witnesses by, PEM; those of this computer unless given.
    #[arg(long)]
    witness_ca: Option<PathBuf>,
}

impl Arguments {
    fn asker(&self, clock: Clock) -> anyhow::Result<Asker> {
        let roots = match &self.witness_ca {
            None => None,
            Some(path) => {
                let read = std::fs::read(path);
                Some(read.with_context(|| format!("the file {} cannot be used", shown(path)))?)
            }
        };
        let within = Duration::from_millis(WITNESS_MS_MAX);
        Ok(Asker::new(Dial::tcp(), roots.as_deref(), within, move || {
            clock.now_ms()
        })?)
    }
}

pub(super) async fn run(arguments: Arguments, world: World) -> anyhow::Result<()> {
    let data = &arguments.place.data;
    GatewayKeys::look(data)?;
    // Held until the process ends.
    let _lock = match arguments.place.config()?.store_url.starts_with("sqlite:") {
        true => Some(super::lock(data)?),
        false => None,
    };
    let shutdown = Shutdown::new();
    shutdown.on_signal()?;
    let asker = arguments.asker(world.clock.clone())?;
    let gateway = arguments.place.open(world).await?;
    if let Some(url) = &arguments.place.store {
        GatewayKeys::keep_store(data, url)?;
    }
    let listener = super::listen(data, arguments.listen).await?;
    for url in arguments.witness {
        let asking = ask::run(gateway.clone(), asker.clone(), url, shutdown.clone());
        shutdown.spawn(asking);
    }
    gateway::serve(gateway, incoming::tcp(listener), shutdown).await?;
    Ok(())
}
