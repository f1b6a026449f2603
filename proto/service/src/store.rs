//! The store: one database, SQLite or PostgreSQL, behind two doors, `tx` and `batch`.
//! Called by the use-cases of the node and the gateway; each statement is a constant beside the function that runs it.
//! Never lets a statement run outside a transaction, and never logs or returns a stored value in an error.
//!
//! Schema rules that keep one text for both databases: TEXT, BIGINT (INTEGER) and BYTEA (BLOB) only, `$n` placeholders,
//! columns listed, aggregates cast to BIGINT, no boolean expression in a result, no time of the database's own.
//!
//! ```text
//! tx, read, look ──> Tx ──> one writer, four readers (SQLite) or a pool (PostgreSQL)
//! batch ──> queue ──> one writer task ──> tx
//! ```

mod batch;
mod error;
mod insert;
mod open;
mod query;
mod row;
mod slots;
mod tables;
mod text;
mod tx;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub use batch::{BATCH_QUEUE_MAX, Batch, BatchAnswers, Rows};
pub use error::{Cause, StoreError};
pub use insert::{InList, Insert, WithRows};
pub use open::{Migrations, Owner};
pub use query::{Query, Row, Value};
pub use row::{Column, bytes, column};
pub use tables::{Kind, Table};
pub use tx::{TX_ATTEMPTS, Tx};

use open::{Claim, Doors};
use tx::{Door, End, Open};

/// An open store. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Store {
    doors: Arc<Doors>,
    blocking: bool,
}

/// Makes a statement from its constant text; bind its values with `.bind(…)`, in order.
pub fn query(text: &'static str) -> Query {
    Query::new(text)
}

impl Store {
    /// Opens the database at `url` (`sqlite:///path/file.db` or `postgres://…`) and brings its schema up to date.
    ///
    /// A missing SQLite file is made; one writer and four readers are opened. PostgreSQL gets a pool of eight.
    /// `product` names the program (`"kith-node"`) and is written into a new database.
    ///
    /// Errors: `Newer` for a schema of a newer program, `Foreign` for the database of another product or one with
    /// tables of nobody's, `Locked` when another process holds it for seconds, `Unavailable` when it cannot be reached,
    /// `Failed` for a URL that cannot be read or a migration that does not run.
    pub async fn open(url: &str, product: &'static str, migrations: Migrations) -> Result<Self, StoreError> {
        let claim = Claim { product, owner: None };
        Self::open_claimed(url, claim, migrations).await
    }

    /// As [`open`](Self::open), and `Foreign` for the database of another owner, whose schema is then left as it is.
    pub async fn open_of(
        url: &str,
        product: &'static str,
        owner: Owner<'_>,
        migrations: Migrations,
    ) -> Result<Self, StoreError> {
        let claim = Claim {
            product,
            owner: Some(owner),
        };
        Self::open_claimed(url, claim, migrations).await
    }

    async fn open_claimed(url: &str, claim: Claim<'_>, migrations: Migrations) -> Result<Self, StoreError> {
        let doors = Arc::new(Doors::open(url, claim, migrations).await?);
        Ok(Self {
            doors,
            blocking: false,
        })
    }

    /// For simulations on one thread: runs an opening to its end before any other task moves, and gives a
    /// [`blocking`](Self::blocking) store.
    pub async fn open_blocking(
        opening: impl Future<Output = Result<Self, StoreError>>,
    ) -> Result<Self, StoreError> {
        Ok(to_its_end(opening).await?.blocking())
    }

    /// For simulations on one thread: every transaction then runs to its end before any other task moves, so that
    /// the database's own threads cannot change the order of events. Call it before [`batch`](Self::batch). For SQLite
    /// only: PostgreSQL's answers come over a socket that the blocked thread itself would have to read.
    #[must_use]
    pub fn blocking(self) -> Self {
        Self {
            blocking: true,
            ..self
        }
    }

    /// Runs `f` in a transaction for reading and writing; `name` is for the log.
    ///
    /// Commits when `f` gives `Ok`, rolls back when it gives `Err`. When another transaction was in the way, `f` is
    /// run again, up to [`TX_ATTEMPTS`] times, so it must have no effects outside the database. Once a statement has
    /// failed, nothing is committed: returning `Ok` after passing over a failure gives `Abandoned`.
    /// On SQLite writers go one after another; calling a door inside `f` would wait for ever.
    ///
    /// ```ignore
    /// store.tx("accept", |mut tx| async move {
    ///     let moved = tx.run(query(ACCEPT).bind(id).bind(now_ms)).await?;
    ///     if moved == 1 { Ok(()) } else { Err(Refused::WrongState) }
    /// }).await?;
    /// ```
    pub async fn tx<T, E, F, Fut>(&self, name: &'static str, f: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.through(Door::Write, name, f).await
    }

    /// Runs `f` in a transaction that may only read, on one unchanging view of the data, beside any writer.
    /// Otherwise as [`tx`](Self::tx).
    pub async fn read<T, E, F, Fut>(&self, name: &'static str, f: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.through(Door::Read, name, f).await
    }

    /// Runs `f` with one statement that reads: a statement alone is its own unchanging view, so SQLite is spared the
    /// transaction around it, which costs as much again. A second statement is refused with `Failed`. Otherwise as
    /// [`read`](Self::read).
    pub async fn look<T, E, F, Fut>(&self, name: &'static str, f: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.through(Door::Look, name, f).await
    }

    /// Starts the one writer of a batch door and gives its handle. The writer runs `f` with up to `rows_max` rows in
    /// one transaction, again if need be, and answers each caller after the commit; a row answered `Err` refuses
    /// itself, not the others. When the rows are refused together for what they hold, each call's rows are tried alone.
    ///
    /// ```ignore
    /// let door = store.batch("receive", 256, |mut tx, rows| async move { receive_rows(&mut tx, &rows).await });
    /// ```
    pub fn batch<R, A, E, F, Fut>(&self, name: &'static str, rows_max: usize, f: F) -> Batch<R, A, E>
    where
        R: Send + Sync + 'static,
        A: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(Tx, Rows<R>) -> Fut + Send + 'static,
        Fut: Future<Output = BatchAnswers<A, E>> + Send + 'static,
    {
        Batch::start(self.clone(), name, rows_max, f)
    }

    /// Waits for open transactions and closes every connection; later calls give `Unavailable`.
    pub async fn close(&self) {
        if self.blocking {
            to_its_end(self.doors.close()).await;
        } else {
            self.doors.close().await;
        }
    }

    async fn through<T, E, F, Fut>(&self, door: Door, name: &'static str, mut f: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if !self.blocking {
            return self.attempts(door, name, &mut f).await;
        }
        to_its_end(self.attempts(door, name, &mut f)).await
    }

    async fn attempts<T, E, F, Fut>(&self, door: Door, name: &'static str, f: &mut F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut attempt = 1;
        loop {
            let ended = match Open::begin(&self.doors, door).await {
                Ok(open) => open.with(f).await,
                Err(end) => Err(end.map(E::from)),
            };
            match ended {
                Ok(value) => return Ok(value),
                Err(End::Again(_)) if attempt < TX_ATTEMPTS => {
                    tracing::debug!(tx = name, attempt, "another transaction was in the way");
                    self.doors.step_aside(attempt).await;
                    attempt += 1;
                }
                Err(End::Again(error) | End::Over(error)) => return Err(error),
            }
        }
    }
}

/// Blocks the thread until `work` has ended, then lets other tasks move.
async fn to_its_end<T>(work: impl Future<Output = T>) -> T {
    // Nobody else moves meanwhile, so tokio's own cooperation budget must not make this wait for itself.
    let outcome = futures::executor::block_on(tokio::task::unconstrained(work));
    tokio::task::yield_now().await;
    outcome
}
