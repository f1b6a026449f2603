//! `epoch`: signs the root's word for the next epoch of the gateway's log, which `restore` takes up where the gateway is.
//! Run on the owner's machine. Never signs an epoch twice.

use super::{World, say, shown};
use crate::keys::{self, RootKeys};
use anyhow::Context as _;
use std::path::PathBuf;

/// What `epoch` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder `root` that `init` made.
    #[arg(long)]
    root: PathBuf,
    /// The epoch that the gateway's log was in last: the number after `/log/` that its command `log` prints.
    #[arg(long, default_value_t = 1)]
    above: u64,
    /// The new file with the word, for the gateway's machine.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments, world: &World) -> anyhow::Result<()> {
    let root = RootKeys::load(&arguments.root)?;
    let (epoch, signed) = root.sign_epoch(&arguments.root, arguments.above, world.clock.now_ms())?;
    keys::put_epoch(&arguments.out, &signed)?;
    say(format_args!(
        "Epoch {epoch} of the log of {} may begin. Take the file {} to the gateway's machine, and there, with the gateway stopped:",
        root.network,
        shown(&arguments.out)
    ))?;
    say(format_args!(
        "kith-gateway restore --data FOLDER --epoch {} --reason broken|lost|damaged|moved",
        arguments
            .out
            .file_name()
            .map(|name| name.to_string_lossy())
            .context("the file has no name")?
    ))
}
