//! Stories of links over real loopback TLS: who gets through, as whom, and who is turned away.

use super::dial::{Dial, DialError, channel, plain_channel};
use super::fixture::{
    Desk, Keyed, NOW_MS, SERVER, call, client_tls, dial, enrolled, issuing_key, listen, member, odd,
    server_tls, uri, week,
};
use super::incoming::{self, Incoming};
use super::issue::Validity;
use super::{KeyedChain, TlsError, client_config, root_certificate, server_config};
use crate::deadline::Deadlines;
use crate::status::failure_of;
use kith_proto::problem::Problem;
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use rustls_pki_types::ServerName;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_member_is_known_by_its_certificate_and_others_are_anonymous() {
    let issuer = issuing_key();
    let desk = Desk::default();
    let address = listen(&desk, server_tls(&issuer)).await;
    let riverside = enrolled(&issuer, "riverside-gp", week());

    let known = dial(&address, client_tls(&issuer, Some(&riverside)))
        .await
        .unwrap();
    assert_eq!(call(known.clone()).await.unwrap(), NOW_MS);
    assert_eq!(call(known).await.unwrap(), NOW_MS);
    let anonymous = dial(&address, client_tls(&issuer, None)).await.unwrap();
    assert_eq!(call(anonymous).await.unwrap(), NOW_MS);

    let callers = desk.callers();
    assert_eq!(callers.len(), 3);
    for caller in &callers[..2] {
        let identity = caller.identity.as_ref().unwrap();
        assert_eq!(identity.org, member("riverside-gp").org);
        assert_eq!(identity.network, member("riverside-gp").network);
        assert_eq!(identity.not_after_ms, week().not_after_ms);
    }
    assert_eq!(callers[2].identity, None);
    assert!(callers.iter().all(|c| c.remote.unwrap().ip().is_loopback()));
    assert!(!format!("{callers:?}").contains("127.0.0.1"));
}

#[tokio::test]
async fn a_plain_connection_on_loopback_takes_the_same_path() {
    let desk = Desk::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    desk.serve(Incoming::plain(incoming::tcp(listener)), Deadlines::new(&[]));
    let channel = plain_channel(&Dial::tcp(), &address).await.unwrap();
    assert_eq!(call(channel).await.unwrap(), NOW_MS);
    assert_eq!(desk.callers()[0].identity, None);
    assert!(desk.callers()[0].remote.is_some());
}

/// Every certificate here proves its key, yet none may reach the desk.
#[tokio::test]
async fn certificates_that_name_no_member_of_this_issuer_never_reach_a_method() {
    let issuer = issuing_key();
    let desk = Desk::default();
    let address = listen(&desk, server_tls(&issuer)).await;
    let name = uri("spiffe://lune-valley.example/org/riverside-gp");
    let other = uri("spiffe://lune-valley.example/org/north-advice");
    let past = Validity {
        not_before_ms: NOW_MS - 7_200_000,
        not_after_ms: NOW_MS - 1000,
    };
    let future = Validity {
        not_before_ms: NOW_MS + 60_000,
        not_after_ms: NOW_MS + 120_000,
    };
    let server = issuer.issue_server(SERVER, week()).unwrap();
    let fine = odd(&issuer, std::slice::from_ref(&name), |_| {});
    let channel = dial(&address, client_tls(&issuer, Some(&fine))).await.unwrap();
    call(channel).await.unwrap();
    let refused = [
        (
            "another issuer of the same name",
            enrolled(&issuing_key(), "riverside-gp", week()),
        ),
        ("run out", enrolled(&issuer, "riverside-gp", past)),
        ("not yet", enrolled(&issuer, "riverside-gp", future)),
        ("two names", odd(&issuer, &[name, other], |_| {})),
        ("no name", odd(&issuer, &[], |_| {})),
        (
            "another scheme",
            odd(
                &issuer,
                &[uri("https://lune-valley.example/org/riverside-gp")],
                |_| {},
            ),
        ),
        (
            "a server's certificate",
            Keyed {
                chain_pem: server.chain_pem,
                key_pem: server.key_pem,
            },
        ),
    ];
    for (why, keyed) in refused {
        let answer = match dial(&address, client_tls(&issuer, Some(&keyed))).await {
            Ok(channel) => call(channel).await.map_err(|status| failure_of(&status).problem),
            Err(error) => Err(error.problem()),
        };
        assert_eq!(answer, Err(Problem::Unavailable), "{why}");
    }
    assert_eq!(desk.callers().len(), 1, "only the one that is in order");
}

#[tokio::test]
async fn a_server_that_is_not_the_pinned_issuers_is_not_trusted() {
    let issuer = issuing_key();
    let address = listen(&Desk::default(), server_tls(&issuer)).await;
    let untrusted = dial(&address, client_tls(&issuing_key(), None))
        .await
        .unwrap_err();
    assert!(matches!(untrusted, DialError::Untrusted(_)), "{untrusted:?}");

    let tls = client_tls(&issuer, None);
    let misnamed = channel(&Dial::tcp(), &address, "lune-valley.example", tls).await;
    assert!(matches!(misnamed, Err(DialError::Untrusted(_))));
    let unnameable = channel(&Dial::tcp(), &address, "not a name", client_tls(&issuer, None)).await;
    assert!(matches!(unnameable, Err(DialError::Name)));

    let later = client_config(issuer.certificate().clone(), None, || week().not_after_ms + 1000).unwrap();
    assert!(matches!(
        dial(&address, later).await,
        Err(DialError::Untrusted(_))
    ));
    let before_1970 = client_config(issuer.certificate().clone(), None, || -1).unwrap();
    assert!(dial(&address, before_1970).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let issuer = issuing_key();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = dial(&address, client_tls(&issuer, None)).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable(_)), "{error:?}");
    assert_eq!(error.problem(), Problem::Unavailable);
}

/// The first connection is cut on the way; the second call of the same channel goes over a new one.
#[tokio::test]
async fn a_channel_dials_again_after_a_break() {
    let issuer = issuing_key();
    let desk = Desk::default();
    let address = listen(&desk, server_tls(&issuer)).await;
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let noted = cuts.clone();
    let through_a_relay = Dial::from_fn(move |address: String| {
        let noted = noted.clone();
        async move {
            let (near, mut middle) = tokio::io::duplex(64 << 10);
            let mut far = TcpStream::connect(address).await?;
            let relay = tokio::spawn(async move { copy_bidirectional(&mut middle, &mut far).await });
            noted.lock().unwrap().push(relay);
            Ok(near)
        }
    });
    let riverside = enrolled(&issuer, "riverside-gp", week());
    let tls = client_tls(&issuer, Some(&riverside));
    let channel = channel(&through_a_relay, &address, SERVER, tls).await.unwrap();
    call(channel.clone()).await.unwrap();
    let relay = cuts.lock().unwrap().remove(0);
    relay.abort();
    relay.await.unwrap_err();
    // The call that finds the break may fail; none after it does.
    call(channel.clone()).await.ok();
    call(channel).await.unwrap();
    assert_eq!(cuts.lock().unwrap().len(), 1, "one new connection");
    assert!(desk.callers().iter().all(|c| c.identity.is_some()));
}

#[tokio::test]
async fn a_server_without_a_client_root_asks_for_no_certificate() {
    let issuer = issuing_key();
    let own = issuer.issue_server(SERVER, week()).unwrap();
    let chain = KeyedChain {
        chain_pem: own.chain_pem.as_bytes(),
        key_pem: own.key_pem.as_bytes(),
    };
    let desk = Desk::default();
    let address = listen(&desk, server_config(chain, None, || NOW_MS).unwrap()).await;
    let riverside = enrolled(&issuer, "riverside-gp", week());
    let channel = dial(&address, client_tls(&issuer, Some(&riverside)))
        .await
        .unwrap();
    call(channel).await.unwrap();
    assert_eq!(desk.callers()[0].identity, None);
}

#[tokio::test]
async fn every_link_is_tls_1_3_post_quantum_http2_and_never_resumed() {
    let issuer = issuing_key();
    let address = listen(&Desk::default(), server_tls(&issuer)).await;
    let connector = tokio_rustls::TlsConnector::from(client_tls(&issuer, None));
    for _ in 0..2 {
        let socket = TcpStream::connect(&address).await.unwrap();
        let name = ServerName::try_from(SERVER).unwrap();
        let mut stream = connector.connect(name, socket).await.unwrap();
        // The server's first HTTP/2 frame comes after any ticket it would have sent.
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        let tls = stream.get_ref().1;
        assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(tls.alpn_protocol(), Some(b"h2".as_slice()));
        let group = tls.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(tls.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(tls.tls13_tickets_received(), 0);
    }
}

/// A hand-made ClientHello of TLS 1.2: legacy version 3.3, one suite, no `supported_versions`.
#[tokio::test]
async fn tls_1_2_is_answered_with_a_version_alert() {
    let issuer = issuing_key();
    let address = listen(&Desk::default(), server_tls(&issuer)).await;
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    // No session id; ECDHE-ECDSA with AES-128-GCM; no compression; groups, signature algorithms, point formats.
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3, 0, 11, 0, 2, 1, 0,
    ];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let body = hello.len() as u8;
    let mut record = vec![22, 3, 1, 0, body + 4, 1, 0, 0, body];
    record.extend(hello);

    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    // Alert record, fatal, protocol_version (RFC 8446, section 6).
    assert_eq!((answer[0], &answer[5..]), (21, [2, 70].as_slice()));
}

#[test]
fn files_that_do_not_fit_are_told_apart() {
    let issuer = issuing_key();
    let root = issuer.certificate_pem().as_bytes();
    let (one, two) = (
        enrolled(&issuer, "riverside-gp", week()),
        enrolled(&issuer, "north-advice", week()),
    );
    let with =
        |chain_pem, key_pem| server_config(KeyedChain { chain_pem, key_pem }, None, || NOW_MS).unwrap_err();
    let (chain, key) = (one.chain_pem.as_bytes(), one.key_pem.as_bytes());
    assert!(matches!(with(b"", key), TlsError::Certificate));
    assert!(matches!(with(key, key), TlsError::Certificate));
    assert!(matches!(with(chain, chain), TlsError::Key));
    assert!(matches!(with(chain, two.key_pem.as_bytes()), TlsError::Pair(_)));

    assert_eq!(&root_certificate(root).unwrap(), issuer.certificate());
    assert!(matches!(
        root_certificate(&[root, root].concat()),
        Err(TlsError::Certificate)
    ));
    assert!(matches!(root_certificate(b"text"), Err(TlsError::Certificate)));
    let broken = client_config(b"no certificate".to_vec().into(), None, || NOW_MS);
    assert!(matches!(broken, Err(TlsError::Certificate)));
}
