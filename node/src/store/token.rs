//! Rows of `token`. Called by [`tokens`](crate::tokens) alone.
//! Never holds a token, only its hash.

use kith_proto::id::TokenId;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::{id, word};
use crate::tokens::Roles;

const TABLE: &str = "token";
const INSERT: &str =
    "INSERT INTO token (token_id, token_hash, roles, label, created_at_ms) VALUES ($1, $2, $3, $4, $5)";
const BY_HASH: &str =
    "SELECT token_id, roles, label, created_at_ms, revoked_at_ms FROM token WHERE token_hash = $1";
const LIST: &str = "SELECT token_id, roles, label, created_at_ms, revoked_at_ms FROM token ORDER BY created_at_ms, token_id LIMIT 1000";
const REVOKE: &str = "UPDATE token SET revoked_at_ms = $2 WHERE token_id = $1 AND revoked_at_ms IS NULL";

/// A token as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub token_id: TokenId,
    /// What its bearer may do.
    pub roles: Roles,
    /// Whose it is, in the admin's words.
    pub label: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
}

/// Inserts a token.
pub async fn insert(tx: &mut Tx, token: &Token, hash: &[u8; 32]) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(token.token_id.as_bytes().to_vec())
        .bind(hash.to_vec());
    let insert = insert
        .bind(token.roles.to_string())
        .bind(token.label.clone())
        .bind(token.created_at_ms);
    tx.run(insert).await.map(drop)
}

/// Finds the token of a hash, revoked or not.
pub async fn by_hash(tx: &mut Tx, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    tx.one(query(BY_HASH).bind(hash.to_vec()))
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Lists the first thousand, oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Token>, StoreError> {
    tx.all(query(LIST)).await?.iter().map(read).collect()
}

/// Revokes a token; whether there was one to revoke.
pub async fn revoke(tx: &mut Tx, token_id: &TokenId, at_ms: i64) -> Result<bool, StoreError> {
    let revoke = query(REVOKE).bind(token_id.as_bytes().to_vec()).bind(at_ms);
    Ok(tx.run(revoke).await? == 1)
}

fn read(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        token_id: id(row, TABLE, "token_id")?,
        roles: word(row, TABLE, "roles")?,
        label: column(row, TABLE, "label")?,
        created_at_ms: column(row, TABLE, "created_at_ms")?,
        revoked_at_ms: column(row, TABLE, "revoked_at_ms")?,
    })
}
