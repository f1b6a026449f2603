//! The list of members, their chains and services, for a node's own copy. What it says is worth what the node can verify.

use super::MembershipError;
use crate::gateway::Gateway;
use crate::limits::{MEMBERS_PAGE_BYTES_MAX, MEMBERS_PAGE_DEFAULT, MEMBERS_PAGE_MAX};
use crate::members::Standing;
use crate::store::counter::{self, Counter};
use crate::store::{member, service};
use kith_proto::trust::SERVICES_PER_MEMBER_MAX;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

/// Returns the members that changed after the cursor, in the order of their last change, with the cursor to go on from.
/// A page ends at `page_size` members (0: the default) or at its limit of bytes, but has at least one while there are more.
pub async fn list(
    gateway: &Gateway,
    request: v1::ListMembersRequest,
) -> Result<v1::ListMembersResponse, MembershipError> {
    let after = i64::try_from(request.after).unwrap_or(i64::MAX);
    let size = match usize::try_from(request.page_size).unwrap_or(MEMBERS_PAGE_MAX) {
        0 => MEMBERS_PAGE_DEFAULT,
        size => size.min(MEMBERS_PAGE_MAX),
    };
    let page = gateway
        .store
        .read("list_members", |mut tx| async move {
            page(&mut tx, after, size).await
        })
        .await?;
    Ok(page)
}

async fn page(tx: &mut Tx, after: i64, size: usize) -> Result<v1::ListMembersResponse, StoreError> {
    let end = counter::read(tx, Counter::Change).await?;
    // One more than asked for says whether there are more.
    let mut rows = member::changed_after(tx, after, size + 1).await?;
    let mut more = rows.len() > size;
    rows.truncate(size);
    let mut members = Vec::with_capacity(rows.len());
    let (mut bytes, mut cursor) = (0, after);
    for row in rows {
        let services = service::of_org(tx, &row.org, SERVICES_PER_MEMBER_MAX).await?;
        let listed = v1::Member {
            organisation: row.org.as_str().to_owned(),
            name: row.name,
            kind: row.kind.number(),
            suspended: row.state == Standing::Suspended,
            chain: Some(row.chain),
            services: services.into_iter().map(|service| service.statement).collect(),
        };
        bytes += listed.encoded_len();
        if bytes > MEMBERS_PAGE_BYTES_MAX && !members.is_empty() {
            more = true;
            break;
        }
        cursor = row.changed;
        members.push(listed);
    }
    if !more {
        cursor = end.max(after);
    }
    Ok(v1::ListMembersResponse {
        members,
        cursor: cursor.unsigned_abs(),
        more,
    })
}
