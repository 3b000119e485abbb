//! A disk on which everything that has to be written at once takes long: each flush of the log of writes a tenth of a second.

use std::time::{Duration, Instant};

use nself_plugin_api::futures_util::future::join_all;
use nself_plugin_testkit::{Answer, HostProcess, TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use super::ledger::{builder, by_job, done, runs};
use crate::stage::{count, until_count};

/// What a flush takes longer. The server sleeps in it with the lock held that every flush takes, as it does while a disk is slow; it can be
/// told no more than that.
const FLUSH: Duration = Duration::from_millis(100);
/// Requests of each kind.
const REQUESTS: usize = 21;
const RESCUED: &str =
    "select count(*) from jobs.finished where meta -> 'errors' @> '[{\"code\": \"HOST_DIED\"}]'";

/// Two hosts on a server of their own, whose commits reach the disk.
struct Stage {
    host: TestHost,
    sql: Client,
    other: HostProcess,
}

impl Stage {
    async fn new() -> Self {
        let host = builder().durable_server().start().await;
        let sql = host.sql().await;
        let other = host.process_beside().start().await;
        until_count(&sql, "select count(*) from jobs.hosts", 2).await;
        let stage = Self { host, sql, other };
        stage.disk_takes(FLUSH).await;
        stage
    }

    async fn disk_takes(&self, flush: Duration) {
        let delay = flush.as_micros();
        for change in [
            format!("alter system set commit_delay = {delay}"),
            "alter system set commit_siblings = 0".to_owned(),
            "select pg_reload_conf()".to_owned(),
        ] {
            self.sql
                .batch_execute(&change)
                .await
                .expect("a superuser may");
        }
        eventually("the server has read it", async || {
            let row = self.sql.query_one(
                "select setting from pg_settings where name = 'commit_delay'",
                &[],
            );
            let set: String = row.await.expect("a setting").get(0);
            (set == delay.to_string()).then_some(())
        })
        .await;
    }

    /// Enqueues a job over HTTP.
    async fn enqueue(&self) -> Answer {
        let body = json!({"kind": "ledger.work"});
        self.host
            .post("/v1/jobs")
            .operator()
            .json(&body)
            .send()
            .await
    }

    /// How long a request takes that writes nothing, typically.
    async fn reads(&self, path: &str) -> Duration {
        let mut took = Vec::new();
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            let _ = self
                .host
                .get(path)
                .operator()
                .send()
                .await
                .expect_status(200);
            took.push(begun.elapsed());
        }
        median(took)
    }
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

fn id_of(answer: &Answer) -> i64 {
    answer.data()["id"].as_i64().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_waits_for_the_disk_and_who_does_not_write_does_not() {
    let stage = Stage::new().await;
    let first = id_of(&stage.enqueue().await.expect_status(201));
    let (mut ids, mut wrote) = (vec![first], Vec::new());
    let writing = async {
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            ids.push(id_of(&stage.enqueue().await.expect_status(201)));
            wrote.push(begun.elapsed());
        }
    };
    let reading = async {
        for path in ["/livez", &*format!("/v1/jobs/{first}")] {
            let took = stage.reads(path).await;
            assert!(took < FLUSH / 2, "{path} takes {took:?}");
        }
    };
    tokio::join!(writing, reading);
    let took = median(wrote);
    // Who comes while another's flush is under way shares the next one, or that one.
    assert!(took > FLUSH / 2, "the disk is slow: {took:?}");
    stage.ends(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_who_write_at_the_same_time_share_flushes_and_each_job_is_done_once() {
    let stage = Stage::new().await;
    let begun = Instant::now();
    let answers = join_all((0..100).map(|_| stage.enqueue())).await;
    let took = begun.elapsed();
    assert!(
        took < FLUSH * 50,
        "a hundred flushes would take twice as long: {took:?}"
    );
    let ids: Vec<i64> = answers
        .into_iter()
        .map(|answer| id_of(&answer.expect_status(201)))
        .collect();
    stage.ends(&ids).await;
}

impl Stage {
    /// All of them are done, each once, by hosts that nobody took for dead.
    async fn ends(mut self, ids: &[i64]) {
        let open = "select count(*) from jobs.jobs where state <> 'completed'";
        until_count(&self.sql, open, 0).await;
        until_count(&self.sql, "select count(*) from jobs.leases", 0).await;
        let runs = runs(&self.sql).await;
        let jobs = by_job(&runs);
        for id in ids {
            assert_eq!(jobs.get(id).map_or(0, |runs| done(runs)), 1, "job {id}");
        }
        assert_eq!(count(&self.sql, RESCUED).await, 0, "nobody was rescued");
        assert_eq!(count(&self.sql, "select count(*) from jobs.hosts").await, 2);
        assert!(self.other.runs());
        self.disk_takes(Duration::ZERO).await;
        self.host.stop().await;
    }
}
