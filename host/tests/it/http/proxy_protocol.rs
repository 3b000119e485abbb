//! The PROXY protocol: a balancer's word about who calls counts, and a stranger's does not.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use nself::config::Config;
use nself::http::tls::Tls;
use nself::http::{Admitted, Body};
use nself::run::{RunError, settings_of};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fixture::{Host, PATIENCE, Setup, answered, generation, route};
use crate::certificates::{Authority, LONG};

/// Where the balancer is, and where somebody else is.
const BALANCER: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 2];

const GET: &[u8] = b"GET /peer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.1 12345 443\r\n";

/// Who is at the other end.
async fn peer(request: Admitted) -> Response<Body> {
    Response::new(Body::from(Bytes::from(request.peer.to_string())))
}

fn setup() -> Setup {
    let mut setup = Setup::new(vec![answered(
        &generation("notes"),
        route("GET", "/peer"),
        peer,
    )]);
    setup.settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    setup.settings.proxy_protocol = true;
    setup
}

/// Version 2 of the header.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    [signature, &[command, family][..], &length, rest].concat()
}

/// 198.51.100.8:12345 to 192.0.2.1:443.
fn binary_v4(told: &[u8]) -> Vec<u8> {
    let addresses = [198, 51, 100, 8, 192, 0, 2, 1, 0x30, 0x39, 0x01, 0xbb];
    binary(0x21, 0x11, &[&addresses[..], told].concat())
}

async fn connect(host: &Host, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(host.address).await.unwrap()
}

/// All that comes. A connection that is closed over what was not read may be reset.
async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the host closes in time"));
    String::from_utf8(answer).unwrap()
}

/// Sends it from there; all of the answer.
async fn say(host: &Host, from: [u8; 4], parts: &[&[u8]]) -> String {
    let mut stream = connect(host, from).await;
    stream.write_all(&parts.concat()).await.unwrap();
    rest(stream).await
}

#[track_caller]
fn check_peer(answer: &str, expected: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert_eq!(body, expected);
}

/// How many connections were refused for this reason.
fn refused(host: &Host, reason: &str) -> u32 {
    let numbers = host.numbers();
    let line = format!("nself_proxy_protocol_refusals_total{{reason=\"{reason}\"}} ");
    let found = numbers.lines().find_map(|found| found.strip_prefix(&line));
    found
        .unwrap_or_else(|| panic!("{numbers}"))
        .parse()
        .unwrap()
}

async fn until_refused(host: &Host, reason: &str, times: u32) {
    let limit = Instant::now() + PATIENCE;
    while refused(host, reason) < times {
        assert!(
            Instant::now() < limit,
            "{reason}: {}",
            refused(host, reason)
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(host, reason), times, "{reason}");
}

#[tokio::test]
async fn whom_a_balancer_speaks_for_is_the_caller() {
    let host = setup().start().await;
    let v6 = [
        &[0x20, 1, 0x0d, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 16],
        &[0, 80, 1, 187],
    ];
    for (header, expected) in [
        (LINE.to_vec(), "198.51.100.7:12345"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(),
            "[2001:db8::7]:1",
        ),
        (binary_v4(&[]), "198.51.100.8:12345"),
        (binary_v4(&[0xee, 0, 2, 1, 2]), "198.51.100.8:12345"),
        (binary(0x21, 0x21, &v6.concat()), "[2001:db8::7]:80"),
    ] {
        check_peer(&say(&host, BALANCER, &[&header, GET]).await, expected);
    }
    // Headers of HTTP are a stranger's, as it is one who speaks.
    let forged =
        b"GET /peer HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6\r\nconnection: close\r\n\r\n";
    let answer = say(&host, BALANCER, &[LINE, forged]).await;
    check_peer(&answer, "198.51.100.7:12345");
}

#[tokio::test]
async fn one_who_speaks_for_himself_is_who_he_is() {
    let host = setup().start().await;
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 198.51.100.7 192.0.2.1 1 2\r\n".to_vec(),
        binary(0x20, 0x00, &[]),
        binary(0x21, 0x00, &[]),
    ] {
        let mut stream = connect(&host, BALANCER).await;
        let own = stream.local_addr().unwrap().to_string();
        stream.write_all(&[&header, GET].concat()).await.unwrap();
        check_peer(&rest(stream).await, &own);
    }
}

#[tokio::test]
async fn a_header_that_comes_in_pieces_is_read_whole_and_no_byte_more() {
    let host = setup().start().await;
    for (header, expected) in [
        (LINE.to_vec(), "198.51.100.7:12345"),
        (binary_v4(&[4, 0, 1, 0]), "198.51.100.8:12345"),
    ] {
        let mut stream = connect(&host, BALANCER).await;
        stream.set_nodelay(true).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).await.unwrap();
            // The other side runs, too.
            tokio::task::yield_now().await;
        }
        stream.write_all(GET).await.unwrap();
        check_peer(&rest(stream).await, expected);
    }
}

#[tokio::test]
async fn a_strangers_header_ends_his_connection_and_without_it_he_is_a_caller() {
    let host = setup().start().await;
    for (times, header) in [(1, LINE.to_vec()), (2, binary_v4(&[]))] {
        assert_eq!(say(&host, STRANGER, &[&header, GET]).await, "");
        until_refused(&host, "stranger", times).await;
    }
    let mut stream = connect(&host, STRANGER).await;
    let own = stream.local_addr().unwrap();
    assert_eq!(own.ip(), IpAddr::from(STRANGER));
    stream.write_all(GET).await.unwrap();
    check_peer(&rest(stream).await, &own.to_string());
    // Pieces of one are not HTTP.
    let mut stream = connect(&host, STRANGER).await;
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"PRO").await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(&[&LINE[3..], GET].concat()).await.unwrap();
    let pieces = rest(stream).await;
    assert!(!pieces.contains(" 200 "), "{pieces}");
}

#[tokio::test]
async fn a_balancer_that_does_not_say_it_is_not_answered() {
    let host = setup().start().await;
    for (times, (reason, bytes)) in [
        ("absent", GET.to_vec()),
        ("absent", vec![22, 3, 1, 1, 0, 1]),
        (
            "malformed",
            b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n".to_vec(),
        ),
        ("malformed", [b"PROXY TCP4 ", &[b'x'; 200][..]].concat()),
        ("malformed", binary(0x21, 0x21, &[0; 12])),
        ("malformed", binary(0x20, 0x00, &[0; 5000])),
        ("malformed", binary(0x31, 0x11, &[0; 12])),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(say(&host, BALANCER, &[&bytes]).await, "", "{reason}");
        let times = u32::try_from(times).unwrap() + 1;
        let times = if reason == "absent" { times } else { times - 2 };
        until_refused(&host, reason, times).await;
    }
    drop(connect(&host, BALANCER).await);
    until_refused(&host, "gone", 1).await;
}

#[tokio::test]
async fn a_balancer_that_says_it_too_slowly_is_let_go() {
    let mut setup = setup();
    setup.settings.limits.head_timeout = Duration::from_millis(300);
    let host = setup.start().await;
    for (times, begun) in [
        (1, &b""[..]),
        (2, b"PROXY TCP4 198.51"),
        (3, &binary_v4(&[])[..20]),
    ] {
        assert_eq!(say(&host, BALANCER, &[begun]).await, "");
        until_refused(&host, "timeout", times).await;
    }
    // The time for the head of the first request has begun with the connection.
    assert_eq!(say(&host, BALANCER, &[LINE]).await, "");
    assert_eq!(refused(&host, "timeout"), 3);
}

#[tokio::test]
async fn it_comes_before_the_handshake_of_tls() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut setup = setup();
    setup.tls = Some(Tls::open(authority.certify(LONG).put(files.path())).unwrap());
    let host = setup.start().await;
    let connector = TlsConnector::from(authority.client(rustls::ALL_VERSIONS, &["http/1.1"]));
    let name = || ServerName::try_from("localhost").unwrap();

    let mut stream = connect(&host, BALANCER).await;
    stream.write_all(&binary_v4(&[])).await.unwrap();
    let mut stream = connector.connect(name(), stream).await.unwrap();
    stream.write_all(GET).await.unwrap();
    check_peer(&rest(stream).await, "198.51.100.8:12345");

    let stream = connect(&host, STRANGER).await;
    let own = stream.local_addr().unwrap().to_string();
    let mut stream = connector.connect(name(), stream).await.unwrap();
    stream.write_all(GET).await.unwrap();
    check_peer(&rest(stream).await, &own);

    let mut stream = connect(&host, STRANGER).await;
    stream.write_all(LINE).await.unwrap();
    let refused = connector.connect(name(), stream).await;
    refused.expect_err("a stranger's header");
    let without = connector.connect(name(), connect(&host, BALANCER).await);
    without.await.expect_err("a balancer without a header");
    until_refused(&host, "stranger", 1).await;
    until_refused(&host, "absent", 1).await;
}

#[tokio::test]
async fn a_caller_who_came_to_the_balancer_by_tls_is_told_so() {
    let mut setup = setup();
    setup.settings.hsts_seconds = 600;
    let host = setup.start().await;
    for (bits, is_tls) in [(0x01, true), (0x00, false)] {
        let header = binary_v4(&[0x20, 0, 5, bits, 0, 0, 0, 0]);
        let answer = say(&host, BALANCER, &[&header, GET]).await;
        let is_told = answer.contains("\r\nstrict-transport-security: max-age=600\r\n");
        assert_eq!(is_told, is_tls, "{answer}");
    }
}

#[tokio::test]
async fn a_host_that_stops_waits_for_no_header() {
    let host = setup().start().await;
    let silent = connect(&host, BALANCER).await;
    let limit = Instant::now() + PATIENCE;
    while host.metrics.connections.get() < 1 {
        assert!(Instant::now() < limit, "it is never accepted");
        tokio::task::yield_now().await;
    }
    assert!(host.server.shutdown(Duration::from_secs(10)).await);
    assert_eq!(rest(silent).await, "");
}

#[test]
fn a_configuration_that_trusts_nobody_is_refused() {
    let mut config = Config::default();
    config.http.proxy_protocol = true;
    let refused = settings_of(&config).expect_err("nobody may say it");
    assert!(matches!(refused, RunError::NoProxy), "{refused}");
    config.http.trusted_proxies = vec!["10.0.0.5".to_owned()];
    assert!(settings_of(&config).unwrap().proxy_protocol);
}

#[tokio::test]
async fn a_header_that_nobody_asked_for_means_nothing() {
    let mut setup = setup();
    setup.settings.proxy_protocol = false;
    let host = setup.start().await;
    let answer = say(&host, BALANCER, &[LINE, GET]).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
