//! The one row that says whose store this is. Called when the gateway opens.
//! Never changed once written: another network's gateway must not use these rows.

use kith_proto::id::NetworkName;
use kith_proto::sign::PublicKey;
use kith_service::store::{Owner, StoreError, Tx, bytes, column, query};

const TABLE: &str = "network";

const OWNER: &str = "SELECT network FROM network WHERE id = 1";

/// How a store is known to be that of this network, before its schema is touched.
pub fn owner(network: &NetworkName) -> Owner<'_> {
    Owner {
        find: OWNER,
        name: network.as_str(),
    }
}

const READ: &str = "SELECT network, root_public_key FROM network WHERE id = 1";

/// Returns the network and root that the store belongs to; `None` while it is new.
pub async fn read(tx: &mut Tx) -> Result<Option<(NetworkName, PublicKey)>, StoreError> {
    let Some(row) = tx.one(query(READ)).await? else {
        return Ok(None);
    };
    let corrupt = |_| StoreError::Corrupt {
        table: TABLE,
        column: "network",
    };
    let name: String = column(&row, TABLE, "network")?;
    let root = PublicKey(bytes(&row, TABLE, "root_public_key")?);
    Ok(Some((name.parse().map_err(corrupt)?, root)))
}

const CLAIM: &str =
    "INSERT INTO network (id, network, root_public_key, created_at_ms) VALUES (1, $1, $2, $3)";

/// Writes whose store it is; [`StoreError::Unique`] when that was written already.
pub async fn claim(
    tx: &mut Tx,
    network: &NetworkName,
    root: &PublicKey,
    now_ms: i64,
) -> Result<(), StoreError> {
    let claim = query(CLAIM)
        .bind(network.as_str().to_owned())
        .bind(root.0.to_vec())
        .bind(now_ms);
    tx.run(claim).await?;
    Ok(())
}
