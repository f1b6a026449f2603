//! A statement with its values, and what it gives back, for either database.
//! SQLite is spoken to by its own driver and PostgreSQL through `sqlx::Any`: converting each row of the embedded store into
//! Any's form cost as much as reading it. Called by `tx` only; use-cases make queries with [`query`](super::query).
//! Never puts a value into a text.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AnyConnection, Arguments, Database, Encode, SqlSafeStr, SqlStr, Type};

/// A statement with its values, made by [`query`](super::query).
#[derive(Clone)]
pub struct Query {
    text: SqlStr,
    values: Vec<Value>,
}

/// A row as the database gave it; read it with [`column`](super::column).
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Any(AnyRow),
}

/// A bound value: one of the three types of a portable schema, or NULL of one.
#[derive(Clone)]
pub enum Value {
    /// A whole number.
    Integer(Option<i64>),
    /// A word that the program spells.
    Word(Option<&'static str>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// A connection to one of the two.
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Any(&'c mut AnyConnection),
}

impl Query {
    pub(crate) fn new(text: impl SqlSafeStr) -> Self {
        Self {
            text: text.into_sql_str(),
            values: Vec::new(),
        }
    }

    /// Binds the next value, in the order of the placeholders.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Whether the values are so many whole rows, each with something in its first column.
    pub(crate) fn has_keyed_rows(&self, columns: usize, rows: usize) -> bool {
        self.values.len() == columns * rows
            && self
                .values
                .iter()
                .step_by(columns.max(1))
                .all(|key| !key.is_null())
    }

    /// Binds NULL for `rows` rows in all, each value of the type that it has `columns` before.
    pub(crate) fn fill_with_null(mut self, columns: usize, rows: usize) -> Self {
        while self.values.len() < columns * rows {
            let before = self.values.len().checked_sub(columns);
            let Some(like) = before.and_then(|place| self.values.get(place)) else {
                break;
            };
            self.values.push(like.null());
        }
        self
    }

    pub(crate) async fn run(self, connection: Connection<'_>) -> Result<u64, sqlx::Error> {
        match connection {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, sqlite(self.values)?);
                Ok(query.execute(connection).await?.rows_affected())
            }
            Connection::Any(connection) => {
                let query = sqlx::query_with(self.text, any(self.values)?);
                Ok(query.execute(connection).await?.rows_affected())
            }
        }
    }

    pub(crate) async fn one(self, connection: Connection<'_>) -> Result<Option<Row>, sqlx::Error> {
        match connection {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, sqlite(self.values)?);
                Ok(query.fetch_optional(connection).await?.map(Row::Sqlite))
            }
            Connection::Any(connection) => {
                let query = sqlx::query_with(self.text, any(self.values)?);
                Ok(query.fetch_optional(connection).await?.map(Row::Any))
            }
        }
    }

    pub(crate) async fn all(self, connection: Connection<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match connection {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, sqlite(self.values)?);
                let rows = query.fetch_all(connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Connection::Any(connection) => {
                let query = sqlx::query_with(self.text, any(self.values)?);
                let rows = query.fetch_all(connection).await?;
                Ok(rows.into_iter().map(Row::Any).collect())
            }
        }
    }
}

impl Value {
    const fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Integer(None) | Self::Word(None) | Self::Text(None) | Self::Bytes(None)
        )
    }

    const fn null(&self) -> Self {
        match self {
            Self::Integer(_) => Self::Integer(None),
            Self::Word(_) => Self::Word(None),
            Self::Text(_) => Self::Text(None),
            Self::Bytes(_) => Self::Bytes(None),
        }
    }
}

fn sqlite(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        add(&mut arguments, value)?;
    }
    Ok(arguments)
}

fn any(values: Vec<Value>) -> Result<AnyArguments, sqlx::Error> {
    let mut arguments = AnyArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        add(&mut arguments, value)?;
    }
    Ok(arguments)
}

fn add<D, A>(arguments: &mut A, value: Value) -> Result<(), sqlx::Error>
where
    D: Database,
    A: Arguments<Database = D>,
    Option<i64>: Encode<'static, D> + Type<D>,
    Option<&'static str>: Encode<'static, D> + Type<D>,
    Option<String>: Encode<'static, D> + Type<D>,
    Option<Vec<u8>>: Encode<'static, D> + Type<D>,
{
    let added = match value {
        Value::Integer(value) => arguments.add(value),
        Value::Word(value) => arguments.add(value),
        Value::Text(value) => arguments.add(value),
        Value::Bytes(value) => arguments.add(value),
    };
    added.map_err(sqlx::Error::Encode)
}

macro_rules! values {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )*};
}

values!(i64 => Integer, &'static str => Word, String => Text, Vec<u8> => Bytes, &[u8] => Bytes);
