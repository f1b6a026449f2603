//! Rows of the trail: an event with its number, salt and preimage. Called by every use-case, last in the transaction of what it
//! records; rows are never changed, and a preimage is what opens a leaf.
//! Never writes a row without its own salt.

use crate::store::{InList, Insert, Row, StoreError, Tx, bytes, column, query};
use kith_proto::trail::leaf::Salt;
use kith_proto::trail::{Code, Event, Leaf};

const TABLE: &str = "audit_event";

static INSERT: Insert = Insert::into(
    "INSERT INTO audit_event (seq, at_ms, code, salt, preimage)",
    5,
    "",
);

/// Inserts events in their order, numbered from `first` on, each with its salt: 16 fresh random bytes.
pub async fn insert(tx: &mut Tx, first: i64, events: &[(&Event, Salt)]) -> Result<(), StoreError> {
    if super::is_off() {
        return Ok(());
    }
    let rows: Vec<(i64, &(&Event, Salt))> = (first..).zip(events).collect();
    let inserted = INSERT.rows(tx, &rows, |query, (seq, (event, salt))| {
        query
            .bind(*seq)
            .bind(event.at_ms())
            .bind(event.code().as_str())
            .bind(salt.to_vec())
            .bind(event.preimage().as_bytes().to_vec())
    });
    inserted.await.map(drop)
}

/// An event as stored: what opens a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order of commits.
    pub seq: i64,
    /// What happened.
    pub code: Code,
    /// Hides the preimage until it is opened.
    pub salt: Salt,
    /// As [`Event::preimage`].
    pub preimage: String,
}

impl Stored {
    /// The leaf that it is in the log.
    pub fn leaf(&self) -> Leaf {
        Leaf::new(self.code, &self.salt, &self.preimage)
    }
}

const AFTER: &str = "SELECT seq, code, salt, preimage FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT $2";

/// Returns at most `limit` events after the numbered one, in order.
pub async fn after(tx: &mut Tx, seq: i64, limit: i64) -> Result<Vec<Stored>, StoreError> {
    let rows = tx.all(query(AFTER).bind(seq).bind(limit)).await?;
    rows.iter().map(read).collect()
}

static THOSE: InList = InList::new(
    "SELECT seq, code, salt, preimage FROM audit_event WHERE seq IN",
    0,
    "",
);

/// Returns the events of these numbers, ascending; those that do not exist are left out.
pub async fn those(tx: &mut Tx, seqs: &[i64]) -> Result<Vec<Stored>, StoreError> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = THOSE
        .all(tx, seqs, |query| query, |query, seq| query.bind(*seq))
        .await?;
    let mut events: Vec<Stored> = rows.iter().map(read).collect::<Result<_, _>>()?;
    events.sort_unstable_by_key(|event| event.seq);
    Ok(events)
}

/// Reads a row with the columns `seq`, `code`, `salt` and `preimage`.
pub fn read(row: &Row) -> Result<Stored, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: TABLE, column };
    let code: String = column(row, TABLE, "code")?;
    let preimage: Vec<u8> = column(row, TABLE, "preimage")?;
    Ok(Stored {
        seq: column(row, TABLE, "seq")?,
        code: code.parse().map_err(|_| corrupt("code"))?,
        salt: bytes(row, TABLE, "salt")?,
        preimage: String::from_utf8(preimage).map_err(|_| corrupt("preimage"))?,
    })
}
