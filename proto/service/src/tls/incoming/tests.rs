//! Handshakes side by side, with sockets in memory and time held still.

use super::*;
use crate::deadline::Deadlines;
use crate::tls::dial::channel;
use crate::tls::fixture::{Desk, NOW_MS, SERVER, call, client_tls, issuing_key, memory, server_tls};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn silent_sockets_hold_up_nobody_and_are_closed_in_time() {
    let issuer = issuing_key();
    let (dial, sockets) = memory();
    let desk = Desk::default();
    desk.serve(Incoming::tls(sockets, server_tls(&issuer)), Deadlines::new(&[]));
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX - 1 {
        silent.push(dial.open("").await.unwrap());
    }
    let talking = channel(&dial, "", SERVER, client_tls(&issuer, None))
        .await
        .unwrap();
    assert_eq!(call(talking).await.unwrap(), NOW_MS);
    assert!(start.elapsed() < HANDSHAKE_MAX);

    for mut socket in silent {
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
    }
    assert!(start.elapsed() >= HANDSHAKE_MAX);
    assert!(start.elapsed() < HANDSHAKE_MAX * 2);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_sockets_wait_for_a_place() {
    let issuer = issuing_key();
    let (dial, sockets) = memory();
    let desk = Desk::default();
    desk.serve(Incoming::tls(sockets, server_tls(&issuer)), Deadlines::new(&[]));
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        silent.push(dial.open("").await.unwrap());
    }
    let start = Instant::now();
    let stream = dial.open("").await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(client_tls(&issuer, None));
    let name = rustls_pki_types::ServerName::try_from(SERVER).unwrap();
    connector.connect(name, stream).await.unwrap();
    assert!(start.elapsed() >= HANDSHAKE_MAX - Duration::from_secs(1));
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_failed_accept_is_not_the_end_of_the_listener() {
    let (one, _far) = tokio::io::duplex(64);
    let sockets = [Err(io::Error::other("too many files")), Ok((one, None))];
    let mut incoming = Incoming::plain(tokio_stream::iter(sockets));
    assert!(incoming.next().await.unwrap().is_ok());
    assert!(incoming.next().await.is_none());
}

#[tokio::test]
async fn dropping_it_closes_the_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = Incoming::plain(tcp(listener));
    TcpStream::connect(address).await.unwrap();
    drop(incoming);
    // The aborted task lets go of the listener when the runtime next turns to it.
    tokio::task::yield_now().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
