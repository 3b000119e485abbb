//! A claimed batch: its jobs, and how many of them are still to be ended.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nself_plugin_api::{bytes::Bytes, serde_json, uuid::Uuid};
use serde::Deserialize;

use crate::store::finish::Ending;

/// One attempt at a job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its id.
    pub id: i64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// What it is.
    pub kind: Arc<str>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// It counts for a limit.
    pub has_key: bool,
    /// Options and errors so far, JSON; empty for a plain job.
    pub meta: Bytes,
    /// Its input, JSON; empty while a large one has not been fetched.
    pub payload: Bytes,
}

impl Job {
    /// Time for one attempt, when the job has a limit of its own.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.meta.is_empty() {
            return None;
        }
        let own: Own = serde_json::from_slice(&self.meta).ok()?;
        own.timeout_ms.map(Duration::from_millis)
    }

    /// Whether nothing has to be done at its end but to write it down.
    fn is_plain(&self) -> bool {
        self.meta.is_empty() && !self.has_key && !self.payload.is_empty()
    }
}

/// What a runner reads of a job's options.
#[derive(Deserialize)]
struct Own {
    timeout_ms: Option<u64>,
}

/// The batch.
pub(crate) struct Lease {
    /// The fence.
    pub id: Uuid,
    /// Whose jobs they are.
    pub queue: i16,
    /// Its name.
    pub queue_name: Arc<str>,
    /// When they were its.
    pub claimed_at: Instant,
    /// Jobs that have not been ended here.
    left: AtomicUsize,
    /// Each of them may be ended by one statement for the whole lease.
    is_plain: AtomicBool,
    /// Its one job is a suspect.
    pub is_suspect: bool,
    ended: Mutex<Ended>,
}

/// Jobs that have ended and are not written down yet.
#[derive(Default)]
pub(super) struct Ended {
    /// Completed without a result.
    pub completed: Vec<i64>,
    /// All others.
    pub endings: Vec<Ending>,
    /// Whether rows are kept of the completed.
    pub is_kept: Option<bool>,
    /// The lease is in the completer's list.
    pub is_listed: bool,
}

impl Lease {
    /// A lease of those jobs.
    pub(crate) fn new(id: Uuid, (queue, queue_name): (i16, Arc<str>), jobs: &[Job]) -> Self {
        Self {
            id,
            queue,
            queue_name,
            claimed_at: Instant::now(),
            left: AtomicUsize::new(jobs.len()),
            is_plain: AtomicBool::new(jobs.iter().all(Job::is_plain)),
            is_suspect: false,
            ended: Mutex::default(),
        }
    }

    /// The lease of a suspect.
    pub(super) fn suspect(id: Uuid, queue: (i16, Arc<str>), jobs: &[Job]) -> Self {
        Self {
            is_plain: AtomicBool::new(false),
            is_suspect: true,
            ..Self::new(id, queue, jobs)
        }
    }

    /// The lease of one job that has run for long in another.
    pub(super) fn single(id: Uuid, of: &Self) -> Self {
        Self {
            id,
            queue: of.queue,
            queue_name: Arc::clone(&of.queue_name),
            claimed_at: of.claimed_at,
            left: AtomicUsize::new(1),
            is_plain: AtomicBool::new(false),
            is_suspect: of.is_suspect,
            ended: Mutex::default(),
        }
    }

    /// Notes that a job was completed and that there is nothing else to say about it. Whether the lease has to be listed for
    /// the completer.
    pub(super) fn complete(&self, job: i64, is_kept: bool) -> bool {
        let mut ended = self.ended();
        ended.completed.push(job);
        if *ended.is_kept.get_or_insert(is_kept) != is_kept {
            // One statement for the lease would treat all alike.
            self.not_plain();
        }
        self.left.fetch_sub(1, Ordering::AcqRel);
        !std::mem::replace(&mut ended.is_listed, true)
    }

    /// Notes another ending.
    pub(super) fn end(&self, ending: Ending) -> bool {
        self.is_plain.store(false, Ordering::Release);
        let mut ended = self.ended();
        ended.endings.push(ending);
        self.left.fetch_sub(1, Ordering::AcqRel);
        !std::mem::replace(&mut ended.is_listed, true)
    }

    /// A job has got a lease of its own.
    pub(super) fn leave(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// The completer has to write each job's ending.
    pub(super) fn not_plain(&self) {
        self.is_plain.store(false, Ordering::Release);
    }

    /// Whether all its jobs have ended.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Whether one statement ends all of it.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain.load(Ordering::Acquire)
    }

    pub(super) fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
