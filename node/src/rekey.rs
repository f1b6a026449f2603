//! New keys for a node that came back from its bundle after its computer was lost: whoever has the old computer has the old keys.
//! Called by `kith-node restore --token`, on a loaded folder that no process serves. May be repeated after any interruption.
//! Never puts a new key in the place of the old one before the gateway has taken it; never draws a key in the place of one that it may
//! have taken; never throws an old sealing key away, as mail that was sealed to it may still come.
//!
//! `next-binding` is what says that a re-key is under way: a next key counts only while that names it, so it is written last and removed
//! first.

use kith_proto::log::policy::WitnessPolicy;
use kith_proto::problem::Problem;
use kith_proto::sign::{PublicKey, SigningKey, sha256};
use kith_proto::trust::{self, InviteToken, NewKeys};
use kith_proto::v1;
use kith_service::tls::issue::certificate_request;
use prost::Message as _;

use crate::join::{Asked, JoinError, Joining, ask, first_binding, tls_key};
use crate::keys::{DataFolder, Keys, KeysError, Membership, NEXT_SIGNING};
use crate::link::{self, TLS_CERTIFICATE, TLS_KEY};

/// The files of `keys/` that stand for what is under way.
const NEXT_TLS_KEY: &str = "next-tls.key";
const NEXT_BINDING: &str = "next-binding";
/// The file of `keys/` with the binding that was taken last: its token may be named again.
const REKEYED: &str = "rekeyed-binding";

/// Replaces the keys of this folder's node with new ones, which count 24 hours after; gives what the node is now.
/// [`JoinError::OtherMember`] when the token is another organisation's, or one to join with.
pub async fn rekey(token: &str, joining: &Joining) -> Result<Membership, JoinError> {
    let folder = &joining.config.folder;
    let _lock = folder.lock()?;
    let mut membership = Membership::load(folder)?;
    let token = InviteToken::decode(token)?;
    if is_done(folder, &token)? {
        forget(folder)?;
        return Ok(membership);
    }
    let now_ms = joining.clock.now_ms();
    let (_, invite) = token.verify(now_ms)?;
    let is_mine = invite.rekeyed.is_some()
        && invite.network == membership.network
        && invite.org == membership.organisation
        && token.root == membership.root;
    if !is_mine {
        return Err(JoinError::OtherMember);
    }
    let issuer = trust::verify_issuer(&token.issuer, &token.root, &invite.network, now_ms)?;
    WitnessPolicy::verify(&token.policy, &token.root, &invite.network)?;
    let asked = Asked {
        token: &token,
        invite: &invite,
        issuer: &issuer,
    };
    let answer = ask(joining, &asked, request(joining, &asked)?).await;
    if answer.as_ref().is_err_and(was_never_taken) {
        forget(folder)?;
    }
    let answer = answer?;
    membership.gateway.clone_from(&token.gateway);
    membership.issuer = token.issuer;
    link::checked(&answer.certificate_chain_pem, &membership).map_err(|_| JoinError::Answer)?;
    let key_pem = folder
        .read(NEXT_TLS_KEY)?
        .ok_or(KeysError::Missing(NEXT_TLS_KEY))?;
    folder.write(TLS_KEY, &key_pem)?;
    folder.write(TLS_CERTIFICATE, &answer.certificate_chain_pem)?;
    Keys::take_next_signing(folder)?;
    membership.save(folder)?;
    let binding = folder
        .read(NEXT_BINDING)?
        .ok_or(KeysError::Missing(NEXT_BINDING))?;
    folder.write(REKEYED, &binding)?;
    forget(folder)?;
    Ok(membership)
}

/// Whether this folder holds the keys that this token's binding published: the command was run again because something after it failed.
fn is_done(folder: &DataFolder, token: &InviteToken) -> Result<bool, JoinError> {
    let own = Keys::load(folder)?.signing.public();
    let taken = binding(folder, REKEYED)?;
    // The end of a removal that was interrupted.
    let left = binding(folder, NEXT_BINDING)?.filter(|_| matches!(folder.read(NEXT_SIGNING), Ok(None)));
    let seed = SigningKey::from_seed(token.seed)?;
    let is_its_own = |(signed, key): &(v1::Signed, Vec<u8>)| is_by(signed, &seed) && *key == own.0;
    Ok([taken, left].iter().flatten().any(is_its_own))
}

/// A binding that a file of `keys/` holds, with the signing key that it names.
fn binding(folder: &DataFolder, file: &'static str) -> Result<Option<(v1::Signed, Vec<u8>)>, KeysError> {
    let Some(bytes) = folder.read(file)? else {
        return Ok(None);
    };
    let malformed = |_| KeysError::Malformed(file);
    let signed = v1::Signed::decode(bytes.as_slice()).map_err(malformed)?;
    let statement = v1::Binding::decode(signed.statement.as_slice()).map_err(malformed)?;
    Ok(Some((signed, statement.signing_key)))
}

fn is_by(signed: &v1::Signed, seed: &SigningKey) -> bool {
    signed.signer == sha256(&[&seed.public().0])
}

/// Whether the gateway said that it holds no binding of these keys. One that it has taken it answers again, except after the token's day.
fn was_never_taken(error: &JoinError) -> bool {
    let JoinError::Refused(failure) = error else {
        return false;
    };
    !matches!(
        failure.problem,
        Problem::Unavailable | Problem::DeadlineExceeded | Problem::Unauthenticated
    )
}

/// Takes away what is under way.
fn forget(folder: &DataFolder) -> Result<(), KeysError> {
    for file in [NEXT_BINDING, NEXT_SIGNING, NEXT_TLS_KEY] {
        folder.remove(file)?;
    }
    Ok(())
}

/// Leaves of what is under way only what goes on with this token: a binding of its seed that names the next key.
fn take_up(folder: &DataFolder, token: &InviteToken) -> Result<(), JoinError> {
    let seed = SigningKey::from_seed(token.seed)?;
    let goes_on = match (binding(folder, NEXT_BINDING)?, Keys::held_next_signing(folder)?) {
        (Some((signed, key)), Some(next)) => is_by(&signed, &seed) && key == next.public().0,
        _ => false,
    };
    if !goes_on {
        forget(folder)?;
    }
    Ok(())
}

/// What the gateway is asked, with new keys or those of an interrupted attempt.
fn request(joining: &Joining, asked: &Asked<'_>) -> Result<v1::EnrolRequest, JoinError> {
    let (folder, now_ms) = (&joining.config.folder, joining.clock.now_ms());
    take_up(folder, asked.token)?;
    let signing_key: PublicKey = Keys::next_signing(folder, &joining.rng)?.public();
    let sealing = if folder.read(NEXT_BINDING)?.is_some() {
        Keys::load(folder)?
            .newest_sealing_key()
            .ok_or(KeysError::Library)?
    } else {
        Keys::load(folder)?.add_sealing_key(folder, &joining.rng, now_ms)?
    };
    let new = NewKeys {
        signing_key,
        sealing_key: sealing.key.public().clone(),
    };
    let key_pem = tls_key(folder, NEXT_TLS_KEY)?;
    Ok(v1::EnrolRequest {
        registrar: Some(asked.token.registrar.clone()),
        invite: Some(asked.token.invite.clone()),
        binding: Some(first_binding((folder, NEXT_BINDING), asked, &new, now_ms)?),
        certificate_request_der: certificate_request(&key_pem)
            .map_err(|_| KeysError::Malformed(NEXT_TLS_KEY))?,
        logged: None,
    })
}
