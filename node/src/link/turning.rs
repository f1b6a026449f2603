//! A new sealing key every 30 days. Called by an open stream, when it begins and every hour. The signing key stays: it signs
//! each next binding. The timers destroy the old keys.
//! Never publishes a key that is not in the data folder.
//!
//! The folder is in no transaction of the store. A key's making is written into the trail before the folder: after a crash between
//! the two the key is still due, and the next look writes and makes it again. No key is without its line.

use kith_proto::envelope::SEALING_KEY_LIFE_MS;
use kith_proto::trust::{self, Member, NewKeys};
use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use tonic::transport::Channel;

use super::{Ended, bundle, connect, directory};
use crate::audit::{self, Code, Event};
use crate::keys::{HeldSealingKey, KeysError};
use crate::node::Node;

/// Makes and publishes the next sealing key when the newest is 30 days old, or publishes one that an earlier attempt made.
///
/// Not before a recovery bundle with the key lies somewhere, where there is a sheet: mail that is sealed to a key that only a lost
/// computer had could never be read. That is waited for [`HOLD_OFF_MS`](crate::recovery::keep::HOLD_OFF_MS) at most.
pub(super) async fn turn(
    node: &Node,
    client: &mut RelayServiceClient<Channel>,
    channel: &Channel,
) -> Result<(), Ended> {
    let listed = node.members.get(node.organisation()).ok_or(Ended::OtherKeys)?;
    let newest = node.keys.newest_sealing_key().ok_or(KeysError::Library)?;
    let now_ms = node.now_ms();
    let is_published = listed
        .newest_keys()
        .is_some_and(|keys| keys.sealing_key == *newest.key.public());
    // After a restore the listed key may be one that was lost with what followed the backup.
    let is_lost = listed.newest_keys().is_some_and(|keys| {
        let is_held = node.keys.sealing_key(&keys.sealing_key_id()).is_some();
        !is_held && newest.made_at_ms <= keys.made_at_ms
    });
    let is_old = now_ms.saturating_sub(newest.made_at_ms) >= SEALING_KEY_LIFE_MS;
    let next = if !is_published && !is_lost {
        newest
    } else if is_lost || is_old {
        let event = Event::new(Code::KeyRotated, now_ms).word("key", "sealing");
        audit::note(&node.store, &node.rng, event).await?;
        node.keys.add_sealing_key(&node.folder, &node.rng, now_ms)?
    } else {
        return Ok(());
    };
    if !bundle::holds_key(node, channel, &next, now_ms).await {
        tracing::warn!("a new sealing key waits until a recovery bundle with it is kept somewhere");
        return Ok(());
    }
    publish(node, client, &listed.member, &next, now_ms).await?;
    directory::refresh(node, client).await?;
    tracing::info!("a new sealing key was published");
    Ok(())
}

async fn publish(
    node: &Node,
    client: &mut RelayServiceClient<Channel>,
    member: &Member,
    next: &HeldSealingKey,
    now_ms: i64,
) -> Result<(), Ended> {
    let keys = NewKeys {
        signing_key: node.keys.signing.public(),
        sealing_key: next.key.public().clone(),
    };
    let binding = trust::next_binding(&node.keys.signing, member, &keys, now_ms)?;
    let request = connect::timed(v1::PublishBindingRequest {
        binding: Some(binding),
        ..v1::PublishBindingRequest::default()
    });
    client.publish_binding(request).await?;
    Ok(())
}
