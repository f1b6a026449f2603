//! A member's next binding. The whole chain is verified again with it; a repeat of the last one answers the same.
//! A re-key must be signed by a registrar of this network: the one in use is put beside the chain when it signed.

use super::MembershipError;
use crate::audit::{Code, Event};
use crate::changes;
use crate::gateway::Gateway;
use crate::store::audit;
use crate::store::counter::{self, Counter};
use crate::store::member::{self, MemberRow};
use kith_proto::id::OrgId;
use kith_proto::trust::{self, TrustError, binding_hash};
use kith_proto::v1;
use kith_service::store::StoreError;

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
    let held = u64::try_from(read.chain.bindings.len()).unwrap_or(u64::MAX);
    if read.chain.bindings.last().map(binding_hash) == Some(hash) {
        return Ok(v1::PublishBindingResponse { number: held });
    }
    let chain = extended(gateway, &read, signed);
    let proven =
        trust::verify_chain(&chain, &gateway.keys.root, &gateway.keys.network, now_ms).map_err(|error| {
            match error {
                // It does not follow on the last one: a repeat of an older one, or a fork.
                TrustError::Broken => MembershipError::Fork,
                error => error.into(),
            }
        })?;
    let newest = proven.bindings.last().ok_or(TrustError::Broken)?;
    let event = Event::new(&gateway.rng, Code::BindingPublished, now_ms)?
        .org("organisation", org)
        .number("number", i64::try_from(newest.number).unwrap_or(i64::MAX))
        .bytes("binding_hash", &newest.hash)
        .word("signed_by", if newest.rekey { "registrar" } else { "member" });
    let (read, chain, events) = (&read, &chain, &[event]);
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
        &gateway.keys.network,
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
