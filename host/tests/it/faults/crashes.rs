//! Plugins that crash the host: it says who it was, dies of what it was, and comes up without who does it again.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lifecycle::plugin_file::{bad, changed, hello, rename};
use crate::lifecycle::project::{Host, Project, eventually};

/// Lets `/bad/crash/{how}` end the host, and gives the signal that it died of, or its exit code.
async fn crash(host: &mut Host, how: &str) -> End {
    // The answer is lost with the host.
    let mut caller = host.caller().await;
    let _ = caller.try_get(&format!("/bad/crash/{how}")).await;
    let status = host.ended();
    (status.signal(), status.code())
}

/// What the handler has written.
fn report(project: &Project) -> String {
    fs::read_to_string(project.path().join(".nself/run/crash")).unwrap()
}

/// What the audit log says of crashes, the oldest first: action and target.
async fn audited(project: &Project) -> Vec<(String, String)> {
    let client = project.database().client().await;
    let sql = "select action, target from nself.audit_log where action in ('plugin.crashed', 'plugin.quarantined', \
               'plugin.released', 'host.crashed') order by at, sequence";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A number of `/metrics`.
async fn metric(host: &Host, name: &str) -> String {
    let metrics = host.caller().await.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let name = format!("{name}{{plugin=\"bad\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or("none").to_owned()
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_crashes_the_host_twice_in_a_row_is_left_out_until_it_is_released() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let needy = changed(|manifest| {
        rename(manifest, "needy");
        manifest["requires"]["capabilities"] = json!(["bad.echo/1"]);
    });
    project.enable("needy", &needy);
    let mut host = project.start();
    assert_eq!(report(&project), "", "nothing has crashed");
    assert_eq!(
        crash(&mut host, "segfault").await,
        (Some(Signal::SEGV.as_raw()), None)
    );
    let sha256 = project.plugin("bad")["sha256"].as_str().unwrap().to_owned();
    let written = report(&project);
    contains(
        &written,
        &[
            "plugin bad\nversion 1.0.0\n",
            &sha256,
            "how address\noffset ",
            "work GET /bad/crash/{how}\n",
            "signal 11\n",
        ],
    );

    // Once is no habit.
    let mut host = project.start();
    assert_eq!(
        host.logged(&["was crashed by a plugin", "SIGSEGV", "\"bad\""]),
        1
    );
    assert_eq!(project.plugin("bad")["state"], "started");
    assert_eq!(metric(&host, "nself_plugin_crashes").await, "1");
    assert_eq!(
        crash(&mut host, "abort").await.0,
        Some(Signal::ABORT.as_raw())
    );
    contains(
        &report(&project),
        &["plugin bad\n", "how call\n", "signal 6\n"],
    );

    // Twice is: the host and the others come up, whoever restarts it.
    let host = project.start();
    let reason = [
        "bad 1.0.0 is quarantined",
        "2 times",
        "SIGABRT in GET /bad/crash/{how}",
        "nself plugin release bad",
    ];
    let plugin = project.plugin("bad");
    assert_eq!(
        (&plugin["state"], &plugin["enabled"]),
        (&json!("quarantined"), &json!(true))
    );
    contains(plugin["reason"].as_str().unwrap(), &reason);
    let needy = project.plugin("needy");
    assert_eq!(needy["state"], "failed");
    contains(
        needy["reason"].as_str().unwrap(),
        &["needy needs bad", "quarantined"],
    );
    contains(&project.nself(&["plugin", "list"]).done().stdout, &reason);
    contains(
        &project.nself(&["plugin", "inspect", "bad"]).done().stdout,
        &reason,
    );
    let doctor = project.nself(&["doctor"]);
    assert_eq!(doctor.code, 4);
    contains(&doctor.stdout, &reason);
    project.nself(&["status"]).refused(4, &["UNHEALTHY"]);
    let mut caller = host.caller().await.with_token(&project.token());
    assert_eq!(caller.get("/hello/notes").await.status, 200);
    assert_eq!(caller.get("/bad/version").await.status, 404);
    let ready = caller.get("/readyz").await;
    assert_eq!(ready.status, 200, "the others are to be asked");
    let ready: Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!(ready["parts"]["bad"]["state"], "quarantined");
    contains(
        ready["parts"]["bad"]["reason"].as_str().unwrap(),
        &["crashed the host"],
    );
    assert_eq!(metric(&host, "nself_plugin_quarantined").await, "1");
    project
        .nself(&["plugin", "enable", "bad"])
        .refused(1, &["PLUGIN_QUARANTINED", "release bad"]);
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["PLUGIN_QUARANTINED"]);

    // Released, it runs, and who waited for it.
    let ran = project.nself(&["plugin", "release", "bad"]).done();
    contains(&ran.stdout, &["released bad 1.0.0; started: bad, needy"]);
    assert_eq!(caller.get("/bad/version").await.status, 200);
    assert_eq!(caller.get("/needy/version").await.status, 200);
    assert_eq!(metric(&host, "nself_plugin_quarantined").await, "0");
    project
        .nself(&["plugin", "release", "bad"])
        .refused(1, &["PLUGIN_NOT_QUARANTINED", "nself plugin list"]);
    let deeds = [
        "plugin.crashed",
        "plugin.crashed",
        "plugin.quarantined",
        "plugin.released",
    ];
    let told = deeds.map(|deed| (deed.to_owned(), "bad".to_owned()));
    assert_eq!(audited(&project).await, told);
}

/// What a process ended by: a signal, or a code.
type End = (Option<i32>, Option<i32>);

/// How it crashes, what the host dies of, and how it is found out.
const WAYS: [(&str, End, &[&str]); 5] = [
    (
        "thread-segfault",
        (Some(11), None),
        &["how address\n", "signal 11\n"],
    ),
    (
        "thread-abort",
        (Some(6), None),
        &["how thread\n", "signal 6\n"],
    ),
    (
        "blocking-abort",
        (Some(6), None),
        &["how call\n", "work blocking work\n"],
    ),
    (
        "overflow",
        (Some(6), None),
        &["how address\n", "signal 11\n"],
    ),
    (
        "exit",
        (None, Some(7)),
        &["how call\n", "work GET /bad/crash/{how}\n", "signal 0\n"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn it_is_found_out_however_a_plugin_ends_the_host() {
    // A run of no time at all is a good one: the plugin is forgiven whenever it has started.
    let project = Project::served("[plugins]\ngood_run_ms = 1\n").await;
    project.enable("bad", &bad("1.0.0"));
    for (how, end, parts) in WAYS {
        let mut host = project.start();
        let forgiven = async || (metric(&host, "nself_plugin_crashes").await == "0").then_some(());
        eventually("that it is forgiven", forgiven).await;
        assert_eq!(crash(&mut host, how).await, end, "{how}");
        contains(&report(&project), &["plugin bad\n"]);
        contains(&report(&project), parts);
    }
    let host = project.start();
    assert_eq!(
        host.logged(&["has overflowed its stack"]),
        1,
        "std says what it says"
    );
    assert_eq!(
        host.logged(&["was crashed by a plugin: exit in GET /bad/crash/{how}"]),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crashes_while_it_starts_is_left_out_and_another_version_takes_its_place() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0-start-crashes"));
    project.enable("hello", &hello());
    for _ in 0..2 {
        let ran = project
            .start_with(&["serve", "--port", "0"])
            .err()
            .expect("it crashes");
        assert_eq!(ran.code, -1, "by a signal: {ran:?}");
        contains(
            &report(&project),
            &["how address\n", "work create or start\n"],
        );
    }
    let mut host = project.start();
    assert_eq!(project.plugin("bad")["state"], "quarantined");
    project.nself(&["stop"]).done();
    assert!(host.ended().success());

    // Without a host it is seen and lifted just as well; the audit log hears of it when there is one.
    contains(
        &project.nself(&["plugin", "list"]).done().stdout,
        &["quarantined", "release bad"],
    );
    project
        .nself(&["plugin", "release", "hello"])
        .refused(1, &["hello is not quarantined"]);
    project
        .nself(&["plugin", "enable", "bad"])
        .refused(1, &["PLUGIN_QUARANTINED"]);

    let ran = project.nself(&["plugin", "release", "bad"]).done();
    contains(
        &ran.stdout,
        &["released bad 1.0.0-start-crashes; it starts with the next"],
    );
    for _ in 0..2 {
        assert!(project.start_with(&["serve", "--port", "0"]).is_err());
    }
    let host = project.start();
    assert_eq!(project.plugin("bad")["state"], "quarantined");
    let told = audited(&project).await;
    let told: Vec<&str> = told.iter().map(|(deed, _)| &**deed).collect();
    let again = ["plugin.crashed", "plugin.crashed", "plugin.quarantined"];
    assert_eq!(
        told,
        [&again[..], &["plugin.released"], &again[..]].concat()
    );

    project.put("bad", &bad("1.0.1"));
    let ran = project.nself(&["plugin", "upgrade", "bad"]).done();
    contains(&ran.stdout, &["bad 1.0.1 runs"]);
    assert_eq!(host.caller().await.get("/bad/version").await.status, 200);
    project
        .nself(&["plugin", "rollback", "bad"])
        .refused(1, &["PLUGIN_QUARANTINED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_done_is_nobodys_and_files_that_do_not_read_stop_nothing() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let mut host = project.start();
    host.signal(Signal::SEGV);
    assert_eq!(host.ended().signal(), Some(Signal::SEGV.as_raw()));
    assert!(!report(&project).contains("plugin"), "{}", report(&project));
    let mut host = project.start();
    assert_eq!(host.logged(&["crashed, and not in a plugin: SIGSEGV"]), 1);
    assert_eq!(
        audited(&project).await,
        [("host.crashed".to_owned(), "host".to_owned())]
    );
    assert_eq!(
        crash(&mut host, "segfault").await.0,
        Some(Signal::SEGV.as_raw())
    );

    // Half of what the handler wrote, and a history that somebody has edited.
    let (crash_file, history) = (
        project.path().join(".nself/run/crash"),
        project.path().join(".nself/crashes.toml"),
    );
    let written = report(&project);
    fs::write(&crash_file, &written[..written.len() / 2]).unwrap();
    fs::write(&history, "schema = [").unwrap();
    let mut host = project.start();
    assert_eq!(
        host.logged(&["what the last crash has left cannot be used", "breaks off"]),
        1
    );
    assert_eq!(
        host.logged(&[
            "crashes that were counted so far are forgotten",
            "crashes.toml"
        ]),
        1
    );
    for aside in [&crash_file, &history] {
        let name = format!("{}.unreadable", aside.display());
        assert!(fs::exists(&name).unwrap(), "{name}");
    }
    assert_eq!(project.plugin("bad")["state"], "started");
    project.nself(&["stop"]).done();
    assert!(host.ended().success());

    // Nowhere to write: it is said, and the host runs as before.
    fs::remove_file(&crash_file).unwrap();
    fs::create_dir(&crash_file).unwrap();
    let mut host = project.start();
    assert_eq!(
        host.logged(&["will not be attributed to a plugin", "run/crash"]),
        1
    );
    assert_eq!(host.caller().await.get("/bad/version").await.status, 200);
    assert_eq!(
        crash(&mut host, "segfault").await.0,
        Some(Signal::SEGV.as_raw())
    );
    fs::remove_dir(&crash_file).unwrap();
    let mut host = project.start();
    assert_eq!(
        crash(&mut host, "segfault").await.0,
        Some(Signal::SEGV.as_raw())
    );
    fs::create_dir_all(history.join("full")).unwrap();
    let host = project.start();
    assert_eq!(host.logged(&["this crash is not counted"]), 1);
    assert_eq!(project.plugin("bad")["state"], "started");
}
