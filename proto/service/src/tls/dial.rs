//! Opens gRPC channels: over TLS to a gateway whose issuer is pinned, or plain to a server on this computer.
//! A node's link and the command-line tools call it; a simulation hands in its own sockets through [`Dial::from_fn`].
//! It must never fall back from TLS to plain, nor trust any root but the one in the configuration.

use super::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE, STREAM_WINDOW_BYTES};
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use kith_proto::problem::Problem;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

/// Longest time to open a connection, TLS included.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A byte stream in both directions: a TCP socket, a simulated one, or TLS over either.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream on its way to being open.
type Opening = BoxFuture<'static, io::Result<Box<dyn Io>>>;

/// Opens the byte stream to a `host:port`.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn(String) -> Opening + Send + Sync>);

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    /// Real TCP, without delay of small packets.
    pub fn tcp() -> Self {
        Self::from_fn(|address| async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            Ok(socket)
        })
    }

    /// Any other way to open a stream, as `|address| turmoil::net::TcpStream::connect(address)`.
    pub fn from_fn<F, T>(open: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Io + 'static,
    {
        Self(Arc::new(move |address| {
            let opening = open(address);
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Io>) })
        }))
    }

    /// Opens one stream to `host:port`; for callers that speak something else than gRPC over it.
    pub async fn open(&self, address: &str) -> io::Result<Box<dyn Io>> {
        (self.0)(address.to_owned()).await
    }
}

/// Why no channel was opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The server's name is none that a certificate could have: correct the setting.
    #[error("the server's name cannot be used")]
    Name,
    /// Somebody answered who is not the pinned issuer's server, or its certificate has run out: alarm, do not retry.
    #[error("the server's certificate is not to be trusted")]
    Untrusted(#[source] tonic::transport::Error),
    /// Nobody answered, or not in time: try again later.
    #[error("the server could not be reached")]
    Unreachable(#[source] tonic::transport::Error),
}

impl DialError {
    /// The problem that a caller is told.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Name => Problem::Invalid,
            Self::Untrusted(_) | Self::Unreachable(_) => Problem::Unavailable,
        }
    }
}

/// Opens a channel over TLS to `address` (`host:port`), whose certificate must be for `server_name`. The channel
/// dials again by itself after it broke, with the same configuration; after a renewal open a new one.
pub async fn channel(
    dial: &Dial,
    address: &str,
    server_name: &str,
    config: Arc<ClientConfig>,
) -> Result<Channel, DialError> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| DialError::Name)?;
    let origin: Uri = format!("https://{server_name}")
        .parse()
        .map_err(|_| DialError::Name)?;
    let opener = Opener {
        dial: dial.clone(),
        address: address.to_owned(),
        tls: Some((TlsConnector::from(config), name)),
    };
    connect(origin, opener).await
}

/// Opens a channel without TLS to `address` (`host:port`); for a server on this computer only.
pub async fn plain_channel(dial: &Dial, address: &str) -> Result<Channel, DialError> {
    let origin: Uri = format!("http://{address}").parse().map_err(|_| DialError::Name)?;
    let opener = Opener {
        dial: dial.clone(),
        address: address.to_owned(),
        tls: None,
    };
    connect(origin, opener).await
}

async fn connect(origin: Uri, opener: Opener) -> Result<Channel, DialError> {
    // The endpoint's own address is never dialled: the opener knows the real one, and the origin goes on the wire.
    Endpoint::from_static("http://kith")
        .origin(origin)
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector(opener)
        .await
        .map_err(|error| match rejects_certificate(&error) {
            true => DialError::Untrusted(error),
            false => DialError::Unreachable(error),
        })
}

/// Whether a failure to connect goes back to a certificate that we refused.
fn rejects_certificate(error: &tonic::transport::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(_)) = inside.and_then(|e| e.downcast_ref()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// tonic's connector: opens the stream and, where asked for, TLS over it.
#[derive(Clone)]
struct Opener {
    dial: Dial,
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Service<Uri> for Opener {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { dial, address, tls } = self.clone();
        Box::pin(async move {
            let stream = dial.open(&address).await?;
            Ok(TokioIo::new(match tls {
                None => stream,
                Some((connector, name)) => Box::new(connector.connect(name, stream).await?) as Box<dyn Io>,
            }))
        })
    }
}
