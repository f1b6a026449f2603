//! New rows of `message`: who spoke when on a thread. Called by messages and receiving.
//! Never holds the words: they are content that names the message.

use kith_proto::id::{MessageId, ThreadId};
use kith_service::store::{Insert, Row, StoreError, Tx, WithRows};

use super::id;
use crate::threads::Side;

static INSERT: Insert = Insert::into(
    "INSERT INTO message (thread_id, message_id, side, at_ms)",
    4,
    "ON CONFLICT (thread_id, message_id) DO NOTHING",
);

static FIND: WithRows = WithRows::new(
    "WITH v(of_thread, of_message) AS (VALUES",
    2,
    "SELECT thread_id, message_id FROM v JOIN message ON thread_id = v.of_thread AND message_id = v.of_message",
);

/// Those of these messages that are there, in no order.
pub async fn known(
    tx: &mut Tx,
    ids: &[(ThreadId, MessageId)],
) -> Result<Vec<(ThreadId, MessageId)>, StoreError> {
    let rows = FIND.all(tx, ids, |q, (thread, message)| {
        q.bind(thread.as_bytes().to_vec())
            .bind(message.as_bytes().to_vec())
    });
    let read = |row: &Row| {
        Ok((
            id(row, "message", "thread_id")?,
            id(row, "message", "message_id")?,
        ))
    };
    rows.await?.iter().map(read).collect()
}

/// A message that is new here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The thread.
    pub thread_id: ThreadId,
    /// The message.
    pub message_id: MessageId,
    /// Which side of the thread said it.
    pub side: Side,
    /// When it was said, or came.
    pub at_ms: i64,
}

/// Inserts messages; one that is there stays as it is. Says how many were new.
pub async fn insert(tx: &mut Tx, rows: &[NewMessage]) -> Result<u64, StoreError> {
    let insert = INSERT.rows(tx, rows, |q, row| {
        let q = q
            .bind(row.thread_id.as_bytes().to_vec())
            .bind(row.message_id.as_bytes().to_vec());
        q.bind(row.side.as_str()).bind(row.at_ms)
    });
    insert.await
}
