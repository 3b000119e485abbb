//! The plugin's process, from the host's side: how it is started, and what carries messages to it and from it.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream as StdStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use nself_plugin_api::abi::wire::Object;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Child,
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tracing::info;

use super::{
    Begin,
    child::WORD,
    link::{Connection, Out, Serving},
    message::{BYTES_MAX, Message},
};
use crate::capability::process::performer;

/// Bytes that may wait for a plugin's process before nothing more is read from it.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// The longest line of its output that is passed on in one piece.
const LINE_BYTES_MAX: usize = 4 << 10;

/// A process, and the way to it. Dropped, it is killed.
pub(super) struct Process {
    child: Child,
    /// Resolves with why nothing is heard of it any more.
    reading: JoinHandle<&'static str>,
}

/// Time for a process of which nothing is heard any more to have ended by itself.
const LAST: Duration = Duration::from_millis(200);

/// Messages to a plugin's process, which are never waited for: how much there may be is bounded by what is asked and answered.
struct Outbox {
    messages: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Queue>,
}

/// How many bytes wait.
#[derive(Default)]
struct Queue {
    bytes: AtomicUsize,
    less: Notify,
}

impl Queue {
    /// Waits until there is room: who does not read what it is sent is not read either.
    async fn room(&self) {
        while self.bytes.load(Ordering::Acquire) > WAITING_BYTES_MAX {
            let less = self.less.notified();
            if self.bytes.load(Ordering::Acquire) > WAITING_BYTES_MAX {
                less.await;
            }
        }
    }
}

impl Out for Outbox {
    fn send(&self, message: Vec<u8>) {
        self.waiting
            .bytes
            .fetch_add(message.len(), Ordering::AcqRel);
        // Nobody reads any more when it has ended.
        let _ = self.messages.send(message);
    }
}

impl Process {
    /// Starts one, which has `root` and nothing else of this process; with the way to it.
    pub(super) fn start(
        plugin: &str,
        begin: &Begin,
        root: Arc<dyn Object>,
    ) -> io::Result<(Self, Arc<Connection>)> {
        let foreign = || io::Error::other("this host is in a program that is not nself");
        let program = performer().ok_or_else(foreign)?;
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program);
        command
            .arg(WORD)
            // For people who look at the list of processes.
            .arg(plugin)
            .env_clear()
            .current_dir("/")
            // What is typed at the host's terminal is not for it.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(pass_on(stdout, plugin.to_owned()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(pass_on(stderr, plugin.to_owned()));
        }
        let (reads, writes) = UnixStream::from_std(ours)?.into_split();
        let (messages, outgoing) = mpsc::unbounded_channel();
        let waiting = Arc::new(Queue::default());
        let mut line = serde_json::to_vec(begin)?;
        line.push(b'\n');
        let outbox = Outbox {
            messages,
            waiting: Arc::clone(&waiting),
        };
        outbox.send(line);
        let connection = Connection::new(Serving::InOrder, Box::new(outbox), root);
        tokio::spawn(write(writes, outgoing, Arc::clone(&waiting)));
        let reading = tokio::spawn(read(reads, Arc::clone(&connection), waiting));
        Ok((Self { child, reading }, connection))
    }

    /// Its number, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and sees to it when nothing is heard of it any more; how it ended.
    pub(super) async fn ended(&mut self) -> String {
        let why = tokio::select! {
            ended = self.child.wait() => return told(&ended),
            why = &mut self.reading => why.unwrap_or("the way to it is lost"),
        };
        if let Ok(ended) = timeout(LAST, self.child.wait()).await {
            return told(&ended);
        }
        // It does not come back from that.
        let _ = self.child.kill().await;
        why.to_owned()
    }
}

/// How a process ended.
fn told(ended: &io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (_, Some(code)) => format!("exit status {code}"),
            _ => status.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

/// Sends what waits, as much at once as there is.
async fn write(
    mut socket: OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Queue>,
) {
    let mut messages = Vec::new();
    while outgoing.recv_many(&mut messages, 64).await > 0 {
        let bytes = messages.concat();
        messages.clear();
        let written = socket.write_all(&bytes).await;
        waiting.bytes.fetch_sub(bytes.len(), Ordering::AcqRel);
        waiting.less.notify_one();
        if written.is_err() {
            // Its end is seen where it is read.
            return;
        }
    }
}

/// Takes what the process says, until its end.
async fn read(
    socket: OwnedReadHalf,
    connection: Arc<Connection>,
    waiting: Arc<Queue>,
) -> &'static str {
    let mut socket = BufReader::with_capacity(64 << 10, socket);
    let connection = Ending(connection);
    let why = loop {
        waiting.room().await;
        match next(&mut socket).await {
            Err(_) => break "its process ended",
            Ok(None) => break "it says more at once than a message may have",
            Ok(Some(message)) => {
                if let Err(why) = connection.0.receive(message) {
                    break why;
                }
            }
        }
    };
    connection.0.end(why);
    why
}

/// Ends a connection when nothing is read from it any more, be it that a capability panicked.
struct Ending(Arc<Connection>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end("nothing is read from it");
    }
}

/// The next message; nothing when it is none.
async fn next(socket: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Message>> {
    let length = socket.read_u32_le().await?;
    if length > BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = BytesMut::zeroed(length as usize);
    socket.read_exact(&mut bytes).await?;
    Ok(Message::decode(bytes.freeze()).ok())
}

/// What it writes to its output, line by line, into the log.
async fn pass_on(output: impl AsyncRead + Unpin, plugin: String) {
    let mut output = BufReader::new(output);
    let (mut chunk, mut line) = (vec![0; LINE_BYTES_MAX], Vec::new());
    while let Ok(length @ 1..) = output.read(&mut chunk).await {
        for byte in &chunk[..length] {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() == LINE_BYTES_MAX {
                tell(&plugin, &line);
                line.clear();
            }
        }
    }
    tell(&plugin, &line);
}

fn tell(plugin: &str, line: &[u8]) {
    if !line.is_empty() {
        let line = String::from_utf8_lossy(line);
        info!(target: "plugin", plugin, at = "output", "{line}");
    }
}
