//! Rows of the witness policies that were taken up. Called by [`crate::policy`].
//! Never changes a row: which policy was in force when is part of what the log says.

use kith_proto::v1;
use kith_service::store::{StoreError, Tx, column, query};
use prost::Message as _;

const TABLE: &str = "witness_policy";

const NEWEST: &str = "SELECT signed FROM witness_policy ORDER BY number DESC LIMIT 1";

/// The policy with the highest number, as the root signed it; `None` before the first.
pub async fn newest(tx: &mut Tx) -> Result<Option<v1::Signed>, StoreError> {
    let Some(row) = tx.one(query(NEWEST)).await? else {
        return Ok(None);
    };
    let signed: Vec<u8> = column(&row, TABLE, "signed")?;
    let read = v1::Signed::decode(signed.as_slice());
    read.map(Some).map_err(|_| StoreError::Corrupt {
        table: TABLE,
        column: "signed",
    })
}

const PUT: &str = "INSERT INTO witness_policy (number, signed, taken_up_at_ms) \
    SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM witness_policy WHERE number >= $1) \
    ON CONFLICT (number) DO NOTHING";

/// Takes a policy up; `false`, and nothing written, when this number or a higher one was taken up before.
pub async fn put(tx: &mut Tx, number: u64, signed: &v1::Signed, now_ms: i64) -> Result<bool, StoreError> {
    let put = query(PUT)
        .bind(number.cast_signed())
        .bind(signed.encode_to_vec())
        .bind(now_ms);
    Ok(tx.run(put).await? == 1)
}
