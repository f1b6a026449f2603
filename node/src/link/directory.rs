//! Brings the verified copy of the directory up to date. Called before a stream says hello, and when the gateway says that
//! members changed. Never takes over a chain that does not verify, never keeps a cursor past what was stored.

use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use kith_service::store::StoreError;
use tonic::transport::Channel;

use super::Ended;
use crate::members::{Listed, MEMBERS_MAX};
use crate::node::Node;
use crate::store;

/// Members asked for at once; a chain with its bindings has some 5 KiB.
const PAGE: u32 = 100;

/// Reads what changed since the last time, and holds the listing of this organisation against its own keys.
pub(super) async fn refresh(node: &Node, client: &mut RelayServiceClient<Channel>) -> Result<(), Ended> {
    let read = |mut tx| async move { store::link_state::member_cursor(&mut tx).await };
    let mut after: u64 = node
        .store
        .read::<_, StoreError, _, _>("member cursor", read)
        .await?;
    // A gateway that was restored counts from an earlier place; each page moves on, so this ends.
    for _ in 0..=MEMBERS_MAX {
        let asked = v1::ListMembersRequest {
            after,
            page_size: PAGE,
        };
        let page = client.list_members(asked).await?.into_inner();
        keep(node, &page).await?;
        after = page.cursor;
        if !page.more {
            break;
        }
    }
    own_keys(node)
}

/// Verifies a page, stores what was believed together with the cursor, then shows it to the node.
async fn keep(node: &Node, page: &v1::ListMembersResponse) -> Result<(), Ended> {
    let now_ms = node.now_ms();
    let mut listed: Vec<Listed> = Vec::with_capacity(page.members.len());
    let mut believed: Vec<v1::Member> = Vec::with_capacity(page.members.len());
    for wire in &page.members {
        match node.members.check(wire, now_ms) {
            Ok(member) => {
                believed.retain(|other| other.organisation != wire.organisation);
                believed.push(wire.clone());
                listed.push(member);
            }
            Err(error) => tracing::error!(%error, "the gateway lists a member that cannot be believed"),
        }
    }
    let (believed, cursor) = (&believed, page.cursor);
    let write = |mut tx| async move {
        store::member::put(&mut tx, believed, now_ms).await?;
        store::link_state::set_member_cursor(&mut tx, cursor).await
    };
    node.store.tx::<_, StoreError, _, _>("members", write).await?;
    node.members.put(listed);
    Ok(())
}

/// A binding for this organisation that it did not make ends all sending.
fn own_keys(node: &Node) -> Result<(), Ended> {
    let listed = node.members.get(node.organisation());
    let Some(newest) = listed.as_ref().and_then(|listed| listed.newest_keys()) else {
        return Err(Ended::OtherKeys);
    };
    // The newest key of this node may not have been published yet.
    let is_held = node.keys.sealing_key(&newest.sealing_key_id()).is_some();
    if newest.signing_key == node.keys.signing.public() && is_held {
        Ok(())
    } else {
        Err(Ended::OtherKeys)
    }
}
