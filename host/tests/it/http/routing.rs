//! Which route answers, and what the answers look like when none does.

use bytes::Bytes;
use http::{HeaderValue, Method, Response};
use nself::http::{Admitted, Body, HttpMetrics, Limits, RouteTable, TableError};
use nself::plugin::manifest::Route;

use super::fixture::{
    Host, Setup, answered, client, generation, hello, request, route, said, send,
};

async fn echo_params(request: Admitted) -> Response<Body> {
    let params = request
        .params
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    Response::new(Body::from(Bytes::from(
        params.collect::<Vec<_>>().join("&"),
    )))
}

async fn host() -> Host {
    let notes = generation("notes");
    let files = generation("files");
    Setup::new(vec![
        answered(&notes, route("GET", "/notes"), hello),
        answered(&notes, route("POST", "/notes"), hello),
        answered(&notes, route("GET", "/notes/{id}"), echo_params),
        answered(&files, route("GET", "/files/{family}/{*path}"), echo_params),
        answered(&files, route("GET", "/notes/special"), |_| async {
            said("files")
        }),
    ])
    .start()
    .await
}

#[tokio::test]
async fn parameters_arrive_decoded_and_in_order() {
    let host = host().await;
    assert_eq!(host.get("/notes/a%20%C3%A4").await.body, "id=a ä");
    assert_eq!(
        host.get("/files/f1/a/b%2Fc.txt").await.body,
        "family=f1&path=a/b/c.txt"
    );
    assert_eq!(
        host.get("/notes/special").await.body,
        "files",
        "the literal path wins"
    );
}

#[track_caller]
fn check_problem(answer: &super::fixture::Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, &*answer.code()),
        (status, code),
        "{answer:?}"
    );
    let json = answer.json();
    assert!(
        json["error"].is_string() && json["details"].is_object(),
        "{json}"
    );
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn what_nobody_answers_is_a_problem_with_a_request_id() {
    let host = host().await;
    check_problem(&host.get("/nowhere").await, 404, "NOT_FOUND");
    let answer = host.send(request(Method::DELETE, "/notes")).await;
    check_problem(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS, POST");
    check_problem(&host.get("/notes/%2e%2e/x").await, 400, "PATH_TRAVERSAL");
    check_problem(&host.get("/notes/%ff").await, 400, "ADDRESS_MALFORMED");
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let host = host().await;
    let answer = host.send(request(Method::HEAD, "/notes")).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, "5"));
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn options_says_what_is_possible() {
    let answer = host().await.send(request(Method::OPTIONS, "/notes")).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (204, "GET, HEAD, OPTIONS, POST")
    );
}

#[tokio::test]
async fn a_callers_request_id_comes_back_and_every_other_request_gets_one() {
    let host = host().await;
    let mut with_id = request(Method::GET, "/notes");
    with_id
        .headers_mut()
        .insert("x-request-id", HeaderValue::from_static("abc-123"));
    assert_eq!(host.send(with_id).await.header("x-request-id"), "abc-123");
    let (one, two) = (host.get("/notes").await, host.get("/notes").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_handler_continues_the_callers_trace() {
    let seen = |request: Admitted| async move {
        Response::new(Body::from(Bytes::from(request.trace.context().to_string())))
    };
    let host = Setup::new(vec![answered(
        &generation("notes"),
        route("GET", "/trace"),
        seen,
    )])
    .start()
    .await;
    let mut traced = request(Method::GET, "/trace");
    let parent =
        HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    traced.headers_mut().insert("traceparent", parent);
    let trace = String::from_utf8(host.send(traced).await.body.to_vec()).unwrap();
    assert!(
        trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01"),
        "{trace}"
    );
    assert!(
        !trace.contains("00f067aa0ba902b7"),
        "the host has a span of its own"
    );
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_answered_on_the_same_port() {
    let host = host().await;
    let answer = send(
        &client(true),
        host.address,
        request(Method::GET, "/notes/7"),
    )
    .await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"id=7"[..]));
}

#[tokio::test]
async fn a_plugins_port_serves_that_plugin_and_health() {
    let host = host().await;
    let any = ([127, 0, 0, 1], 0).into();
    let address = host
        .server
        .listen(Some("notes".into()), any, "plugins.notes.port")
        .await
        .unwrap();
    let get = |path: &'static str| async move {
        send(&client(false), address, request(Method::GET, path)).await
    };
    assert_eq!(get("/notes").await.body, "hello");
    assert_eq!(
        get("/notes/special").await.body,
        "id=special",
        "another plugin's path is free here"
    );
    assert_eq!(get("/files/f1/a").await.status, 404);
    assert_eq!(get("/openapi.json").await.status, 404);
    for path in ["/livez", "/health", "/healthz", "/readyz", "/ready"] {
        assert_eq!(get(path).await.status, 200, "{path}");
    }
}

fn build(first: Route, second: Route) -> Result<RouteTable, TableError> {
    let metrics = HttpMetrics::new(&prometheus::Registry::new()).unwrap();
    let routes = vec![
        answered(&generation("notes"), first, hello),
        answered(&generation("files"), second, hello),
    ];
    RouteTable::build(&[], routes, &Limits::default(), &metrics)
}

#[test]
fn two_plugins_with_one_route_are_named_with_their_routes() {
    for (first, second) in [
        ("/a", "/a"),
        ("/a/{id}", "/a/{name}"),
        ("/a/{*rest}", "/a/{*path}"),
    ] {
        let error = build(route("GET", first), route("GET", second))
            .map(drop)
            .unwrap_err()
            .to_string();
        let words = [
            "\"files\"",
            "\"notes\"",
            first,
            second,
            "disable one of them",
        ];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    assert!(build(route("GET", "/a"), route("POST", "/a")).is_ok());
    assert!(build(route("GET", "/a/{id}"), route("GET", "/a/b")).is_ok());
}

#[test]
fn a_route_that_cannot_be_read_is_named() {
    let socket = Route {
        kind: "websocket".to_owned(),
        ..route("POST", "/b")
    };
    let odd = Route {
        kind: "soap".to_owned(),
        ..route("POST", "/b")
    };
    for bad in [
        route("GET", "b"),
        route("get", "/b"),
        route("G T", "/b"),
        route("GET", "/{"),
        socket,
        odd,
    ] {
        let error = build(route("GET", "/a"), bad).map(drop).unwrap_err();
        assert!(
            matches!(&error, TableError::Route { plugin, .. } if plugin == "files"),
            "{error}"
        );
    }
}

#[test]
fn no_plugin_may_pass_for_the_host() {
    let metrics = HttpMetrics::new(&prometheus::Registry::new()).unwrap();
    let routes = vec![answered(&generation("host"), route("GET", "/a"), hello)];
    let error = RouteTable::build(&[], routes, &Limits::default(), &metrics).map(drop);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("the host's own name")
    );
}
