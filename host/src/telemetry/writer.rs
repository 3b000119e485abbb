//! Where log lines go: a bounded queue and a thread that writes. Neither a full disk nor a stalled pipe stops the host:
//! lines that cannot be queued or written are counted and dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the disk.
const LINES_MAX: usize = 8_192;
/// Bytes that go out in one write.
const BATCH_BYTES: usize = 64 * 1024;
/// After a write the next lines gather for so long: while there are many, nobody has to wake this thread for each of them,
/// which costs more than the line. A line that comes alone is written at once.
const GATHER: Duration = Duration::from_millis(5);
/// Longest that the end of the process waits for the last lines.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// Pause between two tries to get into a full queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

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
        let deadline = Instant::now() + FLUSH_TIME;
        let (written, wait) = sync_channel(1);
        while self
            .sender
            .try_send(Message::Flush(written.clone()))
            .is_err()
        {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(QUEUE_PAUSE);
        }
        // Neither an answer in time nor none changes what can be done now.
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn drain(receiver: &Receiver<Message>, mut target: impl Write, lost: &AtomicU64) {
    let mut cut_short = false;
    while let Ok(first) = receiver.recv() {
        let batch = Batch::collect(first, receiver);
        if batch.lines > 0 {
            // A failed write may have ended inside a line: what follows starts on a line of its own.
            let gap: &[u8] = if cut_short { b"\n" } else { b"" };
            let written = target
                .write_all(gap)
                .and_then(|()| target.write_all(&batch.bytes))
                .and_then(|()| target.flush());
            cut_short = written.is_err();
            lost.fetch_add(if cut_short { batch.lines } else { 0 }, Ordering::Relaxed);
        }
        if let Some(written) = batch.flush {
            // Whoever waited may have given up.
            let _ = written.try_send(());
        }
        thread::sleep(GATHER);
    }
}

/// Lines that go out in one write.
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    flush: Option<SyncSender<()>>,
}

impl Batch {
    /// What waits already, up to a size, or to somebody who waits for it to be written.
    fn collect(first: Message, receiver: &Receiver<Message>) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            lines: 0,
            flush: None,
        };
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.bytes.extend_from_slice(&line);
                    batch.lines += 1;
                }
                Message::Flush(written) => {
                    batch.flush = Some(written);
                    break;
                }
            }
            next = if batch.bytes.len() < BATCH_BYTES {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        batch
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A pipe whose reader sleeps until told, then what it has read.
    #[derive(Clone)]
    struct Pipe {
        gate: Arc<Mutex<()>>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().expect("no panic");
            self.read.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_sleeps_costs_lines_and_never_blocks() {
        let pipe = Pipe {
            gate: Arc::default(),
            read: Arc::default(),
        };
        let queue = Queue::start(pipe.clone()).expect("it starts");
        let closed = pipe.gate.lock().expect("no panic");
        let sent = 3 * LINES_MAX;
        for _ in 0..sent {
            queue
                .make_writer()
                .write_all(b"line\n")
                .expect("it is queued or dropped");
        }
        assert!(queue.lost() > 0);
        drop(closed);
        // The first flush may still find the queue full; each one waits for what was there.
        let told = (0..100).any(|_| {
            queue.flush();
            let read = pipe.read.lock().expect("no panic").len() / b"line\n".len();
            read as u64 + queue.lost() == sent as u64
        });
        assert!(told, "a line was neither written nor counted");
    }

    /// A disk that is full for the first write, in the middle of a line.
    struct Full {
        full: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().expect("no panic");
            if self.full && !written.is_empty() {
                self.full = false;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = if self.full { 3 } else { bytes.len() };
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_full_disk_the_next_line_stands_on_its_own() {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let queue = Queue::start(Full {
            full: true,
            written: Arc::clone(&written),
        })
        .expect("it starts");
        for line in ["first\n", "second\n"] {
            queue
                .make_writer()
                .write_all(line.as_bytes())
                .expect("it is queued");
            queue.flush();
        }
        assert_eq!(
            written.lock().expect("no panic").as_slice(),
            b"fir\nsecond\n"
        );
        assert_eq!(queue.lost(), 1);
    }
}
