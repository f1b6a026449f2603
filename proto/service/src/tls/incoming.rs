//! Turns accepted sockets into connections that a tonic server can serve, with TLS or plain, and says who is there.
//! Servers of nodes and gateways give [`Incoming`] to `serve_with_incoming` and read [`Peer`] from a request's extensions.
//! It must never let one slow handshake hold up another, nor let a certificate without a member's name through.

use super::identity::Identity;
use super::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE, STREAM_WINDOW_BYTES};
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// Longest handshake; a phone on a bad line needs three round trips of a second.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes under way at once: about 0.5 ms of processor each; further sockets wait in the kernel's queue.
pub const HANDSHAKES_MAX: usize = 256;
/// Streams that one connection may have open at once.
pub const STREAMS_MAX: u32 = 256;
/// Largest block of request headers, in bytes: a status with all its details twice.
pub const HEADER_BYTES_MAX: u32 = 32 << 10;
/// Wait after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket as accepted, with the address it came from where there is one.
pub type Accepted<IO> = (IO, Option<SocketAddr>);

/// Who is at the other end of a connection; in every request's extensions.
#[derive(Clone)]
pub struct Peer {
    /// The member of the client certificate; `None` for an anonymous caller or a plain connection.
    pub identity: Option<Identity>,
    /// Where the connection came from. For limits in memory only: never stored, logged or shown.
    pub remote: Option<SocketAddr>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A tonic server with the windows, keep-alive and limits that every server of a network uses.
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
}

/// Accepts from a TCP listener, without delay of small packets.
pub fn tcp(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted<TcpStream>>> + Send + 'static {
    futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(socket, remote)| {
            // Fails only on a socket that is already closed, which the handshake finds out.
            socket.set_nodelay(true).ok();
            (socket, Some(remote))
        });
        Some((accepted, listener))
    })
}

/// The connections of one listener, ready to be served. Dropping it stops accepting and ends handshakes under way.
pub struct Incoming<IO> {
    ready: mpsc::Receiver<Connection<IO>>,
    _accepting: JoinSet<()>,
}

impl<IO> Incoming<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Ends TLS on every socket. Spawns, so it needs a tokio runtime.
    pub fn tls(
        sockets: impl Stream<Item = io::Result<Accepted<IO>>> + Send + 'static,
        config: Arc<ServerConfig>,
    ) -> Self {
        Self::start(sockets, Some(TlsAcceptor::from(config)))
    }

    /// Takes every socket as it is; for a loopback listener only. Spawns, so it needs a tokio runtime.
    pub fn plain(sockets: impl Stream<Item = io::Result<Accepted<IO>>> + Send + 'static) -> Self {
        Self::start(sockets, None)
    }

    fn start(
        sockets: impl Stream<Item = io::Result<Accepted<IO>>> + Send + 'static,
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let (sender, ready) = mpsc::channel(HANDSHAKES_MAX);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(sockets, acceptor, sender));
        Self {
            ready,
            _accepting: accepting,
        }
    }
}

impl<IO> Stream for Incoming<IO> {
    type Item = io::Result<Connection<IO>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

/// Accepts until the listener or the receiver ends; each handshake is a task of its own.
async fn accept<IO>(
    sockets: impl Stream<Item = io::Result<Accepted<IO>>>,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<Connection<IO>>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut handshakes = JoinSet::new();
    let mut sockets = pin!(sockets);
    while let Ok(place) = places.clone().acquire_owned().await {
        while handshakes.try_join_next().is_some() {}
        match sockets.next().await {
            None => break,
            Some(Err(error)) => {
                tracing::warn!(kind = ?error.kind(), "a connection could not be accepted");
                #[expect(clippy::disallowed_methods, reason = "the worker that accepts")]
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Some(Ok(socket)) => {
                handshakes.spawn(admit(socket, acceptor.clone(), ready.clone(), place));
            }
        }
    }
    while handshakes.join_next().await.is_some() {}
}

/// Brings one socket to a connection and hands it on, or closes it and says why in the log, without an address.
async fn admit<IO>(
    (socket, remote): Accepted<IO>,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<Connection<IO>>,
    _place: OwnedSemaphorePermit,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (line, identity) = match acceptor {
        None => (Line::Plain(socket), None),
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
            Err(_) => return tracing::debug!("a handshake took too long"),
            Ok(Err(error)) => return tracing::debug!(kind = ?error.kind(), "a handshake failed"),
            Ok(Ok(stream)) => match identity_of(&stream) {
                Err(error) => return tracing::warn!(%error, "a client certificate was refused"),
                Ok(identity) => (Line::Tls(Box::new(stream)), identity),
            },
        },
    };
    let peer = Peer { identity, remote };
    // Fails only when the server has stopped; the connection then closes by being dropped.
    ready.send(Connection { line, peer }).await.ok();
}

fn identity_of<IO>(stream: &TlsStream<IO>) -> Result<Option<Identity>, super::identity::IdentityError> {
    let certificates = stream.get_ref().1.peer_certificates();
    certificates
        .and_then(<[_]>::first)
        .map(Identity::from_der)
        .transpose()
}

/// A connection to serve, with its [`Peer`].
pub struct Connection<IO> {
    line: Line<IO>,
    peer: Peer,
}

enum Line<IO> {
    Plain(IO),
    Tls(Box<TlsStream<IO>>),
}

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Line::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.line {
            Line::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Line::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.line {
            Line::Plain(io) => Pin::new(io).poll_write_vectored(context, slices),
            Line::Tls(io) => Pin::new(io).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.line {
            Line::Plain(io) => io.is_write_vectored(),
            Line::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(io) => Pin::new(io).poll_flush(context),
            Line::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(io) => Pin::new(io).poll_shutdown(context),
            Line::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests;
