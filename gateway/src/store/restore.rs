//! Members that came back from a backup, each of their restores once. Written and read by `restore`, read by the take door for what
//! comes again outside the order, forgotten by the sweeper.
//! Never holds what was lost, only when.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{OrgId, SlipId};
use kith_proto::v1;
use kith_service::store::{InList, Row, StoreError, Tx, bytes, column, query};

use super::pair::org;

const TABLE: &str = "member_restore";

/// One restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreRow {
    /// Up to when the backup reaches, by the gateway's time.
    pub backup_at_ms: i64,
    /// When it was told.
    pub at_ms: i64,
}

const FIND: &str =
    "SELECT backup_at_ms, at_ms FROM member_restore WHERE organisation = $1 AND restore_id = $2";

/// A restore that was told before.
pub async fn find(
    tx: &mut Tx,
    member: &OrgId,
    restore_id: &[u8; 16],
) -> Result<Option<RestoreRow>, StoreError> {
    let select = query(FIND)
        .bind(member.as_str().to_owned())
        .bind(restore_id.to_vec());
    tx.one(select).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<RestoreRow, StoreError> {
    Ok(RestoreRow {
        backup_at_ms: column(row, TABLE, "backup_at_ms")?,
        at_ms: column(row, TABLE, "at_ms")?,
    })
}

const COUNT: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM member_restore WHERE organisation = $1 AND at_ms > $2";

/// How many restores of a member were told after a time.
pub async fn count_after(tx: &mut Tx, member: &OrgId, after_ms: i64) -> Result<i64, StoreError> {
    let select = query(COUNT).bind(member.as_str().to_owned()).bind(after_ms);
    let row = tx.one(select).await?;
    row.map_or(Ok(0), |row| column(&row, TABLE, "n"))
}

const INSERT: &str =
    "INSERT INTO member_restore (organisation, restore_id, backup_at_ms, at_ms) VALUES ($1, $2, $3, $4)";

/// Puts a restore down that was not told before.
pub async fn insert(
    tx: &mut Tx,
    member: &OrgId,
    restore_id: &[u8; 16],
    row: RestoreRow,
) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(member.as_str().to_owned())
        .bind(restore_id.to_vec())
        .bind(row.backup_at_ms)
        .bind(row.at_ms);
    tx.run(insert).await.map(drop)
}

static LAST: InList = InList::new(
    "SELECT organisation, CAST(MIN(backup_at_ms) AS BIGINT) AS backup_at_ms, CAST(MAX(at_ms) AS BIGINT) AS at_ms \
     FROM member_restore WHERE at_ms > $1 AND organisation IN",
    1,
    "GROUP BY organisation",
);

/// Those of the members that told a restore after a time: the oldest of their backups, and when they told it last.
pub async fn last_after(
    tx: &mut Tx,
    members: &BTreeSet<&OrgId>,
    after_ms: i64,
) -> Result<BTreeMap<OrgId, RestoreRow>, StoreError> {
    let members: Vec<&OrgId> = members.iter().copied().collect();
    let rows = LAST
        .all(
            tx,
            &members,
            |query| query.bind(after_ms),
            |query, member| query.bind(member.as_str().to_owned()),
        )
        .await?;
    rows.iter()
        .map(|row| Ok((org(row, TABLE, "organisation")?, read(row)?)))
        .collect()
}

const FORGET: &str = "DELETE FROM member_restore WHERE at_ms <= $1";

/// Forgets restores that were told before.
pub async fn forget(tx: &mut Tx, at_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET).bind(at_ms)).await
}

const OTHERS: &str = "SELECT sender, recipient FROM pair WHERE sender = $1 OR recipient = $1 LIMIT 2000";

/// Everybody between whom and the member anything ever went, in either direction.
pub async fn others(tx: &mut Tx, member: &OrgId) -> Result<BTreeSet<OrgId>, StoreError> {
    let rows = tx.all(query(OTHERS).bind(member.as_str().to_owned())).await?;
    let mut others = BTreeSet::new();
    for row in &rows {
        others.insert(org(row, "pair", "sender")?);
        others.insert(org(row, "pair", "recipient")?);
    }
    others.remove(member);
    Ok(others)
}

/// Stops of one message.
const STOPS_PAGE: i64 = 1024;
const STOPS: &str = "SELECT stop.slip_id, CAST(MIN(stop.stopped_at_ms) AS BIGINT) AS stopped_at_ms, \
     CAST(MAX(CASE WHEN stop.said_by = '' THEN 1 ELSE 0 END) AS BIGINT) AS by_secret \
     FROM stop LEFT JOIN slip ON slip.slip_id = stop.slip_id WHERE stop.slip_id > $1 AND \
     (((slip.sender = $2 OR slip.recipient = $2) AND (stop.said_by = '' OR stop.said_by = slip.sender \
     OR stop.said_by = slip.recipient)) OR (slip.slip_id IS NULL AND stop.said_by = $2)) \
     GROUP BY stop.slip_id ORDER BY stop.slip_id LIMIT $3";

/// The stopped slips of which a member is a party, and those that it said itself of slips that were never seen; after a slip, in the
/// order of ids, a page; none after the last.
pub async fn stops(tx: &mut Tx, member: &OrgId, after: &[u8]) -> Result<Vec<v1::SlipStopped>, StoreError> {
    let select = query(STOPS)
        .bind(after.to_vec())
        .bind(member.as_str().to_owned())
        .bind(STOPS_PAGE);
    let stopped = |row: &Row| {
        let slip_id = SlipId::from_bytes(bytes(row, "stop", "slip_id")?);
        let by_secret: i64 = column(row, "stop", "by_secret")?;
        Ok(v1::SlipStopped {
            slip_id: slip_id.as_bytes().to_vec(),
            stopped_at_ms: column(row, "stop", "stopped_at_ms")?,
            by_secret: by_secret == 1,
        })
    };
    tx.all(select).await?.iter().map(stopped).collect()
}

const TOLD: &str = "INSERT INTO stops_told (organisation, epoch) VALUES ($1, $2) \
     ON CONFLICT (organisation) DO UPDATE SET epoch = excluded.epoch WHERE stops_told.epoch < excluded.epoch";

/// Notes that a member has told every stop in an epoch of the gateway's log; says whether that is new.
pub async fn stops_told(tx: &mut Tx, member: &OrgId, epoch: u64) -> Result<bool, StoreError> {
    let told = query(TOLD).bind(member.as_str().to_owned());
    Ok(tx.run(told.bind(epoch.cast_signed())).await? == 1)
}

const ALL_TOLD: &str = "SELECT organisation FROM stops_told WHERE epoch = $1 LIMIT 10000";

/// The members that have told every stop in an epoch.
pub async fn all_told(tx: &mut Tx, epoch: u64) -> Result<BTreeSet<OrgId>, StoreError> {
    let rows = tx.all(query(ALL_TOLD).bind(epoch.cast_signed())).await?;
    rows.iter()
        .map(|row| org(row, "stops_told", "organisation"))
        .collect()
}
