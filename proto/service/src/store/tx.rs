//! One transaction: begin, the caller's statements, commit or rollback, and whether it may be run again.
//! Called by `Store::tx`, `Store::read` and the batch writer; use-cases see only `Tx`.
//! Never commits after a failed statement: PostgreSQL would silently keep nothing, so it is refused on both.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Any, Transaction};

use super::error::{StoreError, is_refused_commit, is_transient};
use super::open::{Dialect, Doors};
use super::query::{Connection, Query, Row};
use super::slots::Lent;

/// How often a transaction is run before its caller is told that the store is busy. Each SQLite attempt may already
/// have waited for its busy timeout of 5 s, so five stay within a call's default deadline of 30 s.
pub const TX_ATTEMPTS: u32 = 5;

/// An open transaction, handed to a closure of [`Store::tx`](super::Store::tx) or [`Store::read`](super::Store::read).
/// It is owned, not borrowed, so that the closure's future has no lifetime of its own and is `Send` wherever its
/// captures are; dropping it gives it back to the store, which then commits or rolls back.
pub struct Tx {
    /// `None` only while it is being dropped.
    open: Option<Open>,
    dialect: Dialect,
    back: Arc<Mutex<Option<Open>>>,
}

/// What the store keeps of a transaction.
pub(crate) struct Open {
    /// `None` only once the transaction has ended.
    held: Option<Held>,
    dialect: Dialect,
    look: Look,
    fault: Fault,
}

/// Whether this is a single statement that needs no transaction around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    No,
    Fresh,
    Done,
}

/// SQLite connections are the store's own; PostgreSQL ones come from a pool that renews broken ones.
enum Held {
    Own(Lent),
    Pooled(Transaction<'static, Any>),
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
    Look,
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
    pub async fn run(&mut self, query: Query) -> Result<u64, StoreError> {
        let open = self.open()?;
        let outcome = query.run(open.connection()?).await;
        open.noted(outcome)
    }

    /// Runs a statement and gives its first row, if there is one.
    pub async fn one(&mut self, query: Query) -> Result<Option<Row>, StoreError> {
        let open = self.open()?;
        let outcome = query.one(open.connection()?).await;
        open.noted(outcome)
    }

    /// Runs a statement and gives all its rows; the statement itself must carry a limit.
    pub async fn all(&mut self, query: Query) -> Result<Vec<Row>, StoreError> {
        let open = self.open()?;
        let outcome = query.all(open.connection()?).await;
        open.noted(outcome)
    }

    /// Which database this is; decides placeholders and how many values one statement may carry.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
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
            dialect: self.dialect,
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
                Held::Own(slots.lend().await.map_err(End::Over)?)
            }
            Doors::Postgres(pool) => {
                let statement = match door {
                    Door::Look | Door::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                    Door::Write => "BEGIN",
                };
                Held::Pooled(begin_pooled(pool, statement).await?)
            }
        };
        // From here on a caller that goes away has its `BEGIN` undone.
        let mut open = Self {
            held: Some(held),
            dialect,
            look: if door == Door::Look { Look::Fresh } else { Look::No },
            fault: Fault::None,
        };
        if door != Door::Look
            && let Some(Held::Own(lent)) = &mut open.held
            && let Err(end) = begin_sqlite(lent, door).await
        {
            open.held = None;
            return Err(end);
        }
        Ok(open)
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
            Some(Held::Own(_)) if self.look != Look::No => {
                self.held = None;
                Ok(())
            }
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
            Some(Held::Own(_)) if self.look != Look::No => {}
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

    /// The connection for the next statement; none after one that failed: SQLite may have rolled back by itself, and what
    /// came then would stand alone.
    fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        if self.fault != Fault::None {
            return Err(StoreError::Abandoned);
        }
        match self.look {
            Look::No => {}
            Look::Fresh => self.look = Look::Done,
            Look::Done => {
                self.fault = Fault::Lasting;
                return Err(StoreError::failed("a second statement in a look"));
            }
        }
        match &mut self.held {
            Some(Held::Own(lent)) => lent.connection().map(Connection::Sqlite),
            Some(Held::Pooled(transaction)) => Ok(Connection::Any(transaction)),
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

/// Begins on a connection of the pool, in a task of its own: the driver counts a transaction only once its `BEGIN` was
/// answered, so a caller that went away before would give a connection back with a transaction open that nobody ends,
/// and the next caller would find itself inside it, read-only or on an old view.
async fn begin_pooled(
    pool: &sqlx::Pool<Any>,
    statement: &'static str,
) -> Result<Transaction<'static, Any>, End<StoreError>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    match begun {
        Ok(outcome) => outcome.map_err(end_of_begin),
        Err(_) => Err(End::Over(StoreError::unavailable("begin"))),
    }
}

/// Begins on an own connection. Were a transaction still open on it (its caller went away while the process was
/// ending), the first `BEGIN` fails; so the second attempt comes after a rollback.
async fn begin_sqlite(lent: &mut Lent, door: Door) -> Result<(), End<StoreError>> {
    let statement = match door {
        Door::Look | Door::Read => "BEGIN",
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
        match self.held.take() {
            Some(Held::Own(lent)) if self.look == Look::No => lent.undo_and_give_back(),
            _ => {}
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
