//! Requests that are read in two ways, or in none (RFC 9112): what a proxy before the host and the host take for the end of a request
//! must be the same, or one caller's bytes become another's request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nself::http::Admitted;

use super::fixture::{Host, Setup, answered, count, generation, hello, route, said};

/// The request that no probe may bring in.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A host, and how often the smuggled request has come in.
async fn host() -> (Host, Arc<AtomicUsize>) {
    let notes = generation("notes");
    let smuggled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&smuggled);
    let notes_smuggled = move |_: Admitted| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { said("smuggled") }
    };
    let setup = Setup::new(vec![
        answered(&notes, route("GET", "/notes"), hello),
        answered(&notes, route("POST", "/count"), count),
        answered(&notes, route("GET", "/smuggled"), notes_smuggled),
    ]);
    (setup.start().await, smuggled)
}

/// The statuses of all answers in it.
fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.split("HTTP/1.").skip(1);
    lines.filter_map(|line| line.get(2..5)).collect()
}

#[tokio::test]
async fn a_request_whose_end_is_not_certain_is_refused_and_nothing_behind_it_is_read() {
    let (host, smuggled) = host().await;
    for head in [
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding : chunked",
        "transfer-encoding:\r\n chunked",
        "x: y\r\n transfer-encoding: chunked",
        "content-length: 5\r\ncontent-length: 0",
        "content-length: 5, 0",
        "content-length: 0x5",
        "content-length: 1e1",
        "content-length: -5",
        "content-length: 5 5",
        "content-length: ",
        "content-length: 99999999999999999999999999",
        "content-length : 5",
    ] {
        let probe = format!("POST /count HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let answers = host.raw(probe.as_bytes()).await;
        assert_eq!(statuses(&answers), ["400"], "{head:?}: {answers}");
        assert_eq!(smuggled.load(Ordering::SeqCst), 0, "{head:?}");
    }
}

#[tokio::test]
async fn a_request_with_chunks_and_a_length_ends_with_its_chunks_and_is_the_last_one() {
    let (host, smuggled) = host().await;
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let probe = format!(
            "POST /count HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n1\r\na\r\n0\r\n\r\n{SMUGGLED}"
        );
        let answers = host.raw(probe.as_bytes()).await;
        assert_eq!(statuses(&answers), ["200"], "{head:?}: {answers}");
        assert!(answers.ends_with("\r\n\r\n1"), "{head:?}: {answers}");
        assert_eq!(smuggled.load(Ordering::SeqCst), 0, "{head:?}");
    }
}

#[tokio::test]
async fn chunks_that_do_not_read_end_the_connection() {
    let (host, smuggled) = host().await;
    for body in [
        "5 \r\nhello\r\n0\r\n\r\n".replace("5 ", "0x5"),
        "-5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "+5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5_\r\nhello\r\n0\r\n\r\n".to_owned(),
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5\rhello\r\n0\r\n\r\n".to_owned(),
        "5\r\nhelloX\r\n0\r\n\r\n".to_owned(),
        "5\r\nhello0\r\n\r\n".to_owned(),
        "\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)),
    ] {
        let probe = format!(
            "POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}{SMUGGLED}"
        );
        let answers = host.raw(probe.as_bytes()).await;
        let shown: String = body.chars().take(40).collect();
        let statuses = statuses(&answers);
        assert!(statuses.len() <= 1, "{shown:?}: {answers}");
        assert!(!statuses.contains(&"200"), "{shown:?}: {answers}");
        assert_eq!(smuggled.load(Ordering::SeqCst), 0, "{shown:?}");
    }
    assert_eq!(host.get("/notes").await.status, 200);
}

#[tokio::test]
async fn heads_that_do_not_read_are_refused() {
    let (host, smuggled) = host().await;
    for head in [
        "GET /notes HTTP/1.1\r\nconnection: close",
        "GET /notes HTTP/1.1\r\nconnection: close\r\nhost: a b",
        "GET /notes HTTP/1.1\r\nconnection: close\r\nhost: x@y",
        "GET /notes HTTP/1.1\r\nconnection: close\r\nhost: x/y",
        "POST /count HTTP/1.1\r\nconnection: close\r\nhost: x\r\ntransfer-encoding: chunked, chunked",
        "POST /count HTTP/1.1\r\nconnection: close\r\nhost: x\r\ntransfer-encoding: gzip, chunked",
        "GET /notes HTTP/1.1\r\nhost: x\r\nx: a\0b",
        "GET /notes HTTP/1.1\r\nhost: x\r\nx: a\rb",
        "GET /notes HTTP/1.1\r\nhost: x\r\n: nothing",
        "GET /notes HTTP/1.1\r\nhost: x\r\nx y: z",
        "GET /notes HTTP/1.1\r\nhost: x\r\nx(y): z",
        "GET  /notes HTTP/1.1\r\nhost: x",
        "GET /notes  HTTP/1.1\r\nhost: x",
        "GET /no tes HTTP/1.1\r\nhost: x",
        "GET /notes HTTP/1.1 \r\nhost: x",
        "GET /notes http/1.1\r\nhost: x",
        "GET /notes HTTP/9.9\r\nhost: x",
        "GET /notes HTTP/1.10\r\nhost: x",
        "G@T /notes HTTP/1.1\r\nhost: x",
        "/notes HTTP/1.1\r\nhost: x",
        " GET /notes HTTP/1.1\r\nhost: x",
    ] {
        let probe = format!("{head}\r\n\r\n{SMUGGLED}");
        let answers = host.raw(probe.as_bytes()).await;
        assert_eq!(statuses(&answers), ["400"], "{head:?}: {answers}");
        assert_eq!(smuggled.load(Ordering::SeqCst), 0, "{head:?}");
    }
}

#[tokio::test]
async fn what_is_unusual_and_allowed_is_answered() {
    let (host, _) = host().await;
    let chunks = "POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n\
                  5;name=\"a b\"\r\nhello\r\n0005\r\nhello\r\n0\r\ncontent-length: 3\r\nx: y\r\n\r\n";
    let get = |what: &str| format!("GET {what}\r\nconnection: close\r\n\r\n");
    let after = "POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    for (probe, expected, holds) in [
        (get("/notes HTTP/1.1\r\nHOST:x"), &["200"][..], "hello"),
        (get("/notes HTTP/1.1\r\nhost:   x  "), &["200"], "hello"),
        (
            get("http://elsewhere.example/notes HTTP/1.1\r\nhost: x"),
            &["200"],
            "hello",
        ),
        (get("/notes HTTP/1.0"), &["200"], "hello"),
        (
            get("/notes?a=%c3%a9 HTTP/1.1\r\nhost: x"),
            &["200"],
            "hello",
        ),
        (chunks.to_owned(), &["200"], "10"),
        (
            format!("{after}{after}{}", get("/notes HTTP/1.1\r\nhost: x")),
            &["200", "200", "200"],
            "hello",
        ),
        // An upgrade that this host does not offer is not taken.
        (
            get("/notes HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__"),
            &["200"],
            "hello",
        ),
        (
            get("/notes HTTP/1.1\r\nhost: x\r\nexpect: 100-continue"),
            &["200"],
            "hello",
        ),
    ] {
        let answers = host.raw(probe.as_bytes()).await;
        assert_eq!(statuses(&answers), expected, "{probe:?}: {answers}");
        assert!(answers.contains(holds), "{probe:?}: {answers}");
    }
    for (line, expected) in [
        ("CONNECT elsewhere.example:443 HTTP/1.1", "4"),
        ("OPTIONS * HTTP/1.1", "4"),
        ("GET notes HTTP/1.1", "4"),
        ("get /notes HTTP/1.1", "4"),
        ("TRACE /notes HTTP/1.1", "4"),
    ] {
        let probe = format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answers = host.raw(probe.as_bytes()).await;
        let statuses = statuses(&answers);
        let [status] = statuses[..] else {
            panic!("{line}: {answers}");
        };
        assert!(status.starts_with(expected), "{line}: {answers}");
    }
}
