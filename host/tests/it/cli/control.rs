//! The control socket: both sides over a real one.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nself::cli::{CliError, Exit, client};
use nself::control::{Control, ControlError, ControlServer, ProgressSender};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};

/// Answers `echo`, counts with progress, fails, panics, and waits.
#[derive(Default)]
struct Host {
    begun: Notify,
    go_on: Notify,
    finished: Notify,
}

impl Control for Host {
    async fn handle(
        &self,
        command: String,
        args: Value,
        progress: ProgressSender,
    ) -> Result<Value, CliError> {
        match command.as_str() {
            "echo" => Ok(args),
            "count" => {
                for number in 1..=3 {
                    progress.send(format!("step {number}"));
                }
                Ok(json!(3))
            }
            "fail" => Err(
                CliError::new("PLUGIN_UNKNOWN", Exit::BadData, "no plugin `x`")
                    .with_help("nself plugin list"),
            ),
            "wait" => {
                self.begun.notify_one();
                self.go_on.notified().await;
                self.finished.notify_one();
                Ok(Value::Null)
            }
            _ => panic!("a command that nobody knows"),
        }
    }
}

struct Running {
    directory: TempDir,
    host: Arc<Host>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = ControlServer::bind(&directory.path().join(".nself")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let host = Arc::new(Host::default());
        let control = Arc::clone(&host);
        let task = tokio::spawn(async move {
            server
                .run(control, async move { drop(stopped.await) })
                .await;
        });
        Self {
            directory,
            host,
            stop,
            task,
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join(".nself")
    }

    async fn call(&self, command: &str, args: Value) -> Result<Value, CliError> {
        client::call(&self.state(), command, args, |_| {}).await
    }
}

fn socket(state: &Path) -> PathBuf {
    state.join("run/control.sock")
}

#[tokio::test]
async fn commands_are_answered_with_their_progress() {
    let running = Running::start();
    assert_eq!(
        running.call("echo", json!({"a": [1, "ü"]})).await,
        Ok(json!({"a": [1, "ü"]}))
    );
    let mut lines = Vec::new();
    let answer = client::call(&running.state(), "count", Value::Null, |line| {
        lines.push(line.to_owned());
    })
    .await;
    assert_eq!(
        (answer, lines),
        (
            Ok(json!(3)),
            vec![
                "step 1".to_owned(),
                "step 2".to_owned(),
                "step 3".to_owned()
            ]
        )
    );
}

#[tokio::test]
async fn an_error_arrives_as_it_was_made_and_a_panic_is_one() {
    let running = Running::start();
    let error = running.call("fail", Value::Null).await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.exit, error.help.as_deref()),
        ("PLUGIN_UNKNOWN", Exit::BadData, Some("nself plugin list"))
    );
    assert_eq!(
        running
            .call("nonsense", Value::Null)
            .await
            .unwrap_err()
            .code,
        "INTERNAL"
    );
    assert_eq!(
        running.call("echo", json!(1)).await,
        Ok(json!(1)),
        "the host goes on"
    );
}

#[tokio::test]
async fn garbage_is_refused_and_the_socket_is_private() {
    let running = Running::start();
    let metadata = fs::metadata(socket(&running.state())).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    let path = socket(&running.state());
    let line = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(b"not json\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    });
    let reply: Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    assert_eq!(
        (&reply["ok"], &reply["error"]["code"]),
        (&false.into(), &"CONTROL_REQUEST".into())
    );
}

/// The permissions keep others out; when somebody has loosened them, the peer's user still counts.
#[tokio::test]
async fn another_user_is_refused_whatever_the_permissions() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("not run: only root can become another user");
        return;
    }
    let running = Running::start();
    let path = socket(&running.state());
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(running.directory.path(), 0o711);
    open(&running.state(), 0o711);
    open(&running.state().join("run"), 0o711);
    open(&path, 0o666);
    // perl is essential in Debian; a shell has no unix sockets.
    let ask =
        "socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die; print <S>;";
    let mut perl = tokio::process::Command::new("perl");
    perl.args(["-MSocket", "-e", ask])
        .arg(path)
        .uid(65_534)
        .gid(65_534)
        .current_dir("/");
    let output = tokio::time::timeout(Duration::from_secs(20), perl.output())
        .await
        .unwrap()
        .unwrap();
    let reply: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(reply["error"]["code"], "CONTROL_REFUSED");
}

#[tokio::test]
async fn a_command_ends_even_when_its_caller_goes_away() {
    let running = Running::start();
    let state = running.state();
    let caller =
        tokio::spawn(async move { client::call(&state, "wait", Value::Null, |_| {}).await });
    running.host.begun.notified().await;
    caller.abort();
    drop(caller.await);
    running.host.go_on.notify_one();
    let finished =
        tokio::time::timeout(Duration::from_secs(10), running.host.finished.notified()).await;
    assert!(finished.is_ok(), "the command was given up");
}

#[tokio::test]
async fn who_has_asked_is_answered_before_the_host_ends() {
    let running = Running::start();
    let mut caller = UnixStream::connect(socket(&running.state())).unwrap();
    caller.write_all(b"{\"command\":\"wait\"}\n").unwrap();
    let silent = UnixStream::connect(socket(&running.state())).unwrap();
    running.host.begun.notified().await;
    running.stop.send(()).unwrap();
    running.host.go_on.notify_one();
    running.task.await.unwrap();
    // What is not there now is never written: the process would be gone.
    caller.set_nonblocking(true).unwrap();
    let mut line = String::new();
    BufReader::new(caller).read_line(&mut line).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&line).unwrap(),
        json!({"ok": true, "data": null})
    );
    drop(silent);
}

#[tokio::test]
async fn a_project_has_one_host_and_a_dead_one_is_in_nobodys_way() {
    let running = Running::start();
    let state = running.state();
    match ControlServer::bind(&state) {
        Err(ControlError::AlreadyRunning { pid }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    let Running {
        directory,
        stop,
        task,
        ..
    } = running;
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(!socket(&state).exists(), "the socket goes with its host");

    // What kill -9 leaves: a socket that nobody answers.
    drop(std::os::unix::net::UnixListener::bind(socket(&state)).unwrap());
    let error = client::call(&state, "echo", Value::Null, |_| {})
        .await
        .unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.exit),
        ("HOST_NOT_RUNNING", Exit::Unavailable)
    );
    drop(ControlServer::bind(&state).unwrap());
    drop(directory);
}

#[tokio::test]
async fn a_deep_project_has_a_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("d".repeat(120)).join(".nself");
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    let server = ControlServer::bind(&state).unwrap();
    let host = Arc::new(Host::default());
    let asked = client::call(&state, "echo", json!("deep"), |_| {});
    let answer = tokio::select! {
        () = server.run(host, std::future::pending()) => unreachable!("it never stops"),
        answer = asked => answer,
    };
    assert_eq!(answer, Ok(json!("deep")));
}
