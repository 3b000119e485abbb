//! What the tests have in common: hosts with the plugin and one that has kinds, and ways to enqueue and to look.

use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A host with the plugin, and one whose jobs add, wait and fail.
pub(crate) fn builder() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-fixture")
        .plugin("nself-plugin-jobs")
        .plugin("nself-plugin-fixture-caller")
}

pub(crate) async fn host() -> TestHost {
    builder().start().await
}

/// Enqueues over HTTP; the job's id.
pub(crate) async fn enqueue(host: &TestHost, kind: &str, payload: Value, options: Value) -> i64 {
    let body = json!({"kind": kind, "payload": payload, "options": options});
    let answer = host.post("/v1/jobs").operator().json(&body).send().await;
    answer.expect_status(201).data()["id"]
        .as_i64()
        .expect("an id")
}

/// A job as the operator sees it.
pub(crate) async fn job(host: &TestHost, id: i64) -> Value {
    let answer = host.get(&format!("/v1/jobs/{id}")).operator().send().await;
    answer.expect_status(200).data()
}

/// Waits until a job is in a state, and returns it.
pub(crate) async fn until(host: &TestHost, id: i64, state: &str) -> Value {
    eventually(&format!("job {id} is {state}"), async || {
        let job = job(host, id).await;
        (job["state"] == state).then_some(job)
    })
    .await
}

/// Waits until that query counts so many.
pub(crate) async fn until_count(sql: &Client, query: &str, wanted: i64) {
    eventually(&format!("{query} counts {wanted}"), async || {
        (count(sql, query).await == wanted).then_some(())
    })
    .await;
}

/// What a query counts.
pub(crate) async fn count(sql: &Client, query: &str) -> i64 {
    sql.query_one(query, &[])
        .await
        .expect("the query runs")
        .get(0)
}

/// Enqueues in SQL; the job's id.
pub(crate) async fn submit(sql: &Client, kind: &str, payload: Value, options: Value) -> i64 {
    let row = sql
        .query_one(
            "select jobs.enqueue($1, $2, $3)",
            &[&kind, &payload, &options],
        )
        .await;
    row.expect("it is enqueued").get(0)
}
