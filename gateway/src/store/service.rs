//! Rows of services in the directory. Called by publishing and by the list of members.
//! A statement is verified before it is written; whoever reads it verifies it again.

use kith_proto::id::OrgId;
use kith_proto::v1;
use kith_service::store::{Row, StoreError, Tx, bytes, column, query};
use prost::Message as _;

const TABLE: &str = "service";

/// A service as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRow {
    /// Its random id, chosen by its member.
    pub service_id: [u8; 16],
    /// The member that offers it.
    pub org: OrgId,
    /// As signed.
    pub statement: v1::Signed,
    /// When it was made, as its member says; a later one replaces an earlier one.
    pub made_at_ms: i64,
    /// When the gateway took it.
    pub published_at_ms: i64,
    /// The change counter of its last change.
    pub changed: i64,
}

impl TryFrom<Row> for ServiceRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt { table: TABLE, column };
        let org: String = column(&row, TABLE, "organisation")?;
        let statement: Vec<u8> = column(&row, TABLE, "statement")?;
        Ok(Self {
            service_id: bytes(&row, TABLE, "service_id")?,
            org: org.parse().map_err(|_| corrupt("organisation"))?,
            statement: v1::Signed::decode(statement.as_slice()).map_err(|_| corrupt("statement"))?,
            made_at_ms: column(&row, TABLE, "made_at_ms")?,
            published_at_ms: column(&row, TABLE, "published_at_ms")?,
            changed: column(&row, TABLE, "changed")?,
        })
    }
}

const BY_ID: &str = "SELECT service_id, organisation, statement, made_at_ms, published_at_ms, changed \
    FROM service WHERE service_id = $1";

/// Returns one service.
pub async fn by_id(tx: &mut Tx, service_id: &[u8; 16]) -> Result<Option<ServiceRow>, StoreError> {
    let row = tx.one(query(BY_ID).bind(service_id.to_vec())).await?;
    row.map(ServiceRow::try_from).transpose()
}

const OF_ORG: &str = "SELECT service_id, organisation, statement, made_at_ms, published_at_ms, changed \
    FROM service WHERE organisation = $1 ORDER BY service_id LIMIT $2";

/// Returns at most `limit` services of a member.
pub async fn of_org(tx: &mut Tx, org: &OrgId, limit: usize) -> Result<Vec<ServiceRow>, StoreError> {
    let select = query(OF_ORG)
        .bind(org.as_str().to_owned())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = tx.all(select).await?;
    rows.into_iter().map(ServiceRow::try_from).collect()
}

const COUNT_OF_ORG: &str = "SELECT COUNT(*) AS services FROM service WHERE organisation = $1";

/// Counts the services of a member.
pub async fn count_of_org(tx: &mut Tx, org: &OrgId) -> Result<usize, StoreError> {
    let row = tx.one(query(COUNT_OF_ORG).bind(org.as_str().to_owned())).await?;
    let count: i64 = row.map_or(Ok(0), |row| column(&row, TABLE, "services"))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

const PUT: &str = "INSERT INTO service (service_id, organisation, statement, made_at_ms, published_at_ms, changed) \
    VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (service_id) DO UPDATE SET statement = excluded.statement, made_at_ms = excluded.made_at_ms, \
    published_at_ms = excluded.published_at_ms, changed = excluded.changed \
    WHERE service.organisation = excluded.organisation AND service.made_at_ms < excluded.made_at_ms";

/// Inserts a service or replaces an older one of the same member; says whether it did.
pub async fn put(tx: &mut Tx, row: &ServiceRow) -> Result<bool, StoreError> {
    let put = query(PUT)
        .bind(row.service_id.to_vec())
        .bind(row.org.as_str().to_owned())
        .bind(row.statement.encode_to_vec())
        .bind(row.made_at_ms)
        .bind(row.published_at_ms)
        .bind(row.changed);
    Ok(tx.run(put).await? == 1)
}
