//! A project in a directory of its own, and hosts that run in it: the real binary, told nothing but what a test says.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nself::postgres::scratch::{Scratch, TestDatabase};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::caller::Caller;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Load from one address must not meet the rate limit, and a host that is to stop must not take all day.
const SETTINGS: &str = "[http]\nrate_per_minute = 100000000\nplugin_ports = false\n\
                        [shutdown]\ngrace_ms = 20000\n";

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, code: i32, holds: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for text in holds {
            assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        }
        self
    }

    /// The `data` of an answer in JSON.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        let answer: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        answer["data"].clone()
    }
}

/// A project.
pub(crate) struct Project {
    directory: TempDir,
    database: Option<TestDatabase>,
}

impl Project {
    /// A project with an empty database of its own, for `nself serve`.
    pub(crate) async fn served(settings: &str) -> Self {
        let database = Scratch::shared().database().await;
        Self::new(settings, Some(database))
    }

    /// One that listens on this address and on no other.
    pub(crate) async fn served_on(address: SocketAddr) -> Self {
        let project = Self::served("").await;
        let text = format!(
            "[http]\nbind = \"{}\"\nport = {}\nplugin_ports = false\n",
            address.ip(),
            address.port()
        );
        fs::write(project.path().join("nself.toml"), text).unwrap();
        project
    }

    /// A project whose host runs its own cluster, for `nself up`.
    pub(crate) fn embedded(settings: &str) -> Self {
        Self::new(settings, None)
    }

    fn new(settings: &str, database: Option<TestDatabase>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("nself-it-")
            .tempdir()
            .unwrap();
        let project = Self {
            directory,
            database,
        };
        project.nself(&["init"]).done();
        project.configure(settings);
        project
    }

    /// Replaces the settings.
    pub(crate) fn configure(&self, settings: &str) {
        let text = format!("{SETTINGS}{settings}");
        fs::write(self.path().join("nself.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("a project with a database")
    }

    /// Drops a plugin file in, as `mv` does: whole or not at all.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join("plugins.d").join(format!("{name}.so"));
        let new = path.with_extension("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// Drops a plugin file in and enables it, before the host runs.
    pub(crate) fn enable(&self, id: &str, bytes: &[u8]) {
        self.put(id, bytes);
        self.nself(&["plugin", "enable", id]).done();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nself"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.path())
            .stdin(Stdio::null());
        if let Some(database) = &self.database {
            command.env("DATABASE_URL", database.url());
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn nself(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Process id of the private cluster, as far as it says one.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        let clusters = fs::read_dir(self.path().join(".nself/pg")).ok()?;
        let mut texts = clusters
            .flatten()
            .filter_map(|cluster| fs::read_to_string(cluster.path().join("postmaster.pid")).ok());
        texts.find_map(|text| text.lines().next()?.trim().parse().ok())
    }

    /// What the host says about one plugin.
    #[track_caller]
    pub(crate) fn plugin(&self, id: &str) -> Value {
        let list = self.nself(&["plugin", "list", "--json"]).done().data();
        let plugins = list.as_array().unwrap();
        plugins
            .iter()
            .find(|plugin| plugin["id"] == id)
            .unwrap_or_else(|| panic!("no {id} in {list}"))
            .clone()
    }

    /// An access token of the family's owner.
    pub(crate) fn token(&self) -> String {
        let made = self.nself(&["token", "--role", "owner"]).done();
        made.stdout.trim().to_owned()
    }

    /// Starts `nself serve` or `nself up`, whichever this project is for, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Host {
        let verb = if self.database.is_some() {
            "serve"
        } else {
            "up"
        };
        self.start_with(&[verb, "--json", "--port", "0"])
            .unwrap_or_else(|ran| panic!("the host did not start: {ran:?}"))
    }

    /// Starts a host with these arguments; what it left behind when it ended instead of getting ready.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Result<Host, Ran> {
        self.start_by(self.command(arguments))
    }

    /// Starts a host that is handed `socket`, as systemd does it, and that tells `manager` how it is.
    pub(crate) fn start_handed(
        &self,
        socket: impl Into<OwnedFd>,
        manager: &Path,
    ) -> Result<Host, Ran> {
        let mut shell = self.shell(&format!(
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {} serve --json",
            env!("CARGO_BIN_EXE_nself")
        ));
        shell.env("NOTIFY_SOCKET", manager).stdin(socket.into());
        self.start_by(shell)
    }

    /// Starts a host that can have so many files open.
    #[track_caller]
    pub(crate) fn start_with_files(&self, files: u32) -> Host {
        let shell = self.shell(&format!(
            "ulimit -n {files}; exec {} serve --json --port 0",
            env!("CARGO_BIN_EXE_nself")
        ));
        self.start_by(shell)
            .unwrap_or_else(|ran| panic!("the host did not start: {ran:?}"))
    }

    /// A shell where a command of the project runs, with the same environment.
    fn shell(&self, line: &str) -> Command {
        let command = self.command(&[]);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", line])
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .current_dir(self.path())
            .stdin(Stdio::null());
        shell
    }

    fn start_by(&self, mut command: Command) -> Result<Host, Ran> {
        let log = self.path().join("host.log");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(
                File::options()
                    .append(true)
                    .create(true)
                    .open(&log)
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut host = Host {
            child,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let (sender, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // An error is an empty line: the host has ended.
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = line
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("not ready in time: {}", host.log_text()));
        if line.is_empty() || line.contains("\"ok\":false") {
            let status = host.ended();
            return Err(Ran {
                code: status.code().unwrap_or(-1),
                stdout: line,
                stderr: host.log_text(),
            });
        }
        host.address = address_in(&line);
        Ok(host)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A host that was killed has left its cluster, and where root starts one it stands outside of the project.
        if self.database.is_none() {
            if let Some(pid) = self
                .postmaster()
                .and_then(|pid| Pid::from_raw(pid.try_into().ok()?))
            {
                let _ = kill_process(pid, Signal::QUIT);
            }
            if let Ok(elsewhere) = fs::read_link(self.path().join(".nself/pg")) {
                let _ = fs::remove_dir_all(elsewhere.parent().unwrap_or(&elsewhere));
            }
        }
    }
}

fn address_in(line: &str) -> SocketAddr {
    let answer: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    let url = answer["data"]["urls"][0]["url"].as_str().unwrap();
    let (_, address) = url.split_once("://").unwrap();
    address.parse().unwrap()
}

/// A running host. It is killed when the test ends, however it ends.
pub(crate) struct Host {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Host {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lines of the log that hold all of `parts`.
    pub(crate) fn logged(&self, parts: &[&str]) -> usize {
        let log = self.log_text();
        log.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    }

    /// A connection to it.
    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.address).await.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pid(), signal);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "still runs: {}", self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", self.log_text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody has. They are none of those that the system gives to who asks for any (32768 and up by default), so that no other
/// test gets one before its owner is there, or while it is away.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests begins somewhere else.
    let first = u16::try_from(std::process::id() % 300).unwrap() * 64;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut free = std::iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed))
        .map(|given| 10_000 + (first + given) % 20_000)
        .filter(is_free);
    [(); N].map(|()| free.next().unwrap())
}

/// Sends a signal to a process that a test has started, or that a host of the test has.
pub(crate) fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `condition` gives something, and lets the runtime work meanwhile.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < limit, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
