//! A re-key that this gateway had taken and has lost with the newer rows of its database: given back by the member, with the invite whose
//! seed signed it. Called by the edge of the relay.
//! Only what was made before this gateway came back is taken, and only what the whole chain proves from the root. As every member knows
//! that chain, whoever calls gets no certificate by it: the new signing key asks for one.

use super::lost::extended;
use super::{MembershipError, returned};
use crate::audit::{Code, Event, Salted};
use crate::changes;
use crate::gateway::Gateway;
use crate::members::Standing;
use crate::store::counter::{self, Counter};
use crate::store::member::{self, MemberRow};
use crate::store::{audit, lost};
use kith_proto::id::OrgId;
use kith_proto::trust::{self, Binding, TrustError, binding_hash};
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

/// The TLS key of nobody: until the member has renewed no certificate counts.
const NO_TLS_KEY: [u8; 32] = [0; 32];

/// Takes a re-key again, and with it that the keys before it are lost; answers its number.
pub async fn give_back_rekey(
    gateway: &Gateway,
    org: &OrgId,
    request: v1::PublishBindingRequest,
) -> Result<v1::PublishBindingResponse, MembershipError> {
    let missing = MembershipError::Missing;
    let signed = request.binding.ok_or(missing("binding"))?;
    let invite = request.invite.ok_or(missing("invite"))?;
    let hash = binding_hash(&signed);
    let read = gateway
        .store
        .read("give_back_read", |mut tx| async move {
            member::by_org(&mut tx, org).await
        })
        .await?
        .ok_or(MembershipError::NotAMember)?;
    let held = (1..)
        .zip(&read.chain.bindings)
        .find(|(_, held)| binding_hash(held) == hash);
    if let Some((number, _)) = held {
        return Ok(v1::PublishBindingResponse { number });
    }
    let chain = extended(&read, request.registrar, invite, signed);
    let now_ms = gateway.clock.now_ms();
    let proven = trust::verify_chain(&chain, &gateway.keys.root, &gateway.network, now_ms);
    let proven = proven.map_err(|error| match error {
        TrustError::Broken => MembershipError::Fork,
        error => error.into(),
    })?;
    let newest = proven.bindings.last().ok_or(TrustError::Broken)?;
    if !newest.rekey {
        return Err(TrustError::Foreign.into());
    }
    if !returned::was_before(gateway, newest.made_at_ms).await? {
        return Err(MembershipError::InviteExpired);
    }
    put(gateway, &read, &chain, newest).await?;
    changes::refresh(gateway).await?;
    tracing::warn!(organisation = %org, "a member gave back new keys that this gateway had lost; the keys before count no more");
    Ok(v1::PublishBindingResponse {
        number: newest.number,
    })
}

async fn put(
    gateway: &Gateway,
    read: &MemberRow,
    chain: &v1::BindingChain,
    newest: &Binding,
) -> Result<(), MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let event = |code| Event::new(code, now_ms).org("organisation", &read.org);
    let published = event(Code::BindingPublished)
        .number("number", i64::try_from(newest.number).unwrap_or(i64::MAX))
        .hash("binding", &newest.hash)
        .hash("tls_key_hash", &NO_TLS_KEY)
        .word("signed_by", "registrar");
    let salted = |event| Salted::new(&gateway.rng, event);
    let events = &[salted(event(Code::MemberLost))?, salted(published)?];
    let suspended = &[salted(event(Code::MemberSuspended))?];
    let waits = now_ms < newest.effective_at_ms;
    let write = |mut tx: Tx| async move {
        let changed = counter::take(&mut tx, Counter::Change, 1).await?;
        if !member::set_chain(&mut tx, read, chain, changed).await? {
            return Ok(false);
        }
        member::set_tls_key(&mut tx, &read.org, &NO_TLS_KEY).await?;
        let before = i64::try_from(newest.number.saturating_sub(1)).unwrap_or(i64::MAX);
        lost::report(&mut tx, &read.org, newest.made_at_ms, before).await?;
        audit::insert(&mut tx, events).await?;
        if waits && member::set_state(&mut tx, &read.org, Standing::Suspended, changed).await? {
            audit::insert(&mut tx, suspended).await?;
        }
        // A suspension without a loss is the operator's own word, and stays.
        if waits || read.lost_bindings.is_some() {
            lost::resume_at(&mut tx, &read.org, Some(newest.effective_at_ms)).await?;
        }
        Ok(true)
    };
    let kept: Result<bool, StoreError> = gateway.store.tx("give_back", write).await;
    // The row moved between reading and writing: the same request may be made again.
    kept?.then_some(()).ok_or(MembershipError::Moved)
}
