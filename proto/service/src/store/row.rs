//! Reading a column out of a row, with the one answer to a value that cannot be: `StoreError::Corrupt`.
//! Called by the row structs of the use-cases' statements.
//! Never quotes the value it could not read.

use sqlx::{ColumnIndex, Decode, Type};

use super::Db;
use super::error::StoreError;
use super::tx::Row;

/// Reads `column` of a row of `table`: `i64`, `String`, `Vec<u8>`, or an `Option` of these for a column that may be NULL.
pub fn column<'r, T>(row: &'r Row, table: &'static str, column: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Db> + Type<Db>,
    &'static str: ColumnIndex<Row>,
{
    sqlx::Row::try_get(row, column).map_err(|_| StoreError::Corrupt { table, column })
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
