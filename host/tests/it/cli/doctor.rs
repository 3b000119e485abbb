//! `nself doctor`: what it finds, and what it says to do.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use nself::cli::CliError;
use nself::control::{Control, ControlServer, ProgressSender};
use nself::postgres::scratch::Scratch;
use serde_json::{Value, json};

use super::{Project, Ran};

/// A finding of an answer in JSON.
fn found(ran: &Ran, check: &str) -> Value {
    let findings = ran.json()["data"].clone();
    let is_it = |one: &&Value| one["check"] == check;
    let found = findings.as_array().into_iter().flatten().find(is_it);
    found
        .unwrap_or_else(|| panic!("no {check} in {ran:?}"))
        .clone()
}

fn state(ran: &Ran, check: &str) -> String {
    found(ran, check)["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// On a port that nobody has, most likely.
fn configured(more: &str) -> Project {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    Project::with(&[(
        "nself.toml",
        &format!("[http]\nport = {}\n{more}", free.port()),
    )])
}

#[test]
fn a_new_project_has_nothing_wrong_and_is_told_what_comes_next() {
    let project = configured("");
    let ran = project.run_with(&["doctor", "--json"], &[("PATH", "/usr/bin:/bin")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for check in ["configuration", "plugins", "port", "database", "clock"] {
        assert_eq!(state(&ran, check), "ok", "{ran:?}");
    }
    assert_eq!(found(&ran, "host")["fix"], "start it with `nself up`");
    assert_eq!(state(&ran, "secrets"), "warning");
    assert!(
        !project.path().join(".nself").exists(),
        "it looks, and makes nothing"
    );
    let text = project
        .run_with(&["doctor"], &[("PATH", "/usr/bin:/bin")])
        .stdout;
    assert!(
        text.contains("host: none runs in this project\n  why: nobody answers"),
        "{text}"
    );
}

#[test]
fn a_configuration_that_does_not_read_is_the_first_thing_to_mend() {
    let project = Project::with(&[("nself.toml", "[http]\nprot = 1\n")]);
    let ran = project.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let first = found(&ran, "configuration");
    assert_eq!(
        (&first["state"], &first["fix"]),
        (&json!("failed"), &json!("did you mean `http.port`?"))
    );
    assert_eq!(state(&ran, "database"), "skipped");
    project
        .run(&["doctor"])
        .check(4, &["error[UNHEALTHY]", "one thing is wrong"]);
}

#[test]
fn secrets_that_others_read_and_a_master_key_that_is_gone_are_found() {
    let project = configured("");
    let secrets = project.path().join(".nself/secrets");
    fs::create_dir_all(&secrets).unwrap();
    for directory in [&project.path().join(".nself"), &secrets] {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
    }
    let write = |name: &str, mode: u32| {
        fs::write(secrets.join(name), "never-shown").unwrap();
        fs::set_permissions(secrets.join(name), Permissions::from_mode(mode)).unwrap();
    };
    write("database-password", 0o600);
    let ran = project.run(&["doctor", "--json"]);
    let lacks = found(&ran, "secrets");
    assert_eq!(
        (&lacks["state"], &lacks["found"]),
        (&json!("warning"), &json!("1, and no master-key"))
    );
    write("master-key", 0o644);
    let ran = project.run(&["doctor", "--json"]);
    let loose = found(&ran, "secrets");
    assert_eq!(
        (ran.code, &loose["state"]),
        (4, &json!("failed")),
        "{loose}"
    );
    assert!(loose["fix"].as_str().unwrap().contains("chmod"), "{loose}");
    assert!(!ran.stdout.contains("never-shown"));
    write("master-key", 0o600);
    assert_eq!(
        found(&project.run(&["doctor", "--json"]), "secrets")["found"],
        "2, read by their owner alone"
    );
}

#[test]
fn the_port_that_sends_on_to_the_others_is_looked_at_too() {
    let (taken, free) = [(); 2]
        .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
        .into();
    let (taken_port, free_port) = (
        taken.local_addr().unwrap().port(),
        free.local_addr().unwrap().port(),
    );
    drop(free);
    let text = format!("[http]\nport = {free_port}\n[http.tls]\nredirect_port = {taken_port}\n");
    let project = Project::with(&[("nself.toml", &text)]);
    let port = found(&project.run(&["doctor", "--json"]), "port");
    assert_eq!(port["state"], "failed", "{port}");
    let says = port["found"].as_str().unwrap();
    assert!(says.contains("http.tls.redirect_port"), "{port}");
    drop(taken);
    let port = found(&project.run(&["doctor", "--json"]), "port");
    let both = format!("127.0.0.1:{free_port} is free, 127.0.0.1:{taken_port} is free");
    assert_eq!(port["found"], *both);
}

#[test]
fn a_port_that_somebody_has_and_a_plugin_that_is_gone_are_found() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = Project::with(&[("nself.toml", &format!("[http]\nport = {port}\n"))]);
    let sha256 = "a".repeat(64);
    let lock = format!(
        "schema = 1\n\n[plugins.gone]\nenabled = true\nversion = \"1.0.0\"\nsha256 = \"{sha256}\"\n"
    );
    fs::write(project.path().join("plugins.lock"), lock).unwrap();
    fs::create_dir(project.path().join("plugins.d")).unwrap();
    let ran = project.run(&["doctor", "--json"]);
    let port_found = found(&ran, "port");
    assert_eq!(
        (ran.code, &port_found["state"]),
        (4, &json!("failed")),
        "{port_found}"
    );
    assert!(
        port_found["fix"]
            .as_str()
            .unwrap()
            .contains(&format!("sport = :{port}"))
    );
    let plugins = found(&ran, "plugins");
    assert_eq!(plugins["state"], "failed", "{plugins}");
    assert!(
        plugins["found"].as_str().unwrap().contains("gone"),
        "{plugins}"
    );
}

#[tokio::test]
async fn a_database_elsewhere_is_asked_and_its_password_is_nobodys_business() {
    let database = Scratch::shared().database().await;
    let project = configured("");
    let url = database.url();
    let ran = project.run_with(&["doctor", "--json"], &[("DATABASE_URL", &url)]);
    let there = found(&ran, "database");
    assert_eq!((ran.code, &there["state"]), (0, &json!("ok")), "{ran:?}");
    assert!(
        there["found"].as_str().unwrap().starts_with("PostgreSQL 1"),
        "{there}"
    );
    assert!(
        found(&ran, "clock")["found"]
            .as_str()
            .unwrap()
            .contains("0.0 s apart"),
        "{ran:?}"
    );

    let nobody = "postgres://app:never-shown@127.0.0.1:1/nself?sslmode=disable";
    let ran = project.run_with(&["doctor", "--json"], &[("DATABASE_URL", nobody)]);
    let away = found(&ran, "database");
    assert_eq!((ran.code, &away["state"]), (4, &json!("failed")), "{ran:?}");
    assert!(
        away["found"]
            .as_str()
            .unwrap()
            .starts_with("app@127.0.0.1:1/nself does not answer")
    );
    assert_eq!(state(&ran, "clock"), "skipped", "{ran:?}");
    let wrong = project.run_with(
        &["doctor", "--json"],
        &[("DATABASE_URL", "mysql://never-shown")],
    );
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(![ran.stdout, wrong.stdout].concat().contains("never-shown"));
    let none = configured("[database]\nbin_directory = \"nowhere\"\n").run(&["doctor", "--json"]);
    assert_eq!(state(&none, "database"), "failed", "{none:?}");
}

#[test]
fn a_limit_of_open_files_that_few_connections_reach_is_a_warning() {
    let project = configured("");
    let line = format!(
        "ulimit -n 256; {} doctor --json",
        env!("CARGO_BIN_EXE_nself")
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(project.path())
        .output()
        .unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let files = found(&ran, "files");
    assert_eq!(
        (&files["state"], &files["found"]),
        (&json!("warning"), &json!("at most 256 open at a time"))
    );
}

/// A host that says this of itself.
struct Says(Value);

impl Control for Says {
    async fn handle(
        &self,
        command: String,
        _: Value,
        _: ProgressSender,
    ) -> Result<Value, CliError> {
        assert_eq!(command, "status");
        Ok(self.0.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_host_says_of_itself_counts() {
    let healthy = json!({
        "version": "0.1.0", "pid": std::process::id(), "healthy": true, "gateway": "http://127.0.0.1:3000",
        "database_state": "running", "database": "a private one",
    });
    let mut ill = healthy.clone();
    ill["healthy"] = json!(false);
    ill["database_state"] = json!("away");
    let plugin = |state: &str, degraded: bool| json!([{"id": "jobs", "enabled": true, "state": state, "degraded": degraded, "reason": "task files failed 3 times"}]);
    let mut unwell = healthy.clone();
    unwell["plugins"] = plugin("started", true);
    let mut missing = healthy.clone();
    missing["healthy"] = json!(false);
    missing["plugins"] = plugin("failed", false);
    for (says, code, expected) in [
        (healthy, 0, ["ok", "ok"]),
        (ill, 4, ["failed", "failed"]),
        (unwell, 0, ["warning", "ok"]),
        (missing, 4, ["failed", "ok"]),
    ] {
        let project = Project::empty();
        let server = ControlServer::bind(&project.path().join(".nself")).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let is_named = says["plugins"].is_array();
        let running = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            server.run(Arc::new(Says(says)), stopped).await;
        });
        let ran = project.run(&["doctor", "--json"]);
        for (check, expected) in ["host", "database"].into_iter().zip(expected) {
            assert_eq!(state(&ran, check), expected, "{ran:?}");
        }
        let host = found(&ran, "host");
        let told = host["found"].as_str().unwrap();
        let is_told = told.contains("jobs: task files failed 3 times");
        assert_eq!(is_told, is_named, "{told}");
        assert_eq!(
            (ran.code, found(&ran, "port")["found"].as_str()),
            (code, Some("http://127.0.0.1:3000"))
        );
        stop.send(()).unwrap();
        running.await.unwrap();
    }
}
