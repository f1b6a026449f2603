//! Slips that the gate has seen, and those that are stopped. Gate and stop lock the same row of `slip`, so that whichever commits
//! second sees the first. Holds no more of a slip than ids, hashes and its end.

use std::collections::BTreeMap;

use kith_proto::id::{OrgId, SlipId};
use kith_service::store::{InList, Row, StoreError, Tx, WithRows, bytes, column, query};

use super::pair::org;

/// A slip as its first envelope showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlipRow {
    /// The capturing member.
    pub sender: OrgId,
    /// The other one.
    pub recipient: OrgId,
    /// SHA-256 of its stop secret.
    pub stop_hash: [u8; 32],
}

impl SlipRow {
    /// Whether the member is one of its two parties.
    pub fn has(&self, member: &OrgId) -> bool {
        self.sender == *member || self.recipient == *member
    }
}

/// A slip on an envelope, to be seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the row keeps.
    pub row: SlipRow,
    /// The first millisecond at which it no longer holds.
    pub expires_at_ms: i64,
    /// SHA-256 of the slip as signed.
    pub slip_hash: [u8; 32],
}

static SEE: WithRows = WithRows::new(
    "WITH v(slip_id, sender, recipient, expires_at_ms, stop_hash, slip_hash, seen_at_ms) AS (VALUES",
    7,
    "INSERT INTO slip (slip_id, sender, recipient, expires_at_ms, stop_hash, slip_hash, seen_at_ms) \
     SELECT DISTINCT v.slip_id, v.sender, v.recipient, v.expires_at_ms, v.stop_hash, v.slip_hash, v.seen_at_ms \
     FROM v WHERE 1 = 1 ORDER BY 1 \
     ON CONFLICT (slip_id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms, expires_at_ms = CASE \
     WHEN excluded.expires_at_ms > slip.expires_at_ms THEN excluded.expires_at_ms ELSE slip.expires_at_ms END \
     RETURNING slip_id, sender, recipient, stop_hash",
);

/// Locks the rows of the slips in one order for everybody, making those that are missing; returns what each row holds, which
/// is not what the envelope showed when the id is another slip's.
pub async fn see(
    tx: &mut Tx,
    slips: &BTreeMap<SlipId, Seen>,
    now_ms: i64,
) -> Result<BTreeMap<SlipId, SlipRow>, StoreError> {
    let slips: Vec<(&SlipId, &Seen)> = slips.iter().collect();
    let rows = SEE
        .all(tx, &slips, |query, (id, seen)| {
            query
                .bind(id.as_bytes().to_vec())
                .bind(seen.row.sender.as_str().to_owned())
                .bind(seen.row.recipient.as_str().to_owned())
                .bind(seen.expires_at_ms)
                .bind(seen.row.stop_hash.to_vec())
                .bind(seen.slip_hash.to_vec())
                .bind(now_ms)
        })
        .await?;
    rows.iter()
        .map(|row| Ok((SlipId::from_bytes(bytes(row, "slip", "slip_id")?), read(row)?)))
        .collect()
}

fn read(row: &Row) -> Result<SlipRow, StoreError> {
    Ok(SlipRow {
        sender: org(row, "slip", "sender")?,
        recipient: org(row, "slip", "recipient")?,
        stop_hash: bytes(row, "slip", "stop_hash")?,
    })
}

const LOCK: &str =
    "UPDATE slip SET seen_at_ms = seen_at_ms WHERE slip_id = $1 RETURNING sender, recipient, stop_hash";

/// Locks the row of one slip; `None` when the gate never saw it.
pub async fn lock(tx: &mut Tx, slip_id: SlipId) -> Result<Option<SlipRow>, StoreError> {
    let row = tx.one(query(LOCK).bind(slip_id.as_bytes().to_vec())).await?;
    row.as_ref().map(read).transpose()
}

/// A stop as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRow {
    /// The member that said so; `None` for the stop secret.
    pub organisation: Option<OrgId>,
    /// When.
    pub stopped_at_ms: i64,
}

impl StopRow {
    /// Whether it stops a slip of these parties: a stop by anybody else, recorded before the slip was seen, does not.
    pub fn counts_for(&self, slip: &SlipRow) -> bool {
        self.organisation.as_ref().is_none_or(|member| slip.has(member))
    }
}

static STOPS: InList = InList::new(
    "SELECT slip_id, organisation, stopped_at_ms FROM stop WHERE slip_id IN",
    0,
    "",
);

/// The stops recorded for these slips.
pub async fn stops(tx: &mut Tx, slips: &[SlipId]) -> Result<BTreeMap<SlipId, StopRow>, StoreError> {
    let rows = STOPS
        .all(
            tx,
            slips,
            |query| query,
            |query, id| query.bind(id.as_bytes().to_vec()),
        )
        .await?;
    rows.iter()
        .map(|row| {
            let member: Option<String> = column(row, "stop", "organisation")?;
            let organisation =
                member
                    .map(|text| text.parse())
                    .transpose()
                    .map_err(|_| StoreError::Corrupt {
                        table: "stop",
                        column: "organisation",
                    })?;
            let stop = StopRow {
                organisation,
                stopped_at_ms: column(row, "stop", "stopped_at_ms")?,
            };
            Ok((SlipId::from_bytes(bytes(row, "stop", "slip_id")?), stop))
        })
        .collect()
}

const STOP: &str = "INSERT INTO stop (slip_id, organisation, stopped_at_ms, by_secret) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (slip_id) DO UPDATE SET organisation = excluded.organisation, \
     stopped_at_ms = excluded.stopped_at_ms, by_secret = excluded.by_secret";

/// Records a stop, in the place of one that does not count.
pub async fn stop(tx: &mut Tx, slip_id: SlipId, stop: &StopRow) -> Result<(), StoreError> {
    let insert = query(STOP)
        .bind(slip_id.as_bytes().to_vec())
        .bind(
            stop.organisation
                .as_ref()
                .map(|member| member.as_str().to_owned()),
        )
        .bind(stop.stopped_at_ms)
        .bind(i64::from(stop.organisation.is_none()));
    tx.run(insert).await.map(drop)
}

const FORGET_STOPS: &str = "DELETE FROM stop WHERE slip_id IN (SELECT slip_id FROM slip WHERE expires_at_ms <= $1) \
     OR (stopped_at_ms <= $2 AND slip_id NOT IN (SELECT slip_id FROM slip))";
const FORGET: &str = "DELETE FROM slip WHERE expires_at_ms <= $1";

/// Forgets slips that ended before `ended_ms`, with their stops, and stops of slips never seen from before `unseen_ms`.
pub async fn forget(tx: &mut Tx, ended_ms: i64, unseen_ms: i64) -> Result<u64, StoreError> {
    let stops = tx.run(query(FORGET_STOPS).bind(ended_ms).bind(unseen_ms)).await?;
    let slips = tx.run(query(FORGET).bind(ended_ms)).await?;
    Ok(stops + slips)
}
