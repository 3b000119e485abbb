//! A host in a process of its own, for tests that stop, kill and mistreat it.

use std::{
    fs::{self, DirBuilder, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
};

use nself::config::FILE_NAME;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use toml::Table;

use crate::{
    builder::{copy_files, merge},
    program::{SmallDisk, address_in, command, log_in},
    wait::{LIMIT, eventually},
};

/// A host process to be started. Made by [`TestHost::process_beside`](crate::TestHost::process_beside).
#[must_use = "nothing runs until `start`"]
pub struct HostProcessBuilder {
    project: PathBuf,
    lock: String,
    database_url: String,
    config: Table,
    disk: Option<SmallDisk>,
}

impl HostProcessBuilder {
    pub(crate) fn new(project: &Path, lock: &str, database_url: &str) -> Self {
        Self {
            project: project.to_owned(),
            lock: lock.to_owned(),
            database_url: database_url.to_owned(),
            config: Table::new(),
            disk: None,
        }
    }

    /// Adds to the project's `nself.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        merge(
            &mut self.config,
            toml.parse().expect("configuration is TOML"),
        );
        self
    }

    /// Leads it to the database in another way, such as through something that can be cut.
    pub fn database_url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.database_url);
        self
    }

    /// Lets `directory` be a disk of so many bytes, which this process alone sees: to others it lies below
    /// [`HostProcess::root`].
    pub fn small_disk(mut self, directory: &Path, bytes: u64) -> Self {
        let directory = directory.to_owned();
        self.disk = Some(SmallDisk { directory, bytes });
        self
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not get ready; the message holds its log. A small disk takes root, or a system that lets everybody make
    /// namespaces.
    pub async fn start(self) -> HostProcess {
        let directory = tempfile::tempdir().expect("there is room for a project");
        self.copy_project(directory.path());
        let project = directory.path().to_owned();
        let command = match &self.disk {
            Some(disk) => disk.command(&project, &self.database_url),
            None => command(&project, &self.database_url),
        };
        HostProcess::start(command, &project, Some(directory)).await
    }

    /// The replica's own project. Its lists of plugins and its secrets are those of the first.
    fn copy_project(&self, directory: &Path) {
        let text = fs::read_to_string(self.project.join(FILE_NAME)).expect("the project is there");
        let mut config: Table = text.parse().expect("configuration is TOML");
        merge(&mut config, self.config.clone());
        fs::write(directory.join(FILE_NAME), config.to_string()).expect("the project is writable");
        let mut private = DirBuilder::new();
        private
            .mode(0o700)
            .create(directory.join(".nself"))
            .expect("the project is writable");
        for folder in ["plugins.d", ".nself/secrets"] {
            copy_files(&self.project.join(folder), &directory.join(folder));
        }
        fs::write(directory.join("plugins.lock"), &self.lock).expect("the project is writable");
    }
}

/// The line that says that the host is ready, if it comes.
fn first_line(stdout: impl std::io::Read + Send + 'static) -> Option<String> {
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // An error is an empty line: the host has ended.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    line.recv_timeout(LIMIT * 2).ok()
}

/// A running host. It is killed when the test ends, however it ends.
pub struct HostProcess {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// A project of its own ends with it.
    _directory: Option<TempDir>,
}

impl HostProcess {
    /// Starts the built `nself` in a project, and waits until it is ready.
    pub(crate) async fn start(
        mut program: Command,
        project: &Path,
        directory: Option<TempDir>,
    ) -> Self {
        let log = log_in(project);
        // Another life of the same project goes on in the same log.
        let file = File::options().append(true).create(true).open(&log);
        let mut child = program
            .args(["serve", "--json"])
            .stdout(Stdio::piped())
            .stderr(file.expect("the project is writable"))
            .spawn()
            .expect("the built program runs");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut host = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            _directory: directory,
        };
        let line = tokio::task::spawn_blocking(move || first_line(stdout));
        let line = line.await.expect("reading a line does not panic");
        let address = line.and_then(|line| address_in(&line));
        host.address =
            address.unwrap_or_else(|| panic!("the host did not get ready:\n{}", host.log_text()));
        host
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of the files as it sees them.
    pub fn root(&self) -> PathBuf {
        Path::new("/proc").join(self.pid().to_string()).join("root")
    }

    /// Its log so far.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().try_into().ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), signal).expect("it runs");
    }

    /// Ends it as a power cut would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it had ended before.
    pub async fn kill(mut self) {
        self.end_by(Signal::KILL).await;
    }

    /// Sends it a signal that ends it, and waits until it is gone; how it ended.
    pub(crate) async fn end_by(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended().await
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the host ends", async || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .await
    }

    /// Whether it runs.
    ///
    /// # Panics
    ///
    /// When the system cannot say.
    pub fn runs(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be waited for");
        ended.is_none()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
