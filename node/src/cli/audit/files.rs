//! Exports as files: written from the node's stream, verified and compared offline.
//! Called by `kith-node audit`. Reads a file once, line by line, and holds no more of it than the verifier does.
//! It must never leave half a file behind as if it were whole, nor go on after a line that is not proven.

use super::super::say::{Out, hex};
use super::super::talk::{Client, answer_to};
use super::OWN;
use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use kith_proto::id::{OrgId, ThreadId};
use kith_proto::log::origin::Keeper;
use kith_proto::trail::compare::{FindingKind, compare as compare_accounts};
use kith_proto::trail::export::ExportReader;
use kith_proto::trail::sentence::{Reader, sentence};
use kith_proto::trail::verify::{Proven, Verified, Verifier};
use kith_proto::trust::RootKey;
use kith_proto::v1;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use tonic::Request;

/// Lines between two words of progress.
const PROGRESS_EVERY: u64 = 1_000;

/// Writes an export into a new file. A stream that breaks off leaves no file.
pub(super) async fn export(
    client: &Client,
    path: &Path,
    filter: v1::TrailFilter,
    form: v1::ExportForm,
) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let file = made.with_context(|| {
        let shown = path.display();
        format!("{shown} cannot be made; perhaps it is there already.")
    })?;
    let written = written(client, file, filter, form).await;
    if written.is_err() {
        // The failure itself is what must be told.
        std::fs::remove_file(path).ok();
    }
    let bytes = written?;
    client.out.say(
        &format!("{}: {bytes} bytes.", path.display()),
        &json!({ "file": path.display().to_string(), "bytes": bytes }),
    )
}

async fn written(
    client: &Client,
    mut file: File,
    filter: v1::TrailFilter,
    form: v1::ExportForm,
) -> anyhow::Result<u64> {
    let asked = v1::ExportTrailRequest {
        request_id: client.request_id()?,
        filter: Some(filter),
        form: form.into(),
    };
    // No deadline: a large file takes as long as its reader.
    let mut parts = answer_to(client.audit().export_trail(Request::new(asked)).await, OWN, &[])?;
    let mut bytes = 0_u64;
    loop {
        match parts.message().await {
            Ok(None) => break,
            Ok(Some(part)) => {
                file.write_all(&part.part)
                    .context("The file cannot be written.")?;
                // widens: the length of one message.
                bytes += part.part.len() as u64;
            }
            Err(status) => return Err(super::super::say::Refusal::from(status).into()),
        }
    }
    file.sync_all().context("The file cannot be written.")?;
    Ok(bytes)
}

/// Verifies a file and says of every line what it proves, until one is not proven.
pub(super) fn verify(out: Out, path: &Path, root: &str) -> anyhow::Result<()> {
    let verified = proven(out, path, root_key(root)?, true)?;
    if verified.is_unwitnessed() {
        out.remark(
            "The network has no witness: everything holds, but nobody outside vouches for the gateway's log.",
        )?;
    }
    for (epoch, _) in verified.checkpoints().filter(|(epoch, _)| *epoch > 1) {
        out.remark(&format!(
            "This log was broken off: its server came back from a backup, and the log goes on as epoch {epoch}. The first event of that \
             epoch says why; what was written between the backup and the loss is in no part of it."
        ))?;
    }
    let lines = verified.events().len();
    out.say(
        &format!("Every line is proven. {lines} events."),
        &json!({
            "proven": true,
            "events": lines,
            "unwitnessed": verified.is_unwitnessed(),
            "policy_number": verified.policy_number(),
        }),
    )
}

/// Compares files of one referral; fails where they do not agree.
pub(super) fn compare(out: Out, paths: &[PathBuf], root: &str, thread: Option<&str>) -> anyhow::Result<()> {
    let root = root_key(root)?;
    let mut exports = Vec::with_capacity(paths.len());
    for path in paths {
        let export =
            proven(out, path, root, false).with_context(|| format!("{} is not proven", path.display()));
        exports.push(export?);
    }
    let asked = exports
        .iter()
        .find_map(|export| export.header().question.get("thread"));
    let named = thread.map(str::to_owned).or_else(|| asked.cloned());
    let named = named.context("Say which referral, with --thread ID: the exports are not of one.")?;
    let thread = ThreadId::try_from(super::id(&named)?.as_slice())?;
    let borrowed: Vec<&Verified> = exports.iter().collect();
    let comparison = compare_accounts(&thread, &borrowed)?;
    for finding in &comparison.findings {
        let kind = match finding.kind {
            FindingKind::Contradicts => "contradicts",
            FindingKind::Lacks => "lacks",
            FindingKind::NotCompared => "not compared",
        };
        out.say(
            &format!("{kind}: {}", finding.sentence),
            &json!({ "kind": kind, "sentence": finding.sentence }),
        )?;
    }
    let counted = format!(
        "{} envelopes and {} moves of referral {} compared.",
        comparison.envelopes,
        comparison.moves,
        hex(thread.as_bytes())
    );
    let agrees = comparison.agrees();
    out.say(
        &counted,
        &json!({ "agrees": agrees, "envelopes": comparison.envelopes, "moves": comparison.moves }),
    )?;
    if agrees {
        out.remark("The accounts agree.")
    } else {
        bail!("The accounts do not agree.")
    }
}

/// Reads the fingerprint as it was handed over.
fn root_key(text: &str) -> anyhow::Result<RootKey> {
    let plain: String = text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    let bytes = HEXLOWER.decode(plain.to_lowercase().as_bytes()).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.context("The root's fingerprint has 64 hexadecimal digits.")?;
    Ok(RootKey::Fingerprint(bytes))
}

/// Verifies every line of a file; with `tell`, says what each proves.
fn proven(out: Out, path: &Path, root: RootKey, tell: bool) -> anyhow::Result<Verified> {
    let file = File::open(path).with_context(|| format!("{} cannot be read.", path.display()))?;
    let progress = !tell || out.json || !std::io::stdout().is_terminal();
    let progress = progress && std::io::stderr().is_terminal();
    let mut verifier = Verifier::new(root);
    let mut number = 0_u64;
    let mut known = Known {
        keeper: Keeper::Gateway,
        names: BTreeMap::new(),
    };
    for line in ExportReader::new(BufReader::new(file)) {
        number += 1;
        let verdict = line.map_err(kith_proto::trail::verify::Unproven::Line);
        let verdict = verdict.and_then(|line| verifier.line(&line));
        match verdict {
            Ok(line) if tell => {
                let value = json!({ "line": number, "proven": true, "says": line.to_string() });
                out.say(&format!("{number:>7}  proven: {}", known.told(&line)), &value)?;
            }
            Ok(_) => {}
            Err(why) => {
                let value = json!({ "line": number, "proven": false, "why": why.to_string() });
                out.say(&format!("{number:>7}  NOT PROVEN: {why}"), &value)?;
                bail!("Line {number} is not proven: {why}. Nothing after it was looked at.");
            }
        }
        if progress && number.is_multiple_of(PROGRESS_EVERY) {
            say_progress(&format!("\r{number} lines proven"));
        }
    }
    if progress && number >= PROGRESS_EVERY {
        say_progress("\r");
    }
    match verifier.finish() {
        Ok(verified) => Ok(verified),
        Err(why) => bail!("The file is not proven: {why}."),
    }
}

/// Whose trail it is and what members are called, as far as the lines before have proven it.
struct Known {
    keeper: Keeper,
    names: BTreeMap<OrgId, String>,
}

impl Known {
    /// A proven line in words; an opened event as its sentence.
    fn told(&mut self, line: &Proven) -> String {
        match line {
            Proven::Header { exporter, .. } => self.keeper = exporter.clone(),
            Proven::Member { organisation, name } => {
                self.names.insert(organisation.clone(), name.clone());
            }
            Proven::Event(event) => {
                if let Some(told) = event.told() {
                    let name_of = |org: &OrgId| self.names.get(org).cloned();
                    let reader = Reader {
                        keeper: &self.keeper,
                        name_of: &name_of,
                    };
                    return format!("{line}: {}", sentence(&told, &reader));
                }
            }
            _ => {}
        }
        line.to_string()
    }
}

fn say_progress(text: &str) {
    // Nobody needs to be told when progress cannot be shown.
    write!(std::io::stderr().lock(), "{text}").ok();
}
