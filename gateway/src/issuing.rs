//! Certificates: the members' short-lived ones, and the gateway's own for `gateway.NETWORK`.
//! Called by enrolment, renewal and `serve`. Of a request only the proven public key counts.

use crate::keys::GatewayKeys;
use crate::limits::CERTIFICATE_LIFE_MS;
use kith_proto::id::{Address, OrgId};
use kith_proto::sign::sha256;
use kith_proto::trust::CLOCK_SKEW_MS;
use kith_service::clock::Clock;
use kith_service::tls::incoming::{Accepted, Incoming};
use kith_service::tls::issue::{IssueError, Validity};
use kith_service::tls::{KeyedChain, TlsError, server_config, with_http1};
use rcgen::{CertificateSigningRequestParams, PublicKeyData as _};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;

/// The server name that a gateway's certificate carries.
pub fn server_name(keys: &GatewayKeys) -> String {
    format!("gateway.{}", keys.network)
}

/// Issues a member's certificate: 7 days, valid from an hour ago for clocks that lag.
pub fn member_certificate(
    keys: &GatewayKeys,
    org: &OrgId,
    request_der: &[u8],
    now_ms: i64,
) -> Result<Vec<u8>, IssueError> {
    let member = Address {
        org: org.clone(),
        network: keys.network.clone(),
    };
    let not_after_ms = now_ms.saturating_add(CERTIFICATE_LIFE_MS);
    let validity = Validity {
        not_before_ms: now_ms.saturating_sub(CLOCK_SKEW_MS),
        not_after_ms: not_after_ms.min(keys.issuing.not_after_ms()),
    };
    let pem = keys.issuing.issue_member(request_der, &member, validity)?;
    Ok(pem.into_bytes())
}

/// Names the TLS key of a certificate request: SHA-256 of its public key info.
pub fn tls_key_hash(request_der: &[u8]) -> Result<[u8; 32], IssueError> {
    let request =
        CertificateSigningRequestParams::from_der(&request_der.into()).map_err(|_| IssueError::Request)?;
    Ok(sha256(&[&request.public_key.subject_public_key_info()]))
}

/// Why TLS was not set up: the issuing key or the time is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// The gateway's own certificate could not be issued.
    #[error("the gateway's own certificate could not be issued")]
    Issue(#[from] IssueError),
    /// TLS refused it.
    #[error("TLS refused the gateway's certificate")]
    Tls(#[from] TlsError),
}

/// Ends TLS on every socket, with a fresh certificate of the gateway's own whose key lives in memory only. It lasts as long as
/// the issuing certificate: whoever could misuse it longer could as well issue another. Callers may show a certificate of ours.
pub fn incoming<IO>(
    keys: &GatewayKeys,
    clock: &Clock,
    sockets: impl Stream<Item = io::Result<Accepted<IO>>> + Send + 'static,
) -> Result<Incoming<IO>, ServerTlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let now_ms = clock.now_ms();
    let validity = Validity {
        not_before_ms: now_ms.saturating_sub(CLOCK_SKEW_MS),
        not_after_ms: keys.issuing.not_after_ms(),
    };
    let own = keys.issuing.issue_server(&server_name(keys), validity)?;
    let chain = KeyedChain {
        chain_pem: own.chain_pem.as_bytes(),
        key_pem: own.key_pem.as_bytes(),
    };
    let clock = clock.clone();
    let now_ms = move || clock.now_ms();
    let config = server_config(chain, Some(keys.issuing.certificate().clone()), now_ms)?;
    // Tiles are fetched by any program; who speaks HTTP/1.1 reaches nothing else.
    Ok(Incoming::tls(sockets, with_http1(&config)))
}
