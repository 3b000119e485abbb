//! A database whose clock jumps. Runs are told the time by it alone.

use nself_plugin_testkit::{DatabaseClock, TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::kills::stand_by;
use crate::stage::{builder, definition, history, put, send, start, until};

/// Brings all delayed jobs forward: the jobs plugin's own clock is out of reach.
async fn jump_of_jobs(sql: &Client, by: &str) {
    let jump = format!("update jobs.later set run_at = run_at - interval '{by}'");
    sql.batch_execute(&jump).await.expect("it jumps");
    sql.batch_execute("select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues")
        .await
        .expect("the hosts are told");
}

async fn tea(host: &TestHost, id: &str) {
    let event = json!({"specversion": "1.0", "id": id, "source": "/kitchen", "type": "org.example.tea", "data": {"id": id}});
    send(host, &event).await.expect_status(200).data();
}

async fn begin(host: &TestHost, name: &str) -> Value {
    let run = start(host, name, json!({}), 0).await["id"].clone();
    until(host, &run, "waiting").await;
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_an_hour_either_way_loses_neither_a_timer_nor_an_event() {
    let first = builder().start().await;
    let sql = first.sql().await;
    let clock = DatabaseClock::put(&first, "orchestrator").await;
    stand_by(&first).await;
    // All of its sessions have the clock.
    let host = first.beside().start().await;
    let hear = "  - hear:\n      listen: {to: {one: {with: {type: org.example.tea}}}}\n";
    put(&host, "hear", &definition("hear", "", hear)).await;
    let late = format!("  - rest:\n      wait: {{seconds: 2}}\n{hear}");
    put(&host, "late", &definition("late", "", &late)).await;
    let half = "  - rest:\n      wait: {minutes: 30}\n";
    put(&host, "half", &definition("half", "", half)).await;
    let done = "  - rest:\n      wait: {seconds: 2}\n  - done:\n      set: {done: true}\n";
    put(&host, "short", &definition("short", "", done)).await;

    // Back, between the start of a run and what it waits for.
    let (half, short) = (begin(&host, "half").await, begin(&host, "short").await);
    let (heard, early) = (begin(&host, "hear").await, begin(&host, "late").await);
    clock.jump("-1 hour").await;
    tea(&host, "back").await;
    assert_eq!(
        until(&host, &heard, "completed").await["output"],
        json!([{"id": "back"}])
    );
    // Its timer fires when its job is due; that the clock says otherwise by now must not lose it.
    until(&host, &short, "completed").await;
    assert_eq!(
        until(&host, &early, "completed").await["output"],
        json!([{"id": "back"}])
    );

    // Ahead: what slept for half an hour is due. What came before a run is still not for it.
    clock.jump("1 hour").await;
    jump_of_jobs(&sql, "1 hour").await;
    until(&host, &half, "completed").await;
    let rows = history(&host, &half).await;
    let rested = rows
        .iter()
        .find(|row| row["status"] == "completed")
        .expect("it rested");
    assert!(
        rested["at"].as_str() > rested["started_at"].as_str(),
        "{rested}"
    );
    let later = begin(&host, "hear").await;
    clock.jump("0").await;
    tea(&host, "ahead").await;
    assert_eq!(
        until(&host, &later, "completed").await["output"],
        json!([{"id": "ahead"}])
    );
    eventually("nothing is left open", async || {
        let left = "select count(*) from orchestrator.needs";
        let left: i64 = sql.query_one(left, &[]).await.expect("needs").get(0);
        (left == 0).then_some(())
    })
    .await;
    host.stop().await;
    first.stop().await;
}
