//! What is in a trace.

use nself_plugin_testkit::{Collector, attribute, eventually, within};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{PARENT, TRACE, exporting, exporting_host, hex, is_error, parent_of, said, span_of};
use crate::fixture;

/// Numbers of kinds in OTLP.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

#[tokio::test]
async fn a_request_is_a_span_below_its_callers_and_its_handler_and_statements_are_below_it() {
    let collector = Collector::start();
    let host = exporting_host(&collector).await;
    let asked = host
        .post("/fixture/items?token=canary")
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=1")
        .header("user-agent", "somebody/1.0")
        .header("x-request-id", "the-one")
        .json(&json!({"name": "canary"}));
    let _ = asked.send().await.expect_status(201);
    let server = span_of(&collector, "POST /fixture/items").await;
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(server.trace_state, "vendor=1");
    assert_eq!((server.kind, server.flags), (SERVER, 0x301));
    assert!(!is_error(&server), "{server:?}");
    let port = host.address().port().to_string();
    for (key, expected) in [
        ("http.request.method", "POST"),
        ("http.route", "/fixture/items"),
        ("url.path", "/fixture/items"),
        ("url.scheme", "http"),
        ("http.response.status_code", "201"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "somebody/1.0"),
        ("nself.plugin", "fixture"),
        ("nself.request_id", "the-one"),
    ] {
        assert_eq!(said(&server, key), expected, "{key}");
    }

    let insert = span_of(&collector, "INSERT").await;
    assert_eq!((insert.kind, insert.flags), (CLIENT, 0x101));
    assert_eq!(said(&insert, "db.system.name"), "postgresql");
    assert_eq!(
        said(&insert, "db.query.text"),
        "insert into fixture.items (name) values ($1) returning id"
    );
    assert_eq!(said(&insert, "db.response.returned_rows"), "1");
    let transaction = parent_of(&collector, &insert).await;
    assert_eq!(transaction.name, "transaction");
    let handler = parent_of(&collector, &transaction).await;
    assert_eq!((&*handler.name, handler.kind), ("handler", INTERNAL));
    assert_eq!(said(&handler, "nself.plugin"), "fixture");
    assert_eq!(handler.parent_span_id, server.span_id);
    let names = [
        (&handler, &server),
        (&transaction, &handler),
        (&insert, &transaction),
    ];
    for (inner, outer) in names {
        assert!(inner.start_time_unix_nano >= outer.start_time_unix_nano);
        assert_eq!(inner.trace_state, "vendor=1");
    }

    // A statement of its own is right below the handler.
    let notify = host
        .post("/fixture/notify/news")
        .header("traceparent", PARENT);
    let _ = notify.body("canary").send().await.expect_status(204);
    let select = collector
        .span("the notification", |span| {
            said(span, "db.query.text").contains("pg_notify")
        })
        .await;
    assert_eq!(parent_of(&collector, &select).await.name, "handler");
    let hidden = span_of(&collector, "POST /fixture/notify/{channel}").await;
    assert_eq!(said(&hidden, "url.path"), "/fixture/notify/REDACTED");

    assert!(!collector.text().contains("canary"));
    let resource = collector.resource();
    let named = |key| attribute(&resource.attributes, key).unwrap_or_default();
    assert_eq!(named("service.name"), "nself");
    assert_eq!(named("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(named("deployment.environment.name"), "development");
    host.stop().await;
}

#[tokio::test]
async fn a_statement_that_failed_says_its_code_and_no_value() {
    let collector = Collector::start();
    let host = exporting_host(&collector).await;
    for status in [201, 409] {
        let asked = host
            .post("/fixture/items")
            .header("traceparent", PARENT)
            .json(&json!({"name": "canary"}));
        let _ = asked.send().await.expect_status(status);
    }
    let failed = collector
        .span("the failure", |span| {
            span.name == "INSERT" && is_error(span)
        })
        .await;
    assert_eq!(said(&failed, "error.type"), "23505");
    assert_eq!(said(&failed, "db.response.status_code"), "23505");
    // Its transaction was given up, and the request is the caller's fault.
    let transaction = parent_of(&collector, &failed).await;
    assert_eq!(said(&transaction, "error.type"), "cancelled");
    let handler = parent_of(&collector, &transaction).await;
    let server = parent_of(&collector, &handler).await;
    assert_eq!(said(&server, "http.response.status_code"), "409");
    assert!(!is_error(&handler) && !is_error(&server));
    assert!(!collector.text().contains("canary"));
    host.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_in_the_host_or_a_plugin_is_an_error_and_what_a_caller_does_wrong_is_none()
{
    let collector = Collector::start();
    let host = exporting(&collector)
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await;
    let get = |path| host.get(path).header("traceparent", PARENT);
    let _ = get("/fixture/panic").send().await.expect_status(500);
    let server = span_of(&collector, "GET /fixture/panic").await;
    assert_eq!(said(&server, "error.type"), "500");
    assert!(is_error(&server));

    let _ = get("/nobody/canary").send().await.expect_status(404);
    let nobody = span_of(&collector, "GET").await;
    assert!(!is_error(&nobody));
    assert_eq!(said(&nobody, "url.path"), "REDACTED");
    assert_eq!(said(&nobody, "http.response.status_code"), "404");

    let asked = host.request("BREW", "/nobody/canary");
    let _ = asked
        .header("traceparent", PARENT)
        .send()
        .await
        .expect_status(404);
    let other = span_of(&collector, "_OTHER").await;
    assert_eq!(said(&other, "http.request.method"), "_OTHER");
    assert!(!collector.text().contains("BREW"));

    // The handler is cut off by its deadline.
    let hurried = host.post("/fixture/hurried-jobs/fixture-caller.wait");
    let hurried = hurried.header("traceparent", PARENT).json(&json!("canary"));
    let _ = hurried.send().await.expect_status(504);
    let server = span_of(&collector, "POST /fixture/hurried-jobs/{kind}").await;
    assert_eq!(said(&server, "error.type"), "504");
    let job = span_of(&collector, "job fixture-caller.wait").await;
    assert_eq!(said(&job, "error.type"), "cancelled");
    assert!(!collector.text().contains("canary"));
    host.stop().await;
}

/// Answers one request with 418, and what was sent.
async fn teapot(listener: TcpListener) -> String {
    let (mut connection, _) = listener.accept().await.expect("somebody calls");
    let mut asked = Vec::new();
    while !asked.ends_with(b"asked") {
        let read = connection.read_buf(&mut asked).await;
        assert!(read.expect("the request comes") > 0, "it ended early");
    }
    let answer = "HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n";
    let answered = connection.write_all(answer.as_bytes()).await;
    answered.expect("the answer goes");
    String::from_utf8(asked).expect("a head is text")
}

#[tokio::test]
async fn an_outgoing_request_is_a_span_whose_trace_goes_on_with_it() {
    let collector = Collector::start();
    let host = exporting_host(&collector).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = host
        .get(&format!(
            "/fixture/fetch?url=http://127.0.0.1:{port}/hook/canary%3Fk=canary"
        ))
        .header("traceparent", PARENT)
        .header("tracestate", "a=1")
        .header("tracestate", "b=2");
    let (answer, seen) = tokio::join!(asked.send(), within("the request", teapot(listener)));
    let _ = answer.expect_status(200);
    let client = span_of(&collector, "POST").await;
    assert_eq!(client.kind, CLIENT);
    let parent = format!("traceparent: 00-{TRACE}-{}-01", hex(&client.span_id));
    assert!(seen.contains(&parent), "{parent} is not in {seen}");
    assert!(seen.contains("tracestate: a=1,b=2"), "{seen}");
    for (key, expected) in [
        ("http.request.method", "POST".to_owned()),
        ("http.response.status_code", "418".to_owned()),
        ("error.type", "418".to_owned()),
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", port.to_string()),
        ("url.full", format!("http://127.0.0.1:{port}/REDACTED")),
    ] {
        assert_eq!(said(&client, key), expected, "{key}");
    }
    assert_eq!(parent_of(&collector, &client).await.name, "handler");

    let nobody = "/fixture/fetch?url=http://127.0.0.1:1/canary";
    let nobody = host.get(nobody).header("traceparent", PARENT).send().await;
    let _ = nobody.expect_status(502);
    let failed = collector
        .span("the failure", |span| {
            said(span, "error.type") == "EGRESS_FAILED"
        })
        .await;
    assert_eq!(failed.name, "POST");
    assert!(!collector.text().contains("canary"));
    host.stop().await;
}

#[tokio::test]
async fn jobs_events_and_calls_of_other_plugins_join_the_trace_of_their_cause() {
    let collector = Collector::start();
    let host = exporting(&collector)
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await;
    let post = |path| host.post(path).header("traceparent", PARENT);
    let sum = post("/fixture/jobs/fixture-caller.add");
    let sum = sum.json(&json!({"a": 40, "b": 2}));
    let _ = sum.send().await.expect_status(200);
    let job = span_of(&collector, "job fixture-caller.add").await;
    assert_eq!((job.kind, job.flags), (CONSUMER, 0x301));
    assert_eq!(said(&job, "nself.plugin"), "fixture-caller");
    assert_eq!(said(&job, "nself.job.attempt"), "2");
    assert_eq!(parent_of(&collector, &job).await.name, "handler");

    let emitted = post("/fixture/events").json(&json!({"data": {"canary": 1}}));
    let _ = emitted.send().await.expect_status(201);
    let event = span_of(&collector, "event fixture.happened").await;
    assert_eq!(
        (event.kind, &*said(&event, "nself.plugin")),
        (CONSUMER, "fixture")
    );
    assert_eq!(parent_of(&collector, &event).await.name, "transaction");
    let heard = collector
        .span("what the event did", |span| {
            span.parent_span_id == event.span_id
        })
        .await;
    assert_eq!(heard.name, "INSERT");

    post("/caller/canary").body("canary").send().await;
    let call = collector
        .span("the call", |span| span.name.starts_with("fixture.echo/1 "))
        .await;
    assert_eq!(hex(&call.trace_id), TRACE);
    assert_eq!(
        (call.kind, &*said(&call, "nself.plugin")),
        (INTERNAL, "fixture")
    );
    assert_eq!(parent_of(&collector, &call).await.name, "handler");
    host.stop().await;
}

#[tokio::test]
async fn a_caller_who_does_not_record_his_trace_decides_for_all_of_it() {
    let collector = Collector::start();
    let host = exporting_host(&collector).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = host
        .get(&format!("/fixture/fetch?url=http://127.0.0.1:{port}/"))
        .header("traceparent", &PARENT.replace("-01", "-00"));
    let (answer, seen) = tokio::join!(asked.send(), within("the request", teapot(listener)));
    let _ = answer.expect_status(200);
    assert!(seen.contains(TRACE), "{seen}");
    let sent = seen.lines().find(|line| line.starts_with("traceparent"));
    assert!(sent.is_some_and(|line| line.ends_with("-00")), "{seen}");
    // One that begins here is recorded, and shows that the other one is not on its way.
    host.get("/fixture/about").send().await;
    let own = collector
        .span("a trace of the host's own", |span| {
            span.name == "GET /fixture/about"
        })
        .await;
    assert!(own.parent_span_id.is_empty() && own.flags == 0x101);
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| hex(&span.trace_id) != TRACE)
    );
    host.stop().await;

    let alone = "[telemetry]\ntraces_sampler = \"traceidratio\"\ntraces_sampler_arg = \"0\"\n";
    let collector = Collector::start();
    let host = exporting(&collector).config(alone).start().await;
    let recorded = host.get("/fixture/about").header("traceparent", PARENT);
    let _ = recorded.send().await.expect_status(200);
    host.stop().await;
    assert_eq!(collector.exports().len(), 0, "he does not decide here");
}

#[tokio::test]
async fn without_a_collector_a_trace_goes_through_as_it_came() {
    let host = fixture().start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = host
        .get(&format!("/fixture/fetch?url=http://127.0.0.1:{port}/"))
        .header("traceparent", PARENT)
        .header("tracestate", "a=1");
    let (answer, seen) = tokio::join!(asked.send(), within("the request", teapot(listener)));
    let _ = answer.expect_status(200);
    assert!(
        seen.contains(&format!("traceparent: 00-{TRACE}-")),
        "{seen}"
    );
    assert!(seen.contains("tracestate: a=1"), "{seen}");
    let metrics = host.metrics().await;
    for series in [
        "nself_otlp_dropped_total{reason=\"queue_full\",signal=\"traces\"} 0",
        "nself_otlp_dropped_total{reason=\"unreachable\",signal=\"metrics\"} 0",
    ] {
        assert!(metrics.contains(series), "{metrics}");
    }
    host.stop().await;
}

#[tokio::test]
async fn spans_of_many_requests_at_once_are_in_the_right_traces() {
    let collector = Collector::start();
    let host = exporting_host(&collector).await;
    let ask = async |number: u128| {
        let parent = format!("00-{number:032x}-00f067aa0ba902b7-01");
        let asked = host.post("/fixture/items").header("traceparent", &parent);
        let asked = asked.json(&json!({"name": format!("item {number}")}));
        let _ = asked.send().await.expect_status(201);
    };
    futures_util::future::join_all((1..=40).map(ask)).await;
    let spans = eventually("all of them", async || {
        let spans = collector.spans();
        (spans.len() >= 40 * 5).then_some(spans)
    })
    .await;
    for number in 1..=40_u128 {
        let of_one = spans
            .iter()
            .filter(|span| span.trace_id == number.to_be_bytes());
        let mut names: Vec<&str> = of_one.map(|span| &*span.name).collect();
        names.sort_unstable();
        let expected = [
            "INSERT",
            "POST /fixture/items",
            "SELECT",
            "handler",
            "transaction",
        ];
        assert_eq!(names, expected, "{number}");
    }
    host.stop().await;
}
