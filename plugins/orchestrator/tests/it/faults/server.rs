//! A database server that crashes under two hosts, and one that is away for a while.

use std::time::SystemTime;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use crate::stage::{builder, count, definition, put, start, until_count};

const RUNS: i64 = 40;
const OPEN: &str = "select count(*) from orchestrator.instances where ended_at is null";
const DONE: &str = "select count(*) from orchestrator.history where status = 'completed'";

/// Six steps, each with a commit of its own.
fn tasks() -> String {
    let step = |number: usize| {
        format!(
            "  - step{number}:\n      set: {{n: '${{ (.n // 0) + 1 }}'}}\n  - rest{number}:\n      wait: {{milliseconds: 30}}\n"
        )
    };
    (0..6).map(step).collect()
}

/// The server's connection, as soon as it takes one.
async fn reconnected(host: &TestHost) -> Client {
    eventually("the server takes connections", async || {
        let config = host.database().config();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    })
    .await
}

async fn until_more(sql: &Client, steps: i64) {
    let wanted = count(sql, DONE).await + steps;
    eventually(&format!("{wanted} steps"), async || {
        (count(sql, DONE).await >= wanted || count(sql, OPEN).await == 0).then_some(())
    })
    .await;
}

/// Every run went through all of its steps, each once.
async fn judge(sql: &Client) {
    until_count(sql, OPEN, 0).await;
    let good = "select count(*) from orchestrator.instances where status = 'completed' and output = '{\"n\": 6}'";
    assert_eq!(count(sql, good).await, RUNS);
    let steps = "select count(distinct (instance_id, position)) from orchestrator.history where status = 'completed'";
    assert_eq!(count(sql, DONE).await, RUNS * 12);
    assert_eq!(count(sql, steps).await, RUNS * 12);
    let ends = "select count(*) from nself.events where type = 'workflow.completed'";
    assert_eq!(count(sql, ends).await, RUNS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_go_on_where_they_were_when_the_server_crashes_under_them() {
    let host = builder().own_server().start().await;
    let mut other = host.process_beside().start().await;
    let mut sql = host.sql().await;
    put(&host, "steps", &definition("steps", "", &tasks())).await;
    for _ in 0..RUNS {
        start(&host, "steps", json!({}), 0).await;
    }
    for _ in 0..2 {
        until_more(&sql, 30).await;
        let before: SystemTime = started_at(&sql).await;
        host.database().crash_and_restart();
        sql = reconnected(&host).await;
        assert!(started_at(&sql).await > before, "it is another server");
    }
    judge(&sql).await;
    assert!(other.runs(), "the same hosts go on");
    host.stop().await;
}

async fn started_at(sql: &Client) -> SystemTime {
    let row = sql
        .query_one("select pg_postmaster_start_time()", &[])
        .await;
    row.expect("the server says when it started").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_rest_while_the_database_is_away_and_go_on_when_it_is_back() {
    let host = builder().start().await;
    let sql = host.sql().await;
    put(&host, "steps", &definition("steps", "", &tasks())).await;
    for _ in 0..RUNS {
        start(&host, "steps", json!({}), 0).await;
    }
    until_more(&sql, 30).await;
    drop(sql);
    host.database_away().await.end().await;
    judge(&reconnected(&host).await).await;
    host.stop().await;
}
