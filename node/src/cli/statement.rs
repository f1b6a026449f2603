//! `kith-node statement`: shows a consent text, and records that a named person of this organisation stands for it.
//! Called by the command line's dispatch; works on the store, beside a running node or without one.
//! It must never review by itself: the reviewer repeats the digits that are shown with the text.

use super::say::{day, hex};
use super::talk::Talk;
use crate::grants::{self, NewReview};
use anyhow::bail;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::json;

/// What to do with consent texts.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum StatementCommand {
    /// Show the newest text and who reviewed it.
    Show {
        /// Its language.
        #[arg(long, default_value = "en")]
        language: String,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Say that you have read the text and that your organisation may use it. Nobody's consent is recorded before that.
    Review {
        /// Its language.
        #[arg(long, default_value = "en")]
        language: String,
        /// The digits that `statement show` gives with the text: at least the first 8.
        #[arg(long, value_name = "DIGITS")]
        hash: String,
        /// Your name and office.
        #[arg(long, value_name = "NAME")]
        by: String,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
}

/// Runs one command.
pub(crate) async fn run(
    talk: &Talk,
    command: StatementCommand,
    clock: Clock,
    rng: Rng,
) -> anyhow::Result<()> {
    match command {
        StatementCommand::Show { language, store } => show(talk, &language, store, &clock).await,
        StatementCommand::Review {
            language,
            hash,
            by,
            store,
        } => {
            let (membership, store) = talk.open_store(store, &clock).await?;
            let new = NewReview {
                language,
                hash_begins: hash,
                reviewer: by,
            };
            let kept = grants::review(&store, (&clock, &rng), &membership.network, new).await;
            store.close().await;
            let kept = kept?;
            talk.out().say(
                &format!(
                    "{} ({}) was reviewed by {}.",
                    kept.statement_id, kept.language, kept.reviewer
                ),
                &json!({
                    "statement_id": kept.statement_id,
                    "language": kept.language,
                    "text_hash": hex(&kept.text_hash),
                    "reviewed_by": kept.reviewer,
                    "reviewed_at_ms": kept.reviewed_at_ms,
                }),
            )
        }
    }
}

/// What to say where the text that is shown is not in the language that was asked for; `None` where it is.
pub(crate) fn of_another_language(shown: &str, asked: &str) -> Option<String> {
    (!grants::is_in_language(shown, asked)).then(|| {
        format!(
            "There is no reviewed text in `{asked}`. This is the one in `{shown}`: have an interpreter say it in `{asked}`, and \
             record the consent with --language {asked} --interpreter professional (or peer)."
        )
    })
}

async fn show(talk: &Talk, language: &str, store: Option<String>, clock: &Clock) -> anyhow::Result<()> {
    let (membership, store) = talk.open_store(store, clock).await?;
    let found = grants::reviewed_statement(&store, &membership.network, "", language).await;
    store.close().await;
    let Some(text) = found? else {
        bail!("This program has no consent text.");
    };
    let hash = hex(&text.text_hash);
    let value = json!({
        "statement_id": text.statement_id,
        "language": text.language,
        "asked_language": language,
        "text": text.text,
        "text_hash": hash,
        "reviewed_by": text.reviewed_by,
        "reviewed_at_ms": text.reviewed_at_ms,
    });
    if let Some(notice) = of_another_language(&text.language, language) {
        talk.out().remark(&format!("{notice}\n"))?;
    }
    talk.out().say(&text.text, &value)?;
    let review = if text.reviewed_by.is_empty() {
        format!(
            "Nobody here has reviewed this text yet, so no consent can be recorded with it. When you have read it: \
             `kith-node statement review --hash {} --by \"YOUR NAME, OFFICE\"`.",
            hash.get(..8).unwrap_or(&hash)
        )
    } else {
        format!(
            "Reviewed by {} on {}.",
            text.reviewed_by,
            day(text.reviewed_at_ms)
        )
    };
    talk.out().remark(&format!(
        "\n{} ({}), {hash}. {review}",
        text.statement_id, text.language
    ))
}
