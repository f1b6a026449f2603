//! `kith-node restore`: a node comes back, from a recovery bundle or in place, where its data folder is an older copy of itself.
//! Called by the command line's dispatch while the node is stopped. May be run again after any interruption, without FILE then.
//! It must never begin a second restore beside one that is pending, nor end before the network has said what it knows.

mod bundle;

use super::join;
use super::say;
use super::talk::{Talk, store_of};
use crate::join::Joining;
use crate::keys::DataFolder;
use crate::node::{Config, Node};
use crate::recovery::load::Loading;
use crate::rekey;
use crate::restore::{self, RestoreError, Restored};
use anyhow::{Context as _, bail};
use kith_proto::recovery::RestoreReason;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::tls::dial::Dial;
use serde_json::json;
use std::path::PathBuf;

/// From what, and why.
#[derive(clap::Args, Debug)]
pub(crate) struct RestoreArguments {
    /// The recovery bundle. Left out: the one that the gateway keeps (with --token), or the data folder as it is.
    file: Option<PathBuf>,
    /// One part of the recovery sheet; twice, for two different parts. Left out, they are asked for.
    #[arg(long = "share", value_name = "PART")]
    shares: Vec<String>,
    /// The token that the network's owner gave you after the old computer was lost: the node gets new keys. `-` asks for it.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Why: lost, broken, damaged or moved. It is written into the trail.
    #[arg(long, value_name = "WHY")]
    reason: Option<String>,
    /// The database, such as postgres://…; a file in the data folder when left out.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Only say whether the bundle is whole and what is in it; nothing is written.
    #[arg(long, requires = "file")]
    check: bool,
}

/// Checks a bundle, or restores.
pub(crate) async fn run(
    talk: &Talk,
    mut arguments: RestoreArguments,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<()> {
    if arguments.token.as_deref() == Some("-") {
        arguments.token = Some(bundle::typed("The token: ")?);
    }
    if let (true, Some(file)) = (arguments.check, &arguments.file) {
        return bundle::check(talk, file, &arguments.shares);
    }
    let reason = arguments.reason.as_deref();
    let reason: Option<RestoreReason> = reason
        .map(|text| super::choose(RestoreReason::ALL, text, "reason"))
        .transpose()?;
    let folder = DataFolder::at(talk.data()?);
    let is_new = !folder.holds_node();
    let store_url = match is_new {
        true => arguments.store.clone(),
        false => store_of(&folder, arguments.store.clone())?,
    };
    let config = Config {
        store_url,
        folder,
        store_blocking: false,
    };
    if is_new {
        load(talk, &arguments, reason, (&config, &clock, &rng)).await?;
    } else if arguments.file.is_some() {
        bail!(
            "{} holds a node already, so the bundle was not loaded. To finish a restore that was interrupted, run it again without the \
             bundle; to load the bundle, name a new folder.",
            config.folder.path().display()
        );
    }
    let joining = Joining {
        config,
        dial: Dial::tcp(),
        clock,
        rng,
    };
    if let Some(token) = &arguments.token {
        rekey::rekey(token.trim(), &joining)
            .await
            .map_err(join::explained)?;
        talk.out()
            .remark("This node has new keys. They count from tomorrow, this hour; nothing is sent before.")?;
    }
    let restored = finish(&joining, reason).await?.context(SAY_WHY)?;
    talk.out().say(&sentences(&restored), &as_json(&restored))
}

async fn load(
    talk: &Talk,
    arguments: &RestoreArguments,
    reason: Option<RestoreReason>,
    (config, clock, rng): (&Config, &Clock, &Rng),
) -> anyhow::Result<()> {
    let from = match (&arguments.file, &arguments.token) {
        (Some(file), _) => bundle::From::File(file),
        (None, Some(token)) => bundle::From::Gateway(token),
        (None, None) => bail!(
            "{} holds no node. Name the recovery bundle, or with --token the network's token, with which the gateway's one is fetched.",
            config.folder.path().display()
        ),
    };
    let loading = Loading {
        config,
        reason: reason.context(SAY_WHY)?,
        rng,
        now_ms: clock.now_ms(),
    };
    bundle::load(talk, from, &arguments.shares, &loading, clock).await
}

const SAY_WHY: &str = "Say why, with --reason lost, broken, damaged or moved.";

/// Lets the network say what the backup cannot know: of the restore that is pending, or, with a reason, of one that begins now. None where
/// neither is.
pub(super) async fn finish(
    joining: &Joining,
    reason: Option<RestoreReason>,
) -> anyhow::Result<Option<Restored>> {
    let node = Node::open(joining.config.clone(), joining.clock.clone(), joining.rng.clone()).await?;
    let finished = async {
        match reason {
            Some(reason) => {
                restore::begin(&node, reason).await?;
            }
            None if !restore::is_pending(&node).await? => return Ok(None),
            None => {}
        }
        Ok::<_, RestoreError>(Some(restore::finish(&node, &joining.dial).await?))
    };
    let finished = finished.await;
    node.store.close().await;
    finished.map_err(|error| {
        anyhow::anyhow!("{error}. Nothing is lost by it: run `kith-node restore` again. The node does not serve until then.")
    })
}

pub(super) fn sentences(restored: &Restored) -> String {
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
    let mut said = format!(
        "{withdrawn}; {asked}; the log continues as epoch {}. Next: `kith-node serve --data DIR`. What others send again \
         comes in over the next days, as they connect.{}",
        restored.epoch,
        tokens(restored.tokens)
    );
    for one in &restored.awaiting {
        said.push(' ');
        said.push_str(&say::awaiting(one));
    }
    said
}

/// Sign-ins that were revoked after the backup count again in it: only a person knows which.
fn tokens(live: usize) -> String {
    match live {
        0 => String::new(),
        live => format!(
            " {live} sign-ins of the backup count, also those that were revoked since: look at `kith-node token list` and `kith-node colleague list`, \
             and end what should not count."
        ),
    }
}

pub(super) fn as_json(restored: &Restored) -> serde_json::Value {
    let asked: Vec<&str> = restored.asked.iter().map(|org| org.as_str()).collect();
    json!({
        "withdrawn": restored.withdrawn,
        "answered": restored.answered,
        "asked": asked,
        "epoch": restored.epoch,
        "tokens": restored.tokens,
        "awaiting": say::awaiting_json(&restored.awaiting),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Awaiting;

    #[test]
    fn what_came_of_a_restore_is_said_with_whose_word_is_awaited() {
        let awaiting = |organisation: &str, threads| Awaiting {
            organisation: organisation.parse().unwrap(),
            threads,
        };
        let restored = Restored {
            withdrawn: 1,
            answered: 0,
            asked: vec!["riverside-gp".parse().unwrap()],
            epoch: 3,
            tokens: 0,
            awaiting: vec![awaiting("riverside-gp", 1), awaiting("hillcrest-school", 12)],
        };
        let said = sentences(&restored);
        for part in [
            "1 withdrawal since the backup was applied again; 1 organisation was asked to send again; the log continues as epoch 3.",
            "What riverside-gp shared in 1 referral opens once it has said that it still stands",
            "What hillcrest-school shared in 12 referrals opens once it has said that it still stands",
            "If it takes long, ask them to start their node.",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let json = as_json(&restored);
        assert_eq!(
            json["awaiting"][1],
            json!({"organisation": "hillcrest-school", "referrals": 12})
        );
    }
}
