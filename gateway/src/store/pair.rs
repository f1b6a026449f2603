//! The order of each pair of members: the last position taken, and the bytes that wait. Called by the take and settle doors, by
//! stops and sweeps. The row is the pair's lock: whoever takes envelopes of a pair holds it until the commit.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_service::store::{InList, Row, StoreError, Tx, WithRows, bytes, column, query};

/// Two members, in the direction in which envelopes go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Who sends.
    pub sender: OrgId,
    /// For whom.
    pub recipient: OrgId,
}

/// Where a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRow {
    /// The last position taken.
    pub position: Position,
    /// Bytes of its envelopes that wait.
    pub mailbox_bytes: i64,
}

static LOCK: WithRows = WithRows::new(
    "WITH v(sender, recipient, envelope_hash) AS (VALUES",
    3,
    "INSERT INTO pair (sender, recipient, number, envelope_hash, mailbox_bytes) \
     SELECT DISTINCT v.sender, v.recipient, 0, v.envelope_hash, 0 FROM v WHERE 1 = 1 ORDER BY 1, 2 \
     ON CONFLICT (sender, recipient) DO UPDATE SET number = pair.number \
     RETURNING sender, recipient, number, envelope_hash, mailbox_bytes",
);

/// Locks the rows of the pairs in one order for everybody, making those that are missing, and returns them.
pub async fn lock(tx: &mut Tx, pairs: &BTreeSet<Pair>) -> Result<BTreeMap<Pair, PairRow>, StoreError> {
    let pairs: Vec<&Pair> = pairs.iter().collect();
    let rows = LOCK
        .all(tx, &pairs, |query, pair| {
            query
                .bind(pair.sender.as_str().to_owned())
                .bind(pair.recipient.as_str().to_owned())
                .bind(Vec::<u8>::new())
        })
        .await?;
    rows.iter().map(read).collect()
}

/// The pair that a row is of.
pub(super) fn of_row(row: &Row, table: &'static str) -> Result<Pair, StoreError> {
    Ok(Pair {
        sender: org(row, table, "sender")?,
        recipient: org(row, table, "recipient")?,
    })
}

fn read(row: &Row) -> Result<(Pair, PairRow), StoreError> {
    let pair = of_row(row, "pair")?;
    let row = PairRow {
        position: position(row)?,
        mailbox_bytes: column(row, "pair", "mailbox_bytes")?,
    };
    Ok((pair, row))
}

fn position(row: &Row) -> Result<Position, StoreError> {
    let number = number(row, "pair")?;
    if number == 0 {
        return Ok(Position::START);
    }
    Ok(Position::at(number, bytes(row, "pair", "envelope_hash")?))
}

/// Reads a member's id.
pub(super) fn org(row: &Row, table: &'static str, name: &'static str) -> Result<OrgId, StoreError> {
    let text: String = column(row, table, name)?;
    text.parse()
        .map_err(|_| StoreError::Corrupt { table, column: name })
}

pub(super) fn number(row: &Row, table: &'static str) -> Result<u64, StoreError> {
    let number: i64 = column(row, table, "number")?;
    u64::try_from(number).map_err(|_| StoreError::Corrupt {
        table,
        column: "number",
    })
}

/// A number of a pair as a column holds it.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How far one pair moved in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The position after the batch.
    pub position: Position,
    /// Bytes added to its mailbox.
    pub bytes: i64,
}

static ADVANCE: WithRows = WithRows::new(
    "WITH v(sender, recipient, number, envelope_hash, bytes) AS (VALUES",
    5,
    "UPDATE pair SET number = v.number, envelope_hash = v.envelope_hash, \
     mailbox_bytes = pair.mailbox_bytes + v.bytes FROM v \
     WHERE pair.sender = v.sender AND pair.recipient = v.recipient",
);

/// Writes where locked pairs stand after a batch.
pub async fn advance(tx: &mut Tx, moved: &BTreeMap<Pair, Moved>) -> Result<(), StoreError> {
    let rows: Vec<(&Pair, &Moved)> = moved.iter().collect();
    ADVANCE
        .run(tx, &rows, |query, (pair, moved)| {
            query
                .bind(pair.sender.as_str().to_owned())
                .bind(pair.recipient.as_str().to_owned())
                .bind(stored(moved.position.number()))
                .bind(
                    moved
                        .position
                        .hash()
                        .map(|hash| hash.to_vec())
                        .unwrap_or_default(),
                )
                .bind(moved.bytes)
        })
        .await
        .map(drop)
}

static RELEASE: WithRows = WithRows::new(
    "WITH v(sender, recipient, bytes) AS (VALUES",
    3,
    "UPDATE pair SET mailbox_bytes = pair.mailbox_bytes - v.bytes FROM v \
     WHERE pair.sender = v.sender AND pair.recipient = v.recipient",
);

/// Takes bytes off that no longer wait.
pub async fn release(tx: &mut Tx, freed: &BTreeMap<Pair, i64>) -> Result<(), StoreError> {
    let rows: Vec<(&Pair, i64)> = freed.iter().map(|(pair, bytes)| (pair, *bytes)).collect();
    RELEASE
        .run(tx, &rows, |query, (pair, bytes)| {
            query
                .bind(pair.sender.as_str().to_owned())
                .bind(pair.recipient.as_str().to_owned())
                .bind(*bytes)
        })
        .await
        .map(drop)
}

static WAITING: InList = InList::new(
    "SELECT recipient, CAST(SUM(mailbox_bytes) AS BIGINT) AS mailbox_bytes FROM pair WHERE recipient IN",
    0,
    "GROUP BY recipient",
);

/// Bytes that wait for each recipient, from all senders.
pub async fn waiting(tx: &mut Tx, recipients: &BTreeSet<&OrgId>) -> Result<BTreeMap<OrgId, i64>, StoreError> {
    let recipients: Vec<&OrgId> = recipients.iter().copied().collect();
    let rows = WAITING
        .all(
            tx,
            &recipients,
            |query| query,
            |query, recipient| query.bind(recipient.as_str().to_owned()),
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok((
                org(row, "pair", "recipient")?,
                column(row, "pair", "mailbox_bytes")?,
            ))
        })
        .collect()
}

const TO: &str = "SELECT sender, recipient, number, envelope_hash, mailbox_bytes FROM pair \
     WHERE recipient = $1 ORDER BY sender LIMIT $2";

/// Every pair on which a member receives, at most `rows_max`.
pub async fn received_by(
    tx: &mut Tx,
    recipient: &OrgId,
    rows_max: usize,
) -> Result<BTreeMap<Pair, PairRow>, StoreError> {
    let select = query(TO)
        .bind(recipient.as_str().to_owned())
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    tx.all(select).await?.iter().map(read).collect()
}

const SENT: &str = "SELECT recipient, number, envelope_hash FROM pair \
     WHERE sender = $1 AND number > 0 ORDER BY recipient LIMIT $2";

/// The last position of each pair on which a member sends, at most `rows_max`.
pub async fn sent_by(
    tx: &mut Tx,
    sender: &OrgId,
    rows_max: usize,
) -> Result<Vec<(OrgId, Position)>, StoreError> {
    let select = query(SENT)
        .bind(sender.as_str().to_owned())
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let rows = tx.all(select).await?;
    rows.iter()
        .map(|row| Ok((org(row, "pair", "recipient")?, position(row)?)))
        .collect()
}
