//! Workflows that other plugins bring along: a real one registers them, by the SQL function that comes with the capability.

use nself_plugin_testkit::{Answer, TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use crate::stage::{builder, count};

const ECHO: &str = "  - tell: {set: {told: '${ $workflow.input.cup }'}}\n";

async fn host() -> TestHost {
    builder()
        .plugin("nself-plugin-fixture")
        .plugin("nself-plugin-fixture-author")
        .start()
        .await
}

/// A definition in the namespace of the plugin.
fn definition(name: &str, version: &str, tasks: &str) -> String {
    format!(
        "document:\n  dsl: '1.0.0'\n  namespace: fixture-author\n  name: {name}\n  version: '{version}'\ndo:\n{tasks}"
    )
}

/// Lets the plugin register a text.
async fn register(host: &TestHost, name: &str, version: &str, text: &str) -> Answer {
    let path = format!("/author/workflows/{name}/{version}");
    host.post(&path).body(text.to_owned()).send().await
}

/// What the plugin is told of it, once it has been looked at.
async fn settled(host: &TestHost, name: &str, version: &str) -> Value {
    let path = format!("/author/workflows/{name}/{version}");
    eventually(&format!("{name} {version} is looked at"), async || {
        let told = host.get(&path).send().await.expect_status(200).data();
        (told["status"] != "pending").then_some(told)
    })
    .await
}

async fn kept(host: &TestHost, name: &str, version: &str) -> Answer {
    let path = format!("/v1/workflows/fixture-author/{name}/{version}");
    host.get(&path).operator().send().await
}

#[tokio::test]
async fn what_a_plugin_brings_along_is_there_once_it_has_started() {
    let host = host().await;
    assert_eq!(settled(&host, "greet", "1.0.0").await["status"], "kept");
    let run = host
        .post("/v1/workflows/fixture-author/greet/latest/runs")
        .operator()
        .json(&json!({"input": {"who": "you"}, "wait_seconds": 25}))
        .send()
        .await;
    let run = run.expect_status(201).data();
    assert_eq!(run["output"], json!({"said": "hello, you"}), "{run}");
    host.stop().await;
}

#[tokio::test]
async fn what_a_plugin_registers_is_kept_as_its_own_and_runs() {
    let host = host().await;
    let text = definition("echo", "1.0.0", ECHO);
    let first = register(&host, "echo", "1.0.0", &text).await;
    assert_eq!(first.expect_status(200).data(), json!("pending"));
    let told = settled(&host, "echo", "1.0.0").await;
    assert_eq!(told, json!({"status": "kept", "problem": null}));
    let shown = kept(&host, "echo", "1.0.0").await.expect_status(200).data();
    assert_eq!(
        (&shown["owner"], &shown["source"]),
        (&json!("plugin:fixture-author"), &json!(text))
    );
    let run = host
        .post("/v1/workflows/fixture-author/echo/latest/runs")
        .operator()
        .json(&json!({"input": {"cup": 3}, "wait_seconds": 25}))
        .send()
        .await;
    assert_eq!(
        run.expect_status(201).data()["output"],
        json!({"told": 3}),
        "it runs as any other"
    );
    host.stop().await;
}

#[tokio::test]
async fn the_same_text_again_is_no_change_and_another_one_under_its_version_is_refused() {
    let host = host().await;
    let text = definition("echo", "1.0.0", ECHO);
    register(&host, "echo", "1.0.0", &text).await;
    // Before it has been looked at as well.
    let other = text.replace("told", "said");
    let refused = register(&host, "echo", "1.0.0", &other).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    settled(&host, "echo", "1.0.0").await;
    let again = register(&host, "echo", "1.0.0", &text).await;
    assert_eq!(again.expect_status(200).data(), json!("kept"));
    let refused = register(&host, "echo", "1.0.0", &other).await;
    assert!(
        refused
            .text()
            .contains("fixture-author/echo 1.0.0 has another text already"),
        "{}",
        refused.text()
    );
    // Under a version of its own it is welcome.
    let next = other.replace("'1.0.0'\ndo", "'1.1.0'\ndo");
    register(&host, "echo", "1.1.0", &next).await;
    assert_eq!(settled(&host, "echo", "1.1.0").await["status"], "kept");
    host.stop().await;
}

#[tokio::test]
async fn a_removed_one_comes_back_when_its_plugin_registers_it_again() {
    let host = host().await;
    let text = definition("echo", "1.0.0", ECHO);
    register(&host, "echo", "1.0.0", &text).await;
    settled(&host, "echo", "1.0.0").await;
    let path = "/v1/workflows/fixture-author/echo/1.0.0";
    assert_eq!(host.delete(path).operator().send().await.status, 204);
    assert_eq!(kept(&host, "echo", "1.0.0").await.status, 404);
    let again = register(&host, "echo", "1.0.0", &text).await;
    assert_eq!(again.expect_status(200).data(), json!("pending"));
    settled(&host, "echo", "1.0.0").await;
    assert_eq!(kept(&host, "echo", "1.0.0").await.status, 200);
    host.stop().await;
}

#[tokio::test]
async fn one_that_does_not_validate_is_never_there_and_its_faults_are_told() {
    let host = host().await;
    let broken = definition("echo", "1.0.0", "  - tell: {sett: {a: 1}}\n");
    // At once, to who asks.
    let checked = host
        .post("/author/calls/validate")
        .body(broken.clone())
        .send()
        .await;
    assert_eq!(checked.code(), "WORKFLOW_INVALID", "{}", checked.text());
    register(&host, "echo", "1.0.0", &broken).await;
    let told = settled(&host, "echo", "1.0.0").await;
    assert_eq!(
        (&told["status"], &told["problem"]["code"]),
        (&json!("refused"), &json!("WORKFLOW_INVALID")),
        "{told}"
    );
    let fault = &told["problem"]["details"]["faults"][0];
    assert!(
        fault["line"].as_u64().is_some_and(|line| line >= 6),
        "{fault}"
    );
    assert_eq!(kept(&host, "echo", "1.0.0").await.status, 404);
    // It never ran, so it may be mended under the same version.
    let good = definition("echo", "1.0.0", ECHO);
    register(&host, "echo", "1.0.0", &good).await;
    assert_eq!(settled(&host, "echo", "1.0.0").await["status"], "kept");
    let checked = host.post("/author/calls/validate").body(good).send().await;
    assert_eq!(checked.expect_status(200).data()["name"], json!("echo"));
    let path = "/author/calls/start";
    let unknown = host.post(path).body("x").send().await;
    assert_eq!(unknown.code(), "WORKFLOW_INVALID", "{}", unknown.text());
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_registers_in_its_own_namespace_alone() {
    let host = host().await;
    let foreign =
        definition("echo", "1.0.0", ECHO).replace("namespace: fixture-author", "namespace: test");
    register(&host, "echo", "1.0.0", &foreign).await;
    let told = settled(&host, "echo", "1.0.0").await;
    assert!(
        told["problem"]["message"]
            .to_string()
            .contains("fixture-author/echo 1.0.0"),
        "{told}"
    );
    // What the operator keeps there stays as it is.
    let text = definition("tea", "1.0.0", ECHO);
    let put = host
        .post("/v1/workflow-definitions")
        .operator()
        .body(text.clone());
    assert_eq!(put.send().await.status, 200);
    let refused = register(&host, "tea", "1.0.0", &text.replace("told", "said")).await;
    assert_eq!(refused.code(), "REFUSED", "{}", refused.text());
    // Another plugin whose id reads the same in the words of the DSL.
    let sql = host.sql().await;
    sql.execute(
        "update orchestrator.registrations set plugin = 'fixture_author' where name = 'echo'",
        &[],
    )
    .await
    .expect("another one registered it");
    let refused = register(&host, "echo", "1.0.0", &definition("echo", "1.0.0", ECHO)).await;
    assert!(
        refused.text().contains("the plugin fixture_author"),
        "{}",
        refused.text()
    );
    let path = "/author/workflows/echo/1.0.0";
    assert_eq!(host.get(path).send().await.data(), Value::Null);
    host.stop().await;
}

#[tokio::test]
async fn only_plugins_with_the_capability_register_and_what_is_no_text_of_a_workflow_is_refused() {
    let host = host().await;
    let author = host.sql_as("fixture-author").await;
    let denied = author
        .query("select * from orchestrator.registrations", &[])
        .await;
    let denied = denied.expect_err("the function is all that it reaches");
    assert_eq!(denied.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    for (name, version, text) in [
        ("", "1.0.0", "x"),
        (&*"n".repeat(64), "1.0.0", "x"),
        ("echo", "", "x"),
        ("echo", "1.0.0", ""),
        ("echo", "1.0.0", &*"x".repeat((1 << 20) + 1)),
    ] {
        let refused = author
            .query(
                "select orchestrator.register($1, $2, $3)",
                &[&name, &version, &text],
            )
            .await;
        let refused = refused.expect_err("no workflow is like that");
        assert_eq!(refused.code(), Some(&SqlState::INVALID_PARAMETER_VALUE));
    }
    let without = host.sql_as("fixture").await;
    let sql = "select orchestrator.register('echo', '1.0.0', 'x')";
    let denied = without.query(sql, &[]).await.expect_err("it has no grant");
    assert_eq!(denied.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let operator = host.sql().await;
    let denied = operator.query(sql, &[]).await.expect_err("is no plugin");
    assert_eq!(denied.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(
        count(
            &operator,
            "select count(*) from orchestrator.registrations where name <> 'greet'"
        )
        .await,
        0
    );
    host.stop().await;
}
