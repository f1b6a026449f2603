//! A new certificate before the old one ends: asked for with the signing key, so that a laptop that slept for a month is
//! not locked out. Called before every stream, and while one is open.
//! Never makes a new TLS key: the request proves the one that is there.
//!
//! The trail's line comes before the file, which is in no transaction of the store: after a crash between the two the certificate is
//! still due, and is asked for, written down and kept once more.

use kith_proto::receipt;
use kith_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use kith_service::tls::certificates;
use kith_service::tls::dial::Dial;
use kith_service::tls::identity::Identity;
use kith_service::tls::issue::certificate_request;

use super::Ended;
use super::connect::{self, Gateway, TLS_CERTIFICATE, TLS_KEY};
use crate::audit::{self, Code, Event};
use crate::keys::{KeysError, Membership};
use crate::node::Node;

/// When less than this is left, a new certificate is asked for: half the life of one, which is seven days.
pub(super) const RENEW_BEFORE_MS: i64 = 7 * 24 * 60 * 60 * 1000 / 2;

/// Before a stream: a certificate that is due is renewed. Where that fails, the one in use opens the stream for as long as it holds,
/// and the hourly look tries again; without one there is no stream, and the link's own waits try again.
pub(super) async fn ensure(node: &Node, dial: &Dial) -> Result<(), Ended> {
    let left_ms = left_ms(node)?;
    if left_ms >= RENEW_BEFORE_MS {
        return Ok(());
    }
    match renew(node, dial).await {
        Err(error) if left_ms > 0 => {
            tracing::warn!(%error, "the certificate was not renewed; the one in use holds for now");
            Ok(())
        }
        renewed => renewed,
    }
}

/// Whether the certificate has half its life behind it.
pub(super) fn due(node: &Node) -> Result<bool, Ended> {
    Ok(left_ms(node)? < RENEW_BEFORE_MS)
}

/// How long the certificate holds.
fn left_ms(node: &Node) -> Result<i64, Ended> {
    let chain_pem = node
        .folder
        .read(TLS_CERTIFICATE)?
        .ok_or(KeysError::Missing(TLS_CERTIFICATE))?;
    let identity = checked(&chain_pem, &node.membership)?;
    Ok(identity.not_after_ms.saturating_sub(node.now_ms()))
}

/// Asks for a certificate and keeps it.
pub(super) async fn renew(node: &Node, dial: &Dial) -> Result<(), Ended> {
    let key_pem = node.folder.read(TLS_KEY)?.ok_or(KeysError::Missing(TLS_KEY))?;
    let key_pem = String::from_utf8(key_pem).map_err(|_| KeysError::Malformed(TLS_KEY))?;
    let request = certificate_request(&key_pem).map_err(|_| KeysError::Malformed(TLS_KEY))?;
    let mut request = v1::RenewRequest {
        organisation: node.organisation().to_string(),
        certificate_request_der: request,
        made_at_ms: node.now_ms(),
        signature: Vec::new(),
    };
    receipt::sign(&node.keys.signing, &mut request).map_err(|_| KeysError::Library)?;
    let gateway = Gateway {
        address: &node.membership.gateway,
        network: &node.membership.network,
        issuer: &connect::issuer(node)?,
        clock: &node.clock,
    };
    let channel = connect::anonymous(&gateway, dial).await?;
    let answer = EnrolmentServiceClient::new(channel)
        .renew(connect::timed(request))
        .await?
        .into_inner();
    checked(&answer.certificate_chain_pem, &node.membership)?;
    let event = Event::new(Code::KeyRotated, node.now_ms()).word("key", "tls");
    audit::note(&node.store, &node.rng, event).await?;
    node.folder
        .write(TLS_CERTIFICATE, &answer.certificate_chain_pem)?;
    tracing::info!("the certificate was renewed");
    Ok(())
}

/// Reads the leaf of a chain, which must be this member's.
pub(crate) fn checked(chain_pem: &[u8], membership: &Membership) -> Result<Identity, Ended> {
    let chain = certificates(chain_pem)?;
    let leaf = chain.first().ok_or(KeysError::Malformed(TLS_CERTIFICATE))?;
    let identity = Identity::from_der(leaf).map_err(|_| KeysError::Malformed(TLS_CERTIFICATE))?;
    if identity.network == membership.network && identity.org == membership.organisation {
        Ok(identity)
    } else {
        Err(Ended::Protocol("certificate"))
    }
}
