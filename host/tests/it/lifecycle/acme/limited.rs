//! An authority that refuses, as pebble does not.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::project::until;
use super::{DAYS, IN_VAIN, Stage};
use crate::certificates::{Authority, LONG};

/// What it answers when somebody wants an account.
#[derive(Clone)]
struct Refusal {
    head: &'static str,
    problem: Value,
}

/// Answers one request as an authority does that gives nobody an account.
async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    at: SocketAddr,
    refusal: Refusal,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if header.trim().is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    let url = |path: &str| format!("https://localhost:{}{path}", at.port());
    let (head, body) = match line.split(' ').nth(1).unwrap_or_default() {
        "/dir" => (
            "200 OK\r\ncontent-type: application/json",
            json!({"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order")}).to_string(),
        ),
        "/nonce" => ("200 OK\r\nreplay-nonce: bm9uY2U", String::new()),
        _ => (refusal.head, refusal.problem.to_string()),
    };
    let answer = format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Starts it; where its directory is.
async fn refusing(own: &Authority, refusal: Refusal) -> String {
    let made = own.certify(LONG);
    let chain = CertificateDer::pem_slice_iter(made.certificate.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, acceptor.clone(), at, refusal.clone()));
        }
    });
    format!("https://localhost:{}/dir", at.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_asked_too_often_says_when_to_come_back() {
    let stage = Stage::new(DAYS).await;
    let refusal = Refusal {
        head: "429 Too Many Requests\r\ncontent-type: application/problem+json\r\nretry-after: 86400",
        problem: json!({
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": "too many\nregistrations",
        }),
    };
    let directory = refusing(stage.pebble.other(), refusal).await;
    stage.configure(&["home.example"], &directory);
    let host = stage.project.start();
    until("its being told", || {
        host.logged(&[IN_VAIN, "the authority refuses", "asked too often"]) == 1
    });
    let attempts = fs::read(stage.attempts().unwrap()).unwrap();
    let attempts: Value = serde_json::from_slice(&attempts).unwrap();
    let moment =
        |field: &str| -> jiff::Timestamp { attempts[field].as_str().unwrap().parse().unwrap() };
    let pause = moment("at").duration_until(moment("next"));
    assert!((24..27).contains(&pause.as_hours()), "{pause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_is_quoted_in_one_line() {
    let stage = Stage::new(DAYS).await;
    let refusal = Refusal {
        head: "403 Forbidden\r\ncontent-type: application/problem+json",
        problem: json!({
            "type": "urn:ietf:params:acme:error:unauthorized",
            "detail": "not\nyou",
        }),
    };
    let directory = refusing(stage.pebble.other(), refusal).await;
    stage.configure(&["home.example"], &directory);
    let host = stage.project.start();
    until("its being told", || {
        host.logged(&[IN_VAIN, "the authority refuses", "unauthorized"]) == 1
    });
    let attempts = fs::read_to_string(stage.attempts().unwrap()).unwrap();
    let attempts: Value = serde_json::from_str(&attempts).unwrap();
    assert!(
        !attempts["problem"].as_str().unwrap().contains('\n'),
        "{attempts}"
    );
}
