//! `kith-node colleague`: who signs in to the workspace: added, listed, ended, and the link that signs somebody in once.
//! Called by the command line's dispatch; works on the store, beside a running node or without one.
//! It must never show a link again after it was made: only its hash is kept.

use super::say::{day, hex, id};
use super::talk::{Talk, WEB_FILE};
use super::token::roles;
use crate::colleagues::{self, Colleague, Desk};
use kith_proto::id::TokenId;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::json;

/// What to do with colleagues.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ColleagueCommand {
    /// Add somebody who works here, and print the link with which they sign in for the first time.
    Add {
        /// What they do: referrer, coordinator, auditor, admin. A volunteer is usually coordinator,admin.
        #[arg(long, required = true, value_delimiter = ',', value_name = "ROLES")]
        role: Vec<String>,
        /// What colleagues know them by.
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        at: At,
    },
    /// List who signs in here.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Print a new link for somebody; it works once, for 30 minutes.
    Link {
        /// Their id, from the list.
        colleague_id: String,
        #[command(flatten)]
        at: At,
    },
    /// Somebody leaves: they are signed out everywhere and can sign in no more.
    End {
        /// Their id, from the list.
        colleague_id: String,
        #[command(flatten)]
        at: At,
    },
}

/// On which database.
#[derive(clap::Args, Debug)]
pub(crate) struct At {
    /// The database, when it is not the one in the data folder.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Runs one command.
pub(crate) async fn run(
    talk: &Talk,
    command: ColleagueCommand,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<()> {
    let at = match &command {
        ColleagueCommand::Add { at, .. }
        | ColleagueCommand::List { at }
        | ColleagueCommand::Link { at, .. }
        | ColleagueCommand::End { at, .. } => at.store.clone(),
    };
    let (_, store) = talk.open_store(at, &clock).await?;
    let desk = Desk {
        store: &store,
        clock: &clock,
        rng: &rng,
    };
    let done = at_desk(talk, command, desk).await;
    store.close().await;
    done
}

async fn at_desk(talk: &Talk, command: ColleagueCommand, desk: Desk<'_>) -> anyhow::Result<()> {
    match command {
        ColleagueCommand::Add { role, name, .. } => {
            let added = colleagues::add(desk, name, roles(&role)?).await?;
            link(talk, desk, &added.colleague_id).await
        }
        ColleagueCommand::List { .. } => {
            for one in colleagues::list(desk.store).await? {
                talk.out().say(&sentence(&one), &as_json(&one))?;
            }
            Ok(())
        }
        ColleagueCommand::Link { colleague_id, .. } => link(talk, desk, &read(&colleague_id)?).await,
        ColleagueCommand::End { colleague_id, .. } => {
            let colleague_id = read(&colleague_id)?;
            colleagues::end(desk, &colleague_id).await?;
            let value = json!({ "colleague_id": hex(colleague_id.as_bytes()), "ended": true });
            talk.out()
                .say("They are signed out and can sign in no more.", &value)
        }
    }
}

/// Makes a link and prints where it leads, as far as that is known: the node wrote its address down when it began to serve.
async fn link(talk: &Talk, desk: Desk<'_>, colleague_id: &TokenId) -> anyhow::Result<()> {
    let secret = colleagues::make_link(desk, colleague_id).await?.written();
    let path = format!("/sign-in/{secret}");
    // Not there while no node runs: the path alone is said then.
    let address = std::fs::read_to_string(talk.folder()?.path().join(WEB_FILE)).unwrap_or_default();
    let link = format!("{}{path}", address.trim());
    let value = json!({ "colleague_id": hex(colleague_id.as_bytes()), "link": link });
    talk.out().say(&link, &value)?;
    talk.out()
        .remark("Give it to them in person. It signs one browser in, once, within 30 minutes.")
}

fn read(colleague_id: &str) -> anyhow::Result<TokenId> {
    Ok(TokenId::try_from(id(colleague_id)?.as_slice())?)
}

fn sentence(one: &Colleague) -> String {
    let ended = one
        .ended_at_ms
        .map_or(String::new(), |at_ms| format!("; ended on {}", day(at_ms)));
    let id = hex(one.colleague_id.as_bytes());
    format!(
        "{id}  {}: {}; added on {}{ended}",
        one.label,
        one.roles,
        day(one.created_at_ms)
    )
}

fn as_json(one: &Colleague) -> serde_json::Value {
    json!({
        "colleague_id": hex(one.colleague_id.as_bytes()),
        "name": one.label,
        "roles": one.roles.to_string(),
        "created_at_ms": one.created_at_ms,
        "ended_at_ms": one.ended_at_ms,
    })
}
