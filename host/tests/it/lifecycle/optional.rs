//! Capabilities that a plugin uses where they are provided: it runs without them, and finds whoever provides them now.

use serde_json::{Value, json};

use super::plugin_file::{bad, caller, changed, rename};
use super::project::{Host, Project};

/// What the caller is told when it asks who provides `bad.echo/1`: the status, and the answer or the code.
async fn asked(host: &Host) -> (u16, Value) {
    let mut caller = host.caller().await;
    let answer = caller.get("/caller/optional/bad.echo/1").await;
    let body = answer.json();
    let said = if answer.status == 200 {
        body["data"].clone()
    } else {
        body["code"].clone()
    };
    (answer.status, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_is_exchanged_and_goes_is_found_at_the_next_call() {
    let project = Project::served("").await;
    project.enable("fixture-caller", &caller());
    let host = project.start();
    let nobody = (200, Value::Null);
    assert_eq!(asked(&host).await, nobody);

    project.put("bad", &bad("1.0.0"));
    project.nself(&["plugin", "enable", "bad"]).done();
    assert_eq!(asked(&host).await, (200, json!("1.0.0")));

    project.put("bad", &bad("2.0.0"));
    project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(asked(&host).await, (200, json!("2.0.0")));
    project.nself(&["plugin", "rollback", "bad"]).done();
    assert_eq!(asked(&host).await, (200, json!("1.0.0")));

    // Nobody depends on it: it goes without --cascade, and the caller runs on.
    project.nself(&["plugin", "disable", "bad"]).done();
    assert_eq!(asked(&host).await, nobody);
    assert_eq!(project.plugin("fixture-caller")["state"], "started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_to_run_and_does_not_is_not_the_same_as_none() {
    let project = Project::served("").await;
    project.enable("fixture-caller", &caller());
    project.enable("bad", &bad("1.0.0-start-panics"));
    let host = project.start();
    assert_eq!(project.plugin("bad")["state"], "failed");
    let away = (503, json!("CAPABILITY_UNAVAILABLE"));
    assert_eq!(asked(&host).await, away);

    // Its file and the accepted copy are gone: what it offered is known all the same.
    drop(host);
    std::fs::remove_file(project.path().join("plugins.d/bad.so")).unwrap();
    let store = project.path().join(".nself/store");
    for entry in std::fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("bad")
        {
            let removed = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
            removed.unwrap();
        }
    }
    let host = project.start();
    assert!(
        project.plugin("bad")["reason"]
            .as_str()
            .unwrap()
            .contains("gone")
    );
    assert_eq!(asked(&host).await, away);

    // The operator decides to do without.
    project.nself(&["plugin", "disable", "bad"]).done();
    assert_eq!(asked(&host).await, (200, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_plugins_that_use_each_other_both_start() {
    let project = Project::served("").await;
    let uses = |id: &str, other: &str| {
        let (id, other) = (id.to_owned(), format!("{other}.echo/1"));
        changed(move |manifest| {
            rename(manifest, &id);
            manifest["requires"]["optional"] = json!([other]);
        })
    };
    project.enable("ape", &uses("ape", "bee"));
    project.enable("bee", &uses("bee", "ape"));
    let _host = project.start();
    for id in ["ape", "bee"] {
        assert_eq!(project.plugin(id)["state"], "started");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_uses_is_granted_and_shown_like_what_it_needs() {
    let project = Project::served("").await;
    let plain = changed(|manifest| rename(manifest, "plain"));
    project.put("plain", &plain);
    project.nself(&["plugin", "enable", "plain"]).done();
    let _host = project.start();
    let user = changed(|manifest| {
        rename(manifest, "plain");
        manifest["version"] = json!("2.0.0");
        manifest["requires"]["optional"] = json!(["auth.claims/1"]);
    });
    project.put("plain", &user);
    let inspected = project.nself(&["plugin", "inspect", "plain"]).done();
    assert!(
        inspected
            .stdout
            .contains("uses where provided\n  auth.claims/1"),
        "{inspected:?}"
    );
    let wish = "capability auth.claims/1 where it is provided";
    project
        .nself(&["plugin", "upgrade", "plain"])
        .refused(77, &[wish, "nself plugin grant plain"]);
    let granted = project.nself(&["plugin", "grant", "plain"]).done();
    assert!(granted.stdout.contains(wish), "{granted:?}");
    project.nself(&["plugin", "upgrade", "plain"]).done();
    assert_eq!(
        project.plugin("plain")["optional"],
        json!(["auth.claims/1"])
    );
    let lock = std::fs::read_to_string(project.path().join("plugins.lock")).unwrap();
    assert!(lock.contains(r#"optional = ["auth.claims/1"]"#), "{lock}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_plugin_says_nothing_of_what_it_uses_and_runs() {
    let project = Project::served("").await;
    let old = changed(|manifest| {
        let requires = manifest["requires"].as_object_mut().unwrap();
        requires.remove("optional");
    });
    project.enable("bad", &old);
    let host = project.start();
    let answer = host.caller().await.get("/bad/version").await;
    assert_eq!(answer.status, 200);
}
