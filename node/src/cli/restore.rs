//! `kith-node restore FILE`: checks a recovery bundle, or loads it into a new data folder. Called by the command line's dispatch.
//! It must never show a share, nor touch a folder or database that holds anything.

use super::say::day;
use super::talk::Talk;
use crate::keys::DataFolder;
use crate::node::Config;
use crate::recovery::RecoveryError;
use crate::recovery::load::{self, Contents, Loading, Reason};
use anyhow::{Context as _, bail};
use kith_proto::recovery::{RecoveryKeys, Share};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::json;
use std::path::PathBuf;

/// Which bundle, whose shares, and where to.
#[derive(clap::Args, Debug)]
pub(crate) struct Restore {
    /// The recovery bundle.
    file: PathBuf,
    /// One part of the recovery sheet; twice, for two different parts.
    #[arg(long = "share", value_name = "PART", required = true)]
    shares: Vec<String>,
    /// Why: lost, broken, damaged or moved. It stands in the trail.
    #[arg(long, value_name = "REASON", required_unless_present = "check")]
    reason: Option<Reason>,
    /// The new database, such as postgres://…; a file in the new data folder when left out.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Only say whether the bundle is whole and what is in it; nothing is written.
    #[arg(long)]
    check: bool,
}

/// Checks or loads.
pub(crate) async fn run(talk: &Talk, arguments: Restore, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    let keys = keys(&arguments.shares)?;
    if arguments.check {
        let contents = load::check(&arguments.file, &keys).map_err(in_words)?;
        let sentence = format!("This bundle is whole. {}", inside(&contents));
        return talk.out().say(&sentence, &as_json(&contents));
    }
    let folder = DataFolder::at(talk.data()?);
    let place = folder.path().display().to_string();
    let config = Config {
        folder,
        store_url: arguments.store,
        store_blocking: false,
    };
    let loading = Loading {
        config: &config,
        reason: arguments
            .reason
            .context("Say why, with --reason lost, broken, damaged or moved.")?,
        rng: &rng,
        now_ms: clock.now_ms(),
    };
    let contents = load::load(&arguments.file, &keys, &loading)
        .await
        .map_err(in_words)?;
    talk.out().say(
        &format!("Loaded into {place}. {}", inside(&contents)),
        &as_json(&contents),
    )?;
    talk.out().remark(&format!(
        "The network must be asked what came since: run kith-node restore --data {place} to finish."
    ))
}

/// The keys of the two shares; an error says which of them is mistyped.
fn keys(shares: &[String]) -> anyhow::Result<RecoveryKeys> {
    let [one, other] = shares else {
        bail!("Two different parts of the recovery sheet are needed: give --share twice.");
    };
    for (text, which) in [(one, "first"), (other, "second")] {
        if let Err(error) = Share::parse(text) {
            bail!("The {which} share: {error}.");
        }
    }
    load::keys_of_shares(one, other).map_err(in_words)
}

fn in_words(error: RecoveryError) -> anyhow::Error {
    error.into()
}

fn inside(contents: &Contents) -> String {
    format!(
        "It is of {} in {}, made on {}: {} referrals, {} people on record, {} events of the trail.",
        contents.head.organisation,
        contents.head.network,
        day(contents.head.made_at_ms),
        contents.referrals,
        contents.persons,
        contents.events
    )
}

fn as_json(contents: &Contents) -> serde_json::Value {
    json!({
        "organisation": contents.head.organisation.as_str(),
        "network": contents.head.network.as_str(),
        "sheet": contents.head.sheet.to_string(),
        "made_at_ms": contents.head.made_at_ms,
        "referrals": contents.referrals,
        "persons": contents.persons,
        "events": contents.events,
        "rows": contents.rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_proto::recovery::RecoverySecret;

    #[test]
    fn the_share_that_is_mistyped_is_named() {
        let shares = Share::split(&RecoverySecret::from_bytes([7; 32]), &[9; 32]).unwrap();
        let [one, other, _] = shares.map(|share| share.to_string());
        assert!(keys(&[one.clone(), other.clone()]).is_ok());
        let said = |shares: &[&str]| {
            let shares: Vec<String> = shares.iter().map(|share| (*share).to_owned()).collect();
            keys(&shares).unwrap_err().to_string()
        };
        assert!(said(&[&one]).contains("give --share twice"));
        assert!(said(&[&one, &one]).contains("same share twice"));
        let mut wrong = other.clone();
        let last = wrong.pop().unwrap();
        wrong.push(if last == 'A' { 'B' } else { 'A' });
        let said = said(&[&one, &wrong]);
        assert!(
            said.contains("second share") && said.contains("group 20"),
            "{said}"
        );
    }
}
