//! Rows as they stand, for holding them against the log: words, numbers and bytes that nothing has judged yet.
//! Called by `trail::whole` alone. Never refuses a row for what it holds: naming it is the caller's work.

use kith_service::store::{Row, StoreError, Tx, column, query};

/// Most rows of one table that are held against the log at once: what a node of the largest sort has in years.
const ROWS_MAX: i64 = 4_000_000;

const COUNTED: &str = "SELECT audit AS number FROM counter WHERE id = 1";

/// The last number that was given to an event; none where the counter's row is gone.
pub(crate) async fn counted(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(COUNTED)).await?;
    row.map(|row| column(&row, "counter", "number")).transpose()
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
/// In the order in which each report told them.
pub(crate) const OPENINGS: Table = Table {
    name: "opening_reported",
    text: "SELECT envelope_id, place, slip_id, day_ms, hour, role, reason FROM opening_reported \
           ORDER BY envelope_id, place LIMIT $1",
    keys: 2,
    columns: &[
        ("envelope_id", Kind::Bytes),
        ("place", Kind::Number),
        ("slip_id", Kind::Bytes),
        ("day_ms", Kind::Number),
        ("hour", Kind::Number),
        ("role", Kind::Text),
        ("reason", Kind::Text),
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
