//! Callers and handlers that misbehave. The next caller must not notice.

use std::time::Duration;

use http::{Method, Response};
use nself::http::{Admitted, Body, ListenError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::fixture::{
    Host, Setup, answered, client, generation, hello, read_to_end, request, route, said, send,
};

async fn host() -> Host {
    let notes = generation("notes");
    let panics = |request: Admitted| async move {
        assert!(request.parts.uri.query().is_none(), "a handler's own bug");
        said("fine")
    };
    let large = |_| async { Response::new(Body::from(bytes::Bytes::from(vec![b'x'; 64 << 20]))) };
    let mut setup = Setup::new(vec![
        answered(&notes, route("GET", "/notes"), hello),
        answered(&notes, route("GET", "/panics"), panics),
        answered(&notes, route("GET", "/large"), large),
    ]);
    setup.settings.limits.head_timeout = Duration::from_millis(300);
    setup.settings.limits.idle_timeout = Duration::from_millis(700);
    setup.settings.limits.write_timeout = Duration::from_millis(300);
    setup.start().await
}

#[tokio::test]
async fn garbage_is_400_and_the_next_caller_is_served() {
    let host = host().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /notes HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n",
        b"GET /notes HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let answer = host.raw(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(host.get("/notes").await.status, 200);
}

#[tokio::test]
async fn two_lengths_in_one_request_are_refused() {
    // What smuggles a second request past a proxy.
    let host = host().await;
    for lengths in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: +5",
        "transfer-encoding: chunked, identity",
    ] {
        let answer = host
            .raw(format!("POST /notes HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\nhello").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths}: {answer}");
    }
}

#[tokio::test]
async fn a_head_of_ten_megabytes_is_431_and_the_answer_arrives() {
    let host = host().await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(b"GET /notes HTTP/1.1\r\nhost: x\r\nx-large: ")
        .await
        .unwrap();
    // The host may stop listening half-way; what it said until then must still be readable.
    let _ = stream.write_all(&vec![b'a'; 10 << 20]).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(host.get("/notes").await.status, 200);
}

#[tokio::test]
async fn too_many_headers_are_431() {
    let headers = "x-one-more: 1
"
    .repeat(200);
    let answer = host()
        .await
        .raw(format!("GET /notes HTTP/1.1\r\n{headers}\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// Sends a byte at a time, never the end of the head, until the host hangs up.
async fn drip(host: &Host, text: &[u8]) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    for byte in text.iter().cycle().take(200) {
        pause.tick().await;
        let open =
            stream.write_all(&[*byte]).await.is_ok() && stream.try_read(&mut [0; 64]).is_err();
        if !open {
            return started.elapsed();
        }
    }
    panic!("the host still listens after {:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let host = host().await;
    for text in [
        &b"GET /notes HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..],
        b"PRI * HTTP/2.0\r\n",
    ] {
        let elapsed = drip(&host, text).await;
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let host = host().await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_second_head_that_drips_on_a_used_connection_is_cut_off() {
    let host = host().await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(b"GET /notes HTTP/1.1\r\nhost: x\r\n\r\nGET /notes HTTP/1.1\r\nx-slow: ")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_http2_connection_is_idle_whatever_it_pings() {
    let host = host().await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    while stream
        .write_all(b"\0\0\x08\x06\0\0\0\0\0pingping")
        .await
        .is_ok()
    {
        pause.tick().await;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "pings keep the connection open"
        );
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_let_go() {
    let host = host().await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let limit = Instant::now() + Duration::from_secs(5);
    let held = || host.metrics.connections.get();
    while held() > 0
        || host
            .gateway
            .routes()
            .load()
            .generations()
            .any(|g| g.in_flight() > 0)
    {
        assert!(
            Instant::now() < limit,
            "the answer is held for a caller that does not want it"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_is_500_counted_and_forgotten() {
    let host = host().await;
    for http2 in [false, true] {
        let client = client(http2);
        let answer = send(&client, host.address, request(Method::GET, "/panics?now")).await;
        assert_eq!((answer.status, &*answer.code()), (500, "INTERNAL"));
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !body.contains("own bug"),
            "the cause is for the log: {body}"
        );
        assert_eq!(
            send(&client, host.address, request(Method::GET, "/panics"))
                .await
                .status,
            200
        );
    }
    assert_eq!(host.metrics.panics("notes").get(), 2);
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_holder_and_the_setting() {
    let host = host().await;
    let error = host
        .server
        .listen(None, host.address, "http.port")
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ListenError::Taken { .. }), "{text}");
    for words in [
        host.address.port().to_string(),
        format!("(pid {})", std::process::id()),
        "http.port".to_owned(),
    ] {
        assert!(text.contains(&words), "{text}");
    }
}
