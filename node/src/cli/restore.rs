//! `kith-node restore --reason WHY`: this data folder is an older copy of itself, and comes back.
//! Called by the command line's dispatch while the node is stopped.
//! It must never begin a second restore beside one that is pending, nor end before the network has said what it knows.

use super::talk::{Talk, store_of};
use crate::node::{Config, Node};
use crate::restore::{self, Reason, Restored};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::tls::dial::Dial;
use serde_json::json;

/// Why, and which store.
#[derive(clap::Args, Debug)]
pub(crate) struct RestoreArguments {
    /// Why: lost, broken, damaged or moved. It is written into the trail.
    #[arg(long, value_name = "WHY")]
    reason: String,
    /// The database, when it is not the one in the data folder.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Restores in place.
pub(crate) async fn run(
    talk: &Talk,
    arguments: RestoreArguments,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<()> {
    let reason: Reason = super::choose(Reason::ALL, &arguments.reason, "reason")?;
    let folder = talk.folder()?;
    let config = Config {
        store_url: store_of(&folder, arguments.store)?,
        folder,
        store_blocking: false,
    };
    let node = Node::open(config, clock, rng).await?;
    restore::begin(&node, reason).await?;
    let finished = restore::finish(&node, &Dial::tcp()).await;
    node.store.close().await;
    let restored = finished.map_err(|error| {
        anyhow::anyhow!("{error}. Nothing is lost by it: run `kith-node restore` again. The node does not serve until then.")
    })?;
    talk.out().say(&sentences(&restored), &as_json(&restored))
}

fn sentences(restored: &Restored) -> String {
    let asked = match restored.asked.len() {
        0 => "nobody had to be asked to send again".to_owned(),
        1 => "1 organisation was asked to send again".to_owned(),
        count => format!("{count} organisations were asked to send again"),
    };
    let withdrawn = match restored.withdrawn {
        0 => "No withdrawal had to be applied again".to_owned(),
        1 => "1 withdrawal since the backup was applied again".to_owned(),
        count => format!("{count} withdrawals since the backup were applied again"),
    };
    format!(
        "{withdrawn}; {asked}; the log continues as epoch {}. Next: `kith-node serve --data DIR`. What others send again \
         comes in over the next days, as they connect.",
        restored.epoch
    )
}

fn as_json(restored: &Restored) -> serde_json::Value {
    let asked: Vec<&str> = restored.asked.iter().map(|org| org.as_str()).collect();
    json!({
        "withdrawn": restored.withdrawn,
        "answered": restored.answered,
        "asked": asked,
        "epoch": restored.epoch,
    })
}
