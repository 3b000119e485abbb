//! Commands that a plugin adds to the command line: rows of its manifest, requests to the running host.

use serde_json::json;

use super::plugin_file::changed;
use super::project::Project;

/// The bad plugin with three routes for operators and a command for each.
pub(super) fn commanding() -> Vec<u8> {
    commanding_as("")
}

/// The same under another name.
fn commanding_as(name: &str) -> Vec<u8> {
    changed(|manifest| {
        for route in manifest["routes"].as_array_mut().unwrap() {
            let path = route["path"].as_str().unwrap();
            if matches!(path, "/bad/version" | "/bad/slow/{ms}" | "/bad/events") {
                route["access"] = "operator".into();
            }
            // Room for what follows.
            let route = route.as_object_mut().unwrap();
            for key in ["summary", "response", "request", "query"] {
                route.remove(key);
            }
        }
        manifest["command"] = name.into();
        manifest["commands"] = json!([
            {"name": "which", "summary": "Say the version", "method": "GET", "path": "/bad/version"},
            {"name": "slow", "method": "GET", "path": "/bad/slow/{ms}", "confirm": "Wait {ms}?",
             "arguments": [{"name": "ms", "kind": "text"}]},
            {"name": "raw", "method": "GET", "path": "/bad/events"},
            {"name": "tail", "method": "GET", "path": "/bad/events", "is_tail": true,
             "columns": [{"head": "ID", "cell": "id"}, {"head": "WHAT", "cell": "what"}]},
        ]);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_plugin_adds_commands_that_act_as_an_operator() {
    let project = Project::served("").await;
    project.enable("bad", &commanding_as("wicked"));
    let away = project.nself(&["bad", "which"]);
    away.refused(69, &["HOST_NOT_RUNNING"]);
    let away = project.nself(&["wicked", "which"]);
    away.refused(69, &["HOST_NOT_RUNNING"]);
    let host = project.start();
    let version = project.plugin("bad")["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = project.nself(&["bad", "which"]).done();
    assert_eq!(said.stdout, format!("{version}\n"));
    let said = project.nself(&["wicked", "which"]).done();
    assert_eq!(said.stdout, format!("{version}\n"), "under its other name");
    let said = project.nself(&["bad", "which", "--json"]).done();
    assert_eq!(said.data(), json!(version));
    let short = project.nself(&["which"]).done();
    assert_eq!(
        short.stdout,
        format!("{version}\n"),
        "no other plugin has it"
    );
    let asked = project.nself(&["bad", "slow", "1"]);
    asked.refused(2, &["CONFIRMATION_NEEDED", "Wait 1?"]);
    project.nself(&["bad", "slow", "1", "--yes"]).done();
    let wrong = project.nself(&["bad", "slow", "never", "--yes"]);
    assert_ne!(wrong.code, 0, "{wrong:?}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_is_followed_line_by_line() {
    let project = Project::served("").await;
    project.enable("bad", &commanding());
    let host = project.start();
    let said = project.nself(&["bad", "tail"]).done();
    assert_eq!(said.stdout, "ID  WHAT\n1  begun\nby the way\n1  ended\n");
    let said = project.nself(&["bad", "tail", "--json"]).done();
    assert_eq!(
        said.stdout,
        "{\"id\":1,\"what\":\"begun\"}\nby the way\n{\"id\":1,\"what\":\"ended\"}\n"
    );
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_document_is_printed_as_it_comes() {
    let project = Project::served("").await;
    project.enable("bad", &commanding());
    let host = project.start();
    for words in [&["bad", "raw"][..], &["bad", "raw", "--json"]] {
        let said = project.nself(words).done();
        let lines: Vec<&str> = said
            .stdout
            .lines()
            .filter(|line| line.starts_with("data:"))
            .collect();
        assert_eq!(lines.len(), 3, "{said:?}");
        assert!(lines[1].ends_with("by the way"), "{said:?}");
    }
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_in_the_help_while_the_plugin_runs() {
    let project = Project::served("").await;
    project.enable("bad", &commanding());
    let without = project.nself(&["--help"]).done();
    assert!(!without.stdout.contains("bad"), "{without:?}");
    let host = project.start();
    let with = project.nself(&["--help"]).done();
    assert!(
        with.stdout
            .contains("Commands of the plugins that run:\n  bad"),
        "{with:?}"
    );
    let of_plugin = project.nself(&["bad", "--help"]).done();
    assert!(
        of_plugin.stdout.contains("which  Say the version"),
        "{of_plugin:?}"
    );
    let of_command = project.nself(&["bad", "slow", "--help"]).done();
    assert!(
        of_command.stdout.contains("nself bad slow [OPTIONS] <MS>"),
        "{of_command:?}"
    );
    project.nself(&["bad", "slow"]).refused(2, &["<MS>"]);
    project
        .nself(&["bad", "nothing"])
        .refused(2, &["bad has no command `nothing`"]);
    project.nself(&["statsu"]).refused(2, &["statsu", "status"]);
    project.nself(&["plugin", "disable", "bad"]).done();
    project
        .nself(&["bad", "which"])
        .refused(2, &["unrecognized subcommand 'bad'"]);
    drop(host);
}
