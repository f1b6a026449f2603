//! The edges: one file per service, and what they share. An edge reads the peer, parses, calls one use-case, answers.
//! No rule and no SQL stands here. Health and reflection are served beside, anonymously: they say nothing about anyone.

use crate::gateway::{Gateway, ServeError};
use crate::http;
use crate::limits::{
    ANONYMOUS_IN_FLIGHT_MAX, BUNDLE_MESSAGE_BYTES_MAX, BUSY_RETRY_AFTER_MS, ENROLMENT_BYTES_MAX,
    LOG_BYTES_MAX, RELAY_BYTES_MAX, RESTORE_BYTES_MAX, STOP_BYTES_MAX, STREAMS_PER_CONNECTION_MAX,
};
use crate::membership;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::bundle_service_server::BundleServiceServer;
use kith_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use kith_proto::v1::log_service_server::LogServiceServer;
use kith_proto::v1::relay_service_server::RelayServiceServer;
use kith_proto::v1::restore_service_server::RestoreServiceServer;
use kith_proto::v1::stop_service_server::StopServiceServer;
use kith_service::deadline::Deadlines;
use kith_service::status::Failure;
use kith_service::tls::identity::Identity;
use kith_service::tls::incoming::{self, Peer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::transport::server::Connected;

mod bundle;
mod enrolment;
mod log;
mod relay;
mod restore;
mod stop;

/// The methods without a deadline.
const STREAMING: &[&str] = &[
    "/kith.v1.RelayService/Attach",
    "/kith.v1.BundleService/KeepBundle",
    "/kith.v1.BundleService/FetchBundle",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];
/// The services that reflection tells of: what this port serves, not all that the package holds.
const SERVICES: [&str; 7] = [
    "kith.v1.BundleService",
    "kith.v1.EnrolmentService",
    "kith.v1.LogService",
    "kith.v1.RelayService",
    "kith.v1.RestoreService",
    "kith.v1.StopService",
    "grpc.health.v1.Health",
];

/// Serves all services of the port, each with its size limit, under one deadline layer, until the wish to stop.
pub(crate) async fn serve<C>(
    gateway: &Arc<Gateway>,
    incoming: impl Stream<Item = io::Result<C>>,
    wish: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    C: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static,
{
    let anonymous = Arc::new(Anonymous::default());
    let enrolment = enrolment::Enrolment {
        gateway: gateway.clone(),
        anonymous: anonymous.clone(),
    };
    let bundle = bundle::Bundle {
        gateway: gateway.clone(),
        anonymous: anonymous.clone(),
    };
    let stop = stop::Stop {
        gateway: gateway.clone(),
        anonymous,
    };
    let relay = relay::Relay {
        gateway: gateway.clone(),
    };
    let restore = restore::Restore {
        gateway: gateway.clone(),
    };
    let log = log::Log {
        gateway: gateway.clone(),
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RelayServiceServer<relay::Relay>>().await;
    health
        .set_serving::<EnrolmentServiceServer<enrolment::Enrolment>>()
        .await;
    health.set_serving::<BundleServiceServer<bundle::Bundle>>().await;
    health.set_serving::<StopServiceServer<stop::Stop>>().await;
    health.set_serving::<LogServiceServer<log::Log>>().await;
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for service in SERVICES {
        reflection = reflection.with_service_name(service);
    }
    let services = Routes::new(health_service)
        .add_service(reflection.build_v1()?)
        .add_service(EnrolmentServiceServer::new(enrolment).max_decoding_message_size(ENROLMENT_BYTES_MAX))
        .add_service(BundleServiceServer::new(bundle).max_decoding_message_size(BUNDLE_MESSAGE_BYTES_MAX))
        .add_service(StopServiceServer::new(stop).max_decoding_message_size(STOP_BYTES_MAX))
        .add_service(LogServiceServer::new(log).max_decoding_message_size(LOG_BYTES_MAX))
        .add_service(RestoreServiceServer::new(restore).max_decoding_message_size(RESTORE_BYTES_MAX))
        .add_service(RelayServiceServer::new(relay).max_decoding_message_size(RELAY_BYTES_MAX));
    incoming::server()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .accept_http1(true)
        .layer(Deadlines::new(STREAMING))
        .add_routes(http::beside(services.into_axum_router(), gateway).into())
        .serve_with_incoming_shutdown(incoming, wish)
        .await?;
    Ok(())
}

/// The places for anonymous calls at work; who finds none is turned away at once.
pub(crate) struct Anonymous(Semaphore);

impl Default for Anonymous {
    fn default() -> Self {
        Self(Semaphore::new(ANONYMOUS_IN_FLIGHT_MAX))
    }
}

impl Anonymous {
    /// Takes a place until the permit is dropped.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.0.try_acquire().map_err(|_| busy())
    }
}

fn busy() -> Failure {
    Failure::new(Problem::Unavailable).with_retry_after(BUSY_RETRY_AFTER_MS)
}

/// Says whom the certificate of a connection names, which must be this network's and not have run out: also one that counts no more.
fn named<'r, T>(gateway: &Gateway, request: &'r tonic::Request<T>) -> Result<&'r Identity, Failure> {
    let peer = request.extensions().get::<Peer>();
    peer.and_then(|peer| peer.identity.as_ref())
        .filter(|identity| identity.network == gateway.network)
        .filter(|identity| gateway.clock.now_ms() < identity.not_after_ms)
        .ok_or_else(|| {
            Failure::new(Problem::Unauthenticated).with_sentence(
                "This call needs a valid certificate of this network. The node renews it by itself.",
            )
        })
}

/// Says which member calls: by the certificate of its connection, of an organisation that is a member and whose keys are not lost. Never
/// by a field of a message.
fn caller<T>(gateway: &Gateway, request: &tonic::Request<T>) -> Result<Identity, Failure> {
    let identity = named(gateway, request)?;
    match gateway.member(&identity.org) {
        Some(known) if membership::certificate_counts(&known, identity) => Ok(identity.clone()),
        Some(_) => Err(Failure::new(Problem::Unauthenticated).with_sentence(
            "The keys of this organisation were reported lost. Come back with the token that the network's operator gave you.",
        )),
        None => Err(Problem::NotAMember.into()),
    }
}

/// A missing field of a request.
fn missing(field: &'static str) -> Failure {
    Failure::new(Problem::Invalid).with_field(field, "This is missing.")
}
