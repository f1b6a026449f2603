//! `kith-node doctor`: one line for each thing that must be well, with what to do where it is not.
//! Called by the command line's dispatch; reads the data folder and the store, also while the node runs.
//! It must never say "ok" of anything that it has not looked at.

mod disk;

use super::recovery::{self, Judged};
use super::say::day;
use super::status::{CLOCK_WARNING_MS, StatusArguments, alarm};
use super::talk::{Talk, store_of};
use crate::keylog;
use crate::keys::{DataFolder, Membership};
use crate::link::{self, TLS_CERTIFICATE};
use crate::node::{self, Config};
use crate::recovery::keep;
use crate::restore;
use crate::status::{self, Status};
use anyhow::bail;
use disk::Disk;
use kith_service::clock::Clock;
use serde_json::json;

/// The least life that a certificate may have left: it is renewed when half of its 7 days are gone, so that less than 2 says that
/// renewing has failed for a day and a half.
const CERTIFICATE_LEFT_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// How long ago the gateway's log may have been followed: a running node does it once a minute.
const FOLLOWED_AGO_MS: i64 = 15 * 60 * 1000;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    /// Its word for programs.
    name: &'static str,
    is_well: bool,
    sentence: String,
}

impl Check {
    fn new(name: &'static str, is_well: bool, sentence: impl Into<String>) -> Self {
        Self {
            name,
            is_well,
            sentence: sentence.into(),
        }
    }
}

/// Looks at everything and says it; an error when there is an alarm.
pub(crate) async fn run(talk: &Talk, arguments: StatusArguments, clock: Clock) -> anyhow::Result<()> {
    let folder = talk.folder()?;
    let me = Membership::load(&folder)?;
    let now_ms = clock.now_ms();
    let config = Config {
        store_url: store_of(&folder, arguments.store)?,
        folder: folder.clone(),
        store_blocking: false,
    };
    let store = node::open_store(&config, &me, now_ms).await?;
    let status = status::read(&store).await;
    let standing = keep::standing(&store, &folder).await;
    let new_keys = status::new_keys(&store, &me, now_ms).await;
    store.close().await;
    let (status, standing, new_keys) = (status?, standing?, new_keys?);
    let (judged, sentence) = recovery::judged(&standing, now_ms);
    let mut checks = vec![Check::new("store", true, "The database opens.")];
    checks.push(certificate(&folder, &me, now_ms));
    checks.extend(of_status(&me, &status, now_ms));
    checks.push(disk(&folder));
    checks.push(Check::new("recovery", judged == Judged::Well, sentence));
    checks.extend(
        new_keys
            .iter()
            .map(|keys| Check::new("new keys", false, keys.sentence())),
    );
    for check in &checks {
        let word = if check.is_well { "ok" } else { "attention" };
        talk.out().say(
            &format!("{word:<9}  {}", check.sentence),
            &json!({ "check": check.name, "ok": check.is_well, "sentence": check.sentence }),
        )?;
    }
    if status.is_restoring {
        bail!("This node's restore is not done: run `kith-node restore`.")
    }
    if status.alarms.is_empty() && judged != Judged::Alarm {
        Ok(())
    } else {
        bail!("This node has raised an alarm: a person must look at it.")
    }
}

/// Clock, logs and alarms, from what the node itself wrote down.
fn of_status(me: &Membership, status: &Status, now_ms: i64) -> Vec<Check> {
    let mut checks = Vec::new();
    let link = status.link.as_ref().filter(|link| link.last_hello_ms > 0);
    checks.push(match link {
        None => Check::new(
            "clock",
            false,
            "The gateway has not said the time yet. Start the node.",
        ),
        Some(link) if link.gateway_offset_ms.unsigned_abs() > CLOCK_WARNING_MS => Check::new(
            "clock",
            false,
            "The clock of this computer is more than 5 minutes wrong. Set the right time.",
        ),
        Some(_) => Check::new("clock", true, "The clock fits the gateway's."),
    });
    checks.push(key_log(me, status, now_ms));
    let has_log = status.own_log.as_ref().is_some_and(|log| log.signed.is_some());
    checks.push(if !has_log {
        Check::new("own_log", true, "This node's log has no entry to cosign yet.")
    } else if status.is_own_log_cosigned() {
        Check::new("own_log", true, "The gateway has cosigned this node's log.")
    } else {
        Check::new(
            "own_log",
            false,
            "The gateway has not cosigned all of this node's log yet. A running node has it done within seconds.",
        )
    });
    if status.is_restoring {
        checks.push(Check::new("restore", false, restore::SENTENCE));
    }
    let alarms = status.alarms.iter();
    checks.extend(alarms.map(|raised| Check::new("alarm", false, alarm(raised))));
    if status.alarms.is_empty() {
        checks.push(Check::new("alarm", true, "There is no alarm."));
    }
    checks
}

/// Whether the gateway's log was followed lately, and all of it counts.
fn key_log(me: &Membership, status: &Status, now_ms: i64) -> Check {
    let Some(held) = &status.key_log else {
        return Check::new(
            "key_log",
            false,
            "The gateway's log was never followed, so nobody's keys are believed. Start the node.",
        );
    };
    if now_ms.saturating_sub(held.followed.at_ms) > FOLLOWED_AGO_MS {
        let on = day(held.followed.at_ms);
        let sentence =
            format!("The gateway's log was last followed on {on}. Start the node, or see `status`.");
        return Check::new("key_log", false, sentence);
    }
    let is_believed = held
        .believed
        .as_ref()
        .is_some_and(|mark| mark.head() == held.followed.head());
    let standing = keylog::standing_in_words(held, me, now_ms);
    let sentence = if is_believed {
        format!("The gateway's log is followed and believed ({standing}).")
    } else {
        format!("The gateway's log is followed, but its newest entries do not count yet ({standing}).")
    };
    Check::new("key_log", is_believed, sentence)
}

fn certificate(folder: &DataFolder, me: &Membership, now_ms: i64) -> Check {
    let read = folder.read(TLS_CERTIFICATE).ok().flatten();
    let identity = read.and_then(|chain| link::checked(&chain, me).ok());
    let Some(identity) = identity else {
        let sentence = "This node has no certificate that can be read. Join again into a new folder.";
        return Check::new("certificate", false, sentence);
    };
    let left_ms = identity.not_after_ms.saturating_sub(now_ms);
    let until = day(identity.not_after_ms);
    if left_ms > CERTIFICATE_LEFT_MS {
        Check::new(
            "certificate",
            true,
            format!("The certificate holds until {until}."),
        )
    } else {
        let sentence =
            format!("The certificate holds until {until} and was not renewed. A running node renews it.");
        Check::new("certificate", false, sentence)
    }
}

/// Whether the disk under the data folder is encrypted, as far as this system shows.
fn disk(folder: &DataFolder) -> Check {
    match disk::under(folder.path()) {
        Disk::Encrypted => Check::new("disk", true, "The disk under the data folder is encrypted."),
        Disk::Plain => Check::new(
            "disk",
            false,
            "The disk under the data folder is not encrypted. Whoever takes this computer can read the keys: encrypt it.",
        ),
        Disk::Unknown => Check::new(
            "disk",
            false,
            "This system does not show whether the disk under the data folder is encrypted. See that it is.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::{Alarm, Kind};
    use crate::status::{Counts, Link};
    use kith_proto::sign::PublicKey;
    use kith_proto::v1;
    use kith_proto::words::OrganisationKind;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn what_is_not_well_is_said_once_each() {
        let me = Membership {
            network: "lune-valley.example".parse().unwrap(),
            organisation: "riverside-gp".parse().unwrap(),
            kind: OrganisationKind::Gp,
            name: "Riverside".into(),
            gateway: String::new(),
            root: PublicKey([0; 32]),
            issuer: v1::Signed::default(),
            policy: v1::Signed::default(),
        };
        let mut status = Status {
            link: None,
            counts: Counts {
                queued: 0,
                members: 0,
                unacknowledged: 0,
                undelivered: 0,
            },
            key_log: None,
            own_log: None,
            is_restoring: false,
            awaiting: Vec::new(),
            alarms: Vec::new(),
        };
        let well = |status: &Status| -> Vec<(&'static str, bool)> {
            let checks = of_status(&me, status, NOW_MS);
            checks.iter().map(|check| (check.name, check.is_well)).collect()
        };
        let (clock, log) = (("clock", false), ("key_log", false));
        assert_eq!(well(&status), [clock, log, ("own_log", true), ("alarm", true)]);
        status.link = Some(Link {
            state: "up".into(),
            since_ms: NOW_MS,
            gateway_offset_ms: 0,
            last_hello_ms: NOW_MS,
            problem: None,
        });
        status.is_restoring = true;
        let restoring = ("restore", false);
        let first = [
            ("clock", true),
            log,
            ("own_log", true),
            restoring,
            ("alarm", true),
        ];
        assert_eq!(well(&status), first);
        status.is_restoring = false;
        status.alarms.push(Alarm {
            kind: Kind::GatewayLog,
            raised_at_ms: NOW_MS,
        });
        let clock = ("clock", true);
        assert_eq!(well(&status), [clock, log, ("own_log", true), ("alarm", false)]);
    }
}
