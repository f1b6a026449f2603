//! Suspending a member and ending it, by the operator's word. A running gateway follows within a second.

use super::MembershipError;
use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::members::Standing;
use crate::store::counter::{self, Counter};
use crate::store::{audit, lost, member};
use kith_proto::id::OrgId;

/// Sets how a member stands; says whether it stood otherwise before. [`MembershipError::NotAMember`] when it never joined.
pub async fn set_standing(
    gateway: &Gateway,
    org: &OrgId,
    standing: Standing,
) -> Result<bool, MembershipError> {
    let code = match standing {
        Standing::Active => Code::MemberResumed,
        Standing::Suspended => Code::MemberSuspended,
    };
    let event = Event::new(code, gateway.clock.now_ms()).org("organisation", org);
    let events = &[Salted::new(&gateway.rng, event)?];
    let changed = gateway
        .store
        .tx("set_standing", |mut tx| async move {
            let changed = counter::take(&mut tx, Counter::Change, 1).await?;
            if member::by_org(&mut tx, org).await?.is_none() {
                return Err(MembershipError::NotAMember);
            }
            // Whatever was to happen by itself after lost keys: the operator has said otherwise, or it happens now.
            lost::resume_at(&mut tx, org, None).await?;
            let moved = member::set_state(&mut tx, org, standing, changed).await?;
            if moved {
                audit::insert(&mut tx, events).await?;
            }
            Ok(moved)
        })
        .await?;
    crate::changes::refresh(gateway).await?;
    Ok(changed)
}
