//! The orchestrator in a host of its own, asked over HTTP.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use nself::{
    identity::key_digest,
    postgres::scratch::{Scratch, TestDatabase},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_postgres::Client;

use super::{MORE_STEPS, STEPS};
use crate::{
    Failure, Result,
    child::{Cores, Log, Served},
    client::Http,
    jobs::usage::{Sample, Watch, postmaster},
    project::Project,
    report::Report,
};

/// The key that may do everything with workflows.
const KEY: &str = "nsk_bench_runs_workflows";

/// More runs like one that sleeps.
const SLEEPERS: &str = include_str!("../../../plugins/orchestrator/tests/sleepers.sql");

/// Sessions tell their counters when they fall idle, or ten seconds after.
const TOLD_AFTER: Duration = Duration::from_secs(12);

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    ForTheStart,
    ForTheEnd,
}

/// The host and its database.
pub(super) struct Ours {
    sql: Client,
    served: Served,
    _database: TestDatabase,
    _project: Project,
}

impl Ours {
    pub(super) async fn start() -> Result<Self> {
        let database = Scratch::durable().database().await;
        let server = answer_at_once().await?;
        let project = Project::with(&format!(
            "[identity.api_keys.bench]\nsha256 = \"{}\"\nscopes = [\"workflows\"]\n\
             [plugins.orchestrator]\negress = [\"{server}\"]\n",
            key_digest(KEY)
        ))?;
        let plugins = ["jobs", "orchestrator"];
        for plugin in plugins {
            project.put_file(plugin)?;
        }
        let url = database.url();
        let served = Served::start_on(Cores::All, project.path(), &url, Log::Off, &plugins).await?;
        let ours = Self {
            sql: database.client().await,
            served,
            _database: database,
            _project: project,
        };
        for steps in [STEPS, MORE_STEPS] {
            let step = |number| {
                (
                    format!("step{number}"),
                    json!({"set": {"n": "${ .n + 1 }"}}),
                )
            };
            ours.keep("steps", steps, step).await?;
            let call = |number| {
                let with = json!({"method": "post", "endpoint": format!("http://{server}/")});
                (
                    format!("call{number}"),
                    json!({"call": "http", "with": with}),
                )
            };
            ours.keep("calls", steps, call).await?;
        }
        let rest = |_| ("rest".to_owned(), json!({"wait": {"days": 30}}));
        ours.keep("sleep", 1, rest).await?;
        Ok(ours)
    }

    /// Keeps a workflow of so many tasks.
    async fn keep(
        &self,
        name: &str,
        tasks: u32,
        task: impl Fn(u32) -> (String, Value),
    ) -> Result<()> {
        let tasks = (0..tasks).map(|number| {
            let (name, task) = task(number);
            json!({ name: task })
        });
        let tasks: Vec<Value> = tasks.collect();
        let name = format!("{name}-{}", tasks.len());
        let definition = json!({
            "document": {"dsl": "1.0.0", "namespace": "bench", "name": name, "version": "1.0.0"},
            "do": tasks,
        });
        let mut http = self.connect().await?;
        ask(&mut http, &post("/v1/workflow-definitions", &definition)).await?;
        Ok(())
    }

    /// So many runs from so many callers, and how long each waited, in milliseconds.
    pub(super) async fn run(
        &self,
        callers: u32,
        workflows: u32,
        steps: u32,
        waits: Waits,
    ) -> Result<(Sample, Vec<f64>)> {
        self.run_of(&format!("steps-{steps}"), callers, workflows, waits)
            .await
    }

    /// So many runs of calls, from one caller.
    pub(super) async fn calls(&self, workflows: u32, steps: u32) -> Result<Sample> {
        let name = format!("calls-{steps}");
        Ok(self.run_of(&name, 1, workflows, Waits::ForTheEnd).await?.0)
    }

    async fn run_of(
        &self,
        name: &str,
        callers: u32,
        workflows: u32,
        waits: Waits,
    ) -> Result<(Sample, Vec<f64>)> {
        let seconds = if waits == Waits::ForTheEnd { 25 } else { 0 };
        let body = json!({"input": {"n": 0}, "wait_seconds": seconds});
        let request = post(&format!("/v1/workflows/bench/{name}/1.0.0/runs"), &body);
        let mut connections = Vec::new();
        for _ in 0..callers {
            connections.push(self.connect().await?);
        }
        // The definition is read and the connections are open.
        for http in &mut connections {
            ask(http, &request).await?;
        }
        self.until_all_ended().await?;
        let watch = Watch {
            store: postmaster(),
            worker: Some(self.served.pid()?),
            sql: Some(&self.sql),
        };
        let mark = watch.mark().await?;
        let request = &request;
        let took = try_join_all(connections.into_iter().map(|mut http| async move {
            let mut took = Vec::new();
            for _ in 0..workflows / callers {
                let begun = Instant::now();
                let run = ask(&mut http, request).await?;
                took.push(begun.elapsed().as_secs_f64() * 1e3);
                if waits == Waits::ForTheEnd && run["data"]["status"] != "completed" {
                    return Err(Failure::from(format!("it has not completed: {run}")));
                }
            }
            Ok::<_, Failure>(took)
        }))
        .await?;
        let sample = watch.since(&mark, workflows, None).await?;
        self.until_all_ended().await?;
        Ok((sample, took.concat()))
    }

    /// Commits for each of so many runs from 32 callers, counted by the server.
    pub(super) async fn commits(&self, workflows: u32) -> Result<f64> {
        let workflows = workflows.max(32) / 32 * 32;
        sleep(TOLD_AFTER).await;
        let before = self.commits_so_far().await?;
        self.run(32, workflows, STEPS, Waits::ForTheEnd).await?;
        sleep(TOLD_AFTER).await;
        // Each caller has asked once more.
        Ok((self.commits_so_far().await? - before) / f64::from(workflows + 32))
    }

    async fn commits_so_far(&self) -> Result<f64> {
        let sql =
            "select xact_commit::float8 from pg_stat_database where datname = current_database()";
        Ok(self.sql.query_one(sql, &[]).await?.get(0))
    }

    async fn until_all_ended(&self) -> Result<()> {
        let open = "select exists (select from orchestrator.instances where ended_at is null)";
        for _ in 0..10_000 {
            if !self.sql.query_one(open, &[]).await?.get::<_, bool>(0) {
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(Failure::from("the runs do not end"))
    }

    /// What so many runs that sleep cost. They stay, so this is the last that is measured.
    pub(super) async fn sleepers(&self, report: &mut Report, sleepers: u32) -> Result<()> {
        let request = post(
            "/v1/workflows/bench/sleep-1/1.0.0/runs",
            &json!({"wait_seconds": 0}),
        );
        let run = ask(&mut self.connect().await?, &request).await?;
        let run = run["data"]["id"].as_str().unwrap_or_default().to_owned();
        let before = (self.idle().await?, self.served.resident_kib()?);
        let amount = i32::try_from(sleepers)?;
        self.sql.execute(SLEEPERS, &[&run, &amount]).await?;
        self.sql.batch_execute("vacuum analyze").await?;
        let after = (self.idle().await?, self.served.resident_kib()?);
        report.text(
            &format!("workflows: transactions/s with {sleepers} runs asleep"),
            format!("{:.1} (with one {:.1})", after.0, before.0),
            "no polling",
        );
        report.text(
            "workflows: resident memory of the host with them",
            format!("{} KiB (with one {})", after.1, before.1),
            "flat",
        );
        Ok(())
    }

    /// Transactions a second of a host that has nothing to do.
    async fn idle(&self) -> Result<f64> {
        let span = Duration::from_secs(10);
        sleep(TOLD_AFTER).await;
        let before = self.commits_so_far().await?;
        sleep(span).await;
        // Our own looks are two of them.
        let commits = self.commits_so_far().await? - before - 2.0;
        Ok(commits.max(0.0) / span.as_secs_f64())
    }

    async fn connect(&self) -> Result<Http<TcpStream>> {
        let address: SocketAddr = self.served.gateway;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http::over(stream))
    }
}

/// A server that answers every request at once, whatever it is.
pub(crate) async fn answer_at_once() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heads = Vec::new();
                while stream
                    .read_buf(&mut heads)
                    .await
                    .is_ok_and(|bytes| bytes > 0)
                {
                    if heads.ends_with(b"\r\n\r\n") {
                        heads.clear();
                        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

/// The bytes of a request with the key.
fn post(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn ask(http: &mut Http<TcpStream>, request: &[u8]) -> Result<Value> {
    let (answer, body) = http.send_for_body(request).await?;
    if answer.status >= 300 {
        let text = String::from_utf8_lossy(&body);
        return Err(Failure::from(format!("{}: {text}", answer.status)));
    }
    Ok(serde_json::from_slice(&body)?)
}
