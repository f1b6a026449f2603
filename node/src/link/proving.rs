//! What a followed log is good for beside keys: proofs of its leaves, kept for exports, and this node's own cosignature where the
//! policy names it as a witness. Called by the follower after each step that stands in the store.
//! Never keeps a proof under a checkpoint that is not the believed one, never cosigns a head that is not in the store.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::{Note, NoteError};
use kith_proto::log::tree::Hash;
use kith_proto::trail::Leaf;
use kith_proto::v1;
use kith_service::store::StoreError;

use super::Ended;
use super::log::{Follower, NotFollowed, answer, timed};
use crate::alarms::Kind;
use crate::keylog::{KeyLeaf, Mark, Shown};
use crate::node::Node;
use crate::store;

/// Leaves proven by one call: the most that the gateway gives.
const LEAVES_MAX: i64 = 256;

/// Fetches and keeps the proofs of believed leaves that have none yet.
pub(super) async fn prove(follower: &mut Follower, node: &Node, believed: &Mark) -> Result<(), NotFollowed> {
    let epoch = follower.epoch;
    loop {
        let size = believed.frontier.size();
        let read = |mut tx| async move { store::keylog::unproven(&mut tx, epoch, size, LEAVES_MAX).await };
        let store = &node.store;
        let leaves = store.read::<_, StoreError, _, _>("unproven", read).await?;
        if leaves.is_empty() {
            return Ok(());
        }
        let asked = v1::ProveLeavesRequest {
            epoch,
            indexes: leaves.iter().map(|leaf| leaf.number).collect(),
        };
        let shown = answer(follower.client.prove_leaves(timed(asked))).await?;
        let unread = |_: NoteError| Ended::Protocol("checkpoint of proofs");
        let note = Note::parse(shown.counted.as_bytes()).map_err(unread)?;
        let checkpoint = Checkpoint::open(&note, &follower.log_keys).map_err(unread)?;
        if *checkpoint.head() != believed.head() {
            if checkpoint.head().size == size {
                return Err(NotFollowed::lie(Kind::GatewayLog, Some(believed), &note));
            }
            // The log has grown meanwhile: the next step follows it and asks again.
            return Ok(());
        }
        let proofs = &verified(follower, &leaves, &note, &shown.leaves)?;
        let write = |mut tx| async move {
            for proof in proofs {
                store::keylog::put_proof(&mut tx, epoch, proof).await?;
            }
            Ok(())
        };
        store.tx::<_, StoreError, _, _>("proofs", write).await?;
    }
}

/// The proof of every leaf that was asked for, in their order.
fn verified(
    follower: &Follower,
    leaves: &[KeyLeaf],
    note: &Note,
    shown: &[v1::LeafInclusion],
) -> Result<Vec<LeafProof>, Ended> {
    const UNPROVEN: Ended = Ended::Protocol("a proof that does not hold");
    if shown.len() != leaves.len() {
        return Err(UNPROVEN);
    }
    let one = |(leaf, shown): (&KeyLeaf, &v1::LeafInclusion)| {
        let hash = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(Hash).map_err(|_| UNPROVEN);
        let hashes = shown.hashes.iter().map(hash).collect::<Result<_, _>>()?;
        let proof = LeafProof::new(leaf.number, hashes, note.clone(), Vec::new());
        let proof = proof.map_err(|_| UNPROVEN)?;
        let entry = Leaf::new(leaf.code, &leaf.salt, &leaf.preimage);
        let opened = proof.open(&entry.hash(), &follower.log_keys);
        opened.map_err(|_| UNPROVEN)?;
        Ok(proof)
    };
    leaves.iter().zip(shown).map(one).collect()
}

/// Cosigns the head that was just followed, once, where the policy names this node's key as a witness; `true` when it counts now.
pub(super) async fn cosign(follower: &mut Follower, node: &Node, tip: &Shown) -> Result<bool, NotFollowed> {
    let head = tip.head();
    let policy = node.witness_policy();
    let own = node.keys.signing.public();
    let witness = policy
        .iter()
        .flat_map(|policy| policy.witnesses())
        .find(|witness| witness.public() == own);
    let Some(witness) = witness.filter(|_| follower.cosigned != Some(head)) else {
        return Ok(false);
    };
    if tip.note.verify(std::slice::from_ref(witness)).is_ok() {
        follower.cosigned = Some(head);
        return Ok(false);
    }
    let time_s = node.now_ms().max(1000).cast_unsigned() / 1000;
    let unsigned = |_: NoteError| Ended::Protocol("a checkpoint that cannot be cosigned");
    let cosignature = tip.checkpoint.cosign(witness.name(), &node.keys.signing, time_s);
    let mut note = tip.note.clone();
    note.add(cosignature.map_err(unsigned)?).map_err(unsigned)?;
    let asked = v1::AddCosignatureRequest {
        note: note.to_string(),
    };
    let counted = answer(follower.client.add_cosignature(timed(asked)))
        .await?
        .counted;
    follower.cosigned = Some(head);
    Ok(counted)
}
