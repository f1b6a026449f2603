//! `restore`: a gateway whose database came back from a backup begins the next epoch of its log, by the root's word.
//! Never beside a gateway that serves, as far as that can be known: on SQLite by the folder's lock, on PostgreSQL by what it writes.

use super::{Place, World, say, shown};
use crate::gateway::Gateway;
use crate::keys::{self, GatewayKeys, RootKeys};
use crate::restore::{self, Restored};
use anyhow::Context as _;
use kith_proto::recovery::RestoreReason;
use kith_proto::trail::sentence::written;
use kith_proto::v1;
use std::path::PathBuf;

/// What `restore` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The root's word, as the command `epoch` wrote it where the root's key is.
    #[arg(long, required_unless_present = "root", conflicts_with = "root")]
    epoch: Option<PathBuf>,
    /// The folder `root`, where it is at hand: the word is signed on the spot.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Why: broken, lost, damaged or moved. It stands in the log.
    #[arg(long, value_parser = super::restore_reason)]
    reason: RestoreReason,
}

pub(super) async fn run(arguments: Arguments, world: World) -> anyhow::Result<()> {
    let data = &arguments.place.data;
    GatewayKeys::look(data)?;
    let _lock = super::lock(data)?;
    let now_ms = world.clock.now_ms();
    let gateway = arguments.place.open(world).await?;
    let done = begin(&arguments, &gateway, now_ms).await;
    gateway.store.close().await;
    match done? {
        None => say("This gateway is in that epoch already; there is nothing left to do. Start it."),
        Some(restored) => tell(restored),
    }
}

async fn begin(arguments: &Arguments, gateway: &Gateway, now_ms: i64) -> anyhow::Result<Option<Restored>> {
    let word: v1::Signed = match (&arguments.epoch, &arguments.root) {
        (Some(file), _) => keys::read_epoch(file)?,
        (None, Some(dir)) => {
            let root = RootKeys::load(dir)?;
            let held = gateway.log.newest().await?.number;
            let (_, signed) = root
                .sign_epoch(dir, held, now_ms)
                .with_context(|| format!("no word was signed with {}", shown(dir)))?;
            signed
        }
        (None, None) => anyhow::bail!("name the root's word with --epoch, or the folder root with --root"),
    };
    Ok(restore::restore(gateway, &word, arguments.reason).await?)
}

fn tell(restored: Restored) -> anyhow::Result<()> {
    say(format_args!(
        "The log begins anew as epoch {}: this backup was at size {} of epoch {}, and has {} members.",
        restored.epoch, restored.found.size, restored.found_epoch, restored.members
    ))?;
    say(format_args!(
        "Its newest event is of {}. What was done after it is not in it:",
        written(restored.backup_at_ms)
    ))?;
    say(
        "- Members that joined, keys that were published, services and stopped slips: the nodes give them back by themselves once they \
         are attached.",
    )?;
    say(format_args!(
        "- Keys that were reported lost, suspensions, and ends of suspensions: before you start the gateway, say every one again that you \
         said since {}, with the commands lost, suspend and resume. Until then the stolen keys count. Hand over no new token where an \
         organisation has come back with new keys already: its node gives them back by itself.",
        written(restored.backup_at_ms)
    ))?;
    say(
        "- Stops that somebody made with a stop secret while both nodes were off: ask those people to stop again, if you know them.",
    )?;
    say(
        "Start the gateway. Nodes send nothing until the new epoch is witnessed as the policy asks; a witness elsewhere that was started \
         without --root needs the new line of the command log from you.",
    )
}
