//! The texts of multi-row statements: `'static` parts and placeholders, made once per row count and database.
//! Called by `insert` only.
//! Never puts a value into a text: this is the one place that tells sqlx that a text is safe.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

use super::open::Dialect;
use super::query::Query;

/// Row counts are powers of two up to 2^9, so that each statement has ten texts at most: a new text costs as much to
/// prepare as to run, and each is kept prepared.
pub(crate) const SIZES: usize = 10;

/// The texts by the binary logarithm of their row count, made on first use.
pub(crate) struct Texts {
    sqlite: [OnceLock<Arc<str>>; SIZES],
    postgres: [OnceLock<Arc<str>>; SIZES],
}

impl Texts {
    pub(crate) const fn new() -> Self {
        Self {
            sqlite: [const { OnceLock::new() }; SIZES],
            postgres: [const { OnceLock::new() }; SIZES],
        }
    }

    /// The statement for `count` rows, a power of two; `write` makes its text, with `$n` placeholders, the first time.
    pub(crate) fn query(
        &'static self,
        dialect: Dialect,
        count: usize,
        write: impl Fn(&mut String, usize),
    ) -> Query {
        let make = || {
            let mut text = String::new();
            write(&mut text, count);
            Arc::from(match dialect {
                Dialect::Sqlite => without_undo(&without_names(&text).unwrap_or(text)),
                Dialect::Postgres => text,
            })
        };
        let kept = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        let text = match kept.get(count.trailing_zeros() as usize) {
            Some(kept) => kept.get_or_init(make).clone(),
            None => make(),
        };
        Query::new(AssertSqlSafe(text))
    }
}

/// The same text with `?` for each `$n`, if they stand in order and each once; `None` otherwise. To SQLite `$n` is a
/// name, and names are looked up one after another, when preparing and again at each run: 2,560 of them cost 30 ms.
fn without_names(text: &str) -> Option<String> {
    let mut parts = text.split('$');
    let mut out = String::from(parts.next()?);
    for (before, part) in parts.enumerate() {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        if number.parse() != Ok(before + 1) {
            return None;
        }
        out.push('?');
        out.push_str(rest);
    }
    Some(out)
}

/// The same writing statement, which on a broken constraint leaves the rows before it in place. So that it could take
/// them out again SQLite would first copy every page that the statement touches; here a failed statement rolls the whole
/// transaction back anyway.
fn without_undo(text: &str) -> String {
    if text.contains("INSERT INTO ") {
        text.replacen("INSERT INTO ", "INSERT OR FAIL INTO ", 1)
    } else {
        text.replacen("UPDATE ", "UPDATE OR FAIL ", 1)
    }
}

/// `head ($1,$2), ($3,$4)`, counted from `first`.
pub(crate) fn push_rows(text: &mut String, head: &str, first: usize, columns: usize, rows: usize) {
    for row in 0..rows {
        let before = if row == 0 { head } else { "," };
        push_list(text, before, first + row * columns, columns);
    }
}

/// `head SELECT * FROM (VALUES ($1,$2), ($3,$4)) AS v WHERE column1 IS NOT NULL`: the rows but for those that fill up.
pub(crate) fn push_insert(text: &mut String, head: &str, columns: usize, rows: usize) {
    text.push_str(head);
    push_rows(text, " SELECT * FROM (VALUES", 1, columns, rows);
    text.push_str(") AS v WHERE column1 IS NOT NULL");
}

/// `before ($1,$2,$3)`, counted from `first`.
pub(crate) fn push_list(text: &mut String, before: &str, first: usize, count: usize) {
    text.push_str(before);
    for n in first..first + count {
        let before = if n == first { " (" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}${n}");
    }
    text.push(')');
}

/// A space and `tail`, if there is one.
pub(crate) fn push_tail(text: &mut String, tail: &str) {
    if !tail.is_empty() {
        text.push(' ');
        text.push_str(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hold_placeholders_only() {
        let mut text = String::new();
        push_insert(&mut text, "INSERT INTO t (a, b)", 2, 2);
        push_tail(&mut text, "ON CONFLICT DO NOTHING");
        assert_eq!(
            text,
            "INSERT INTO t (a, b) SELECT * FROM (VALUES ($1,$2), ($3,$4)) AS v WHERE column1 IS NOT NULL \
             ON CONFLICT DO NOTHING"
        );
        let mut text = String::new();
        push_list(&mut text, "DELETE FROM t WHERE a = $1 AND b IN", 2, 3);
        assert_eq!(text, "DELETE FROM t WHERE a = $1 AND b IN ($2,$3,$4)");
    }

    #[test]
    fn only_the_verb_of_a_statement_says_what_happens_at_a_broken_constraint() {
        for (text, expected) in [
            (
                "INSERT INTO t (a) SELECT 1 ON CONFLICT (a) DO UPDATE SET a = 2",
                "INSERT OR FAIL INTO t (a) SELECT 1 ON CONFLICT (a) DO UPDATE SET a = 2",
            ),
            (
                "WITH v(a) AS (VALUES (?)) UPDATE t SET a = v.a FROM v",
                "WITH v(a) AS (VALUES (?)) UPDATE OR FAIL t SET a = v.a FROM v",
            ),
            ("SELECT a FROM t WHERE a IN (?)", "SELECT a FROM t WHERE a IN (?)"),
            ("DELETE FROM t WHERE a IN (?)", "DELETE FROM t WHERE a IN (?)"),
        ] {
            assert_eq!(without_undo(text), expected);
        }
    }

    #[test]
    fn placeholders_lose_their_numbers_only_where_they_stand_in_order() {
        let short = |text| without_names(text);
        assert_eq!(
            short("a = $1 AND b IN ($2,$3) "),
            Some("a = ? AND b IN (?,?) ".to_owned())
        );
        assert_eq!(short("VALUES ($1)"), Some("VALUES (?)".to_owned()));
        assert_eq!(short("SELECT 1"), Some("SELECT 1".to_owned()));
        for kept in ["b IN ($2,$3) AND a = $1", "a = $1 OR b = $1", "a = $2", "a = $x"] {
            assert_eq!(short(kept), None, "{kept}");
        }
    }
}
