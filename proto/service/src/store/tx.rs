//! One transaction: begin, the caller's statements, commit or rollback, and whether it may be run again.
//! Called by `Store::tx`, `Store::read` and the batch writer; use-cases see only `Tx`.
//! Never commits after a failed statement: PostgreSQL would silently keep nothing, so it is refused on both.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Transaction;
use sqlx::any::{AnyArguments, AnyRow};

use super::error::{StoreError, is_refused_commit, is_transient};
use super::open::{Dialect, Doors};
use super::slots::Lent;
use super::{Connection, Db};

/// How often a transaction is run before its caller is told that the store is busy. Each SQLite attempt may already
/// have waited `BUSY_TIMEOUT_MS`, so five stay within a call's default deadline of 30 s.
pub const TX_ATTEMPTS: u32 = 5;

/// A statement with its values, made by [`query`](super::query).
pub type Query<'q> = sqlx::query::Query<'q, Db, AnyArguments>;

/// A row as the database gave it; read it with [`column`](super::column).
pub type Row = AnyRow;

/// An open transaction, handed to a closure of [`Store::tx`](super::Store::tx) or [`Store::read`](super::Store::read).
/// It is owned, not borrowed, so that the closure's future has no lifetime of its own and is `Send` wherever its
/// captures are; dropping it gives it back to the store, which then commits or rolls back.
pub struct Tx {
    /// `None` only while it is being dropped.
    open: Option<Open>,
    back: Arc<Mutex<Option<Open>>>,
}

/// What the store keeps of a transaction.
pub(crate) struct Open {
    /// `None` only once the transaction has ended.
    held: Option<Held>,
    dialect: Dialect,
    fault: Fault,
}

/// SQLite connections are the store's own; PostgreSQL ones come from a pool that renews broken ones.
enum Held {
    Own(Lent),
    Pooled(Transaction<'static, Db>),
}

/// The worst that a statement of this transaction has met so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    Transient,
    Lasting,
}

/// Reading or writing; decides the connection and the `BEGIN`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Read,
    Write,
}

/// How a run of a closure ended.
pub(crate) enum End<E> {
    /// Nothing was kept and running the closure again may help.
    Again(E),
    /// Nothing was kept, or it is unknown whether the commit arrived.
    Over(E),
}

impl Tx {
    /// Runs a statement and says how many rows it changed.
    pub async fn run(&mut self, query: Query<'_>) -> Result<u64, StoreError> {
        let open = self.open()?;
        let outcome = query.execute(open.connection()?).await;
        open.noted(outcome).map(|done| done.rows_affected())
    }

    /// Runs a statement and gives its first row, if there is one.
    pub async fn one(&mut self, query: Query<'_>) -> Result<Option<Row>, StoreError> {
        let open = self.open()?;
        let outcome = query.fetch_optional(open.connection()?).await;
        open.noted(outcome)
    }

    /// Runs a statement and gives all its rows; the statement itself must carry a limit.
    pub async fn all(&mut self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        let open = self.open()?;
        let outcome = query.fetch_all(open.connection()?).await;
        open.noted(outcome)
    }

    /// How many values one statement may carry on this database.
    pub(crate) fn binds_max(&self) -> usize {
        self.open.as_ref().map_or(1, |open| open.dialect.binds_max())
    }

    fn open(&mut self) -> Result<&mut Open, StoreError> {
        self.open.as_mut().ok_or(StoreError::unavailable("ended"))
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.open.take();
    }
}

impl Open {
    /// Hands the transaction to `f`, waits for the outcome, and ends it.
    pub(crate) async fn with<T, E, F, Fut>(self, f: &mut F) -> Result<T, End<E>>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let back = Arc::new(Mutex::new(None));
        let outcome = f(Tx {
            open: Some(self),
            back: back.clone(),
        })
        .await;
        let returned = back.lock().unwrap_or_else(PoisonError::into_inner).take();
        match returned {
            Some(open) => open.finish(outcome).await,
            // The closure kept the transaction for itself; when that is dropped it rolls back.
            None => Err(End::Over(
                outcome.err().unwrap_or_else(|| StoreError::Abandoned.into()),
            )),
        }
    }

    pub(crate) async fn begin(doors: &Doors, door: Door) -> Result<Self, End<StoreError>> {
        let dialect = doors.dialect();
        let held = match doors {
            Doors::Sqlite { writer, readers } => {
                let slots = if door == Door::Write { writer } else { readers };
                let mut lent = slots.lend().await.map_err(End::Over)?;
                begin_sqlite(&mut lent, door).await?;
                Held::Own(lent)
            }
            Doors::Postgres(pool) => {
                let statement = match door {
                    Door::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                    Door::Write => "BEGIN",
                };
                Held::Pooled(pool.begin_with(statement).await.map_err(end_of_begin)?)
            }
        };
        Ok(Self {
            held: Some(held),
            dialect,
            fault: Fault::None,
        })
    }

    /// Commits if `outcome` is `Ok` and no statement failed; rolls back otherwise.
    async fn finish<T, E: From<StoreError>>(mut self, outcome: Result<T, E>) -> Result<T, End<E>> {
        match (outcome, self.fault) {
            (Ok(value), Fault::None) => match self.commit().await {
                Ok(()) => Ok(value),
                Err(error) if is_refused_commit(&error) => {
                    self.rollback().await;
                    Err(End::Again(StoreError::from(error).into()))
                }
                Err(error) => {
                    self.rollback().await;
                    Err(End::Over(StoreError::from(error).into()))
                }
            },
            (outcome, fault) => {
                self.rollback().await;
                let error = outcome.err().unwrap_or_else(|| StoreError::Abandoned.into());
                Err(if fault == Fault::Transient {
                    End::Again(error)
                } else {
                    End::Over(error)
                })
            }
        }
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        match &mut self.held {
            Some(Held::Own(lent)) => {
                let connection = lent.connection().map_err(|_| sqlx::Error::PoolClosed)?;
                sqlx::query("COMMIT").execute(connection).await?;
                self.held = None;
                Ok(())
            }
            Some(Held::Pooled(_)) => match self.held.take() {
                Some(Held::Pooled(transaction)) => transaction.commit().await,
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    async fn rollback(&mut self) {
        match &mut self.held {
            Some(Held::Own(lent)) => lent.undo().await,
            Some(Held::Pooled(_)) => {
                if let Some(Held::Pooled(transaction)) = self.held.take()
                    && transaction.rollback().await.is_err()
                {
                    tracing::debug!("a transaction could not be rolled back; its connection is given up");
                }
            }
            None => {}
        }
        self.held = None;
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        match &mut self.held {
            Some(Held::Own(lent)) => lent.connection(),
            Some(Held::Pooled(transaction)) => Ok(&mut **transaction),
            None => Err(StoreError::unavailable("ended")),
        }
    }

    fn noted<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            let fault = if is_transient(&error) {
                Fault::Transient
            } else {
                Fault::Lasting
            };
            self.fault = self.fault.max(fault);
            StoreError::from(error)
        })
    }
}

/// Begins on an own connection. Were a transaction still open on it (its caller went away while the process was
/// ending), the first `BEGIN` fails; so the second attempt comes after a rollback.
async fn begin_sqlite(lent: &mut Lent, door: Door) -> Result<(), End<StoreError>> {
    let statement = match door {
        Door::Read => "BEGIN",
        Door::Write => "BEGIN IMMEDIATE",
    };
    let first = sqlx::query(statement)
        .execute(lent.connection().map_err(End::Over)?)
        .await;
    match first {
        Ok(_) => Ok(()),
        Err(error) if is_transient(&error) => Err(End::Again(error.into())),
        Err(_) => {
            lent.undo().await;
            let second = sqlx::query(statement)
                .execute(lent.connection().map_err(End::Over)?)
                .await;
            second.map(drop).map_err(end_of_begin)
        }
    }
}

fn end_of_begin(error: sqlx::Error) -> End<StoreError> {
    if is_transient(&error) {
        End::Again(error.into())
    } else {
        End::Over(error.into())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A pooled transaction undoes itself; an own connection is undone here.
        if let Some(Held::Own(lent)) = self.held.take() {
            lent.undo_and_give_back();
        }
    }
}

impl<E> End<E> {
    /// The same ending with another error.
    pub(crate) fn map<F>(self, f: impl FnOnce(E) -> F) -> End<F> {
        match self {
            Self::Again(error) => End::Again(f(error)),
            Self::Over(error) => End::Over(f(error)),
        }
    }
}
