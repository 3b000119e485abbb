//! Running programs, and waiting for what they say.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long something may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("compose is a folder of the repository")
        .to_owned()
}

/// A command that runs in the root, without what cargo adds to the environment of a test.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    for name in [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "LD_LIBRARY_PATH",
        "RUSTUP_TOOLCHAIN",
    ] {
        command.env_remove(name);
    }
    command
}

/// Whether this machine lets services run as the users of their containers, in networks of their own. Where it does not, as for
/// an ordinary user, it says so, and what needs it is left out.
pub fn may_run_services() -> bool {
    let network =
        "ip link add name lab type bridge && ip link add name one type veth peer name other";
    let tried = answer(
        command("unshare").args(["--mount", "--net", "--pid", "--fork", "sh", "-c", network]),
    );
    if !tried.success {
        eprintln!(
            "SKIPPED: services in networks of their own take what this machine refuses: {}",
            tried.err
        );
    }
    tried.success && may_give_files_away()
}

/// Whether files can be given to the users of services: as root. Where not, it says so, and what needs it is left out.
pub fn may_give_files_away() -> bool {
    let is_root = answer(command("id").arg("-u")).good("id").trim() == "0";
    if !is_root {
        eprintln!("SKIPPED: files for the users of services are made by root alone");
    }
    is_root
}

/// What a program answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs it to its end.
pub fn answer(command: &mut Command) -> Answer {
    let output = command.output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Answer {
        success: status.success(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Answer {
    /// Its standard output, when it succeeded.
    ///
    /// # Panics
    ///
    /// With everything it said, when it did not.
    #[track_caller]
    pub fn good(self, what: &str) -> String {
        assert!(self.success, "{what} failed\n{}\n{}", self.out, self.err);
        self.out
    }
}

/// Looks again until there is an answer.
///
/// # Panics
///
/// With the last thing that was seen, when there is none for long.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(
                begun.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}; the last look saw: {seen}"
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where the tools are: installed at the first use.
///
/// # Panics
///
/// With what is missing.
pub fn tools() -> PathBuf {
    let said = answer(&mut command("compose/tests/tools.sh")).good("compose/tests/tools.sh");
    PathBuf::from(said.trim())
}

/// A program of [`tools`].
pub fn tool(name: &str) -> Command {
    let tools = tools();
    let mut command = command(tools.join("python/bin").join(name));
    // Caddy and others keep state below the home directory.
    command.env("HOME", tools);
    command
}
