//! Rows of `passkey`. Called by [`passkeys`](crate::passkeys) alone.
//! Never holds a secret: those stay in people's devices.

use kith_proto::id::TokenId;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::id;

const TABLE: &str = "passkey";

/// A passkey as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRow {
    /// What the device calls it.
    pub credential_id: Vec<u8>,
    /// Whose it is.
    pub colleague_id: TokenId,
    /// The public key and what is known of the device, as the library writes it.
    pub passkey: Vec<u8>,
    /// When it was made.
    pub made_at_ms: i64,
    /// When somebody last signed in with it.
    pub used_at_ms: Option<i64>,
}

const INSERT: &str = "INSERT INTO passkey (credential_id, colleague_id, passkey, made_at_ms) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (credential_id) DO NOTHING";

/// Inserts a passkey; whether it was new.
pub async fn insert(tx: &mut Tx, row: &PasskeyRow) -> Result<bool, StoreError> {
    let insert = query(INSERT)
        .bind(row.credential_id.clone())
        .bind(row.colleague_id.as_bytes().to_vec())
        .bind(row.passkey.clone())
        .bind(row.made_at_ms);
    Ok(tx.run(insert).await? == 1)
}

const OF: &str = "SELECT credential_id, colleague_id, passkey, made_at_ms, used_at_ms FROM passkey WHERE colleague_id = $1 \
     ORDER BY made_at_ms, credential_id LIMIT $2";

/// The passkeys of a colleague, oldest first.
pub async fn of(tx: &mut Tx, colleague_id: &TokenId, limit: i64) -> Result<Vec<PasskeyRow>, StoreError> {
    let select = query(OF).bind(colleague_id.as_bytes().to_vec()).bind(limit);
    tx.all(select).await?.iter().map(read).collect()
}

const FIND: &str = "SELECT credential_id, colleague_id, passkey, made_at_ms, used_at_ms FROM passkey \
     WHERE credential_id = $1 AND colleague_id = $2";

/// One passkey of a colleague.
pub async fn find(
    tx: &mut Tx,
    credential_id: &[u8],
    colleague_id: &TokenId,
) -> Result<Option<PasskeyRow>, StoreError> {
    let select = query(FIND)
        .bind(credential_id.to_vec())
        .bind(colleague_id.as_bytes().to_vec());
    tx.one(select).await?.as_ref().map(read).transpose()
}

const USED: &str =
    "UPDATE passkey SET passkey = $2, used_at_ms = $3 WHERE credential_id = $1 AND passkey = $4";

/// Writes what a sign-in changed of a passkey, if nothing else has changed it since it was read; whether it has not.
pub async fn used(
    tx: &mut Tx,
    before: &PasskeyRow,
    passkey: Vec<u8>,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let update = query(USED)
        .bind(before.credential_id.clone())
        .bind(passkey)
        .bind(now_ms)
        .bind(before.passkey.clone());
    Ok(tx.run(update).await? == 1)
}

const END: &str = "DELETE FROM passkey WHERE credential_id = $1 AND colleague_id = $2";
const END_ALL: &str = "DELETE FROM passkey WHERE colleague_id = $1";

/// Takes a passkey of a colleague away; whether there was one.
pub async fn end(tx: &mut Tx, credential_id: &[u8], colleague_id: &TokenId) -> Result<bool, StoreError> {
    let delete = query(END)
        .bind(credential_id.to_vec())
        .bind(colleague_id.as_bytes().to_vec());
    Ok(tx.run(delete).await? == 1)
}

/// Takes every passkey of a colleague away.
pub async fn end_all(tx: &mut Tx, colleague_id: &TokenId) -> Result<(), StoreError> {
    let delete = query(END_ALL).bind(colleague_id.as_bytes().to_vec());
    tx.run(delete).await.map(drop)
}

fn read(row: &Row) -> Result<PasskeyRow, StoreError> {
    Ok(PasskeyRow {
        credential_id: column(row, TABLE, "credential_id")?,
        colleague_id: id(row, TABLE, "colleague_id")?,
        passkey: column(row, TABLE, "passkey")?,
        made_at_ms: column(row, TABLE, "made_at_ms")?,
        used_at_ms: column(row, TABLE, "used_at_ms")?,
    })
}
