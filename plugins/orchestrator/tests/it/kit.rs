//! The scenarios once more, on a real host: its routes, its database, its requests. The hosts that they name are mapped to a server
//! of the test's own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    conformance::{Ran, Scenario, judge, pet_store},
    stage::{builder, ended, history},
};

/// The hosts that scenarios may name.
const HOSTS: [&str; 3] = [
    "https://petstore.swagger.io",
    "https://httpbin.org",
    "https://pets.test",
];

#[cfg(test)]
#[tokio::test]
async fn every_scenario_of_the_project_passes_on_a_real_host() {
    let kit = Kit::open().await;
    for (number, scenario) in crate::conformance::read_directory(&crate::conformance::features())
        .iter()
        .enumerate()
    {
        kit.check(number, scenario).await;
    }
    kit.close().await;
}

/// A host, and the server for its requests.
pub(crate) struct Kit {
    host: TestHost,
    server: String,
}

impl Kit {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        let config = format!("[plugins.orchestrator]\negress = [\"{address}\"]\n");
        Self {
            host: builder().config(&config).start().await,
            server: format!("http://{address}"),
        }
    }

    /// Runs a scenario under a name of its own.
    ///
    /// # Panics
    ///
    /// When something else comes of it than it expects.
    pub(crate) async fn check(&self, number: usize, scenario: &Scenario) {
        let name = &scenario.name;
        let put = self.keep(number, &scenario.definition).await;
        let path = format!(
            "/v1/workflows/{}/scenario-{number}/{}/runs",
            put["namespace"].as_str().expect(name),
            put["version"].as_str().expect(name)
        );
        let started = self.host.post(&path).operator();
        let started = started.json(&json!({"input": scenario.input, "wait_seconds": 25}));
        let started = started.send().await.expect_status(201).data();
        let run = ended(&self.host, &started["id"]).await;
        let end = match run["status"].as_str() {
            Some("completed") => Ok(run["output"].clone()),
            _ => Err(run["error"].clone()),
        };
        let rows = history(&self.host, &started["id"]).await;
        let started = rows.iter().filter(|row| row["status"] == "started");
        let started = started.filter_map(|row| row["name"].as_str().map(str::to_owned));
        let started = started.collect();
        judge(scenario, &Ran { end, started });
    }

    /// Keeps a definition under a name of its own, its hosts mapped.
    ///
    /// # Panics
    ///
    /// When the host refuses it; the message says why.
    pub(crate) async fn keep(&self, number: usize, definition: &str) -> Value {
        let mut definition: Value = serde_norway::from_str(definition).expect("YAML");
        definition["document"]["name"] = json!(format!("scenario-{number}"));
        let text = serde_norway::to_string(&definition).expect("YAML");
        let text = HOSTS
            .iter()
            .fold(text, |text, host| text.replace(host, &self.server));
        let answer = self
            .host
            .post("/v1/workflow-definitions")
            .operator()
            .header("content-type", "application/yaml")
            .body(text)
            .send()
            .await;
        answer.expect_status(200).data()
    }

    pub(crate) async fn close(self) {
        self.host.stop().await;
    }
}

/// Answers one request as the servers of the scenarios would.
async fn answer(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let (mut lines, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        lines.push(std::mem::take(&mut line));
    }
    let header = |wanted: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let path = lines.first().and_then(|line| line.split(' ').nth(1));
    let path = path.unwrap_or_default().trim_start_matches('/');
    let login = header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let login = login.and_then(|login| STANDARD.decode(login).ok());
    let login = login.and_then(|login| String::from_utf8(login).ok());
    let login = login.map(|login| login.replacen(':', "/", 1));
    let host = header("host").unwrap_or_default();
    let (status, body) = pet_store(("http", host), path, login.as_deref());
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()).await);
}
