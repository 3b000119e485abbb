//! `nself.connect/1`: streams to servers that are granted, and TLS over them.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use nself::{
    capability::{
        Grant,
        connect::{ConnectCapability, STREAMS_MAX},
        http::{
            Egress,
            destination::{Destination, Host},
        },
    },
    plugin::manifest::Requires,
};
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::connect::{Connect, Outgoing, tls},
    error::Error,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::{grant, http::scripted, patiently};

/// Time that is no matter of the test.
const LONG_MS: u64 = 60_000;
/// Time that shall run out.
const SHORT_MS: u64 = 200;

fn connect_with(egress: &Egress, grant: &Grant) -> Connect {
    ConnectCapability::new(egress, grant).unwrap().into_handle()
}

fn connect_of(egress: &Egress, list: &[&str]) -> Connect {
    let list = list.iter().map(|entry| (*entry).to_owned()).collect();
    let requires = Requires {
        egress: list,
        ..Requires::default()
    };
    connect_with(egress, &grant(requires))
}

fn connect(list: &[&str]) -> Connect {
    connect_of(&Egress::new().unwrap(), list)
}

async fn open(connect: &Connect, host: &str, port: u16) -> Result<Outgoing, Error> {
    patiently(connect.open(host.into(), port.into(), tls::NONE, LONG_MS)).await
}

async fn open_tls(connect: &Connect, host: &str, port: u16) -> Result<Outgoing, Error> {
    patiently(connect.open(host.into(), port.into(), tls::FIRST, LONG_MS)).await
}

async fn read(stream: &Outgoing, max: u32) -> String {
    patiently(stream.read(max)).await.unwrap().to_text()
}

async fn write(stream: &Outgoing, text: &'static str) {
    let bytes = Bytes::from_static(text.as_bytes());
    patiently(stream.write(bytes)).await.unwrap();
}

/// Serves one caller on a free port.
async fn serve<F>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<F::Output>)
where
    F: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (caller, _) = listener.accept().await.unwrap();
        serve(caller).await
    });
    (address, served)
}

/// Sends back what comes, until it ends.
async fn echo(mut caller: impl AsyncRead + AsyncWrite + Unpin) {
    let mut bytes = [0; 1024];
    while let Ok(read @ 1..) = caller.read(&mut bytes).await {
        caller.write_all(&bytes[..read]).await.unwrap();
        caller.flush().await.unwrap();
    }
    drop(caller.shutdown().await);
}

#[track_caller]
fn assert_error<T>(outcome: Result<T, Error>, code: &str, reason: &str) {
    let error = outcome
        .err()
        .unwrap_or_else(|| panic!("{reason}: it worked"));
    let cause = error.cause.to_text();
    assert_eq!(error.code.to_text(), code, "{cause}");
    assert!(cause.contains(reason), "{cause:?} lacks {reason:?}");
}

#[tokio::test]
async fn bytes_go_both_ways_until_both_ends_are_shut() {
    let (address, served) = serve(echo).await;
    let granted = connect(&["127.0.0.1"]);
    let stream = open(&granted, "127.0.0.1", address.port()).await.unwrap();
    assert_eq!(stream.peer().to_text(), address.to_string());
    write(&stream, "hello there").await;
    assert_eq!(read(&stream, 5).await, "hello");
    assert_eq!(read(&stream, 1024).await, " there");
    patiently(stream.shutdown()).await.unwrap();
    assert_eq!(read(&stream, 1024).await, "", "the end");
    assert_eq!(read(&stream, 1024).await, "", "the end stays");
    patiently(served).await.unwrap();
    assert_error(
        open(&granted, "127.0.0.1", address.port()).await,
        "EGRESS_FAILED",
        "refused",
    );
}

#[tokio::test]
async fn a_reader_that_waits_keeps_nobody_from_writing() {
    let (address, _served) = serve(echo).await;
    let granted = connect(&["127.0.0.1"]);
    let stream = open(&granted, "127.0.0.1", address.port()).await.unwrap();
    let (text, ()) = tokio::join!(read(&stream, 1024), write(&stream, "now"));
    assert_eq!(text, "now");
}

#[tokio::test]
async fn what_is_not_granted_is_not_reached_in_any_spelling() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (public, other_port) = (connect(&["*"]), connect(&["127.0.0.1:1"]));
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "10.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "",
        "a b",
        "127.0.0.1\r\n",
        "127.0.0.1:25",
    ] {
        assert_error(
            open(&public, host, port).await,
            "EGRESS_DENIED",
            "grant probe",
        );
        assert_error(
            open(&other_port, host, port).await,
            "EGRESS_DENIED",
            "grant probe",
        );
    }
    for port in [0, 65_536, u32::MAX] {
        let opened = connect(&["127.0.0.1"]).open("127.0.0.1".into(), port, tls::NONE, LONG_MS);
        assert_error(patiently(opened).await, "EGRESS_DENIED", "127.0.0.1");
    }
    let nothing = connect(&[]);
    assert_error(
        open(&nothing, "127.0.0.1", port).await,
        "EGRESS_DENIED",
        "127.0.0.1",
    );
    // Whoever had been reached would stand in front.
    let own = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, first) = patiently(listener.accept()).await.unwrap();
    assert_eq!(first, own.local_addr().unwrap());
}

#[tokio::test]
async fn a_name_leads_to_an_address_that_was_checked_and_asked_for_once() {
    let (address, _served) = serve(echo).await;
    let answers: &[&[&str]] = &[&["10.0.0.1", "127.0.0.1"], &["127.0.0.2"]];
    let (egress, resolver) = scripted(answers);
    let granted = connect_of(&egress, &["inside.example.org", "127.0.0.1"]);
    let other = connect_of(&egress, &["other.example.org"]);
    let port = address.port();
    assert_error(
        open(&other, "inside.example.org", port).await,
        "EGRESS_DENIED",
        "inside.example.org",
    );
    assert_eq!(resolver.lookups.load(Ordering::SeqCst), 0);
    let stream = open(&granted, "Inside.Example.org.", port).await.unwrap();
    assert_eq!(stream.peer().to_text(), address.to_string());
    assert_eq!(resolver.lookups.load(Ordering::SeqCst), 1);
    assert_error(
        open(&granted, "inside.example.org", port).await,
        "EGRESS_DENIED",
        "127.0.0.2, which inside.example.org",
    );
}

#[tokio::test]
async fn the_server_of_the_configuration_is_reached_wherever_it_is_and_no_other() {
    let (address, _served) = serve(echo).await;
    let port = address.port();
    let destination = |host: &str| Destination {
        host: Host::parse(host).unwrap(),
        port,
    };
    let (egress, _) = scripted(&[&["127.0.0.1"]]);
    let with = |host: &str| {
        let requires = Requires {
            egress: vec!["{smtp_host}:{smtp_port}".to_owned()],
            ..Requires::default()
        };
        let destinations = [destination(host)].into();
        let grant = Grant {
            destinations,
            ..grant(requires)
        };
        connect_with(&egress, &grant)
    };
    let mail = with("mail.lan");
    for (host, port) in [
        ("mail.lan", port ^ 1),
        ("other.lan", port),
        ("127.0.0.1", port),
    ] {
        assert_error(open(&mail, host, port).await, "EGRESS_DENIED", host);
    }
    let stream = open(&mail, "mail.lan", port).await.unwrap();
    write(&stream, "to the house").await;
    assert_eq!(read(&stream, 1024).await, "to the house");
    let asked = connect_of(&egress, &["{smtp_host}:{smtp_port}", "mail.lan"]);
    assert_error(
        open(&asked, "mail.lan", port).await,
        "EGRESS_DENIED",
        "not a public address",
    );
}

/// A server's side of TLS for `localhost`, and the certificate that vouches for it.
fn authority() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

async fn trusting(connect: &Connect, pem: &str) -> Result<Connect, Error> {
    patiently(connect.trusting(pem.as_bytes().into())).await
}

/// Consents to TLS when it is asked, and echoes behind it.
async fn consent(mut caller: TcpStream, acceptor: TlsAcceptor) {
    let mut line = [0; 8];
    caller.read_exact(&mut line).await.unwrap();
    caller.write_all(b"go on\r\n").await.unwrap();
    if let Ok(encrypted) = acceptor.accept(caller).await {
        echo(encrypted).await;
    }
}

#[tokio::test]
async fn a_stream_is_encrypted_from_the_start_or_from_some_point_on() {
    let (acceptor, pem) = authority();
    let granted = trusting(&connect(&["localhost"]), &pem).await.unwrap();
    let shaking = acceptor.clone();
    let (address, _served) =
        serve(async move |caller: TcpStream| echo(shaking.accept(caller).await.unwrap()).await)
            .await;
    let stream = open_tls(&granted, "localhost", address.port()).await;
    let stream = stream.unwrap();
    write(&stream, "secret").await;
    assert_eq!(read(&stream, 1024).await, "secret");

    let (address, _served) = serve(move |caller| consent(caller, acceptor)).await;
    let stream = open(&granted, "localhost", address.port()).await.unwrap();
    write(&stream, "please\r\n").await;
    assert_eq!(read(&stream, 1024).await, "go on\r\n");
    patiently(stream.start_tls()).await.unwrap();
    write(&stream, "secret").await;
    assert_eq!(read(&stream, 3).await, "sec");
    assert_error(
        patiently(stream.start_tls()).await,
        "EGRESS_INVALID_REQUEST",
        "encrypted again",
    );
    assert_eq!(read(&stream, 1024).await, "ret", "it goes on as it was");
    patiently(stream.shutdown()).await.unwrap();
    assert_eq!(read(&stream, 1024).await, "", "the end");
}

#[tokio::test]
async fn nobody_is_trusted_without_a_certificate_for_the_host_that_was_named() {
    let (acceptor, pem) = authority();
    let plain = connect(&["localhost"]);
    let trusted = trusting(&plain, &pem).await.unwrap();
    let rows = [
        (&plain, "localhost", "UnknownIssuer"),
        (&trusted, "127.0.0.1", "not valid for name"),
    ];
    for (connect, host, reason) in rows {
        let shaking = acceptor.clone();
        let (address, _served) =
            serve(async move |caller: TcpStream| drop(shaking.accept(caller).await)).await;
        let opened = open_tls(connect, host, address.port()).await;
        assert_error(opened, "EGRESS_TLS_FAILED", reason);
        let shaking = acceptor.clone();
        let (address, _served) = serve(move |caller| consent(caller, shaking)).await;
        let stream = open(connect, host, address.port()).await.unwrap();
        write(&stream, "please\r\n").await;
        assert_eq!(read(&stream, 1024).await, "go on\r\n");
        let turned = patiently(stream.start_tls()).await;
        assert_error(turned, "EGRESS_TLS_FAILED", reason);
        for outcome in [
            patiently(stream.read(1)).await.map(drop),
            patiently(stream.write(Bytes::from_static(b"plain"))).await,
            patiently(stream.start_tls()).await,
        ] {
            assert_error(outcome, "CONNECTION_BROKEN", "not connected");
        }
    }
}

#[tokio::test]
async fn what_is_said_before_tls_is_never_heard_behind_it() {
    let (acceptor, pem) = authority();
    let granted = trusting(&connect(&["localhost"]), &pem).await.unwrap();
    let (address, _served) = serve(async move |mut caller: TcpStream| {
        caller.write_all(b"go on\r\n").await.unwrap();
        caller.write_all(b"250 injected\r\n").await.unwrap();
        drop(acceptor.accept(caller).await);
    })
    .await;
    let stream = open(&granted, "localhost", address.port()).await.unwrap();
    // Read one by one, so that the rest still lies in the host when TLS begins.
    for expected in "go on\r\n".chars() {
        assert_eq!(read(&stream, 1).await, expected.to_string());
    }
    let turned = patiently(stream.start_tls()).await;
    assert_error(turned, "EGRESS_TLS_FAILED", "localhost");
    assert_error(
        patiently(stream.read(1024)).await,
        "CONNECTION_BROKEN",
        "not connected",
    );
}

#[tokio::test]
async fn certificates_that_do_not_read_are_refused() {
    let granted = connect(&["localhost"]);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for pem in ["", "no certificate", key, broken] {
        assert_error(
            trusting(&granted, pem).await,
            "EGRESS_CERTIFICATES",
            "certificates that a plugin brings",
        );
    }
    let large = "a".repeat(1024 * 1024 + 1);
    assert_error(
        trusting(&granted, &large).await,
        "EGRESS_CERTIFICATES",
        "1 MiB",
    );
}

#[tokio::test]
async fn everything_that_is_done_has_to_be_done_by_the_deadline() {
    let (address, _served) = serve(async |mut caller: TcpStream| {
        // One byte after the other: each comes in time, all of them do not.
        while caller.write_all(b".").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let granted = connect(&["127.0.0.1"]);
    let stream = open(&granted, "127.0.0.1", address.port()).await.unwrap();
    stream.set_deadline(SHORT_MS);
    let late = patiently(async {
        loop {
            if let Err(error) = stream.read(1).await {
                return error;
            }
        }
    })
    .await;
    assert_error::<()>(Err(late), "EGRESS_TIMEOUT", "not done in time");
    stream.set_deadline(LONG_MS);
    assert_eq!(read(&stream, 1).await, ".", "there is time again");

    let (address, _served) =
        serve(async |_caller: TcpStream| std::future::pending::<()>().await).await;
    let silent = connect(&["localhost"]);
    let shaking = silent.open(
        "localhost".into(),
        address.port().into(),
        tls::FIRST,
        SHORT_MS,
    );
    assert_error(patiently(shaking).await, "EGRESS_TIMEOUT", "localhost");
}

#[tokio::test]
async fn more_streams_than_the_limit_wait_within_their_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        let mut callers = Vec::new();
        loop {
            callers.push(listener.accept().await.unwrap());
        }
    });
    let granted = connect(&["127.0.0.1"]);
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(open(&granted, "127.0.0.1", port).await.unwrap());
    }
    let one_more = granted.open("127.0.0.1".into(), port.into(), tls::NONE, SHORT_MS);
    assert_error(patiently(one_more).await, "EGRESS_TIMEOUT", "127.0.0.1");
    streams.pop();
    open(&granted, "127.0.0.1", port).await.unwrap();
    accepting.abort();
}

#[tokio::test]
async fn a_protection_that_is_not_known_is_none() {
    let opened = connect(&["127.0.0.1"]).open("127.0.0.1".into(), 25, 7, LONG_MS);
    assert_error(
        patiently(opened).await,
        "EGRESS_INVALID_REQUEST",
        "does not know",
    );
}
