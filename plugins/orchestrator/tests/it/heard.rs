//! What a run hears on a host, and what it starts beside itself.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::stage::{count, definition, ended, host, put, run, send, start, until, until_count};

async fn tell(host: &TestHost, number: usize, kind: &str) {
    let event = json!({"specversion": "1.0", "id": number.to_string(), "source": "/test", "type": kind, "data": number});
    assert_eq!(send(host, &event).await.data()["new"], 1);
}

#[tokio::test]
async fn any_of_several_events_are_heard_until_a_condition_holds_or_another_event_comes() {
    let host = host().await;
    let any = "any: [{with: {type: a}}, {with: {type: b, data: '${ . > 2 }'}}]";
    for (name, until_when, kinds, heard) in [
        ("once", "", vec!["c", "b", "b", "b"], json!([3])),
        (
            "counted",
            ", until: '(. | length) >= 3'",
            vec!["a", "b", "b", "a"],
            json!([1, 3, 4]),
        ),
        (
            "ended",
            ", until: {one: {with: {type: end}}}",
            vec!["a", "c", "a", "end"],
            json!([1, 3]),
        ),
        (
            "ended-by-any",
            ", until: {any: [{with: {type: end}}, {with: {type: stop}}]}",
            vec!["a", "stop"],
            json!([1]),
        ),
        (
            "ended-by-all",
            ", until: {all: [{with: {type: end}}, {with: {type: stop}}]}",
            vec!["stop", "a", "end"],
            json!([2]),
        ),
    ] {
        let tasks = format!("  - hear:\n      listen: {{to: {{{any}{until_when}}}}}\n");
        put(&host, name, &definition(name, "", &tasks)).await;
        let started = start(&host, name, json!({}), 0).await;
        until(&host, &started["id"], "waiting").await;
        for (number, kind) in kinds.into_iter().enumerate() {
            tell_once(&host, name, number + 1, kind).await;
        }
        let ended = until(&host, &started["id"], "completed").await;
        assert_eq!(ended["output"], heard, "{name}");
    }
    host.stop().await;
}

/// Its id is one of its own for each listener.
async fn tell_once(host: &TestHost, listener: &str, number: usize, kind: &str) {
    let id = format!("{listener}-{number}");
    let event =
        json!({"specversion": "1.0", "id": id, "source": "/test", "type": kind, "data": number});
    assert_eq!(send(host, &event).await.data()["new"], 1);
}

#[tokio::test]
async fn a_workflow_that_is_not_awaited_runs_on_when_the_one_that_started_it_has_ended() {
    let host = host().await;
    let child = "  - hear:\n      listen: {to: {one: {with: {type: go}}}}\n  - tell:\n      set: {heard: '${ .[0] }', given: '${ $workflow.input.cup }'}\n";
    put(&host, "child", &definition("child", "", child)).await;
    let tasks = "  - begin:\n      run:\n        await: false\n        workflow: {namespace: test, name: child, version: latest, input: {cup: '${ .cup + 1 }'}}\n  - tell:\n      set: {went_on_with: '${ . }'}\n";
    put(&host, "parent", &definition("parent", "", tasks)).await;
    let parent = start(&host, "parent", json!({"cup": 1}), 25).await;
    let parent = ended(&host, &parent["id"]).await;
    assert_eq!(
        parent["output"],
        json!({"went_on_with": {"cup": 1}}),
        "{parent}"
    );
    let child = child_of(&host).await;
    until(&host, &child["id"], "waiting").await;
    tell(&host, 7, "go").await;
    let child = until(&host, &child["id"], "completed").await;
    assert_eq!(child["output"], json!({"heard": 7, "given": 2}), "{child}");
    // The end of the one does nothing to the other, and there is no second one.
    assert_eq!(run(&host, &parent["id"]).await["output"], parent["output"]);
    let sql = host.sql().await;
    until_count(
        &sql,
        "select count(*) from jobs.jobs where state not in ('completed', 'cancelled')",
        0,
    )
    .await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.instances").await,
        2
    );
    host.stop().await;
}

#[tokio::test]
async fn a_workflow_that_is_not_awaited_may_fail_and_the_one_that_started_it_does_not() {
    let host = host().await;
    let child = "  - fail:\n      raise: {error: {type: 'https://t.test/x', status: 400}}\n";
    put(&host, "child", &definition("child", "", child)).await;
    let tasks = "  - begin:\n      run: {await: false, workflow: {namespace: test, name: child, version: latest}}\n";
    put(&host, "parent", &definition("parent", "", tasks)).await;
    let parent = start(&host, "parent", json!({}), 25).await;
    assert_eq!(ended(&host, &parent["id"]).await["status"], "completed");
    let child = child_of(&host).await;
    until(&host, &child["id"], "faulted").await;
    host.stop().await;
}

/// The only run of the workflow that the other one starts.
async fn child_of(host: &TestHost) -> Value {
    let runs = host.get("/v1/workflow-runs?name=child").operator();
    let runs = runs.send().await.data();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    runs[0].clone()
}
