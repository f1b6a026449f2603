//! Slips that the gate has seen, and those that are stopped. Gate and stop lock the same row of `slip`, so that whichever commits
//! second sees the first. Holds no more of a slip than ids, hashes and its end.

use std::collections::{BTreeMap, BTreeSet};

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
    "WITH v(slip_id, sender, recipient, expires_at_ms, stop_hash, slip_hash) AS (VALUES",
    6,
    "INSERT INTO slip (slip_id, sender, recipient, expires_at_ms, stop_hash, slip_hash, seen) \
     SELECT DISTINCT v.slip_id, v.sender, v.recipient, v.expires_at_ms, v.stop_hash, v.slip_hash, 1 \
     FROM v WHERE 1 = 1 ORDER BY 1 \
     ON CONFLICT (slip_id) DO UPDATE SET seen = slip.seen + 1, expires_at_ms = CASE \
     WHEN excluded.expires_at_ms > slip.expires_at_ms THEN excluded.expires_at_ms ELSE slip.expires_at_ms END \
     RETURNING slip_id, sender, recipient, stop_hash, seen",
);

/// The rows of some slips, by id.
#[derive(Debug, Default)]
pub struct SeenSlips {
    /// What each holds.
    pub rows: BTreeMap<SlipId, SlipRow>,
    /// Those that were not there before.
    pub new: BTreeSet<SlipId>,
}

/// Locks the rows of the slips in one order for everybody, making those that are missing; returns what each row holds, which
/// is not what the envelope showed when the id is another slip's.
pub async fn see(tx: &mut Tx, slips: &BTreeMap<SlipId, Seen>) -> Result<SeenSlips, StoreError> {
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
        })
        .await?;
    let mut found = SeenSlips::default();
    for row in &rows {
        let slip_id = SlipId::from_bytes(bytes(row, "slip", "slip_id")?);
        let seen: i64 = column(row, "slip", "seen")?;
        if seen == 1 {
            found.new.insert(slip_id);
        }
        found.rows.insert(slip_id, read(row)?);
    }
    Ok(found)
}

fn read(row: &Row) -> Result<SlipRow, StoreError> {
    Ok(SlipRow {
        sender: org(row, "slip", "sender")?,
        recipient: org(row, "slip", "recipient")?,
        stop_hash: bytes(row, "slip", "stop_hash")?,
    })
}

const LOCK: &str = "UPDATE slip SET seen = seen WHERE slip_id = $1 RETURNING sender, recipient, stop_hash";

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
    /// The word of `said_by`: empty for the stop secret, which is no member's id.
    fn said_by(&self) -> &str {
        self.organisation.as_ref().map_or("", OrgId::as_str)
    }
}

// In this order of tables, which CROSS JOIN keeps on SQLite too: there are hardly ever stops, and without one no slip is read.
static STOPS: InList = InList::new(
    "SELECT stop.slip_id, stop.said_by, stop.stopped_at_ms FROM stop CROSS JOIN slip \
     WHERE slip.slip_id = stop.slip_id AND (stop.said_by = '' OR stop.said_by = slip.sender OR \
     stop.said_by = slip.recipient) AND stop.slip_id IN",
    0,
    "",
);

/// The first stop that counts of each of these slips: a party's or the stop secret's. Of a slip never seen none counts.
pub async fn stops(tx: &mut Tx, slips: &[SlipId]) -> Result<BTreeMap<SlipId, StopRow>, StoreError> {
    let rows = STOPS
        .all(
            tx,
            slips,
            |query| query,
            |query, id| query.bind(id.as_bytes().to_vec()),
        )
        .await?;
    let mut stops: BTreeMap<SlipId, StopRow> = BTreeMap::new();
    for row in &rows {
        let slip_id = SlipId::from_bytes(bytes(row, "stop", "slip_id")?);
        let stop = read_stop(row)?;
        let first = stops.entry(slip_id).or_insert_with(|| stop.clone());
        if (stop.stopped_at_ms, stop.said_by()) < (first.stopped_at_ms, first.said_by()) {
            *first = stop;
        }
    }
    Ok(stops)
}

fn read_stop(row: &Row) -> Result<StopRow, StoreError> {
    let said_by: String = column(row, "stop", "said_by")?;
    let organisation = match said_by.as_str() {
        "" => None,
        member => Some(member.parse().map_err(|_| StoreError::Corrupt {
            table: "stop",
            column: "said_by",
        })?),
    };
    Ok(StopRow {
        organisation,
        stopped_at_ms: column(row, "stop", "stopped_at_ms")?,
    })
}

const SAID: &str = "SELECT slip_id, said_by, stopped_at_ms FROM stop WHERE slip_id = $1 AND said_by = $2";

/// What a member said of a slip before.
pub async fn said(tx: &mut Tx, slip_id: SlipId, member: &OrgId) -> Result<Option<StopRow>, StoreError> {
    let select = query(SAID)
        .bind(slip_id.as_bytes().to_vec())
        .bind(member.as_str().to_owned());
    tx.one(select).await?.as_ref().map(read_stop).transpose()
}

const STOP: &str = "INSERT INTO stop (slip_id, said_by, stopped_at_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (slip_id, said_by) DO NOTHING";

/// Records a stop; the first word of each who says it stays.
pub async fn stop(tx: &mut Tx, slip_id: SlipId, stop: &StopRow) -> Result<(), StoreError> {
    let insert = query(STOP)
        .bind(slip_id.as_bytes().to_vec())
        .bind(stop.said_by().to_owned())
        .bind(stop.stopped_at_ms);
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
