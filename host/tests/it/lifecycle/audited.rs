//! Who changed what runs here, and when, is in the audit log: with the change, or neither is.

use std::fs;

use serde_json::{Value, json};

use super::plugin_file::{bad, changed, namesake};
use super::project::Project;

/// What the log says was done to `bad`, the oldest first, each with the version or what else it was about.
async fn deeds(project: &Project) -> Vec<(String, Value)> {
    let client = project.database().client().await;
    let sql = "select action, details from nself.audit_log where action like 'plugin.%' and target = 'bad' order by at, sequence";
    let rows = client.query(sql, &[]).await.unwrap();
    let entry = |row: &tokio_postgres::Row| {
        let details: Value = row.get(1);
        let about = ["version", "granted"].map(|key| details[key].clone());
        let about = about.into_iter().find(|value| !value.is_null());
        (row.get(0), about.unwrap_or_default())
    };
    rows.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_plugin_is_an_entry() {
    let project = Project::served("").await;
    let _host = project.start();
    project.put("bad", &bad("1.0.0"));
    project.nself(&["plugin", "enable", "bad", "--yes"]).done();
    let more = changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["requires"]["egress"] = json!(["example.org"]);
    });
    project.put("bad", &more);
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(77, &["example.org"]);
    project.nself(&["plugin", "grant", "bad"]).done();
    project.nself(&["plugin", "upgrade", "bad"]).done();
    // The same build again is no change.
    project.nself(&["plugin", "upgrade", "bad"]).done();
    project.nself(&["plugin", "rollback", "bad"]).done();
    project.nself(&["plugin", "disable", "bad"]).done();
    let deeds = deeds(&project).await;
    let granted = &deeds[1].1.to_string();
    assert!(granted.contains("example.org"), "{granted}");
    let deeds: Vec<(&str, &Value)> = deeds.iter().map(|(deed, about)| (&**deed, about)).collect();
    assert_eq!(
        [deeds[0], deeds[2], deeds[3], deeds[4]],
        [
            ("plugin.enabled", &json!("1.0.0")),
            ("plugin.upgraded", &json!("2.0.0")),
            ("plugin.rolled_back", &json!("1.0.0")),
            ("plugin.disabled", &json!("1.0.0")),
        ]
    );
    assert_eq!((deeds.len(), deeds[1].0), (5, "plugin.granted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_take_is_not_done() {
    let project = Project::served("").await;
    let host = project.start();
    let client = project.database().client().await;
    let refuse = async |deed: &str| {
        let sql = format!(
            "alter table nself.audit_log drop constraint if exists is_full; \
             alter table nself.audit_log add constraint is_full check (action <> '{deed}') not valid"
        );
        client.batch_execute(&sql).await.unwrap();
    };
    project.put("bad", &bad("1.0.0"));
    refuse("plugin.enabled").await;
    project
        .nself(&["plugin", "enable", "bad", "--yes"])
        .refused(69, &["AUDIT_REFUSED", "it was not done"]);
    assert_eq!(host.caller().await.get("/bad/version").await.status, 404);
    assert_ne!(project.plugin("bad")["state"], "running");

    refuse("plugin.upgraded").await;
    project.nself(&["plugin", "enable", "bad", "--yes"]).done();
    project.put("bad", &bad("2.0.0"));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(69, &["AUDIT_REFUSED"]);
    let answer = host.caller().await.get("/bad/version").await;
    assert_eq!(answer.status, 200);
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    let stored = "select version, state from nself.plugins where id = 'bad'";
    let stored = client.query_one(stored, &[]).await.unwrap();
    assert_eq!(
        (stored.get::<_, &str>(0), stored.get::<_, &str>(1)),
        ("1.0.0", "started")
    );

    // Whoever has to get rid of a plugin can, whatever the log says.
    refuse("plugin.disabled").await;
    project.nself(&["plugin", "disable", "bad"]).done();
    assert_eq!(host.caller().await.get("/bad/version").await.status, 404);
    assert_eq!(host.logged(&["cannot append to the audit log"]), 1);
}

/// The plugin `bad` with a route that `other` has, too.
fn clashing(version: &str) -> Vec<u8> {
    changed(|manifest| {
        manifest["version"] = version.into();
        let routes = manifest["routes"].as_array_mut().expect("routes");
        let mut route = routes
            .iter_mut()
            .find(|route| route["path"] == "/bad/version");
        route.as_mut().expect("a route")["path"] = "/other/version".into();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_anything_is_written_down() {
    let project = Project::served("").await;
    let _host = project.start();
    project.put("other", &namesake("other"));
    project
        .nself(&["plugin", "enable", "other", "--yes"])
        .done();
    project.put("bad", &clashing("1.0.0"));
    project
        .nself(&["plugin", "enable", "bad", "--yes"])
        .refused(1, &["PLUGIN_DOES_NOT_FIT"]);
    project.put("bad", &bad("1.0.0"));
    project.nself(&["plugin", "enable", "bad", "--yes"]).done();
    project.put("bad", &clashing("2.0.0"));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["PLUGIN_DOES_NOT_FIT"]);
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    let deeds = deeds(&project).await;
    let deeds: Vec<&str> = deeds.iter().map(|(deed, _)| &**deed).collect();
    assert_eq!(deeds, ["plugin.enabled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_down_and_came_to_nothing_is_said_to_have_failed() {
    let project = Project::served("").await;
    let _host = project.start();
    let lock = project.path().join("plugins.lock");
    // A file cannot take the place of a directory.
    let block = || {
        let _ = fs::remove_file(&lock);
        fs::create_dir(&lock).expect("a directory");
    };
    let free = || fs::remove_dir(&lock).expect("it was empty");
    project.put("bad", &bad("1.0.0"));
    block();
    project
        .nself(&["plugin", "enable", "bad", "--yes"])
        .refused(65, &["PLUGINS_LOCK"]);
    free();
    project.nself(&["plugin", "enable", "bad", "--yes"]).done();
    let more = changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["requires"]["egress"] = json!(["example.org"]);
    });
    project.put("bad", &more);
    block();
    project
        .nself(&["plugin", "grant", "bad"])
        .refused(65, &["PLUGINS_LOCK"]);
    free();
    project.nself(&["plugin", "grant", "bad"]).done();
    block();
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(65, &["PLUGINS_LOCK"]);
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    let deeds = deeds(&project).await;
    let deeds: Vec<&str> = deeds.iter().map(|(deed, _)| &**deed).collect();
    assert_eq!(
        deeds,
        [
            "plugin.enabled",
            "plugin.enabling_failed",
            "plugin.enabled",
            "plugin.granted",
            "plugin.granting_failed",
            "plugin.granted",
            "plugin.upgraded",
            "plugin.exchange_failed",
        ]
    );
    let stored = "select version, state from nself.plugins where id = 'bad'";
    let client = project.database().client().await;
    let stored = client.query_one(stored, &[]).await.unwrap();
    assert_eq!(
        (stored.get::<_, &str>(0), stored.get::<_, &str>(1)),
        ("1.0.0", "started")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_tells_the_host_is_an_entry() {
    let project = Project::served("").await;
    let mut host = project.start();
    project.nself(&["log-level", "debug"]).done();
    project.nself(&["stop"]).done();
    let _ = host.ended();
    let client = project.database().client().await;
    let sql =
        "select action, target, source from nself.audit_log where action like 'host.%' order by at";
    let rows = client.query(sql, &[]).await.unwrap();
    let told: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| [row.get(0), row.get(1), row.get(2)])
        .collect();
    assert_eq!(
        told,
        [
            ["host.log_level_changed", "host", "/nself"],
            ["host.stop_asked", "host", "/nself"],
        ]
    );
}
