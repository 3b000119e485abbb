//! Where log lines go: a bounded queue and a thread that writes. Neither a full disk nor a stalled pipe stops the host:
//! lines that cannot be queued or written are counted and dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the disk.
const LINES_MAX: usize = 8_192;
/// Bytes that go out in one write.
const BATCH_BYTES: usize = 64 * 1024;
/// Longest that the end of the process waits for the last lines.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Makes a [`Line`] per event.
#[derive(Clone)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread that writes to `target`.
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let of_thread = Arc::clone(&lost);
        thread::Builder::new()
            .name("nself-log".to_owned())
            .spawn(move || drain(&receiver, target, &of_thread))?;
        Ok(Self { sender, lost })
    }

    /// Lines dropped so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was logged so far is written, or for a second.
    pub(super) fn flush(&self) {
        let (written, wait) = sync_channel(1);
        if self.sender.try_send(Message::Flush(written)).is_ok() {
            // Neither an answer in time nor none changes what can be done now.
            let _ = wait.recv_timeout(FLUSH_TIME);
        }
    }
}

fn drain(receiver: &Receiver<Message>, mut target: impl Write, lost: &AtomicU64) {
    let mut batch = Vec::new();
    while let Ok(first) = receiver.recv() {
        let mut lines = 0;
        let mut waiting = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Flush(written) => {
                    waiting = Some(written);
                    break;
                }
            }
            next = if batch.len() < BATCH_BYTES {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        if target
            .write_all(&batch)
            .and_then(|()| target.flush())
            .is_err()
        {
            lost.fetch_add(lines, Ordering::Relaxed);
        }
        batch.clear();
        if let Some(written) = waiting {
            // Whoever waited may have given up.
            let _ = written.try_send(());
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: self,
            bytes: Vec::with_capacity(256),
        }
    }
}

/// One event's bytes; queued when dropped, so that a line is lost whole or not at all.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = Message::Line(std::mem::take(&mut self.bytes));
        if self.queue.sender.try_send(line).is_err() {
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
