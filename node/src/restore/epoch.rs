//! The next epoch of this node's log: the only break that a witness accepts. Called by `restore`.
//! Never begins one while an event of the old epoch is in no tree, nor one whose number the gateway has seen.

use kith_proto::log::checkpoint::Checkpoint;
use kith_service::log::LogError;
use kith_service::log::epoch as log;
use kith_service::store::{StoreError, Tx};

use super::RestoreError;
use super::books::Cosigned;
use crate::alarms::Kind;
use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;
use crate::store::restore::Restore;

/// How often the old epoch is caught up before it ends; nothing else writes while a restore runs.
const ATTEMPTS: u32 = 3;

/// Ends the old epoch and begins the next, whose first event says why; gives its number. Once for each restore.
pub(super) async fn open(
    node: &Node,
    restore: &Restore,
    cosigned: Option<&Cosigned>,
) -> Result<u64, RestoreError> {
    if let Some(epoch) = restore.epoch {
        return Ok(epoch);
    }
    for _ in 0..ATTEMPTS {
        // What the backup holds belongs to the old epoch. Nobody is asked to cosign that any more.
        node.log.catch_up(&node.keys.signing).await?;
        let begin = |mut tx: Tx| async move { begin(&mut tx, node, restore, cosigned).await };
        let begun: Option<u64> = node.store.tx::<_, LogError, _, _>("begin epoch", begin).await?;
        if let Some(epoch) = begun {
            return Ok(epoch);
        }
    }
    Err(StoreError::Abandoned.into())
}

/// One transaction; none when an event came in between.
async fn begin(
    tx: &mut Tx,
    node: &Node,
    restore: &Restore,
    cosigned: Option<&Cosigned>,
) -> Result<Option<u64>, LogError> {
    let mut counter = Counter::lock(tx).await?;
    let held = log::newest(tx).await?.ok_or(LogError::NoEpoch)?;
    if held.last_seq() != counter.last_audit() {
        return Ok(None);
    }
    let newest = cosigned.map_or(held.number, |cosigned| cosigned.epoch.max(held.number));
    let number = newest.saturating_add(1);
    let event = Event::new(Code::EpochOpened, node.now_ms())
        .number("epoch", store::stored(number))
        .number("found", store::stored(held.frontier.size()))
        .word("reason", restore.reason.as_str())
        .word("role", "admin");
    let event = match cosigned {
        None => event,
        Some(cosigned) => event
            .number("last_epoch", store::stored(cosigned.epoch))
            .number("last_size", store::stored(cosigned.head.size))
            .hash("last_root", &cosigned.head.root.0),
    };
    audit::insert(tx, &mut counter, &node.rng, &[event]).await?;
    log::begin(tx, number, counter.last_audit()).await?;
    for kind in [Kind::OwnLogBehind, Kind::OwnLogForked] {
        store::alarm::end(tx, kind).await?;
    }
    store::restore::threads_begin(tx, number).await?;
    store::restore::await_word(tx).await?;
    store::colleague::leave_all(tx).await?;
    store::restore::began(tx, &restore.restore_id, number).await?;
    counter.save(tx).await?;
    Ok(Some(number))
}

/// The time of the last event that the gateway has cosigned, by this database; 0 before the first. What follows may have been
/// written after the loss, by a copy that did not know yet.
pub(super) async fn reaches_to_ms(tx: &mut Tx) -> Result<i64, StoreError> {
    let epochs = log::all(tx).await?;
    for epoch in epochs.iter().rev() {
        let counted = epoch.counted.as_ref();
        let read = counted.and_then(|note| note.text().parse::<Checkpoint>().ok());
        let Some(size) = read
            .map(|checkpoint| checkpoint.head().size)
            .filter(|size| *size > 0)
        else {
            continue;
        };
        let last = epoch
            .first_seq
            .saturating_add(store::stored(size))
            .saturating_sub(1);
        return Ok(store::restore::event_at(tx, last).await?.unwrap_or_default());
    }
    Ok(0)
}
