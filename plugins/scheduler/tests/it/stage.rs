//! What the tests of the plugin have in common: hosts, schedules, and ways to make them due.

use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A host with jobs and schedules, and a plugin that has kinds of jobs and a schedule.
pub(crate) fn builder() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-fixture")
        .plugin("nself-plugin-jobs")
        .plugin("nself-plugin-scheduler")
        .plugin("nself-plugin-fixture-caller")
}

pub(crate) async fn host() -> TestHost {
    builder().start().await
}

/// A target that is over at once.
pub(crate) fn nothing() -> Value {
    json!({"job": {"kind": "fixture-caller.nothing"}})
}

/// A target that is not over before somebody cancels it: nobody works jobs of that kind.
pub(crate) fn endless() -> Value {
    json!({"job": {"kind": "nobody.knows"}})
}

/// Makes a schedule; `more` are further fields of its definition.
pub(crate) async fn create(
    host: &TestHost,
    name: &str,
    spec: &str,
    target: Value,
    more: Value,
) -> Value {
    let mut body = json!({"name": name, "spec": spec, "target": target});
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("fields").clone());
    let answer = host
        .post("/v1/schedules")
        .operator()
        .json(&body)
        .send()
        .await;
    answer.expect_status(201).data()
}

/// A schedule as the operator sees it.
pub(crate) async fn show(host: &TestHost, name: &str) -> Value {
    let answer = host
        .get(&format!("/v1/schedules/{name}"))
        .operator()
        .send()
        .await;
    answer.expect_status(200).data()
}

/// Does something with a schedule.
pub(crate) async fn act(host: &TestHost, name: &str, action: &str, body: Value) -> Value {
    let path = format!("/v1/schedules/{name}/{action}");
    let answer = host.post(&path).operator().json(&body).send().await;
    answer.expect_status(200).data()
}

/// Makes a schedule due at this moment.
pub(crate) async fn make_due(sql: &Client, name: &str) {
    let due = "with moved as (update scheduler.schedules set next_at = clock_timestamp(), due_at = clock_timestamp() where name = $1 returning 1) \
               select pg_notify('nself_scheduler', '') from moved";
    assert_eq!(
        sql.query(due, &[&name]).await.expect("it is moved").len(),
        1
    );
}

/// What became of the times of a schedule, in their order.
pub(crate) async fn outcomes(sql: &Client, name: &str) -> Vec<String> {
    let query = "select f.outcome from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.name = $1 order by f.nominal_at";
    let rows = sql.query(query, &[&name]).await.expect("the query runs");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits for what becomes of the times of a schedule.
pub(crate) async fn until_outcomes(sql: &Client, name: &str, wanted: &[&str]) {
    eventually(&format!("{name} is {wanted:?}"), async || {
        (outcomes(sql, name).await == wanted).then_some(())
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

/// Waits until a query counts so many.
pub(crate) async fn until_count(sql: &Client, query: &str, wanted: i64) {
    eventually(&format!("{query} counts {wanted}"), async || {
        (count(sql, query).await == wanted).then_some(())
    })
    .await;
}
