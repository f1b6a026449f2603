//! Tables as the database itself lists them, read page by page and written back: for copying a whole database from one sort to the other.
//! Called by whoever makes or loads a backup, inside a transaction, which gives the one unchanging view.
//! Knows no table by name, so that none can be forgotten; only the store's own two, which say what it is, are left out. Never puts a name
//! into a text that the catalogue has not given.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::open::Dialect;
use super::query::{Query, Row, Value};
use super::text::push_list;
use super::tx::Tx;

/// The store's own tables: each database has them from its opening.
const OWN: [&str; 2] = ["kith_store", "_sqlx_migrations"];
/// Most rows of one inserting statement.
const ROWS_MAX: usize = 256;

const SQLITE_COLUMNS: &str = "SELECT m.name, p.name, p.type, p.pk FROM sqlite_master AS m, pragma_table_info(m.name) AS p \
     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY m.name, p.cid";
const POSTGRES_COLUMNS: &str = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), CAST(c.data_type AS TEXT), \
     CAST(COALESCE(k.ordinal_position, 0) AS BIGINT) FROM information_schema.columns AS c \
     LEFT JOIN (information_schema.table_constraints AS t JOIN information_schema.key_column_usage AS k \
     ON k.constraint_schema = t.constraint_schema AND k.constraint_name = t.constraint_name AND k.table_name = t.table_name) \
     ON t.constraint_type = 'PRIMARY KEY' AND t.table_schema = c.table_schema AND t.table_name = c.table_name \
     AND k.column_name = c.column_name WHERE CAST(c.table_schema AS TEXT) = CAST(current_schema() AS TEXT) \
     ORDER BY c.table_name, c.ordinal_position";
const VERSION: &str = "SELECT CAST(MAX(version) AS BIGINT) FROM _sqlx_migrations";

/// One of the three types of a portable schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit integer.
    Integer,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}

/// A table, its columns in the database's own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Name and type of each column.
    pub columns: Vec<(String, Kind)>,
    /// The places of the primary key's columns, in the key's order.
    pub key: Vec<usize>,
}

impl Kind {
    fn of(declared: &str) -> Result<Self, StoreError> {
        match declared.to_ascii_lowercase().as_str() {
            "integer" | "bigint" => Ok(Self::Integer),
            "text" => Ok(Self::Text),
            "blob" | "bytea" => Ok(Self::Bytes),
            _ => Err(StoreError::failed("a column that is not of a portable type")),
        }
    }

    fn read(self, row: &Row, place: usize) -> Result<Value, StoreError> {
        Ok(match self {
            Self::Integer => Value::Integer(row.nth(place)?),
            Self::Text => Value::Text(row.nth(place)?),
            Self::Bytes => Value::Bytes(row.nth(place)?),
        })
    }
}

impl Tx {
    /// The number of the newest migration that this database has.
    pub async fn schema_version(&mut self) -> Result<i64, StoreError> {
        let row = self.one(Query::new(VERSION)).await?;
        let version: Option<i64> = row.map(|row| row.nth(0)).transpose()?.flatten();
        version.ok_or(StoreError::failed("a database without migrations"))
    }

    /// Every table but the store's own, by name.
    pub async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        let text = match self.dialect() {
            Dialect::Sqlite => SQLITE_COLUMNS,
            Dialect::Postgres => POSTGRES_COLUMNS,
        };
        let mut tables: Vec<Table> = Vec::new();
        let mut keys: Vec<(i64, usize)> = Vec::new();
        for row in self.all(Query::new(text)).await? {
            let name: String = row.nth(0)?;
            if OWN.contains(&name.as_str()) {
                continue;
            }
            if tables.last().is_none_or(|table| table.name != name) {
                end_key(&mut tables, &mut keys)?;
                tables.push(Table {
                    name,
                    columns: Vec::new(),
                    key: Vec::new(),
                });
            }
            let Some(table) = tables.last_mut() else { continue };
            let key: i64 = row.nth(3)?;
            if key > 0 {
                keys.push((key, table.columns.len()));
            }
            let declared: String = row.nth(2)?;
            table.columns.push((row.nth(1)?, Kind::of(&declared)?));
        }
        end_key(&mut tables, &mut keys)?;
        Ok(tables)
    }

    /// The rows after the one with this key, in the key's order; from the first when `after` is empty. Each has a value for each column.
    pub async fn page(
        &mut self,
        table: &Table,
        after: &[Value],
        limit: usize,
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        let key: Vec<&str> = table
            .key
            .iter()
            .filter_map(|place| names.get(*place).copied())
            .collect();
        let (columns, key) = (names.join(", "), key.join(", "));
        let mut text = format!("SELECT {columns} FROM {}", table.name);
        if !after.is_empty() {
            push_list(&mut text, &format!(" WHERE ({key}) >"), 1, after.len());
        }
        text.push_str(&format!(" ORDER BY {key} LIMIT {limit}"));
        let query = after
            .iter()
            .cloned()
            .fold(Query::new(AssertSqlSafe(text)), Query::bind);
        let rows = self.all(query).await?;
        let values = |row: &Row| -> Result<Vec<Value>, StoreError> {
            let columns = table.columns.iter().enumerate();
            columns.map(|(place, (_, kind))| kind.read(row, place)).collect()
        };
        rows.iter().map(values).collect()
    }

    /// Deletes every row, such as those that a migration puts in.
    pub async fn clear(&mut self, table: &Table) -> Result<u64, StoreError> {
        let text = format!("DELETE FROM {}", table.name);
        self.run(Query::new(AssertSqlSafe(text))).await
    }

    /// Inserts rows, each with a value for each column.
    pub async fn put(&mut self, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let columns = table.columns.len().max(1);
        if rows.iter().any(|row| row.len() != columns) {
            return Err(StoreError::failed("a row to insert has not its table's columns"));
        }
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        let head = format!("INSERT INTO {} ({}) VALUES", table.name, names.join(", "));
        let rows_max = ROWS_MAX.min(self.dialect().binds_max() / columns);
        for part in rows.chunks(rows_max.max(1)) {
            let mut text = String::new();
            super::text::push_rows(&mut text, &head, 1, columns, part.len());
            let values = part.iter().flatten().cloned();
            let query = values.fold(Query::new(AssertSqlSafe(text)), Query::bind);
            self.run(query).await?;
        }
        Ok(())
    }
}

/// Gives the last table its key, whose columns have come in the table's order.
fn end_key(tables: &mut [Table], keys: &mut Vec<(i64, usize)>) -> Result<(), StoreError> {
    keys.sort_unstable();
    let key: Vec<usize> = keys.drain(..).map(|(_, place)| place).collect();
    if let Some(table) = tables.last_mut() {
        if key.is_empty() {
            return Err(StoreError::failed("a table without a key"));
        }
        table.key = key;
    }
    Ok(())
}
