//! Members whose keys were reported lost. Called by the membership use-cases and the sweep.
//! A row outlives the re-key: what the lost keys sign or were given must not count again. It is read with the member's own row.

use kith_proto::id::OrgId;
use kith_service::store::{StoreError, Tx, query};

use super::pair::org;

const TABLE: &str = "lost_keys";

const REPORT: &str = "INSERT INTO lost_keys (organisation, lost_at_ms, bindings, resume_at_ms) VALUES ($1, $2, $3, NULL) \
    ON CONFLICT (organisation) DO UPDATE SET lost_at_ms = excluded.lost_at_ms, bindings = excluded.bindings, resume_at_ms = NULL";

/// Writes down that the keys of a member's first `bindings` bindings are lost, and that nothing ends its suspension by itself.
pub async fn report(tx: &mut Tx, member: &OrgId, at_ms: i64, bindings: i64) -> Result<(), StoreError> {
    let report = query(REPORT)
        .bind(member.as_str().to_owned())
        .bind(at_ms)
        .bind(bindings);
    tx.run(report).await.map(drop)
}

const RESUME_AT: &str = "UPDATE lost_keys SET resume_at_ms = $1 WHERE organisation = $2";

/// Says when a member's suspension ends by itself; `None` for never.
pub async fn resume_at(tx: &mut Tx, member: &OrgId, at_ms: Option<i64>) -> Result<(), StoreError> {
    let set = query(RESUME_AT).bind(at_ms).bind(member.as_str().to_owned());
    tx.run(set).await.map(drop)
}

const DUE: &str =
    "SELECT organisation FROM lost_keys WHERE resume_at_ms <= $1 ORDER BY organisation LIMIT 100";

/// The members whose new keys have taken effect, at most a hundred.
pub async fn due(tx: &mut Tx, now_ms: i64) -> Result<Vec<OrgId>, StoreError> {
    let rows = tx.all(query(DUE).bind(now_ms)).await?;
    rows.iter().map(|row| org(row, TABLE, "organisation")).collect()
}
