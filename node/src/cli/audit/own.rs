//! `audit verify` without a file: this node's own database against its own log. Works while the node is stopped, and beside it.
//! Called by `kith-node audit`. It must never end well when a row does not fit.

use super::super::talk::Talk;
use crate::trail::{Damage, whole};
use anyhow::bail;
use kith_service::clock::Clock;
use serde_json::json;

/// Looks at every row, and names each that does not fit.
pub(super) async fn verify(talk: &Talk, store: Option<String>, clock: Clock) -> anyhow::Result<()> {
    let (me, store) = talk.open_store(store, &clock).await?;
    let keys = crate::keys::Keys::load(&talk.folder()?)?;
    let found = whole(&store, &me, &keys.signing.public(), clock.now_ms()).await;
    store.close().await;
    let found = found?;
    for damage in &found.damages {
        let Damage { table, row, sentence } = damage;
        talk.out().say(
            &format!("{table} {row}: {sentence}"),
            &json!({ "table": table, "row": row, "sentence": sentence }),
        )?;
    }
    if !found.damages.is_empty() {
        bail!(
            "The database does not say what its log says, in {} places. Keep it as it is, and tell the network's operator.",
            found.damages.len()
        );
    }
    talk.out().say(
        &format!(
            "{} events and every row that rests on them fit the log.",
            found.events
        ),
        &json!({ "whole": true, "events": found.events }),
    )
}
