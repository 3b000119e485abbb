//! What the command line asks for, and graphs.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{builder, definition, host, put, start, until};

const ECHO: &str = "  - tell:\n      set: {told: '${ $workflow.input.cup }'}\n";

async fn run(host: &TestHost, body: Value) -> Value {
    let request = host
        .post("/v1/orchestrator/workflows/test/echo/runs")
        .operator();
    request.json(&body).send().await.expect_status(201).data()
}

#[tokio::test]
async fn an_operator_starts_a_version_with_an_input_and_waits_for_its_end() {
    let host = host().await;
    let text = definition("echo", "", ECHO);
    put(&host, "echo", &text).await;
    let newer = text
        .replace("version: '1.0.0'", "version: '2.0.0'")
        .replace("told", "said");
    let request = host.post("/v1/workflow-definitions").operator();
    assert_eq!(request.body(newer).send().await.status, 200);
    let ended = run(
        &host,
        json!({"version": "1.0.0", "input": {"cup": 2}, "wait": true}),
    )
    .await;
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("completed"), &json!({"told": 2}))
    );
    let ended = run(&host, json!({"input": {"cup": 3}, "wait": true})).await;
    assert_eq!(ended["output"], json!({"said": 3}));
    let request = host.post("/v1/workflow-definitions/validate").operator();
    let good = request.body(text).send().await.data();
    assert_eq!(
        good,
        json!({"namespace": "test", "name": "echo", "version": "1.0.0"})
    );
    host.stop().await;
}

#[tokio::test]
async fn a_part_of_an_id_is_enough_for_an_operator_when_it_is_of_one_run() {
    let host = host().await;
    put(&host, "echo", &definition("echo", "", ECHO)).await;
    let first = run(&host, json!({"wait": true})).await;
    run(&host, json!({"wait": true})).await;
    let id = first["id"].as_str().expect("an id");
    let ask = async |part: &str| {
        let path = format!("/v1/orchestrator/runs/{part}/history");
        host.get(&path).operator().send().await
    };
    for part in [id, &id[24..], &id[..30].to_uppercase()] {
        let rows = ask(part).await.expect_status(200).data();
        assert!(
            rows.as_array().is_some_and(|rows| !rows.is_empty()),
            "{part}"
        );
    }
    // Both begin with the same time, and a part may hold nothing but what an id is written with.
    for part in [&id[..4], "zzzz", "%25%25%25%25", "12"] {
        assert_eq!(ask(part).await.code(), "WORKFLOW_RUN_NOT_FOUND", "{part}");
    }
    let path = format!("/v1/workflow-runs/{}", &id[24..]);
    let asked = host
        .get(&path)
        .role(Role::Owner, Uuid::now_v7())
        .send()
        .await;
    assert_eq!(asked.code(), "WORKFLOW_RUN_NOT_FOUND");
    host.stop().await;
}

#[tokio::test]
async fn a_run_is_drawn_in_the_colours_of_its_tasks_for_who_may_see_it() {
    let host = builder().start().await;
    let tasks =
        format!("{ECHO}  - rest:\n      wait: {{days: 30}}\n  - never:\n      set: {{x: 1}}\n");
    put(&host, "drawn", &definition("drawn", "", &tasks)).await;
    let started = start(&host, "drawn", json!({}), 0).await;
    until(&host, &started["id"], "waiting").await;
    let id = started["id"].as_str().expect("an id");
    let run = format!("/v1/workflow-runs/{id}/graph");
    let mermaid = host.get(&run).operator().send().await;
    assert_eq!(mermaid.status, 200, "{}", mermaid.text());
    let text = mermaid.text();
    for line in [
        "n2[\"tell<br/>set\"]",
        "n2 --> n3",
        "class n3 started",
        "class n2 completed",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let svg = host
        .get(&format!("{run}?format=svg"))
        .operator()
        .send()
        .await
        .text();
    for part in [
        "data-task=\"/do/0/tell\" data-status=\"completed\"",
        "data-task=\"/do/1/rest\" data-status=\"started\"",
        "data-task=\"/do/2/never\" data-status=\"none\"",
    ] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    let definition = "/v1/workflows/test/drawn/latest/graph";
    for (path, role, status) in [
        (&*run, Role::Owner, 404),
        (definition, Role::Owner, 200),
        (definition, Role::ChildMember, 404),
    ] {
        let asked = host.get(path).role(role, Uuid::now_v7()).send().await;
        assert_eq!(asked.status, status, "{path} as {}", role.name());
    }
    let wrong = host
        .get(&format!("{run}?format=png"))
        .operator()
        .send()
        .await;
    assert_eq!(wrong.code(), "WORKFLOW_INVALID");
    host.stop().await;
}
