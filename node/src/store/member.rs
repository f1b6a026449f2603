//! The signed directory as last listed, from which the verified copy is made again at start.
//! Called when a node opens, and by the link when the directory changed.
//! Never the ground for a belief: what is read here is verified again.

use kith_proto::v1;
use kith_service::store::{Insert, StoreError, Tx, column, query};
use prost::Message as _;

const TABLE: &str = "member";
const ALL: &str = "SELECT member, suspended FROM member ORDER BY organisation LIMIT 10000";

/// Every member as it was listed.
pub async fn all(tx: &mut Tx) -> Result<Vec<v1::Member>, StoreError> {
    let mut members = Vec::new();
    for row in tx.all(query(ALL)).await? {
        let bytes: Vec<u8> = column(&row, TABLE, "member")?;
        let corrupt = StoreError::Corrupt {
            table: TABLE,
            column: "member",
        };
        members.push(v1::Member::decode(bytes.as_slice()).map_err(|_| corrupt)?);
    }
    Ok(members)
}

static PUT: Insert = Insert::into(
    "INSERT INTO member (organisation, member, suspended, checked_at_ms)",
    4,
    "ON CONFLICT (organisation) DO UPDATE SET member = excluded.member, suspended = excluded.suspended, \
     checked_at_ms = excluded.checked_at_ms",
);

/// Writes members that were verified, no organisation twice.
pub async fn put(tx: &mut Tx, members: &[v1::Member], checked_at_ms: i64) -> Result<(), StoreError> {
    let put = PUT.rows(tx, members, |q, member| {
        q.bind(member.organisation.clone())
            .bind(member.encode_to_vec())
            .bind(i64::from(member.suspended))
            .bind(checked_at_ms)
    });
    put.await.map(drop)
}
