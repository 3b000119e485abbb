//! Hosts that are killed.

use std::time::SystemTime;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use super::ledger::{
    any_below, assert_each_done_once, builder, by_job, enqueue, held_by, runs, until_completed,
};
use crate::stage::{count, until_count};

/// A host that has places for all jobs of a test.
const ROOMY: &str = "[plugins.jobs.config]\njobs_at_once = 1000";

async fn now(sql: &Client) -> SystemTime {
    let row = sql.query_one("select clock_timestamp()", &[]).await;
    row.expect("the database has a clock").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_jobs_of_a_killed_host_run_elsewhere_within_ten_seconds() {
    let host: TestHost = builder().start().await;
    let sql = host.sql().await;
    let other = host.process_beside().config(ROOMY).start().await;
    let process = other.pid();
    // The first attempt takes longer than the host that makes it lives.
    let ids = enqueue(&sql, 1_100, &json!({"first_ms": 9_000}), &json!({})).await;
    until_count(&sql, "select count(*) from ledger.runs", 1_100).await;
    let held = held_by(&sql, &other).await;
    assert!(held >= 900, "{held} jobs are in flight");
    let killed_at = now(&sql).await;
    other.kill().await;

    until_completed(&sql, ids.len()).await;
    let runs = runs(&sql).await;
    assert_each_done_once(&runs, &ids);
    for (job, runs) in by_job(&runs) {
        let attempts: Vec<i32> = runs.iter().map(|run| run.attempt).collect();
        if runs[0].process == process {
            assert_eq!(attempts, [1, 2], "{job} was taken from a host that died");
        } else {
            assert_eq!(attempts, [1], "{job} was on a host that lives");
        }
    }
    let last = sql
        .query_one(
            "select max((meta -> 'errors' -> 0 ->> 'at')::timestamptz), count(*) from jobs.finished \
             where meta -> 'errors' -> 0 ->> 'code' = 'HOST_DIED'",
            &[],
        )
        .await
        .expect("the finished jobs");
    assert_eq!(last.get::<_, i64>(1), held);
    let took = last.get::<_, SystemTime>(0).duration_since(killed_at);
    let took = took.expect("they came back after it").as_secs_f64();
    assert!(
        took <= 10.0,
        "the last one was available again after {took} s"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_random_moments_lose_nothing() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let (mut ids, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let other = host.process_beside().start().await;
        ids.extend(enqueue(&sql, 200, &json!({"ms": 15}), &json!({})).await);
        // At any moment from its beginning to its last job.
        let (process, wanted) = (other.pid(), any_below(60));
        let moment = format!(
            "select (select count(*) from ledger.runs where process = {process}) + \
             case when exists (select from jobs.ready) then 0 else 100 end"
        );
        eventually("it has begun some jobs, or there are none", async || {
            (count(&sql, &moment).await >= wanted).then_some(())
        })
        .await;
        killed.push(other.pid());
        other.kill().await;
    }
    let over = format!(
        "select {} - count(*) from jobs.jobs where state in ('completed', 'discarded')",
        ids.len()
    );
    until_count(&sql, &over, 0).await;
    assert_eq!(
        count(
            &sql,
            "select count(*) - count(distinct id) from jobs.finished"
        )
        .await,
        0,
        "none is completed twice"
    );
    let runs = runs(&sql).await;
    // Whoever ran alone when a host died for the third time is taken for its cause, and nobody else is given up.
    let discarded = sql
        .query("select id, error ->> 'code', attempt from jobs.dead", &[])
        .await
        .expect("discarded jobs");
    let discarded: Vec<i64> = discarded
        .iter()
        .inspect(|row| assert_eq!(row.get::<_, &str>(1), "JOB_KILLS_HOST"))
        .inspect(|row| assert!(row.get::<_, i16>(2) >= 3))
        .map(|row| row.get(0))
        .collect();
    assert!(discarded.len() <= 3, "{discarded:?}");
    let jobs = by_job(&runs);
    for id in ids.iter().filter(|id| !discarded.contains(id)) {
        let runs = jobs.get(id).unwrap_or_else(|| panic!("job {id} never ran"));
        let (last, before) = runs.split_last().expect("there is one");
        // Only what a host that died had is tried again, so the rest of them are on hosts that were killed.
        let others = before.iter().all(|run| killed.contains(&run.process));
        assert!(others, "{runs:?}");
        assert!(last.ended.is_some(), "{runs:?}");
    }
    host.stop().await;
}
