//! Reading a column out of a row, with the one answer to a value that cannot be: `StoreError::Corrupt`.
//! Called by the row structs of the use-cases' statements.
//! Never quotes the value it could not read.

use sqlx::sqlite::Sqlite;
use sqlx::{Any, Decode, Type};

use super::error::StoreError;
use super::query::Row;

/// What a column can hold: `i64`, `String`, `Vec<u8>`, `&str`, `&[u8]`, or an `Option` of these for one that may be NULL.
pub trait Column<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Any> + Type<Any> {}

impl<'r, T> Column<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Any> + Type<Any> {}

/// Reads `column` of a row of `table`.
pub fn column<'r, T: Column<'r>>(
    row: &'r Row,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let read = match row {
        Row::Sqlite(row) => sqlx::Row::try_get(row, column),
        Row::Any(row) => sqlx::Row::try_get(row, column),
    };
    read.map_err(|_| StoreError::Corrupt { table, column })
}

/// Reads a column of exactly `N` bytes, such as an id.
pub fn bytes<const N: usize>(
    row: &Row,
    table: &'static str,
    name: &'static str,
) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = column(row, table, name)?;
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt { table, column: name })
}

impl Row {
    /// Reads a column by its place, for statements without names.
    pub fn nth<'r, T: Column<'r>>(&'r self, place: usize) -> Result<T, StoreError> {
        let read = match self {
            Self::Sqlite(row) => sqlx::Row::try_get(row, place),
            Self::Any(row) => sqlx::Row::try_get(row, place),
        };
        read.map_err(|_| StoreError::Corrupt {
            table: "of the statement",
            column: "by place",
        })
    }
}
