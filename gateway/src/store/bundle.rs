//! Rows of members' recovery bundles, in chunks under the hash of the whole. Called by [`crate::bundles`].
//! Never lets a kept one go before the new one is whole, nor for one that another secret fetches; never gives a chunk of one that is still coming.

use kith_proto::id::OrgId;
use kith_service::store::{StoreError, Tx, bytes, column, query};

const TABLE: &str = "bundle";

/// A kept bundle of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRow {
    /// When its node made it, by its own word.
    pub made_at_ms: i64,
    /// How long it is.
    pub bytes: i64,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// SHA-256 of the secret that fetches it.
    pub fetch_hash: [u8; 32],
    /// Whether no other took its place.
    pub is_newest: bool,
}

const ALL: &str = "SELECT made_at_ms, bytes, hash, fetch_hash, replaced_at_ms FROM bundle WHERE organisation = $1 \
    ORDER BY CASE WHEN replaced_at_ms IS NULL THEN 0 ELSE 1 END, replaced_at_ms DESC";

/// The kept bundles, the newest first.
pub async fn all(tx: &mut Tx, organisation: &str) -> Result<Vec<BundleRow>, StoreError> {
    let rows = tx.all(query(ALL).bind(organisation.to_owned())).await?;
    let read = |row| {
        let replaced_at_ms: Option<i64> = column(&row, TABLE, "replaced_at_ms")?;
        Ok(BundleRow {
            made_at_ms: column(&row, TABLE, "made_at_ms")?,
            bytes: column(&row, TABLE, "bytes")?,
            hash: bytes(&row, TABLE, "hash")?,
            fetch_hash: bytes(&row, TABLE, "fetch_hash")?,
            is_newest: replaced_at_ms.is_none(),
        })
    };
    rows.into_iter().map(read).collect()
}

const DROP_SAME: &str = "DELETE FROM bundle WHERE organisation = $1 AND fetch_hash = $2 AND hash <> $3";
const REPLACE: &str =
    "UPDATE bundle SET replaced_at_ms = $1 WHERE organisation = $2 AND hash <> $3 AND replaced_at_ms IS NULL";
const PUT: &str = "INSERT INTO bundle (organisation, made_at_ms, bytes, hash, fetch_hash, kept_at_ms, replaced_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (organisation, hash) DO UPDATE SET replaced_at_ms = NULL";

/// Makes a whole bundle the newest: those that the same secret fetches go, those of another secret stay for now.
pub async fn put(tx: &mut Tx, organisation: &OrgId, row: &BundleRow, now_ms: i64) -> Result<(), StoreError> {
    let member = organisation.as_str();
    let drop_same = query(DROP_SAME)
        .bind(member.to_owned())
        .bind(row.fetch_hash.to_vec())
        .bind(row.hash.to_vec());
    tx.run(drop_same).await?;
    let replace = query(REPLACE)
        .bind(now_ms)
        .bind(member.to_owned())
        .bind(row.hash.to_vec());
    tx.run(replace).await?;
    let put = query(PUT)
        .bind(member.to_owned())
        .bind(row.made_at_ms)
        .bind(row.bytes)
        .bind(row.hash.to_vec())
        .bind(row.fetch_hash.to_vec())
        .bind(now_ms);
    tx.run(put).await.map(drop)
}

const PUT_CHUNK: &str =
    "INSERT INTO bundle_chunk (organisation, hash, number, bytes, at_ms) VALUES ($1, $2, $3, $4, $5)";

/// Keeps one chunk of a bundle that is coming.
pub async fn put_chunk(
    tx: &mut Tx,
    (organisation, hash): (&OrgId, &[u8; 32]),
    number: i64,
    bytes: &[u8],
    now_ms: i64,
) -> Result<(), StoreError> {
    let put = query(PUT_CHUNK)
        .bind(organisation.as_str().to_owned())
        .bind(hash.to_vec())
        .bind(number)
        .bind(bytes)
        .bind(now_ms);
    tx.run(put).await.map(drop)
}

const CHUNK: &str = "SELECT bytes FROM bundle_chunk WHERE organisation = $1 AND hash = $2 AND number = $3";

/// One chunk; `None` after the last, or when a newer bundle took its place.
pub async fn chunk(
    tx: &mut Tx,
    (organisation, hash): (&str, &[u8; 32]),
    number: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let asked = query(CHUNK)
        .bind(organisation.to_owned())
        .bind(hash.to_vec())
        .bind(number);
    let row = tx.one(asked).await?;
    row.map(|row| column(&row, "bundle_chunk", "bytes")).transpose()
}

const DROP_OTHERS: &str = "DELETE FROM bundle_chunk WHERE organisation = $1 AND hash NOT IN (SELECT hash FROM bundle WHERE organisation = $1)";

/// Deletes every chunk of a member that is not of one of its kept bundles.
pub async fn drop_others(tx: &mut Tx, organisation: &OrgId) -> Result<u64, StoreError> {
    tx.run(query(DROP_OTHERS).bind(organisation.as_str().to_owned()))
        .await
}

const FORGET_REPLACED: &str = "DELETE FROM bundle WHERE replaced_at_ms < $1 AND kept_at_ms < $2";
const FORGET: &str = "DELETE FROM bundle_chunk WHERE at_ms < $1 AND NOT EXISTS \
    (SELECT 1 FROM bundle WHERE bundle.organisation = bundle_chunk.organisation AND bundle.hash = bundle_chunk.hash)";

/// Deletes bundles that were both replaced and kept before these times.
pub async fn forget_replaced(tx: &mut Tx, replaced_ms: i64, kept_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET_REPLACED).bind(replaced_ms).bind(kept_ms))
        .await
}

/// Deletes older chunks of bundles that never became whole, or that are kept no longer.
pub async fn forget(tx: &mut Tx, before_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET).bind(before_ms)).await
}
