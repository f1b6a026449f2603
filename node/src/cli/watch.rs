//! `kith-node watch`: every change of a thread, one line each, as it happens; takes up again where a broken line ended.
//! Called by the command line's dispatch; talks to the node's `ReferralService`.
//! It must never lose a change: it asks again from the last cursor it showed.

use super::inbox::{line_json, sentence};
use super::say::Refusal;
use super::talk::{Client, Talk};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::Rng;
use serde_json::Value;
use std::time::Duration;
use tonic::Request;

/// Wait before asking again when the node was out of reach.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Where to begin, when to end.
#[derive(clap::Args, Debug)]
pub(crate) struct Watch {
    /// From the cursor of the last line seen; from the start when left out.
    #[arg(long, default_value = "")]
    cursor: String,
    /// End after so many lines.
    #[arg(long)]
    lines: Option<u64>,
}

/// Watches until Ctrl-C, or until enough lines were shown. A node that was started anew may be at another address.
pub(crate) async fn run(talk: &Talk, watch: Watch, rng: Rng) -> anyhow::Result<()> {
    let mut client = talk.client(rng.clone()).await?;
    let mut away = false;
    let mut cursor = watch.cursor;
    let mut left = watch.lines.unwrap_or(u64::MAX);
    while left > 0 {
        let Err(refusal) = follow(&client, &mut cursor, &mut left, &mut away).await? else {
            continue;
        };
        if refusal.0.problem != Problem::Unavailable {
            return Err(refusal.into());
        }
        if !away {
            client
                .out
                .remark("The node does not answer. What it has to show comes when it is back.")?;
            away = true;
        }
        #[expect(clippy::disallowed_methods, reason = "the pause of a watch between two tries")]
        tokio::time::sleep(AGAIN_AFTER).await;
        // Not yet there: asked again with the line that was.
        if let Ok(line) = talk.client(rng.clone()).await {
            client = line;
        }
    }
    Ok(())
}

/// One stream, to its end. The outer error is ours (nobody reads any more), the inner one the node's.
async fn follow(
    client: &Client,
    cursor: &mut String,
    left: &mut u64,
    away: &mut bool,
) -> anyhow::Result<Result<(), Refusal>> {
    let asked = Request::new(v1::WatchReferralsRequest {
        cursor: cursor.clone(),
    });
    let mut changes = match client.referrals().watch_referrals(asked).await {
        Ok(answered) => answered.into_inner(),
        Err(status) => return Ok(Err(Refusal::from(status).typed(&[], &[]))),
    };
    *away = false;
    while *left > 0 {
        match changes.message().await {
            Err(status) => return Ok(Err(status.into())),
            Ok(None) => break,
            Ok(Some(change)) => {
                let line = change.referral.unwrap_or_default();
                let mut value = line_json(&line);
                value["cursor"] = Value::from(change.cursor.as_str());
                client.out.say(&sentence(&line), &value)?;
                *cursor = change.cursor;
                *left -= 1;
            }
        }
    }
    Ok(Ok(()))
}
