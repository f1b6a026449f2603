//! A re-key by invite: a member whose keys are lost goes on in its own chain with keys that only it holds.
//! The registrar signs an invite that names the member's last binding; the invite's seed signs the next one, as it signs the first
//! one of a member that joins. Called by `verify_chain`, by the gateway's command for lost keys, and by the node that comes back.
//! Never take such a binding anywhere but behind the one that its invite names, nor let it count before 24 hours have passed.

use super::issue::{InviteTerms, NewKeys, Place, issue_terms, sign};
use super::{
    Binding, Invite, Member, REKEY_DELAY_MS, Registrar, TrustError, must_be_usable, open, read_binding,
    read_invite,
};
use crate::id::InviteId;
use crate::sign::{Context, PublicKey, SigningKey, sha256};
use crate::v1;

/// Where a re-key takes up a member's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// The invite that the member joined with.
    pub first_invite_id: InviteId,
    /// The number of its last binding.
    pub number: u64,
    /// The hash of that.
    pub previous_hash: [u8; 32],
}

impl Rekeyed {
    /// What a member's chain ends with.
    pub fn of(member: &Member) -> Result<Self, TrustError> {
        let last = member.bindings.last().ok_or(TrustError::Broken)?;
        Ok(Self {
            first_invite_id: member.invite_id,
            number: last.number,
            previous_hash: last.hash,
        })
    }

    /// Reads it from an invite, or from the request for one.
    pub fn read(wire: &v1::Rekeyed) -> Result<Self, TrustError> {
        let malformed = |_| TrustError::Malformed;
        Ok(Self {
            first_invite_id: wire
                .first_invite_id
                .as_slice()
                .try_into()
                .map_err(|_| TrustError::Malformed)?,
            number: wire.number,
            previous_hash: wire.previous_hash.as_slice().try_into().map_err(malformed)?,
        })
    }

    /// As it stands in an invite.
    pub fn to_wire(&self) -> v1::Rekeyed {
        v1::Rekeyed {
            first_invite_id: self.first_invite_id.as_bytes().to_vec(),
            number: self.number,
            previous_hash: self.previous_hash.to_vec(),
        }
    }
}

/// Signs an invite with which a member may go on once with new keys, within 24 hours from now.
pub fn issue_rekey_invite(
    registrar: &SigningKey,
    terms: InviteTerms,
    rekeyed: &Rekeyed,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    issue_terms(registrar, terms, Some(rekeyed.to_wire()), now_ms)
}

/// Signs the next binding with the invite's seed, effective after 24 hours; [`TrustError::Forged`] when the seed is not the
/// invite's, [`TrustError::Foreign`] when the invite is one to join.
pub fn rekey_binding(
    seed: &SigningKey,
    invite: &Invite,
    keys: &NewKeys,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    if seed.public() != invite.seed_public_key {
        return Err(TrustError::Forged);
    }
    let rekeyed = invite.rekeyed.as_ref().ok_or(TrustError::Foreign)?;
    let place = Place {
        number: rekeyed.number.checked_add(1).ok_or(TrustError::TooLarge)?,
        previous_hash: &rekeyed.previous_hash,
        first_invite_id: rekeyed.first_invite_id,
    };
    let times = (now_ms, now_ms.saturating_add(REKEY_DELAY_MS));
    let statement = place.binding((&invite.network, &invite.org, invite.kind), keys, times);
    sign(seed, Context::Binding, &statement)
}

/// An invite of a chain that is for a re-key, and whose key signed it.
pub(super) struct LaterInvite {
    invite: Invite,
    rekeyed: Rekeyed,
    registrar: PublicKey,
}

/// Reads every later invite of a chain, each by one of its registrars; leaves their times to [`read`].
pub(super) fn read_all(
    signed: &[v1::Signed],
    registrars: &[Registrar],
) -> Result<Vec<LaterInvite>, TrustError> {
    let read = |signed: &v1::Signed| {
        let by = |registrar: &&Registrar| signed.signer == sha256(&[&registrar.public_key.0]);
        let registrar = registrars.iter().find(by).ok_or(TrustError::Forged)?;
        let invite = read_invite(signed, registrar)?;
        let rekeyed = invite.rekeyed.clone().ok_or(TrustError::Foreign)?;
        Ok(LaterInvite {
            invite,
            rekeyed,
            registrar: registrar.public_key,
        })
    };
    signed.iter().map(read).collect()
}

/// The invite whose seed says to have signed this binding, if it is one for this member at this place.
pub(super) fn signing<'i>(
    signed: &v1::Signed,
    later: &'i [LaterInvite],
    first: &Invite,
    previous: &Binding,
) -> Option<&'i LaterInvite> {
    let here = |one: &&LaterInvite| {
        let same_member = one.invite.org == first.org && one.invite.kind == first.kind;
        let same_place = one.rekeyed.first_invite_id == first.invite_id
            && one.rekeyed.number == previous.number
            && one.rekeyed.previous_hash == previous.hash;
        same_member && same_place && signed.signer == sha256(&[&one.invite.seed_public_key.0])
    };
    later.iter().find(here)
}

/// Reads a binding that the seed of an invite for a re-key signed, while that and its registrar were valid.
pub(super) fn read(
    signed: &v1::Signed,
    by: &LaterInvite,
    previous: &Binding,
    (first, registrars): (&Invite, &[Registrar]),
) -> Result<Binding, TrustError> {
    let statement = open(signed, Context::Binding, &by.invite.seed_public_key)?;
    let binding = read_binding(signed, statement, first, &previous.hash, true)?;
    if Some(binding.number) != previous.number.checked_add(1) {
        return Err(TrustError::Broken);
    }
    if binding.made_at_ms < previous.made_at_ms
        || binding.effective_at_ms < previous.effective_at_ms
        || binding.effective_at_ms < binding.made_at_ms.saturating_add(REKEY_DELAY_MS)
    {
        return Err(TrustError::Clock);
    }
    must_be_usable(&by.invite, binding.made_at_ms)?;
    // A registrar whose year was renewed with the same key stands there twice.
    let mut signed_by = registrars.iter().filter(|r| r.public_key == by.registrar);
    if !signed_by.any(|registrar| registrar.valid_at(binding.made_at_ms)) {
        return Err(TrustError::Expired);
    }
    Ok(binding)
}
