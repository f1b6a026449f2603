//! Members that the backup does not have: they joined after it was made, and the gateway came back from it. Called by enrolment.
//! Never take anybody's word for it but this gateway's own signature of an earlier epoch, and never give another TLS key a certificate than
//! the one that joined: a member's chain and its leaf are known to every member.

use super::MembershipError;
use crate::gateway::Gateway;
use crate::store::epoch_word;
use crate::witnessing::log_key;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::origin::Keeper;
use kith_proto::trail::{Code, Leaf};
use kith_proto::trust::Member;
use kith_proto::v1;
use kith_service::store::StoreError;

/// Whether an epoch of this gateway's log before this one had the joining of this member, with this TLS key. What cannot be read, or is
/// not so, is no error: the invite then counts for nothing, as one that has run out.
pub(super) async fn was_logged(
    gateway: &Gateway,
    member: &Member,
    tls_key_hash: &[u8; 32],
    logged: &v1::LoggedBefore,
) -> Result<bool, MembershipError> {
    let newest = gateway.store.look("epoch", |mut tx| async move {
        let newest = kith_service::log::epoch::newest(&mut tx).await?;
        Ok::<_, StoreError>(newest.map_or(0, |epoch| epoch.number))
    });
    let newest: u64 = newest.await?;
    Ok(names(gateway, member, tls_key_hash, logged).is_some_and(|epoch| epoch < newest))
}

/// The epoch whose log had it.
fn names(
    gateway: &Gateway,
    member: &Member,
    tls_key_hash: &[u8; 32],
    logged: &v1::LoggedBefore,
) -> Option<u64> {
    let salt = logged.salt.as_slice().try_into().ok()?;
    let (leaf, told) = Leaf::opened(&salt, &logged.preimage).ok()?;
    let first = member.bindings.first()?;
    let is_its_own = told.code == Code::MemberJoined
        && told.get("organisation") == Some(member.org.as_str())
        && told.hash("binding") == Some(first.hash)
        && told.hash("tls_key_hash") == Some(*tls_key_hash);
    if !is_its_own {
        return None;
    }
    let proof: LeafProof = logged.proof.parse().ok()?;
    let origin = proof.note().text().lines().next()?;
    let (keeper, epoch) = Keeper::of_origin(origin, &gateway.network)?;
    if keeper != Keeper::Gateway {
        return None;
    }
    proof.open(&leaf.hash(), &[log_key(gateway, epoch)]).ok()?;
    Some(epoch)
}

/// Whether a member's first binding was made before this gateway came back: its chain may be a lost member's, whose invite nobody may use
/// again.
pub(super) async fn is_of_before(gateway: &Gateway, member: &Member) -> Result<bool, MembershipError> {
    let made_at_ms = member.bindings.first().map_or(i64::MIN, |first| first.made_at_ms);
    was_before(gateway, made_at_ms).await
}

/// Whether a time is before this gateway came back from a backup; `false` where it never did.
pub(super) async fn was_before(gateway: &Gateway, at_ms: i64) -> Result<bool, MembershipError> {
    let restored = gateway.store.look("restored", |mut tx| async move {
        epoch_word::restored_at_ms(&mut tx).await
    });
    let restored: Option<i64> = restored.await.map_err(|error: StoreError| error)?;
    Ok(restored.is_some_and(|restored| at_ms < restored))
}
