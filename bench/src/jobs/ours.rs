//! The jobs plugin in a host of its own, with handlers that do nothing.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::try_join_all;
use nself::{
    identity::key_digest,
    postgres::scratch::{Scratch, TestDatabase},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use super::usage::{Sample, Watch, postmaster};
use crate::{
    Failure, Result,
    child::{Cores, Log, Served},
    client::{Http, get},
    project::Project,
};

/// The key that may enqueue.
const KEY: &str = "nsk_bench_enqueues_jobs";

/// Jobs of one statement that fills a queue.
const FILL: u32 = 1_000;

/// Jobs of this kind wait in a queue that no host works on.
pub(super) const UNWORKED: &str = "bench.unworked";

/// The host and its database.
pub(super) struct Ours {
    pub database: TestDatabase,
    pub sql: Client,
    served: Served,
    _project: Project,
}

impl Ours {
    pub(super) async fn start() -> Result<Self> {
        let database = Scratch::durable().database().await;
        let key = key_digest(KEY);
        let project = Project::with(&format!(
            "[identity.api_keys.bench]\nsha256 = \"{key}\"\nscopes = [\"jobs\"]\n"
        ))?;
        project.put_file("jobs")?;
        project.put(0, 0)?;
        let (directory, url) = (project.path(), database.url());
        let plugins = ["jobs", "bench00"];
        let served = Served::start_on(Cores::All, directory, &url, Log::Off, &plugins).await?;
        let sql = database.client().await;
        let ours = Self {
            database,
            sql,
            served,
            _project: project,
        };
        ours.until("select count(*) = 4 from jobs.kinds where kind like 'bench00.%'")
            .await?;
        ours.sql
            .batch_execute(&format!(
                "insert into jobs.queues (name, worker) values ('unworked', 'pull');
                 insert into jobs.kinds (kind, queue, declared_by) \
                     select '{UNWORKED}', id, 'bench' from jobs.queues where name = 'unworked'"
            ))
            .await?;
        Ok(ours)
    }

    pub(super) fn pid(&self) -> Result<u32> {
        self.served.pid()
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        self.served.resident_kib()
    }

    pub(super) fn watch(&self) -> Result<Watch<'_>> {
        Ok(Watch {
            store: postmaster(),
            worker: Some(self.pid()?),
            sql: Some(&self.sql),
        })
    }

    pub(super) async fn pause(&self) -> Result<()> {
        let pause =
            "update jobs.queues set paused_at = now(), paused_by = 'bench' where worker = 'host'";
        Ok(self.sql.batch_execute(pause).await?)
    }

    pub(super) async fn resume(&self) -> Result<()> {
        let resume = "\
            update jobs.queues set paused_at = null, paused_by = null where worker = 'host';
            select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues where worker = 'host'";
        Ok(self.sql.batch_execute(resume).await?)
    }

    /// Enqueues many jobs of a kind, 1,000 in each commit.
    pub(super) async fn fill(&self, kind: &str, jobs: u32, options: &Value) -> Result<()> {
        let sql = "select count(*) from jobs.enqueue_many($1, \
             array(select jsonb_build_object('n', g) from generate_series(1, $2::int) g), nullif($3::jsonb, '{}'))";
        let statement = self.sql.prepare(sql).await?;
        for begin in (0..jobs).step_by(FILL as usize) {
            let amount = i32::try_from(FILL.min(jobs - begin))?;
            self.sql
                .query_one(&statement, &[&kind, &amount, options])
                .await?;
        }
        Ok(())
    }

    /// Has the ledger begin anew and expect so many jobs.
    pub(super) async fn expect(&self, jobs: u32) -> Result<()> {
        let path = format!("/bench00/jobs/expect/{jobs}");
        self.connect().await?.send(&get(&path)).await?;
        Ok(())
    }

    /// Waits until the expected jobs have run and their ends are written down.
    pub(super) async fn ended(&self) -> Result<()> {
        let mut http = self.connect().await?;
        for _ in 0..200 {
            let (answer, body) = http.send_for_body(&get("/bench00/jobs/done")).await?;
            if answer.status != 200 {
                return Err(refused(answer.status, &body));
            }
            if body == b"true" {
                return self
                    .until("select not exists (select from jobs.leases)")
                    .await;
            }
        }
        Err(Failure::from("the jobs do not end"))
    }

    /// What the timed and keyed jobs wrote down.
    pub(super) async fn ledger(&self) -> Result<Value> {
        let request = get("/bench00/jobs/ledger");
        let (_, body) = self.connect().await?.send_for_body(&request).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Drains what waits while the queues are paused: from the moment in which they are resumed.
    pub(super) async fn drain(&self, jobs: u32) -> Result<Sample> {
        self.expect(jobs).await?;
        let watch = self.watch()?;
        let mark = watch.mark().await?;
        self.resume().await?;
        self.ended().await?;
        let sample = watch.since(&mark, jobs, None).await?;
        self.pause().await?;
        Ok(sample)
    }

    /// Fills the paused queues and drains them; both of it.
    pub(super) async fn fill_and_drain(
        &self,
        kind: &str,
        jobs: u32,
        options: &Value,
    ) -> Result<(Sample, Sample)> {
        self.pause().await?;
        let watch = self.watch()?;
        let mark = watch.mark().await?;
        self.fill(kind, jobs, options).await?;
        let filled = watch.since(&mark, jobs, None).await?;
        Ok((filled, self.drain(jobs).await?))
    }

    /// Enqueues over HTTP, so many jobs from each of so many callers.
    pub(super) async fn enqueue_over_http(&self, callers: u32, each: u32) -> Result<Sample> {
        let request = enqueue_request(UNWORKED, &json!({"n": 1}));
        let watch = self.watch()?;
        let mut connections = Vec::new();
        for _ in 0..callers {
            connections.push(self.connect().await?);
        }
        let mark = watch.mark().await?;
        let request = &request;
        try_join_all(connections.into_iter().map(|mut http| async move {
            for _ in 0..each {
                let (answer, body) = http.send_for_body(request).await?;
                if answer.status != 201 {
                    return Err(refused(answer.status, &body));
                }
            }
            Ok::<_, Failure>(())
        }))
        .await?;
        let sample = watch.since(&mark, callers * each, None).await?;
        self.empty_unworked().await?;
        Ok(sample)
    }

    pub(super) async fn empty_unworked(&self) -> Result<()> {
        let empty = "delete from jobs.ready r using jobs.queues q where q.id = r.queue and q.worker = 'pull'";
        self.sql.batch_execute(empty).await?;
        Ok(self.sql.batch_execute("vacuum jobs.ready").await?)
    }

    pub(super) async fn connect(&self) -> Result<Http<TcpStream>> {
        let address: SocketAddr = self.served.gateway;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http::over(stream))
    }

    /// Waits until a query says yes.
    pub(super) async fn until(&self, query: &str) -> Result<()> {
        let statement = self.sql.prepare(query).await?;
        for _ in 0..20_000 {
            if self.sql.query_one(&statement, &[]).await?.get(0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        Err(Failure::from(format!("in vain: {query}")))
    }
}

/// The bytes of a request that enqueues a job.
pub(super) fn enqueue_request(kind: &str, payload: &Value) -> Vec<u8> {
    let body = json!({"kind": kind, "payload": payload}).to_string();
    format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn refused(status: u16, body: &[u8]) -> Failure {
    Failure::from(format!("{status}: {}", String::from_utf8_lossy(body)))
}
