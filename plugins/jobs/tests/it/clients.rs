//! Programs that others could have written, by node, with packages of pinned versions. Whoever runs the tests needs `node` and
//! `npm`; the packages are installed below `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use nself_plugin_testkit::within;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command as Started},
};

/// Where the scripts and the list of packages are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A script that runs beside the test and prints lines of JSON. It ends with the value.
pub(crate) struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a script of `tests/clients`.
    pub(crate) async fn start(script: &'static str, variables: &[(&str, &str)]) -> Self {
        // On a thread of its own: installing takes a while.
        let folder = tokio::task::spawn_blocking(installed).await;
        let mut command = Started::new("node");
        command
            .arg(script)
            .current_dir(folder.expect("the packages are there"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("node: {error}; the tests need it: apt-get install nodejs npm")
        });
        let printed = child.stdout.take().expect("what it prints is read");
        let lines = BufReader::new(printed).lines();
        Self { child, lines }
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> Value {
        let line = within("a line of the script", self.lines.next_line()).await;
        let line = line.expect("it can be read");
        let line = line.expect("the script has not ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Waits for its end, which must be a good one.
    pub(crate) async fn ended(mut self) {
        let status = within("the end of the script", self.child.wait()).await;
        assert!(status.expect("it was started").success());
    }
}

/// The folder with the scripts and their packages; made once.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jobs-clients");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for entry in fs::read_dir(SOURCES).expect("the sources are there") {
            let entry = entry.expect("the sources can be listed");
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a source is copied");
        }
        let lock = fs::read(folder.join("package-lock.json")).expect("there is a lock file");
        let stamp = folder.join("installed");
        if fs::read(&stamp).ok().as_ref() != Some(&lock) {
            let mut install = Command::new("npm");
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            let ran = install
                .current_dir(&folder)
                .output()
                .unwrap_or_else(|error| {
                    panic!("npm: {error}; the tests need it: apt-get install nodejs npm")
                });
            assert!(ran.status.success(), "npm ci: {}", printed(&ran));
            fs::write(stamp, lock).expect("the target folder can be written");
        }
        folder
    })
}

fn printed(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
