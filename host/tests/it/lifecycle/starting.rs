//! Starts that meet something in their way.

use std::fs;
use std::net::TcpListener;

use super::plugin_file::bad;
use super::project::Project;

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_setting() {
    let project = Project::served("").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = project
        .start_with(&["serve", "--port", &port])
        .err()
        .expect("the port is taken");
    ran.refused(69, &[&port, "http.port"]);
    assert!(
        !project.path().join(".nself/run/control.sock").exists(),
        "a host that did not start leaves no socket"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_project_has_one_host() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let mut host = project.start();
    let pid = host.pid().to_string();
    let second = project
        .start_with(&["serve", "--port", "0"])
        .err()
        .expect("one host runs");
    second.refused(69, &["already runs", &pid, "nself stop"]);
    let again = project.nself(&["up", "--port", "0"]).done();
    assert!(again.stderr.contains("already runs"), "{again:?}");
    assert!(
        again.stdout.contains(&host.address.to_string()),
        "{again:?}"
    );
    assert!(host.runs());
    let found = project.nself(&["doctor"]).done().stdout;
    assert!(
        found.contains(&format!("pid {pid}, all its parts do")),
        "{found}"
    );
    assert!(!found.contains("failed"), "{found}");

    project.nself(&["stop"]).done();
    assert!(!host.runs(), "stop has waited for the process to end");
    project.nself(&["status"]).refused(4, &["no host runs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_the_log_does_not_stop_the_host() {
    let project = Project::served("[log]\nfile = \"/dev/full\"\n").await;
    project.enable("bad", &bad("1.0.0"));
    let mut host = project.start();
    let mut caller = host.caller().await;
    for _ in 0..200 {
        assert_eq!(caller.get("/bad/version").await.status, 200);
        assert_eq!(caller.get("/bad/panic/before").await.status, 500);
    }
    assert_eq!(project.plugin("bad")["state"], "started");
    project.nself(&["stop"]).done();
    assert!(host.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_that_cannot_be_opened_is_named() {
    let project = Project::served("[log]\nfile = \"missing/host.log\"\n").await;
    let ran = project
        .start_with(&["serve", "--port", "0"])
        .err()
        .expect("no such directory");
    ran.refused(78, &["missing/host.log", "log.file"]);
    fs::create_dir(project.path().join("missing")).unwrap();
    drop(project.start());
}
