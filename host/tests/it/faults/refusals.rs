//! Plugins that are refused: their manifest, their configuration, or what they are beside the others. Each gets one line
//! that says which plugin, what is wrong and what to do; the others run.

use serde_json::{Value, json};

use crate::lifecycle::plugin_file::{bad, changed, hello, namesake, rename};
use crate::lifecycle::project::{Host, Project};

/// The bad plugin as `id`, and otherwise as `change` says.
fn variant(id: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    changed(|manifest| {
        rename(manifest, id);
        change(manifest);
    })
}

fn needing(id: &str, needed: &str) -> Vec<u8> {
    variant(id, |manifest| {
        manifest["depends"] = json!([{"id": needed, "version": "^1"}]);
    })
}

/// Enabling `id` is refused in words that hold all of `parts`; another plugin still answers.
#[track_caller]
fn refused(project: &Project, host: &mut Host, id: &str, bytes: &[u8], parts: &[&str]) {
    let path = project.put(id, bytes);
    let ran = project.nself(&["plugin", "enable", id]);
    assert_ne!(ran.code, 0, "{ran:?}");
    let first = ran.stderr.lines().next().unwrap_or_default().to_owned();
    for part in parts {
        assert!(first.contains(part), "no {part:?} in {first:?}");
    }
    assert!(host.runs());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_does_not_fit_is_refused_in_words_that_say_why() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let mut host = project.start();
    let host_ref = &mut host;
    let mut check = |id: &str, bytes: &[u8], parts: &[&str]| {
        refused(&project, host_ref, id, bytes, parts);
    };

    check(
        "lonely",
        &needing("lonely", "nobody"),
        &["lonely", "needs", "nobody"],
    );
    check(
        "older",
        &variant("older", |manifest| {
            manifest["depends"] = json!([{"id": "hello", "version": "^7"}]);
        }),
        &["older", "hello", "^7", "0.1.0"],
    );
    check(
        "copy",
        &variant("copy", |manifest| {
            manifest["routes"][0]["path"] = "/bad/version".into();
        }),
        &["copy", "/bad/version", "bad"],
    );
    check(
        "echoer",
        &variant("echoer", |manifest| {
            manifest["provides"] = json!(["bad.echo/1"]);
        }),
        &["echoer", "bad.echo/1", "bad"],
    );
    check(
        "dreamer",
        &variant("dreamer", |manifest| {
            manifest["requires"]["capabilities"] = json!(["nself.telepathy/1"]);
        }),
        &["dreamer", "nself.telepathy/1"],
    );
    check(
        "caller",
        &variant("caller", |manifest| {
            manifest["requires"]["capabilities"] = json!(["mail.send/1"]);
        }),
        &["caller", "mail.send/1"],
    );
    check(
        "future",
        &variant("future", |manifest| {
            manifest["abi"]["needs"] = json!(999);
        }),
        &["future", "1.999", "upgrade nself"],
    );
    check("text", b"not a library\n", &["text"]);

    // Two files that say the same name.
    let second = project.put("bad-again", &bad("1.0.1"));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["bad is there twice", "bad-again.so", "keep one"]);
    std::fs::remove_file(second).unwrap();

    let mut caller = host.caller().await;
    assert_eq!(caller.get("/bad/version").await.status, 200);
    assert_eq!(caller.get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_start_those_that_fit_run_and_each_other_says_why_not() {
    let project = Project::served("[plugins.bad.config]\nsize = \"many\"\n").await;
    for (id, bytes) in [
        ("hello", hello()),
        ("bad", bad("1.0.0")),
        ("needy", needing("needy", "bad")),
        ("one", needing("one", "two")),
        ("two", needing("two", "one")),
        ("good", namesake("good")),
        (
            "same",
            variant("same", |manifest| {
                manifest["routes"][1]["path"] = "/good/counts".into();
            }),
        ),
    ] {
        project.enable(id, &bytes);
    }
    project.put("garbage", b"\x7fELF and then nothing");
    let host = project.start();
    let reasons: [(&str, &[&str]); 5] = [
        ("bad", &["plugins.bad.config.size", "integer", "\"many\""]),
        ("needy", &["needy", "bad"]),
        ("one", &["one", "two"]),
        ("two", &["one", "two"]),
        ("same", &["/good/counts", "good"]),
    ];
    for (id, parts) in reasons {
        let plugin = project.plugin(id);
        assert_eq!(plugin["state"], "failed", "{plugin}");
        let reason = plugin["reason"].as_str().unwrap();
        for part in parts {
            assert!(reason.contains(part), "{id}: no {part:?} in {reason:?}");
        }
    }
    for id in ["hello", "good"] {
        assert_eq!(project.plugin(id)["state"], "started");
    }
    assert_eq!(host.caller().await.get("/good/version").await.status, 200);
    assert_eq!(host.caller().await.get("/bad/version").await.status, 404);
    assert_eq!(
        host.caller().await.get("/readyz").await.status,
        503,
        "not everything that should run does"
    );

    // What another needs is not taken away under it.
    project.configure("");
    drop(host);
    let host = project.start();
    assert_eq!(host.caller().await.get("/needy/version").await.status, 200);
    project
        .nself(&["plugin", "disable", "bad"])
        .refused(1, &["needy", "--cascade"]);
    project
        .nself(&["plugin", "disable", "bad", "--cascade"])
        .done();
    assert_eq!(host.caller().await.get("/needy/version").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_leaves_a_running_plugin_without_what_it_needs_is_refused() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let first = variant("first", |manifest| {
        manifest["depends"] = json!([{"id": "bad", "version": "^1"}]);
    });
    project.enable("first", &first);
    let host = project.start();
    project.put("bad", &bad("2.0.0"));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["first", "^1", "2.0.0"]);
    let answer = host.caller().await.get("/bad/version").await;
    assert_eq!(answer.status, 200);
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    project.put("bad", &bad("1.1.0"));
    project.nself(&["plugin", "upgrade", "bad"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_a_capability_of_a_plugin_that_did_not_start_is_told_so() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0-start-panics"));
    let user = variant("user", |manifest| {
        manifest["requires"]["capabilities"] = json!(["bad.echo/1"]);
    });
    project.enable("user", &user);
    let _host = project.start();
    let user = project.plugin("user");
    assert_eq!(user["state"], "failed", "{user}");
    assert!(user["reason"].as_str().unwrap().contains("bad"), "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_plugin_leaves_its_data_and_no_login_behind() {
    let project = Project::served("").await;
    project.enable("hello", &hello());
    let host = project.start();
    let client = project.database().client().await;
    let count = async |sql: &str| -> i64 { client.query_one(sql, &[]).await.unwrap().get(0) };
    let logins = "select count(*) from pg_roles where rolname = current_database() || '_hello'";
    assert_eq!(count(logins).await, 1);
    project
        .nself(&["plugin", "remove", "hello", "--yes"])
        .refused(1, &["hello runs"]);
    project.nself(&["plugin", "disable", "hello"]).done();
    project
        .nself(&["plugin", "remove", "hello", "--yes"])
        .done();
    assert_eq!(count(logins).await, 0);
    assert_eq!(count("select count(*) from hello.notes").await, 0);
    assert_eq!(count("select count(*) from nself.plugins").await, 0);
    project
        .nself(&["plugin", "remove", "hello", "--yes"])
        .refused(1, &["hello"]);
    project.put("hello", &hello());
    project.nself(&["plugin", "enable", "hello"]).done();
    let answer = host.caller().await.get("/hello/notes").await;
    assert_eq!(answer.status, 401, "it is there again");
}
