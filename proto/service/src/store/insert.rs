//! Multi-row statements: few round trips for many rows, few different texts for the prepared-statement cache.
//! Called inside transactions, above all by the batch doors. Each is a `static` beside the function that uses it.
//! Never binds more values than one statement may carry; their texts are made in `text`.

use super::error::StoreError;
use super::open::Dialect;
use super::query::{Query, Row};
use super::text::{SIZES, Texts, push_insert, push_list, push_rows, push_tail};
use super::tx::Tx;

/// `INSERT INTO t (a, b) VALUES (…), (…) …` for any number of rows. A list is filled up to a power of two with rows of NULL,
/// which are left out by their first column, so that one text serves many counts.
pub struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: Texts,
}

/// `… IN ($n, $n+1, …) …` for any number of values: a look-up, an update or a deletion by key.
pub struct InList {
    head: &'static str,
    fixed: usize,
    tail: &'static str,
    texts: Texts,
}

/// `WITH v(…) AS (VALUES (…), (…)) …` for any number of rows: an update, or a look-up by several columns at once.
pub struct WithRows {
    head: &'static str,
    columns: usize,
    statement: &'static str,
    texts: Texts,
}

impl Insert {
    /// `head` is `"INSERT INTO t (a, b, c)"`, `columns` its number of columns, `tail` what follows the rows:
    /// `"ON CONFLICT (a) DO NOTHING"`, `"RETURNING a"` or nothing.
    pub const fn into(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self {
            head,
            columns,
            tail,
            texts: Texts::new(),
        }
    }

    /// Inserts `rows` in their order and says how many were inserted (conflicts passed over do not count). `bind` binds
    /// the values of one row, in the order of the columns; the first is never NULL. One statement for each 512 rows.
    pub async fn rows<R>(
        &'static self,
        tx: &mut Tx,
        rows: &[R],
        bind: impl Fn(Query, &R) -> Query,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for part in rows.chunks(size_max(tx, 0, self.columns)) {
            let count = part.len().next_power_of_two();
            let query = self.texts.query(tx.dialect(), count, |text, n| {
                push_insert(text, self.head, self.columns, n);
                push_tail(text, self.tail);
            });
            let query = part.iter().fold(query, &bind);
            if !query.has_keyed_rows(self.columns, part.len()) {
                return Err(StoreError::failed(
                    "a row to insert has no key, or not its columns",
                ));
            }
            done += tx.run(query.fill_with_null(self.columns, count)).await?;
        }
        Ok(done)
    }
}

impl InList {
    /// `head` ends with `IN`, for example `"SELECT id, n FROM t WHERE org = $1 AND id IN"`; `fixed` is how many
    /// placeholders it uses (`$1` to `$fixed`); `tail` follows the list and may use the same ones.
    pub const fn new(head: &'static str, fixed: usize, tail: &'static str) -> Self {
        Self {
            head,
            fixed,
            tail,
            texts: Texts::new(),
        }
    }

    /// Runs the statement over `values` and says how many rows it changed. `bind_fixed` binds `$1` to `$fixed` (pass
    /// `|q| q` for none), `bind` binds one value.
    pub async fn run<R>(
        &'static self,
        tx: &mut Tx,
        values: &[R],
        bind_fixed: impl Fn(Query) -> Query,
        bind: impl Fn(Query, &R) -> Query,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for part in values.chunks(size_max(tx, self.fixed, 1)) {
            done += tx.run(self.query(tx.dialect(), part, &bind_fixed, &bind)).await?;
        }
        Ok(done)
    }

    /// Runs the statement over `values` and gives all rows; an order in `tail` holds within each 512 values only.
    pub async fn all<R>(
        &'static self,
        tx: &mut Tx,
        values: &[R],
        bind_fixed: impl Fn(Query) -> Query,
        bind: impl Fn(Query, &R) -> Query,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for part in values.chunks(size_max(tx, self.fixed, 1)) {
            found.extend(tx.all(self.query(tx.dialect(), part, &bind_fixed, &bind)).await?);
        }
        Ok(found)
    }

    /// A value twice in a list changes nothing, so the list is filled up to a power of two with its last value.
    fn query<R>(
        &'static self,
        dialect: Dialect,
        part: &[R],
        bind_fixed: impl Fn(Query) -> Query,
        bind: impl Fn(Query, &R) -> Query,
    ) -> Query {
        let count = part.len().next_power_of_two();
        let query = self.texts.query(dialect, count, |text, n| {
            push_list(text, self.head, self.fixed + 1, n);
            push_tail(text, self.tail);
        });
        filled(part, count).fold(bind_fixed(query), bind)
    }
}

impl WithRows {
    /// `head` is `"WITH v(id, n) AS (VALUES"`, `columns` its number of columns, `statement` what follows the closing
    /// bracket, for example `"UPDATE t SET n = v.n FROM v WHERE t.id = v.id"`. The last row may be repeated to fill a
    /// list up, so the statement must not count rows of `v`.
    pub const fn new(head: &'static str, columns: usize, statement: &'static str) -> Self {
        Self {
            head,
            columns,
            statement,
            texts: Texts::new(),
        }
    }

    /// Runs the statement over `rows` and says how many rows it changed. `bind` binds one row of `v`; no two rows may
    /// change the same stored row.
    pub async fn run<R>(
        &'static self,
        tx: &mut Tx,
        rows: &[R],
        bind: impl Fn(Query, &R) -> Query,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for part in rows.chunks(size_max(tx, 0, self.columns)) {
            done += tx.run(self.query(tx.dialect(), part, &bind)).await?;
        }
        Ok(done)
    }

    /// Runs the statement over `rows` and gives all rows that it returns (`RETURNING …`); in no order.
    pub async fn all<R>(
        &'static self,
        tx: &mut Tx,
        rows: &[R],
        bind: impl Fn(Query, &R) -> Query,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for part in rows.chunks(size_max(tx, 0, self.columns)) {
            found.extend(tx.all(self.query(tx.dialect(), part, &bind)).await?);
        }
        Ok(found)
    }

    fn query<R>(&'static self, dialect: Dialect, part: &[R], bind: impl Fn(Query, &R) -> Query) -> Query {
        let count = part.len().next_power_of_two();
        let query = self.texts.query(dialect, count, |text, n| {
            push_rows(text, self.head, 1, self.columns, n);
            text.push_str(") ");
            text.push_str(self.statement);
        });
        filled(part, count).fold(query, bind)
    }
}

/// The most rows of one statement: 512, or less where `fixed` values and `columns` per row would exceed the limit.
fn size_max(tx: &Tx, fixed: usize, columns: usize) -> usize {
    let fitting = (tx.dialect().binds_max().saturating_sub(fixed) / columns.max(1)).max(1);
    (1 << (SIZES - 1)).min(1 << fitting.ilog2())
}

/// The rows of `part`, then the last one again until there are `count`.
fn filled<R>(part: &[R], count: usize) -> impl Iterator<Item = &R> {
    part.iter().chain(part.last().into_iter().cycle()).take(count)
}
