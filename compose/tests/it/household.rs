//! A project whose host runs with plugins, as an operator has it on a machine without containers.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use nself_compose::shell::{Answer, answer, command};
use serde_json::Value;
use tempfile::TempDir;

use crate::build::staged;

/// Nobody is slowed down who asks much, and no port but the gateway's is taken.
const SETTINGS: &str = "rate_per_minute = 100000000\nplugin_ports = false\n";

/// The project, and the files that its host is made of. The host is stopped when the test ends.
pub(crate) struct Household {
    directory: TempDir,
    image: TempDir,
    /// Where the gateway answers.
    pub(crate) url: String,
    /// The operator's.
    pub(crate) key: String,
}

/// What a request was answered with.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert!(self.status < 300, "{self:?}");
        let mut answer: Value = self.body.parse().unwrap_or_else(|_| panic!("{self:?}"));
        answer["data"].take()
    }
}

impl Household {
    /// One that runs, with these plugins and settings.
    pub(crate) fn start(plugins: &[&str], settings: &str) -> Self {
        let household = Self::make(plugins, settings);
        household.data(&["up", "--detach"]);
        household
    }

    /// One that does not run yet.
    pub(crate) fn make(plugins: &[&str], settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The account of a private Postgres passes through, when the tests run as root.
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(directory.path(), passable).expect("permissions");
        let port = free_port();
        let mut household = Self {
            directory,
            image: staged(),
            url: format!("http://localhost:{port}"),
            key: String::new(),
        };
        let made = household.data(&["init", "--template", "blank"]);
        household.key = text(&made, "/operator_key");
        household.configure(&format!("[http]\nport = {port}\n{SETTINGS}{settings}"));
        for plugin in plugins {
            let file = household
                .image
                .path()
                .join(format!("usr/lib/nself/plugins/{plugin}.so"));
            household.put(plugin, &fs::read(file).expect("a plugin"));
        }
        if !plugins.is_empty() {
            household.data(&[&["plugin", "enable", "--yes"], plugins].concat());
        }
        household
    }

    /// Adds to its settings.
    pub(crate) fn configure(&self, settings: &str) {
        let file = self.path().join("nself.toml");
        let before = fs::read_to_string(&file).expect("there are settings");
        fs::write(file, format!("{before}\n{settings}")).expect("a file of the project");
    }

    /// Takes a table out of its settings.
    pub(crate) fn forget(&self, table: &str) {
        let file = self.path().join("nself.toml");
        let settings = fs::read_to_string(&file).expect("there are settings");
        let (before, rest) = settings.split_once(table).expect("there is the table");
        let after = rest.find("\n[").map_or("", |at| &rest[at..]);
        fs::write(file, format!("{before}{after}")).expect("a file of the project");
    }

    /// Puts a plugin's file where they lie, as `mv` does: whole or not at all.
    pub(crate) fn put(&self, plugin: &str, bytes: &[u8]) {
        let file = self.path().join(format!("plugins.d/{plugin}.so"));
        let new = file.with_extension("new");
        fs::write(&new, bytes).expect("a file of the project");
        fs::rename(new, file).expect("a file of the project");
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn programs(&self) -> PathBuf {
        self.image.path().join("usr/local/bin")
    }

    pub(crate) fn run(&self, words: &[&str]) -> Answer {
        let nself = self.programs().join("nself");
        answer(command(nself).args(words).current_dir(self.path()))
    }

    /// A shell in the project's folder that finds the host's program.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = command("sh");
        shell
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", self.programs().display()))
            .current_dir(self.path());
        shell
    }

    #[track_caller]
    pub(crate) fn data(&self, words: &[&str]) -> Value {
        let said = self.run(&[words, &["--json"]].concat());
        let said = said.good(&words.join(" "));
        let mut answer: Value = serde_json::from_str(&said).expect("JSON");
        answer["data"].take()
    }

    /// What the database answers to one statement.
    #[track_caller]
    pub(crate) fn sql(&self, statement: &str) -> String {
        let said = self.run(&["db", "shell", "--", "-Atc", statement]);
        said.good(statement).trim().to_owned()
    }

    /// A request with these options of curl's. The error is what curl says when nobody answers.
    pub(crate) fn asks(&self, path: &str, options: &[&str]) -> Result<Reply, String> {
        let fixed = ["--silent", "--show-error", "--max-time", "60", "--include"];
        let said = answer(
            command("curl")
                .args(fixed)
                .args(options)
                .arg(format!("{}{path}", self.url)),
        );
        if !said.success {
            return Err(said.err);
        }
        let (headers, body) = said.out.split_once("\r\n\r\n").ok_or("no answer")?;
        let status = headers.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Reply {
            status: status.ok_or_else(|| headers.to_owned())?,
            headers: headers.to_lowercase(),
            body: body.to_owned(),
        })
    }

    /// A POST with JSON, by whoever has this header.
    #[track_caller]
    pub(crate) fn posts(&self, path: &str, header: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let json = "content-type: application/json";
        let options = ["--header", json, "--header", header, "--data", &body];
        self.asks(path, &options).expect("an answer")
    }

    /// The header that makes an operator.
    pub(crate) fn operator(&self) -> String {
        format!("x-api-key: {}", self.key)
    }

    /// The sum of all series of `/metrics` that begin so; nothing when there are none.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let shown = self
            .asks("/metrics", &["--header", &self.operator()])
            .ok()?;
        let values = shown.body.lines().filter_map(|line| {
            let rest = line.strip_prefix(series)?;
            let is_it = rest.starts_with(['{', ',', ' ']);
            is_it.then(|| line.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.reduce(|sum, value| sum + value)
    }

    /// The folder of the private cluster's data.
    pub(crate) fn cluster(&self) -> PathBuf {
        let versions = fs::read_dir(self.path().join(".nself/pg")).expect("there is a cluster");
        let mut folders = versions.filter_map(|entry| Some(entry.ok()?.path()));
        let data = folders.find(|folder| folder.join("PG_VERSION").exists());
        data.expect("a cluster has data")
    }

    /// The process of its host.
    pub(crate) fn pid(&self) -> String {
        self.data(&["status"])["pid"].to_string()
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path().join(".nself/log/host.log"));
            eprintln!("the host's log:\n{}", log.unwrap_or_default());
        }
        self.run(&["stop"]);
        // Where root starts a cluster it stands outside of the project.
        if let Ok(elsewhere) = fs::read_link(self.path().join(".nself/pg")) {
            let _ = fs::remove_dir_all(elsewhere.parent().unwrap_or(&elsewhere));
        }
    }
}

/// A text in an answer.
#[track_caller]
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

/// A port that nobody has. It is none of those that the system gives to who asks for any (32768 and up by default), so that no
/// other test gets it while its owner is away.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests begins somewhere else.
    let first = u16::try_from(std::process::id() % 300).expect("it is small") * 64;
    let mut ports = std::iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed))
        .map(|given| 10_000 + (first + given) % 20_000);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there are ports")
}
