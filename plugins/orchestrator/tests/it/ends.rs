//! Ends of runs are events that other workflows hear, and what workflows emit is heard once. Workflows that start one another come to
//! an end.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::stage::{act, count, definition, ended, host, put, start, until, until_count};

const ONE: &str = "  - one: {set: {n: 1}}\n";

/// Listens for the end of a run of one workflow.
fn listener(kind: &str, of: &str) -> String {
    format!(
        "  - hear:\n      listen: {{to: {{one: {{with: {{type: {kind}, data: '${{ .name == \"{of}\" }}'}}}}}}, read: envelope}}\n  - tell: {{set: {{run: '${{ .[0].subject }}', data: '${{ .[0].data }}'}}}}\n"
    )
}

/// Emits an event of that type.
fn emitter(kind: &str) -> String {
    format!(
        "  - say: {{emit: {{event: {{with: {{source: 'https://example.org/kitchen', type: {kind}}}}}}}}}\n"
    )
}

async fn waiting(host: &TestHost, name: &str, tasks: &str) -> Value {
    put(host, name, &definition(name, "", tasks)).await;
    let started = start(host, name, json!({}), 0).await;
    until(host, &started["id"], "waiting").await["id"].clone()
}

#[tokio::test]
async fn a_workflow_hears_how_the_runs_of_another_one_end() {
    let host = host().await;
    for (name, tasks, kind) in [
        ("good", ONE, "workflow.completed"),
        (
            "bad",
            "  - fail: {raise: {error: {type: 'https://example.org/x', status: 418}}}\n",
            "workflow.faulted",
        ),
        (
            "long",
            "  - rest: {wait: {days: 30}}\n",
            "workflow.cancelled",
        ),
    ] {
        let hearing = waiting(&host, &format!("hear-{name}"), &listener(kind, name)).await;
        put(&host, name, &definition(name, "", tasks)).await;
        let begun = start(&host, name, json!({}), 0).await;
        if name == "long" {
            until(&host, &begun["id"], "waiting").await;
            act(&host, &begun["id"], "cancel").await;
        }
        let heard = ended(&host, &hearing).await;
        let data = json!({"namespace": "test", "name": name, "version": "1.0.0"});
        assert_eq!(
            heard["output"],
            json!({"run": begun["id"], "data": data}),
            "{heard}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn what_a_workflow_emits_is_heard_as_itself_once_and_not_from_the_hosts_log_again() {
    let host = host().await;
    // Who hears everything hears the host's copy, if anybody does.
    let all = "  - hear: {listen: {to: {any: [], until: '${ false }'}}}\n";
    let all = waiting(&host, "all", all).await;
    let by_events = definition(
        "begun",
        "schedule: {on: {one: {with: {type: org.example.tea}}}}\n",
        ONE,
    );
    put(&host, "begun", &by_events).await;
    let hearing = waiting(&host, "hear", &listener("workflow.completed", "say")).await;
    put(
        &host,
        "say",
        &definition("say", "", &emitter("org.example.tea")),
    )
    .await;
    start(&host, "say", json!({}), 0).await;
    // Its end stands behind what it emitted, so that was read by now.
    ended(&host, &hearing).await;
    let sql = host.sql().await;
    let begun = "select count(*) from orchestrator.instances where name = 'begun'";
    until_count(&sql, begun, 1).await;
    for (query, expected) in [
        (
            "select count(*) from nself.events where type = 'workflow.emitted'",
            1,
        ),
        (
            "select count(*) from orchestrator.events where type = 'workflow.emitted'",
            0,
        ),
        (
            "select count(*) from orchestrator.events where type = 'org.example.tea'",
            1,
        ),
    ] {
        assert_eq!(count(&sql, query).await, expected, "{query}");
    }
    act(&host, &all, "cancel").await;
    host.stop().await;
}

/// Starts it once; how often it has run when nothing goes on any more.
async fn rounds(host: &TestHost, name: &str) -> i64 {
    start(host, name, json!({}), 0).await;
    let sql = host.sql().await;
    // The event that would start the next one, and starts nothing.
    let last = "select count(*) from orchestrator.events where depth = 32 and is_offered";
    until_count(&sql, last, 1).await;
    let open = "select count(*) from orchestrator.instances where ended_at is null";
    until_count(&sql, open, 0).await;
    let query = format!("select count(*) from orchestrator.instances where name like '{name}%'");
    count(&sql, &query).await
}

#[tokio::test]
async fn a_workflow_that_starts_itself_by_its_end_comes_to_an_end() {
    let host = host().await;
    let more = "schedule: {on: {one: {with: {type: workflow.completed, data: '${ .name == \"again\" }'}}}}\n";
    put(&host, "again", &definition("again", more, ONE)).await;
    assert_eq!(rounds(&host, "again").await, 33);
    // What somebody starts begins anew.
    start(&host, "again", json!({}), 0).await;
    let sql = host.sql().await;
    let all = "select count(*) from orchestrator.instances";
    until_count(&sql, all, 66).await;
    host.stop().await;
}

#[tokio::test]
async fn workflows_that_start_one_another_by_what_they_emit_come_to_an_end() {
    let host = host().await;
    for (name, hears, says) in [("circle-a", "a", "b"), ("circle-b", "b", "a")] {
        let more = format!("schedule: {{on: {{one: {{with: {{type: org.example.{hears}}}}}}}}}\n");
        let tasks = emitter(&format!("org.example.{says}"));
        put(&host, name, &definition(name, &more, &tasks)).await;
    }
    put(
        &host,
        "circle",
        &definition("circle", "", &emitter("org.example.a")),
    )
    .await;
    assert_eq!(rounds(&host, "circle").await, 33);
    host.stop().await;
}
