//! `audit export`: a part of the gateway's log as a file that anybody can verify offline. Works beside a running gateway.
//! Never over a file that is there.

use super::{Place, World, say, shown};
use crate::trail::{self, Question};
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
    let Command::Export(export) = command;
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
