//! `suspend` and `resume`: on the store; a running gateway follows within a second.

use super::{Place, World, say};
use crate::members::Standing;
use crate::membership;
use kith_proto::id::OrgId;

/// Whom, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The member's id.
    #[arg(value_parser = super::org)]
    org: OrgId,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn suspend(arguments: Arguments, world: World) -> anyhow::Result<()> {
    let moved = set(&arguments, Standing::Suspended, world).await?;
    let org = &arguments.org;
    match moved {
        true => say(format_args!(
            "{org} is suspended. It can still take consent back and end what it began; nothing else reaches or leaves it."
        )),
        false => say(format_args!("{org} was suspended already.")),
    }
}

pub(super) async fn resume(arguments: Arguments, world: World) -> anyhow::Result<()> {
    let moved = set(&arguments, Standing::Active, world).await?;
    let org = &arguments.org;
    match moved {
        true => say(format_args!("{org} takes part again.")),
        false => say(format_args!("{org} was not suspended.")),
    }
}

async fn set(arguments: &Arguments, standing: Standing, world: World) -> anyhow::Result<bool> {
    let gateway = arguments.place.open(world).await?;
    let moved = membership::set_standing(&gateway, &arguments.org, standing).await;
    gateway.store.close().await;
    Ok(moved?)
}
