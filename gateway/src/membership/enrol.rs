//! Enrolment: an invite, its seed's first binding and a certificate request make a member.
//!
//! | invite | binding and TLS key | answer |
//! |---|---|---|
//! | unused, in time | signed by its seed | member, certificate |
//! | used | the same as before | certificate again, whatever the time: the answer was lost |
//! | used | others | refused: the invite is burnt |
//! | unused, late | any | refused |
//! | unused, any time, with the leaf of an earlier epoch | those that the leaf names | member again, certificate: the gateway came back from a backup |
//! | unused, of before the gateway came back, without such a leaf | any | refused |
//!
//! The same TLS key is asked of a repeat, because a member's chain is known to all members: with the binding alone anyone of them
//! could have a certificate in its name.

use super::{MembershipError, returned};
use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::MEMBERS_MAX;
use crate::members::Standing;
use crate::store::counter::{self, Counter};
use crate::store::{audit, member};
use crate::{changes, issuing};
use kith_proto::trust::{self, TrustError, binding_hash};
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use member::MemberRow;

/// What became of the request in the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Joined,
    Repeated,
    Used,
    Late,
    AlreadyMember,
    Full,
}

/// Takes a first binding and burns its invite; answers a certificate.
pub async fn enrol(
    gateway: &Gateway,
    mut request: v1::EnrolRequest,
) -> Result<v1::EnrolResponse, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let tls_key_hash = issuing::tls_key_hash(&request.certificate_request_der)?;
    let logged = request.logged.take();
    let chain = v1::BindingChain {
        registrar: Some(request.registrar.ok_or(MembershipError::Missing("registrar"))?),
        invite: Some(request.invite.ok_or(MembershipError::Missing("invite"))?),
        bindings: vec![request.binding.ok_or(MembershipError::Missing("binding"))?],
        later_registrars: Vec::new(),
        later_invites: Vec::new(),
    };
    let proven = trust::verify_chain(&chain, &gateway.keys.root, &gateway.keys.network, now_ms)?;
    let usable = match &logged {
        Some(logged) => returned::was_logged(gateway, &proven, &tls_key_hash, logged).await?,
        None => usable_now(gateway, &chain, now_ms)? && !returned::is_of_before(gateway, &proven).await?,
    };
    // Signed before the transaction: no cryptography under the store's lock.
    let certificate = issuing::member_certificate(
        &gateway.keys,
        &proven.org,
        &request.certificate_request_der,
        now_ms,
    )?;
    let row = MemberRow {
        org: proven.org,
        kind: proven.kind,
        name: proven.name,
        state: Standing::Active,
        chain,
        invite_id: proven.invite_id,
        tls_key_hash,
        joined_at_ms: now_ms,
        changed: 0,
        lost_bindings: None,
    };
    let events = Events::new(gateway, &row, now_ms)?;
    let (row, events) = (&row, &events);
    let outcome = gateway
        .store
        .tx("enrol", |mut tx| async move {
            put(&mut tx, row, usable, events).await
        })
        .await?;
    match outcome {
        Outcome::Joined | Outcome::Repeated => {
            changes::refresh(gateway).await?;
            Ok(v1::EnrolResponse {
                certificate_chain_pem: certificate,
                gateway_time_ms: now_ms,
            })
        }
        Outcome::Used => Err(MembershipError::InviteUsed),
        Outcome::Late => Err(MembershipError::InviteExpired),
        Outcome::AlreadyMember => Err(MembershipError::AlreadyMember),
        Outcome::Full => Err(MembershipError::Full),
    }
}

/// Says whether the invite, its registrar and the binding may make a member now; a wrong one is an error, a late one `false`.
fn usable_now(gateway: &Gateway, chain: &v1::BindingChain, now_ms: i64) -> Result<bool, MembershipError> {
    let missing = MembershipError::Missing;
    let registrar = chain.registrar.as_ref().ok_or(missing("registrar"))?;
    let invite = chain.invite.as_ref().ok_or(missing("invite"))?;
    let keys = &gateway.keys;
    let usable = trust::verify_registrar(registrar, &keys.root, &keys.network, now_ms)
        .and_then(|registrar| trust::verify_invite(invite, &registrar, now_ms));
    match usable {
        Ok(_) => Ok(true),
        Err(TrustError::Expired) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The events of both outcomes, drawn before the transaction.
struct Events {
    joined: Salted,
    certified: Salted,
    refused: Salted,
}

impl Events {
    fn new(gateway: &Gateway, row: &MemberRow, now_ms: i64) -> Result<Self, MembershipError> {
        let event = |code| {
            Event::new(code, now_ms)
                .org("organisation", &row.org)
                .id("invite", row.invite_id.as_bytes())
                .hash("tls_key_hash", &row.tls_key_hash)
        };
        let salted = |event| Salted::new(&gateway.rng, event);
        let binding = row.chain.bindings.first().map(binding_hash).unwrap_or_default();
        Ok(Self {
            joined: salted(
                event(Code::MemberJoined)
                    .word("kind", row.kind.as_str())
                    .number("number", 1)
                    .hash("binding", &binding),
            )?,
            certified: salted(event(Code::CertificateIssued))?,
            refused: salted(event(Code::InviteRefused).hash("binding", &binding))?,
        })
    }
}

/// Decides under the change counter's lock, so that of two enrolments with one invite only one can be first.
async fn put(tx: &mut Tx, row: &MemberRow, usable: bool, events: &Events) -> Result<Outcome, StoreError> {
    let changed = counter::take(tx, Counter::Change, 1).await?;
    if let Some(held) = member::by_invite(tx, row.invite_id).await? {
        let same = held.tls_key_hash == row.tls_key_hash
            && held.chain.bindings.first().map(binding_hash) == row.chain.bindings.first().map(binding_hash);
        let (event, outcome) = match same {
            true => (&events.certified, Outcome::Repeated),
            false => (&events.refused, Outcome::Used),
        };
        audit::insert(tx, std::slice::from_ref(event)).await?;
        return Ok(outcome);
    }
    if !usable {
        return Ok(Outcome::Late);
    }
    if member::by_org(tx, &row.org).await?.is_some() {
        return Ok(Outcome::AlreadyMember);
    }
    if member::count(tx).await? >= i64::try_from(MEMBERS_MAX).unwrap_or(i64::MAX) {
        return Ok(Outcome::Full);
    }
    let row = MemberRow {
        changed,
        ..row.clone()
    };
    member::insert(tx, &row).await?;
    audit::insert(tx, &[events.joined.clone(), events.certified.clone()]).await?;
    Ok(Outcome::Joined)
}
