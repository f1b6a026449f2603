//! Writes invites, where the registrar's key is. Called by the command `invite` and by the demo.
//! The gateway itself never calls this: it admits nobody.

use crate::keys::RegistrarKeys;
use kith_proto::id::{InviteId, OrgId};
use kith_proto::problem::Problem;
use kith_proto::sign::{SigningFailed, SigningKey};
use kith_proto::trust::{self, InviteTerms, InviteToken, Rekeyed, TokenError, TrustError};
use kith_proto::words::OrganisationKind;
use kith_service::clock::Clock;
use kith_service::rng::{RandomFailed, Rng};

/// Whom to invite.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Its id from now on.
    pub org: OrgId,
    /// What sort of body it is.
    pub kind: OrganisationKind,
    /// Its display name.
    pub name: String,
}

/// Why no invite was written, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The name has control characters or is too long, or the signing failed.
    #[error(transparent)]
    Statement(#[from] TrustError),
    /// The gateway's address is too long for a token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The signing library failed: try again.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
}

impl InviteError {
    /// The problem code that an edge answers.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Statement(error) => error.problem(),
            Self::Token(error) => error.problem(),
            Self::Random(_) | Self::Signing(_) => Problem::Unavailable,
        }
    }
}

/// Returns the token that lets one organisation join once within 24 hours.
pub fn token(
    keys: &RegistrarKeys,
    invited: Invited,
    clock: &Clock,
    rng: &Rng,
) -> Result<String, InviteError> {
    issue(keys, invited, None, (clock, rng))
}

/// Returns the token that lets a member that has lost its keys go on once within 24 hours with new ones.
pub fn rekey_token(
    keys: &RegistrarKeys,
    invited: Invited,
    rekeyed: &Rekeyed,
    clock: &Clock,
    rng: &Rng,
) -> Result<String, InviteError> {
    issue(keys, invited, Some(rekeyed), (clock, rng))
}

fn issue(
    keys: &RegistrarKeys,
    invited: Invited,
    rekeyed: Option<&Rekeyed>,
    (clock, rng): (&Clock, &Rng),
) -> Result<String, InviteError> {
    let seed = rng.bytes()?;
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes(rng.bytes()?),
        network: keys.network.clone(),
        org: invited.org,
        kind: invited.kind,
        name: invited.name,
        seed_public_key: SigningKey::from_seed(seed)?.public(),
    };
    let token = InviteToken {
        gateway: keys.public_address.clone(),
        root: keys.root,
        seed,
        registrar: keys.registrar.clone(),
        invite: match rekeyed {
            Some(rekeyed) => trust::issue_rekey_invite(&keys.signing, terms, rekeyed, clock.now_ms())?,
            None => trust::issue_invite(&keys.signing, terms, clock.now_ms())?,
        },
        issuer: keys.issuer.clone(),
        policy: keys.policy.clone(),
    };
    Ok(token.encode()?)
}
