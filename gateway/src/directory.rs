//! Services in the directory: each signed by its member, listed with it. Called by the edge of `PublishService`.
//! Never lists a service that its member's key in force did not sign.

use crate::changes;
use crate::gateway::Gateway;
use crate::store::counter::{self, Counter};
use crate::store::member;
use crate::store::service::{self, ServiceRow};
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::trust::{self, SERVICES_PER_MEMBER_MAX, TrustError};
use kith_proto::v1;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};

/// Why a service was not published, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Not a member: join first.
    #[error("no such member")]
    NotAMember,
    /// The service is not believed, or beyond a limit: see its own words.
    #[error(transparent)]
    Statement(#[from] TrustError),
    /// The id belongs to another member, or a newer statement of this service is held: make a newer one.
    #[error("this service is held in a newer version, or by another member")]
    Older,
    /// The member has as many services as it may: replace one.
    #[error("the member has too many services")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DirectoryError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotAMember => Problem::NotAMember,
            Self::Statement(error) => error.problem(),
            Self::Older => Problem::Conflict,
            Self::TooMany => Problem::TooLarge,
            Self::Store(error) => error.problem(),
        }
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        let failure = Self::new(error.problem());
        match error {
            DirectoryError::TooMany => failure.with_sentence(
                "This organisation lists as many services as it may. Change one of them instead.",
            ),
            _ => failure,
        }
    }
}

/// Lists or replaces a service of the caller; a repeat of what is held answers the same.
pub async fn publish_service(
    gateway: &Gateway,
    org: &OrgId,
    signed: v1::Signed,
) -> Result<v1::PublishServiceResponse, DirectoryError> {
    let now_ms = gateway.clock.now_ms();
    let known = gateway.member(org).ok_or(DirectoryError::NotAMember)?;
    let service = trust::verify_service(&signed, &known.member, now_ms)?;
    let in_force = known.member.key_at(now_ms).ok_or(TrustError::Clock)?;
    if signed.signer != kith_proto::sign::sha256(&[&in_force.signing_key.0]) {
        return Err(TrustError::Forged.into());
    }
    let row = ServiceRow {
        service_id: service
            .service_id
            .as_slice()
            .try_into()
            .map_err(|_| TrustError::Malformed)?,
        org: org.clone(),
        statement: signed,
        made_at_ms: service.made_at_ms,
        published_at_ms: now_ms,
        changed: 0,
    };
    let row = &row;
    let published_at_ms = gateway
        .store
        .tx("publish_service", |mut tx| async move { put(&mut tx, row).await })
        .await?;
    changes::refresh(gateway).await?;
    Ok(v1::PublishServiceResponse { published_at_ms })
}

/// Writes the service and marks its member as changed; returns when it was published, the first time for a repeat.
async fn put(tx: &mut Tx, row: &ServiceRow) -> Result<i64, DirectoryError> {
    let changed = counter::take(tx, Counter::Change, 1).await?;
    match service::by_id(tx, &row.service_id).await? {
        Some(held) if held.org == row.org && held.statement == row.statement => {
            return Ok(held.published_at_ms);
        }
        Some(_) => {}
        None if service::count_of_org(tx, &row.org).await? >= SERVICES_PER_MEMBER_MAX => {
            return Err(DirectoryError::TooMany);
        }
        None => {}
    }
    let row = ServiceRow {
        changed,
        ..row.clone()
    };
    if !service::put(tx, &row).await? {
        return Err(DirectoryError::Older);
    }
    member::touch(tx, &row.org, changed).await?;
    Ok(row.published_at_ms)
}
