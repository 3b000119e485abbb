//! Ten thousand runs that sleep.

use std::{fs, time::Duration};

use nself_plugin_testkit::{HostProcess, until_quiet};
use serde_json::json;
use tokio_postgres::Client;

use super::kills::stand_by;
use crate::stage::{builder, count, definition, put, start, until, until_count};

const SLEEPERS: i32 = 10_000;
const WOKEN: i64 = 200;
const STRETCH: Duration = Duration::from_secs(5);

/// More like that one, each with its own timer.
async fn copies(sql: &Client, run: &str) {
    let copy = include_str!("../../sleepers.sql");
    let copied = sql.execute(copy, &[&run, &SLEEPERS]).await;
    copied.expect("they sleep");
    sql.batch_execute("vacuum analyze")
        .await
        .expect("tidied up");
}

/// Memory of a host that is no file's, in KiB.
fn own_kib(host: &HostProcess) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("its memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_runs_that_sleep_cost_neither_memory_nor_questions_and_wake_when_they_are_due()
{
    let host = builder().start().await;
    let sql = host.sql().await;
    let sleep = "  - rest:\n      wait: {days: 30}\n  - done:\n      set: {rested: true}\n";
    put(&host, "sleep", &definition("sleep", "", sleep)).await;
    let first = start(&host, "sleep", json!({}), 0).await["id"].clone();
    until(&host, &first, "waiting").await;
    stand_by(&host).await;
    let driver = host.process_beside().start().await;
    until_count(&sql, "select count(*) from jobs.hosts", 1).await;
    let before = own_kib(&driver);
    copies(&sql, first.as_str().expect("an id")).await;
    until_quiet(&sql, "a host with sleeping runs", STRETCH, 2.0).await;
    let more = own_kib(&driver) - before;
    println!("a host with {SLEEPERS} sleeping runs: {more} KiB more than without");
    assert!(more < 8 << 10, "{more} KiB for runs that sleep");

    let wake = format!(
        "with due as (update orchestrator.needs n set due_at = clock_timestamp() \
             where n.instance_id in (select o.instance_id from orchestrator.needs o limit {WOKEN}) returning n.job_id) \
         update jobs.later l set run_at = clock_timestamp() from due d where l.id = d.job_id"
    );
    sql.batch_execute(&wake).await.expect("they are due");
    sql.batch_execute("select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues")
        .await
        .expect("the hosts are told");
    let rested = "select count(*) from orchestrator.instances where status = 'completed' and output = '{\"rested\": true}'";
    until_count(&sql, rested, WOKEN).await;
    let asleep = "select count(*) from orchestrator.instances where status = 'waiting'";
    assert_eq!(count(&sql, asleep).await, i64::from(SLEEPERS) + 1 - WOKEN);
    driver.kill().await;
    host.stop().await;
}
