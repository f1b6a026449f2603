//! The server of the gRPC edge: where it listens, its limits, its health and its reflection.
//! `serve` makes it with a listener of its own, the demo and the simulation with theirs.
//! It must never listen on an address that others can reach without TLS.

use super::Edge;
use super::guard::Guard;
use crate::node::Node;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::audit_service_server::AuditServiceServer;
use kith_proto::v1::consent_service_server::ConsentServiceServer;
use kith_proto::v1::directory_service_server::DirectoryServiceServer;
use kith_proto::v1::person_service_server::PersonServiceServer;
use kith_proto::v1::referral_service_server::ReferralServiceServer;
use kith_service::deadline::Deadlines;
use kith_service::shutdown::Shutdown;
use kith_service::tls::dial::Dial;
use kith_service::tls::incoming::{self, Incoming};
use kith_service::tls::{self, KeyedChain, TlsError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::server::NamedService;

/// Largest request, in bytes: the parts of one list at their limit, names and framing.
pub const REQUEST_BYTES_MAX: usize = 384 << 10;
/// How long calls under way may take to end once the node is to stop.
pub const LEAVE_MAX: Duration = Duration::from_secs(5);
/// The methods that stay open: they have no deadline.
const STREAMING: &[&str] = &[
    "/kith.v1.AuditService/ExportTrail",
    "/kith.v1.ReferralService/SendReferrals",
    "/kith.v1.ReferralService/WatchReferrals",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Why the node does not listen, or stopped answering.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can be reached from other computers and there is no certificate: give one, or listen on loopback.
    #[error(
        "{address} can be reached from other computers, so it needs a TLS certificate: give --{of}-tls-cert and --{of}-tls-key, or listen on 127.0.0.1"
    )]
    NeedsTls {
        /// Which.
        address: SocketAddr,
        /// Of what.
        of: &'static str,
    },
    /// The address cannot be listened on: another program has it, or it is not this computer's.
    #[error("{address} cannot be listened on; perhaps another program does already")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate and key do not do.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server ended by itself.
    #[error("the server for the organisation's systems ended")]
    Ended(#[source] tonic::transport::Error),
    /// The descriptors of this program cannot be read: a fault of its build.
    #[error("the descriptors for reflection cannot be read")]
    Descriptors,
}

impl ServerError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::NeedsTls { .. } | Self::Tls(_) => Problem::Invalid,
            Self::Listen { .. } | Self::Ended(_) | Self::Descriptors => Problem::Unavailable,
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen<'a> {
    /// For what: `grpc` or `web`, as the command line says it.
    pub of: &'static str,
    /// The address; port 0 for a free one.
    pub address: SocketAddr,
    /// Certificate chain and private key, both PEM; needed unless the address is loopback.
    pub chain: Option<(&'a [u8], &'a [u8])>,
}

impl Listen<'_> {
    /// Refuses an address that other computers reach without a certificate; for saying so before anything is opened.
    pub fn check(&self) -> Result<(), ServerError> {
        if self.chain.is_none() && !self.address.ip().is_loopback() {
            let (address, of) = (self.address, self.of);
            return Err(ServerError::NeedsTls { address, of });
        }
        Ok(())
    }
}

/// Starts to listen, and says on which address.
pub async fn listen(
    listen: Listen<'_>,
    now_ms: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<(Incoming<TcpStream>, SocketAddr), ServerError> {
    listen.check()?;
    let address = listen.address;
    let failed = |source| ServerError::Listen { address, source };
    let config = match listen.chain {
        None => None,
        Some((chain_pem, key_pem)) => Some(tls::server_config(
            KeyedChain { chain_pem, key_pem },
            None,
            now_ms,
        )?),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let sockets = incoming::tcp(listener);
    let incoming = match config {
        None => Incoming::plain(sockets),
        Some(config) => Incoming::tls(sockets, config),
    };
    Ok((incoming, bound))
}

/// Answers calls until the shutdown is requested, then gives those under way [`LEAVE_MAX`] to end.
pub async fn run<IO>(
    node: Arc<Node>,
    incoming: Incoming<IO>,
    dial: Dial,
    shutdown: &Shutdown,
) -> Result<(), ServerError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in SERVICES {
        health
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
    }
    let edge = Edge::new(node.clone(), dial, shutdown.clone());
    let answering = incoming::server()
        .layer(Deadlines::new(STREAMING))
        .layer(Guard::new(node))
        .add_service(health_service)
        .add_service(reflection()?)
        .add_service(PersonServiceServer::new(edge.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(ConsentServiceServer::new(edge.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(ReferralServiceServer::new(edge.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(AuditServiceServer::new(edge.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(DirectoryServiceServer::new(edge).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming_shutdown(incoming, shutdown.wait());
    let left = async {
        shutdown.wait().await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the wait for open calls when the node stops"
        )]
        tokio::time::sleep(LEAVE_MAX).await;
    };
    tokio::select! {
        ended = answering => ended.map_err(ServerError::Ended),
        () = left => Ok(()),
    }
}

/// The services of a node, by the names on the wire.
const SERVICES: [&str; 5] = [
    PersonServiceServer::<Edge>::NAME,
    ConsentServiceServer::<Edge>::NAME,
    ReferralServiceServer::<Edge>::NAME,
    DirectoryServiceServer::<Edge>::NAME,
    AuditServiceServer::<Edge>::NAME,
];

/// Reflection over the node's own services and health; the gateway's are not offered here.
fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    ServerError,
> {
    let names = SERVICES
        .into_iter()
        .chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    names
        .fold(tonic_reflection::server::Builder::configure(), |builder, name| {
            builder.with_service_name(name)
        })
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|_| ServerError::Descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn exactly_the_streams_have_no_deadline() {
        let set = prost_types::FileDescriptorSet::decode(v1::DESCRIPTORS).unwrap();
        let mut streams = Vec::new();
        for service in set.file.iter().flat_map(|file| &file.service) {
            let name = format!("kith.v1.{}", service.name());
            let open = service
                .method
                .iter()
                .filter(|m| m.client_streaming() || m.server_streaming());
            if SERVICES.contains(&name.as_str()) {
                streams.extend(open.map(|method| format!("/{name}/{}", method.name())));
            }
        }
        let ours: Vec<&str> = STREAMING
            .iter()
            .copied()
            .filter(|path| path.starts_with("/kith."))
            .collect();
        assert_eq!(streams, ours);
    }
}
