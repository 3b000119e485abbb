//! Everything has a limit, and going past it has one stated outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use nself::http::{Admitted, Body, Generation, Settings};
use nself::plugin::manifest::Route;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::fixture::{
    Answer, Host, Setup, answered, client, count, generation, hello, request, route, send,
};

async fn counting_host(bytes_max: u64) -> Host {
    let route = Route {
        body_bytes_max: Some(bytes_max),
        ..route("POST", "/count")
    };
    let mut setup = Setup::new(vec![answered(&generation("notes"), route, count)]);
    setup.settings.limits.body_timeout = Duration::from_millis(200);
    setup.start().await
}

fn post(body: Vec<u8>) -> Request<Full<Bytes>> {
    request(Method::POST, "/count").map(|_| Full::from(Bytes::from(body)))
}

#[tokio::test]
async fn a_body_up_to_the_limit_arrives_and_a_larger_one_is_413() {
    let host = counting_host(1_000).await;
    assert_eq!(host.send(post(vec![b'x'; 1_000])).await.body, "1000");
    let answer = host.send(post(vec![b'x'; 1_001])).await;
    assert_eq!((answer.status, &*answer.code()), (413, "BODY_TOO_LARGE"));
    assert_eq!(answer.json()["details"]["bytes_max"], 1_000);
}

#[tokio::test]
async fn a_huge_declared_body_gets_its_answer_while_it_is_still_being_sent() {
    let host = counting_host(1_000).await;
    assert_eq!(host.send(post(vec![b'x'; 8_000_000])).await.status, 413);
}

#[tokio::test]
async fn a_body_without_declared_length_is_413_whatever_the_handler_makes_of_it() {
    let host = counting_host(1_000).await;
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let head = "POST /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = host
        .raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes())
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("BODY_TOO_LARGE"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let host = counting_host(1_000).await;
    let answer = host
        .raw(b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("BODY_TIMEOUT"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_handler_that_never_returns_is_504_and_is_dropped() {
    let dropped = Arc::new(Semaphore::new(0));
    let signal = Arc::clone(&dropped);
    let never = move |_| {
        let signal = Arc::clone(&signal);
        async move {
            let _on_drop = Release(signal);
            std::future::pending::<Response<Body>>().await
        }
    };
    let route = Route {
        timeout_ms: Some(50),
        ..route("GET", "/never")
    };
    let host = Setup::new(vec![answered(&generation("notes"), route, never)])
        .start()
        .await;
    let answer = host.get("/never").await;
    assert_eq!((answer.status, &*answer.code()), (504, "TIMEOUT"));
    let _ = dropped.acquire().await.unwrap();
}

struct Release(Arc<Semaphore>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

#[tokio::test]
async fn more_requests_at_once_than_a_plugin_takes_are_503_and_others_do_not_notice() {
    let full = Generation::new("slow", 1, 1);
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let signals = (Arc::clone(&entered), Arc::clone(&leave));
    let slow = move |_: Admitted| {
        let (entered, leave) = signals.clone();
        async move {
            entered.add_permits(1);
            let _ = leave.acquire().await;
            Response::new(Body::empty())
        }
    };
    let routes = vec![
        answered(&full, route("GET", "/slow"), slow),
        answered(&generation("notes"), route("GET", "/notes"), hello),
    ];
    let host = Arc::new(Setup::new(routes).start().await);
    let first = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.get("/slow").await }
    });
    let _ = entered.acquire().await.unwrap();
    let answer = host.get("/slow").await;
    assert_eq!(
        (answer.status, &*answer.code(), answer.header("retry-after")),
        (503, "OVERLOADED", "1")
    );
    assert_eq!(host.get("/notes").await.status, 200);
    assert_eq!(host.get("/livez").await.status, 200);
    leave.add_permits(9);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(host.get("/slow").await.status, 200, "it recovers");
    assert_eq!(host.metrics.shed("slow").get(), 1);
}

#[tokio::test]
async fn a_caller_past_its_rate_is_429_and_told_when_to_come_back() {
    let limited = Route {
        rate_per_minute: Some(2),
        ..route("GET", "/limited")
    };
    let routes = vec![
        answered(&generation("notes"), limited, hello),
        answered(&generation("notes"), route("GET", "/free"), hello),
    ];
    let host = Setup::new(routes).start().await;
    let statuses = [
        host.get("/limited").await.status,
        host.get("/limited").await.status,
    ];
    assert_eq!(statuses, [200, 200]);
    let answer = host.get("/limited").await;
    assert_eq!((answer.status, &*answer.code()), (429, "RATE_LIMITED"));
    assert!((29..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    assert!(
        answer.header("ratelimit").contains("r=0")
            && answer.header("ratelimit-policy").contains("q=2;w=60")
    );
    assert_eq!(host.get("/free").await.status, 200);
}

#[tokio::test]
async fn a_swap_of_the_table_does_not_give_back_what_a_caller_has_spent() {
    let limited = || Route {
        rate_per_minute: Some(1),
        ..route("GET", "/limited")
    };
    let host = Setup::new(vec![answered(&generation("notes"), limited(), hello)])
        .start()
        .await;
    assert_eq!(host.get("/limited").await.status, 200);
    host.swap(vec![answered(&generation("notes"), limited(), hello)]);
    assert_eq!(host.get("/limited").await.status, 429);
}

async fn from(host: &Host, forwarded_for: &str) -> Answer {
    let mut request = request(Method::GET, "/limited");
    request
        .headers_mut()
        .insert("x-forwarded-for", forwarded_for.parse().unwrap());
    host.send(request).await
}

#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_counted_one_by_one_and_nobody_else_can_pretend() {
    for (trusted, second) in [(vec!["127.0.0.0/8".parse().unwrap()], 200), (vec![], 429)] {
        let limited = Route {
            rate_per_minute: Some(1),
            ..route("GET", "/limited")
        };
        let mut setup = Setup::new(vec![answered(&generation("notes"), limited, hello)]);
        setup.settings = Settings {
            trusted_proxies: trusted,
            ..Settings::default()
        };
        let host = setup.start().await;
        assert_eq!(from(&host, "192.0.2.1").await.status, 200);
        assert_eq!(from(&host, "192.0.2.2").await.status, second);
    }
}

#[tokio::test]
async fn connections_past_the_limit_wait_and_are_then_served() {
    let mut setup = Setup::new(vec![answered(
        &generation("notes"),
        route("GET", "/notes"),
        hello,
    )]);
    setup.settings.limits.connections_max = 1;
    let host = Arc::new(setup.start().await);
    let first = TcpStream::connect(host.address).await.unwrap();
    let waiting = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.get("/notes").await }
    });
    while host.metrics.connections.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_on_http2_too() {
    let host = counting_host(1_000).await;
    let answer = send(&client(true), host.address, post(vec![b'x'; 500_000])).await;
    assert_eq!((answer.status, &*answer.code()), (413, "BODY_TOO_LARGE"));
}
