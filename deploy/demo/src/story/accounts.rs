//! The end of the story: three organisations show what they have of one referral, anybody verifies and compares it, and a copy that was
//! altered is refused. Everything through the commands that an admin would type.

use super::steps::{Sent, Teller};
use crate::cast::{GP, Org, PEERS};
use anyhow::{Context as _, bail, ensure};
use data_encoding::HEXLOWER;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the newest events may take until a checkpoint over them counts.
const COUNTED_LIMIT: Duration = Duration::from_secs(60);
/// How often an export is tried again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What an export says of events that no counted checkpoint has yet.
const TOO_NEW: &str = "too new";

/// Exports the accounts of sender, recipient and gateway, verifies and compares them, and alters one.
pub(super) async fn three_accounts(tell: &mut Teller<'_>, sent: &Sent) -> anyhow::Result<()> {
    tell.title("Three accounts of one referral, and one that was altered")?;
    let folder = tempfile::tempdir()?;
    let gp = by_node(tell, GP, sent, folder.path()).await?;
    let peers = by_node(tell, PEERS, sent, folder.path()).await?;
    let gateway = by_gateway(tell, sent, folder.path()).await?;
    tell.say(&format!(
        "{}, {} and the gateway each write what their logs have of {} into a file.",
        GP.name, PEERS.name, sent.code
    ))?;
    let root = tell.network.root_fingerprint()?;
    let files = [gp, peers, gateway];
    let mut lines = 0;
    for file in &files {
        let told = audit(tell, &["verify", text(file)?, "--root", &root])?;
        lines += told.lines().count();
    }
    tell.say(&format!(
        "With nothing but the fingerprint of the network's root key each file is proven, line by line: {lines} lines."
    ))?;
    let [gp, peers, gateway] = &files;
    audit(
        tell,
        &[
            "compare",
            text(gp)?,
            text(peers)?,
            text(gateway)?,
            "--root",
            &root,
        ],
    )?;
    tell.say("The three accounts agree: nothing is missing in one that another has.")?;
    databases(tell)?;
    let altered = altered_copy(gp, folder.path())?;
    let refused = audit(tell, &["verify", text(&altered)?, "--root", &root]);
    let Err(refused) = refused else {
        bail!("an altered file was believed");
    };
    tell.say(&format!("One letter is changed in a copy. Refused: {refused}"))
}

/// Holds the databases of the practice and of the gateway against what their logs have signed.
fn databases(tell: &Teller<'_>) -> anyhow::Result<()> {
    let node = tell.network.node(GP).context("the organisation has no node")?;
    audit(tell, &["verify", "--data", text(&node.data_dir)?])?;
    let gateway = tell.network.gateway_folder();
    let asked = ["audit", "verify", "--data", text(&gateway)?];
    tell.network.command("gateway", &asked)?;
    tell.say("The databases of the practice and of the gateway are, row by row, what their logs have signed.")
}

/// Runs an `audit` command that needs no node.
fn audit(tell: &Teller<'_>, args: &[&str]) -> anyhow::Result<String> {
    let args: Vec<&str> = [&["audit"], args].concat();
    tell.network.command("node", &args)
}

async fn by_node(tell: &Teller<'_>, org: Org, sent: &Sent, folder: &Path) -> anyhow::Result<PathBuf> {
    let node = tell.network.node(org).context("the organisation has no node")?;
    let token = node.tokens.get("auditor").context("it has no auditor")?;
    let data = node.data_dir.to_string_lossy().into_owned();
    let name = format!("{}.trail", org.id);
    let asked = [
        "audit",
        "export",
        "",
        "--referral",
        &sent.code,
        "--data",
        &data,
        "--token",
        token,
    ];
    exported(tell, "node", &asked, &folder.join(name)).await
}

async fn by_gateway(tell: &Teller<'_>, sent: &Sent, folder: &Path) -> anyhow::Result<PathBuf> {
    let data = tell.network.gateway_folder().to_string_lossy().into_owned();
    let thread = HEXLOWER.encode(&sent.thread_id);
    let asked = ["audit", "export", "", "--thread", &thread, "--data", &data];
    exported(tell, "gateway", &asked, &folder.join("gateway.trail")).await
}

/// Exports into a file (the third argument), again until nothing is too new.
async fn exported(tell: &Teller<'_>, role: &str, asked: &[&str], file: &Path) -> anyhow::Result<PathBuf> {
    let name = text(file)?;
    let args: Vec<&str> = asked
        .iter()
        .map(|arg| if arg.is_empty() { name } else { arg })
        .collect();
    let complete = tokio::time::timeout(COUNTED_LIMIT, async {
        loop {
            std::fs::remove_file(file).ok();
            let told = tell.network.command(role, &args)?;
            if !told.contains(TOO_NEW) {
                return anyhow::Ok(());
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "another process can only be asked again"
            )]
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    complete
        .await
        .context("the newest events were not counted in time")??;
    Ok(file.to_owned())
}

/// A copy with one letter of an opened event changed: whom the first envelope went to.
fn altered_copy(file: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::fs::read_to_string(file)?;
    let (said, altered) = (
        format!("to={}", PEERS.id),
        format!("to={}x", &PEERS.id[..PEERS.id.len() - 1]),
    );
    ensure!(
        whole.contains(&said),
        "the export does not say whom the referral went to"
    );
    let copy = folder.join("altered.trail");
    std::fs::write(&copy, whole.replacen(&said, &altered, 1))?;
    Ok(copy)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .context("the temporary folder's name is not Unicode")
}
