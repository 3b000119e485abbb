//! How many runs of a family may be open: counted where they are made, whoever makes them and however many at once.

use nself_plugin_api::futures_util::future::join_all;
use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{Answer, TestHost};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{act, builder, count, definition, ended, host_with, put, until, until_count};

const REST: &str = "  - rest: {wait: {days: 30}}\n";
const OPEN: &str = "select count(*) from orchestrator.instances where ended_at is null";

async fn begin(host: &TestHost, family: Uuid, name: &str) -> Answer {
    let path = format!("/v1/workflows/test/{name}/1.0.0/runs");
    let request = host.post(&path).role(Role::Owner, family);
    request.json(&json!({})).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_starts_at_once_on_two_hosts_are_never_more_than_the_limit() {
    let config = "[plugins.orchestrator.config]\nfamily_instances_max = 10\n";
    let host = builder().config(config).start().await;
    let beside = host.beside().config(config).start().await;
    put(&host, "rest", &definition("rest", "", REST)).await;
    let family = Uuid::now_v7();
    let hosts = [&host, &beside];
    let starts = (0..32).map(|number| begin(hosts[number % 2], family, "rest"));
    let answers = join_all(starts).await;
    let begun = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 429);
    assert_eq!((begun, refused.count()), (10, 22));
    let sql = host.sql().await;
    assert_eq!(count(&sql, OPEN).await, 10);
    // Another family has its own.
    let other = begin(&host, Uuid::now_v7(), "rest").await;
    assert_eq!(other.status, 201, "{}", other.text());
    beside.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn children_are_counted_and_one_too_many_is_an_error_of_its_task() {
    let host = host_with("family_instances_max = 3").await;
    put(&host, "rest", &definition("rest", "", REST)).await;
    let child = "run: {workflow: {namespace: test, name: rest, version: latest}, await: false}";
    let tasks = format!(
        "  - each:\n      for: {{each: x, in: '[1, 2, 3, 4]'}}\n      do:\n        - child: {{{child}}}\n"
    );
    put(&host, "parent", &definition("parent", "", &tasks)).await;
    let family = Uuid::now_v7();
    let begun = begin(&host, family, "parent").await;
    let begun = begun.expect_status(201).data();
    let failed = ended(&host, &begun["id"]).await;
    let said = failed["error"]["detail"].to_string();
    assert!(
        said.contains("family_instances_max of [plugins.orchestrator.config], which is 3"),
        "{failed}"
    );
    let sql = host.sql().await;
    // The parent was one of three, and has ended with its error.
    assert_eq!(count(&sql, OPEN).await, 2);
    assert_eq!(begin(&host, family, "rest").await.status, 201);
    let full = begin(&host, family, "rest").await;
    assert_eq!(full.code(), "WORKFLOW_TOO_MANY");
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_failed_is_not_tried_again_where_there_is_no_room() {
    let host = host_with("family_instances_max = 1").await;
    put(&host, "rest", &definition("rest", "", REST)).await;
    let fails = "  - fail: {raise: {error: {type: 'https://example.org/x', status: 418}}}\n";
    put(&host, "fails", &definition("fails", "", fails)).await;
    let family = Uuid::now_v7();
    let failed = begin(&host, family, "fails").await;
    let failed = failed.expect_status(201).data();
    until(&host, &failed["id"], "faulted").await;
    let resting = begin(&host, family, "rest").await;
    let resting = resting.expect_status(201).data();
    let refused = act(&host, &failed["id"], "retry").await;
    assert_eq!(refused.code(), "WORKFLOW_TOO_MANY", "{}", refused.text());
    act(&host, &resting["id"], "cancel").await;
    until(&host, &resting["id"], "cancelled").await;
    assert_eq!(act(&host, &failed["id"], "retry").await.status, 200);
    host.stop().await;
}

#[tokio::test]
async fn an_event_and_a_job_start_nothing_where_there_is_no_room() {
    let host = host_with("family_instances_max = 1").await;
    let more = "schedule: {on: {one: {with: {type: org.example.tea}}}}\n";
    put(&host, "rest", &definition("rest", more, REST)).await;
    let family = Uuid::now_v7();
    let send = async |id: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": "/kitchen", "type": "org.example.tea"});
        let request = host.post("/v1/events").role(Role::Owner, family);
        let request = request.header("content-type", "application/cloudevents+json");
        request.body(event.to_string()).send().await
    };
    let sql = host.sql().await;
    assert_eq!(send("1").await.status, 200);
    until_count(&sql, OPEN, 1).await;
    assert_eq!(send("2").await.status, 200);
    let offered = "select count(*) from orchestrator.events where is_offered";
    until_count(&sql, offered, 2).await;
    assert_eq!(count(&sql, OPEN).await, 1);

    let job = "select jobs.enqueue('orchestrator.start', '{\"namespace\": \"test\", \"name\": \"rest\"}', \
               jsonb_build_object('family_id', $1::text::uuid, 'retry', '{\"strategy\": \"fixed\", \"base\": 1, \"jitter\": \"none\"}'::jsonb))";
    let job: i64 = sql
        .query_one(job, &[&family.to_string()])
        .await
        .expect("a job")
        .get(0);
    let state = format!("select count(*) from jobs.jobs where id = {job} and state = 'retryable'");
    until_count(&sql, &state, 1).await;
    assert_eq!(count(&sql, OPEN).await, 1);
    let open = "select id::text from orchestrator.instances where ended_at is null";
    let id: String = sql.query_one(open, &[]).await.expect("a run").get(0);
    act(&host, &Value::from(id), "cancel").await;
    // It is tried again, and there is room then.
    let started = "select count(*) from orchestrator.instances where key like 'job/%'";
    until_count(&sql, started, 1).await;
    host.stop().await;
}
