//! The mailbox window: what waited too long is dropped, what is told is forgotten. `serve` runs `sweep`, a
//! simulation calls [`sweep_once`] by hand. Never deletes a tombstone that its recipient has not passed: the order of a pair stays whole.

use std::sync::Arc;
use std::time::Duration;

use kith_proto::problem::Problem;
use kith_proto::slip::SLIP_LIFE_MS_MAX;
use kith_service::shutdown::Shutdown;
use kith_service::store::{StoreError, Tx};

use crate::bundles;
use crate::gateway::Gateway;
use crate::limits::{
    DELIVERED_MS_MAX, MAILBOX_WINDOW_MS, RESTORE_MS_MAX, SWEEP_EVERY_MS, SWEEP_ROWS_MAX, TAKEN_MS_MAX,
};
use crate::membership;
use crate::relay::bury::{BuryError, Told, bury};
use crate::relay::reoffer;
use crate::relay::take::day;
use crate::store::{mailbox, restore, slip, taken};

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Envelopes that will never be delivered.
    pub dropped: usize,
    /// Rows of outcomes, slips, stops, batches and counts that had served.
    pub forgotten: u64,
}

/// Sweeps at every [`SWEEP_EVERY_MS`] until the wish to stop; a failed sweep is made up for by the next.
#[expect(clippy::disallowed_methods, reason = "the worker that sweeps")]
pub(crate) async fn sweep(gateway: Arc<Gateway>, shutdown: Shutdown) {
    loop {
        // Also at the start: a gateway that was off keeps nobody waiting.
        if let Err(error) = membership::resume_due(&gateway).await {
            tracing::warn!(%error, "members with new keys were not taken in again; the next sweep tries again");
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = tokio::time::sleep(Duration::from_millis(SWEEP_EVERY_MS)) => {}
        }
        match sweep_once(&gateway).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::info!(dropped = swept.dropped, forgotten = swept.forgotten, "swept"),
            Err(error) => tracing::warn!(%error, "the mailboxes were not swept"),
        }
    }
}

/// Drops all mail that is older than the window or has expired, and forgets what has served, in steps of at most
/// [`SWEEP_ROWS_MAX`] envelopes.
pub async fn sweep_once(gateway: &Gateway) -> Result<Swept, BuryError> {
    let now_ms = gateway.clock.now_ms();
    let mut swept = Swept::default();
    loop {
        let dropped = drop_some(gateway, now_ms).await?;
        swept.dropped += dropped;
        if dropped < SWEEP_ROWS_MAX {
            break;
        }
    }
    reoffer::give_up_all(gateway, now_ms).await?;
    swept.forgotten = gateway
        .store
        .tx("forget", |mut tx| async move { forget(&mut tx, now_ms).await })
        .await?;
    Ok(swept)
}

async fn drop_some(gateway: &Gateway, now_ms: i64) -> Result<usize, BuryError> {
    let (dropped, woken) = gateway
        .store
        .tx("sweep", |mut tx| async move {
            let taken_ms = now_ms.saturating_sub(MAILBOX_WINDOW_MS);
            let rows = mailbox::overdue(&mut tx, taken_ms, now_ms, SWEEP_ROWS_MAX).await?;
            let mut told = Told::default();
            bury(gateway, &mut tx, &rows, Problem::DeadlineExceeded, &mut told).await?;
            Ok::<_, BuryError>((rows.len(), told.write(&mut tx).await?))
        })
        .await?;
    gateway.relay.wake_all(&woken);
    Ok(dropped)
}

async fn forget(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let window_ms = now_ms.saturating_sub(MAILBOX_WINDOW_MS);
    let taken_ms = now_ms.saturating_sub(TAKEN_MS_MAX);
    let delivered_ms = now_ms.saturating_sub(DELIVERED_MS_MAX);
    let unseen_ms = window_ms.saturating_sub(SLIP_LIFE_MS_MAX);
    let mut forgotten = slip::forget(tx, window_ms, unseen_ms).await?;
    forgotten += taken::forget(tx, taken_ms, delivered_ms).await?;
    forgotten += taken::forget_forms(tx, day(now_ms)).await?;
    forgotten += bundles::forget(tx, now_ms).await?;
    forgotten += mailbox::forget_batches(tx, delivered_ms).await?;
    forgotten += restore::forget(tx, now_ms.saturating_sub(RESTORE_MS_MAX)).await?;
    Ok(forgotten)
}
