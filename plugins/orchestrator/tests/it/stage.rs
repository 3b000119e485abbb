//! What the tests of the plugin have in common: hosts, families with a device, and commands.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{Answer, TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_postgres::Client;
use uuid::Uuid;

/// A family with a paired device, and who is in it.
pub(crate) struct Home {
    pub family: Uuid,
    pub device: Uuid,
    pub device_token: String,
}

pub(crate) async fn host() -> TestHost {
    host_with("").await
}

/// A host whose `[plugins.orchestrator.config]` has these lines.
pub(crate) async fn host_with(config: &str) -> TestHost {
    builder()
        .config(&format!("[plugins.orchestrator.config]\n{config}\n"))
        .start()
        .await
}

/// Workflows stand on jobs.
pub(crate) fn builder() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-jobs")
        .plugin("nself-plugin-orchestrator")
}

/// A definition with these tasks, and what else stands in it.
pub(crate) fn definition(name: &str, more: &str, tasks: &str) -> String {
    format!(
        "document:\n  dsl: '1.0.0'\n  namespace: test\n  name: {name}\n  version: '1.0.0'\n  metadata:\n    nself.families: true\n{more}do:\n{tasks}"
    )
}

/// Keeps a definition.
pub(crate) async fn put(host: &TestHost, name: &str, text: &str) {
    let answer = host
        .put(&format!("/v1/workflows/test/{name}/1.0.0"))
        .operator()
        .header("content-type", "application/yaml")
        .body(text.to_owned())
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Starts a workflow as the operator; the run as it is after at most so many seconds.
pub(crate) async fn start(host: &TestHost, name: &str, input: Value, wait: u32) -> Value {
    let answer = host
        .post(&format!("/v1/workflows/test/{name}/latest/runs"))
        .operator()
        .json(&json!({"input": input, "wait_seconds": wait}))
        .send()
        .await;
    answer.expect_status(201).data()
}

/// A run as the operator sees it.
pub(crate) async fn run(host: &TestHost, id: &Value) -> Value {
    let id = id.as_str().expect("an id");
    let path = format!("/v1/workflow-runs/{id}");
    let answer = host.get(&path).operator().send().await;
    answer.expect_status(200).data()
}

/// Waits for a status of a run that does not pass by itself.
pub(crate) async fn until(host: &TestHost, id: &Value, status: &str) -> Value {
    eventually(&format!("the run {id} is {status}"), async || {
        let found = run(host, id).await;
        (found["status"] == status).then_some(found)
    })
    .await
}

/// Waits for the end of a run, whichever it is.
pub(crate) async fn ended(host: &TestHost, id: &Value) -> Value {
    eventually(&format!("the run {id} ends"), async || {
        let found = run(host, id).await;
        (!found["ended_at"].is_null()).then_some(found)
    })
    .await
}

/// Does something with a run.
pub(crate) async fn act(host: &TestHost, id: &Value, action: &str) -> Answer {
    let id = id.as_str().expect("an id");
    let path = format!("/v1/workflow-runs/{id}/{action}");
    host.post(&path).operator().json(&json!({})).send().await
}

/// Sends an event as the operator.
pub(crate) async fn send(host: &TestHost, event: &Value) -> Answer {
    host.post("/v1/events")
        .operator()
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
        .send()
        .await
}

/// What a query counts.
pub(crate) async fn count(sql: &Client, query: &str) -> i64 {
    let row = sql.query_one(query, &[]).await;
    row.expect("the query runs").get(0)
}

/// Waits until that query counts so many.
pub(crate) async fn until_count(sql: &Client, query: &str, wanted: i64) {
    eventually(&format!("{query} counts {wanted}"), async || {
        (count(sql, query).await == wanted).then_some(())
    })
    .await;
}

/// What happened to the tasks of a run.
pub(crate) async fn history(host: &TestHost, id: &Value) -> Vec<Value> {
    let id = id.as_str().expect("an id");
    let path = format!("/v1/workflow-runs/{id}/history?limit=1000");
    let data = host.get(&path).operator().send().await.data();
    data.as_array().expect("a list").clone()
}

/// A server that counts what it is asked for by its idempotency key, and answers with JSON; below `/echo` with what it was sent.
pub(crate) struct Ledger {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    held: Held,
}

/// Paths whose requests are not answered, each as long as its gate is there.
type Held = Arc<Mutex<Vec<(String, watch::Receiver<()>)>>>;

/// Requests wait for its end.
pub(crate) struct Gate {
    _closed: watch::Sender<()>,
}

impl Ledger {
    /// `status` for each request, the last one for all that come after.
    pub(crate) async fn open(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let held = Held::default();
        let (kept, gates) = (Arc::clone(&seen), Arc::clone(&held));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, gates) = (Arc::clone(&kept), Arc::clone(&gates));
                tokio::spawn(answer(stream, kept, gates, statuses));
            }
        });
        Self {
            address,
            seen,
            held,
        }
    }

    /// Lets requests of that path wait for their answers.
    pub(crate) fn hold(&self, path: &str) -> Gate {
        let (sender, receiver) = watch::channel(());
        let mut held = self.held.lock().expect("nobody panics");
        held.push((format!(" {path} "), receiver));
        Gate { _closed: sender }
    }

    /// Idempotency keys and heads of the requests so far.
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().expect("nobody panics").clone()
    }
}

async fn answer(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    held: Held,
    statuses: &'static [u16],
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_key = name.eq_ignore_ascii_case("idempotency-key");
        is_key.then(|| value.to_owned())
    });
    let status = {
        let mut seen = seen.lock().expect("nobody panics");
        seen.push((key.unwrap_or_default(), head.clone()));
        let at = (seen.len() - 1).min(statuses.len() - 1);
        statuses[at]
    };
    let gates: Vec<watch::Receiver<()>> = {
        let held = held.lock().expect("nobody panics");
        let first = head.lines().next().unwrap_or_default();
        let meant = held.iter().filter(|(path, _)| first.contains(path));
        meant.map(|(_, gate)| gate.clone()).collect()
    };
    for mut gate in gates {
        // An error says that its gate is gone.
        while gate.changed().await.is_ok() {}
    }
    // Who is still sending does not hear the answer.
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().ok())?
    });
    let mut sent = vec![0; length.unwrap_or_default()];
    if stream.read_exact(&mut sent).await.is_err() {
        return;
    }
    let is_echo = head
        .lines()
        .next()
        .is_some_and(|line| line.contains("/echo"));
    let body = if is_echo {
        json!({"head": head, "bytes": sent.len()}).to_string()
    } else {
        "{\"tea\": \"ready\"}".to_owned()
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()).await);
}

/// A family with a device.
pub(crate) async fn home(host: &TestHost) -> Home {
    let sql = host.sql().await;
    let row = sql
        .query_one(
            "with f as (insert into public.families (name) values ('Home') returning id) \
             insert into public.devices (family_id, name) select id, 'TV' from f returning family_id, id",
            &[],
        )
        .await
        .expect("a family and its device");
    let (family, device) = (row.get(0), row.get(1));
    Home {
        family,
        device,
        device_token: host.token_of(device, Some((Role::Device, family))),
    }
}

/// Asks for a command as the owner of the family.
pub(crate) async fn ask(host: &TestHost, home: &Home, body: Value) -> Value {
    let answer = host
        .post(&format!("/v1/devices/{}/commands", home.device))
        .role(Role::Owner, home.family)
        .json(&body)
        .send()
        .await;
    answer.expect_status(201).data()
}

pub(crate) async fn pause(host: &TestHost, home: &Home) -> Value {
    ask(host, home, json!({"name": "player.pause"})).await
}

/// What the device gets when it asks, waiting for at most so many seconds.
pub(crate) async fn fetch(host: &TestHost, home: &Home, wait: u32) -> Vec<Value> {
    let answer = host
        .get(&format!("/v1/devices/{}/commands?wait={wait}", home.device))
        .token(&home.device_token)
        .send()
        .await;
    let data = answer.expect_status(200).data();
    data.as_array().expect("a list").clone()
}

/// A command as the owner of the family sees it.
pub(crate) async fn show(host: &TestHost, home: &Home, id: &Value) -> Value {
    let id = id.as_str().expect("an id");
    let answer = host
        .get(&format!("/v1/device-commands/{id}"))
        .role(Role::Owner, home.family)
        .send()
        .await;
    answer.expect_status(200).data()
}
