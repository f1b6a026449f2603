//! Issues the statements of the chain: the root's, the registrar's and the member's own.
//! Called by the root's and the registrar's commands, by `join`, and by a node's key rotation.
//! Never make a key or read a clock: both are arguments.

use super::{
    Binding, INVITE_LIFE_MS, Invite, Member, NAME_BYTES_MAX, REGISTRAR_LIFE_MS_MAX, REKEY_DELAY_MS,
    STATEMENT_BYTES_MAX, TrustError,
};
use crate::id::{InviteId, NetworkName, OrgId};
use crate::seal::SealingPublicKey;
use crate::sign::{Context, PublicKey, SigningKey, sha256};
use crate::text::is_of_a_name;
use crate::v1;
use crate::words::OrganisationKind;
use prost::Message;

/// What an invite is to say.
#[derive(Clone, Debug)]
pub struct InviteTerms {
    /// A random id.
    pub invite_id: InviteId,
    /// The network.
    pub network: NetworkName,
    /// The organisation that may join.
    pub org: OrgId,
    /// What sort of body it is.
    pub kind: OrganisationKind,
    /// Its display name.
    pub name: String,
    /// The public half of the token's seed.
    pub seed_public_key: PublicKey,
}

/// The keys that a new binding announces.
#[derive(Clone, Debug)]
pub struct NewKeys {
    /// The key that signs envelopes from now on.
    pub signing_key: PublicKey,
    /// The key that bodies are sealed to from now on.
    pub sealing_key: SealingPublicKey,
}

/// Signs a registrar's key with the root, for at most 366 days.
pub fn issue_registrar(
    root: &SigningKey,
    network: &NetworkName,
    public_key: &PublicKey,
    not_before_ms: i64,
    not_after_ms: i64,
) -> Result<v1::Signed, TrustError> {
    let life = not_after_ms.saturating_sub(not_before_ms);
    if not_before_ms < 0 || !(1..=REGISTRAR_LIFE_MS_MAX).contains(&life) {
        return Err(TrustError::Malformed);
    }
    let statement = v1::Registrar {
        network: network.as_str().to_owned(),
        public_key: public_key.0.to_vec(),
        not_before_ms,
        not_after_ms,
    };
    sign(root, Context::Registrar, &statement)
}

/// Signs the gateway's TLS issuing certificate and signing key with the root.
pub fn issue_issuer(
    root: &SigningKey,
    network: &NetworkName,
    certificate_der: &[u8],
    signing_key: &PublicKey,
    not_after_ms: i64,
) -> Result<v1::Signed, TrustError> {
    let statement = v1::Issuer {
        network: network.as_str().to_owned(),
        certificate_der: certificate_der.to_vec(),
        not_after_ms,
        signing_key: signing_key.0.to_vec(),
    };
    sign(root, Context::Issuer, &statement)
}

/// Signs an invite with the registrar's key, usable for 24 hours from now.
pub fn issue_invite(
    registrar: &SigningKey,
    terms: InviteTerms,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    issue_terms(registrar, terms, None, now_ms)
}

/// Signs an invite, to join or to go on with new keys, usable for 24 hours from now.
pub(super) fn issue_terms(
    registrar: &SigningKey,
    terms: InviteTerms,
    rekeyed: Option<v1::Rekeyed>,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    let statement = v1::Invite {
        invite_id: terms.invite_id.as_bytes().to_vec(),
        network: terms.network.as_str().to_owned(),
        organisation: terms.org.as_str().to_owned(),
        kind: terms.kind.number(),
        seed_public_key: terms.seed_public_key.0.to_vec(),
        expires_at_ms: now_ms.saturating_add(INVITE_LIFE_MS),
        name: display_name(terms.name)?,
        rekeyed,
    };
    sign(registrar, Context::Invite, &statement)
}

/// Signs binding number 1 with the invite's seed; [`TrustError::Forged`] when the seed is not the invite's.
pub fn first_binding(
    seed: &SigningKey,
    invite: &Invite,
    keys: &NewKeys,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    if seed.public() != invite.seed_public_key {
        return Err(TrustError::Forged);
    }
    if invite.rekeyed.is_some() {
        return Err(TrustError::Foreign);
    }
    let place = Place {
        number: 1,
        previous_hash: &[],
        first_invite_id: invite.invite_id,
    };
    let statement = place.binding(
        (&invite.network, &invite.org, invite.kind),
        keys,
        (now_ms, now_ms),
    );
    sign(seed, Context::Binding, &statement)
}

/// Signs the member's next binding with its last signing key, effective at once (or with a re-key still waiting).
pub fn next_binding(
    signing_key: &SigningKey,
    member: &Member,
    keys: &NewKeys,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    let last = member.bindings.last().ok_or(TrustError::Broken)?;
    if signing_key.public() != last.signing_key {
        return Err(TrustError::Forged);
    }
    let statement = follow(member, last, keys, now_ms, now_ms)?;
    sign(signing_key, Context::Binding, &statement)
}

/// Signs the member's next binding with the registrar's key, effective after 24 hours.
pub fn rekey(
    registrar: &SigningKey,
    member: &Member,
    keys: &NewKeys,
    now_ms: i64,
) -> Result<v1::Signed, TrustError> {
    let last = member.bindings.last().ok_or(TrustError::Broken)?;
    let statement = follow(member, last, keys, now_ms, now_ms.saturating_add(REKEY_DELAY_MS))?;
    sign(registrar, Context::Binding, &statement)
}

/// Writes the binding after `last`, never effective before it.
fn follow(
    member: &Member,
    last: &Binding,
    keys: &NewKeys,
    now_ms: i64,
    effective_at_ms: i64,
) -> Result<v1::Binding, TrustError> {
    if now_ms < last.made_at_ms {
        return Err(TrustError::Clock);
    }
    let place = Place {
        number: last.number.checked_add(1).ok_or(TrustError::TooLarge)?,
        previous_hash: &last.hash,
        first_invite_id: member.invite_id,
    };
    let times = (now_ms, effective_at_ms.max(last.effective_at_ms));
    Ok(place.binding((&member.network, &member.org, member.kind), keys, times))
}

/// Where a binding stands in its member's chain.
pub(super) struct Place<'a> {
    pub(super) number: u64,
    /// Of the binding before; empty for the first.
    pub(super) previous_hash: &'a [u8],
    pub(super) first_invite_id: InviteId,
}

impl Place<'_> {
    /// The statement of a member's new keys there, with when it is made and when it takes effect.
    pub(super) fn binding(
        &self,
        (network, org, kind): (&NetworkName, &OrgId, OrganisationKind),
        keys: &NewKeys,
        (made_at_ms, effective_at_ms): (i64, i64),
    ) -> v1::Binding {
        v1::Binding {
            network: network.as_str().to_owned(),
            organisation: org.as_str().to_owned(),
            kind: kind.number(),
            number: self.number,
            previous_hash: self.previous_hash.to_vec(),
            signing_key: keys.signing_key.0.to_vec(),
            sealing_key: keys.sealing_key.as_bytes().to_vec(),
            made_at_ms,
            effective_at_ms,
            invite_id: self.first_invite_id.as_bytes().to_vec(),
        }
    }
}

/// Encodes and signs a statement.
pub(crate) fn sign<M: Message>(
    key: &SigningKey,
    context: Context,
    message: &M,
) -> Result<v1::Signed, TrustError> {
    let statement = message.encode_to_vec();
    if statement.len() > STATEMENT_BYTES_MAX {
        return Err(TrustError::TooLarge);
    }
    Ok(v1::Signed {
        signature: key.sign(context, &[&statement])?.0.to_vec(),
        signer: sha256(&[&key.public().0]).to_vec(),
        statement,
    })
}

/// Takes a display name without white space around it, and without [characters that no name has](is_of_a_name).
pub(super) fn display_name(name: String) -> Result<String, TrustError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(TrustError::TooLarge);
    }
    let plain = !name.is_empty() && name.trim() == name && name.chars().all(is_of_a_name);
    if plain {
        Ok(name)
    } else {
        Err(TrustError::Malformed)
    }
}
