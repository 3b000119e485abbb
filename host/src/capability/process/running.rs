//! Something that runs, from the host's side: its supervisor, the socket to it, and the two pipes.

use std::{
    io,
    os::unix::{net::UnixStream as StdStream, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nself_plugin_api::abi::bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, ChildStdout},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{
    ProcessError,
    plan::{Plan, Report},
    supervisor,
};
use crate::capability::clock::HostClock;

const CHUNK_BYTES: usize = 16 << 10;
/// Time for the last of the output, once everything that could write has ended, and for the supervisor's own end.
const LAST: Duration = Duration::from_secs(1);
/// Time for a supervisor to end what it was asked to end.
const ENDING: Duration = Duration::from_secs(15);

/// Something that runs. Dropped, the socket closes, and the supervisor ends it.
pub(super) struct Started {
    reports: BufReader<OwnedReadHalf>,
    word: OwnedWriteHalf,
    child: Child,
    output: (Option<ChildStdout>, Option<ChildStderr>),
    limit: Duration,
    output_bytes_max: usize,
    clock: Arc<dyn HostClock>,
    _place: OwnedSemaphorePermit,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    is_truncated: bool,
}

impl Ran {
    /// As it crosses.
    pub(super) fn to_bytes(&self) -> Bytes {
        let ran = json!({
            "code": self.code, "signal": self.signal, "is_truncated": self.is_truncated,
            "stdout": String::from_utf8_lossy(&self.stdout),
            "stderr": String::from_utf8_lossy(&self.stderr),
        });
        ran.to_string().into()
    }
}

impl Started {
    /// Starts what is planned, held by `program`; it may take `limit` and write `output_bytes_max`.
    pub(super) async fn open(
        program: &Path,
        plan: &Plan,
        limit: Duration,
        output_bytes_max: usize,
        clock: Arc<dyn HostClock>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, ProcessError> {
        let bytes = plan.to_bytes().map_err(ProcessError::Broken)?;
        let (socket, mut child) = spawn(program).map_err(ProcessError::Broken)?;
        let (reports, mut word) = socket.into_split();
        let output = (child.stdout.take(), child.stderr.take());
        let written = word.write_all(&bytes).await;
        let mut started = Self {
            reports: BufReader::new(reports),
            word,
            child,
            output,
            limit,
            output_bytes_max,
            clock,
            _place: place,
        };
        match report(&mut started.reports).await {
            Ok(Report::Started) => Ok(started),
            Ok(Report::Failed(why)) => Err(ProcessError::Start(why)),
            Ok(Report::Ended(_)) => Err(ProcessError::Lost),
            // A supervisor that does not read has not begun.
            Err(error) => Err(written.err().map_or(error, ProcessError::Broken)),
        }
    }

    /// Waits for its end, and takes what it writes.
    pub(super) async fn end(self) -> Result<Ran, ProcessError> {
        let Self {
            mut reports,
            mut word,
            mut child,
            output,
            limit,
            clock,
            ..
        } = self;
        let left = AtomicUsize::new(self.output_bytes_max);
        let mut ran = Ran::default();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut is_late = false;
        let reported = {
            let mut read = Box::pin(async {
                tokio::try_join!(
                    take(output.0, &mut stdout, &left),
                    take(output.1, &mut stderr, &left)
                )
            });
            let mut is_read = false;
            let mut ended = Box::pin(report(&mut reports));
            let mut late = clock.sleep(limit);
            let reported = loop {
                let is_cut = is_late || ran.is_truncated;
                tokio::select! {
                    reported = &mut ended => break reported,
                    all = &mut read, if !is_read => {
                        is_read = true;
                        ran.is_truncated = all.is_err();
                    }
                    () = &mut late, if !is_cut => is_late = true,
                }
                if is_late || ran.is_truncated {
                    // The end of the host's words.
                    drop(word.shutdown().await);
                    break timeout(ENDING, &mut ended)
                        .await
                        .unwrap_or(Err(ProcessError::Lost));
                }
            };
            if !is_read {
                ran.is_truncated |= matches!(timeout(LAST, &mut read).await, Ok(Err(_)));
            }
            reported
        };
        // A supervisor that does not end is left to the runtime.
        drop(timeout(LAST, child.wait()).await);
        if is_late {
            return Err(ProcessError::Late(limit));
        }
        match reported? {
            Report::Ended(ended) => {
                (ran.code, ran.signal) = (ended.code, ended.signal);
                (ran.stdout, ran.stderr) = (stdout, stderr);
                Ok(ran)
            }
            Report::Failed(why) => Err(ProcessError::Start(why)),
            Report::Started => Err(ProcessError::Lost),
        }
    }
}

fn spawn(program: &Path) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command
        .arg(supervisor::WORD)
        .env_clear()
        .current_dir("/")
        // What is typed at the host's terminal is not for it.
        .process_group(0)
        .stdin(supervisor::stdin(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = tokio::process::Command::from(command).spawn()?;
    Ok((UnixStream::from_std(ours)?, child))
}

async fn report(from: &mut BufReader<OwnedReadHalf>) -> Result<Report, ProcessError> {
    let mut line = Vec::new();
    let read = from.read_until(b'\n', &mut line).await;
    read.map_err(ProcessError::Broken)?;
    serde_json::from_slice(&line).map_err(|_| ProcessError::Lost)
}

/// More came than may.
struct TooMuch;

async fn take(
    from: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    left: &AtomicUsize,
) -> Result<(), TooMuch> {
    let Some(mut from) = from else { return Ok(()) };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        // What cannot be read any more has ended.
        let length = from.read(&mut chunk).await.unwrap_or(0);
        if length == 0 {
            return Ok(());
        }
        let room = left.load(Ordering::Relaxed);
        into.extend_from_slice(&chunk[..length.min(room)]);
        left.store(room.saturating_sub(length), Ordering::Relaxed);
        if length > room {
            return Err(TooMuch);
        }
    }
}
