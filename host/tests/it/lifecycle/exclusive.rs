//! What only one plugin may have: `nself.identity/1`.

use std::fs;

use serde_json::json;

use super::plugin_file::{changed, namesake, rename};
use super::project::Project;

/// A plugin that says who people are.
fn identity(id: &str, version: &str) -> Vec<u8> {
    let (id, version) = (id.to_owned(), version.to_owned());
    changed(move |manifest| {
        rename(manifest, &id);
        manifest["version"] = version.into();
        manifest["requires"]["capabilities"] = json!(["nself.clock/1", "nself.identity/1"]);
    })
}

const ONE_LINE: &str = "two asks for nself.identity/1, which only one plugin may have, and one has it: run nself plugin disable one first";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_identity_provider_is_refused_while_the_host_runs_and_while_it_does_not() {
    let project = Project::served("").await;
    project.enable("one", &identity("one", "1.0.0"));
    project.put("two", &identity("two", "1.0.0"));
    let lock = || fs::read_to_string(project.path().join("plugins.lock")).unwrap();
    let before = lock();
    let refused = || {
        project
            .nself(&["plugin", "enable", "two"])
            .refused(1, &["PLUGIN_DOES_NOT_FIT", ONE_LINE]);
        assert_eq!(lock(), before);
    };
    refused();
    let _host = project.start();
    refused();
    assert_eq!(project.plugin("one")["state"], "started");

    // As the line says.
    project.nself(&["plugin", "disable", "one"]).done();
    project.nself(&["plugin", "enable", "two"]).done();
    project.nself(&["plugin", "enable", "one"]).refused(
        1,
        &["one asks for nself.identity/1", "nself plugin disable two"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_runs_is_not_granted_what_another_has() {
    let project = Project::served("").await;
    project.enable("one", &identity("one", "1.0.0"));
    project.enable("two", &namesake("two"));
    let _host = project.start();
    project.put("two", &identity("two", "2.0.0"));
    project
        .nself(&["plugin", "grant", "two"])
        .refused(1, &["PLUGIN_DOES_NOT_FIT", ONE_LINE]);
    project
        .nself(&["plugin", "upgrade", "two"])
        .refused(77, &["capability nself.identity/1"]);
    assert_eq!(project.plugin("two")["version"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_has_it_is_upgraded_and_rolled_back() {
    let project = Project::served("").await;
    project.enable("one", &identity("one", "1.0.0"));
    let _host = project.start();
    project.put("one", &identity("one", "2.0.0"));
    project.nself(&["plugin", "grant", "one"]).done();
    project.nself(&["plugin", "upgrade", "one"]).done();
    assert_eq!(project.plugin("one")["version"], "2.0.0");
    project.nself(&["plugin", "rollback", "one"]).done();
    assert_eq!(project.plugin("one")["version"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_in_the_lock_the_first_starts_and_the_other_says_why_not() {
    let project = Project::served("").await;
    project.enable("one", &identity("one", "1.0.0"));
    project.nself(&["plugin", "disable", "one"]).done();
    project.enable("two", &identity("two", "1.0.0"));
    // By hand: no command writes this.
    let path = project.path().join("plugins.lock");
    let lock = fs::read_to_string(&path).unwrap();
    fs::write(&path, lock.replace("enabled = false", "enabled = true")).unwrap();
    let _host = project.start();
    assert_eq!(project.plugin("one")["state"], "started");
    let two = project.plugin("two");
    assert_eq!(two["state"], "failed");
    assert_eq!(two["reason"], ONE_LINE);
}
