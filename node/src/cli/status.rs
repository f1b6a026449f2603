//! `kith-node status`: in which network, whether it runs and is connected, what waits.
//! Called by the command line's dispatch; reads the data folder and the store, also while the node runs.
//! It must never say "connected" on anything but what the link itself last wrote.

use super::recovery;
use super::say::{self, day};
use super::talk::{Talk, store_of};
use crate::alarms::Alarm;
use crate::keylog;
use crate::keys::Membership;
use crate::node::{self, Config};
use crate::recovery::keep;
use crate::restore;
use crate::status::{self, Link, Status};
use crate::timers;
use kith_service::clock::Clock;
use serde_json::{Value, json};

/// Most that this computer's clock may be off before it is said, in ms.
pub(super) const CLOCK_WARNING_MS: u64 = 5 * 60 * 1000;

/// Which store.
#[derive(clap::Args, Debug)]
pub(crate) struct StatusArguments {
    /// The database, when it is not the one in the data folder.
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
}

/// Says it.
pub(crate) async fn run(talk: &Talk, arguments: StatusArguments, clock: Clock) -> anyhow::Result<()> {
    let folder = talk.folder()?;
    let me = Membership::load(&folder)?;
    let running = folder.lock().is_err();
    let config = Config {
        store_url: store_of(&folder, arguments.store)?,
        folder: folder.clone(),
        store_blocking: false,
    };
    let store = node::open_store(&config, &me, clock.now_ms()).await?;
    let status = status::read(&store).await;
    let standing = keep::standing(&store, &folder).await;
    let new_keys = status::new_keys(&store, &me, clock.now_ms()).await;
    store.close().await;
    let (status, standing, new_keys) = (status?, standing?, new_keys?);
    let now_ms = clock.now_ms();
    let mut sentences = sentences(&me, running, &status, now_ms);
    sentences.push(recovery::judged(&standing, now_ms).1);
    sentences.extend(new_keys.iter().map(status::NewKeys::sentence));
    let mut value = as_json(&me, running, &status, now_ms);
    value["recovery"] = recovery::standing_json(&standing, now_ms);
    let new_keys = new_keys.iter().map(
        |keys| json!({ "organisation": keys.organisation.as_str(), "effective_at_ms": keys.effective_at_ms }),
    );
    value["new_keys"] = new_keys.collect();
    talk.out().say(&sentences.join("\n"), &value)
}

fn sentences(me: &Membership, running: bool, status: &Status, now_ms: i64) -> Vec<String> {
    let mut said = vec![format!(
        "{} ({}) in the network {}.",
        me.name, me.organisation, me.network
    )];
    said.push(match (running, &status.link) {
        (false, _) => "The node is not running. Start it with `kith-node serve --data DIR`.".to_owned(),
        (true, Some(link)) if link.state == "up" => {
            format!("Connected to the gateway since {}.", day(link.since_ms))
        }
        (true, Some(link)) if link.state == "keys_wait" => {
            "Running, but not connected: the new keys of this organisation count from a day after they were made. Until then call \
             the organisations that you work with, and compare four words: `kith-node organisations ORG`."
                .to_owned()
        }
        (true, _) => {
            "Running, but not connected to the gateway. It keeps trying; what you send waits here.".to_owned()
        }
    });
    if let Some(link) = &status.link {
        if let Some(problem) = link.problem {
            said.push(problem.sentence().to_owned());
        }
        if link.gateway_offset_ms.unsigned_abs() > CLOCK_WARNING_MS {
            said.push(
                "The clock of this computer is more than 5 minutes wrong. Set the right time.".to_owned(),
            );
        }
        if is_in_doubt(link, now_ms) {
            said.push(
                "The time of this computer does not fit what the gateway last said. Nothing ends or is erased by time \
                 until the gateway has answered."
                    .to_owned(),
            );
        }
        if link.last_hello_ms > 0 && !running {
            said.push(format!(
                "It last spoke to the gateway on {}; today is {}.",
                day(link.last_hello_ms),
                day(now_ms)
            ));
        }
    }
    said.extend(logs(me, status, now_ms));
    if status.is_restoring {
        said.push(restore::SENTENCE.to_owned());
    }
    said.extend(status.awaiting.iter().map(say::awaiting));
    said.extend(status.alarms.iter().map(alarm));
    let counts = &status.counts;
    said.push(format!("{} organisations are in the network.", counts.members));
    let waits = [
        (
            counts.unacknowledged,
            "referrals came in that nobody has acknowledged yet.",
        ),
        (counts.queued, "messages wait to leave this node."),
        (
            counts.undelivered,
            "referrals that you sent could not be delivered.",
        ),
    ];
    said.extend(
        waits
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}")),
    );
    said
}

/// Where the two logs stand, and who vouches for it.
fn logs(me: &Membership, status: &Status, now_ms: i64) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(held) = &status.key_log {
        let believed = held.believed.as_ref().map_or(0, |mark| mark.frontier.size());
        said.push(format!(
            "The gateway's log is followed to entry {} and believed to entry {believed} ({}).",
            held.followed.frontier.size(),
            keylog::standing_in_words(held, me, now_ms)
        ));
    }
    if !status.is_own_log_cosigned() {
        said.push("The gateway has not cosigned all of this node's log yet.".to_owned());
    }
    said
}

/// An alarm as people are told of it.
pub(super) fn alarm(alarm: &Alarm) -> String {
    format!(
        "ALARM since {}: {}",
        day(alarm.raised_at_ms),
        alarm.kind.sentence()
    )
}

/// Whether the timers hold back: see [`timers::is_plausible`]. Before the first word of a gateway there is nothing to end.
const fn is_in_doubt(link: &Link, now_ms: i64) -> bool {
    let now_ms = now_ms.saturating_add(link.gateway_offset_ms);
    link.last_hello_ms > 0 && !timers::is_plausible(link.last_hello_ms, now_ms)
}

fn as_json(me: &Membership, running: bool, status: &Status, now_ms: i64) -> Value {
    let link = status.link.as_ref().map(|link| {
        json!({
            "state": link.state,
            "since_ms": link.since_ms,
            "gateway_offset_ms": link.gateway_offset_ms,
            "last_hello_ms": link.last_hello_ms,
            "time_in_doubt": is_in_doubt(link, now_ms),
            "problem": link.problem.map(kith_proto::problem::Problem::as_str),
        })
    });
    json!({
        "network": me.network.as_str(),
        "organisation": me.organisation.as_str(),
        "name": me.name,
        "kind": me.kind.as_str(),
        "gateway": me.gateway,
        "running": running,
        "link": link,
        "key_log": status.key_log.as_ref().map(|held| json!({
            "epoch": held.epoch,
            "followed_size": held.followed.frontier.size(),
            "followed_at_ms": held.followed.at_ms,
            "believed_size": held.believed.as_ref().map_or(0, |mark| mark.frontier.size()),
            "standing": keylog::standing_in_words(held, me, now_ms),
        })),
        "restoring": status.is_restoring,
        "awaiting": say::awaiting_json(&status.awaiting),
        "own_log_cosigned": status.is_own_log_cosigned(),
        "alarms": status.alarms.iter().map(|alarm| json!({
            "kind": alarm.kind.as_str(),
            "raised_at_ms": alarm.raised_at_ms,
        })).collect::<Vec<_>>(),
        "members": status.counts.members,
        "unacknowledged": status.counts.unacknowledged,
        "queued": status.counts.queued,
        "undelivered": status.counts.undelivered,
    })
}
