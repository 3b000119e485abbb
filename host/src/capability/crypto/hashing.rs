//! Threads that hash passwords. A hash takes the processor for tens of milliseconds and 19 MiB: on the event loop it would
//! stop every request, on the blocking pool hundreds at once would take the machine's memory.

use std::{
    fmt, io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use nself_plugin_api::abi::bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    CryptoError,
    password::{Arena, Check, PASSWORD_BYTES_MAX, Stored},
};

/// What a refused caller is told to wait, in milliseconds: a full queue is worked off in about that time.
const RETRY_AFTER_MS: u64 = 1000;

/// How much hashing there may be.
#[derive(Debug, Clone, Copy)]
pub struct HashSettings {
    /// Threads; each keeps 19 MiB from its first hash on.
    pub threads: NonZeroUsize,
    /// Hashes that may wait for a thread.
    pub queue_max: usize,
}

impl Default for HashSettings {
    /// Half of the processors, and a queue of 64.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN);
        Self {
            threads,
            queue_max: 64,
        }
    }
}

enum Job {
    Hash {
        password: Bytes,
        reply: Reply<String>,
    },
    Check {
        password: Bytes,
        stored: Box<Stored>,
        reply: Reply<Check>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, CryptoError>>;

/// The queue before the threads, which end with it.
pub(super) struct Hashing {
    queue: SyncSender<Job>,
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").finish_non_exhaustive()
    }
}

impl Hashing {
    /// Starts the threads.
    pub(super) fn start(settings: HashSettings) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(settings.queue_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..settings.threads.get() {
            let jobs = jobs.clone();
            thread::Builder::new()
                .name(format!("nself-hash-{number}"))
                .spawn(move || work(&jobs))?;
        }
        Ok(Self { queue })
    }

    pub(super) async fn hash(&self, password: Bytes) -> Result<String, CryptoError> {
        check_length(&password)?;
        self.answer(|reply| Job::Hash { password, reply }).await
    }

    pub(super) async fn check(&self, password: Bytes, hash: Bytes) -> Result<Check, CryptoError> {
        check_length(&password)?;
        let stored = Box::new(Stored::parse(hash.as_slice())?);
        self.answer(|reply| Job::Check {
            password,
            stored,
            reply,
        })
        .await
    }

    async fn answer<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, CryptoError> {
        let failed = CryptoError::Library("hash a password");
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(job(reply)) {
            Ok(()) => answer.await.unwrap_or(Err(failed)),
            Err(TrySendError::Full(_)) => Err(CryptoError::HashQueueFull {
                retry_after_ms: RETRY_AFTER_MS,
            }),
            Err(TrySendError::Disconnected(_)) => Err(failed),
        }
    }
}

fn check_length(password: &Bytes) -> Result<(), CryptoError> {
    let bytes = password.as_slice().len();
    if bytes > PASSWORD_BYTES_MAX {
        return Err(CryptoError::PasswordTooLong { bytes });
    }
    Ok(())
}

/// One thread's life.
fn work(jobs: &Mutex<Receiver<Job>>) {
    let mut arena = Arena::default();
    loop {
        // A statement of its own, so that the lock is free while this thread hashes.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic is one caller's failure; a thread lost to it would be everybody's. The arena needs no repair.
        if catch_unwind(AssertUnwindSafe(|| run(&mut arena, job))).is_err() {
            tracing::error!("a password hash panicked");
        }
    }
}

/// Works a job whose caller still waits. An answer that nobody wants is dropped.
fn run(arena: &mut Arena, job: Job) {
    match job {
        Job::Hash { password, reply } if !reply.is_closed() => {
            let _ = reply.send(arena.hash(password.as_slice()));
        }
        Job::Check {
            password,
            stored,
            reply,
        } if !reply.is_closed() => {
            let _ = reply.send(arena.check(password.as_slice(), &stored));
        }
        Job::Hash { .. } | Job::Check { .. } => {}
    }
}
