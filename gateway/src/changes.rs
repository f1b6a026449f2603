//! Follows the change counter, so that what another process or replica did to the members acts here within a second.
//! `serve` runs [`poll`]; use-cases call [`refresh`] after their own commit. Never lets an unverified chain into the members.

use crate::gateway::Gateway;
use crate::limits::CHANGES_POLL_MS;
use crate::members::KnownMember;
use crate::store::counter::{self, Counter};
use crate::store::member::{self, MemberRow};
use kith_proto::trust;
use kith_service::shutdown::Shutdown;
use kith_service::store::StoreError;
use std::sync::Arc;
use std::time::Duration;

/// Members read in one step; a whole network comes in five.
const STEP: usize = 100;

/// Brings the members in memory up to the store's change counter.
pub async fn refresh(gateway: &Gateway) -> Result<(), StoreError> {
    loop {
        let cursor = gateway.members.cursor();
        let (rows, counter) = gateway
            .store
            .read("changes", |mut tx| async move {
                let counter = counter::read(&mut tx, Counter::Change).await?;
                if counter <= cursor {
                    return Ok::<_, StoreError>((Vec::new(), counter));
                }
                Ok((member::changed_after(&mut tx, cursor, STEP).await?, counter))
            })
            .await?;
        // A full step may have left some behind: go on from its last one.
        let full = rows.len() == STEP;
        let upto = rows.last().filter(|_| full).map_or(counter, |row| row.changed);
        let read = rows.iter().map(|row| (row.org.clone(), verified(gateway, row)));
        gateway.members.put(read.collect(), upto);
        if !full {
            return Ok(());
        }
    }
}

/// Verifies a row's chain from the root and that the row says what the chain does. A row that fails is left out and logged:
/// one altered row must not stop a network, and is never served.
fn verified(gateway: &Gateway, row: &MemberRow) -> Option<KnownMember> {
    let now_ms = gateway.clock.now_ms();
    match trust::verify_chain(&row.chain, &gateway.keys.root, &gateway.keys.network, now_ms) {
        Ok(member) if member.org == row.org && member.invite_id == row.invite_id => Some(KnownMember {
            member,
            state: row.state,
            changed: row.changed,
            lost_bindings: row.lost_bindings.map(i64::unsigned_abs),
            tls_key_hash: row.tls_key_hash,
        }),
        Ok(_) => {
            tracing::error!(organisation = %row.org, "a stored member is not the one its chain proves; it is left out");
            None
        }
        Err(error) => {
            tracing::error!(organisation = %row.org, %error, "a stored member's chain does not verify; it is left out");
            None
        }
    }
}

/// Reads the change counter until the wish to stop; a failing store is logged and tried again.
pub async fn poll(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(Duration::from_millis(CHANGES_POLL_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wish = shutdown.wait();
    tokio::pin!(wish);
    loop {
        tokio::select! {
            biased;
            () = &mut wish => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = refresh(&gateway).await {
            tracing::warn!(%error, "the change counter could not be read");
        }
    }
}
