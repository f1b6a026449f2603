//! Openings: whoever opens a record or thread leaves one event in the trail before content is returned.
//! Called in the transaction that reads what is opened, under the counters' lock.
//! Never skipped: a reader that cannot write the event gets nothing.

use kith_service::store::{StoreError, Tx};

use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;
use crate::tokens::Caller;

/// For so long the same token and record add no second event: 15 minutes.
pub const OPENING_REPEAT_MS: i64 = 15 * 60 * 1000;

/// Begins the event of an opening: `what` names the kind of record (`person`, `grant`, `thread`).
pub fn opening(caller: &Caller, what: &'static str, record: &[u8; 16], now_ms: i64) -> Event {
    audit::by(caller, Code::Opened, now_ms).id(what, record)
}

/// Notes that a caller opens a record, with the [`opening`] that says so; says whether it was not noted a moment ago.
pub async fn note_opening(
    tx: &mut Tx,
    counter: &mut Counter,
    node: &Node,
    (caller, record): (&Caller, &[u8; 16]),
    event: Event,
) -> Result<bool, StoreError> {
    let now_ms = event.at_ms();
    let last = store::person::last_opened(tx, &caller.token_id, record).await?;
    if last.is_some_and(|at_ms| (0..OPENING_REPEAT_MS).contains(&now_ms.saturating_sub(at_ms))) {
        return Ok(false);
    }
    store::person::opened(tx, &caller.token_id, record, now_ms).await?;
    audit::insert(tx, counter, &node.rng, &[event]).await?;
    Ok(true)
}
