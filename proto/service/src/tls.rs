//! TLS for every link of a network: 1.3 only, aws-lc-rs, X25519MLKEM768 preferred, HTTP/2 by ALPN.
//! Nodes and gateways build one configuration here at start and hand it to [`incoming`] or [`dial`].
//! It must never trust a root that was not handed in, resume an earlier session, or read time but through `now_ms`.

pub mod dial;
pub mod identity;
pub mod incoming;
pub mod issue;

use kith_proto::problem::Problem;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The application protocol that everything here speaks: HTTP/2.
pub const ALPN: &[u8] = b"h2";
/// The older protocol, offered beside it only where files are fetched by any program: tiles, and witnesses.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 window of one stream, in bytes: four envelopes of the largest size under way without waiting.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of one connection, in bytes: two streams at full speed. Also the most a peer can make us hold.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// How often an idle connection is asked for a sign of life, and how long the answer may take.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why a TLS configuration could not be made; an operator has to correct a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM has no certificate, or one that cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The PEM has no private key, or one that cannot be read.
    #[error("the private key cannot be read")]
    Key,
    /// Certificate and key are not a pair, or of a kind that is not supported.
    #[error("certificate and private key do not go together")]
    Pair(#[source] rustls::Error),
    /// The TLS library refused the settings.
    #[error("the TLS settings were refused")]
    Settings(#[source] rustls::Error),
}

impl TlsError {
    /// The problem that a caller is told: a setting to correct.
    pub const fn problem(&self) -> Problem {
        Problem::Invalid
    }
}

/// A certificate chain, leaf first, and its private key, both PEM.
#[derive(Clone, Copy)]
pub struct KeyedChain<'a> {
    /// `CERTIFICATE` sections, leaf first.
    pub chain_pem: &'a [u8],
    /// One `PRIVATE KEY` section.
    pub key_pem: &'a [u8],
}

/// Settings of a server. With `client_root` a caller may present a certificate, which must then come from that
/// issuer; without, none is asked for. Whether a method needs one is the edge's business. `now_ms` is the clock.
pub fn server_config(
    chain: KeyedChain<'_>,
    client_root: Option<CertificateDer<'static>>,
    now_ms: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(Judge::new(now_ms)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Settings)?;
    let builder = match client_root {
        None => builder.with_no_client_auth(),
        Some(root) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(root)?, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|_| TlsError::Certificate)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(chain.chain_pem)?, private_key(chain.key_pem)?)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would carry a client certificate that nobody checks again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Settings of a client that trusts `root` alone; `identity` is shown to a server that asks. `now_ms` is the clock.
pub fn client_config(
    root: CertificateDer<'static>,
    identity: Option<KeyedChain<'_>>,
    now_ms: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Judge::new(now_ms)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Settings)?
        .with_root_certificates(roots(root)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(chain) => builder
            .with_client_auth_cert(certificates(chain.chain_pem)?, private_key(chain.key_pem)?)
            .map_err(TlsError::Pair)?,
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The same settings of a server, which offers HTTP/1.1 too, after HTTP/2.
pub fn with_http1(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols.push(ALPN_HTTP1.to_vec());
    Arc::new(config)
}

/// Settings of a client of the open web, which speaks HTTP/1.1 and trusts these roots: those of the platform, or one that the
/// operator names. Shows no certificate. `now_ms` is the clock.
pub fn web_client_config(
    roots: Vec<CertificateDer<'static>>,
    now_ms: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    // A platform may list certificates that nobody can read; without any nothing is trusted.
    let (added, _) = store.add_parsable_certificates(roots);
    if added == 0 {
        return Err(TlsError::Certificate);
    }
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Judge::new(now_ms)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Settings)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Reads every certificate of a PEM text, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(TlsError::Certificate)
}

/// Reads the one certificate of a PEM text, as a pinned root is kept; a second one is an error.
pub fn root_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, TlsError> {
    let mut all = certificates(pem)?;
    let one = all.pop().ok_or(TlsError::Certificate)?;
    if all.is_empty() {
        Ok(one)
    } else {
        Err(TlsError::Certificate)
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Key)
}

fn roots(root: CertificateDer<'static>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add(root).map_err(|_| TlsError::Certificate)?;
    Ok(Arc::new(store))
}

/// The one cryptography provider, handed over explicitly so that no process-wide default is needed. Feature
/// `prefer-post-quantum` puts X25519MLKEM768 first; a test holds it there.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Judges certificates by the injected time.
struct Judge(Box<dyn Fn() -> i64 + Send + Sync>);

impl Judge {
    fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Box::new(now_ms))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl TimeProvider for Judge {
    fn current_time(&self) -> Option<UnixTime> {
        let now_ms = u64::try_from((self.0)()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(now_ms)))
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
