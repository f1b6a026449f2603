//! What an export says of the network, so that it can be verified offline: the root's statements, members' chains, and the leaves of
//! the gateway's log that name their keys. Called by exports alone.
//! Never names a key that is not proven to be in the gateway's log.

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
        policy: node.policy(),
    }
}

/// The opened leaves of the gateway's log that name the bindings of a member, with their proofs, by number from 1 on and without a
/// gap: what this node believes of it.
async fn key_leaves_of(tx: &mut Tx, organisation: &OrgId) -> Result<Vec<BindingLeaf>, StoreError> {
    let mut leaves = Vec::new();
    for (leaf, proof) in store::keylog::bindings_of(tx, organisation).await? {
        let next = u64::try_from(leaves.len() + 1).ok();
        // A binding is logged once; only what follows the one before is of the chain.
        leaves.extend(leaf.exported(proof).filter(|leaf| Some(leaf.number) == next));
    }
    Ok(leaves)
}

/// A member's chain with the leaves of its keys.
pub(super) struct Proven {
    pub(super) chain: v1::BindingChain,
    pub(super) leaves: Vec<BindingLeaf>,
}

/// The chains of this node and of those of these organisations that the directory has, this node's own first.
/// [`TrailError::OwnKeys`] before the directory has it and the log
/// proves it.
pub(super) async fn members(
    tx: &mut Tx,
    me: &OrgId,
    others: &BTreeSet<OrgId>,
) -> Result<Vec<Proven>, TrailError> {
    let listed = store::member::all(tx).await?;
    let mut members = Vec::new();
    for org in std::iter::once(me).chain(others.iter().filter(|org| *org != me)) {
        let member = listed.iter().find(|member| member.organisation == org.as_str());
        let leaves = key_leaves_of(tx, org).await?;
        match member.and_then(|member| member.chain.clone()) {
            Some(mut chain) if !leaves.is_empty() => {
                // What is not proven to be in the log yet is left out; nobody believes it either.
                chain.bindings.truncate(leaves.len());
                members.push(Proven { chain, leaves });
            }
            _ if org == me => return Err(TrailError::OwnKeys),
            _ => {}
        }
    }
    Ok(members)
}
