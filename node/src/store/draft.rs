//! Rows of `draft`. Called by [`drafts`](crate::drafts) alone.
//! Never reads what is sealed together with whose it is for a list.

use kith_proto::id::{PersonId, RequestId, TokenId};
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::id;

const TABLE: &str = "draft";

/// A draft as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct DraftRow {
    /// Its id: that of the request that began it.
    pub draft_id: RequestId,
    /// Who makes it.
    pub colleague_id: TokenId,
    /// Whom it is about.
    pub person_id: PersonId,
    /// What was answered so far.
    pub sealed: Vec<u8>,
    /// When it was changed last.
    pub changed_at_ms: i64,
}

const BEGIN: &str = "INSERT INTO draft (draft_id, colleague_id, person_id, sealed, changed_at_ms) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (draft_id) DO NOTHING";

/// Begins a draft; one that was begun before stays as it is.
pub async fn begin(tx: &mut Tx, row: &DraftRow) -> Result<(), StoreError> {
    let insert = query(BEGIN)
        .bind(row.draft_id.as_bytes().to_vec())
        .bind(row.colleague_id.as_bytes().to_vec())
        .bind(row.person_id.as_bytes().to_vec())
        .bind(row.sealed.clone())
        .bind(row.changed_at_ms);
    tx.run(insert).await.map(drop)
}

const FIND: &str = "SELECT draft_id, colleague_id, person_id, sealed, changed_at_ms FROM draft \
     WHERE draft_id = $1 AND colleague_id = $2";

/// A draft of this colleague.
pub async fn find(
    tx: &mut Tx,
    draft_id: &RequestId,
    colleague_id: &TokenId,
) -> Result<Option<DraftRow>, StoreError> {
    let select = query(FIND)
        .bind(draft_id.as_bytes().to_vec())
        .bind(colleague_id.as_bytes().to_vec());
    tx.one(select).await?.as_ref().map(read).transpose()
}

const SAVE: &str =
    "UPDATE draft SET sealed = $3, changed_at_ms = $4 WHERE draft_id = $1 AND colleague_id = $2";

/// Writes what was answered so far; whether the draft is still there.
pub async fn save(
    tx: &mut Tx,
    (draft_id, colleague_id): (&RequestId, &TokenId),
    sealed: Vec<u8>,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let update = query(SAVE)
        .bind(draft_id.as_bytes().to_vec())
        .bind(colleague_id.as_bytes().to_vec())
        .bind(sealed)
        .bind(now_ms);
    Ok(tx.run(update).await? == 1)
}

const END: &str = "DELETE FROM draft WHERE draft_id = $1 AND colleague_id = $2";

/// Ends a draft.
pub async fn end(tx: &mut Tx, draft_id: &RequestId, colleague_id: &TokenId) -> Result<(), StoreError> {
    let delete = query(END)
        .bind(draft_id.as_bytes().to_vec())
        .bind(colleague_id.as_bytes().to_vec());
    tx.run(delete).await.map(drop)
}

const OF: &str = "SELECT draft_id, changed_at_ms FROM draft WHERE colleague_id = $1 ORDER BY changed_at_ms DESC, draft_id LIMIT $2";

/// The newest drafts of a colleague, with when each was changed last.
pub async fn of(
    tx: &mut Tx,
    colleague_id: &TokenId,
    limit: i64,
) -> Result<Vec<(RequestId, i64)>, StoreError> {
    let select = query(OF).bind(colleague_id.as_bytes().to_vec()).bind(limit);
    let rows = tx.all(select).await?;
    let read = |row: &Row| Ok((id(row, TABLE, "draft_id")?, column(row, TABLE, "changed_at_ms")?));
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<DraftRow, StoreError> {
    Ok(DraftRow {
        draft_id: id(row, TABLE, "draft_id")?,
        colleague_id: id(row, TABLE, "colleague_id")?,
        person_id: id(row, TABLE, "person_id")?,
        sealed: column(row, TABLE, "sealed")?,
        changed_at_ms: column(row, TABLE, "changed_at_ms")?,
    })
}
