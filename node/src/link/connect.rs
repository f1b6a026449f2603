//! Opens the connection to the gateway: the issuer that the root signed is the only one trusted.
//! Called by the link, by renewal and by `join`. Never trusts a certificate store of the computer.

use kith_proto::id::NetworkName;
use kith_proto::trust::{self, Issuer};
use kith_proto::v1;
use kith_service::tls::dial::{self, Dial};
use kith_service::tls::{KeyedChain, client_config};
use rustls_pki_types::CertificateDer;
use tonic::transport::Channel;

use super::Ended;
use crate::keys::KeysError;
use crate::node::Node;

/// The file of `keys/` with the node's TLS certificate, PEM.
pub const TLS_CERTIFICATE: &str = "tls.pem";
/// The file of `keys/` with its private key, PEM.
pub const TLS_KEY: &str = "tls.key";

/// Longest wait for one answer of the gateway; a caller's own deadline is 30 s.
const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(15);

/// A request with the deadline of one answer.
pub(crate) fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(ANSWER_MAX);
    request
}

/// The name that the gateway's certificate is for.
pub(crate) fn gateway_name(network: &NetworkName) -> String {
    format!("gateway.{network}")
}

/// What the gateway may speak with, by the root's word as last seen.
pub(super) fn issuer(node: &Node) -> Result<Issuer, Ended> {
    let membership = &node.membership;
    let signed = node.issuer();
    Ok(trust::verify_issuer(
        &signed,
        &membership.root,
        &membership.network,
        node.now_ms(),
    )?)
}

/// Opens a channel as this member.
pub(super) async fn as_member(node: &Node, dial: &Dial) -> Result<Channel, Ended> {
    let chain_pem = node
        .folder
        .read(TLS_CERTIFICATE)?
        .ok_or(KeysError::Missing(TLS_CERTIFICATE))?;
    let key_pem = node.folder.read(TLS_KEY)?.ok_or(KeysError::Missing(TLS_KEY))?;
    let identity = KeyedChain {
        chain_pem: &chain_pem,
        key_pem: &key_pem,
    };
    let root = CertificateDer::from(issuer(node)?.certificate_der);
    let clock = node.clock.clone();
    let config = client_config(root, Some(identity), move || clock.now_ms())?;
    let name = gateway_name(&node.membership.network);
    Ok(dial::channel(dial, &node.membership.gateway, &name, config).await?)
}

/// Where the gateway is, and what it may speak with.
pub(crate) struct Gateway<'a> {
    pub(crate) address: &'a str,
    pub(crate) network: &'a NetworkName,
    pub(crate) issuer: &'a Issuer,
    pub(crate) clock: &'a kith_service::clock::Clock,
}

/// Opens a channel without a certificate of our own, for enrolment and renewal.
pub(crate) async fn anonymous(gateway: &Gateway<'_>, dial: &Dial) -> Result<Channel, Ended> {
    let root = CertificateDer::from(gateway.issuer.certificate_der.clone());
    let clock = gateway.clock.clone();
    let config = client_config(root, None, move || clock.now_ms())?;
    Ok(dial::channel(dial, gateway.address, &gateway_name(gateway.network), config).await?)
}

/// Follows a change of the gateway's keys that the root has signed; answers what counts on this stream.
pub(super) fn follow_issuer(node: &Node, offered: Option<&v1::Signed>) -> Result<Issuer, Ended> {
    let Some(offered) = offered else {
        return issuer(node);
    };
    let membership = &node.membership;
    let issuer = trust::verify_issuer(offered, &membership.root, &membership.network, node.now_ms())?;
    if node.issuer() != *offered {
        node.keep_issuer(offered.clone())?;
    }
    Ok(issuer)
}
