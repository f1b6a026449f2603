//! A small network for tests: an issuing key, members' and odd certificates, and a served desk that notes its callers.
//! Only tests of this crate use it; it must never hold a rule that the code under test should hold.

use super::dial::{self, Dial, DialError};
use super::incoming::{self, Accepted, Incoming, Peer};
use super::issue::{IssuingKey, Validity, certificate_request, generate_key_pem};
use super::{KeyedChain, client_config, server_config};
use crate::deadline::Deadlines;
use kith_proto::id::Address;
use kith_proto::v1::stop_service_client::StopServiceClient;
use kith_proto::v1::stop_service_server::{StopService, StopServiceServer};
use kith_proto::v1::{StopSlipRequest, StopSlipResponse};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// The time of every test.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;
/// The name that every server certificate of the fixture carries.
pub(crate) const SERVER: &str = "gateway.lune-valley.example";
const HOUR_MS: i64 = 3_600_000;

/// From an hour before the test's time until a week after.
pub(crate) const fn week() -> Validity {
    Validity {
        not_before_ms: NOW_MS - HOUR_MS,
        not_after_ms: NOW_MS + 168 * HOUR_MS,
    }
}

/// A member's address in the fixture's network.
pub(crate) fn member(org: &str) -> Address {
    format!("{org}@lune-valley.example").parse().unwrap()
}

/// A new issuing key of the fixture's network.
pub(crate) fn issuing_key() -> IssuingKey {
    IssuingKey::generate(&member("any").network, week()).unwrap()
}

/// A certificate chain and its key, PEM.
pub(crate) struct Keyed {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
}

impl Keyed {
    pub(crate) fn as_chain(&self) -> KeyedChain<'_> {
        KeyedChain {
            chain_pem: self.chain_pem.as_bytes(),
            key_pem: self.key_pem.as_bytes(),
        }
    }

    pub(crate) fn leaf(&self) -> CertificateDer<'static> {
        super::root_certificate(self.chain_pem.as_bytes()).unwrap()
    }
}

/// A member's key and certificate, made the way a node and a gateway make them.
pub(crate) fn enrolled(issuer: &IssuingKey, org: &str, validity: Validity) -> Keyed {
    let key_pem = generate_key_pem().unwrap();
    let request = certificate_request(&key_pem).unwrap();
    let chain_pem = issuer.issue_member(&request, &member(org), validity).unwrap();
    Keyed { chain_pem, key_pem }
}

/// A certificate by the same issuer with whatever names and marks, which `issue_member` would never give.
pub(crate) fn odd(issuer: &IssuingKey, names: &[SanType], change: impl Fn(&mut CertificateParams)) -> Keyed {
    let issuing = KeyPair::from_pem(&issuer.key_pem()).unwrap();
    let signer = Issuer::from_ca_cert_pem(issuer.certificate_pem(), issuing).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    change(&mut params);
    Keyed {
        chain_pem: params.signed_by(&key, &signer).unwrap().pem(),
        key_pem: key.serialize_pem(),
    }
}

/// A URI as an alternative name.
pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// TLS settings of a server of this issuer that also takes this issuer's members.
pub(crate) fn server_tls(issuer: &IssuingKey) -> Arc<ServerConfig> {
    let server = issuer.issue_server(SERVER, week()).unwrap();
    let chain = KeyedChain {
        chain_pem: server.chain_pem.as_bytes(),
        key_pem: server.key_pem.as_bytes(),
    };
    server_config(chain, Some(issuer.certificate().clone()), || NOW_MS).unwrap()
}

/// TLS settings of a client that trusts this issuer.
pub(crate) fn client_tls(issuer: &IssuingKey, identity: Option<&Keyed>) -> Arc<ClientConfig> {
    let root = issuer.certificate().clone();
    client_config(root, identity.map(Keyed::as_chain), || NOW_MS).unwrap()
}

/// A served stop page that takes its time and notes who called.
#[derive(Clone, Default)]
pub(crate) struct Desk {
    callers: Arc<Mutex<Vec<Peer>>>,
    takes: Duration,
}

impl Desk {
    /// A desk whose every answer takes this long.
    pub(crate) fn taking(takes: Duration) -> Self {
        Self {
            takes,
            ..Self::default()
        }
    }

    pub(crate) fn callers(&self) -> Vec<Peer> {
        self.callers.lock().unwrap().clone()
    }

    /// Serves connections in the background, with the deadlines given.
    pub(crate) fn serve<IO>(&self, incoming: Incoming<IO>, deadlines: Deadlines)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = StopServiceServer::new(self.clone());
        let router = incoming::server().layer(deadlines).add_service(service);
        tokio::spawn(router.serve_with_incoming(incoming));
    }
}

#[tonic::async_trait]
impl StopService for Desk {
    async fn stop_slip(
        &self,
        request: Request<StopSlipRequest>,
    ) -> Result<Response<StopSlipResponse>, Status> {
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        self.callers.lock().unwrap().push(peer);
        #[expect(
            clippy::disallowed_methods,
            reason = "a call that takes long is what is tested"
        )]
        tokio::time::sleep(self.takes).await;
        Ok(Response::new(StopSlipResponse {
            stopped_at_ms: NOW_MS,
        }))
    }
}

/// Calls the desk once.
pub(crate) async fn call(channel: Channel) -> Result<i64, Status> {
    let answer = StopServiceClient::new(channel)
        .stop_slip(StopSlipRequest::default())
        .await?;
    Ok(answer.into_inner().stopped_at_ms)
}

/// A server on a loopback port, over TLS; returns its `host:port`.
pub(crate) async fn listen(desk: &Desk, tls: Arc<ServerConfig>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    desk.serve(Incoming::tls(incoming::tcp(listener), tls), Deadlines::new(&[]));
    address
}

/// Opens a channel to the fixture's server over real TCP.
pub(crate) async fn dial(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, DialError> {
    dial::channel(&Dial::tcp(), address, SERVER, tls).await
}

/// A listener in memory, so that tests can hold time still; every dial appears in the stream.
pub(crate) fn memory() -> (
    Dial,
    impl Stream<Item = io::Result<Accepted<DuplexStream>>> + Send + 'static,
) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let dial = Dial::from_fn(move |_| {
        let (near, far) = tokio::io::duplex(64 << 10);
        let sent = sender.send(Ok((far, None)));
        async move { sent.map(|()| near).map_err(io::Error::other) }
    });
    (
        dial,
        tokio_stream::wrappers::UnboundedReceiverStream::new(receiver),
    )
}
