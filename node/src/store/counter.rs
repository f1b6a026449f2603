//! The counters of a node, which are also its one write lock.
//! Called first in every writing transaction that numbers something or re-checks what others may change, saved last.
//! Never read without the lock in order to write: numbers would be given twice.

use kith_service::store::{StoreError, Tx, column, query};

const LOCK: &str =
    "UPDATE counter SET audit = audit WHERE id = 1 RETURNING outbox, change, sent, inbox, audit";
const SAVE: &str =
    "UPDATE counter SET outbox = $1, change = $2, sent = $3, inbox = $4, audit = $5 WHERE id = 1";
const LAST_CHANGE: &str = "SELECT change FROM counter WHERE id = 1";

/// The last number given out of each sequence, held under the row's lock until the commit.
#[must_use = "numbers given out but not saved are given out again"]
#[derive(Debug)]
pub struct Counter {
    outbox: i64,
    change: i64,
    sent: i64,
    inbox: i64,
    audit: i64,
}

impl Counter {
    /// Locks the counters. From here to the commit no other writer of this node gets past its own lock, and every
    /// later statement sees all that earlier ones committed.
    pub async fn lock(tx: &mut Tx) -> Result<Self, StoreError> {
        let missing = StoreError::Corrupt {
            table: "counter",
            column: "id",
        };
        let row = tx.one(query(LOCK)).await?.ok_or(missing)?;
        let number = |name| column::<i64>(&row, "counter", name);
        Ok(Self {
            outbox: number("outbox")?,
            change: number("change")?,
            sent: number("sent")?,
            inbox: number("inbox")?,
            audit: number("audit")?,
        })
    }

    /// Writes back what was given out; the last statement of the transaction.
    pub async fn save(self, tx: &mut Tx) -> Result<(), StoreError> {
        let numbers = [self.outbox, self.change, self.sent, self.inbox, self.audit];
        tx.run(numbers.into_iter().fold(query(SAVE), |q, n| q.bind(n)))
            .await
            .map(drop)
    }

    /// The next place in the outbox.
    pub fn next_outbox(&mut self) -> i64 {
        self.outbox += 1;
        self.outbox
    }

    /// How far the places from `first` to `last` have to move to stand behind all that were given out; those are given out with it.
    pub const fn skip_outbox(&mut self, first: i64, last: i64) -> i64 {
        let by = self.outbox + 1 - first;
        self.outbox = last + by;
        by
    }

    /// The next place in the order of changes; tell watchers the last one after the commit.
    pub fn next_change(&mut self) -> i64 {
        self.change += 1;
        self.change
    }

    /// The last place given out in the order of changes.
    pub const fn change(&self) -> i64 {
        self.change
    }

    /// The next place in the order of sending.
    pub fn next_sent(&mut self) -> i64 {
        self.sent += 1;
        self.sent
    }

    /// The next place in the order of arrival.
    pub fn next_inbox(&mut self) -> i64 {
        self.inbox += 1;
        self.inbox
    }

    /// The last place given out in the trail.
    pub const fn last_audit(&self) -> i64 {
        self.audit
    }

    /// Takes so many places in the trail, one after another; the first.
    pub fn take_audit(&mut self, count: usize) -> i64 {
        let first = self.audit + 1;
        self.audit += i64::try_from(count).unwrap_or(i64::MAX);
        first
    }
}

/// The number of the last committed change, for watchers.
pub async fn last_change(tx: &mut Tx) -> Result<i64, StoreError> {
    let missing = StoreError::Corrupt {
        table: "counter",
        column: "id",
    };
    let row = tx.one(query(LAST_CHANGE)).await?.ok_or(missing)?;
    column(&row, "counter", "change")
}
