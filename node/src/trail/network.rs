//! What an export says of the network, so that it can be verified offline: the root's statements, members' chains, and the leaves of
//! the gateway's log that name their keys. Called by exports alone.
//! Never makes up what is missing: a file without it is written all the same, and its verifier says what is not proven.

use kith_proto::id::OrgId;
use kith_proto::trail::export::{BindingLeaf, Trust};
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use std::collections::BTreeSet;

use super::TrailError;
use crate::node::Node;
use crate::store;

/// The root's statements of the gateway's key and of witnesses, as this node last saw them. A verifier refuses a file without either.
pub(super) fn trust(node: &Node) -> Trust {
    Trust {
        issuer: node.issuer(),
        policy: policy(node),
    }
}

/// The root's word about witnesses. Empty as long as a node keeps none.
fn policy(_node: &Node) -> v1::Signed {
    v1::Signed::default()
}

/// The opened leaves of the gateway's log that name the bindings of a member, by number. A verifier demands one for every binding of
/// every chain in the file, each with an inclusion proof under a checkpoint of the gateway that counts: without them it ends with
/// "not every key of a member is proven to be in the gateway's log". Empty as long as this node does not follow that log.
pub(super) async fn key_leaves_of(
    _tx: &mut Tx,
    _organisation: &OrgId,
) -> Result<Vec<BindingLeaf>, StoreError> {
    Ok(Vec::new())
}

/// A member's chain with the leaves of its keys.
pub(super) struct Proven {
    pub(super) chain: v1::BindingChain,
    pub(super) leaves: Vec<BindingLeaf>,
}

/// The chains of this node and of those of these organisations that the directory has, this node's own first.
/// [`TrailError::OwnKeys`] before the directory has it.
pub(super) async fn members(
    tx: &mut Tx,
    me: &OrgId,
    others: &BTreeSet<OrgId>,
) -> Result<Vec<Proven>, TrailError> {
    let listed = store::member::all(tx).await?;
    let mut members = Vec::new();
    for org in std::iter::once(me).chain(others.iter().filter(|org| *org != me)) {
        let member = listed.iter().find(|member| member.organisation == org.as_str());
        if let Some(chain) = member.and_then(|member| member.chain.clone()) {
            let leaves = key_leaves_of(tx, org).await?;
            members.push(Proven { chain, leaves });
        } else if org == me {
            return Err(TrailError::OwnKeys);
        }
    }
    Ok(members)
}
