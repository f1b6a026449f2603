//! Rows of `colleague`, `sign_in_link` and `session`. Called by [`colleagues`](crate::colleagues) alone.
//! Never holds what somebody signs in with, only its hash.

use kith_proto::id::TokenId;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::{id, word};
use crate::tokens::Roles;

const TABLE: &str = "colleague";

/// A colleague as a list shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colleague {
    /// Their id, of the kind of a token's: what they do is in the trail under it.
    pub colleague_id: TokenId,
    /// What colleagues know them by.
    pub label: String,
    /// What they may do.
    pub roles: Roles,
    /// The tag of the language that they chose last; empty until they did.
    pub language: String,
    /// When they were added.
    pub created_at_ms: i64,
    /// When they ended.
    pub ended_at_ms: Option<i64>,
}

const INSERT: &str =
    "INSERT INTO colleague (colleague_id, label, roles, language, created_at_ms) VALUES ($1, $2, $3, '', $4)";

/// Inserts a colleague.
pub async fn insert(tx: &mut Tx, row: &Colleague) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(row.colleague_id.as_bytes().to_vec())
        .bind(row.label.clone())
        .bind(row.roles.to_string())
        .bind(row.created_at_ms);
    tx.run(insert).await.map(drop)
}

const LIST: &str = "SELECT colleague_id, label, roles, language, created_at_ms, ended_at_ms FROM colleague \
     ORDER BY created_at_ms, colleague_id LIMIT 1000";

/// Lists the first thousand, oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Colleague>, StoreError> {
    tx.all(query(LIST)).await?.iter().map(read).collect()
}

const FIND: &str = "SELECT colleague_id, label, roles, language, created_at_ms, ended_at_ms FROM colleague WHERE colleague_id = $1";

/// One colleague, also one who ended.
pub async fn find(tx: &mut Tx, colleague_id: &TokenId) -> Result<Option<Colleague>, StoreError> {
    let select = query(FIND).bind(colleague_id.as_bytes().to_vec());
    tx.one(select).await?.as_ref().map(read).transpose()
}

const END: &str = "UPDATE colleague SET ended_at_ms = $2 WHERE colleague_id = $1 AND ended_at_ms IS NULL";
const END_LINK: &str = "DELETE FROM sign_in_link WHERE colleague_id = $1";
const END_SESSIONS: &str = "DELETE FROM session WHERE colleague_id = $1";

/// Ends a colleague, their link and their sessions; whether there was one to end.
pub async fn end(tx: &mut Tx, colleague_id: &TokenId, at_ms: i64) -> Result<bool, StoreError> {
    let of = |text| query(text).bind(colleague_id.as_bytes().to_vec());
    tx.run(of(END_LINK)).await?;
    tx.run(of(END_SESSIONS)).await?;
    Ok(tx.run(of(END).bind(at_ms)).await? == 1)
}

const SPEAK: &str = "UPDATE colleague SET language = $2 WHERE colleague_id = $1";

/// Keeps the language that a colleague chose.
pub async fn speak(tx: &mut Tx, colleague_id: &TokenId, language: &str) -> Result<(), StoreError> {
    let update = query(SPEAK).bind(colleague_id.as_bytes().to_vec());
    tx.run(update.bind(language.to_owned())).await.map(drop)
}

const PUT_LINK: &str = "INSERT INTO sign_in_link (colleague_id, link_hash, expires_at_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (colleague_id) DO UPDATE SET link_hash = excluded.link_hash, expires_at_ms = excluded.expires_at_ms";

/// Keeps a link in the place of an earlier one of this colleague.
pub async fn put_link(
    tx: &mut Tx,
    colleague_id: &TokenId,
    link_hash: &[u8; 32],
    expires_at_ms: i64,
) -> Result<(), StoreError> {
    let insert = query(PUT_LINK)
        .bind(colleague_id.as_bytes().to_vec())
        .bind(link_hash.to_vec())
        .bind(expires_at_ms);
    tx.run(insert).await.map(drop)
}

const BY_LINK: &str = "SELECT colleague.colleague_id AS colleague_id, label, roles, language, created_at_ms, ended_at_ms \
     FROM sign_in_link JOIN colleague ON colleague.colleague_id = sign_in_link.colleague_id \
     WHERE link_hash = $1 AND expires_at_ms > $2 AND ended_at_ms IS NULL";

/// Whom a link signs in now.
pub async fn by_link(
    tx: &mut Tx,
    link_hash: &[u8; 32],
    now_ms: i64,
) -> Result<Option<Colleague>, StoreError> {
    let select = query(BY_LINK).bind(link_hash.to_vec()).bind(now_ms);
    tx.one(select).await?.as_ref().map(read).transpose()
}

const USE_LINK: &str = "DELETE FROM sign_in_link WHERE link_hash = $1 AND expires_at_ms > $2";

/// Uses a link up; whether it was there to use.
pub async fn use_link(tx: &mut Tx, link_hash: &[u8; 32], now_ms: i64) -> Result<bool, StoreError> {
    let delete = query(USE_LINK).bind(link_hash.to_vec()).bind(now_ms);
    Ok(tx.run(delete).await? == 1)
}

const BEGIN: &str =
    "INSERT INTO session (session_hash, colleague_id, begun_at_ms, seen_at_ms) VALUES ($1, $2, $3, $3)";

/// Begins a session.
pub async fn begin(
    tx: &mut Tx,
    session_hash: &[u8; 32],
    colleague_id: &TokenId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let insert = query(BEGIN)
        .bind(session_hash.to_vec())
        .bind(colleague_id.as_bytes().to_vec())
        .bind(now_ms);
    tx.run(insert).await.map(drop)
}

const BY_SESSION: &str = "SELECT colleague.colleague_id AS colleague_id, label, roles, language, created_at_ms, ended_at_ms, begun_at_ms, \
     seen_at_ms FROM session JOIN colleague ON colleague.colleague_id = session.colleague_id \
     WHERE session_hash = $1 AND begun_at_ms > $2 AND seen_at_ms > $3 AND ended_at_ms IS NULL";

/// Whose session this is, and when it was seen last: begun after one time and seen after another.
pub async fn by_session(
    tx: &mut Tx,
    session_hash: &[u8; 32],
    (begun_ms, seen_ms): (i64, i64),
) -> Result<Option<(Colleague, i64)>, StoreError> {
    let select = query(BY_SESSION)
        .bind(session_hash.to_vec())
        .bind(begun_ms)
        .bind(seen_ms);
    let Some(row) = tx.one(select).await? else {
        return Ok(None);
    };
    Ok(Some((read(&row)?, column(&row, "session", "seen_at_ms")?)))
}

const SEEN: &str = "UPDATE session SET seen_at_ms = $2 WHERE session_hash = $1 AND seen_at_ms < $2";

/// Notes that a session was seen.
pub async fn seen(tx: &mut Tx, session_hash: &[u8; 32], now_ms: i64) -> Result<(), StoreError> {
    let update = query(SEEN).bind(session_hash.to_vec()).bind(now_ms);
    tx.run(update).await.map(drop)
}

const LEAVE: &str = "DELETE FROM session WHERE session_hash = $1";
const LEAVE_ALL: &str = "DELETE FROM session";
const NO_LINKS: &str = "DELETE FROM sign_in_link";

/// Ends a session.
pub async fn leave(tx: &mut Tx, session_hash: &[u8; 32]) -> Result<(), StoreError> {
    tx.run(query(LEAVE).bind(session_hash.to_vec())).await.map(drop)
}

/// Ends every session and every link: those of a backup may be somebody else's by now.
pub async fn leave_all(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(query(LEAVE_ALL)).await?;
    tx.run(query(NO_LINKS)).await.map(drop)
}

fn read(row: &Row) -> Result<Colleague, StoreError> {
    Ok(Colleague {
        colleague_id: id(row, TABLE, "colleague_id")?,
        label: column(row, TABLE, "label")?,
        roles: word(row, TABLE, "roles")?,
        language: column(row, TABLE, "language")?,
        created_at_ms: column(row, TABLE, "created_at_ms")?,
        ended_at_ms: column(row, TABLE, "ended_at_ms")?,
    })
}
