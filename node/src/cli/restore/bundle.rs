//! The bundle of a restore: from a file or from the gateway, checked or loaded into a new data folder. Called by the command `restore`.
//! It must never show a share, nor touch a folder or database that holds anything.

use crate::cli::say::day;
use crate::cli::talk::Talk;
use crate::recovery::RecoveryError;
use crate::recovery::fetch::{Gateway, fetch};
use crate::recovery::load::{self, Contents, Loading};
use anyhow::bail;
use kith_proto::recovery::{RecoveryKeys, Share};
use kith_proto::trust::{self, InviteToken};
use kith_service::clock::Clock;
use kith_service::tls::dial::Dial;
use serde_json::json;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

/// Says whether a bundle is whole and what is in it.
pub(super) fn check(talk: &Talk, file: &Path, shares: &[String]) -> anyhow::Result<()> {
    let contents = load::check(file, &keys(shares)?).map_err(in_words)?;
    let sentence = format!("This bundle is whole. {}", inside(&contents));
    talk.out().say(&sentence, &as_json(&contents))
}

/// Where a bundle comes from.
pub(super) enum From<'a> {
    /// A file.
    File(&'a Path),
    /// The gateway of a token, which keeps the newest.
    Gateway(&'a str),
}

/// Loads a bundle into a new place.
pub(super) async fn load(
    talk: &Talk,
    from: From<'_>,
    shares: &[String],
    loading: &Loading<'_>,
    clock: &Clock,
) -> anyhow::Result<()> {
    let keys = keys(shares)?;
    let place = loading.config.folder.path();
    let fetched = place.with_extension("bundle");
    let file = match from {
        From::File(file) => file,
        From::Gateway(token) => {
            fetch_with(token, &keys, &fetched, clock).await?;
            &fetched
        }
    };
    let loaded = load::load(file, &keys, loading).await;
    if matches!(from, From::Gateway(_)) {
        // Sealed, and of no more use; one that cannot be removed is fetched over the next time.
        std::fs::remove_file(&fetched).ok();
    }
    let contents = loaded.map_err(in_words)?;
    talk.out().say(
        &format!("Loaded into {}. {}", place.display(), inside(&contents)),
        &as_json(&contents),
    )
}

async fn fetch_with(token: &str, keys: &RecoveryKeys, file: &Path, clock: &Clock) -> anyhow::Result<()> {
    let token = InviteToken::decode(token.trim())?;
    let now_ms = clock.now_ms();
    let (_, invite) = token.verify(now_ms)?;
    let issuer = trust::verify_issuer(&token.issuer, &token.root, &invite.network, now_ms)?;
    let gateway = Gateway {
        address: &token.gateway,
        network: &invite.network,
        issuer: &issuer,
        clock,
    };
    let fetched = fetch(&Dial::tcp(), &gateway, &invite.org, keys, file).await;
    fetched.map(drop).map_err(in_words)
}

/// The keys of two shares, asked for where they were not given; an error says which of them is mistyped.
fn keys(shares: &[String]) -> anyhow::Result<RecoveryKeys> {
    let shares = match shares {
        [] => vec![
            typed("One part of the recovery sheet: ")?,
            typed("Another part: ")?,
        ],
        given => given.to_vec(),
    };
    let [one, other] = shares.as_slice() else {
        bail!(
            "Two different parts of the recovery sheet are needed: give --share twice, or not at all and type them."
        );
    };
    for (text, which) in [(one, "first"), (other, "second")] {
        if let Err(error) = Share::parse(text) {
            bail!("The {which} share: {error}.");
        }
    }
    load::keys_of_shares(one, other).map_err(in_words)
}

/// Reads one line, so that what is typed stands in no history of commands.
pub(super) fn typed(prompt: &str) -> anyhow::Result<String> {
    let mut err = std::io::stderr().lock();
    write!(err, "{prompt}")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
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
