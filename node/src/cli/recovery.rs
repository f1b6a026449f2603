//! `kith-node recovery`: the sheet, a bundle by hand, and where things stand. Called by the command line's dispatch and, for the sheet of
//! a new node, by `join`; works beside a running node.
//! It must never write a share anywhere but to the one who asked, nor show one again.

use super::say::day;
use super::talk::{Talk, store_of};
use crate::keys::{DataFolder, Membership};
use crate::node::{self, Config};
use crate::recovery::keep::{self, Standing};
use crate::recovery::{MadeSheet, Source, make, make_sheet};
use anyhow::Context as _;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What to do about recovery.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum RecoveryCommand {
    /// Make a new recovery sheet: three shares to print and cut apart, of which two bring the organisation back.
    Sheet {
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Make a recovery bundle now: everything this node is, sealed to its sheet.
    Bundle {
        /// A file, or a folder to put it into, such as a USB stick.
        to: PathBuf,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Say whether there is a sheet, and when and where the newest bundle was kept.
    Status {
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
}

/// Runs one command.
pub(crate) async fn run(talk: &Talk, command: RecoveryCommand, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    let store = match &command {
        RecoveryCommand::Sheet { store }
        | RecoveryCommand::Bundle { store, .. }
        | RecoveryCommand::Status { store } => store.clone(),
    };
    let folder = talk.folder()?;
    let config = Config {
        store_url: store_of(&folder, store)?,
        folder,
        store_blocking: false,
    };
    match command {
        RecoveryCommand::Sheet { .. } => sheet(talk, &config, &clock, &rng).await,
        RecoveryCommand::Bundle { to, .. } => bundle(talk, &config, to, (&clock, &rng)).await,
        RecoveryCommand::Status { .. } => status(talk, &config, &clock).await,
    }
}

/// Makes a sheet and prints it.
pub(super) async fn sheet(talk: &Talk, config: &Config, clock: &Clock, rng: &Rng) -> anyhow::Result<()> {
    let (me, made) = new_sheet(config, clock, rng).await?;
    talk.out().say(&printed(&me, &made), &as_json(&me, &made))
}

/// Makes a sheet; whose it is, and what is to be printed.
pub(super) async fn new_sheet(
    config: &Config,
    clock: &Clock,
    rng: &Rng,
) -> anyhow::Result<(Membership, MadeSheet)> {
    let me = Membership::load(&config.folder)?;
    let store = node::open_store(config, &me, clock.now_ms()).await?;
    let source = Source {
        store: &store,
        folder: &config.folder,
        me: &me,
        rng,
        now_ms: clock.now_ms(),
    };
    let made = make_sheet(&source).await;
    store.close().await;
    Ok((me, made?))
}

/// The sheet as it is printed: a line to cut along before each share.
pub(super) fn printed(me: &Membership, made: &MadeSheet) -> String {
    let mut text = format!(
        "RECOVERY SHEET {} of {} ({} in {})\n\n\
         Print this page now: it is not kept and cannot be shown again. Cut it along the lines and give each part to a different\n\
         person, or put it into a different building. Any two of the three parts, with the newest recovery bundle, bring this\n\
         organisation back on a new computer. One part alone opens nothing.\n",
        made.id, me.name, me.organisation, me.network
    );
    for share in &made.shares {
        let letters = share.to_string();
        let groups: Vec<&str> = letters.split(' ').collect();
        let lines: Vec<String> = groups
            .chunks(5)
            .map(|line| format!("    {}", line.join(" ")))
            .collect();
        text.push_str(&format!(
            "\n- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - cut here\n\n\
             Part {} of 3 of the recovery sheet {} of {}\n\n{}\n\n\
             Who has this part: ______________________  Keep it like a door key, and tell the organisation if it is lost.\n\
             When the computer is lost: bring two of the three parts to a new computer and type them when\n    \
             kith-node restore BUNDLE --data NEWFOLDER --reason lost\n\
             asks for them.\n",
            share.number(),
            made.id,
            me.name,
            lines.join("\n")
        ));
    }
    text.push_str("\n- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - cut here");
    if let Some(before) = made.before {
        text.push_str(&format!(
            "\n\nBundles that were made before now open with the sheet {before} only. Keep that one until a new bundle is kept \
             (`kith-node recovery status` says when), then destroy it."
        ));
    }
    text
}

/// The same for programs.
pub(super) fn as_json(me: &Membership, made: &MadeSheet) -> Value {
    let share =
        |share: &kith_proto::recovery::Share| json!({ "number": share.number(), "share": share.to_string() });
    json!({
        "organisation": me.organisation.as_str(),
        "network": me.network.as_str(),
        "sheet": made.id.to_string(),
        "shares_needed": 2,
        "shares": made.shares.iter().map(share).collect::<Vec<_>>(),
        "sheet_before": made.before.map(|before| before.to_string()),
    })
}

async fn bundle(
    talk: &Talk,
    config: &Config,
    to: PathBuf,
    (clock, rng): (&Clock, &Rng),
) -> anyhow::Result<()> {
    let me = Membership::load(&config.folder)?;
    let store = node::open_store(config, &me, clock.now_ms()).await?;
    let source = Source {
        store: &store,
        folder: &config.folder,
        me: &me,
        rng,
        now_ms: clock.now_ms(),
    };
    let made = make(&source, &to).await;
    let noted = match &made {
        Ok(made) => keep::note(&source, made).await,
        Err(_) => Ok(()),
    };
    store.close().await;
    let made = made?;
    noted.context("The bundle is there, but could not be written into the trail.")?;
    let mib = made.written.bytes.div_ceil(1 << 20);
    talk.out().say(
        &format!(
            "{} holds everything of {} as of now ({mib} MiB). Two parts of the recovery sheet {} open it. Keep it away from this \
             computer, and for two days at most: what people ask you to erase stays in it.",
            made.path.display(),
            me.organisation,
            made.head.sheet
        ),
        &json!({
            "file": made.path.display().to_string(),
            "bytes": made.written.bytes,
            "sha256": data_encoding::HEXLOWER.encode(&made.written.hash),
            "sheet": made.head.sheet.to_string(),
            "made_at_ms": made.head.made_at_ms,
        }),
    )
}

async fn status(talk: &Talk, config: &Config, clock: &Clock) -> anyhow::Result<()> {
    let me = Membership::load(&config.folder)?;
    let store = node::open_store(config, &me, clock.now_ms()).await?;
    let standing = keep::standing(&store, &config.folder).await;
    store.close().await;
    let standing = standing?;
    let (_, mut sentence) = judged(&standing, clock.now_ms());
    if let Some(newest) = &standing.newest {
        sentence.push_str(&format!("\nThe newest bundle was written to {}.", newest.path));
        sentence.push_str(&match newest.gateway_at_ms {
            Some(at_ms) => format!("\nThe gateway keeps it since {}.", day(at_ms)),
            None => "\nThe gateway does not have it yet. A running node gives it.".to_owned(),
        });
    }
    sentence.push_str(&match named(&config.folder) {
        Some(named) => format!("\nBundles go to {}.", named.display()),
        None => "\nNo folder is named for bundles: `kith-node serve --bundles FOLDER` names one, such as a USB stick.".to_owned(),
    });
    talk.out()
        .say(&sentence, &standing_json(&standing, clock.now_ms()))
}

fn named(folder: &DataFolder) -> Option<PathBuf> {
    folder.kept_bundles().ok().flatten()
}

/// How well this node could come back after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It could.
    Well,
    /// Something should be done.
    Attention,
    /// It could not, or only to a state of days ago.
    Alarm,
}

/// How well it stands, in one sentence with what to do.
pub(super) fn judged(standing: &Standing, now_ms: i64) -> (Judged, String) {
    if standing.sheet.is_none() {
        let sentence = "There is no recovery sheet: when this computer is lost, nothing can be brought back. Make one with \
                        `kith-node recovery sheet`, print it and cut it apart.";
        return (Judged::Attention, sentence.to_owned());
    }
    let Some(newest) = &standing.newest else {
        let sentence = "no recovery bundle opens with the recovery sheet yet. Start the node, which makes one within seconds, or make \
                        one with `kith-node recovery bundle FOLDER`.";
        return if now_ms.saturating_sub(standing.sheet_at_ms) > keep::KEPT_MS {
            (Judged::Alarm, format!("ALARM: {sentence}"))
        } else {
            (Judged::Attention, format!("So far {sentence}"))
        };
    };
    let on = day(newest.made_at_ms);
    if now_ms.saturating_sub(newest.made_at_ms) > keep::KEPT_MS {
        let sentence = format!(
            "ALARM: the newest recovery bundle is of {on}: all that came since would be lost with this computer. Start the node and \
             see its log, or make one with `kith-node recovery bundle FOLDER`."
        );
        return (Judged::Alarm, sentence);
    }
    if standing.is_on_own_disk_only {
        let sentence = format!(
            "The newest recovery bundle ({on}) lies on this computer's own disk only, and would be lost with it. Start the node so \
             that the gateway keeps it, or name a USB stick with `kith-node serve --bundles FOLDER`."
        );
        return (Judged::Attention, sentence);
    }
    (
        Judged::Well,
        format!("The newest recovery bundle is of {on} and is kept."),
    )
}

/// The same for programs.
pub(super) fn standing_json(standing: &Standing, now_ms: i64) -> Value {
    json!({
        "sheet": standing.sheet.map(|sheet| sheet.to_string()),
        "judged": match judged(standing, now_ms).0 {
            Judged::Well => "well",
            Judged::Attention => "attention",
            Judged::Alarm => "alarm",
        },
        "newest": standing.newest.as_ref().map(|newest| json!({
            "made_at_ms": newest.made_at_ms,
            "bytes": newest.bytes,
            "path": newest.path,
            "gateway_at_ms": newest.gateway_at_ms,
        })),
        "on_own_disk_only": standing.is_on_own_disk_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bundle::BundleRow;
    use kith_proto::recovery::SheetId;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn each_lack_is_said_with_what_to_do() {
        let mut standing = Standing {
            sheet: None,
            sheet_at_ms: NOW_MS,
            newest: None,
            is_on_own_disk_only: false,
        };
        let judge = |standing: &Standing| {
            let (judged, sentence) = judged(standing, NOW_MS);
            assert!(
                judged == Judged::Well || sentence.contains("kith-node"),
                "{sentence}"
            );
            judged
        };
        assert_eq!(judge(&standing), Judged::Attention);
        standing.sheet = Some(SheetId([1; 5]));
        assert_eq!(judge(&standing), Judged::Attention);
        standing.sheet_at_ms = NOW_MS - keep::KEPT_MS - 1;
        assert_eq!(judge(&standing), Judged::Alarm);
        let row = BundleRow {
            made_at_ms: NOW_MS - keep::KEPT_MS,
            bytes: 1,
            hash: [0; 32],
            sheet: [1; 5],
            sealing_key: [0; 16],
            path: "/media/stick/a".into(),
            folder_at_ms: Some(NOW_MS),
            gateway_at_ms: None,
        };
        standing.newest = Some(row.clone());
        assert_eq!(judge(&standing), Judged::Well);
        standing.is_on_own_disk_only = true;
        assert_eq!(judge(&standing), Judged::Attention);
        standing.newest = Some(BundleRow {
            made_at_ms: NOW_MS - keep::KEPT_MS - 1,
            ..row
        });
        assert_eq!(judge(&standing), Judged::Alarm);
    }
}
