//! `init`: makes a network's keys and says what to do with each folder. Never writes into a folder that holds something.

use super::{World, say, shown};
use crate::keys::{self, NetworkTerms};
use kith_proto::id::NetworkName;
use std::path::PathBuf;

/// What `init` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The network's name, like a domain: `lune-valley.example`.
    #[arg(long, value_parser = super::network)]
    network: NetworkName,
    /// Where nodes will reach the gateway: `host:port`. It goes into every invite.
    #[arg(long)]
    address: String,
    /// An empty or new folder.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments, world: &World) -> anyhow::Result<()> {
    let terms = NetworkTerms {
        network: arguments.network.clone(),
        public_address: arguments.address.clone(),
    };
    let made = keys::create(&terms, &arguments.out, &world.clock, &world.rng)?;
    let folder = |name: &str| shown(&arguments.out.join(name));
    say(format_args!("The network {} has its keys.", arguments.network))?;
    say(format_args!("  root       {}", made.root.fingerprint()))?;
    say(format_args!("  registrar  {}", made.registrar.fingerprint()))?;
    say(format_args!("  gateway    {}", made.gateway.fingerprint()))?;
    say("")?;
    say(format_args!(
        "1. Take {} offline now: copy it to two USB sticks, lock them away, and delete it here. It is needed once a year.",
        folder("root")
    ))?;
    say(format_args!(
        "2. Move {} to the machine of whoever admits members. With it, invite an organisation:\n   \
         kith-gateway invite riverside-gp --kind gp --name \"Riverside GP practice\" --registrar {}",
        folder("registrar"),
        folder("registrar")
    ))?;
    say(format_args!(
        "3. Leave {} on the gateway's machine, and start it:\n   kith-gateway serve --data {} --listen 0.0.0.0:{}",
        folder("gateway"),
        folder("gateway"),
        keys::port(&arguments.address).unwrap_or_default()
    ))
}
