//! A fixed set of SQLite connections that are lent one at a time, first come, first served.
//! Called by the transaction door only. A connection to a file does not go stale, so nothing is pinged or re-opened,
//! which keeps the gap between two transactions of the one writer to microseconds.
//! Never lends out a connection with a transaction left open.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::SqliteConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;

/// The connections that nobody uses just now, and one permit for each.
pub(crate) struct Slots {
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Arc<Semaphore>,
    size: u32,
}

/// One lent connection; it goes back when dropped.
pub(crate) struct Lent {
    connection: Option<SqliteConnection>,
    home: Arc<Slots>,
    /// Released after the connection is back: fields are dropped after `drop` has run.
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(connections: Vec<SqliteConnection>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections.len()));
        let size = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        Arc::new(Self {
            idle: Mutex::new(connections),
            permits,
            size,
        })
    }

    /// Waits for a free connection.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Lent, StoreError> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::unavailable("closed"))?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = Some(connection.ok_or(StoreError::unavailable("closed"))?);
        Ok(Lent {
            connection,
            home: self.clone(),
            _permit: permit,
        })
    }

    /// Refuses every further loan and closes the idle connections, which lets SQLite fold its log into the file.
    pub(crate) async fn close(&self) {
        let _all = self.permits.acquire_many(self.size).await;
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            if sqlx::Connection::close(connection).await.is_err() {
                tracing::debug!("a store connection did not close cleanly");
            }
        }
    }
}

impl Lent {
    /// The connection itself.
    pub(crate) fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::unavailable("closed"))
    }

    /// Undoes what was begun on this connection in the background, then gives it back. For a caller who went away in
    /// the middle of a transaction. Outside a runtime (the process is ending) the next loan has to undo it.
    pub(crate) fn undo_and_give_back(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move { self.undo().await });
    }

    /// Rolls back; SQLite may have done so by itself already, which is no fault. Whatever else is wrong with the
    /// connection shows at the next statement.
    pub(crate) async fn undo(&mut self) {
        if let Ok(connection) = self.connection()
            && sqlx::query("ROLLBACK").execute(connection).await.is_err()
        {
            tracing::debug!("a store connection had nothing to roll back");
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.home
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}
