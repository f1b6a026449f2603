//! Which grant a stop code is of: whoever brings the code stops that grant, and need not say whose it is.
//! Called by the gRPC edge before a withdrawal.
//! Never opens a record, and never says more than that there is such a grant.

use data_encoding::HEXLOWER;
use kith_proto::id::GrantId;
use kith_proto::slip::{stop_hash, stop_secret_of};
use kith_service::store::{StoreError, Tx};

use crate::node::Node;
use crate::store;
use crate::store::slip::SlipRow;

/// Slips read at once.
const PAGE: i64 = 256;

/// Writes the seed of a grant's stop secrets as people copy it: letters and digits in groups of four.
pub fn stop_code(seed: &[u8]) -> String {
    let groups: Vec<String> = seed.chunks(2).map(|pair| HEXLOWER.encode(pair)).collect();
    groups.join("-")
}

/// Finds the grant of a stop code's seed: the one with a slip that carries the hash of the secret which the seed gives for it. Looks
/// at every slip that was captured here, as nothing else names the grant; `None` when there is none. Hashes of 128 random bits:
/// how long comparing takes tells nothing of a seed.
pub async fn by_stop_seed(node: &Node, seed: &[u8; 16]) -> Result<Option<GrantId>, StoreError> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let from = &after;
        let page = |mut tx: Tx| async move { store::slip::captured(&mut tx, from, PAGE).await };
        let slips: Vec<SlipRow> = node.store.read("slips of a stop code", page).await?;
        let Some(last) = slips.last() else {
            return Ok(None);
        };
        for row in &slips {
            if row.parsed()?.stop_hash == stop_hash(&stop_secret_of(seed, &row.slip_id)) {
                return Ok(row.grant_id);
            }
        }
        after = last.slip_id.as_bytes().to_vec();
    }
}
