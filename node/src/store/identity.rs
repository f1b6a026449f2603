//! Whose store this is. Called when a node opens.
//! Never lets one organisation open another's data.

use kith_proto::id::{NetworkName, OrgId};
use kith_service::store::{Owner, StoreError, Tx, column, query};

const FIND: &str = "SELECT network, organisation FROM identity WHERE id = 1";
const CLAIM: &str = "INSERT INTO identity (id, network, organisation, created_at_ms) VALUES (1, $1, $2, $3)";

const OWNER: &str = "SELECT organisation || '@' || network FROM identity WHERE id = 1";

/// How a store is known to be that of the member with this address, before its schema is touched.
pub const fn owner(address: &str) -> Owner<'_> {
    Owner {
        find: OWNER,
        name: address,
    }
}

/// Whose store this is; `None` while nobody has claimed it.
pub async fn claimed(tx: &mut Tx) -> Result<Option<(String, String)>, StoreError> {
    let Some(row) = tx.one(query(FIND)).await? else {
        return Ok(None);
    };
    Ok(Some((
        column(&row, "identity", "network")?,
        column(&row, "identity", "organisation")?,
    )))
}

/// Claims a new store, or checks that it is this organisation's; [`StoreError::Foreign`] when it is another's.
pub async fn claim(
    tx: &mut Tx,
    network: &NetworkName,
    organisation: &OrgId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some((found_network, found)) = claimed(tx).await? else {
        let claim = query(CLAIM)
            .bind(network.to_string())
            .bind(organisation.to_string())
            .bind(now_ms);
        return tx.run(claim).await.map(drop);
    };
    if found_network == network.as_str() && found == organisation.as_str() {
        Ok(())
    } else {
        Err(StoreError::Foreign)
    }
}
