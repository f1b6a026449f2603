//! A gateway that writes down every byte it reads and writes inside TLS. Started by the role program of the network tests,
//! so that a story can be searched for what the gateway must never see. It is the gateway's own server on its own
//! connections; only the file that each passes through is added here.

use anyhow::Context as _;
use kith_gateway::gateway::serve_connections;
use kith_gateway::keys::GatewayKeys;
use kith_gateway::limits::WITNESS_MS_MAX;
use kith_gateway::witnessing::ask;
use kith_gateway::{Gateway, GatewayConfig, issuing};
use kith_service::clock::Clock;
use kith_service::log::ask::{Asker, WitnessUrl};
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::telemetry::{self, LogFormat};
use kith_service::tls::dial::Dial;
use kith_service::tls::incoming::{self, Peer};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected;

/// The folder of recordings, beside the gateway's data folder.
pub const FOLDER: &str = "streams";
/// How a file of what was read ends.
pub const READ: &str = "read";
/// How a file of what was written ends.
pub const WRITTEN: &str = "written";
/// A file beside the clock's that names the gateway's store; without it, SQLite in the data folder.
pub const STORE: &str = "gateway.store";
/// More than an operator would log, so that more is searched.
pub const LOG: &str = "debug";

/// What `role CLOCK-FILE gateway serve --data DIR --listen ADDRESS --witness URL` asks for.
#[derive(Debug)]
pub struct Serve {
    clock_file: PathBuf,
    data: PathBuf,
    listen: String,
    witness: WitnessUrl,
}

impl Serve {
    /// Reads the command line; none for any other.
    pub fn asked(args: &[OsString]) -> Option<Self> {
        let [_, word, clock_file, role, command, options @ ..] = args else {
            return None;
        };
        if word != "role" || role != "gateway" || command != "serve" {
            return None;
        }
        let option = |name: &str| {
            let mut after = options.iter().skip_while(|option| *option != name).skip(1);
            after.next().cloned()
        };
        Some(Self {
            clock_file: clock_file.into(),
            data: option("--data")?.into(),
            listen: option("--listen")?.into_string().ok()?,
            witness: option("--witness")?.to_str()?.parse().ok()?,
        })
    }

    /// Serves until it is asked to stop, as `kith-gateway serve` does.
    pub async fn run(self) -> anyhow::Result<()> {
        telemetry::init(LogFormat::Text, LOG)?;
        let streams = self.data.parent().context("no folder")?.join(FOLDER);
        std::fs::create_dir_all(&streams)?;
        let shutdown = Shutdown::new();
        shutdown.on_signal()?;
        let mut config = GatewayConfig::in_folder(&self.data);
        if let Ok(store_url) = std::fs::read_to_string(self.clock_file.with_file_name(STORE)) {
            // As `serve --store` does, so that the other commands find it.
            GatewayKeys::keep_store(&self.data, &store_url)?;
            config.store_url = store_url;
        }
        let clock: Clock = kith_demo::clock::movable(self.clock_file);
        let now = clock.clone();
        let within = Duration::from_millis(WITNESS_MS_MAX);
        let asker = Asker::new(Dial::tcp(), None, within, move || now.now_ms())?;
        let gateway = Gateway::open(&config, clock, Rng::system()).await?;
        shutdown.spawn(ask::run(gateway.clone(), asker, self.witness, shutdown.clone()));
        let listener = TcpListener::bind(&self.listen).await?;
        std::fs::write(self.data.join("address"), listener.local_addr()?.to_string())?;
        let connections = issuing::incoming(&gateway.keys, &gateway.clock, incoming::tcp(listener))?;
        // A gateway that was ended and started again goes on numbering.
        let mut number = std::fs::read_dir(&streams)?.count();
        let recorded = connections.map(move |connection| {
            number += 1;
            Recorded::new(connection?, &streams, number)
        });
        Ok(serve_connections(gateway, recorded, shutdown).await?)
    }
}

/// A connection whose two directions are each copied to a file.
struct Recorded<C> {
    connection: C,
    read: File,
    written: File,
}

impl<C> Recorded<C> {
    fn new(connection: C, folder: &Path, number: usize) -> io::Result<Self> {
        let file = |ending| File::create_new(folder.join(format!("{number:05}.{ending}")));
        Ok(Self {
            connection,
            read: file(READ)?,
            written: file(WRITTEN)?,
        })
    }
}

impl<C: Connected<ConnectInfo = Peer>> Connected for Recorded<C> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Recorded<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.read.write_all(new))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Recorded<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.connection).poll_write(context, bytes))?;
        let sent = bytes.get(..count).unwrap_or_default();
        self.written.write_all(sent)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
