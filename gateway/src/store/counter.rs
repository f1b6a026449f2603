//! The numbers that rise in the order of commits: changes of membership, mailbox positions, audit events.
//! Called inside the transaction that uses the numbers; the counter's row is held until it commits, so whoever sees a number has
//! seen all lower ones. Take counters late and in the order of [`Counter`]'s variants.

use kith_service::store::{StoreError, Tx, column, query};

const TABLE: &str = "counter";

/// Which numbers to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Changes of members, bindings and services.
    Change,
    /// Positions in the mailboxes.
    Mailbox,
    /// Audit events.
    Audit,
}

impl Counter {
    const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Mailbox => "mailbox",
            Self::Audit => "audit",
        }
    }
}

const TAKE: &str = "UPDATE counter SET value = value + $1 WHERE name = $2 RETURNING value";

/// Takes `count` numbers and returns the first; the rest follow it without a gap.
pub async fn take(tx: &mut Tx, counter: Counter, count: usize) -> Result<i64, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = tx.one(query(TAKE).bind(count).bind(counter.name())).await?;
    let last: i64 = column(&row.ok_or(missing())?, TABLE, "value")?;
    Ok(last - count + 1)
}

const READ: &str = "SELECT value FROM counter WHERE name = $1";

/// Returns the last number that was taken and committed; 0 before the first.
pub async fn read(tx: &mut Tx, counter: Counter) -> Result<i64, StoreError> {
    let row = tx.one(query(READ).bind(counter.name())).await?;
    column(&row.ok_or(missing())?, TABLE, "value")
}

const fn missing() -> StoreError {
    StoreError::Corrupt {
        table: TABLE,
        column: "name",
    }
}
