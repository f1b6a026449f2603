//! `invite`: prints one token; the last line of the output is the token alone.

use super::{World, say, shown};
use crate::invite::{self, Invited};
use crate::keys::RegistrarKeys;
use kith_proto::id::OrgId;
use kith_proto::words::OrganisationKind;
use std::path::PathBuf;

/// What `invite` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The organisation's id from now on: small letters, digits, hyphens.
    #[arg(value_parser = super::org)]
    org: OrgId,
    /// What sort of body it is: gp, hospital, school, council, settlement, peer_group, faith_group, charity, community_leader.
    #[arg(long, value_parser = super::kind)]
    kind: OrganisationKind,
    /// Its name as people know it.
    #[arg(long, value_parser = super::name)]
    name: String,
    /// The folder `registrar` that `init` made.
    #[arg(long)]
    registrar: PathBuf,
}

pub(super) fn run(arguments: Arguments, world: &World) -> anyhow::Result<()> {
    let keys = RegistrarKeys::load(&arguments.registrar, world.clock.now_ms())?;
    let invited = Invited {
        org: arguments.org.clone(),
        kind: arguments.kind,
        name: arguments.name,
    };
    let token = invite::token(&keys, invited, &world.clock, &world.rng)?;
    say(format_args!(
        "{} may join {} once within 24 hours. Whoever holds this token can do so in its name: hand it over in person, \
         by telephone or by an encrypted message. On its computer: kith-node join TOKEN\n\
         Made with the registrar of {}.",
        arguments.org,
        keys.network,
        shown(&arguments.registrar)
    ))?;
    say(token)
}
