//! The port without TLS beside those that speak it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nself::http::{Challenges, Redirect};

use super::fixture::{Host, Setup, answered, generation, hello, raw, route};

/// A host with such a port, and what it promises to authorities.
struct Stage {
    host: Host,
    address: SocketAddr,
    challenges: Arc<Challenges>,
}

impl Stage {
    async fn new(configure: impl FnOnce(&mut Setup)) -> Self {
        let notes = generation("notes");
        let mut setup = Setup::new(vec![answered(&notes, route("GET", "/hello"), hello)]);
        configure(&mut setup);
        let host = setup.start().await;
        let challenges: Arc<Challenges> = Arc::default();
        let origin = "https://home.example:8443".to_owned();
        let redirect = Redirect::new(origin, Arc::clone(&challenges));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let opened = host.server.listen_redirect(redirect, any, "a setting");
        Self {
            address: opened.await.unwrap(),
            host,
            challenges,
        }
    }

    /// The answer to a request with this first line and these headers.
    async fn ask(&self, line: &str, headers: &str) -> String {
        let request = format!("{line} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        raw(self.address, request.as_bytes()).await
    }
}

#[tokio::test]
async fn callers_are_sent_on_to_where_the_operator_says_and_nowhere_else() {
    let stage = Stage::new(|_| {}).await;
    for (line, target) in [
        ("GET /", "/"),
        ("GET /a/b?c=d&e=%2F", "/a/b?c=d&e=%2F"),
        ("HEAD /hello", "/hello"),
        ("DELETE /hello", "/hello"),
        ("GET //evil.example/x", "//evil.example/x"),
        ("GET /@evil.example", "/@evil.example"),
        ("GET http://evil.example/x?y", "/x?y"),
        (
            "GET /.well-known/acme-challenge/unknown",
            "/.well-known/acme-challenge/unknown",
        ),
    ] {
        let answer = stage.ask(
            line,
            "host: evil.example\r\nx-forwarded-host: evil.example\r\n",
        );
        let answer = answer.await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{line}: {answer}");
        let location = format!("\r\nlocation: https://home.example:8443{target}\r\n");
        assert!(answer.contains(&location), "{line}: {answer}");
        assert!(answer.contains("\r\nx-request-id: "), "{answer}");
    }
    // No route of a plugin, and none of the host's.
    let hello = stage.ask("GET /hello", "host: x\r\n").await;
    assert!(!hello.ends_with("hello"), "{hello}");
}

#[tokio::test]
async fn what_is_no_path_is_sent_nowhere() {
    let stage = Stage::new(|_| {}).await;
    for line in ["OPTIONS *", "CONNECT evil.example:443"] {
        let answer = stage.ask(line, "host: x\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
        assert!(answer.contains("HTTPS_REQUIRED"), "{answer}");
        assert!(!answer.contains("location: "), "{answer}");
    }
}

#[tokio::test]
async fn a_body_is_sent_on_with_the_rest_and_not_read() {
    let stage = Stage::new(|_| {}).await;
    let body = "x".repeat(1_000_000);
    let request = format!(
        "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nconnection: close\r\n\r\n{body}"
    );
    let answer = raw(stage.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}

#[tokio::test]
async fn an_authority_finds_what_it_was_promised_while_it_is_promised() {
    let stage = Stage::new(|_| {}).await;
    stage.challenges.put("a-token", "a-token.and-a-thumb");
    let line = "GET /.well-known/acme-challenge/a-token";
    let answer = stage.ask(line, "host: home.example\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("\r\ncontent-type: application/octet-stream\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\na-token.and-a-thumb"), "{answer}");
    // Nothing near it.
    for line in [
        "GET /.well-known/acme-challenge/",
        "GET /.well-known/acme-challenge/a-token/",
        "GET /.well-known/acme-challenge/../acme-challenge/a-token",
    ] {
        let answer = stage.ask(line, "host: x\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{line}: {answer}");
    }
    stage.challenges.clear();
    let answer = stage.ask(line, "host: home.example\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}

#[tokio::test]
async fn it_is_none_of_the_gateways_and_ends_with_them() {
    let stage = Stage::new(|_| {}).await;
    let addresses = stage.host.server.addresses();
    assert_eq!(addresses, [(None, stage.host.address)]);
    assert!(stage.host.server.shutdown(Duration::from_secs(10)).await);
    let gone = tokio::net::TcpStream::connect(stage.address).await;
    gone.expect_err("nobody listens");
}

#[tokio::test]
async fn a_balancer_says_there_too_who_calls() {
    let stage = Stage::new(|setup| {
        setup.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        setup.settings.proxy_protocol = true;
    })
    .await;
    let request = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let said = format!("PROXY TCP4 198.51.100.7 192.0.2.1 1 80\r\n{request}");
    let answer = raw(stage.address, said.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}
