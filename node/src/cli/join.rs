//! `kith-node join TOKEN`: makes this computer the node of an organisation.
//! Called by the command line's dispatch.
//! It must never join twice into one folder, nor show the token again.

use super::say::Refusal;
use super::talk::{Talk, long_text};
use super::{recovery, restore};
use crate::join::{self, JoinError, Joining};
use crate::keys::DataFolder;
use crate::node::Config;
use kith_proto::problem::Problem;
use kith_proto::trust::TrustError;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::tls::dial::{Dial, DialError};
use serde_json::json;

/// With which token.
#[derive(clap::Args, Debug)]
pub(crate) struct Join {
    /// The token that the network's owner gave you; `-` reads it from standard input.
    invite: String,
    /// The database, such as postgres://…; a file in the data folder when left out.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Joins.
pub(crate) async fn run(talk: &Talk, arguments: Join, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    let config = Config {
        folder: DataFolder::at(talk.data()?),
        store_url: arguments.store,
        store_blocking: false,
    };
    let joining = Joining {
        config,
        dial: Dial::tcp(),
        clock: clock.clone(),
        rng: rng.clone(),
    };
    let token = long_text(arguments.invite)?;
    let me = join::join(token.trim(), &joining).await.map_err(explained)?;
    // Joined is joined: a sheet that could not be made is made by its own command.
    let sheet = recovery::new_sheet(&joining.config, &clock, &rng).await;
    let shown = sheet.as_ref().map(|(me, made)| recovery::as_json(me, made)).ok();
    talk.out().say(
        &format!("{} ({}) is now in the network {}. Next: `kith-node serve --data DIR`.", me.name, me.organisation, me.network),
        &json!({ "network": me.network.as_str(), "organisation": me.organisation.as_str(), "name": me.name, "kind": me.kind.as_str(), "recovery": shown }),
    )?;
    talk.out().remark(&match sheet {
        Ok((me, made)) => format!("\n{}", recovery::printed(&me, &made)),
        Err(_) => "No recovery sheet could be made: make one with `kith-node recovery sheet`.".to_owned(),
    })?;
    // A member that had lost its keys and has no bundle asks the network for what it holds of it.
    match restore::finish(&joining, None).await? {
        Some(restored) => talk.out().remark(&restore::sentences(&restored)),
        None => Ok(()),
    }
}

/// The gateway's own sentence where it refused; ours where a token cannot be used.
pub(super) fn explained(error: JoinError) -> anyhow::Error {
    match error {
        JoinError::Refused(failure) if failure.problem == Problem::Conflict => anyhow::anyhow!(
            "This token was used before. Each token joins one computer once: ask the network's owner for a new one."
        ),
        JoinError::Refused(failure) => Refusal(*failure).into(),
        JoinError::Trust(error) => anyhow::anyhow!(distrust(error)),
        JoinError::Dial(DialError::Unreachable(_)) => anyhow::anyhow!(
            "The network's gateway cannot be reached. See that this computer is on the internet, then try again; the token stays good."
        ),
        JoinError::Dial(DialError::Untrusted(_)) => anyhow::anyhow!(
            "What answered is not the gateway of this token, so nothing was sent. Ask the network's owner for a new token."
        ),
        other => other.into(),
    }
}

/// Why a token is not believed, and what to do.
const fn distrust(error: TrustError) -> &'static str {
    match error {
        TrustError::Expired => "This token has run out. Ask the network's owner for a new one.",
        TrustError::Clock => {
            "The clock of this computer does not fit the token. Set the right time, then try again."
        }
        TrustError::Library => "The token could not be checked just now. Try again.",
        TrustError::Malformed
        | TrustError::TooLarge
        | TrustError::Forged
        | TrustError::Foreign
        | TrustError::Broken => {
            "This token was not made by its network, so it is not used. Ask the network's owner for a new one."
        }
    }
}
