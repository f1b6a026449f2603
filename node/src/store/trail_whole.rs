//! Rows as they stand, for holding them against the log: words, numbers and bytes that nothing has judged yet.
//! Called by `trail::whole` alone. Never refuses a row for what it holds: naming it is the caller's work.

use kith_service::store::{Row, StoreError, Tx, column, query};

/// Most rows of one table that are held against the log at once: what a node of the largest sort has in years.
const ROWS_MAX: i64 = 4_000_000;

/// An event as it stands.
pub(crate) struct RawEvent {
    pub(crate) seq: i64,
    pub(crate) at_ms: i64,
    pub(crate) code: String,
    pub(crate) salt: Vec<u8>,
    pub(crate) preimage: Vec<u8>,
}

const EVENTS: &str =
    "SELECT seq, at_ms, code, salt, preimage FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT $2";

/// The next events by number.
pub(crate) async fn events(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<RawEvent>, StoreError> {
    const TABLE: &str = "audit_event";
    let read = |row: &Row| {
        Ok(RawEvent {
            seq: column(row, TABLE, "seq")?,
            at_ms: column(row, TABLE, "at_ms")?,
            code: column(row, TABLE, "code")?,
            salt: column(row, TABLE, "salt")?,
            preimage: column(row, TABLE, "preimage")?,
        })
    };
    let rows = tx.all(query(EVENTS).bind(after).bind(limit)).await?;
    rows.iter().map(read).collect()
}

const COUNTED: &str = "SELECT audit AS number FROM counter WHERE id = 1";

/// The last number that was given to an event; none where the counter's row is gone.
pub(crate) async fn counted(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(COUNTED)).await?;
    row.map(|row| column(&row, "counter", "number")).transpose()
}

const TILE: &str = "SELECT bytes FROM log_tile WHERE epoch = $1 AND kind = $2 AND number = $3";

/// A tile's row as it stands.
pub(crate) async fn tile(
    tx: &mut Tx,
    epoch: u64,
    (kind, number): (&str, u64),
) -> Result<Option<Vec<u8>>, StoreError> {
    let tile = query(TILE).bind(epoch.cast_signed()).bind(kind.to_owned());
    let row = tx.one(tile.bind(number.cast_signed())).await?;
    row.map(|row| column(&row, "log_tile", "bytes")).transpose()
}

const TILES: &str = "SELECT epoch, kind, number FROM log_tile LIMIT $1";

/// The keys of every tile.
pub(crate) async fn tiles(tx: &mut Tx) -> Result<Vec<(u64, String, u64)>, StoreError> {
    let read = |row: &Row| {
        let (epoch, number): (i64, i64) = (
            column(row, "log_tile", "epoch")?,
            column(row, "log_tile", "number")?,
        );
        Ok((
            epoch.cast_unsigned(),
            column(row, "log_tile", "kind")?,
            number.cast_unsigned(),
        ))
    };
    tx.all(query(TILES).bind(ROWS_MAX))
        .await?
        .iter()
        .map(read)
        .collect()
}

/// A row: its key in hexadecimal, and the columns that the trail speaks of as text, bytes in hexadecimal, null as nothing.
pub(crate) struct RawRow {
    pub(crate) key: String,
    pub(crate) columns: Vec<(&'static str, Option<String>)>,
}

impl RawRow {
    /// A column's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.columns.iter().find(|(column, _)| *column == name);
        found.and_then(|(_, value)| value.as_deref())
    }
}

/// How a column is read.
#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    Text,
    Number,
}

/// Which columns of a table.
pub(crate) struct Table {
    name: &'static str,
    text: &'static str,
    keys: usize,
    columns: &'static [(&'static str, Kind)],
}

pub(crate) const GRANTS: Table = Table {
    name: "grant_record",
    text: "SELECT grant_id, person_id, state, given_at_ms, expires_at_ms, ended_at_ms FROM grant_record LIMIT $1",
    keys: 1,
    columns: &[
        ("grant_id", Kind::Bytes),
        ("person_id", Kind::Bytes),
        ("state", Kind::Text),
        ("given_at_ms", Kind::Number),
        ("expires_at_ms", Kind::Number),
        ("ended_at_ms", Kind::Number),
    ],
};
pub(crate) const SLIPS: Table = Table {
    name: "slip",
    text: "SELECT slip_id, grant_id, side, peer, slip, signature, issued_at_ms, expires_at_ms, state, ended_at_ms, proof \
           FROM slip LIMIT $1",
    keys: 1,
    columns: &[
        ("slip_id", Kind::Bytes),
        ("grant_id", Kind::Bytes),
        ("side", Kind::Text),
        ("peer", Kind::Text),
        ("slip", Kind::Bytes),
        ("signature", Kind::Bytes),
        ("issued_at_ms", Kind::Number),
        ("expires_at_ms", Kind::Number),
        ("state", Kind::Text),
        ("ended_at_ms", Kind::Number),
        ("proof", Kind::Bytes),
    ],
};
pub(crate) const REFERRALS: Table = Table {
    name: "referral",
    text: "SELECT thread_id, side, peer, slip_id, purpose, state, number, created_at_ms, envelope_id FROM referral LIMIT $1",
    keys: 1,
    columns: &[
        ("thread_id", Kind::Bytes),
        ("side", Kind::Text),
        ("peer", Kind::Text),
        ("slip_id", Kind::Bytes),
        ("purpose", Kind::Text),
        ("state", Kind::Text),
        ("number", Kind::Number),
        ("created_at_ms", Kind::Number),
        ("envelope_id", Kind::Bytes),
    ],
};
pub(crate) const EVENT_ROWS: Table = Table {
    name: "event",
    text: "SELECT thread_id, event_id, move, state, party, number, happened_at_ms FROM event LIMIT $1",
    keys: 2,
    columns: &[
        ("thread_id", Kind::Bytes),
        ("event_id", Kind::Bytes),
        ("move", Kind::Text),
        ("state", Kind::Text),
        ("party", Kind::Text),
        ("number", Kind::Number),
        ("happened_at_ms", Kind::Number),
    ],
};

/// Every row of a table.
pub(crate) async fn rows(tx: &mut Tx, table: &Table) -> Result<Vec<RawRow>, StoreError> {
    let read = |row: &Row| {
        let mut columns = Vec::with_capacity(table.columns.len());
        for (name, kind) in table.columns {
            columns.push((*name, value(row, table.name, (name, *kind))?));
        }
        let keys = columns
            .iter()
            .take(table.keys)
            .filter_map(|(_, value)| value.clone());
        Ok(RawRow {
            key: keys.collect::<Vec<_>>().join("/"),
            columns,
        })
    };
    let found = tx.all(query(table.text).bind(ROWS_MAX)).await?;
    found.iter().map(read).collect()
}

fn value(
    row: &Row,
    table: &'static str,
    (name, kind): (&'static str, Kind),
) -> Result<Option<String>, StoreError> {
    Ok(match kind {
        Kind::Bytes => {
            column::<Option<Vec<u8>>>(row, table, name)?.map(|bytes| data_encoding::HEXLOWER.encode(&bytes))
        }
        Kind::Text => column::<Option<String>>(row, table, name)?,
        Kind::Number => column::<Option<i64>>(row, table, name)?.map(|number| number.to_string()),
    })
}
