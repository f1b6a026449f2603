//! Rows of members' recovery bundles, in chunks under the hash of the whole. Called by [`crate::bundles`].
//! Never lets the kept one go before the new one is whole; never gives a chunk of one that is still coming.

use kith_proto::id::OrgId;
use kith_service::store::{StoreError, Tx, bytes, column, query};

const TABLE: &str = "bundle";

/// The kept bundle of a member.
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
}

const GET: &str = "SELECT made_at_ms, bytes, hash, fetch_hash FROM bundle WHERE organisation = $1";

/// The kept bundle; `None` when there is none.
pub async fn get(tx: &mut Tx, organisation: &str) -> Result<Option<BundleRow>, StoreError> {
    let Some(row) = tx.one(query(GET).bind(organisation.to_owned())).await? else {
        return Ok(None);
    };
    Ok(Some(BundleRow {
        made_at_ms: column(&row, TABLE, "made_at_ms")?,
        bytes: column(&row, TABLE, "bytes")?,
        hash: bytes(&row, TABLE, "hash")?,
        fetch_hash: bytes(&row, TABLE, "fetch_hash")?,
    }))
}

const PUT: &str = "INSERT INTO bundle (organisation, made_at_ms, bytes, hash, fetch_hash, kept_at_ms) VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (organisation) DO UPDATE SET made_at_ms = excluded.made_at_ms, bytes = excluded.bytes, hash = excluded.hash, \
    fetch_hash = excluded.fetch_hash, kept_at_ms = excluded.kept_at_ms";

/// Makes a whole bundle the kept one.
pub async fn put(tx: &mut Tx, organisation: &OrgId, row: &BundleRow, now_ms: i64) -> Result<(), StoreError> {
    let put = query(PUT)
        .bind(organisation.as_str().to_owned())
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

/// Deletes every chunk of a member that is not of its kept bundle.
pub async fn drop_others(tx: &mut Tx, organisation: &OrgId) -> Result<u64, StoreError> {
    tx.run(query(DROP_OTHERS).bind(organisation.as_str().to_owned()))
        .await
}

const FORGET: &str = "DELETE FROM bundle_chunk WHERE at_ms < $1 AND NOT EXISTS \
    (SELECT 1 FROM bundle WHERE bundle.organisation = bundle_chunk.organisation AND bundle.hash = bundle_chunk.hash)";

/// Deletes chunks of bundles that never became whole.
pub async fn forget(tx: &mut Tx, before_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET).bind(before_ms)).await
}
