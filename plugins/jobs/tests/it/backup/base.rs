//! Base backups of a private cluster by a job: a whole installation, asked by its command line.

use std::{fs, path::Path, process::Command};

use nself_plugin_testkit::{eventually, library, nself_program};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{builder, enqueue, until};

/// A project with a cluster of its own, in which the plugin runs.
struct Installation(TempDir);

impl Installation {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // The account that runs Postgres has to pass.
        pass(directory.path());
        let installation = Self(directory);
        installation.run("init --template blank");
        let plugin = library("nself-plugin-jobs").path;
        let place = installation.0.path().join("plugins.d/jobs.so");
        fs::copy(plugin, place).expect("the plugin is copied");
        installation.run("plugin enable jobs --yes");
        installation.run("up --detach --port 0");
        installation
    }

    fn run(&self, line: &str) -> Value {
        let words: Vec<&str> = line.split(' ').collect();
        self.call(&words)
    }

    fn call(&self, words: &[&str]) -> Value {
        let ran = Command::new(nself_program())
            .args(words)
            .arg("--json")
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/nowhere")])
            .current_dir(self.0.path())
            .output()
            .expect("the built program runs");
        let [said, told] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(ran.status.success(), "{words:?}: {said}{told}");
        let answer: Value = said.parse().unwrap_or_default();
        answer["data"].clone()
    }

    fn sql(&self, statement: &str) -> String {
        let ran = Command::new(nself_program())
            .args(["db", "shell", "--", "-Atc", statement])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.0.path())
            .output()
            .expect("the built program runs");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// The time of the newest backup, as whoever watches the host sees it.
    async fn age(&self) -> f64 {
        let urls = self.run("urls");
        let urls = urls.as_array().expect("a list");
        let metrics = urls.iter().find(|url| url["name"] == "metrics");
        let address = metrics.expect("metrics")["url"].as_str().expect("a URL");
        let read = tokio::process::Command::new("curl")
            .args(["--silent", "--fail", address])
            .output()
            .await
            .expect("curl");
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        let name = "nself_backup_last_success_timestamp_seconds ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name}in {text}"));
        line.parse().expect("a number")
    }

    /// What `doctor` says of backups.
    fn doctor(&self) -> Value {
        let findings = self.run("doctor");
        let findings = findings.as_array().expect("a list");
        let found = findings.iter().find(|one| one["check"] == "backups");
        found.expect("it looks at backups").clone()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let mut stop = Command::new(nself_program());
        let stopped = stop.arg("stop").current_dir(self.0.path()).output();
        // A test that fails says why it did.
        drop(stopped);
    }
}

fn pass(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory, open).expect("its owner may");
}

#[tokio::test]
async fn a_job_makes_a_base_backup_that_is_tried_and_everybody_sees_how_old_it_is() {
    let installation = Installation::start();
    assert!(installation.age().await.abs() < f64::EPSILON);
    let none = installation.doctor();
    assert_eq!(none["state"], "warning");
    assert!(
        none["fix"]
            .as_str()
            .expect("a fix")
            .contains("backup create"),
        "{none}"
    );

    let job = installation.sql("select jobs.enqueue('jobs.base_backup', '{}')");
    let made = eventually("the job is done", async || {
        let job = installation.run(&format!("jobs show {job}"));
        (job["state"] == "completed").then(|| job["result"].clone())
    })
    .await;
    let listed = installation.run("backup list")["backups"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(
        (&listed[0]["id"], &listed[0]["from"], &listed[0]["bytes"]),
        (&made["id"], &made["from"], &made["bytes"])
    );
    assert_eq!(listed[0]["tried"]["rows"], made["rows"]);
    let audited =
        "select details ->> 'backup', actor from nself.audit_log where action = 'backup.created'";
    let id = made["id"].as_str().expect("an id");
    assert_eq!(installation.sql(audited), format!("{id}|plugin:jobs"));

    assert!(installation.age().await > 1.7e9);
    let found = installation.doctor();
    assert_eq!(found["state"], "ok", "{found}");
    assert!(found["found"].as_str().expect("a text").contains(id));
}

#[tokio::test]
async fn of_a_database_that_is_not_ours_there_is_none_and_no_attempt_would_help() {
    let host = builder().start().await;
    let id = enqueue(&host, "jobs.base_backup", json!({}), json!({})).await;
    let ended = until(&host, id, "discarded").await;
    let told = ended["error"]["message"].as_str().expect("a message");
    assert!(told.contains("not a private cluster"), "{ended}");
    assert!(
        !host.metrics().await.contains("nself_backup"),
        "nothing to watch"
    );
    host.stop().await;
}
