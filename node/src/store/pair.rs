//! The last position of each pair: what the gateway signed for, and what was received.
//! Called by the link when a stream opens, and inside the transactions of settling and receiving.
//! Never moves a position back.

use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_service::store::{Insert, Row, StoreError, Tx, bytes, column, query};

use super::word;

const SENT: &str = "SELECT peer, number, envelope_hash FROM pair_sent ORDER BY peer LIMIT 10000";
const RECEIVED: &str = "SELECT peer, number, envelope_hash FROM pair_received ORDER BY peer LIMIT 10000";

/// The last receipted position towards each member.
pub async fn sent(tx: &mut Tx) -> Result<Vec<(OrgId, Position)>, StoreError> {
    tx.all(query(SENT))
        .await?
        .iter()
        .map(|row| position(row, "pair_sent"))
        .collect()
}

/// The last position received from each member.
pub async fn received(tx: &mut Tx) -> Result<Vec<(OrgId, Position)>, StoreError> {
    tx.all(query(RECEIVED))
        .await?
        .iter()
        .map(|row| position(row, "pair_received"))
        .collect()
}

static PUT_SENT: Insert = Insert::into(
    "INSERT INTO pair_sent (peer, number, envelope_hash)",
    3,
    "ON CONFLICT (peer) DO UPDATE SET number = excluded.number, envelope_hash = excluded.envelope_hash \
     WHERE pair_sent.number < excluded.number",
);
static PUT_RECEIVED: Insert = Insert::into(
    "INSERT INTO pair_received (peer, number, envelope_hash)",
    3,
    "ON CONFLICT (peer) DO UPDATE SET number = excluded.number, envelope_hash = excluded.envelope_hash \
     WHERE pair_received.number < excluded.number",
);

/// Moves receipted positions on, at most one of each member.
pub async fn put_sent(tx: &mut Tx, positions: &[(OrgId, Position)]) -> Result<(), StoreError> {
    put(&PUT_SENT, tx, positions).await
}

/// Moves received positions on, at most one of each member.
pub async fn put_received(tx: &mut Tx, positions: &[(OrgId, Position)]) -> Result<(), StoreError> {
    put(&PUT_RECEIVED, tx, positions).await
}

async fn put(
    insert: &'static Insert,
    tx: &mut Tx,
    positions: &[(OrgId, Position)],
) -> Result<(), StoreError> {
    let put = insert.rows(tx, positions, |q, (peer, position)| {
        q.bind(peer.to_string())
            .bind(i64::try_from(position.number()).unwrap_or(i64::MAX))
            .bind(position.hash().unwrap_or_default().to_vec())
    });
    put.await.map(drop)
}

fn position(row: &Row, table: &'static str) -> Result<(OrgId, Position), StoreError> {
    let number: i64 = column(row, table, "number")?;
    let number = u64::try_from(number).map_err(|_| StoreError::Corrupt {
        table,
        column: "number",
    })?;
    Ok((
        word(row, table, "peer")?,
        Position::at(number, bytes(row, table, "envelope_hash")?),
    ))
}
