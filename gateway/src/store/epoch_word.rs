//! Rows of the root's words for later epochs: those of this gateway's own log, and the highest that a stand-alone witness was shown of
//! each network. Called by [`crate::restore`], [`crate::log`], enrolment and [`crate::witness`].
//! Never changes a gateway's row, and never lowers a witness's.

use kith_proto::id::NetworkName;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx, column, query};
use prost::Message as _;

const TABLE: &str = "log_epoch_word";

const OF: &str = "SELECT signed FROM log_epoch_word WHERE epoch = $1";

/// The root's word for an epoch of this gateway's log, as it was taken up; `None` for the first epoch.
pub async fn of(tx: &mut Tx, epoch: u64) -> Result<Option<v1::Signed>, StoreError> {
    let Some(row) = tx.one(query(OF).bind(epoch.cast_signed())).await? else {
        return Ok(None);
    };
    let signed: Vec<u8> = column(&row, TABLE, "signed")?;
    let read = v1::Signed::decode(signed.as_slice());
    read.map(Some).map_err(|_| StoreError::Corrupt {
        table: TABLE,
        column: "signed",
    })
}

const NEWEST: &str = "SELECT taken_up_at_ms FROM log_epoch_word ORDER BY epoch DESC LIMIT 1";

/// When this gateway was last restored, in milliseconds UTC; `None` if it never was.
pub async fn restored_at_ms(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(NEWEST)).await?;
    row.map(|row| column(&row, TABLE, "taken_up_at_ms")).transpose()
}

const PUT: &str = "INSERT INTO log_epoch_word (epoch, signed, taken_up_at_ms) VALUES ($1, $2, $3)";

/// Takes a word up; [`StoreError::Unique`] when its epoch has one.
pub async fn put(tx: &mut Tx, epoch: u64, signed: &v1::Signed, now_ms: i64) -> Result<(), StoreError> {
    let put = query(PUT)
        .bind(epoch.cast_signed())
        .bind(signed.encode_to_vec())
        .bind(now_ms);
    tx.run(put).await.map(drop)
}

const HIGHEST: &str = "SELECT epoch FROM network_epoch WHERE network = $1";

/// The highest epoch of a network's log that a witness was shown the root's word for; 1 before any.
pub async fn highest(tx: &mut Tx, network: &NetworkName) -> Result<u64, StoreError> {
    let row = tx.one(query(HIGHEST).bind(network.as_str().to_owned())).await?;
    let epoch: i64 = row.map_or(Ok(1), |row| column(&row, "network_epoch", "epoch"))?;
    u64::try_from(epoch).map_err(|_| StoreError::Corrupt {
        table: "network_epoch",
        column: "epoch",
    })
}

const RAISE: &str = "INSERT INTO network_epoch (network, epoch, signed, taken_up_at_ms) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (network) DO UPDATE SET epoch = excluded.epoch, signed = excluded.signed, \
    taken_up_at_ms = excluded.taken_up_at_ms WHERE network_epoch.epoch < excluded.epoch";

/// Keeps a verified word in a witness's store, where its epoch is the highest yet; says whether it was.
pub async fn raise(
    tx: &mut Tx,
    (network, epoch): (&NetworkName, u64),
    signed: &v1::Signed,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let raise = query(RAISE)
        .bind(network.as_str().to_owned())
        .bind(epoch.cast_signed())
        .bind(signed.encode_to_vec());
    Ok(tx.run(raise.bind(now_ms)).await? == 1)
}
