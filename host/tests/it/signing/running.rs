//! The same in a running host: what was refused never runs, and what runs goes on.

use std::fs;

use serde_json::json;

use super::super::lifecycle::plugin_file::{bad, hello};
use super::super::lifecycle::project::{Host, Project};
use super::{keygen, settings, sign, write};

async fn version(host: &Host) -> String {
    let answer = host.caller().await.get("/bad/version").await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    answer["data"].as_str().unwrap().to_owned()
}

/// A project that asks for signatures by alice, in which her plugin `bad` 1.0.0 is enabled. Carol is trusted too.
async fn signed() -> Project {
    let project = Project::served("").await;
    let (alice, carol) = (keygen(&project, "alice"), keygen(&project, "carol"));
    keygen(&project, "bob");
    project.configure(&settings(
        "require",
        &[&format!("{alice} alice"), &format!("{carol} carol")],
    ));
    write(&project, "plugins.d/bad.so", &bad("1.0.0"));
    sign(&project, "plugins.d/bad.so", "alice");
    project.nself(&["plugin", "enable", "bad"]).done();
    project
}

/// A newer version beside the project's plugins, signed by `name` if anybody.
fn built(project: &Project, version: &str, name: Option<&str>) {
    let _ = fs::remove_file(project.path().join("built.so.minisig"));
    write(project, "built.so", &bad(version));
    if let Some(name) = name {
        sign(project, "built.so", name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_nobody_stands_for_never_runs_and_the_others_do() {
    let project = signed().await;
    let host = project.start();
    // Dropped in without a signature: not listed as something that can be had.
    write(&project, "plugins.d/hello.so", &hello());
    project
        .nself(&["plugin", "enable", "hello"])
        .refused(1, &["PLUGIN_NOT_FOUND", "is not signed"]);
    for (name, says) in [
        (None, "is not signed"),
        (Some("bob"), "which is not trusted"),
    ] {
        built(&project, "2.0.0", name);
        project
            .nself(&["plugin", "upgrade", "built.so"])
            .refused(65, &["PLUGIN_REFUSED", says]);
        project
            .nself(&["plugin", "grant", "built.so"])
            .refused(65, &["PLUGIN_REFUSED", says]);
    }
    built(&project, "2.0.0", Some("alice"));
    let mut changed = bad("2.0.0");
    changed.push(0);
    write(&project, "built.so", &changed);
    project
        .nself(&["plugin", "upgrade", "built.so"])
        .refused(65, &["PLUGIN_REFUSED", "is not what key"]);
    assert_eq!(version(&host).await, "1.0.0");
    assert_eq!(project.plugin("bad")["signer"]["name"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_signer_is_refused_unless_the_operator_says_so_and_a_rollback_brings_the_first_back()
 {
    let project = signed().await;
    let host = project.start();
    built(&project, "2.0.0", Some("carol"));
    project.nself(&["plugin", "upgrade", "built.so"]).refused(
        77,
        &[
            "PLUGIN_SIGNER",
            "bad 2.0.0 is signed by key",
            "and what was accepted by key",
            "--new-signer",
        ],
    );
    assert_eq!(version(&host).await, "1.0.0");
    project
        .nself(&["plugin", "upgrade", "built.so", "--new-signer"])
        .done();
    assert_eq!(version(&host).await, "2.0.0");
    assert_eq!(project.plugin("bad")["signer"]["name"], "carol");
    // Its signature came along: the directory is as if it had been put there by hand.
    let check = ["plugin", "check", "plugins.d/bad.so"];
    project.nself(&check).done();
    project.nself(&["plugin", "rollback", "bad"]).done();
    assert_eq!(version(&host).await, "1.0.0");
    assert_eq!(project.plugin("bad")["signer"]["name"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accepted_version_starts_from_the_store_when_its_file_was_tampered_with() {
    let project = signed().await;
    drop(project.start());
    let mut changed = bad("1.0.0");
    changed.push(0);
    write(&project, "plugins.d/bad.so", &changed);
    let host = project.start();
    assert_eq!(version(&host).await, "1.0.0");
    assert!(
        host.logged(&["is not what key"]) >= 1,
        "{}",
        host.log_text()
    );
    drop(host);
    // Without the signature in the store there is nothing left that anybody stands for.
    for entry in fs::read_dir(project.path().join(".nself/store")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "minisig")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let _host = project.start();
    let plugin = project.plugin("bad");
    assert_eq!(plugin["state"], "failed");
    assert!(
        plugin["reason"].as_str().unwrap().contains("is not signed"),
        "{plugin}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_trusted_no_longer_ends_at_the_next_start_and_a_new_one_counts_at_once() {
    let project = signed().await;
    let host = project.start();
    let dave = keygen(&project, "dave");
    built(&project, "2.0.0", Some("dave"));
    project
        .nself(&["plugin", "upgrade", "built.so", "--new-signer"])
        .refused(65, &["which is not trusted"]);
    project
        .nself(&["plugin", "trust", "add", &dave, "--name", "dave"])
        .done();
    project
        .nself(&["plugin", "upgrade", "built.so", "--new-signer"])
        .done();
    assert_eq!(version(&host).await, "2.0.0");
    project.nself(&["plugin", "trust", "remove", "dave"]).done();
    assert_eq!(version(&host).await, "2.0.0", "what runs goes on");
    drop(host);
    let _host = project.start();
    let plugin = project.plugin("bad");
    assert_eq!(plugin["state"], "failed");
    assert!(
        plugin["reason"]
            .as_str()
            .unwrap()
            .contains("which is not trusted"),
        "{plugin}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_were_accepted_before_are_vouched_for_by_this_machine() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    drop(project.start());
    assert!(project.plugin("bad")["signer"].is_null());
    project.configure(&settings("require", &[]));
    drop(project.start());
    project
        .nself(&["plugin", "sign", "plugins.d/bad.so"])
        .done();
    let host = project.start();
    assert_eq!(version(&host).await, "1.0.0");
    assert_eq!(project.plugin("bad")["signer"]["name"], "this machine");
    // From now on it is another signer who needs a consent.
    let lock = fs::read_to_string(project.path().join("plugins.lock")).unwrap();
    assert!(lock.contains("signer = \"this machine\""), "{lock}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_plugin_takes_its_signature_along() {
    let project = signed().await;
    let _host = project.start();
    project.nself(&["plugin", "disable", "bad"]).done();
    project.nself(&["plugin", "remove", "bad", "--yes"]).done();
    let left = fs::read_dir(project.path().join("plugins.d"))
        .unwrap()
        .count();
    assert_eq!(json!(left), json!(0));
}
