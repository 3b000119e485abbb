//! Ten thousand runs that sleep.

use std::fs;

use nself_plugin_testkit::{HostProcess, eventually};
use serde_json::json;
use tokio_postgres::Client;

use super::kills::stand_by;
use crate::stage::{builder, count, definition, put, start, until, until_count};

const SLEEPERS: i32 = 10_000;
const WOKEN: i64 = 200;

/// More like that one, each with its own timer.
async fn copies(sql: &Client, run: &str) {
    let copy = format!(
        "with one as (select i, convert_from(i.state, 'UTF8') as state, n from orchestrator.instances i \
             join orchestrator.needs n on n.instance_id = i.id where i.id = '{run}'), \
         made as (insert into orchestrator.instances (id, definition_id, namespace, name, version, status, input, state, created_by, epoch, records) \
             select g.id, (o.i).definition_id, (o.i).namespace, (o.i).name, (o.i).version, (o.i).status, (o.i).input, \
                 convert_to(replace(o.state, '{run}', g.id::text), 'UTF8'), (o.i).created_by, (o.i).epoch, (o.i).records \
             from one o, (select nself.uuid_v7() as id from generate_series(1, {SLEEPERS})) g returning id) \
         insert into orchestrator.needs (instance_id, need, kind, due_at, job_id) \
         select m.id, (o.n).need, (o.n).kind, (o.n).due_at, \
             jobs.enqueue('orchestrator.timer', jsonb_build_object('instance', m.id, 'need', (o.n).need), jsonb_build_object('run_at', (o.n).due_at)) \
         from made m, one o"
    );
    sql.batch_execute(&copy).await.expect("they sleep");
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

/// Waits until less than two transactions a second happen. Time is the database's, so a slow machine makes the rate lower and never
/// higher. Sessions tell what they did some seconds later: the first stretch is not idle yet.
async fn until_quiet(sql: &Client) {
    let look = "select xact_commit, extract(epoch from clock_timestamp())::float8 from pg_stat_database where datname = current_database()";
    let mut last: Option<(i64, f64)> = None;
    eventually("less than two transactions a second", async || {
        let slept = sql.query_one("select pg_sleep(5)", &[]).await;
        slept.expect("time goes by");
        let row = sql.query_one(look, &[]).await.expect("counters");
        let now = (row.get(0), row.get(1));
        let (before, from) = last.replace(now)?;
        // Two of them are this look and its pause.
        let commits = i32::try_from(now.0 - before - 2).expect("few commits");
        let rate = f64::from(commits) / (now.1 - from);
        println!("a host with sleeping runs: {rate:.2} transactions/s");
        (rate < 2.0).then_some(())
    })
    .await;
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
    until_quiet(&sql).await;
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
