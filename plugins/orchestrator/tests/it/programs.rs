//! Programs that workflows run, by the built host: what of them is an output, what they may use, when they are refused, and that nothing
//! of them outlives its time. Where the tests run as root, programs run as `nobody`.

mod containers;
mod ends;
mod held;
mod refused;
mod tasks;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{builder, definition, ended, put, start};

/// A built host that runs what is listed, with these lines below `[programs]`.
async fn host(run: &str, programs: &str) -> TestHost {
    let config = format!("[plugins.orchestrator]\nrun = [{run}]\n[programs]\n{programs}\n");
    builder().program().config(&config).start().await
}

/// A folder that everybody may write to: programs are somebody else.
fn shared_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), everybody).expect("it is ours");
    folder
}

/// How a workflow of these tasks ends.
async fn run(host: &TestHost, name: &str, tasks: &str) -> Value {
    put(host, name, &definition(name, "", tasks)).await;
    let started = start(host, name, json!({}), 0).await;
    ended(host, &started["id"]).await
}

/// A task that runs a shell with these fields.
fn shell(command: &str, more: &Value) -> String {
    let mut shell = more.clone();
    shell["command"] = json!(command);
    format!("  - it:\n      run: {}\n", json!({"shell": shell}))
}

/// Command lines of the processes that have this word in theirs.
fn alive(word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .expect("there are processes")
        .flatten();
    let lines = processes.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(word)).collect()
}

async fn until_gone(word: &str) {
    eventually(&format!("nothing with {word} is left"), async || {
        alive(word).is_empty().then_some(())
    })
    .await;
}

/// Waits for a file that a program writes; what is in it.
async fn until_written(file: &std::path::Path) -> String {
    eventually(&format!("{} is written", file.display()), async || {
        fs::read_to_string(file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .await
}

/// A word that no other test uses, for the command lines of programs.
fn word() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

fn path(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
