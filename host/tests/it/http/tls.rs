//! TLS at the host's own port: what is spoken there, who is let in, and who is not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nself::http::tls::Tls;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fixture::{Answer, Host, PATIENCE, Setup, answered, count, generation, hello, route};
use crate::certificates::{Authority, LONG, connect};

/// A host that speaks TLS, and who has certified it.
struct Stage {
    host: Host,
    authority: Authority,
    _files: tempfile::TempDir,
}

impl Stage {
    async fn new(configure: impl FnOnce(&mut Setup)) -> Self {
        let notes = generation("notes");
        let mut setup = Setup::new(vec![
            answered(&notes, route("GET", "/hello"), hello),
            answered(&notes, route("POST", "/count"), count),
        ]);
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let made = authority.certify(LONG).put(files.path());
        setup.tls = Some(Tls::open(made).unwrap());
        configure(&mut setup);
        Self {
            host: setup.start().await,
            authority,
            _files: files,
        }
    }

    /// A request over a connection of its own, by HTTP/2 where that was agreed upon.
    async fn send(&self, protocols: &[&str], request: Request<Full<Bytes>>) -> Answer {
        let connected = self.authority.connect(self.host.address, protocols).await;
        speak(connected.unwrap(), request).await
    }

    /// What the numbers say of handshakes that came to nothing.
    fn failed(&self, reason: &str) -> u32 {
        let numbers = self.host.numbers();
        let line = format!("nself_tls_handshake_failures_total{{reason=\"{reason}\"}} ");
        let found = numbers.lines().find_map(|found| found.strip_prefix(&line));
        found
            .unwrap_or_else(|| panic!("no {reason} in {numbers}"))
            .parse()
            .unwrap()
    }

    async fn until_failed(&self, reason: &str, times: u32) {
        let limit = Instant::now() + PATIENCE;
        while self.failed(reason) < times {
            assert!(Instant::now() < limit, "{reason}: {}", self.failed(reason));
            tokio::task::yield_now().await;
        }
        assert_eq!(self.failed(reason), times, "{reason}");
    }
}

async fn speak(
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Answer {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let answer = async {
        let response = if is_http2 {
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, connection) = shaken.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let (parts, body) = response.unwrap().into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    };
    timeout(PATIENCE, answer).await.expect("an answer in time")
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let uri = format!("https://localhost{path}");
    let request = Request::get(uri).header("host", "localhost");
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn both_versions_of_tls_carry_both_versions_of_http() {
    let stage = Stage::new(|_| {}).await;
    for version in [&TLS12, &TLS13] {
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&["http/1.1", "h2"], Some("h2")),
            (&[], None),
        ] {
            let client = stage.authority.client(&[version], offered);
            let stream = connect(client, stage.host.address).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), agreed.map(str::as_bytes));
            let answer = speak(stream, get("/hello")).await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        }
    }
    let reasons = ["plain_http", "timeout", "refused", "gone"];
    assert_eq!(reasons.map(|reason| stage.failed(reason)), [0; 4]);
    let until = "nself_tls_certificate_expiration_timestamp_seconds 3786912000";
    assert!(stage.host.numbers().contains(until));
}

#[tokio::test]
async fn bodies_of_megabytes_arrive_whole() {
    let stage = Stage::new(|setup| setup.settings.limits.body_bytes_max = 16 << 20).await;
    for protocol in ["h2", "http/1.1"] {
        let mut request = get("/count").map(|_| Full::from(vec![b'x'; 5_000_001]));
        *request.method_mut() = Method::POST;
        let answer = stage.send(&[protocol], request).await;
        assert_eq!(answer.body, "5000001", "{protocol}");
    }
}

#[tokio::test]
async fn who_offers_nothing_that_the_host_speaks_is_refused() {
    let stage = Stage::new(|_| {}).await;
    let refused = stage.authority.connect(stage.host.address, &["spdy/1"]);
    let error = refused.await.expect_err("no protocol in common");
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    stage.until_failed("refused", 1).await;

    // One who does not trust it says so.
    let stranger = Authority::new();
    let refused = stranger.connect(stage.host.address, &[]).await;
    refused.expect_err("somebody else has signed it");
    stage.until_failed("refused", 2).await;

    // And one who speaks nothing that is known.
    let mut stream = TcpStream::connect(stage.host.address).await.unwrap();
    stream.write_all(&[0; 64]).await.unwrap();
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // An alert, and the end or a reset.
    drop(ended.expect("it is closed in time"));
    stage.until_failed("refused", 3).await;
    assert_eq!(stage.send(&[], get("/hello")).await.status, 200);
}

#[tokio::test]
async fn plain_http_is_told_to_come_by_tls() {
    let stage = Stage::new(|_| {}).await;
    let body = "x".repeat(1_000_000);
    for (times, request) in [
        "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        format!("POST /count HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n{body}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = stage.host.raw(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(head.contains("\r\nx-request-id: "), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "HTTPS_REQUIRED", "{problem}");
        let times = u32::try_from(times).unwrap() + 1;
        stage.until_failed("plain_http", times).await;
    }
}

#[tokio::test]
async fn who_does_not_get_on_with_the_handshake_is_let_go() {
    let patience = Duration::from_millis(300);
    let stage = Stage::new(|setup| setup.settings.limits.head_timeout = patience).await;
    // Nothing, and the head of a record that never comes.
    for (times, begun) in [(1, &b""[..]), (2, &[22, 3, 1, 1, 0, 1])] {
        let mut stream = TcpStream::connect(stage.host.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        ended.expect("it is closed in time").unwrap();
        stage.until_failed("timeout", times).await;
    }
    let gone = TcpStream::connect(stage.host.address).await.unwrap();
    drop(gone);
    stage.until_failed("gone", 1).await;
}

#[tokio::test]
async fn who_shakes_hands_has_a_place_among_the_connections() {
    let stage = Stage::new(|setup| {
        setup.settings.limits.connections_max = 1;
        setup.settings.limits.head_timeout = Duration::from_millis(500);
    })
    .await;
    let silent = TcpStream::connect(stage.host.address).await.unwrap();
    let begun = Instant::now();
    let limit = Instant::now() + PATIENCE;
    while stage.host.metrics.connections.get() < 1 {
        assert!(Instant::now() < limit, "it is never accepted");
        tokio::task::yield_now().await;
    }
    // The next one waits until that one's time is over.
    assert_eq!(stage.send(&[], get("/hello")).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(stage.failed("timeout"), 1);
    drop(silent);
}

#[tokio::test]
async fn a_host_that_stops_waits_for_nobody_who_has_not_shaken_hands() {
    let stage = Stage::new(|_| {}).await;
    let address = stage.host.address;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let idle = stage.authority.connect(address, &["h2"]).await.unwrap();
    let mut idle = KeptAlive::http1(idle, &stage.authority, address).await;
    let all_answered = stage.host.server.shutdown(Duration::from_secs(10)).await;
    assert!(all_answered, "nothing was under way");
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).await.unwrap(), 0);
    assert!(idle.has_ended().await);
}

/// Connections that have been answered and are kept.
struct KeptAlive {
    _http2: tokio_rustls::client::TlsStream<TcpStream>,
    http1: tokio_rustls::client::TlsStream<TcpStream>,
}

impl KeptAlive {
    async fn http1(
        http2: tokio_rustls::client::TlsStream<TcpStream>,
        authority: &Authority,
        address: SocketAddr,
    ) -> Self {
        let mut http1 = authority.connect(address, &[]).await.unwrap();
        let request = b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";
        http1.write_all(request).await.unwrap();
        let mut head = [0; 12];
        http1.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        Self {
            _http2: http2,
            http1,
        }
    }

    /// Its end was announced, as TLS has it.
    async fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, self.http1.read_to_end(&mut rest)).await;
        ended.is_ok_and(|read| read.is_ok())
    }
}

#[tokio::test]
async fn strict_transport_is_promised_on_the_hosts_own_tls() {
    let stage = Stage::new(|setup| setup.settings.hsts_seconds = 600).await;
    let answer = stage.send(&["h2"], get("/hello")).await;
    assert_eq!(answer.header("strict-transport-security"), "max-age=600");
    assert_eq!(stage.host.server.scheme(), "https");
}
