//! Whatever is sent to whatever route is the caller's own fault: never a 5xx, always a body in the shape that the caller
//! knows, and nothing of what was sent in it.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use nself_plugin_testkit::{Answer, Request, TestHost, library, sample, within};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Session, Stage};

const UNTHROTTLED: &str = "[plugins.auth.config]\nsign_up = \"open\"\nanonymous_sign_in = true\n\
    tries_per_address = 1000000\ntries_per_account = 1000000";

/// What must not come back.
const CANARY: &str = "canary-of-the-secret-field";

/// A route that takes JSON.
struct Target {
    method: String,
    path: String,
    access: Value,
    /// The smallest body that is right.
    right: Value,
    fields: Vec<String>,
}

fn targets() -> Vec<Target> {
    let routes = library("nself-plugin-auth").manifest.routes.into_iter();
    let targets = routes.filter_map(|route| {
        let schema = route.request?.read();
        let right = sample(&schema);
        let fields = schema["properties"].as_object();
        let parts = route.path.split('/').map(|part| match part {
            part if part.starts_with('{') => uuid::Uuid::now_v7().to_string(),
            part => part.to_owned(),
        });
        Some(Target {
            path: parts.collect::<Vec<_>>().join("/"),
            method: route.method,
            access: serde_json::to_value(&route.access).expect("a rule is JSON"),
            right,
            fields: fields
                .into_iter()
                .flat_map(|all| all.keys().cloned())
                .collect(),
        })
    });
    let targets: Vec<Target> = targets.collect();
    assert!(targets.len() > 60, "{}", targets.len());
    targets
}

/// Bodies that are no JSON, or none of the form that any route asks for.
fn bodies() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "{",
        "}",
        "nul",
        "{\"a\":}",
        "{'a':1}",
        "{\"a\":1,}",
        "[]",
        "[{}]",
        "null",
        "true",
        "7",
        "\"a\"",
        "{\"__proto__\":{\"is_admin\":true}}",
        "{\"constructor\":{\"prototype\":{}}}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
        "{\"a\":-9223372036854775809}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "\u{feff}{}",
        "{}{}",
        "// {}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).into();
    bodies.extend([
        b"{\"a\":\"\xff\xfe\"}".to_vec(),
        b"\0\0\0\0".to_vec(),
        "[".repeat(100_000).into_bytes(),
        "{\"a\":".repeat(100_000).into_bytes(),
        format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)).into_bytes(),
    ]);
    bodies
}

/// Values that stand where another one is expected.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5e300),
        json!([]),
        json!({}),
        json!([null]),
        json!({"$ne": 1}),
        json!({"a": {"b": {"c": []}}}),
    ];
    let texts = [
        "",
        " ",
        "\0",
        "a\0b",
        "ada\u{ff20}example.org",
        "ada@example.org\r\nbcc: eve@example.org",
        "\u{202e}\u{feff}",
        "\u{1f511}",
        "' or '1'='1",
        "../../../etc/passwd",
        "${jndi:ldap://localhost/a}",
        "%00%0d%0a",
        "-1",
        "00000000-0000-0000-0000-000000000000",
        "9999-12-31T23:59:59Z",
        "0000-00-00T00:00:00Z",
        "https://[::1",
        CANARY,
    ];
    values.extend(texts.map(Value::from));
    values.push("x".repeat(20_000).into());
    values.push("a.".repeat(5_000).into());
    values.push(Value::Array(vec![json!({"id": CANARY}); 200]));
    values
}

/// The request of somebody whom the route's rule lets in.
fn admitted<'a>(stage: &'a Stage, person: &Session, target: &Target) -> Request<'a> {
    let request = stage.host.request(&target.method, &target.path);
    let request = request.header("content-type", "application/json");
    match &target.access {
        Value::String(access) if access == "public" => request,
        Value::String(access) if access == "operator" => request.operator(),
        access if access.get("service").is_some() => request.token(TestHost::SERVICE_KEY),
        _ => request.token(person.access()),
    }
}

/// A refusal in one of the three shapes that there are: the house's, hasura-auth's, and that of OAuth (RFC 6749).
#[track_caller]
fn check(target: &Target, sent: &str, answer: &Answer) {
    let what = format!(
        "{} {} with {sent:.100}: {} {:.400}",
        target.method,
        target.path,
        answer.status,
        answer.text()
    );
    assert!(answer.status < 500, "{what}");
    if answer.status < 400 {
        return;
    }
    assert_eq!(answer.headers["content-type"], "application/json", "{what}");
    assert!(answer.headers.contains_key("x-request-id"), "{what}");
    assert_eq!(
        answer.headers["x-content-type-options"], "nosniff",
        "{what}"
    );
    let body = answer.json();
    let is_text = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    let is_code = |name: &str| {
        let code = body[name].as_str().unwrap_or_default();
        !code.is_empty()
            && code
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    let is_ours = is_text("error") && is_code("code");
    let is_nhosts = is_text("error") && is_text("message") && body["status"] == answer.status;
    let is_oauths = is_text("error") && is_text("error_description");
    assert!(is_ours || is_nhosts || is_oauths, "{what}");
    assert!(!answer.text().contains(CANARY), "{what}");
}

/// Somebody with a family, whose account may not survive what is sent for them.
async fn somebody(stage: &Stage) -> Session {
    let email = format!("{}@example.org", uuid::Uuid::now_v7());
    stage.owner(&email).await.1
}

#[tokio::test]
async fn no_body_is_a_fault_of_the_host() {
    let stage = Stage::with(UNTHROTTLED).await;
    let bodies = bodies();
    for target in targets() {
        let person = somebody(&stage).await;
        let answers = bodies
            .iter()
            .map(|body| admitted(&stage, &person, &target).body(body.clone()).send());
        for (body, answer) in bodies.iter().zip(join_all(answers).await) {
            check(&target, &String::from_utf8_lossy(body), &answer);
        }
    }
    assert_eq!(stage.host.panics("auth").await, 0);
    stage.host.stop().await;
}

#[tokio::test]
async fn no_value_in_any_field_is_a_fault_of_the_host() {
    let stage = Stage::with(UNTHROTTLED).await;
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for target in targets() {
        let person = somebody(&stage).await;
        let mut bodies: Vec<Value> = Vec::new();
        for field in target.fields.iter().map(String::as_str).chain(["unknown"]) {
            bodies.extend(values().into_iter().map(|value| {
                let mut body = target.right.clone();
                body[field] = value;
                body
            }));
        }
        for some in bodies.chunks(16) {
            let answers = some.iter().map(|body| {
                let request = admitted(&stage, &person, &target);
                request.body(body.to_string()).send()
            });
            for (body, answer) in some.iter().zip(join_all(answers).await) {
                check(&target, &body.to_string(), &answer);
                *seen.entry(answer.status).or_default() += 1;
            }
        }
    }
    assert_eq!(stage.host.panics("auth").await, 0);
    assert!(seen.get(&422).is_some_and(|count| *count > 100), "{seen:?}");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let stage = Stage::with(UNTHROTTLED).await;
    stage.person("ada@example.org").await;
    let twice = "{\"email\":\"eve@example.org\",\"email\":\"ada@example.org\",\"password\":\"correct horse battery\"}";
    let request = stage
        .host
        .post("/auth/login")
        .header("content-type", "application/json");
    let answer = request.body(twice).send().await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    stage.host.stop().await;
}

/// What the host says to bytes that are no request, or one that lies about itself.
async fn say(stage: &Stage, bytes: &str) -> String {
    let stream = TcpStream::connect(stage.host.address()).await;
    let mut stream = stream.expect("the host listens");
    stream.write_all(bytes.as_bytes()).await.expect("it hears");
    let mut answer = Vec::new();
    // It may hang up on what it does not understand.
    let _ = within("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_nothing_of_it_is_taken_for_another_one() {
    let stage = Stage::with(UNTHROTTLED).await;
    let body = "{\"email\":\"ada@example.org\",\"password\":\"correct horse battery\"}";
    let length = body.len();
    for head in [
        "content-length: -1".to_owned(),
        "content-length: 99999999999999999999".to_owned(),
        "content-length: 0x10".to_owned(),
        format!("content-length: {length}\r\ncontent-length: 5"),
        format!("content-length: {length}\r\ntransfer-encoding: chunked, identity"),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity".to_owned(),
    ] {
        let request = format!(
            "POST /auth/login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{head}\r\n\r\n{body}"
        );
        let answer = say(&stage, &request).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{head}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            usize::from(!answer.is_empty()),
            "{head}: {answer}"
        );
    }
    let _ = stage
        .login("ada@example.org", "nobody is here")
        .await
        .expect_status(401);
    stage.host.stop().await;
}
