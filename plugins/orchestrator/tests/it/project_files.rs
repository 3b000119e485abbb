//! `workflows/` in the project's directory: the built program, whatever directory it is started in.

use std::fs;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{builder, definition, start};

fn written(host: &TestHost, name: &str, text: &str) {
    let folder = host.project().join("workflows");
    fs::create_dir_all(&folder).expect("the project is writable");
    fs::write(folder.join(name), text).expect("the project is writable");
}

fn set(name: &str, value: u32) -> String {
    definition(
        name,
        "",
        &format!("  - tell: {{set: {{value: {value}}}}}\n"),
    )
}

async fn names(host: &TestHost) -> Vec<String> {
    let listed = host.get("/v1/workflows").operator().send().await.data();
    let listed = listed.as_array().expect("a list");
    let name = |one: &Value| one["name"].as_str().expect("a name").to_owned();
    listed.iter().map(name).collect()
}

async fn output(host: &TestHost, name: &str) -> Value {
    start(host, name, json!({}), 25).await["output"].clone()
}

/// Brings them in once more, and is refused: what is complained.
async fn complaint(host: &TestHost) -> String {
    let path = "/v1/workflow-definitions/files";
    let answer = host.post(path).operator().send().await;
    assert_eq!(answer.code(), "WORKFLOW_FILE");
    answer.text()
}

/// The same by the command line, which is told what came.
async fn applied(host: &TestHost) -> String {
    let words = ["workflow", "files", "apply"];
    let (said, _) = host.command_line(&words).await;
    said
}

#[tokio::test]
async fn what_lies_in_the_project_is_there_when_the_host_has_started() {
    let mut host = builder().program().start().await;
    // No directory is no trouble at the start.
    complaint(&host).await;
    written(&host, "tea.yaml", &set("tea", 1));
    written(&host, "notes.txt", "not a definition");
    host.kill().await;
    host.start_again().await;
    assert_eq!(names(&host).await, ["tea"]);
    assert_eq!(output(&host, "tea").await, json!({"value": 1}));
    // Once more is nothing new; what comes besides is.
    let again: Value = serde_json::from_str(&set_as_json("cake")).expect("JSON");
    written(&host, "cake.json", &again.to_string());
    let said = applied(&host).await;
    assert!(
        said.contains("test/cake/1.0.0") && said.contains('1'),
        "{said}"
    );
    assert_eq!(names(&host).await, ["cake", "tea"]);
    host.stop().await;
}

fn set_as_json(name: &str) -> String {
    let document = json!({"dsl": "1.0.0", "namespace": "test", "name": name, "version": "1.0.0"});
    json!({"document": document, "do": [{"tell": {"set": {"value": 2}}}]}).to_string()
}

#[tokio::test]
async fn a_file_with_a_mistake_stops_nothing_and_is_told_with_its_line() {
    let mut host = builder().program().start().await;
    written(&host, "tea.yaml", &set("tea", 1));
    host.kill().await;
    host.start_again().await;
    written(&host, "a-new.yaml", &set("cake", 1));
    let broken = set("broken", 1).replace("set:", "sett:");
    let line = broken.lines().count();
    written(&host, "broken.yaml", &broken);
    host.kill().await;
    host.start_again().await;
    // What was there before is there, and nothing of the directory came.
    assert_eq!(names(&host).await, ["tea"]);
    assert_eq!(output(&host, "tea").await, json!({"value": 1}));
    let told = format!("broken.yaml: the definition has a fault: line {line}");
    let log = host.log();
    assert!(
        log.contains("the operator's workflows are not applied"),
        "{log}"
    );
    assert!(log.contains(&told), "{told} in {log}");
    let complaint = complaint(&host).await;
    assert!(complaint.contains(&told), "{complaint}");
    // Whoever looks how the host does is told too, until it is mended.
    let look = async || {
        let (said, _) = host.command_line(&["plugin", "list"]).await;
        said.contains("degraded").then_some(said)
    };
    let said = eventually("the plugin is not well", look).await;
    assert!(said.contains(&told), "{told} in {said}");
    written(&host, "broken.yaml", &set("broken", 1));
    applied(&host).await;
    assert_eq!(names(&host).await, ["broken", "cake", "tea"]);
    let look = async || {
        let (said, _) = host.command_line(&["plugin", "list"]).await;
        (!said.contains("degraded")).then_some(())
    };
    eventually("the plugin is well again", look).await;
    host.stop().await;
}

#[tokio::test]
async fn a_version_that_has_another_text_now_is_a_mistake_too() {
    let mut host = builder().program().start().await;
    written(&host, "tea.yaml", &set("tea", 1));
    host.kill().await;
    host.start_again().await;
    written(&host, "tea.yaml", &set("tea", 2));
    let complaint = complaint(&host).await;
    assert!(
        complaint.contains("tea.yaml: this version has another text already"),
        "{complaint}"
    );
    assert_eq!(output(&host, "tea").await, json!({"value": 1}));
    let newer = set("tea", 2).replace("version: '1.0.0'", "version: '1.1.0'");
    written(&host, "tea.yaml", &newer);
    host.kill().await;
    host.start_again().await;
    assert_eq!(output(&host, "tea").await, json!({"value": 2}));
    host.stop().await;
}

#[tokio::test]
async fn another_directory_starts_at_the_project_as_well_and_has_to_be_there() {
    let config = "[plugins.orchestrator.config]\nworkflows_directory = \"house/flows\"\n";
    let mut host = builder().program().config(config).start().await;
    let log = host.log();
    assert!(
        log.contains("house/flows: No such file or directory"),
        "{log}"
    );
    written(&host, "never.yaml", &set("never", 1));
    let folder = host.project().join("house/flows");
    fs::create_dir_all(&folder).expect("the project is writable");
    fs::write(folder.join("tea.yml"), set("tea", 3)).expect("the project is writable");
    host.kill().await;
    host.start_again().await;
    assert_eq!(names(&host).await, ["tea"]);
    host.stop().await;
}
