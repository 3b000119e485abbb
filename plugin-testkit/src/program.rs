//! The host as a program of its own: it can be killed at any moment, and its log is whole.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use nself::postgres::scratch::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::wait::within;

/// Where its log goes, in its project.
const LOG: &str = "host.log";

/// A running `nself serve`. It is killed when the test ends, however it ends.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it in a project and waits until it is ready.
    pub(crate) async fn start(project: &Path, database: &TestDatabase) -> Self {
        let log = File::options()
            .append(true)
            .create(true)
            .open(project.join(LOG));
        let mut child = command(project, database)
            .args(["serve", "--json"])
            .stdout(Stdio::piped())
            .stderr(log.expect("the project is writable"))
            .spawn()
            .expect("the built host starts");
        let stdout = child.stdout.take().expect("it was piped");
        let mut line = String::new();
        let mut lines = BufReader::new(stdout);
        let said = within("starting the program", lines.read_line(&mut line)).await;
        said.expect("what it says is text");
        let address = address_in(&line);
        let address =
            address.unwrap_or_else(|| panic!("it did not start: {line}{}", log_of(project)));
        Self { child, address }
    }

    /// Kills it, as the kernel does when memory is short: it learns nothing of it.
    pub(crate) async fn kill(&mut self) {
        within("killing the program", self.child.kill())
            .await
            .expect("it ran");
    }

    /// Asks it to end, and waits; how it ended.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().and_then(|id| id.try_into().ok());
        let pid = pid.and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, Signal::TERM).expect("it can be told");
        let ended = within("stopping the program", self.child.wait()).await;
        ended.expect("it is a child of the test")
    }
}

/// Enables a plugin before the host runs.
pub(crate) async fn enable(project: &Path, database: &TestDatabase, id: &str) {
    let mut enabling = command(project, database);
    let enabling = enabling.args(["plugin", "enable", id]).output();
    let done = within("enabling a plugin", enabling).await;
    let done = done.expect("the built host starts");
    assert!(
        done.status.success(),
        "{id}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What a host in this project has logged so far.
pub(crate) fn log_of(project: &Path) -> String {
    std::fs::read_to_string(project.join(LOG)).unwrap_or_default()
}

fn command(project: &Path, database: &TestDatabase) -> Command {
    let mut command = Command::new(built());
    command
        .env_clear()
        .env("DATABASE_URL", database.url())
        .current_dir(project)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The built host. It is built here, once per process: cargo builds no program for the tests of another package, and one
/// that lies about may be older than its source.
pub(crate) fn built() -> &'static OsStr {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "-p", "nself"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = cargo.status().expect("cargo starts");
        assert!(built.success(), "the host does not build");
        let test = env::current_exe().expect("a test knows its own file");
        let near = test.ancestors().nth(2).expect("tests lie in target");
        near.join("nself")
    });
    program.as_os_str()
}

/// The gateway's address in the line that says that it is ready.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let ready: Value = serde_json::from_str(line).ok()?;
    let url = ready["data"]["urls"][0]["url"].as_str()?;
    url.strip_prefix("http://")?.parse().ok()
}
