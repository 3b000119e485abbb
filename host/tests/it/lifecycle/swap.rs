//! Versions exchanged while callers never pause.

use std::fs;

use serde_json::json;

use super::load::{Load, Tally};
use super::plugin_file::{bad, changed, namesake, rename};
use super::project::{Host, Project};

/// Callers of every kind at once.
fn load(host: &Host) -> Load {
    Load::on(host.address)
        .getting(6, "/bad/version")
        .getting(2, "/bad/stream")
        .getting(2, "/bad/slow/30")
        .speaking(3, "/bad/socket")
}

/// On one connection an answer of the old version never follows one of the new.
#[track_caller]
fn monotonic(tally: &Tally, swaps: usize) {
    for versions in &tally.versions {
        assert!(
            versions.len() <= swaps + 1,
            "a connection saw more changes than there were: {versions:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_lose_no_request_stream_or_socket() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let mut host = project.start();
    let load = load(&host);
    // Two files take turns; rolling back loads from the store, upgrading from the directory.
    project.put("bad", &bad("2.0.0"));
    for _ in 0..25 {
        project.nself(&["plugin", "upgrade", "bad"]).done();
        project.nself(&["plugin", "rollback", "bad"]).done();
    }
    // Other plugins come and go beside it.
    project.put("other", &namesake("other"));
    for _ in 0..5 {
        project.nself(&["plugin", "enable", "other"]).done();
        project.nself(&["plugin", "disable", "other"]).done();
    }
    let tally = load.end().await;
    tally.flawless();
    monotonic(&tally, 50);
    assert!(
        tally.versions.iter().any(|versions| versions.len() > 10),
        "the swaps were seen"
    );
    assert!(host.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_build_of_the_same_version_replaces_it_and_that_is_said() {
    let project = Project::served("").await;
    let _host = project.start();
    let build = |words: &str| {
        let words = words.to_owned();
        changed(move |manifest| {
            rename(manifest, "other");
            manifest["description"] = json!(words);
        })
    };
    project.put("other", &build("one"));
    project.nself(&["plugin", "enable", "other"]).done();
    let upgrade = || project.nself(&["plugin", "upgrade", "other"]).done().stdout;
    assert!(upgrade().contains("runs already"));
    project.put("other", &build("two"));
    assert!(upgrade().contains("another build of it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_dropped_in_is_listed_at_once() {
    let project = Project::served("").await;
    let _host = project.start();
    project.put("other", &namesake("other"));
    assert_eq!(project.plugin("other")["state"], "discovered");
    fs::remove_file(project.path().join("plugins.d/other.so")).unwrap();
    let list = project.nself(&["plugin", "list", "--json"]).done().data();
    assert_eq!(list, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_are_enabled_together_start_in_the_order_of_their_needs() {
    let project = Project::served("").await;
    let _host = project.start();
    let needs = |id: &str, other: &str| {
        let (id, other) = (id.to_owned(), other.to_owned());
        changed(move |manifest| {
            rename(manifest, &id);
            manifest["depends"] = json!([{"id": other, "version": "*"}]);
        })
    };
    project.put("ape", &needs("ape", "bee"));
    project.put("bee", &needs("bee", "other"));
    project.put("other", &namesake("other"));
    let ran = project
        .nself(&["plugin", "enable", "ape", "bee", "other"])
        .done();
    let started: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(started, ["other", "bee", "ape"]);
    project.put("cow", &needs("cow", "nobody"));
    project.put("dog", &namesake("dog"));
    let refused = [
        "PLUGIN_DOES_NOT_FIT",
        "cow",
        "nobody",
        "enabled before it: dog",
    ];
    project
        .nself(&["plugin", "enable", "cow", "dog"])
        .refused(1, &refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_overwritten_moved_over_or_deleted_changes_nothing_until_an_upgrade() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let load = load(&host);
    let file = project.path().join("plugins.d/bad.so");
    let seen = async || {
        let answer = host.caller().await.get("/bad/version").await;
        answer.json()["data"].as_str().unwrap().to_owned()
    };
    fs::write(&file, bad("1.1.0")).unwrap(); // `cp` over it: the same inode
    assert_eq!(seen().await, "1.0.0");
    project.put("bad", &bad("1.2.0"));
    assert_eq!(seen().await, "1.0.0");
    fs::write(&file, b"cut short").unwrap();
    assert_eq!(seen().await, "1.0.0");
    fs::remove_file(&file).unwrap();
    assert_eq!(seen().await, "1.0.0");
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["no file in", "is the plugin bad"]);
    assert_eq!(seen().await, "1.0.0");
    project.put("bad", &bad("1.2.0"));
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(seen().await, "1.2.0");
    load.end().await.flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_asks_for_more_or_fails_leaves_the_running_version_alone() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let load = load(&host);
    let greedy = changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["requires"]["capabilities"] =
            json!(["nself.clock/1", "nself.config/1", "nself.kv/1"]);
    });
    project.put("bad", &greedy);
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(77, &["nself.kv/1", "nself plugin grant bad"]);
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    project.nself(&["plugin", "grant", "bad"]).done();
    project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(project.plugin("bad")["version"], "2.0.0");

    for (version, reason) in [
        ("3.0.0-start-fails", "it does not want to"),
        ("3.0.1-start-panics", "start panics"),
        ("3.0.2-create-panics", "create panics"),
    ] {
        project.put("bad", &bad(version));
        project
            .nself(&["plugin", "upgrade", "bad"])
            .refused(1, &["bad failed in", reason]);
        assert_eq!(project.plugin("bad")["version"], "2.0.0");
    }
    let tally = load.end().await;
    tally.flawless();
    monotonic(&tally, 1);

    // After a restart it is what it was.
    drop(host);
    let host = project.start();
    let answer = host.caller().await.get("/bad/version").await;
    assert_eq!(answer.json()["data"], "2.0.0");
}
