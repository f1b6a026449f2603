//! `kith-node token`: makes, lists and revokes the tokens with which people and systems of this organisation sign in.
//! Called by the command line's dispatch; works on the store, beside a running node or without one.
//! It must never show a token again after it was made: only its hash is kept.

use super::say::{day, hex, id};
use super::talk::Talk;
use crate::tokens::{self, Role, Roles, Token};
use anyhow::bail;
use kith_proto::id::TokenId;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::json;

/// What to do with tokens.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Make a token for a person or a system. It is shown once.
    New {
        /// What they do: referrer, coordinator, auditor, admin. A volunteer is usually coordinator,admin.
        #[arg(long, required = true, value_delimiter = ',', value_name = "ROLES")]
        role: Vec<String>,
        /// Whose it is, in your words.
        #[arg(long)]
        label: String,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// List the tokens, without their secrets.
    List {
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// End a token; within seconds nobody can sign in with it.
    Revoke {
        /// The token's id, from the list.
        token_id: String,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
}

/// Runs one command.
pub(crate) async fn run(talk: &Talk, command: TokenCommand, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    match command {
        TokenCommand::New { role, label, store } => {
            let roles = roles(&role)?;
            let (_, store) = talk.open_store(store, &clock).await?;
            let made = tokens::make(&store, (&clock, &rng), roles, label).await?;
            store.close().await;
            let value = json!({ "token_id": hex(made.token_id.as_bytes()), "token": made.secret, "roles": roles.to_string() });
            talk.out().say(&made.secret, &value)?;
            talk.out()
                .remark("Keep it like a key: it is shown only now. Its holder signs in with KITH_TOKEN.")
        }
        TokenCommand::List { store } => {
            let (_, store) = talk.open_store(store, &clock).await?;
            let listed = tokens::list(&store).await;
            store.close().await;
            for token in listed? {
                talk.out().say(&sentence(&token), &as_json(&token))?;
            }
            Ok(())
        }
        TokenCommand::Revoke { token_id, store } => {
            let token_id = TokenId::try_from(id(&token_id)?.as_slice())?;
            let (_, store) = talk.open_store(store, &clock).await?;
            let revoked = tokens::revoke(&store, (&clock, &rng), &token_id).await;
            store.close().await;
            if !revoked? {
                bail!("There is no such token, or it was revoked before.");
            }
            talk.out().say(
                "Revoked.",
                &json!({ "token_id": hex(token_id.as_bytes()), "revoked": true }),
            )
        }
    }
}

/// Reads roles as they are typed.
pub(super) fn roles(words: &[String]) -> anyhow::Result<Roles> {
    words
        .iter()
        .map(|word| super::choose(&Role::ALL, word.trim(), "role"))
        .collect()
}

fn sentence(token: &Token) -> String {
    let ended = token
        .revoked_at_ms
        .map_or(String::new(), |at_ms| format!("; revoked on {}", day(at_ms)));
    let id = hex(token.token_id.as_bytes());
    format!(
        "{id}  {}: {}; made on {}{ended}",
        token.label,
        token.roles,
        day(token.created_at_ms)
    )
}

fn as_json(token: &Token) -> serde_json::Value {
    json!({
        "token_id": hex(token.token_id.as_bytes()),
        "label": token.label,
        "roles": token.roles.to_string(),
        "created_at_ms": token.created_at_ms,
        "revoked_at_ms": token.revoked_at_ms,
    })
}
