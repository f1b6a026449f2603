//! `policy`: signs the next witness policy with the root's key and puts it into the folders that are at hand.
//! Run on the owner's machine. Never touches a folder of another network.

use super::{World, say, shown};
use crate::keys::{self, PolicyTerms, RootKeys};
use anyhow::Context as _;
use kith_proto::log::note::VerifierKey;
use std::path::{Path, PathBuf};

/// What `policy` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder `root` that `init` made.
    #[arg(long)]
    root: PathBuf,
    /// The folder `registrar`, where it is at hand: its invites carry the policy.
    #[arg(long)]
    registrar: Option<PathBuf>,
    /// The folder `gateway`, where it is at hand; a running gateway follows within seconds.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The key of a witness, as its operator printed it; once for each. Without any, no checkpoint needs a witness.
    #[arg(long, value_parser = super::witness)]
    witness: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned; more than half of them unless given.
    #[arg(long)]
    of: Option<u32>,
}

impl Arguments {
    /// More than half: so many are under way at once, and two such sets share a witness.
    fn threshold(&self) -> anyhow::Result<u32> {
        let count = u32::try_from(self.witness.len())?;
        match (count, self.of) {
            (0, None | Some(0)) => Ok(0),
            (0, Some(_)) => anyhow::bail!("there is no witness to cosign; name one with --witness"),
            (count, Some(of)) if of == 0 || of > count => {
                anyhow::bail!("of {count} witnesses 1 to {count} can be asked for")
            }
            (count, of) => Ok(of.unwrap_or(count / 2 + 1)),
        }
    }

    /// The other folders at hand, and by what each is known.
    fn others(&self) -> impl Iterator<Item = (&Path, &'static str, &'static str)> {
        let registrar = self.registrar.as_deref();
        let gateway = self.data.as_deref();
        let registrar = registrar.map(|dir| (dir, "registrar", "registrar.key"));
        registrar
            .into_iter()
            .chain(gateway.map(|dir| (dir, "gateway", "signing.key")))
    }
}

pub(super) fn run(arguments: &Arguments, world: &World) -> anyhow::Result<()> {
    let root = RootKeys::load(&arguments.root)?;
    let threshold = arguments.threshold()?;
    let mut above = 0;
    for (dir, name, file) in arguments.others() {
        above = above.max(root.number_in(dir, name, file)?);
    }
    let terms = PolicyTerms {
        witnesses: &arguments.witness,
        threshold,
        above,
    };
    let signed = root
        .sign_policy(terms, world.clock.now_ms())
        .context("no policy was signed; two witnesses may not have one name or one key")?;
    let number = root.policy.number().max(above) + 1;
    // The root's own folder first: a number that left it is not signed again.
    let folders = [arguments.root.as_path()];
    let folders = folders.into_iter().chain(arguments.others().map(|(dir, ..)| dir));
    let mut written = Vec::new();
    for dir in folders {
        keys::put_policy(dir, &signed)?;
        written.push(shown(dir));
    }
    match threshold {
        0 => say(format_args!(
            "Policy {number} of {} names no witness: nobody but the gateway itself says that its log only grows.",
            root.network
        ))?,
        1.. => say(format_args!(
            "Policy {number} of {}: a checkpoint of the gateway's log counts once {threshold} of these {} have cosigned it.",
            root.network,
            arguments.witness.len()
        ))?,
    }
    for witness in &arguments.witness {
        say(format_args!("  {}", witness.name()))?;
    }
    say(format_args!("It is written to {}.", written.join(", ")))?;
    if arguments.data.is_none() {
        say(
            "Copy policy.signed from there into the gateway's and the registrar's folder; a running gateway follows within seconds.",
        )?;
    }
    Ok(())
}
