//! The built `nself` and its command line.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::wait::within;

/// Enables a plugin before the host runs.
pub(crate) async fn enable(project: &Path, database_url: &str, id: &str) {
    let enabling = tokio::process::Command::from(command(project, database_url))
        .args(["plugin", "enable", id])
        .kill_on_drop(true)
        .output();
    let done = within("enabling a plugin", enabling).await;
    let done = done.expect("the built host starts");
    assert!(
        done.status.success(),
        "{id}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Where a host in this project writes its log.
pub(crate) fn log_in(project: &Path) -> PathBuf {
    project.join("host.log")
}

/// A call of the built program in a project.
pub(crate) fn command(project: &Path, database_url: &str) -> Command {
    command_of(built(), project, database_url)
}

fn command_of(program: &Path, project: &Path, database_url: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("DATABASE_URL", database_url)
        .current_dir(project)
        .stdin(Stdio::null());
    command
}

/// A directory that is a disk of its own.
pub(crate) struct SmallDisk {
    pub(crate) directory: PathBuf,
    pub(crate) bytes: u64,
}

impl SmallDisk {
    /// A call of the built program that has it, in a namespace of mounts that ends with the program.
    pub(crate) fn command(&self, project: &Path, database_url: &str) -> Command {
        const SCRIPT: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin mount -t tmpfs -o \"size=$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"";
        let mut command = command_of(Path::new("unshare"), project, database_url);
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
        command.arg(self.bytes.to_string());
        command.arg(&self.directory).arg(built());
        command
    }
}

/// The built host, for tests of what only a whole installation has. It is built here, once per process: cargo builds no program for
/// the tests of another package, and one that lies about may be older than its source.
///
/// # Panics
///
/// When it does not build.
pub fn built() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bin",
            "nself",
        ]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = cargo.status().expect("cargo starts");
        assert!(built.success(), "the host does not build");
        let test = env::current_exe().expect("a test knows its own file");
        let near = test.ancestors().nth(2).expect("tests lie in target");
        near.join("nself")
    })
}

/// The gateway's address in the line that says that it is ready.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let ready: Value = serde_json::from_str(line).ok()?;
    let url = ready["data"]["urls"][0]["url"].as_str()?;
    url.strip_prefix("http://")?.parse().ok()
}
