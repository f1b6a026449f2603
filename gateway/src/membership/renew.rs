//! Renewal: a member's signing key, not its certificate, asks for the next certificate, so that a laptop that slept for a month
//! is not locked out. A suspended member renews too: it must still send and receive withdrawals.

use super::MembershipError;
use crate::audit::{Code, Event, Salted};
use crate::budget::Purpose;
use crate::gateway::Gateway;
use crate::limits::RENEWAL_SKEW_MS;
use crate::store::counter::{self, Counter};
use crate::store::{audit, member};
use crate::{changes, issuing};
use kith_proto::id::OrgId;
use kith_proto::{receipt, v1};
use kith_service::store::StoreError;

/// Answers a new certificate to the member whose signing key in force now signed the request.
pub async fn renew(
    gateway: &Gateway,
    request: v1::RenewRequest,
) -> Result<v1::RenewResponse, MembershipError> {
    let now_ms = gateway.clock.now_ms();
    let org: OrgId = request
        .organisation
        .parse()
        .map_err(|_| MembershipError::Renewal)?;
    let known = gateway.member(&org).ok_or(MembershipError::Renewal)?;
    let key = super::renewing_key(&known, now_ms).ok_or(MembershipError::Renewal)?;
    receipt::verify(&key, &request)?;
    // After the signature, so that only the member itself learns that it is one and that its clock is wrong.
    if request.made_at_ms.abs_diff(now_ms) > RENEWAL_SKEW_MS.unsigned_abs() {
        return Err(MembershipError::ClockOff);
    }
    let wait_ms = gateway.budgets.wait_ms(&org, Purpose::Ordinary, now_ms);
    if wait_ms.is_some() {
        return Err(MembershipError::Budget);
    }
    let tls_key_hash = issuing::tls_key_hash(&request.certificate_request_der)?;
    let certificate =
        issuing::member_certificate(&gateway.keys, &org, &request.certificate_request_der, now_ms)?;
    let event = Event::new(Code::CertificateIssued, now_ms)
        .org("organisation", &org)
        .hash("tls_key_hash", &tls_key_hash);
    let events = &[Salted::new(&gateway.rng, event)?];
    let known = &known;
    let is_given = gateway
        .store
        .tx("renew", |mut tx| async move {
            let row = member::by_org(&mut tx, &known.member.org).await?;
            let lost = row.and_then(|row| row.lost_bindings);
            // Reported between the signature and here: the key that signed may be a lost one.
            if lost.map(i64::unsigned_abs) != known.lost_bindings {
                return Ok(false);
            }
            if lost.is_some() {
                let changed = counter::take(&mut tx, Counter::Change, 1).await?;
                member::set_tls_key(&mut tx, &known.member.org, &tls_key_hash).await?;
                member::touch(&mut tx, &known.member.org, changed).await?;
            }
            audit::insert(&mut tx, events).await?;
            Ok::<_, StoreError>(true)
        })
        .await?;
    if !is_given {
        return Err(MembershipError::Renewal);
    }
    changes::refresh(gateway).await?;
    gateway.budgets.spend(&org, 1, now_ms);
    Ok(v1::RenewResponse {
        certificate_chain_pem: certificate,
        gateway_time_ms: now_ms,
    })
}
