//! Events in and out.

use nself_plugin_api::manifest::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{definition, host, put, send, start, until};

const LISTEN: &str = "  - hear:\n      listen:\n        to:\n          one:\n            with: {type: org.example.tea}\n  - tell:\n      set: {heard: '${ .[0].cup }'}\n";

fn tea(id: &str, cup: u32) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/kitchen", "type": "org.example.tea", "data": {"cup": cup}})
}

#[tokio::test]
async fn an_event_wakes_who_listens_and_the_same_once_more_nobody() {
    let host = host().await;
    put(&host, "hear", &definition("hear", "", LISTEN)).await;
    let started = start(&host, "hear", json!({}), 0).await;
    until(&host, &started["id"], "waiting").await;
    let mut other = tea("0", 1);
    other["type"] = json!("org.example.coffee");
    assert_eq!(
        send(&host, &other).await.data(),
        json!({"received": 1, "new": 1})
    );
    assert_eq!(
        send(&host, &tea("1", 7)).await.data(),
        json!({"received": 1, "new": 1})
    );
    assert_eq!(
        send(&host, &tea("1", 7)).await.data(),
        json!({"received": 1, "new": 0})
    );
    let ended = until(&host, &started["id"], "completed").await;
    assert_eq!(ended["output"], json!({"heard": 7}));
    host.stop().await;
}

#[tokio::test]
async fn an_event_that_comes_before_its_listener_is_not_lost() {
    let host = host().await;
    let tasks = format!("  - rest:\n      wait: {{milliseconds: 1500}}\n{LISTEN}");
    put(&host, "late", &definition("late", "", &tasks)).await;
    let started = start(&host, "late", json!({}), 0).await;
    until(&host, &started["id"], "waiting").await;
    send(&host, &tea("1", 3)).await.expect_status(200).data();
    let ended = until(&host, &started["id"], "completed").await;
    assert_eq!(ended["output"], json!({"heard": 3}));
    host.stop().await;
}

#[tokio::test]
async fn events_of_one_family_do_not_reach_the_workflows_of_another() {
    let host = host().await;
    put(&host, "hear", &definition("hear", "", LISTEN)).await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let mut runs = Vec::new();
    for family in [ours, theirs] {
        let started = host
            .post("/v1/workflows/test/hear/latest/runs")
            .role(Role::Owner, family)
            .json(&json!({}))
            .send()
            .await
            .expect_status(201)
            .data();
        until(&host, &started["id"], "waiting").await;
        runs.push(started["id"].clone());
    }
    let by = async |family: Uuid, event: Value| {
        host.post("/v1/events")
            .role(Role::Owner, family)
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string())
            .send()
            .await
    };
    let mut forged = tea("f", 1);
    forged["familyid"] = json!(ours);
    assert_eq!(by(theirs, forged).await.code(), "WORKFLOW_EVENT_INVALID");
    by(theirs, tea("1", 2)).await.expect_status(200).data();
    until(&host, &runs[1], "completed").await;
    // Theirs came first, so ours would have got it by now if it got it at all.
    by(ours, tea("1", 5)).await.expect_status(200).data();
    let ended = until(&host, &runs[0], "completed").await;
    assert_eq!(ended["output"], json!({"heard": 5}));
    host.stop().await;
}

#[tokio::test]
async fn events_come_in_binary_and_in_batches() {
    let host = host().await;
    let binary = host
        .post("/v1/events")
        .operator()
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "b1")
        .header("ce-source", "/kitchen")
        .header("ce-type", "org.example.tea")
        .body("{\"cup\": 1}")
        .send()
        .await;
    assert_eq!(binary.data(), json!({"received": 1, "new": 1}));
    let batch = host
        .post("/v1/events")
        .operator()
        .header("content-type", "application/cloudevents-batch+json")
        .body(json!([tea("b1", 1), tea("b2", 2)]).to_string())
        .send()
        .await;
    assert_eq!(batch.data(), json!({"received": 2, "new": 1}));
    let broken = send(&host, &json!({"id": "x"})).await;
    assert_eq!(broken.code(), "WORKFLOW_EVENT_INVALID");
    host.stop().await;
}

#[tokio::test]
async fn what_a_workflow_emits_is_on_the_hosts_log_once_and_another_one_hears_it() {
    let host = host().await;
    put(&host, "hear", &definition("hear", "", LISTEN)).await;
    let tasks = "  - say:\n      emit:\n        event:\n          with:\n            source: https://example.org/kitchen\n            type: org.example.tea\n            data: {cup: 9}\n";
    put(&host, "say", &definition("say", "", tasks)).await;
    let hearing = start(&host, "hear", json!({}), 0).await;
    until(&host, &hearing["id"], "waiting").await;
    let said = start(&host, "say", json!({}), 25).await;
    until(&host, &said["id"], "completed").await;
    let ended = until(&host, &hearing["id"], "completed").await;
    assert_eq!(ended["output"], json!({"heard": 9}));
    let sql = host.sql().await;
    let told = "select count(*) from nself.events where type = 'workflow.emitted' and data ->> 'type' = 'org.example.tea'";
    let told: i64 = sql.query_one(told, &[]).await.expect("the log").get(0);
    assert_eq!(told, 1);
    host.stop().await;
}
