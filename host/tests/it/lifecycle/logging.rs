//! What the log shows, changed while the host and its plugins run.

use serde_json::Value;

use super::plugin_file::{bad, namesake};
use super::project::{Host, Project, until};

/// Calls the route that logs an event of each level; how many of them were put together for the host.
async fn told(host: &Host, path: &str) -> u64 {
    let answer = host.caller().await.get(path).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["data"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_changes_for_running_plugins_and_costs_nothing_where_it_is_off() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let detail = ["a detail of the bad plugin"];
    assert_eq!(told(&host, "/bad/log").await, 3, "error, warning, fact");

    let raised = project.nself(&["log-level", "info,plugin=debug"]).done();
    assert!(raised.stdout.starts_with("info -> "), "{raised:?}");
    assert_eq!(told(&host, "/bad/log").await, 3 + 4);
    until("the detail being logged", || host.logged(&detail) == 1);
    let shown = project.nself(&["log-level", "--json"]).done().data();
    assert_eq!(shown["filter"], "plugin=debug,info");

    // What is read of the host alone is not put together by plugins.
    project
        .nself(&["log-level", "info,nself::http=trace"])
        .done();
    assert_eq!(told(&host, "/bad/log").await, 7 + 3);
    project.nself(&["log-level", "error"]).done();
    assert_eq!(told(&host, "/bad/log").await, 10 + 1);
    until("everything being written", || {
        host.logged(&["an error of the bad plugin"]) == 4
    });
    assert_eq!(host.logged(&detail), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_starts_later_has_the_level_in_force() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    project.nself(&["log-level", "debug"]).done();
    project.put("other", &namesake("other"));
    project.nself(&["plugin", "enable", "other"]).done();
    assert_eq!(told(&host, "/other/log").await, 4, "enabled later");

    project.nself(&["plugin", "disable", "bad"]).done();
    project.nself(&["log-level", "warn"]).done();
    project.nself(&["plugin", "enable", "bad"]).done();
    assert_eq!(told(&host, "/bad/log").await, 2, "the same code, again");
    project.put("bad", &bad("2.0.0"));
    project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(told(&host, "/bad/log").await, 2, "another version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_level_is_refused_and_changes_nothing() {
    let project = Project::served("").await;
    let host = project.start();
    let wrong = project.nself(&["log-level", "verbose"]);
    wrong.refused(2, &["error[LOG_FILTER]", "verbose", "debug"]);
    let shown = project.nself(&["log-level"]).done();
    assert_eq!(shown.stdout, "info\n");
    drop(host);
    project
        .nself(&["log-level", "debug"])
        .refused(69, &["no host runs"]);
}
