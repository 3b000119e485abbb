//! The key-value store, other servers, other plugins.

use nself_plugin_testkit::{TestHost, within};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{fixture, started};

async fn kv(host: &TestHost, operation: Value) -> Value {
    host.post("/fixture/kv")
        .json(&operation)
        .send()
        .await
        .expect_status(200)
        .data()
}

#[tokio::test]
async fn the_store_keeps_counts_swaps_expires_and_limits() {
    let host = started().await;
    let rows = [
        (json!({"op": "get", "key": "a"}), json!(null)),
        (
            json!({"op": "set", "key": "a", "value": "one", "ttl_ms": 0}),
            json!(null),
        ),
        (json!({"op": "get", "key": "a"}), json!("one")),
        (
            json!({"op": "swap", "key": "a", "expected": "two", "value": "three"}),
            json!(false),
        ),
        (
            json!({"op": "swap", "key": "a", "expected": "one", "value": "two"}),
            json!(true),
        ),
        (
            json!({"op": "swap", "key": "b", "expected": null, "value": "new"}),
            json!(true),
        ),
        (
            json!({"op": "swap", "key": "b", "expected": "new", "value": null}),
            json!(true),
        ),
        (json!({"op": "get", "key": "b"}), json!(null)),
        (
            json!({"op": "expire", "key": "a", "ttl_ms": 60_000}),
            json!(true),
        ),
        (
            json!({"op": "expire", "key": "b", "ttl_ms": 60_000}),
            json!(false),
        ),
        (json!({"op": "delete", "key": "a"}), json!(true)),
        (json!({"op": "delete", "key": "a"}), json!(false)),
        (json!({"op": "increment", "key": "n", "by": 2}), json!(2)),
        (json!({"op": "increment", "key": "n", "by": -5}), json!(-3)),
    ];
    for (operation, expected) in rows {
        assert_eq!(kv(&host, operation.clone()).await, expected, "{operation}");
    }
    let take = json!({"op": "take", "key": "bucket", "capacity": 2, "cost": 1});
    for allowed in [true, true, false] {
        assert_eq!(kv(&host, take.clone()).await["allowed"], allowed);
    }
    host.stop().await;
}

/// Answers one request with its own head, and what was sent with it.
async fn mirror(listener: TcpListener) -> String {
    let (mut connection, _) = listener.accept().await.expect("somebody calls");
    let mut asked = Vec::new();
    while !asked.ends_with(b"asked") {
        let read = connection
            .read_buf(&mut asked)
            .await
            .expect("the request comes");
        assert!(read > 0, "it ended early");
    }
    let answer = "HTTP/1.1 418 I'm a teapot\r\ncontent-length: 5\r\n\r\nshort";
    connection
        .write_all(answer.as_bytes())
        .await
        .expect("the answer goes");
    String::from_utf8(asked).expect("a head is text")
}

#[tokio::test]
async fn a_granted_server_is_reached_and_sees_the_trace_of_the_request() {
    let host = started().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!(
        "http://{}/mirror",
        listener.local_addr().expect("it is bound")
    );
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = host
        .get(&format!("/fixture/fetch?url={url}"))
        .header("traceparent", trace);
    let (answer, seen) = tokio::join!(asked.send(), within("the request", mirror(listener)));
    assert_eq!(
        answer.expect_status(200).data(),
        json!({"status": 418, "body": "short"})
    );
    assert!(seen.starts_with("POST /mirror HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-fixture: yes"), "{seen}");
    assert!(seen.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{seen}");
    host.stop().await;
}

#[tokio::test]
async fn a_server_that_was_not_granted_is_not_reached() {
    let host = started().await;
    for url in [
        "http://192.0.2.1/",
        "http://localhost:1/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
    ] {
        let refused = host.get(&format!("/fixture/fetch?url={url}")).send().await;
        assert!(
            refused.status >= 400 && refused.code().starts_with("EGRESS"),
            "{url}: {}",
            refused.text()
        );
    }
    host.stop().await;
}

/// Reads what one caller says, and says it back.
async fn echo(listener: TcpListener) {
    let (mut caller, _) = listener.accept().await.expect("somebody calls");
    let mut said = Vec::new();
    caller.read_to_end(&mut said).await.expect("it comes whole");
    caller.write_all(&said).await.expect("it is read");
}

#[tokio::test]
async fn a_stream_leads_to_a_granted_server_and_to_no_other() {
    let host = started().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    for other in ["localhost", "192.0.2.1", "169.254.169.254", "::1", "%20"] {
        let path = format!("/fixture/connect?host={other}&port={}", address.port());
        let refused = host.get(&path).send().await.expect_status(500);
        assert_eq!(refused.code(), "EGRESS_DENIED", "{other}");
    }
    let path = format!("/fixture/connect?host=127.0.0.1&port={}", address.port());
    let (answer, ()) = tokio::join!(host.get(&path).send(), within("the caller", echo(listener)));
    assert_eq!(
        answer.expect_status(200).data(),
        json!({"peer": address.to_string(), "answer": "asked\r\n"})
    );
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_calls_what_another_provides_and_what_it_provides_itself() {
    let host = fixture()
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await;
    let reversed = host
        .post("/caller/reverse")
        .body("abc")
        .send()
        .await
        .expect_status(200);
    assert_eq!(reversed.text(), "cba");
    let unknown = host.post("/caller/shout").body("abc").send().await;
    assert_eq!((unknown.status, &*unknown.code()), (404, "ECHO_METHOD"));
    let denied = host.get("/caller/not-granted").send().await;
    assert_eq!(
        (denied.status, &*denied.code()),
        (500, "CAPABILITY_NOT_GRANTED")
    );
    let itself = host
        .post("/fixture/self")
        .body("abc")
        .send()
        .await
        .expect_status(200);
    assert_eq!(itself.data(), "cba");
    host.stop().await;
}

#[tokio::test]
async fn a_provider_is_not_taken_away_from_under_those_who_need_it() {
    let host = fixture()
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await;
    let refused = host
        .registry()
        .disable("fixture", nself_plugin_testkit::LIMIT, false)
        .await;
    let refused = refused.expect_err("the caller needs it").to_string();
    assert!(refused.contains("fixture-caller"), "{refused}");
    let both = host
        .registry()
        .disable("fixture", nself_plugin_testkit::LIMIT, true)
        .await;
    let both: Vec<String> = both
        .expect("all together")
        .into_iter()
        .map(|changed| changed.id)
        .collect();
    assert_eq!(both, ["fixture-caller", "fixture"]);
    host.stop().await;
}

#[tokio::test]
async fn a_granted_port_is_bound_where_the_operator_says_and_another_one_is_refused() {
    let host = fixture()
        .config("[plugins.fixture.listen]\n47110 = 0")
        .start()
        .await;
    let bound = host
        .post("/fixture/listener/47110")
        .send()
        .await
        .expect_status(200)
        .data();
    let port: u16 = serde_json::from_value(bound).expect("a port");
    assert_ne!(port, 47_110);
    let mut caller = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("it listens");
    caller.write_all(b"milk").await.expect("it reads");
    let mut answer = [0; 4];
    within("the echo", caller.read_exact(&mut answer))
        .await
        .expect("it answers");
    assert_eq!(&answer, b"milk");
    let refused = host
        .post("/fixture/listener/47111")
        .send()
        .await
        .expect_status(500);
    assert_eq!(refused.code(), "PORT_NOT_GRANTED");
    host.stop().await;
}
