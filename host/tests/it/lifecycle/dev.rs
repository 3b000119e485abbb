//! `nself plugin dev`: what an author saves runs; what does not build, or is not taken, leaves what ran before at work.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use serde_json::Value;

use super::project::{Host, PATIENCE, Project};

/// An author's crate, and the command that looks after it.
struct Dev {
    name: &'static str,
    child: Child,
    lines: Receiver<Value>,
    directory: PathBuf,
    messages: PathBuf,
    /// What it showed of the log.
    logged: Vec<Value>,
}

impl Dev {
    fn start(project: &Project, name: &'static str, arguments: &[&str]) -> Self {
        let directory = project.path().join(name);
        let messages = project.path().join("dev.log");
        let debug = Path::new(env!("CARGO_BIN_EXE_nself")).parent().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nself"));
        command
            .args(["plugin", "dev", name, "--json"])
            .args(arguments)
            // Where this binary stands: what is built there already is not built again.
            .env("CARGO_TARGET_DIR", debug.parent().unwrap())
            .env("CARGO_NET_OFFLINE", "true")
            .env("DATABASE_URL", project.database().url())
            .current_dir(project.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&messages).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self {
            name,
            child,
            lines,
            directory,
            messages,
            logged: Vec::new(),
        }
    }

    /// What became of the next change.
    #[track_caller]
    fn outcome(&mut self) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                let messages = fs::read_to_string(&self.messages).unwrap_or_default();
                panic!("nothing came of it: {messages}")
            });
            if line["outcome"].is_string() {
                return line;
            }
            self.logged.push(line);
        }
    }

    fn edit(&self, file: &str, old: &str, new: &str) {
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "no {old:?} in {file}");
        fs::write(path, text.replacen(old, new, 1)).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let built = format!("libnself_plugin_{}", self.name);
        let built = Path::new(env!("CARGO_BIN_EXE_nself")).with_file_name(built);
        for extension in ["so", "rlib", "d"] {
            let _ = fs::remove_file(built.with_extension(extension));
        }
    }
}

fn lines_of(output: ChildStdout) -> Receiver<Value> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A project with a crate of an author's, as `nself plugin new` makes it. The name is the test's own: where things are built is shared.
async fn author(name: &str) -> Project {
    let project = Project::served("[log]\nfile = \"host.jsonl\"\n").await;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let checkout = checkout.canonicalize().unwrap().display().to_string();
    let new = ["plugin", "new", name, "--checkout", &checkout];
    project.nself(&new).done();
    project
}

/// What a host says of writing a note.
async fn summary(host: &Host, name: &str) -> Value {
    let document = host.caller().await.get("/openapi.json").await.body;
    let document: Value = serde_json::from_slice(&document).unwrap();
    document["paths"][format!("/{name}/notes")]["post"]["summary"].clone()
}

const LIB: &str = "src/lib.rs";
const CAPABILITIES: &str = "&[\"nself.db/1\"]";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_runs_and_what_is_no_good_leaves_what_ran() {
    let project = author("chores").await;
    let mut dev = Dev::start(&project, "chores", &["--yes"]);
    assert_eq!(dev.outcome()["error"]["code"], "HOST_NOT_RUNNING");

    let host = project.start();
    let runs = dev.outcome();
    assert_eq!(
        (&runs["outcome"], &runs["plugin"]["id"]),
        (&"runs".into(), &"chores".into()),
        "{runs}"
    );
    assert_eq!(runs["plugin"]["granted"][0], "nself.db/1", "{runs}");
    let mut caller = host.caller().await;

    dev.edit(LIB, "Write a note", "Write a chore");
    let runs = dev.outcome();
    assert_eq!(runs["outcome"], "runs", "{runs}");
    assert_eq!(runs["plugin"]["granted"], Value::Null, "{runs}");
    assert_eq!(summary(&host, "chores").await, "Write a chore");

    dev.edit(LIB, "export_plugin!(Chores);", "export_plugin!(Chores;");
    assert_eq!(dev.outcome()["outcome"], "not_built");
    let messages = fs::read_to_string(&dev.messages).unwrap();
    assert!(messages.contains("src/lib.rs"), "{messages}");
    assert_eq!(caller.get("/chores/notes").await.status, 401, "it serves");
    dev.edit(LIB, "export_plugin!(Chores;", "export_plugin!(Chores);");
    assert_eq!(dev.outcome()["outcome"], "same");

    dev.edit(
        "migrations/0001_notes.up.sql",
        "create table",
        "-- \ncreate table",
    );
    let refused = dev.outcome();
    assert_eq!(
        refused["error"]["code"], "PLUGIN_DID_NOT_START",
        "{refused}"
    );
    assert_eq!(caller.get("/chores/notes").await.status, 401, "it serves");
    dev.edit(
        "migrations/0001_notes.up.sql",
        "-- \ncreate table",
        "create table",
    );
    assert_eq!(dev.outcome()["outcome"], "same");

    dev.edit(LIB, CAPABILITIES, "&[\"nself.db/1\", \"nself.http/1\"]");
    let runs = dev.outcome();
    let granted = &runs["plugin"]["granted"];
    assert_eq!(granted[0], "capability nself.http/1", "{runs}");

    let started = |line: &&Value| line["message"] == "plugin started";
    assert!(
        dev.logged.iter().filter(started).count() >= 2,
        "{:?}",
        dev.logged
    );
    let others = |line: &&Value| !line.to_string().contains("chores");
    assert_eq!(dev.logged.iter().find(others), None, "the log of others");
    // What was logged before it came is shown by `nself logs`.
    drop(dev);
    let mut dev = Dev::start(&project, "chores", &[]);
    assert_eq!(dev.outcome()["outcome"], "same");
    dev.edit(LIB, "Write a chore", "Write down a chore");
    assert_eq!(dev.outcome()["outcome"], "runs");
    dev.edit(LIB, "Write down a chore", "Write a chore");
    assert_eq!(dev.outcome()["outcome"], "runs");
    let logged = dev.logged.iter().filter(started);
    assert!(logged.count() <= 2, "{:?}", dev.logged);

    let wrong = host.logged(&["is not the file that was accepted"]);
    assert_eq!(wrong, 0, "the file has its place before it is judged");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_granted_takes_a_yes_and_a_disabled_plugin_is_exchanged() {
    let project = author("errands").await;
    let host = project.start();
    let mut dev = Dev::start(&project, "errands", &[]);
    assert_eq!(dev.outcome()["outcome"], "runs");

    dev.edit(LIB, CAPABILITIES, "&[\"nself.db/1\", \"nself.http/1\"]");
    let refused = dev.outcome();
    assert_eq!(refused["error"]["code"], "CONFIRMATION_NEEDED", "{refused}");
    let asked = refused["error"]["message"].as_str().unwrap();
    assert!(asked.contains("nself.http/1"), "{asked}");
    dev.edit(LIB, "&[\"nself.db/1\", \"nself.http/1\"]", CAPABILITIES);
    assert_eq!(dev.outcome()["outcome"], "same");

    project.nself(&["plugin", "disable", "errands"]).done();
    dev.edit(LIB, "Write a note", "Write a chore");
    let runs = dev.outcome();
    assert_eq!(runs["outcome"], "runs", "{runs}");
    assert_eq!(summary(&host, "errands").await, "Write a chore");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_told() {
    let project = Project::served("").await;
    let none = project.nself(&["plugin", "dev", "nowhere"]);
    none.refused(
        2,
        &[
            "error[PLUGIN_CRATE]",
            "nowhere is no crate",
            "nself plugin dev DIR",
        ],
    );

    let other = project.path().join("other");
    fs::create_dir_all(other.join("src")).unwrap();
    fs::write(other.join("src/lib.rs"), "").unwrap();
    let manifest =
        "[package]\nname = \"other\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(other.join("Cargo.toml"), manifest).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nself"));
    command
        .args(["plugin", "dev", "other"])
        .current_dir(project.path());
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(65), "{told}");
    for part in ["error[PLUGIN_CRATE]", "makes no shared library", "cdylib"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
}
