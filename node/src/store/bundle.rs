//! The newest recovery bundle of this node and where it is kept. Called by [`recovery`](crate::recovery) and `status`.
//! Never says that a bundle is kept anywhere but where it was seen whole.

use kith_service::store::{StoreError, Tx, bytes, column, query};

const TABLE: &str = "bundle";

/// The newest bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRow {
    /// When it was made.
    pub made_at_ms: i64,
    /// How long it is.
    pub bytes: i64,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// Which sheet opens it.
    pub sheet: [u8; 5],
    /// The newest sealing key in it.
    pub sealing_key: [u8; 16],
    /// Its file.
    pub path: String,
    /// When it lay whole there.
    pub folder_at_ms: Option<i64>,
    /// When the gateway said that it keeps it.
    pub gateway_at_ms: Option<i64>,
}

const GET: &str = "SELECT made_at_ms, bytes, hash, sheet, sealing_key, path, folder_at_ms, gateway_at_ms FROM bundle WHERE id = 1";

/// The newest bundle; `None` before the first.
pub async fn get(tx: &mut Tx) -> Result<Option<BundleRow>, StoreError> {
    let Some(row) = tx.one(query(GET)).await? else {
        return Ok(None);
    };
    Ok(Some(BundleRow {
        made_at_ms: column(&row, TABLE, "made_at_ms")?,
        bytes: column(&row, TABLE, "bytes")?,
        hash: bytes(&row, TABLE, "hash")?,
        sheet: bytes(&row, TABLE, "sheet")?,
        sealing_key: bytes(&row, TABLE, "sealing_key")?,
        path: column(&row, TABLE, "path")?,
        folder_at_ms: column(&row, TABLE, "folder_at_ms")?,
        gateway_at_ms: column(&row, TABLE, "gateway_at_ms")?,
    }))
}

const PUT: &str = "INSERT INTO bundle (id, made_at_ms, bytes, hash, sheet, sealing_key, path, folder_at_ms, gateway_at_ms) \
     VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET made_at_ms = excluded.made_at_ms, \
     bytes = excluded.bytes, hash = excluded.hash, sheet = excluded.sheet, sealing_key = excluded.sealing_key, \
     path = excluded.path, folder_at_ms = excluded.folder_at_ms, gateway_at_ms = excluded.gateway_at_ms";

/// Replaces the row.
pub async fn put(tx: &mut Tx, row: &BundleRow) -> Result<(), StoreError> {
    let put = query(PUT)
        .bind(row.made_at_ms)
        .bind(row.bytes)
        .bind(row.hash.to_vec())
        .bind(row.sheet.to_vec())
        .bind(row.sealing_key.to_vec())
        .bind(row.path.clone())
        .bind(row.folder_at_ms)
        .bind(row.gateway_at_ms);
    tx.run(put).await.map(drop)
}

const GIVEN: &str = "UPDATE bundle SET gateway_at_ms = $1 WHERE id = 1 AND hash = $2";

/// Notes that the gateway keeps the bundle with this hash; `false` when a newer one was made meanwhile.
pub async fn given(tx: &mut Tx, hash: &[u8; 32], at_ms: i64) -> Result<bool, StoreError> {
    let given = query(GIVEN).bind(at_ms).bind(hash.to_vec());
    Ok(tx.run(given).await? == 1)
}
