//! New keys for a node that came back from its bundle after its computer was lost: whoever has the old computer has the old keys.
//! Called by `kith-node restore --token`, on a loaded folder that no process serves. May be repeated after any interruption.
//! Never puts a new key in the place of the old one before the gateway has taken it; never throws an old sealing key away, as mail
//! that was sealed to it may still come.

use kith_proto::log::policy::WitnessPolicy;
use kith_proto::sign::PublicKey;
use kith_proto::trust::{self, InviteToken, NewKeys};
use kith_proto::v1;
use kith_service::tls::issue::certificate_request;

use crate::join::{Asked, JoinError, Joining, ask, first_binding, tls_key};
use crate::keys::{Keys, KeysError, Membership, NEXT_SIGNING};
use crate::link::{self, TLS_CERTIFICATE, TLS_KEY};

/// The files of `keys/` that stand for what is under way.
const NEXT_TLS_KEY: &str = "next-tls.key";
const NEXT_BINDING: &str = "next-binding";

/// Replaces the keys of this folder's node with new ones, which count 24 hours after; gives what the node is now.
/// [`JoinError::OtherMember`] when the token is another organisation's, or one to join with.
pub async fn rekey(token: &str, joining: &Joining) -> Result<Membership, JoinError> {
    let folder = &joining.config.folder;
    let _lock = folder.lock()?;
    let mut membership = Membership::load(folder)?;
    let token = InviteToken::decode(token)?;
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
    let answer = ask(joining, &asked, request(joining, &asked)?).await?;
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
    for done in [NEXT_SIGNING, NEXT_TLS_KEY, NEXT_BINDING] {
        folder.remove(done)?;
    }
    Ok(membership)
}

/// What the gateway is asked, with new keys or those of an interrupted attempt.
fn request(joining: &Joining, asked: &Asked<'_>) -> Result<v1::EnrolRequest, JoinError> {
    let (folder, now_ms) = (&joining.config.folder, joining.clock.now_ms());
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
