//! `kith-node join TOKEN`: makes this computer the node of an organisation.
//! Called by the command line's dispatch.
//! It must never join twice into one folder, nor show the token again.

use super::say::Refusal;
use super::talk::{Talk, long_text};
use crate::join::{self, JoinError, Joining};
use crate::keys::DataFolder;
use crate::node::Config;
use kith_proto::problem::Problem;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::tls::dial::Dial;
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
    let token = long_text(arguments.invite)?;
    let joined = join::join(
        token.trim(),
        &Joining {
            config,
            dial: Dial::tcp(),
            clock,
            rng,
        },
    )
    .await;
    let me = joined.map_err(explained)?;
    talk.out().say(
        &format!("{} ({}) is now in the network {}. Next: `kith-node serve --data DIR`.", me.name, me.organisation, me.network),
        &json!({ "network": me.network.as_str(), "organisation": me.organisation.as_str(), "name": me.name, "kind": me.kind.as_str() }),
    )
}

/// The gateway's own sentence where it refused; ours where a token cannot be used.
fn explained(error: JoinError) -> anyhow::Error {
    match error {
        JoinError::Refused(failure) if failure.problem == Problem::Conflict => anyhow::anyhow!(
            "This token was used before. Each token joins one computer once: ask the network's owner for a new one."
        ),
        JoinError::Refused(failure) => Refusal(*failure).into(),
        other => other.into(),
    }
}
