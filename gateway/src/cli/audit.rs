//! `audit export`: a part of the gateway's log as a file that anybody can verify offline; `audit verify`: whether the database fits
//! the log. Both work beside a running gateway. Never writes over a file that is there.

use super::{Place, World, say, shown};
use crate::trail::{self, Question};
use crate::whole;
use anyhow::Context as _;
use data_encoding::HEXLOWER_PERMISSIVE;
use kith_proto::id::{OrgId, ThreadId};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

/// What is done with the log.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Writes a part of the log as one file, to be verified with `kith-node audit verify`.
    Export(Export),
    /// Works the whole log out again and holds the database against it; names every row that does not fit.
    Verify(Place),
}

/// What is exported, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The new file.
    file: PathBuf,
    /// Only what belongs to this thread: its id, 32 hexadecimal digits, as a member's export of the referral states it.
    #[arg(long, value_parser = thread)]
    thread: Option<ThreadId>,
    /// Only what names this member.
    #[arg(long, value_parser = super::org)]
    organisation: Option<OrgId>,
    /// Only from this time on: milliseconds since 1970, UTC.
    #[arg(long)]
    from_ms: Option<i64>,
    /// Only before this time: milliseconds since 1970, UTC.
    #[arg(long)]
    until_ms: Option<i64>,
    #[command(flatten)]
    place: Place,
}

fn thread(text: &str) -> Result<ThreadId, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let id: Option<[u8; 16]> = bytes.and_then(|bytes| bytes.try_into().ok());
    id.map(ThreadId::from_bytes)
        .ok_or_else(|| String::from("a thread's id has 32 hexadecimal digits"))
}

pub(super) async fn run(command: Command, world: World) -> anyhow::Result<()> {
    match command {
        Command::Export(arguments) => export(arguments, world).await,
        Command::Verify(place) => verify(&place, world).await,
    }
}

async fn verify(place: &Place, world: World) -> anyhow::Result<()> {
    let gateway = place.open(world).await?;
    let report = whole::look(&gateway).await;
    gateway.store.close().await;
    let report = report?;
    for fault in &report.faults {
        say(fault)?;
    }
    anyhow::ensure!(
        report.faults.is_empty(),
        "{} things do not fit; keep this database as it is, and compare it with a backup and with what the members have cosigned",
        report.faults.len()
    );
    say(format_args!(
        "{} events, and every row that rests on them, are as the log signed them.",
        report.events
    ))
}

async fn export(export: Export, world: World) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(&export.file);
    let file = file.with_context(|| format!("cannot make {}; choose another name", shown(&export.file)))?;
    let mut file = BufWriter::new(file);
    let question = Question {
        thread: export.thread,
        organisation: export.organisation,
        from_ms: export.from_ms,
        until_ms: export.until_ms,
    };
    let gateway = export.place.open(world).await?;
    let written = trail::export(&gateway, &question, |line| {
        file.write_all(line.as_bytes()).is_ok()
    })
    .await;
    gateway.store.close().await;
    let written = written?;
    file.flush()
        .context("the export could not be written to the end")?;
    say(format_args!(
        "{} events are in {}.",
        written.events,
        shown(&export.file)
    ))?;
    if written.too_new > 0 {
        say(format_args!(
            "{} more are too new: they are in it once their checkpoint counts, a few seconds from now.",
            written.too_new
        ))?;
    }
    say(format_args!(
        "Anybody can check it with: kith-node audit verify {} --root {}",
        shown(&export.file),
        gateway.keys.root.fingerprint()
    ))
}
