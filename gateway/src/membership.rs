//! Who is a member and with which keys: enrol, renew, publish a binding, list, suspend.
//! Called by the edges of the enrolment and relay services and by the commands. Everything is verified from the root;
//! the gateway's word makes nobody a member.

use kith_proto::problem::Problem;
use kith_proto::receipt::ReceiptError;
use kith_proto::trust::TrustError;
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::StoreError;
use kith_service::tls::issue::IssueError;

mod enrol;
mod given_back;
mod list;
mod lost;
mod publish;
mod renew;
mod returned;
mod standing;

pub use enrol::enrol;
pub use given_back::give_back_rekey;
pub use list::list;
pub use lost::{certificate_counts, rekey, renewing_key, report_lost, resume_due};
pub use publish::publish_binding;
pub use renew::renew;
pub use standing::set_standing;

/// Why membership was not changed, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// A part of the request is missing: send it.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A statement is not believed: see its own words.
    #[error(transparent)]
    Statement(#[from] TrustError),
    /// The invite or its registrar has run out: ask for a new invite.
    #[error("the invite has run out")]
    InviteExpired,
    /// The invite was used with other keys: ask for a new one, and tell the operator if it was not you.
    #[error("the invite was used before")]
    InviteUsed,
    /// The organisation joined with another invite: renew, or ask for a re-key.
    #[error("the organisation is a member already")]
    AlreadyMember,
    /// The network has as many members as it may: ask the operator.
    #[error("the network is full")]
    Full,
    /// The certificate request is unusable: make a new one.
    #[error(transparent)]
    Request(#[from] IssueError),
    /// The renewal is not signed by the member's key, or there is no such member: the two are not told apart.
    #[error("the renewal is not a member's")]
    Renewal,
    /// The renewal's time is more than an hour off: set the clock.
    #[error("the renewal's time is not the gateway's")]
    ClockOff,
    /// Not a member: join first.
    #[error("no such member")]
    NotAMember,
    /// Another binding was published at this number: fetch the chain and tell a person.
    #[error("another binding has this number")]
    Fork,
    /// The member changed meanwhile: ask again.
    #[error("the member changed meanwhile")]
    Moved,
    /// The member has left too much for nothing in this hour: ask again in the next.
    #[error("the member has nothing left of this hour")]
    Budget,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl MembershipError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Missing(_) => Problem::Invalid,
            Self::Statement(error) => error.problem(),
            Self::InviteExpired | Self::Renewal => Problem::Unauthenticated,
            Self::InviteUsed | Self::AlreadyMember | Self::Fork => Problem::Conflict,
            Self::Full => Problem::CapacityFull,
            Self::Request(error) => error.problem(),
            Self::ClockOff => Problem::ClockOff,
            Self::NotAMember => Problem::NotAMember,
            Self::Store(error) => error.problem(),
            Self::Moved | Self::Budget | Self::Random(_) => Problem::Unavailable,
        }
    }

    /// A sentence that fits joining better than the problem's own.
    const fn sentence(&self) -> Option<&'static str> {
        Some(match self {
            Self::Missing(_) => {
                "A part of the request is missing. Make a new one with a current version of Kith."
            }
            Self::InviteExpired => "This invite has run out. Ask the network's operator for a new one.",
            Self::InviteUsed => {
                "This invite was used before, with other keys. Ask for a new one, and tell the operator if it was not you."
            }
            Self::AlreadyMember => {
                "This organisation has already joined this network. Use its node, or ask the operator to change its keys."
            }
            Self::Full => "The network has no room for another organisation. Ask the network's operator.",
            Self::Renewal => {
                "The certificate was not renewed, because the request is not signed by a member of this network."
            }
            Self::Fork => {
                "Other keys were announced for this organisation than this node knows of. Stop, and tell the network's operator."
            }
            Self::Statement(TrustError::Forged | TrustError::Broken | TrustError::Malformed) => {
                "The invite or the keys were altered or are not of this network, so they were not taken. Ask for a new invite."
            }
            Self::Statement(TrustError::Foreign) => {
                "The invite or the keys belong to another network or organisation, so they were not taken."
            }
            _ => return None,
        })
    }
}

impl From<ReceiptError> for MembershipError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Forged => Self::Renewal,
            ReceiptError::Malformed => Self::Statement(TrustError::Malformed),
            ReceiptError::TooLarge => Self::Statement(TrustError::TooLarge),
            ReceiptError::Library => Self::Statement(TrustError::Library),
        }
    }
}

impl From<MembershipError> for Failure {
    fn from(error: MembershipError) -> Self {
        let failure = Self::new(error.problem());
        let failure = match error.sentence() {
            Some(sentence) => failure.with_sentence(sentence),
            None => failure,
        };
        match error {
            MembershipError::Missing(field) => failure.with_field(field, "This is missing."),
            _ => failure,
        }
    }
}
