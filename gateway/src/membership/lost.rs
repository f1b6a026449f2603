//! Lost keys: a stolen or broken computer. The operator reports them; from then on nothing counts that they sign or that was issued
//! for them, and the member is suspended. With an invite of the registrar it goes on with new keys, which take effect, and end the
//! suspension, after 24 hours, so that everybody can see them first.
//! Called by the command `lost`, by the edge of enrolment and by the sweep. Never gives a certificate for keys that were reported lost.

use super::MembershipError;
use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::members::{KnownMember, Standing};
use crate::store::counter::{self, Counter};
use crate::store::member::{self, MemberRow};
use crate::store::{audit, lost};
use crate::{changes, issuing};
use kith_proto::id::OrgId;
use kith_proto::sign::PublicKey;
use kith_proto::trust::{self, Binding, Rekeyed, TrustError, binding_hash};
use kith_proto::v1;
use kith_service::store::StoreError;
use kith_service::tls::identity::Identity;

/// Reports a member's keys as lost and suspends it; says where its chain goes on. May be repeated, also after a re-key.
pub async fn report_lost(gateway: &Gateway, org: &OrgId) -> Result<v1::Invite, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let event = |code| Salted::new(&gateway.rng, Event::new(code, now_ms).org("organisation", org));
    let (lost, suspended) = (&[event(Code::MemberLost)?], &[event(Code::MemberSuspended)?]);
    let row = gateway
        .store
        .tx("report_lost", |mut tx| async move {
            let changed = counter::take(&mut tx, Counter::Change, 1).await?;
            let row = member::by_org(&mut tx, org).await?;
            let row = row.ok_or(MembershipError::NotAMember)?;
            let bindings = i64::try_from(row.chain.bindings.len()).unwrap_or(i64::MAX);
            lost::report(&mut tx, org, now_ms, bindings).await?;
            if member::set_state(&mut tx, org, Standing::Suspended, changed).await? {
                audit::insert(&mut tx, suspended).await?;
            } else {
                member::touch(&mut tx, org, changed).await?;
            }
            audit::insert(&mut tx, lost).await?;
            Ok::<_, MembershipError>(row)
        })
        .await?;
    changes::refresh(gateway).await?;
    let proven = trust::verify_chain(&row.chain, &gateway.keys.root, &gateway.network, now_ms)?;
    let rekeyed = Rekeyed::of(&proven)?;
    Ok(v1::Invite {
        network: gateway.network.to_string(),
        organisation: org.to_string(),
        kind: proven.kind.number(),
        name: proven.name,
        rekeyed: Some(rekeyed.to_wire()),
        ..v1::Invite::default()
    })
}

/// Whether a certificate is one of keys that are not reported lost: after a loss only one for the TLS key that came with the re-key, as
/// one that was issued around the report may be the thief's.
pub fn certificate_counts(known: &KnownMember, identity: &Identity) -> bool {
    known.lost_bindings.is_none() || rekeyed(known).is_some() && identity.tls_key_hash == known.tls_key_hash
}

/// The member's last re-key, unless it was itself reported lost. Told by its number in the chain and never by a time in it, which whoever
/// had the keys may have written.
fn rekeyed(known: &KnownMember) -> Option<&Binding> {
    let newest = known.member.bindings.iter().rfind(|binding| binding.rekey)?;
    let lost = known.lost_bindings.unwrap_or_default();
    (newest.number > lost).then_some(newest)
}

/// The signing key that may ask for a certificate now: that in force, but from a re-key on only the new one, and none between the loss
/// and the re-key.
pub fn renewing_key(known: &KnownMember, now_ms: i64) -> Option<PublicKey> {
    let in_force = known.member.key_at(now_ms);
    let by = match rekeyed(known) {
        Some(rekeyed) => in_force
            .filter(|binding| binding.number >= rekeyed.number)
            .unwrap_or(rekeyed),
        None if known.lost_bindings.is_some() => return None,
        None => in_force?,
    };
    Some(by.signing_key)
}

/// Takes the first binding of new keys with its invite, and answers a certificate. A repeat with the same TLS key is answered again.
pub async fn rekey(
    gateway: &Gateway,
    request: v1::EnrolRequest,
) -> Result<v1::EnrolResponse, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let tls_key_hash = issuing::tls_key_hash(&request.certificate_request_der)?;
    let missing = MembershipError::Missing;
    let registrar = request.registrar.ok_or(missing("registrar"))?;
    let signed = request.invite.ok_or(missing("invite"))?;
    let binding = request.binding.ok_or(missing("binding"))?;
    let (root, network) = (&gateway.keys.root, &gateway.network);
    let late = |error| match error {
        TrustError::Expired => MembershipError::InviteExpired,
        error => error.into(),
    };
    let by = trust::verify_registrar(&registrar, root, network, now_ms).map_err(late)?;
    let invite = trust::verify_invite(&signed, &by, now_ms).map_err(late)?;
    let org = &invite.org;
    let read = gateway
        .store
        .read("rekey_read", |mut tx| async move {
            member::by_org(&mut tx, org).await
        })
        .await?
        .ok_or(MembershipError::NotAMember)?;
    let certificate =
        issuing::member_certificate(&gateway.keys, org, &request.certificate_request_der, now_ms)?;
    let answer = v1::EnrolResponse {
        certificate_chain_pem: certificate,
        gateway_time_ms: now_ms,
    };
    if read.chain.later_invites.contains(&signed) {
        let hash = binding_hash(&binding);
        let is_same = read.chain.bindings.iter().any(|held| binding_hash(held) == hash)
            && read.tls_key_hash == tls_key_hash;
        if !is_same {
            return Err(MembershipError::InviteUsed);
        }
        let certified = &[Salted::new(&gateway.rng, certified(org, &tls_key_hash, now_ms))?];
        let write = |mut tx| async move { audit::insert(&mut tx, certified).await };
        gateway
            .store
            .tx::<_, StoreError, _, _>("rekey again", write)
            .await?;
        return Ok(answer);
    }
    let chain = extended(&read, Some(registrar), signed, binding);
    let proven = trust::verify_chain(&chain, root, network, now_ms).map_err(|error| match error {
        // The chain has gone on since the invite was made: by the thief, or by the member that had not lost its keys.
        TrustError::Forged | TrustError::Broken => MembershipError::Fork,
        error => error.into(),
    })?;
    let newest = proven.bindings.last().ok_or(TrustError::Broken)?;
    put(gateway, &read, &chain, newest, tls_key_hash).await?;
    changes::refresh(gateway).await?;
    Ok(answer)
}

/// The chain with one more binding, the invite whose seed signed that, and the registrar of the invite unless it stands there.
pub(super) fn extended(
    read: &MemberRow,
    registrar: Option<v1::Signed>,
    invite: v1::Signed,
    binding: v1::Signed,
) -> v1::BindingChain {
    let mut chain = read.chain.clone();
    if let Some(registrar) = registrar
        && chain.registrar.as_ref() != Some(&registrar)
        && !chain.later_registrars.contains(&registrar)
    {
        chain.later_registrars.push(registrar);
    }
    if !chain.later_invites.contains(&invite) {
        chain.later_invites.push(invite);
    }
    chain.bindings.push(binding);
    chain
}

fn certified(org: &OrgId, tls_key_hash: &[u8; 32], now_ms: i64) -> Event {
    Event::new(Code::CertificateIssued, now_ms)
        .org("organisation", org)
        .hash("tls_key_hash", tls_key_hash)
}

async fn put(
    gateway: &Gateway,
    read: &MemberRow,
    chain: &v1::BindingChain,
    newest: &Binding,
    tls_key_hash: [u8; 32],
) -> Result<(), MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let org = &read.org;
    let event = |code| Event::new(code, now_ms).org("organisation", org);
    let published = event(Code::BindingPublished)
        .number("number", i64::try_from(newest.number).unwrap_or(i64::MAX))
        .hash("binding", &newest.hash)
        .hash("tls_key_hash", &tls_key_hash)
        .word("signed_by", "registrar");
    let events = &[
        Salted::new(&gateway.rng, published)?,
        Salted::new(&gateway.rng, certified(org, &tls_key_hash, now_ms))?,
    ];
    let kept = gateway
        .store
        .tx("rekey", |mut tx| async move {
            let changed = counter::take(&mut tx, Counter::Change, 1).await?;
            let kept = member::set_chain(&mut tx, read, chain, changed).await?;
            if kept {
                member::set_tls_key(&mut tx, org, &tls_key_hash).await?;
                if read.lost_bindings.is_some() {
                    lost::resume_at(&mut tx, org, Some(newest.effective_at_ms)).await?;
                }
                audit::insert(&mut tx, events).await?;
            }
            Ok::<_, StoreError>(kept)
        })
        .await?;
    // The row moved between reading and writing: the same request may be made again.
    kept.then_some(()).ok_or(MembershipError::Moved)
}

/// Ends the suspension of members whose new keys have taken effect; says how many.
pub async fn resume_due(gateway: &Gateway) -> Result<usize, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let due = gateway
        .store
        .look(
            "lost_due",
            |mut tx| async move { lost::due(&mut tx, now_ms).await },
        )
        .await?;
    for org in &due {
        super::set_standing(gateway, org, Standing::Active).await?;
        tracing::info!(organisation = %org, "the member's new keys have taken effect; it takes part again");
    }
    Ok(due.len())
}
