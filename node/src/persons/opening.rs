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

/// Notes that a caller opens a record: `what` names its kind (`person`, `grant`, `thread`).
pub async fn note_opening(
    tx: &mut Tx,
    counter: &mut Counter,
    node: &Node,
    (caller, what, record): (&Caller, &'static str, &[u8; 16]),
    now_ms: i64,
) -> Result<(), StoreError> {
    let last = store::person::last_opened(tx, &caller.token_id, record).await?;
    if last.is_some_and(|at_ms| (0..OPENING_REPEAT_MS).contains(&now_ms.saturating_sub(at_ms))) {
        return Ok(());
    }
    store::person::opened(tx, &caller.token_id, record, now_ms).await?;
    let event = Event::new(Code::Opened, now_ms)
        .by(&caller.token_id)
        .id(what, record);
    audit::insert(tx, counter, &node.rng, &[event]).await
}
