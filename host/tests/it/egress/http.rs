//! `nself.http/1` against a service on loopback, and against every spelling of places it must not reach.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, future::BoxFuture};
use nself::{
    capability::http::{Egress, HttpCapability, IN_FLIGHT_MAX, Resolver},
    plugin::manifest::Requires,
    telemetry::trace::Trace,
};
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::http::Http,
    error::Error,
    response::{Body, headers, push_header},
    stream::Stream,
};

use super::{
    grant, patiently,
    server::{BIG_BYTES, Server},
};

fn client_of(egress: &Egress, list: &[&str]) -> Http {
    let egress_list = list.iter().map(|entry| (*entry).to_owned()).collect();
    let grant = grant(Requires {
        egress: egress_list,
        ..Requires::default()
    });
    Http::new(Arc::new(HttpCapability::new(egress, &grant).unwrap()))
}

fn client(list: &[&str]) -> Http {
    client_of(&Egress::new().unwrap(), list)
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    async fn bytes(self) -> Result<Vec<u8>, Error> {
        match self.body {
            Body::Bytes(bytes) => Ok(bytes.as_slice().to_vec()),
            Body::Stream(mut stream) => {
                let mut whole = Vec::new();
                while let Some(chunk) = stream.next().await {
                    whole.extend_from_slice(chunk?.as_slice());
                }
                assert!(stream.next().await.is_none(), "an ended body stays ended");
                Ok(whole)
            }
            Body::Upgrade(_) => unreachable!("the client makes no upgrades"),
        }
    }
}

struct Send<'a> {
    method: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    stream: Stream,
    timeout_ms: u64,
}

impl Default for Send<'_> {
    fn default() -> Self {
        Self {
            method: "GET",
            headers: &[],
            body: b"",
            stream: Stream::empty(),
            timeout_ms: 15_000,
        }
    }
}

async fn send(http: &Http, url: &str, send: Send<'_>) -> Result<Answer, Error> {
    let mut block = Vec::new();
    for (name, value) in send.headers {
        assert!(push_header(&mut block, name, value.as_bytes()));
    }
    let sent = http.send(
        send.method.into(),
        url.into(),
        block.into(),
        send.body.into(),
        send.stream,
        send.timeout_ms,
    );
    let (status, block, body) = patiently(sent).await?.into_parts();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = headers(block.as_slice())
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    Ok(Answer {
        status,
        headers,
        body,
    })
}

async fn get(http: &Http, url: &str) -> Result<Answer, Error> {
    send(http, url, Send::default()).await
}

#[track_caller]
fn assert_error(answer: Result<Answer, Error>, code: &str, reason: &str) {
    let error = answer
        .err()
        .unwrap_or_else(|| panic!("{reason}: an answer came"));
    assert_eq!(error.code.to_text(), code, "{}", error.cause.to_text());
    assert!(
        error.cause.to_text().contains(reason),
        "{:?} lacks {reason:?}",
        error.cause.to_text()
    );
}

/// Answers every name with the next set of addresses, the last one again and again.
pub(super) struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    pub(super) lookups: AtomicUsize,
}

impl Resolver for Scripted {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        };
        Box::pin(async move { Ok(answer) })
    }
}

pub(super) fn scripted(answers: &[&[&str]]) -> (Egress, Arc<Scripted>) {
    let answers = answers
        .iter()
        .map(|set| set.iter().map(|address| address.parse().unwrap()).collect())
        .collect();
    let resolver = Arc::new(Scripted {
        answers: Mutex::new(answers),
        lookups: AtomicUsize::new(0),
    });
    (
        Egress::new()
            .unwrap()
            .with_resolver(Arc::clone(&resolver) as Arc<dyn Resolver>),
        resolver,
    )
}

#[tokio::test]
async fn a_granted_address_answers() {
    let server = Server::start().await;
    let http = client(&["127.0.0.0/8"]);
    let sent = Send {
        method: "POST",
        headers: &[("x-key", "value")],
        body: b"hello",
        ..Send::default()
    };
    let answer = send(&http, &server.url("/echo?q=1"), sent).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-method"), Some("POST"));
    assert_eq!(answer.header("x-sent-x-key"), Some("value"));
    assert_eq!(answer.header("x-sent-content-length"), Some("5"));
    assert_eq!(
        answer.header("x-sent-host"),
        Some(server.address.to_string().as_str())
    );
    assert_eq!(
        answer.header("x-sent-user-agent"),
        Some(concat!("nself/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(answer.bytes().await.unwrap(), b"hello");
    let missing = get(&http, &server.url("/nowhere")).await.unwrap();
    assert_eq!(missing.status, 404, "any status is an answer");
    assert_eq!(missing.bytes().await.unwrap(), b"");
}

#[tokio::test]
async fn localhost_is_granted_by_name_and_only_on_its_port() {
    let server = Server::start().await;
    let port = server.address.port();
    let granted = client(&[&format!("localhost:{port}")]);
    assert_eq!(
        get(&granted, &format!("http://localhost:{port}/echo"))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        get(&granted, &server.url("/echo")).await.unwrap().status,
        200
    );
    assert_error(
        get(&granted, "http://localhost:1/").await,
        "EGRESS_DENIED",
        "requests to localhost:1",
    );
}

#[tokio::test]
async fn nothing_private_is_reached_in_any_spelling() {
    let server = Server::start().await;
    let port = server.address.port();
    let http = client(&["*"]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ] {
        let error = get(&http, &format!("http://{host}:{port}/echo"))
            .await
            .err()
            .unwrap_or_else(|| panic!("{host}: an answer came"));
        assert_eq!(error.code.to_text(), "EGRESS_DENIED", "{host}");
        assert!(
            error.cause.to_text().contains("`nself plugin grant probe`"),
            "{host}"
        );
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused() {
    let server = Server::start().await;
    let port = server.address.port();
    assert_error(
        get(&client(&["*"]), &format!("http://localhost:{port}/echo")).await,
        "EGRESS_DENIED",
        "which localhost resolves to and which is not a public address",
    );
    let (egress, resolver) = scripted(&[&["127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1"]]);
    let url = format!("http://inside.example.org:{port}/echo");
    assert_error(
        get(&client_of(&egress, &["inside.example.org"]), &url).await,
        "EGRESS_DENIED",
        "requests to 127.0.0.1",
    );
    assert_error(
        get(&client_of(&egress, &["other.example.org"]), &url).await,
        "EGRESS_DENIED",
        "inside.example.org",
    );
    assert_eq!(
        resolver.lookups.load(Ordering::SeqCst),
        1,
        "a name that is not granted is not looked up"
    );
    let answer = get(
        &client_of(&egress, &["inside.example.org", "127.0.0.1"]),
        &url,
    )
    .await
    .unwrap();
    assert_eq!(
        answer.status, 200,
        "of three addresses the granted one is used"
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_checked_is_what_is_connected_to() {
    let server = Server::start().await;
    // The first answer passes; a client that asked again would get another one.
    let (egress, resolver) = scripted(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let http = client_of(&egress, &["rebind.example.org", "127.0.0.1"]);
    let url = format!("http://rebind.example.org:{}/echo", server.address.port());
    assert_eq!(get(&http, &url).await.unwrap().bytes().await.unwrap(), b"");
    assert_eq!(resolver.lookups.load(Ordering::SeqCst), 1);
    let late = client_of(&egress, &["rebind.example.org", "127.0.0.1"]);
    assert_error(
        get(&late, &url).await,
        "EGRESS_DENIED",
        "requests to 127.0.0.2",
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_plugin_does_not_ride_on_the_connection_of_another() {
    let server = Server::start().await;
    let (egress, _) = scripted(&[&["127.0.0.1"]]);
    let url = format!("http://inside.example.org:{}/echo", server.address.port());
    let trusted = client_of(&egress, &["inside.example.org", "127.0.0.1"]);
    assert_eq!(
        get(&trusted, &url).await.unwrap().bytes().await.unwrap(),
        b""
    );
    assert_error(
        get(&client_of(&egress, &["*"]), &url).await,
        "EGRESS_DENIED",
        "not a public address",
    );
}

#[tokio::test]
async fn wildcards_do_not_match_more_than_they_say() {
    let (egress, resolver) = scripted(&[&["127.0.0.1"]]);
    let http = client_of(&egress, &["*.example.org", "127.0.0.1:1"]);
    for host in [
        "example.org",
        "evilexample.org",
        "example.org.evil.test",
        "a.example.org@evil.test",
    ] {
        let error = get(&http, &format!("http://{host}:1/"))
            .await
            .err()
            .unwrap_or_else(|| panic!("{host}"));
        assert!(
            ["EGRESS_DENIED", "EGRESS_INVALID_URL"].contains(&error.code.to_text().as_str()),
            "{host}"
        );
    }
    assert_eq!(resolver.lookups.load(Ordering::SeqCst), 0);
    assert_error(
        get(&http, "http://a.example.org:1/").await,
        "EGRESS_FAILED",
        "onnection refused",
    );
}

#[tokio::test]
async fn a_redirect_is_returned_not_followed() {
    let server = Server::start().await;
    let answer = get(&client(&["127.0.0.1"]), &server.url("/redirect"))
        .await
        .unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(
        answer.header("location"),
        Some("http://169.254.169.254/latest/meta-data")
    );
    assert_eq!(answer.bytes().await.unwrap(), b"moved");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_timeout_bounds_head_and_body() {
    let server = Server::start().await;
    let http = client(&["127.0.0.1"]);
    let soon = || Send {
        timeout_ms: 200,
        ..Send::default()
    };
    assert_error(
        send(&http, &server.url("/silent"), soon()).await,
        "EGRESS_TIMEOUT",
        "no complete answer within 200 ms",
    );
    for path in ["/stalls", "/endless"] {
        let answer = send(&http, &server.url(path), soon()).await.unwrap();
        assert_eq!(answer.status, 200);
        let error = patiently(answer.bytes()).await.unwrap_err();
        assert_eq!(error.code.to_text(), "EGRESS_TIMEOUT", "{path}");
    }
    let forever = Send {
        timeout_ms: u64::MAX,
        ..Send::default()
    };
    assert_eq!(
        send(&http, &server.url("/echo"), forever)
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn more_exchanges_than_the_limit_wait_within_their_timeout() {
    let server = Server::start().await;
    let http = Arc::new(client(&["127.0.0.1"]));
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT_MAX {
        let (http, url) = (Arc::clone(&http), server.url("/silent"));
        hanging.spawn(async move { drop(get(&http, &url).await) });
    }
    patiently(async {
        while server.requests.load(Ordering::SeqCst) < IN_FLIGHT_MAX {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let soon = Send {
        timeout_ms: 100,
        ..Send::default()
    };
    let one_more = send(&http, &server.url("/echo"), soon).await;
    assert_error(one_more, "EGRESS_TIMEOUT", "within 100 ms");
    assert_eq!(server.requests.load(Ordering::SeqCst), IN_FLIGHT_MAX);
    patiently(hanging.shutdown()).await;
    assert_eq!(get(&http, &server.url("/echo")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_big_body_arrives_whole_in_chunks() {
    let server = Server::start().await;
    let answer = get(&client(&["127.0.0.1"]), &server.url("/big"))
        .await
        .unwrap();
    let body = patiently(answer.bytes()).await.unwrap();
    assert_eq!(body.len(), BIG_BYTES);
    assert!(
        body.chunks(65_536)
            .enumerate()
            .all(|(number, chunk)| chunk.iter().all(|byte| usize::from(*byte) == number % 251))
    );
}

#[tokio::test]
async fn a_body_can_be_sent_as_a_stream() {
    let server = Server::start().await;
    let http = client(&["127.0.0.1"]);
    let parts = |parts: Vec<Result<Bytes, Error>>| Stream::new(futures_util::stream::iter(parts));
    let stream = parts(
        (0..100)
            .map(|_| vec![b'a'; 10_000].into())
            .map(Ok)
            .collect(),
    );
    let answer = send(
        &http,
        &server.url("/echo"),
        Send {
            method: "PUT",
            stream,
            ..Send::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(answer.header("x-sent-transfer-encoding"), Some("chunked"));
    assert_eq!(patiently(answer.bytes()).await.unwrap().len(), 1_000_000);
    let broken = parts(vec![
        Ok(b"a".as_slice().into()),
        Err(Error {
            code: Bytes::from_static(b"SOURCE_GONE"),
            ..Error::default()
        }),
    ]);
    let sent = Send {
        method: "PUT",
        stream: broken,
        ..Send::default()
    };
    assert_error(
        send(&http, &server.url("/echo"), sent).await,
        "EGRESS_FAILED",
        "SOURCE_GONE",
    );
}

#[tokio::test]
async fn a_failure_names_the_reason_but_no_secret() {
    let server = Server::start().await;
    let address = server.address;
    let http = client(&["127.0.0.1", "no-such-host.invalid"]);
    let answer = get(&http, &server.url("/breaks")).await.unwrap();
    assert_eq!(
        answer.bytes().await.unwrap_err().code.to_text(),
        "EGRESS_FAILED"
    );
    drop(server);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let sent = Send {
        headers: &[("authorization", "Bearer hidden")],
        ..Send::default()
    };
    let error = send(
        &http,
        &format!("http://{closed}/hidden?hidden#hidden"),
        sent,
    )
    .await
    .err()
    .unwrap();
    let cause = error.cause.to_text();
    assert!(
        cause.starts_with(&format!("GET http://{closed}: ")) && cause.contains("onnection refused"),
        "{cause}"
    );
    assert!(
        !format!("{cause}{}", error.message.to_text()).contains("hidden"),
        "{cause}"
    );
    assert_eq!(
        (error.code.to_text().as_str(), error.status),
        ("EGRESS_FAILED", 502)
    );
    assert_error(
        get(&http, "http://no-such-host.invalid/").await,
        "EGRESS_FAILED",
        "GET http://no-such-host.invalid: ",
    );
    assert_error(
        get(&http, &format!("http://u:hidden@{address}/")).await,
        "EGRESS_INVALID_URL",
        "carries credentials",
    );
    assert_error(
        get(&http, "http://127.0.0.1/\r\nx: y").await,
        "EGRESS_INVALID_URL",
        "control characters",
    );
}

#[tokio::test]
async fn the_trace_goes_through() {
    let server = Server::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let http = client(&["127.0.0.1"]);
    let trace = nself::http::TraceContext::parse(parent).expect("a traceparent");
    let answer = Trace::from(trace)
        .scope(get(&http, &server.url("/echo")))
        .await
        .unwrap();
    assert_eq!(answer.header("x-sent-traceparent"), Some(parent));
}

/// A server's certificate for `localhost`, and clients that trust it.
fn tls() -> (rustls::ServerConfig, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key).into(),
        )
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

#[tokio::test]
async fn https_speaks_http2_and_checks_the_certificate() {
    let (server_config, client_config) = tls();
    let server = Server::start_tls(server_config).await;
    let url = format!("https://localhost:{}/echo", server.address.port());
    let sent = || Send {
        method: "POST",
        headers: &[("connection", "close")],
        body: b"over tls",
        ..Send::default()
    };
    let trusting = client_of(
        &Egress::new().unwrap().with_tls(client_config),
        &["localhost"],
    );
    let answer = send(&trusting, &url, sent()).await.unwrap();
    assert_eq!(answer.header("x-version"), Some("HTTP/2.0"));
    assert_eq!(answer.bytes().await.unwrap(), b"over tls");
    let other = format!("https://127.0.0.1:{}/echo", server.address.port());
    assert_error(
        send(&trusting, &other, sent()).await,
        "EGRESS_FAILED",
        "certificate not valid for name",
    );
    assert_error(
        send(&client(&["localhost"]), &url, sent()).await,
        "EGRESS_FAILED",
        "invalid peer certificate",
    );
}
