//! Limits: whoever meets one reads which setting bounds him and what it is.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{act, definition, ended, home, host, host_with, pause, put, start, until};

const REST: &str = "  - rest: {wait: {days: 30}}\n";

/// What ended a run of these tasks.
async fn fault(host: &TestHost, name: &str, tasks: &str, input: Value) -> String {
    put(host, name, &definition(name, "", tasks)).await;
    let started = start(host, name, input, 0).await;
    let ended = ended(host, &started["id"]).await;
    assert_eq!(ended["status"], "faulted", "{name}: {ended}");
    let detail = ended["error"]["detail"].as_str().expect("what it was");
    detail.to_owned()
}

#[track_caller]
fn check(said: &str, key: &str, value: u32) {
    let setting = format!("{key} of [plugins.orchestrator.config], which is {value}");
    assert!(said.contains(&setting), "{setting} in {said}");
}

#[tokio::test]
async fn as_many_tasks_as_the_history_may_have_rows_and_no_more() {
    let host = host_with("history_max = 50").await;
    // Such a one writes nothing on its way.
    let tasks = "  - again: {set: {n: 1}, then: again}\n";
    check(
        &fault(&host, "again", tasks, json!({})).await,
        "history_max",
        50,
    );
    let tasks = "  - rest: {wait: {milliseconds: 1}, then: rest}\n";
    check(
        &fault(&host, "slow", tasks, json!({})).await,
        "history_max",
        50,
    );
    host.stop().await;
}

#[tokio::test]
async fn as_many_branches_as_are_allowed_and_no_more() {
    let host = host_with("branches_max = 3").await;
    let tasks = "  - wide: {fork: {branches: [{a: {set: {n: 1}}}, {b: {set: {n: 1}}}, {c: {set: {n: 1}}}]}}\n";
    check(
        &fault(&host, "wide", tasks, json!({})).await,
        "branches_max",
        3,
    );
    host.stop().await;
}

#[tokio::test]
async fn data_that_a_run_keeps_and_values_that_an_expression_makes() {
    let host = host_with("state_bytes_max = 20000").await;
    let tasks = "  - keep: {set: {all: '${ . }', more: '${ . }'}}\n  - rest: {wait: {days: 1}}\n";
    let input = json!({"text": "x".repeat(11_000)});
    check(
        &fault(&host, "kept", tasks, input).await,
        "state_bytes_max",
        20_000,
    );
    for (name, expression) in [
        ("grown", "reduce range(60) as $i (\"x\"; . + .)"),
        ("repeated", "\"x\" * 1000000"),
    ] {
        let tasks = format!("  - make: {{set: {{text: '${{ {expression} }}'}}}}\n");
        let said = fault(&host, name, &tasks, json!({})).await;
        check(&said, "state_bytes_max", 20_000);
    }
    host.stop().await;
}

#[tokio::test]
async fn an_expression_without_end_and_what_is_nested_too_deep_meet_what_no_setting_changes() {
    let host = host().await;
    for (name, tasks) in [
        ("endless", "  - make: {set: {n: '${ last(repeat(1)) }'}}\n"),
        (
            "children",
            "  - deeper: {run: {workflow: {namespace: test, name: children, version: latest}}}\n",
        ),
    ] {
        let said = fault(&host, name, tasks, json!({})).await;
        assert!(said.contains("no setting changes"), "{name}: {said}");
    }
    let text = definition(
        "nested",
        "use: {functions: {f: {do: [{g: {call: f}}]}}}\n",
        "  - a: {call: f}\n",
    );
    put(&host, "nested", &text).await;
    let started = start(&host, "nested", json!({}), 0).await;
    let ended = until(&host, &started["id"], "faulted").await;
    let said = ended["error"].to_string();
    assert!(said.contains("no setting changes"), "{said}");
    host.stop().await;
}

#[tokio::test]
async fn runs_of_a_family() {
    let host = host_with("family_instances_max = 2").await;
    put(&host, "rest", &definition("rest", "", REST)).await;
    let family = Uuid::now_v7();
    let start = async || {
        let path = "/v1/workflows/test/rest/1.0.0/runs";
        let request = host.post(path).role(Role::Owner, family);
        request.json(&json!({})).send().await
    };
    let first = start().await.expect_status(201).data();
    start().await.expect_status(201).data();
    let refused = start().await;
    assert_eq!(refused.code(), "WORKFLOW_TOO_MANY");
    check(&refused.text(), "family_instances_max", 2);
    // One that ends makes room.
    act(&host, &first["id"], "cancel").await;
    until(&host, &first["id"], "cancelled").await;
    start().await.expect_status(201).data();
    host.stop().await;
}

#[tokio::test]
async fn commands_of_a_device_asked_for_by_people_and_by_workflows() {
    let host = host_with("device_commands_max = 1").await;
    let home = home(&host).await;
    pause(&host, &home).await;
    let path = format!("/v1/devices/{}/commands", home.device);
    let request = host.post(&path).role(Role::Owner, home.family);
    let refused = request.json(&json!({"name": "player.pause"})).send().await;
    assert_eq!(refused.code(), "COMMAND_TOO_MANY");
    check(&refused.text(), "device_commands_max", 1);
    let tasks = "  - ring:\n      call: device-command@default\n      with: {device: '${ $workflow.input.device }', name: bell.ring}\n";
    let said = fault(&host, "ring", tasks, json!({"device": home.device})).await;
    check(&said, "device_commands_max", 1);
    host.stop().await;
}
