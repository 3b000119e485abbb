//! Hasura at the gateway's port. No Hasura is at hand here: npm's graphql-ws is the server, and the client.

use std::process::Stdio;

use futures_util::{SinkExt, StreamExt};
use nself_plugin_api::serde_json::{Value, json};
use nself_plugin_testkit::{NodeScripts, TestHost, node_scripts, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as SocketError, Message, client::IntoClientRequest},
};

use crate::stage::{builder, host};

/// A program of node's, and what it prints.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(scripts: &NodeScripts, name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = scripts.script(name);
        let _ = command.envs(variables.iter().copied()).stdin(Stdio::null());
        let mut child = scripts.start(&mut command);
        let printed = child.stdout.take().expect("what it prints is read");
        let lines = BufReader::new(printed).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> Value {
        let line = within("a line", self.lines.next_line()).await;
        let line = line.expect("it can be read").expect("it goes on");
        line.parse()
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

/// A host in front of a server.
async fn gateway(scripts: &NodeScripts) -> (TestHost, Script) {
    let mut hasura = Script::start(scripts, "hasura.mjs", &[]);
    let port = hasura.line().await;
    let config =
        format!("[plugins.stream.config]\nhasura_host = \"127.0.0.1\"\nhasura_port = {port}\n");
    (builder().config(&config).start().await, hasura)
}

/// A client that offers a protocol.
async fn offer(host: &TestHost, protocol: &str) -> Result<WebSocketStream<TcpStream>, SocketError> {
    let address = host.address();
    let stream = TcpStream::connect(address).await.expect("the host listens");
    let mut request = format!("ws://{address}/v1/graphql").into_client_request()?;
    let offered = protocol.parse().expect("a header");
    let _ = request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let opened = within("the handshake", client_async(request, stream)).await;
    Ok(opened?.0)
}

/// The status that a client is refused with.
async fn refusal(host: &TestHost, protocol: &str) -> u16 {
    match offer(host, protocol).await {
        Err(SocketError::Http(answer)) => answer.status().as_u16(),
        other => panic!("{other:?} where a refusal was expected"),
    }
}

fn has_nothing_of_hasura_s(headers: &Value) {
    let names = headers.as_object().expect("headers").keys();
    let found: Vec<_> = names
        .filter(|name| name.to_ascii_lowercase().starts_with("x-hasura"))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn a_subscription_comes_through_with_the_caller_s_token_and_no_other_right() {
    let scripts = node_scripts!("tests/clients").await;
    let (host, _hasura) = gateway(&scripts).await;
    let url = format!("ws://{}/v1/graphql", host.address());
    let mut client = Script::start(&scripts, "graphql.mjs", &[("URL", &url), ("TO", "3")]);
    for count in 1..=3 {
        assert_eq!(client.line().await, json!({"count": count}));
    }
    let seen = client.line().await;
    assert_eq!(
        seen["params"],
        json!({"headers": {"Authorization": "Bearer of-the-client"}})
    );
    assert_eq!(seen["headers"]["authorization"], "Bearer of-the-request");
    has_nothing_of_hasura_s(&seen["headers"]);
    assert_eq!(client.line().await, json!({"closed": 1000}));
    host.stop().await;
}

#[tokio::test]
async fn a_query_comes_through_in_the_same_way() {
    let scripts = node_scripts!("tests/clients").await;
    let (host, _hasura) = gateway(&scripts).await;
    let query = json!({"query": "{ families { name } }"});
    let asked = host
        .post("/v1/graphql")
        .header("authorization", "Bearer a")
        .header("x-hasura-admin-secret", "guessed")
        .header("X-Hasura-Role", "admin");
    let answer = asked.json(&query).send().await.expect_status(200).json();
    let seen = &answer["data"];
    assert_eq!(seen["url"], "/v1/graphql");
    assert_eq!(seen["headers"]["authorization"], "Bearer a");
    assert_eq!(seen["body"], query.to_string());
    has_nothing_of_hasura_s(&seen["headers"]);
    host.stop().await;
}

#[tokio::test]
async fn apollo_s_first_protocol_comes_through_letter_by_letter_and_pings_are_answered() {
    let scripts = node_scripts!("tests/clients").await;
    let (host, _hasura) = gateway(&scripts).await;
    let mut socket = offer(&host, "graphql-ws").await.expect("it opens");
    let said = r#"{"type":"start", "id":"1", "payload":{"n":1.50}}"#;
    let sent = socket.send(Message::text(said)).await;
    sent.expect("it can be sent");
    let mut told = Vec::new();
    while told.len() < 2 {
        let message = within("a message", socket.next()).await;
        if let Message::Text(text) = message.expect("it goes on").expect("it is heard") {
            told.push(text.to_string());
        }
    }
    told.sort_unstable();
    assert_eq!(told, [r#"{"type":"ponged"}"#, said]);
    // One word said twice means different things to two readers.
    let twice = r#"{"type":"start","type":"connection_init"}"#;
    let sent = socket.send(Message::text(twice)).await;
    sent.expect("it can be sent");
    assert_eq!(end(&mut socket).await, 4400);
    assert_eq!(refusal(&host, "graphql-something").await, 400);
    host.stop().await;
}

async fn end(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    loop {
        match within("the end", socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?} where a close was expected"),
        }
    }
}

#[tokio::test]
async fn who_finds_hasura_away_is_told_so() {
    let scripts = node_scripts!("tests/clients").await;
    let (host, mut hasura) = gateway(&scripts).await;
    let url = format!("ws://{}/v1/graphql", host.address());
    let mut client = Script::start(&scripts, "graphql.mjs", &[("URL", &url), ("TO", "101")]);
    assert_eq!(client.line().await, json!({"count": 1}));
    hasura.child.kill().await.expect("it ends");
    let closed = loop {
        let line = client.line().await;
        if line["closed"].is_number() {
            break line;
        }
    };
    assert_eq!(closed, json!({"closed": 1012}));
    assert_eq!(refusal(&host, "graphql-transport-ws").await, 502);
    let asked = host.post("/v1/graphql").json(&json!({"query": "{ a }"}));
    let answer = asked.send().await.expect_status(502).json();
    assert_eq!(answer["code"], "STREAM_GRAPHQL_AWAY");
    host.stop().await;
}

#[tokio::test]
async fn without_a_hasura_there_is_no_graphql() {
    let host = host().await;
    assert_eq!(refusal(&host, "graphql-transport-ws").await, 404);
    let asked = host.post("/v1/graphql").json(&json!({"query": "{ a }"}));
    let answer = asked.send().await.expect_status(404).json();
    assert_eq!(answer["code"], "STREAM_GRAPHQL_OFF");
    host.stop().await;
}
