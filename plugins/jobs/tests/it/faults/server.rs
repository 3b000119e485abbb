//! The database server ends and comes back, and its connections end one by one.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use super::ledger::{builder, by_job, done, enqueue, runs, until_begun, until_completed};
use crate::stage::{count, until_count};

/// Jobs that were taken from a host.
const RESCUED: &str =
    "select count(*) from jobs.finished where meta -> 'errors' @> '[{\"code\": \"HOST_DIED\"}]'";

/// Hosts as the database knows them.
async fn hosts(sql: &Client) -> Vec<String> {
    let rows = sql.query("select id::text from jobs.hosts order by id", &[]);
    let rows = rows.await.expect("hosts");
    rows.iter().map(|row| row.get(0)).collect()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_loses_nothing_and_takes_no_host_for_dead() {
    let host = builder().own_server().start().await;
    let mut sql = host.sql().await;
    let mut other = host.process_beside().start().await;
    until_count(&sql, "select count(*) from jobs.hosts", 2).await;
    let before = hosts(&sql).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.extend(enqueue(&sql, 300, &json!({"ms": 100}), &json!({})).await);
        until_begun(&sql, other.pid(), 10).await;
        host.database().crash_and_restart();
        sql = reconnected(&host).await;
        ids.extend(enqueue(&sql, 50, &json!({}), &json!({})).await);
    }
    until_completed(&sql, ids.len()).await;
    assert_eq!(hosts(&sql).await, before, "the same hosts go on");
    assert!(other.runs());
    assert_eq!(count(&sql, RESCUED).await, 0, "nobody was rescued");
    let runs = runs(&sql).await;
    let jobs = by_job(&runs);
    // Attempts whose claims the server has forgotten, and those that could not write while it was away, are made again.
    for id in &ids {
        assert!(jobs.get(id).is_some_and(|runs| done(runs) >= 1), "{id}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_one_by_one_lose_nothing() {
    // Neither of the two can take all.
    let few = "[plugins.jobs.config]\njobs_at_once = 10";
    let host = builder().config(few).start().await;
    let sql = host.sql().await;
    let mut other = host.process_beside().start().await;
    until_count(&sql, "select count(*) from jobs.hosts", 2).await;
    let before = hosts(&sql).await;
    let listening = "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen %nself_jobs%'";
    until_count(&sql, listening, 2).await;
    let mut ids = Vec::new();
    for round in 1..=3 {
        ids.extend(enqueue(&sql, 200, &json!({"ms": 50}), &json!({})).await);
        until_begun(&sql, other.pid(), round).await;
        let backends = sql
            .query(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                 and backend_type = 'client backend'",
                &[],
            )
            .await
            .expect("backends");
        for backend in backends {
            let pid: i32 = backend.get(0);
            sql.query_one("select pg_terminate_backend($1)", &[&pid])
                .await
                .expect("a superuser ends connections");
        }
    }
    until_completed(&sql, ids.len()).await;
    until_count(&sql, listening, 2).await;
    assert_eq!(hosts(&sql).await, before, "the same hosts go on");
    assert!(other.runs());
    assert_eq!(count(&sql, RESCUED).await, 0, "nobody was rescued");
    let runs = runs(&sql).await;
    let jobs = by_job(&runs);
    assert!(
        ids.iter().all(|id| done(&jobs[id]) == 1),
        "each is done once"
    );
    host.stop().await;
}
