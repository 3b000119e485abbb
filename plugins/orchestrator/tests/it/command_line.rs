//! `nself workflow ..`: the built program beside a running host, as an operator calls it.

use std::{fs, path::PathBuf};

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{builder, definition, until};

const TASKS: &str = "  - pour: {set: {cups: '${ $workflow.input.cups + 1 }'}}\n  - run: {run: {shell: {command: 'echo $1', arguments: ['${ .cups | tostring }']}}}\n";
const REST: &str = "  - rest: {wait: {days: 30}}\n";

fn written(folder: &TempDir, name: &str, tasks: &str) -> PathBuf {
    let file = folder.path().join(format!("{name}.yaml"));
    fs::write(&file, definition(name, "", tasks)).expect("there is room");
    file
}

/// What a command answers.
async fn asked(host: &TestHost, words: &[&str]) -> Value {
    let words = [&["workflow"], words, &["--json", "--yes"]].concat();
    let (said, _) = host.command_line(&words).await;
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    said["data"].clone()
}

#[tokio::test]
async fn an_operator_keeps_starts_watches_and_ends_workflows() {
    let config = "[plugins.orchestrator]\nrun = [\"shell\"]\n";
    let host = builder().program().config(config).start().await;
    let folder = tempfile::tempdir().expect("there is room");
    let (tea, rest) = (
        written(&folder, "tea", TASKS),
        written(&folder, "rest", REST),
    );
    let [tea, rest] = [&tea, &rest].map(|file| file.to_str().expect("a path"));
    let good = asked(&host, &["validate", tea]).await;
    assert_eq!(
        (&good["name"], &good["warnings"]),
        (&json!("tea"), &Value::Null)
    );
    assert_eq!(asked(&host, &["list"]).await, json!([]), "nothing is kept");
    for (file, is_new) in [(tea, true), (tea, false), (rest, true)] {
        let kept = asked(&host, &["apply", file]).await;
        assert_eq!(kept["is_new"], is_new, "{kept}");
    }
    let (table, _) = host.command_line(&["workflow", "list"]).await;
    assert!(
        table.starts_with("NAMESPACE ") && table.contains(" tea "),
        "{table}"
    );

    let input = "{\"cups\": 2}";
    let ended = asked(&host, &["run", "test", "tea", "--input", input, "--wait"]).await;
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("completed"), &json!("3\n"))
    );
    let id = ended["id"].as_str().expect("an id");
    // The end of an id is enough.
    let shown = asked(&host, &["show", &id[28..]]).await;
    assert_eq!(
        (&shown["id"], &shown["input"]),
        (&ended["id"], &json!({"cups": 2}))
    );
    let (rows, _) = host.command_line(&["workflow", "history", id]).await;
    assert!(
        rows.contains("pour") && rows.contains("completed"),
        "{rows}"
    );

    let resting = asked(&host, &["run", "test", "rest"]).await["id"].clone();
    until(&host, &resting, "waiting").await;
    let waiting = asked(&host, &["runs", "--status", "waiting"]).await;
    assert_eq!(waiting[0]["id"], resting, "{waiting}");
    asked(&host, &["cancel", resting.as_str().expect("an id")]).await;
    until(&host, &resting, "cancelled").await;
    let (table, _) = host.command_line(&["workflow", "runs"]).await;
    assert!(
        table.contains("cancelled") && table.contains("completed"),
        "{table}"
    );
    host.stop().await;
}

#[tokio::test]
async fn an_operator_is_told_of_tasks_that_would_not_run_before_they_are_to() {
    let host = builder().program().start().await;
    let folder = tempfile::tempdir().expect("there is room");
    let tea = written(&folder, "tea", TASKS);
    let (said, _) = host
        .command_line(&["workflow", "apply", tea.to_str().expect("a path")])
        .await;
    let warning = "/do/1/run: plugins.orchestrator.run does not list shell";
    assert!(said.contains(warning), "{said}");
    host.stop().await;
}
