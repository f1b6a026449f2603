//! A member's next binding. The whole chain is verified again with it; a repeat of the last one answers the same.
//! A re-key must be signed by a registrar of this network: the one in use is put beside the chain when it signed.

use super::MembershipError;
use crate::audit::{Code, Event, Salted};
use crate::changes;
use crate::gateway::Gateway;
use crate::store::audit;
use crate::store::counter::{self, Counter};
use crate::store::member::{self, MemberRow};
use kith_proto::id::OrgId;
use kith_proto::trust::{self, TrustError, binding_hash};
use kith_proto::v1;
use kith_service::store::StoreError;
use prost::Message as _;

/// Takes the caller's next binding and returns its number.
pub async fn publish_binding(
    gateway: &Gateway,
    org: &OrgId,
    signed: v1::Signed,
) -> Result<v1::PublishBindingResponse, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let hash = binding_hash(&signed);
    let read = gateway
        .store
        .read("publish_binding_read", |mut tx| async move {
            member::by_org(&mut tx, org).await
        })
        .await?
        .ok_or(MembershipError::NotAMember)?;
    if let Some(held) = (1..)
        .zip(&read.chain.bindings)
        .find(|(_, held)| binding_hash(held) == hash)
    {
        return Ok(v1::PublishBindingResponse { number: held.0 });
    }
    let chain = extended(gateway, &read, signed.clone());
    let proven = match trust::verify_chain(&chain, &gateway.keys.root, &gateway.network, now_ms) {
        Ok(proven) => proven,
        Err(_) if forks(gateway, &read.chain, signed, now_ms) => {
            tracing::warn!(organisation = %org, "a second binding was offered for a number that is taken");
            return Err(MembershipError::Fork);
        }
        Err(error) => return Err(error.into()),
    };
    let newest = proven.bindings.last().ok_or(TrustError::Broken)?;
    let event = Event::new(Code::BindingPublished, now_ms)
        .org("organisation", org)
        .number("number", i64::try_from(newest.number).unwrap_or(i64::MAX))
        .hash("binding", &newest.hash)
        .word("signed_by", if newest.rekey { "registrar" } else { "member" });
    let (read, chain, events) = (&read, &chain, &[Salted::new(&gateway.rng, event)?]);
    let kept = gateway
        .store
        .tx("publish_binding", |mut tx| async move {
            let changed = counter::take(&mut tx, Counter::Change, 1).await?;
            let kept = member::set_chain(&mut tx, read, chain, changed).await?;
            if kept {
                audit::insert(&mut tx, events).await?;
            }
            Ok::<_, StoreError>(kept)
        })
        .await?;
    if !kept {
        // The row moved between reading and writing (a suspension, another call): the same request may be made again.
        return Err(MembershipError::Moved);
    }
    changes::refresh(gateway).await?;
    Ok(v1::PublishBindingResponse {
        number: newest.number,
    })
}

/// The chain with one more binding, and with the registrar in use when that signed it.
fn extended(gateway: &Gateway, read: &MemberRow, signed: v1::Signed) -> v1::BindingChain {
    let mut chain = read.chain.clone();
    let in_use = &gateway.keys.registrar;
    let by_registrar = trust::verify_registrar(
        in_use,
        &gateway.keys.root,
        &gateway.network,
        gateway.clock.now_ms(),
    )
    .is_ok_and(|registrar| signed.signer == kith_proto::sign::sha256(&[&registrar.public_key.0]));
    let known = chain.registrar.as_ref() == Some(in_use) || chain.later_registrars.contains(in_use);
    if by_registrar && !known {
        chain.later_registrars.push(in_use.clone());
    }
    chain.bindings.push(signed);
    chain
}

/// Whether the binding would have followed on an earlier one: two holders of one key, or a restored backup.
fn forks(gateway: &Gateway, chain: &v1::BindingChain, signed: v1::Signed, now_ms: i64) -> bool {
    // Not believed: only says where to try it.
    let Ok(claimed) = v1::Binding::decode(signed.statement.as_slice()) else {
        return false;
    };
    let before = claimed
        .number
        .checked_sub(1)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|before| (1..chain.bindings.len()).contains(before));
    let Some(before) = before else {
        return false;
    };
    let mut earlier = chain.clone();
    earlier.bindings.truncate(before);
    earlier.bindings.push(signed);
    trust::verify_chain(&earlier, &gateway.keys.root, &gateway.network, now_ms).is_ok()
}
