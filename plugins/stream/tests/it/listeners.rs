//! Clients that only listen, as others have written them: npm's eventsource, node's fetch, curl.

use std::process::Stdio;

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, node_scripts, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    events::escaped,
    stage::{builder, family, host, publish},
};

/// A program that prints what it is told, and ends with this.
struct Program {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn of(mut child: Child) -> Self {
        let printed = child.stdout.take().expect("what it prints is read");
        Self {
            _child: child,
            lines: BufReader::new(printed).lines(),
        }
    }

    async fn node(host: &TestHost, client: &str, path: &str, token: &str) -> Self {
        let scripts = node_scripts!("tests/clients").await;
        let mut command = scripts.script("events.mjs");
        let address = format!("http://{}{path}", host.address());
        command
            .env("URL", address)
            .env("TOKEN", token)
            .env("CLIENT", client);
        Self::of(scripts.start(&mut command))
    }

    /// The next line, whatever it is.
    async fn line(&mut self, what: &str) -> String {
        let line = within(what, self.lines.next_line()).await;
        line.expect("it can be read").expect("the program goes on")
    }

    /// The next line of that kind.
    async fn event(&mut self, event: &str) -> Value {
        loop {
            let line: Value = self.line(event).await.parse().expect("it prints JSON");
            if line["event"] == event {
                return line;
            }
        }
    }

    /// The data of the next message that is no ping.
    async fn data(&mut self) -> Value {
        loop {
            let message = self.event("message").await;
            if message["data"] != json!({}) {
                return message["data"].clone();
            }
        }
    }
}

/// The address of a connection to these channels, with its token.
fn uni_sse(token: &str, channel: &str) -> String {
    let request = json!({"token": token, "subs": {channel: {}}}).to_string();
    format!("/connection/uni_sse?cf_connect={}", escaped(&request))
}

/// Ends all connections of a person; the stream's client comes again by itself.
async fn cut(host: &TestHost, person: Uuid) {
    let call = host.post("/api/disconnect").operator();
    let _ = call
        .json(&json!({"user": person}))
        .send()
        .await
        .expect_status(200);
}

#[tokio::test]
async fn an_event_source_comes_again_with_what_it_missed() {
    let host = host().await;
    let (person, sql) = (Uuid::now_v7(), host.sql().await);
    let token = host.token_of(person, None);
    let path = uni_sse(&token, "public:a");
    let mut client = Program::node(&host, "EventSource", &path, "").await;
    assert_eq!(
        client.data().await["connect"]["subs"]["public:a"]["recoverable"],
        true
    );
    publish(&sql, "public:a", json!(1)).await;
    assert_eq!(client.data().await["pub"]["data"], 1);
    cut(&host, person).await;
    assert_eq!(client.data().await["disconnect"]["code"], 3503);
    for number in 2..=4 {
        publish(&sql, "public:a", json!(number)).await;
    }
    // In part with the connection, in part behind it, as it comes about.
    let connected = client.data().await;
    let begun = &connected["connect"]["subs"]["public:a"];
    assert_eq!(
        (&begun["was_recovering"], &begun["recovered"]),
        (&json!(true), &json!(true))
    );
    let missed = begun["publications"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut told: Vec<_> = missed.iter().map(|one| one["data"].clone()).collect();
    while told.len() < 3 {
        told.push(client.data().await["pub"]["data"].clone());
    }
    assert_eq!(told, [2, 3, 4]);
    host.stop().await;
}

#[tokio::test]
async fn an_event_source_of_mercure_s_hears_data_and_types_and_losses() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.few]\nhistory_size = 2")
        .start()
        .await;
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let token = host.token_of(person, Some((Role::Owner, family)));
    let sql = host.sql().await;
    let few = format!("family:{family}:few:a");
    let path = "/.well-known/mercure?topic=few%3Aa&topic=public%3Aa";
    let mut client = Program::node(&host, "EventSourceWithToken", path, &token).await;
    let _ = client.event("open").await;
    publish(&sql, &few, json!({"n": 1})).await;
    assert_eq!(client.data().await, json!({"n": 1}));
    let greet =
        "select stream.publish('public:a', '\"hello\"', '{\"tags\": {\"type\": \"greeting\"}}')";
    sql.batch_execute(greet).await.expect("it is published");
    assert_eq!(client.event("greeting").await["data"], "hello");
    cut(&host, person).await;
    let gone = client.event("error").await;
    assert_eq!(gone["over"], false, "it comes again");
    // At once, long before it comes.
    let many = "select stream.publish($1, to_jsonb(n)) from generate_series(2, 9) n";
    sql.execute(many, &[&few])
        .await
        .expect("they are published");
    let lost = client.event("lost").await;
    assert_eq!(lost["data"], json!({"topics": ["few:a"]}));
    host.stop().await;
}

#[tokio::test]
async fn an_event_source_that_is_refused_stays_away() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let path = format!("/.well-known/mercure?topic=family%3A{family}%3Anews");
    let mut client = Program::node(&host, "EventSourceWithToken", &path, &token).await;
    let _ = client.event("open").await;
    let remove = "select public.remove_member($1, $2, null)";
    let removed = sql.execute(remove, &[&family, &member]).await;
    removed.expect("they are removed");
    // The stream ends, and the request that follows is answered for good.
    let _ = client.event("error").await;
    let refused = client.event("error").await;
    assert_eq!(
        (&refused["code"], &refused["over"]),
        (&json!(404), &json!(true))
    );
    host.stop().await;
}

#[tokio::test]
async fn node_s_fetch_reads_it_as_it_comes() {
    let host = host().await;
    let token = host.token_of(Uuid::now_v7(), None);
    let path = "/.well-known/mercure?topic=public%3Aa";
    let mut client = Program::node(&host, "fetch", path, &token).await;
    assert_eq!(client.event("open").await["status"], 200);
    let sql = host.sql().await;
    for number in 1..=20 {
        publish(&sql, "public:a", json!(number)).await;
        assert_eq!(client.data().await, number);
    }
    host.stop().await;
}

#[tokio::test]
async fn curl_prints_it_as_it_comes() {
    let host = host().await;
    let token = host.token_of(Uuid::now_v7(), None);
    let address = format!("http://{}/connection/uni_sse", host.address());
    let request = json!({"token": token, "subs": {"public:a": {}}}).to_string();
    let mut curl = Command::new("curl");
    let curl = curl
        .args(["-sSN", "-X", "POST", "-d", &request, &address])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let curl = curl.expect("the tests need curl: apt-get install curl");
    let mut curl = Program::of(curl);
    let first = curl.line("the first event").await;
    assert!(first.starts_with("data: {\"connect\":{"), "{first}");
    let sql = host.sql().await;
    for number in 1..=3 {
        publish(&sql, "public:a", json!({"n": number})).await;
        let data = loop {
            let line = curl.line("the next event").await;
            if line.starts_with("data: {\"channel\"") {
                break line;
            }
        };
        let id = curl.line("its id").await;
        assert!(
            data.contains(&format!("\"data\":{{\"n\": {number}}}")),
            "{data}"
        );
        assert!(
            id.starts_with("id: ") && id.ends_with(&format!(":{number}")),
            "{id}"
        );
    }
    host.stop().await;
}
