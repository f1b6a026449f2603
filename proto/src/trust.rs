//! The chain that a gateway cannot forge: root, registrar, invite, first binding, later bindings.
//! Nodes call it on every chain a gateway lists, gateways on every binding they take, `invite` and `join` to issue.
//! Never believe a statement before its signature, never re-serialise one, never read a clock.
//!
//! Times are claims of their signers; what a stolen old key back-dates is caught by the key log, not here.

use crate::id::{InviteId, NetworkName, OrgId};
use crate::problem::Problem;
use crate::seal::SealingPublicKey;
use crate::sign::{Context, PublicKey, Signature, SigningFailed, sha256};
use crate::v1;
use crate::words::OrganisationKind;
use prost::Message;

pub(crate) mod issue;
mod rekey;
mod root;
mod service;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
mod token;

use issue::display_name;
pub use issue::{
    InviteTerms, NewKeys, first_binding, issue_invite, issue_issuer, issue_registrar, next_binding, rekey,
};
pub use rekey::{Rekeyed, issue_rekey_invite, rekey_binding};
pub use root::RootKey;
pub use service::{LANGUAGE_BYTES_MAX, LANGUAGES_MAX, SERVICE_TEXT_BYTES_MAX, SERVICES_PER_MEMBER_MAX};
pub use service::{issue_service, verify_service};
pub use token::{InviteToken, TOKEN_PREFIX, TOKEN_TEXT_BYTES_MAX, TokenError};

/// How long an invite may be used: 24 hours.
pub const INVITE_LIFE_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a re-key waits before it takes effect: 24 hours.
pub const REKEY_DELAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest life of a registrar key: 366 days.
pub const REGISTRAR_LIFE_MS_MAX: i64 = 366 * 24 * 60 * 60 * 1000;
/// How far ahead of the verifier's clock a statement may be made: 1 hour.
pub const CLOCK_SKEW_MS: i64 = 60 * 60 * 1000;
/// Longest statement, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 4096;
/// Most bindings in one chain.
pub const BINDINGS_MAX: usize = 1000;
/// Most registrars in one chain after the first.
pub const LATER_REGISTRARS_MAX: usize = 100;
/// Most re-keys by invite in one chain.
pub const LATER_INVITES_MAX: usize = 100;
/// Longest display name of an organisation, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Why a statement or chain was not believed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read: fetch it again, or upgrade.
    #[error("the statement cannot be read")]
    Malformed,
    /// It is over a limit: refuse the peer's input.
    #[error("the statement or chain is too large")]
    TooLarge,
    /// Not signed by the key that must sign it: do not send; tell a person.
    #[error("the statement is not signed by the key that must sign it")]
    Forged,
    /// It speaks of another network, organisation, kind or invite: do not mix them.
    #[error("the statement belongs to another network or organisation")]
    Foreign,
    /// Its time is over: ask the network's operator for a new one.
    #[error("the statement has run out")]
    Expired,
    /// Its time lies ahead, or runs backwards: set the clock.
    #[error("the statement's time does not fit this clock or its chain")]
    Clock,
    /// The bindings do not follow on each other: fetch the whole chain again; if it repeats, tell a person.
    #[error("the bindings do not follow on each other")]
    Broken,
    /// The cryptographic library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl TrustError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed | Self::Broken => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Forged | Self::Expired => Problem::Unauthenticated,
            Self::Foreign => Problem::NotAMember,
            Self::Clock => Problem::ClockOff,
            Self::Library => Problem::Unavailable,
        }
    }
}

impl From<SigningFailed> for TrustError {
    fn from(_: SigningFailed) -> Self {
        Self::Library
    }
}

/// A registrar's key that the root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// The network it admits members to.
    pub network: NetworkName,
    /// Its key.
    pub public_key: PublicKey,
    /// From when it may sign.
    pub not_before_ms: i64,
    /// From when it may sign no more.
    pub not_after_ms: i64,
}

impl Registrar {
    /// Says whether the registrar may sign at this time.
    pub const fn valid_at(&self, at_ms: i64) -> bool {
        self.not_before_ms <= at_ms && at_ms < self.not_after_ms
    }
}

/// An invite that a registrar has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Its id; the gateway burns it.
    pub invite_id: InviteId,
    /// The network it admits to.
    pub network: NetworkName,
    /// The organisation it admits.
    pub org: OrgId,
    /// What sort of body that is.
    pub kind: OrganisationKind,
    /// The organisation's display name.
    pub name: String,
    /// The public half of the token's seed.
    pub seed_public_key: PublicKey,
    /// From when it admits no more.
    pub expires_at_ms: i64,
    /// Which member's keys it replaces; `None` in an invite to join.
    pub rekeyed: Option<Rekeyed>,
}

/// What the gateway may speak with: its TLS issuing certificate and its signing key that the root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The certificate, DER; not parsed here.
    pub certificate_der: Vec<u8>,
    /// The key that signs the gateway's receipts, refusals and tombstones.
    pub signing_key: PublicKey,
    /// From when it is trusted no more.
    pub not_after_ms: i64,
}

/// One verified binding of a member's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// The key that signs envelopes.
    pub signing_key: PublicKey,
    /// The key that bodies are sealed to.
    pub sealing_key: SealingPublicKey,
    /// When it was made, as its signer says.
    pub made_at_ms: i64,
    /// From when it counts.
    pub effective_at_ms: i64,
    /// Whether the registrar, or the seed of an invite for a re-key, signed it instead of the previous key: shown to every peer.
    pub rekey: bool,
    /// The hash that the next binding must name.
    pub hash: [u8; 32],
}

impl Binding {
    /// Names the sealing key: the first 16 bytes of its SHA-256.
    pub fn sealing_key_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        let hash = sha256(&[self.sealing_key.as_bytes()]);
        for (to, from) in id.iter_mut().zip(hash) {
            *to = from;
        }
        id
    }
}

/// A member as its verified chain shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The network.
    pub network: NetworkName,
    /// The member's id.
    pub org: OrgId,
    /// What sort of body it is.
    pub kind: OrganisationKind,
    /// Its display name.
    pub name: String,
    /// The invite it joined with.
    pub invite_id: InviteId,
    /// Its bindings, number 1 first; never empty.
    pub bindings: Vec<Binding>,
}

impl Member {
    /// Returns the binding in force at this time; none before the first takes effect.
    pub fn key_at(&self, now_ms: i64) -> Option<&Binding> {
        self.bindings.iter().rev().find(|b| b.effective_at_ms <= now_ms)
    }

    /// Returns the id of the sealing key in force at this time.
    pub fn sealing_key_id(&self, now_ms: i64) -> Option<[u8; 16]> {
        self.key_at(now_ms).map(Binding::sealing_key_id)
    }
}

/// Hashes a signed binding: SHA-256 over statement and signature, each after its length (4 bytes, big-endian).
pub fn binding_hash(signed: &v1::Signed) -> [u8; 32] {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let (statement, signature) = (&signed.statement, &signed.signature);
    sha256(&[&length(statement), statement, &length(signature), signature])
}

/// Verifies a registrar that must be valid now.
pub fn verify_registrar(
    signed: &v1::Signed,
    root: &PublicKey,
    network: &NetworkName,
    now_ms: i64,
) -> Result<Registrar, TrustError> {
    let registrar = read_registrar(signed, root, Some(network))?;
    must_be_valid(&registrar, now_ms)?;
    Ok(registrar)
}

/// Verifies an invite of this registrar that must be usable now.
pub fn verify_invite(signed: &v1::Signed, registrar: &Registrar, now_ms: i64) -> Result<Invite, TrustError> {
    must_be_valid(registrar, now_ms)?;
    let invite = read_invite(signed, registrar)?;
    must_be_usable(&invite, now_ms)?;
    Ok(invite)
}

/// Verifies the root's statement over the gateway's TLS issuing certificate.
pub fn verify_issuer(
    signed: &v1::Signed,
    root: &PublicKey,
    network: &NetworkName,
    now_ms: i64,
) -> Result<Issuer, TrustError> {
    let issuer: v1::Issuer = open(signed, Context::Issuer, root)?;
    same_network(&issuer.network, network)?;
    if now_ms >= issuer.not_after_ms {
        return Err(TrustError::Expired);
    }
    if issuer.certificate_der.is_empty() {
        return Err(TrustError::Malformed);
    }
    Ok(Issuer {
        certificate_der: issuer.certificate_der,
        signing_key: public_key(&issuer.signing_key)?,
        not_after_ms: issuer.not_after_ms,
    })
}

/// Verifies a member's whole chain. Registrars and the invite may have run out since: each must have been valid when
/// the binding that rests on it was made.
pub fn verify_chain(
    chain: &v1::BindingChain,
    root: &PublicKey,
    network: &NetworkName,
    now_ms: i64,
) -> Result<Member, TrustError> {
    if chain.bindings.len() > BINDINGS_MAX
        || chain.later_registrars.len() > LATER_REGISTRARS_MAX
        || chain.later_invites.len() > LATER_INVITES_MAX
    {
        return Err(TrustError::TooLarge);
    }
    let registrar = chain.registrar.as_ref().ok_or(TrustError::Malformed)?;
    let first = read_registrar(registrar, root, Some(network))?;
    let invite = read_invite(chain.invite.as_ref().ok_or(TrustError::Malformed)?, &first)?;
    if invite.rekeyed.is_some() {
        return Err(TrustError::Foreign);
    }
    let mut registrars = vec![first];
    for later in &chain.later_registrars {
        registrars.push(read_registrar(later, root, Some(network))?);
    }
    let later_invites = rekey::read_all(&chain.later_invites, &registrars)?;
    let mut bindings: Vec<Binding> = Vec::with_capacity(chain.bindings.len());
    for signed in &chain.bindings {
        let binding = match bindings.last() {
            None => read_first(signed, &invite, &registrars)?,
            Some(previous) => match rekey::signing(signed, &later_invites, &invite, previous) {
                Some(seed) => rekey::read(signed, seed, previous, (&invite, &registrars))?,
                None => read_later(signed, &invite, previous, &registrars)?,
            },
        };
        if binding.made_at_ms > now_ms.saturating_add(CLOCK_SKEW_MS) {
            return Err(TrustError::Clock);
        }
        bindings.push(binding);
    }
    if bindings.is_empty() {
        return Err(TrustError::Broken);
    }
    Ok(Member {
        network: invite.network,
        org: invite.org,
        kind: invite.kind,
        name: invite.name,
        invite_id: invite.invite_id,
        bindings,
    })
}

/// Reads number 1, which the invite's seed signs while the invite and its registrar, the first, are valid.
fn read_first(signed: &v1::Signed, invite: &Invite, registrars: &[Registrar]) -> Result<Binding, TrustError> {
    let statement = open(signed, Context::Binding, &invite.seed_public_key)?;
    let binding = read_binding(signed, statement, invite, &[], false)?;
    if binding.number != 1 {
        return Err(TrustError::Broken);
    }
    must_be_usable(invite, binding.made_at_ms)?;
    must_be_valid(registrars.first().ok_or(TrustError::Broken)?, binding.made_at_ms)?;
    Ok(binding)
}

/// Reads a later binding: by the previous signing key, or a re-key by a registrar valid when it was made.
/// No binding takes effect before the one it follows, or a re-key's wait could be skipped by the next binding.
fn read_later(
    signed: &v1::Signed,
    invite: &Invite,
    previous: &Binding,
    registrars: &[Registrar],
) -> Result<Binding, TrustError> {
    let by_member = signed.signer == sha256(&[&previous.signing_key.0]);
    let registrar = registrars
        .iter()
        .filter(|r| !by_member && signed.signer == sha256(&[&r.public_key.0]));
    let candidates: Vec<&Registrar> = registrar.collect();
    let key = match candidates.first() {
        Some(registrar) => &registrar.public_key,
        None => &previous.signing_key,
    };
    let statement = open(signed, Context::Binding, key)?;
    let binding = read_binding(signed, statement, invite, &previous.hash, !by_member)?;
    if Some(binding.number) != previous.number.checked_add(1) {
        return Err(TrustError::Broken);
    }
    if binding.made_at_ms < previous.made_at_ms || binding.effective_at_ms < previous.effective_at_ms {
        return Err(TrustError::Clock);
    }
    if !by_member {
        if !candidates.iter().any(|r| r.valid_at(binding.made_at_ms)) {
            return Err(TrustError::Expired);
        }
        if binding.effective_at_ms < binding.made_at_ms.saturating_add(REKEY_DELAY_MS) {
            return Err(TrustError::Clock);
        }
    }
    Ok(binding)
}

/// Parses an opened binding and holds it against its invite and the hash it must name.
fn read_binding(
    signed: &v1::Signed,
    binding: v1::Binding,
    invite: &Invite,
    previous_hash: &[u8],
    rekey: bool,
) -> Result<Binding, TrustError> {
    same_network(&binding.network, &invite.network)?;
    let same_member = binding.organisation == invite.org.as_str()
        && binding.kind == invite.kind.number()
        && binding.invite_id == invite.invite_id.as_bytes();
    if !same_member {
        return Err(TrustError::Foreign);
    }
    if binding.previous_hash != previous_hash {
        return Err(TrustError::Broken);
    }
    if binding.made_at_ms < 0 || binding.effective_at_ms < binding.made_at_ms {
        return Err(TrustError::Clock);
    }
    Ok(Binding {
        number: binding.number,
        signing_key: public_key(&binding.signing_key)?,
        sealing_key: SealingPublicKey::from_bytes(&binding.sealing_key).map_err(|_| TrustError::Malformed)?,
        made_at_ms: binding.made_at_ms,
        effective_at_ms: binding.effective_at_ms,
        rekey,
        hash: binding_hash(signed),
    })
}

/// Reads the root's statement about a registrar, of this network when one is given; leaves its time to the caller.
fn read_registrar(
    signed: &v1::Signed,
    root: &PublicKey,
    network: Option<&NetworkName>,
) -> Result<Registrar, TrustError> {
    let registrar: v1::Registrar = open(signed, Context::Registrar, root)?;
    let named: NetworkName = registrar.network.parse().map_err(|_| TrustError::Malformed)?;
    if network.is_some_and(|network| *network != named) {
        return Err(TrustError::Foreign);
    }
    let life = registrar.not_after_ms.saturating_sub(registrar.not_before_ms);
    if registrar.not_before_ms < 0 || !(1..=REGISTRAR_LIFE_MS_MAX).contains(&life) {
        return Err(TrustError::Malformed);
    }
    Ok(Registrar {
        network: named,
        public_key: public_key(&registrar.public_key)?,
        not_before_ms: registrar.not_before_ms,
        not_after_ms: registrar.not_after_ms,
    })
}

/// Reads a registrar's invite; leaves its time to the caller.
fn read_invite(signed: &v1::Signed, registrar: &Registrar) -> Result<Invite, TrustError> {
    let invite: v1::Invite = open(signed, Context::Invite, &registrar.public_key)?;
    same_network(&invite.network, &registrar.network)?;
    Ok(Invite {
        invite_id: invite
            .invite_id
            .as_slice()
            .try_into()
            .map_err(|_| TrustError::Malformed)?,
        network: registrar.network.clone(),
        org: invite.organisation.parse().map_err(|_| TrustError::Malformed)?,
        kind: invite.kind.try_into().map_err(|_| TrustError::Malformed)?,
        name: display_name(invite.name)?,
        seed_public_key: public_key(&invite.seed_public_key)?,
        expires_at_ms: invite.expires_at_ms,
        rekeyed: invite.rekeyed.as_ref().map(Rekeyed::read).transpose()?,
    })
}

fn must_be_valid(registrar: &Registrar, at_ms: i64) -> Result<(), TrustError> {
    if at_ms < registrar.not_before_ms {
        return Err(TrustError::Clock);
    }
    if registrar.valid_at(at_ms) {
        Ok(())
    } else {
        Err(TrustError::Expired)
    }
}

/// Refuses an invite past its end, and one whose end lies further ahead than an invite may live.
fn must_be_usable(invite: &Invite, at_ms: i64) -> Result<(), TrustError> {
    if at_ms >= invite.expires_at_ms {
        return Err(TrustError::Expired);
    }
    let latest = at_ms.saturating_add(INVITE_LIFE_MS).saturating_add(CLOCK_SKEW_MS);
    if invite.expires_at_ms > latest {
        Err(TrustError::Clock)
    } else {
        Ok(())
    }
}

/// Checks size, signer and signature, and only then decodes the statement.
pub(crate) fn open<M: Message + Default>(
    signed: &v1::Signed,
    context: Context,
    key: &PublicKey,
) -> Result<M, TrustError> {
    if signed.statement.len() > STATEMENT_BYTES_MAX {
        return Err(TrustError::TooLarge);
    }
    let signature: [u8; 64] = signed
        .signature
        .as_slice()
        .try_into()
        .map_err(|_| TrustError::Malformed)?;
    if signed.signer != sha256(&[&key.0]) {
        return Err(TrustError::Forged);
    }
    key.verify(context, &[&signed.statement], &Signature(signature))
        .map_err(|_| TrustError::Forged)?;
    M::decode(signed.statement.as_slice()).map_err(|_| TrustError::Malformed)
}

pub(crate) fn same_network(text: &str, network: &NetworkName) -> Result<(), TrustError> {
    if text == network.as_str() {
        Ok(())
    } else {
        Err(TrustError::Foreign)
    }
}

pub(crate) fn public_key(bytes: &[u8]) -> Result<PublicKey, TrustError> {
    bytes.try_into().map(PublicKey).map_err(|_| TrustError::Malformed)
}
