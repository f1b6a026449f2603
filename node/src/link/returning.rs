//! What a gateway that came back from a backup has lost of this member, given back: its membership, its later keys, its services.
//! Called when the gateway does not know this node's certificate any more, and with what it lists of this organisation.
//! Never makes a key or signs a statement anew: only what the network had before is said again.

use kith_proto::sign::sha256;
use kith_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use kith_service::store::StoreError;
use kith_service::tls::dial::Dial;
use kith_service::tls::issue::certificate_request;
use prost::Message as _;
use tonic::transport::Channel;

use super::connect::{self, Gateway, TLS_CERTIFICATE, TLS_KEY};
use super::{Ended, renewal};
use crate::audit::{self, Code, Event};
use crate::keys::KeysError;
use crate::node::Node;
use crate::store;

/// What this node last saw listed of its own organisation.
async fn own(node: &Node) -> Result<Option<v1::Member>, Ended> {
    let read = |mut tx| async move { store::member::all(&mut tx).await };
    let listed = node.store.read::<_, StoreError, _, _>("own chain", read).await?;
    let own = node.organisation().as_str();
    Ok(listed.into_iter().find(|member| member.organisation == own))
}

/// Enrols again with the first binding and the TLS key that this node joined with; what the gateway's log signed of it stands in for an
/// invite that has run out. `false` where this node was never listed, so that nothing can be said.
pub(super) async fn enrol_again(node: &Node, dial: &Dial) -> Result<bool, Ended> {
    let Some(chain) = own(node).await?.and_then(|own| own.chain) else {
        return Ok(false);
    };
    let read = |mut tx| async move { store::keylog::joining_of(&mut tx, node.organisation()).await };
    let joining = node
        .store
        .read::<_, StoreError, _, _>("own joining", read)
        .await?;
    let key_pem = node.folder.read(TLS_KEY)?.ok_or(KeysError::Missing(TLS_KEY))?;
    let key_pem = String::from_utf8(key_pem).map_err(|_| KeysError::Malformed(TLS_KEY))?;
    let request = v1::EnrolRequest {
        registrar: chain.registrar,
        invite: chain.invite,
        binding: chain.bindings.into_iter().next(),
        certificate_request_der: certificate_request(&key_pem).map_err(|_| KeysError::Malformed(TLS_KEY))?,
        logged: joining.map(|(leaf, proof)| v1::LoggedBefore {
            salt: leaf.salt.to_vec(),
            preimage: leaf.preimage,
            proof: proof.to_string(),
        }),
    };
    let gateway = Gateway {
        address: &node.membership.gateway,
        network: &node.membership.network,
        issuer: &connect::issuer(node)?,
        clock: &node.clock,
    };
    let channel = connect::anonymous(&gateway, dial).await?;
    let mut client = EnrolmentServiceClient::new(channel);
    let answer = client.enrol(connect::timed(request)).await?.into_inner();
    renewal::checked(&answer.certificate_chain_pem, &node.membership)?;
    let event = Event::new(Code::KeyRotated, node.now_ms()).word("key", "tls");
    audit::note(&node.store, &node.rng, event).await?;
    node.folder
        .write(TLS_CERTIFICATE, &answer.certificate_chain_pem)?;
    tracing::warn!("the gateway had lost this organisation, and has taken it in again");
    Ok(true)
}

/// Gives back the new keys of a loss that the gateway does not know of any more, and then asks for a certificate with them. Called when it
/// says that this node's certificate counts no more. `false` where this node has none, so that nothing can be said.
pub(super) async fn known_again(node: &Node, dial: &Dial) -> Result<bool, Ended> {
    let chain = own(node).await?.and_then(|own| own.chain).unwrap_or_default();
    let bindings = chain.bindings.iter();
    let rekeys: Vec<_> = bindings
        .map(|binding| publishing(&chain, binding.clone()))
        .filter(|request| request.invite.is_some())
        .collect();
    if rekeys.is_empty() {
        return Ok(false);
    }
    let mut client = RelayServiceClient::new(connect::as_member(node, dial).await?);
    for request in rekeys {
        client.publish_binding(connect::timed(request)).await?;
    }
    renewal::renew(node, dial).await?;
    Ok(true)
}

/// What a binding is published with again: a re-key with the invite whose seed signed it, and the registrar of that.
fn publishing(chain: &v1::BindingChain, binding: v1::Signed) -> v1::PublishBindingRequest {
    let made_at_ms = v1::Binding::decode(binding.statement.as_slice()).map_or(0, |said| said.made_at_ms);
    let signed_it = |signed: &&v1::Signed| {
        v1::Invite::decode(signed.statement.as_slice())
            .is_ok_and(|invite| binding.signer == sha256(&[&invite.seed_public_key]))
    };
    let invite = chain.later_invites.iter().find(signed_it);
    let issued_it = |signed: &&v1::Signed| {
        v1::Registrar::decode(signed.statement.as_slice()).is_ok_and(|registrar| {
            invite.is_some_and(|invite| invite.signer == sha256(&[&registrar.public_key]))
                && (registrar.not_before_ms..registrar.not_after_ms).contains(&made_at_ms)
        })
    };
    let registrars = chain.registrar.iter().chain(&chain.later_registrars);
    v1::PublishBindingRequest {
        invite: invite.cloned(),
        registrar: registrars.into_iter().find(issued_it).cloned(),
        binding: Some(binding),
    }
}

/// Publishes again what the listing of this organisation lacks. A binding that is not taken ends the stream, and the next one tries
/// again; a service that is not is said, and is the operator's to publish.
pub(super) async fn give_back(
    node: &Node,
    client: &mut RelayServiceClient<Channel>,
    listed: &v1::Member,
) -> Result<(), Ended> {
    let Some(own) = own(node).await? else {
        return Ok(());
    };
    let bindings = |member: &v1::Member| {
        let chain = member.chain.as_ref();
        chain.map(|chain| chain.bindings.clone()).unwrap_or_default()
    };
    let (held, theirs) = (bindings(&own), bindings(listed));
    if held.starts_with(&theirs) {
        let chain = own.chain.clone().unwrap_or_default();
        for binding in held.into_iter().skip(theirs.len()) {
            client
                .publish_binding(connect::timed(publishing(&chain, binding)))
                .await?;
            tracing::info!("a binding that the gateway had lost was published again");
        }
    }
    for service in own.services.iter().filter(|service| lacks(listed, service)) {
        let service = Some(service.clone());
        let published = client
            .publish_service(connect::timed(v1::PublishServiceRequest { service }))
            .await;
        if let Err(status) = published {
            let reason = Ended::from(status);
            tracing::warn!(%reason, "a service that the gateway had lost was not published again; publish it by hand");
        }
    }
    Ok(())
}

/// Whether a listing has neither this service nor a newer one of its id.
fn lacks(listed: &v1::Member, service: &v1::Signed) -> bool {
    let read = |signed: &v1::Signed| v1::Service::decode(signed.statement.as_slice()).ok();
    let Some(ours) = read(service) else {
        return false;
    };
    let as_new =
        |theirs: v1::Service| theirs.service_id == ours.service_id && theirs.made_at_ms >= ours.made_at_ms;
    !listed.services.iter().filter_map(read).any(as_new)
}
