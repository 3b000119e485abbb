//! A client that others wrote: npm's `oauth4webapi`, installed into the target directory once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

use crate::stage::Stage;

const PACKAGE: &str = "oauth4webapi@3.8.8";

const SCRIPT: &str = include_str!("device_flow.mjs");

static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();

/// Takes a step of the script against the host.
pub(crate) async fn step(stage: &Stage, words: &[&str]) -> Value {
    let folder = INSTALLED.get_or_init(install).await;
    let host = format!("http://{}", stage.host.address());
    let mut node = Command::new("node");
    let node = node.args(["--input-type=module", "-", &host]).args(words);
    let node = node.current_dir(folder).stdin(Stdio::piped());
    let node = node.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node
        .spawn()
        .expect("install node 20 or newer: this test runs a client in it");
    let mut input = node.stdin.take().expect("it reads its script");
    input
        .write_all(SCRIPT.as_bytes())
        .await
        .expect("it reads its script");
    drop(input);
    let output = node.wait_with_output().await.expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {told}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}: {told}"))
}

/// Beside where it belongs and then moved there: another test run may be doing the same.
async fn install() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
    let folder = root.join(PACKAGE.replace('@', "-"));
    if folder.join("node_modules").is_dir() {
        return folder;
    }
    let beside = root.join(format!(
        "{}.{}",
        PACKAGE.replace('@', "-"),
        std::process::id()
    ));
    fs::create_dir_all(&beside).expect("the target directory can be written");
    fs::write(beside.join("package.json"), "{}").expect("the target directory can be written");
    let arguments = [
        "install",
        "--no-audit",
        "--no-fund",
        "--save-exact",
        PACKAGE,
    ];
    let npm = Command::new("npm")
        .args(arguments)
        .current_dir(&beside)
        .output()
        .await;
    let npm = npm.expect("install npm: this test fetches a client with it");
    assert!(
        npm.status.success(),
        "npm: {}",
        String::from_utf8_lossy(&npm.stderr)
    );
    // Whoever was first has installed the same.
    if fs::rename(&beside, &folder).is_err() {
        fs::remove_dir_all(&beside).expect("the target directory can be written");
    }
    folder
}
