//! A new epoch: living holdings are wrapped again under a new key, and the old key is destroyed, so that old write-ahead
//! logs and dumps open nothing that was erased since.
//! Called daily by the timers; safe to be interrupted anywhere and begun again.
//! The trail's line is written before the old key goes, so that a crash between the two leaves a rotation that is finished, and
//! written, once more.
//! Never destroys a key before every living holding is off it, those that were prepared before and written since included:
//! see [`NewestEpoch`](crate::store::holding::NewestEpoch).

use std::sync::PoisonError;

use kith_proto::problem::Problem;
use kith_service::store::StoreError;

use super::{Content, ContentError, holding_place};
use crate::audit::{self, Code, Event};
use crate::keys::KeysError;
use crate::node::Node;
use crate::store::counter::Counter;
use crate::store::holding::{self, Holding};

/// Holdings wrapped again in one transaction: some milliseconds of the one writer.
const CHUNK: i64 = 256;

/// Why a rotation stopped; the next one goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The file of epoch keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content's keys.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl RotationError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        Problem::Unavailable
    }
}

/// Rotates the epoch key and says how many holdings were wrapped again. One call at a time; a rotation that was
/// interrupted is finished without beginning another.
pub async fn rotate_epoch(node: &Node) -> Result<u64, RotationError> {
    let content = &node.content;
    content.begin_epoch()?;
    let newest = content.newest_epoch()?;
    let mut wrapped = 0;
    loop {
        let done = node
            .store
            .tx("rotate", |mut tx| async move {
                rewrap(&mut tx, content, newest).await
            })
            .await?;
        if done == 0 {
            // Looked under the lock: what is written from here on is wrapped for the newest epoch, or refused.
            break;
        }
        wrapped += done;
        tokio::task::yield_now().await;
    }
    let event = Event::new(Code::KeyRotated, node.now_ms())
        .word("key", "epoch")
        .number("epoch", newest);
    audit::note(&node.store, &node.rng, event).await?;
    content.end_epochs_before()?;
    Ok(wrapped)
}

/// Wraps one chunk of holdings of earlier epochs again; says how many.
async fn rewrap(
    tx: &mut kith_service::store::Tx,
    content: &Content,
    newest: i64,
) -> Result<u64, RotationError> {
    let counter = Counter::lock(tx).await?;
    let old = holding::living_before(tx, newest, CHUNK).await?;
    let mut rewrapped = Vec::with_capacity(old.len());
    for row in &old {
        rewrapped.push(content.rewrapped(row)?);
    }
    if !holding::replace_keys(tx, content.newest_under(&counter)?, &rewrapped).await? {
        return Err(ContentError::Overtaken.into());
    }
    counter.save(tx).await?;
    // widens: a chunk is small.
    Ok(old.len() as u64)
}

impl Content {
    /// Adds the next epoch key, in the file first; does nothing while an earlier one is still held.
    fn begin_epoch(&self) -> Result<(), KeysError> {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        if epochs.count() == 1 {
            let next = epochs.with_next(&self.rng)?;
            next.save(&self.folder)?;
            *epochs = next;
        }
        Ok(())
    }

    /// Destroys every epoch key but the newest.
    fn end_epochs_before(&self) -> Result<(), KeysError> {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        let last = epochs.only_newest()?;
        last.save(&self.folder)?;
        *epochs = last;
        Ok(())
    }

    /// The number of the newest epoch.
    pub(super) fn newest_epoch(&self) -> Result<i64, ContentError> {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.newest().map(|(number, _)| number)
    }

    /// The row with its holding key under the newest epoch key.
    fn rewrapped(&self, row: &Holding) -> Result<Holding, ContentError> {
        let (wrapped_key, category_keys) = row.keys.as_ref().ok_or(ContentError::Erased)?;
        let key = self.holding_key(row.holding_id, row.epoch, wrapped_key)?;
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        let (epoch, epoch_key) = epochs.newest()?;
        let wrapped_key = epoch_key.seal(&self.rng, &holding_place(row.holding_id), key.seed())?;
        Ok(Holding {
            epoch,
            keys: Some((wrapped_key, category_keys.clone())),
            ..row.clone()
        })
    }
}
