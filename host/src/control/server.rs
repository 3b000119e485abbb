//! The host's side of the control socket.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions, Permissions};
use std::future::Future;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{False, LINE_BYTES_MAX, Reply, Request, SocketPath, True, run_directory};
use crate::cli::{CliError, Exit};
use crate::config::secrets::{SecretError, own_directory, private_directory};
use crate::exhaustion::{Exhaustion, files_max};

/// Time for a caller to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time for the last answers to be written when the host ends.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Progress lines that may wait for a caller that does not read.
const PROGRESS_MAX: usize = 64;
/// Pause after an `accept` that failed, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers the commands that arrive.
pub trait Control: Send + Sync + 'static {
    /// Does `command`. It runs to its end even when the caller goes away: a half-done upgrade helps nobody.
    fn handle(
        &self,
        command: String,
        args: Value,
        progress: ProgressSender,
    ) -> impl Future<Output = Result<Value, CliError>> + Send;
}

/// Tells the caller what is being done. Lines that it does not read in time are dropped.
#[derive(Debug, Clone)]
pub struct ProgressSender(mpsc::Sender<String>);

impl ProgressSender {
    /// Sends one line.
    pub fn send(&self, line: impl Into<String>) {
        // A caller that went away, or does not read, misses it.
        drop(self.0.try_send(line.into()));
    }
}

/// Why the socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another host runs in this project.
    #[error("a host already runs in this project{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    AlreadyRunning {
        /// Its process id.
        pid: Option<u32>,
    },
    /// The directory is not private.
    #[error(transparent)]
    Directory(#[from] SecretError),
    /// The socket could not be made.
    #[error("cannot make the control socket in {}", directory.display())]
    Socket {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::AlreadyRunning { .. } => {
                Self::of("HOST_ALREADY_RUNNING", Exit::Unavailable, &error)
                    .with_help("see it with `nself status`, or stop it with `nself stop`")
            }
            ControlError::Directory(error) => error.into(),
            ControlError::Socket { .. } => Self::of("CONTROL_SOCKET", Exit::CannotCreate, &error)
                .with_help("check the disk and the permissions of .nself/run"),
        }
    }
}

/// The lock that makes a host the project's only one, without a host: nothing starts while a command holds it.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// [`ControlError::AlreadyRunning`] names the host that holds it.
    pub fn take(state_directory: &Path) -> Result<Self, ControlError> {
        let directory = run_directory(state_directory);
        own_directory(state_directory)?;
        private_directory(&directory)?;
        let locked = lock(&directory).map_err(|source| ControlError::Socket {
            directory: directory.clone(),
            source,
        })?;
        Ok(Self { _file: locked? })
    }
}

/// The socket, and the lock that makes this host the project's only one. Both go when it is dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
    _lock: File,
}

impl ControlServer {
    /// Takes the project's lock and binds the socket. What a killed host left behind is in nobody's way: its lock is
    /// gone with it, so its socket can be replaced.
    ///
    /// # Errors
    ///
    /// [`ControlError::AlreadyRunning`] names the host that holds the lock. Must be called inside a tokio runtime.
    pub fn bind(state_directory: &Path) -> Result<Self, ControlError> {
        let directory = run_directory(state_directory);
        own_directory(state_directory)?;
        private_directory(&directory)?;
        let failed = |source| ControlError::Socket {
            directory: directory.clone(),
            source,
        };
        let lock = lock(&directory).map_err(failed)??;

        let path = directory.join("control.sock");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let short = SocketPath::new(state_directory).map_err(failed)?;
        let listener = UnixListener::bind(&short.path).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            listener,
            path,
            _lock: lock,
        })
    }

    /// Answers callers until `stop` is done, and then those who have asked: whoever asks for the stop is told of it. Commands
    /// are worked on in tasks of their own, which go on when an answer takes longer than the host has time for.
    pub async fn run<C: Control>(&self, control: Arc<C>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let (answering, mut answers) = mpsc::channel(1);
        let mut exhaustion = Exhaustion::default();
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let answering = answering.downgrade();
                        drop(tokio::spawn(serve(Arc::clone(&control), stream, answering)));
                    }
                    Err(error) => {
                        if exhaustion.is_to_be_said() {
                            let limit = files_max();
                            tracing::warn!(%error, limit, "the control socket cannot accept a caller");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(answering);
        // Nothing is sent: it ends when nobody is left who answers.
        let answered = tokio::time::timeout(ANSWER_TIME, answers.recv()).await;
        if answered.is_err() {
            tracing::warn!("a command on the control socket was not answered before the end");
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // The next host replaces what is left.
        drop(fs::remove_file(&self.path));
    }
}

/// The lock file, locked, with our process id in it; else whose it is.
fn lock(directory: &Path) -> io::Result<Result<File, ControlError>> {
    let path = directory.join("host.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            return Ok(Err(ControlError::AlreadyRunning {
                pid: text.trim().parse().ok(),
            }));
        }
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Ok(file))
}

/// Held by who has a request to answer. Those who have none yet hold nothing up when the host ends.
type Answering = mpsc::WeakSender<Infallible>;

async fn serve<C: Control>(control: Arc<C>, stream: UnixStream, answering: Answering) {
    // The permissions of the directory say the same; this also holds when somebody has loosened them.
    let user = rustix::process::geteuid().as_raw();
    let permitted = stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == user || peer.uid() == 0);
    let (reader, mut writer) = stream.into_split();
    let mut held = None;
    let answer = if permitted {
        let request = tokio::time::timeout(REQUEST_TIME, read_request(reader)).await;
        held = answering.upgrade();
        match request {
            Ok(Ok(request)) => work(control, request, &mut writer).await,
            Ok(Err(message)) => Err(CliError::new("CONTROL_REQUEST", Exit::BadData, message)),
            Err(_) => Err(CliError::new(
                "CONTROL_REQUEST",
                Exit::BadData,
                "no request arrived in time",
            )),
        }
    } else {
        let message = "the control socket answers only the user of the host and root";
        Err(CliError::new("CONTROL_REFUSED", Exit::Permission, message))
    };
    let reply = match answer {
        Ok(data) => Reply::Done { ok: True, data },
        Err(error) => Reply::Failed { ok: False, error },
    };
    // The caller may be gone; what it asked for is done all the same.
    drop(write(&mut writer, &reply).await);
    drop(held);
}

async fn read_request(reader: impl tokio::io::AsyncRead + Unpin) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader).take(LINE_BYTES_MAX as u64);
    reader
        .read_until(b'\n', &mut line)
        .await
        .map_err(|error| format!("the request cannot be read: {error}"))?;
    serde_json::from_slice(&line).map_err(|error| format!("the request is not valid: {error}"))
}

async fn work<C: Control>(
    control: Arc<C>,
    request: Request,
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> Result<Value, CliError> {
    let (sender, mut lines) = mpsc::channel(PROGRESS_MAX);
    let working = tokio::spawn(async move {
        control
            .handle(request.command, request.args, ProgressSender(sender))
            .await
    });
    while let Some(progress) = lines.recv().await {
        if write(writer, &Reply::Progress { progress }).await.is_err() {
            break;
        }
    }
    working.await.unwrap_or_else(|_| {
        let error = CliError::new(
            "INTERNAL",
            Exit::Failed,
            "the command failed inside the host",
        );
        Err(error.with_help("the host's log says why"))
    })
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
