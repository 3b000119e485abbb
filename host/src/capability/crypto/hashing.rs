//! Threads that hash passwords. A hash takes the processor for tens of milliseconds and 19 MiB: on the event loop it would
//! stop every request, on the blocking pool hundreds at once would take the machine's memory.

use std::{
    fmt, io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use nself_plugin_api::abi::bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    CryptoError,
    password::{Arena, Check, PASSWORD_BYTES_MAX, Stored},
};

/// What a refused caller is told to wait, in milliseconds: a full queue is worked off in about that time.
const RETRY_AFTER_MS: u64 = 1000;

/// The memory of hashes goes back to the system when there was none for so long.
const REST: Duration = Duration::from_secs(60);

/// How much hashing there may be.
#[derive(Debug, Clone, Copy)]
pub struct HashSettings {
    /// Threads; each has 19 MiB while it hashes, and keeps them for a while.
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
        let work = Arc::new(Work::new(jobs, REST));
        for number in 0..settings.threads.get() {
            let work = Arc::clone(&work);
            thread::Builder::new()
                .name(format!("nself-hash-{number}"))
                .spawn(move || work.run())?;
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

/// What the threads share.
struct Work {
    jobs: Mutex<Receiver<Job>>,
    /// Memory that no hash uses now, the warmest last.
    arenas: Mutex<Vec<Arena>>,
    rest: Duration,
}

impl Work {
    fn new(jobs: Receiver<Job>, rest: Duration) -> Self {
        Self {
            jobs: Mutex::new(jobs),
            arenas: Mutex::default(),
            rest,
        }
    }

    /// One thread's life.
    fn run(&self) {
        loop {
            // A statement of its own, so that the lock is free while this thread hashes.
            let job = lock(&self.jobs).recv_timeout(self.rest);
            match job {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => lock(&self.arenas).clear(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn work(&self, job: Job) {
        let kept = lock(&self.arenas).pop();
        let mut arena = kept.unwrap_or_default();
        // A panic is one caller's failure; a thread lost to it would be everybody's. The arena needs no repair.
        if catch_unwind(AssertUnwindSafe(|| run(&mut arena, job))).is_err() {
            tracing::error!("a password hash panicked");
        }
        lock(&self.arenas).push(arena);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_memory_is_kept_from_hash_to_hash_and_given_back_after_a_rest() {
        let (queue, jobs) = sync_channel(4);
        let work = Arc::new(Work::new(jobs, Duration::from_millis(20)));
        let (reply, answer) = oneshot::channel();
        let password = Bytes::from(b"a password".to_vec());
        work.work(Job::Hash { password, reply });
        let hash = answer.blocking_recv().expect("an answer");
        assert!(hash.expect("a hash").starts_with("$argon2id$"));
        assert_eq!(lock(&work.arenas).len(), 1, "kept for the next");
        let thread = {
            let work = Arc::clone(&work);
            thread::spawn(move || work.run())
        };
        while !lock(&work.arenas).is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        drop(queue);
        thread.join().expect("it ends with its queue");
    }
}
