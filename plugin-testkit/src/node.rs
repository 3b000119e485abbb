//! Programs that others could have written, by node, with packages of pinned versions. Whoever runs the tests needs `node` and
//! `npm`; the packages are installed below `target/`.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::fs::{FlockOperation, flock};
use tokio::process::{Child, Command as Program};

/// A folder with scripts and the packages that they use. Made by [`node_scripts!`](crate::node_scripts).
pub struct NodeScripts {
    folder: PathBuf,
}

impl NodeScripts {
    /// A copy of the scripts in `scripts`, a folder of the package in `package`, below `target`, with what their
    /// `package-lock.json` names. It is made once for all test runs with the same lock.
    ///
    /// # Panics
    ///
    /// When npm is missing or cannot install.
    pub async fn open(package: &str, target: &str, scripts: &str) -> Self {
        let sources = Path::new(package).join(scripts);
        let parts = [Path::new(package), &sources].map(|path| path.file_name());
        let [of, name] = parts.map(|part| part.expect("a folder has a name").to_string_lossy());
        let folder = Path::new(target).join(format!("{of}-{name}"));
        // On a thread of its own: installing takes a while.
        let made = tokio::task::spawn_blocking(move || {
            make(&sources, &folder);
            folder
        });
        let folder = made.await.expect("the packages are there");
        Self { folder }
    }

    /// A run of a script, to be given words and variables. It is killed when the test ends, however it ends.
    pub fn script(&self, name: &str) -> Program {
        let mut command = Program::new("node");
        command
            .arg(name)
            .current_dir(&self.folder)
            .kill_on_drop(true);
        command
    }

    /// Starts a script beside the test; what it prints is read from its standard output.
    ///
    /// # Panics
    ///
    /// When node is missing.
    pub fn start(&self, command: &mut Program) -> Child {
        command
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; {NEEDED}"))
    }

    /// Runs a script to its end, which must be a good one; what it printed to its standard output.
    ///
    /// # Panics
    ///
    /// With all that it printed, when it failed.
    pub async fn run(&self, command: &mut Program) -> String {
        let ran = command.output().await;
        let ran = ran.unwrap_or_else(|error| panic!("node: {error}; {NEEDED}"));
        assert!(ran.status.success(), "{:?}: {}", command, printed(&ran));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

const NEEDED: &str = "the tests need it: apt-get install nodejs npm";

/// The browser that a script drives.
///
/// # Panics
///
/// When none is installed.
pub fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .expect("there is no Chromium, and the tests need it: apt-get install chromium")
}

/// A port that nobody listens on: of a page whose address the host must know before it starts.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    listener.local_addr().expect("it listens").port()
}

/// Copies the scripts and installs the packages, unless both are there. Tests of other threads and processes wait.
fn make(sources: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("the target folder can be written");
    let lock = File::create(folder.join("lock")).expect("the target folder can be written");
    flock(&lock, FlockOperation::LockExclusive).expect("a file of ours can be locked");
    for entry in fs::read_dir(sources).expect("the scripts are there") {
        let entry = entry.expect("the scripts can be listed");
        let (source, copy) = (fs::read(entry.path()), folder.join(entry.file_name()));
        let source = source.expect("a script can be read");
        // What is as it should be stays untouched: a script of another test may be about to read it.
        if fs::read(&copy).ok().as_ref() != Some(&source) {
            fs::write(copy, source).expect("the target folder can be written");
        }
    }
    let wanted = fs::read(folder.join("package-lock.json")).expect("the packages are pinned");
    let installed = folder.join("installed");
    if fs::read(&installed).ok().as_ref() == Some(&wanted) {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let ran = npm.current_dir(folder).output();
    let ran = ran.unwrap_or_else(|error| panic!("npm: {error}; {NEEDED}"));
    assert!(ran.status.success(), "npm ci: {}", printed(&ran));
    fs::write(installed, wanted).expect("the target folder can be written");
}

fn printed(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// The scripts of a folder of this package: `node_scripts!("tests/clients").await`.
#[macro_export]
macro_rules! node_scripts {
    ($folder:literal) => {
        $crate::NodeScripts::open(
            env!("CARGO_MANIFEST_DIR"),
            env!("CARGO_TARGET_TMPDIR"),
            $folder,
        )
    };
}
