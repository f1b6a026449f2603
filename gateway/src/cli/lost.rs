//! `lost` and `rekey`: a member's computer was stolen or has died. The first blocks its keys where the gateway is, the second prints the
//! token for new ones where the registrar's key is; with both in one place, `lost --registrar` does it all.

use super::{Place, World, say, shown};
use crate::invite::{self, Invited};
use crate::keys::RegistrarKeys;
use crate::membership;
use anyhow::{Context as _, bail};
use data_encoding::BASE64URL_NOPAD;
use kith_proto::id::OrgId;
use kith_proto::trust::{NAME_BYTES_MAX, Rekeyed};
use kith_proto::v1;
use prost::Message as _;
use std::path::{Path, PathBuf};

/// What every request for a re-key starts with.
const REQUEST_PREFIX: &str = "kithlost1.";

/// Whose keys are lost.
#[derive(Debug, clap::Args)]
pub(super) struct Lost {
    /// The member's id.
    #[arg(value_parser = super::org)]
    org: OrgId,
    #[command(flatten)]
    place: Place,
    /// The folder `registrar` that `init` made, where it is at hand; without it the request for the registrar is printed.
    #[arg(long)]
    registrar: Option<PathBuf>,
}

/// What the registrar is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Rekey {
    /// The line that `lost` has printed.
    request: String,
    /// The folder `registrar` that `init` made.
    #[arg(long)]
    registrar: PathBuf,
}

pub(super) async fn lost(arguments: Lost, world: World) -> anyhow::Result<()> {
    let (clock, rng) = (world.clock.clone(), world.rng.clone());
    let org = &arguments.org;
    let gateway = arguments.place.open(world).await?;
    let reported = membership::report_lost(&gateway, org).await;
    gateway.store.close().await;
    let request = reported?;
    say(format_args!(
        "The keys of {org} count no more: no connection, signature or certificate of its lost computer is taken, and it is suspended. \
         Call {org} now."
    ))?;
    match arguments.registrar {
        Some(folder) => token(&request, &folder, &World { clock, rng }),
        None => {
            say(
                "Where the registrar's key is: kith-gateway rekey REQUEST --registrar FOLDER, with this request:",
            )?;
            let text = BASE64URL_NOPAD.encode(&request.encode_to_vec());
            say(format_args!("{REQUEST_PREFIX}{text}"))
        }
    }
}

pub(super) fn rekey(arguments: &Rekey, world: &World) -> anyhow::Result<()> {
    let unread =
        "This is not a request that `kith-gateway lost` has printed. Copy its last line, the whole of it.";
    let body = arguments
        .request
        .trim()
        .strip_prefix(REQUEST_PREFIX)
        .context(unread)?;
    let bytes = BASE64URL_NOPAD.decode(body.as_bytes()).ok().context(unread)?;
    let request = v1::Invite::decode(bytes.as_slice()).ok().context(unread)?;
    token(&request, &arguments.registrar, world)
}

/// Prints the token; its last line is the token alone.
fn token(request: &v1::Invite, folder: &Path, world: &World) -> anyhow::Result<()> {
    let keys = RegistrarKeys::load(folder, world.clock.now_ms())?;
    if request.network != keys.network.as_str() {
        bail!(
            "This request is of the network {}, the registrar of {}.",
            request.network,
            keys.network
        );
    }
    let unread = "This request cannot be read. Make a new one with `kith-gateway lost`.";
    let rekeyed = Rekeyed::read(request.rekeyed.as_ref().context(unread)?).context(unread)?;
    if request.name.len() > NAME_BYTES_MAX {
        bail!(unread);
    }
    let invited = Invited {
        org: request.organisation.parse().ok().context(unread)?,
        kind: request.kind.try_into().ok().context(unread)?,
        name: request.name.clone(),
    };
    let org = invited.org.clone();
    let token = invite::rekey_token(&keys, invited, &rekeyed, &world.clock, &world.rng)?;
    say(format_args!(
        "{org} may come back once within 24 hours, with new keys that count 24 hours later. Make sure by telephone that it is {org} who asks, \
         and hand the token over as you would an invite. On its new computer, with two of the three parts of its recovery sheet, which it asks for, as for the token:\n\
         kith-node restore --data FOLDER --token - --reason lost\n\
         Without a sheet: kith-node join TOKEN --data FOLDER. Then its referrals come back from the organisations at their other end.\n\
         Made with the registrar of {}.",
        shown(folder)
    ))?;
    say(token)
}
