//! Which bindings of this organisation it made itself. Called by the follower for every leaf that names this organisation.
//! Never takes a listing's word: only this node's signing key makes a binding its own.

use kith_proto::sign::PublicKey;
use kith_proto::trust::Binding;

/// Whether a binding of this organisation's own verified chain is this node's, or was its organisation's before this node took over with
/// a re-key. From this node's first binding on each is signed by its key, or else somebody has put another in between.
pub fn made_here(chain: &[Binding], signing_key: &PublicKey, hash: &[u8; 32]) -> bool {
    let Some(at) = chain.iter().position(|binding| binding.hash == *hash) else {
        return false;
    };
    let Some(first) = chain
        .iter()
        .position(|binding| binding.signing_key == *signing_key)
    else {
        return false;
    };
    let Some(own) = chain.get(first..) else {
        return false;
    };
    let goes_on = |binding: &Binding| binding.signing_key == *signing_key && !binding.rekey;
    at < first || own.iter().take(at - first + 1).skip(1).all(goes_on)
}
