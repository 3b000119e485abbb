//! Upgrades to a file that lies anywhere.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::plugin_file::{bad, changed, namesake};
use super::project::Project;

/// A file outside of the plugin directory.
fn elsewhere(project: &Project, bytes: &[u8]) -> PathBuf {
    let path = project.path().join("built.so");
    fs::write(&path, bytes).unwrap();
    path
}

/// Names and contents of the plugin directory.
fn directory(project: &Project) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(project.path().join("plugins.d"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

async fn version(host: &super::project::Host) -> String {
    let answer = host.caller().await.get("/bad/version").await;
    serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["data"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_a_file_runs_it_and_puts_it_in_the_place_of_the_old_one() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let (first, second) = (bad("1.0.0"), bad("2.0.0"));
    assert_eq!(directory(&project), [("bad.so".to_owned(), first)]);
    elsewhere(&project, &second);
    // A path as it is seen from where the command runs.
    let done = project.nself(&["plugin", "upgrade", "./built.so"]).done();
    assert_eq!(done.stdout, "bad: 1.0.0 -> 2.0.0\n");
    assert_eq!(version(&host).await, "2.0.0");
    assert_eq!(directory(&project), [("bad.so".to_owned(), second)]);
    assert_eq!(project.plugin("bad")["available"], json!(null));

    project.nself(&["plugin", "rollback", "bad"]).done();
    assert_eq!(version(&host).await, "1.0.0");
    let again = project.nself(&["plugin", "upgrade", "built.so"]).done();
    assert_eq!(again.stdout, "bad: 1.0.0 -> 2.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_leaves_everything_as_it_is() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let (files, lock) = (
        directory(&project),
        fs::read(project.path().join("plugins.lock")).unwrap(),
    );
    let greedy = changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["requires"]["egress"] = json!(["example.org"]);
    });
    for (bytes, code, says) in [
        (b"no plugin at all".to_vec(), 65, "PLUGIN_REFUSED"),
        (bad("2.0.0-start-panics"), 1, "PLUGIN_DID_NOT_START"),
        (greedy, 77, "PLUGIN_NOT_GRANTED"),
        (namesake("other"), 1, "PLUGIN_NOT_RUNNING"),
    ] {
        elsewhere(&project, &bytes);
        project
            .nself(&["plugin", "upgrade", "built.so"])
            .refused(code, &[says]);
        assert_eq!(directory(&project), files, "{says}");
        assert_eq!(
            fs::read(project.path().join("plugins.lock")).unwrap(),
            lock,
            "{says}"
        );
        assert_eq!(version(&host).await, "1.0.0", "{says}");
    }
    project
        .nself(&["plugin", "upgrade", "missing.so"])
        .refused(65, &["PLUGIN_REFUSED", "missing.so"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_asks_for_beyond_is_granted_by_its_name() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let file = elsewhere(
        &project,
        &changed(|manifest| {
            manifest["version"] = "2.0.0".into();
            manifest["requires"]["egress"] = json!(["example.org"]);
        }),
    );
    let grant = format!("nself plugin grant {}", file.display());
    project
        .nself(&["plugin", "upgrade", "built.so"])
        .refused(77, &[&grant, "example.org"]);
    let granted = project.nself(&["plugin", "grant", "built.so"]).done();
    assert!(granted.stdout.contains("example.org"), "{granted:?}");
    project.nself(&["plugin", "upgrade", "built.so"]).done();
    assert_eq!(version(&host).await, "2.0.0");
}
