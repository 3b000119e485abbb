//! What is counted of jobs on this host for `/metrics`, and told to who looks at them live.
//!
//! A job costs a few atomics here. What is known by name (the metrics of a kind, of a queue) is looked up when the list of kinds
//! is read and every fifteen seconds, never for a job; what is told live is put together only while somebody looks.

mod kind;
mod queues;
mod watch;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nself_plugin_api::{capability::metrics::Metric, jiff::Timestamp, prelude::*, tracing::debug};

pub(crate) use self::{kind::KindMetrics, queues::refresh};
use self::{
    queues::Gauges,
    watch::{Watchers, Which},
};
use crate::{
    engine::{Job, Lease},
    store::{
        finish::{Ending, State},
        pull::Settled,
    },
};

/// Kinds with metrics of their own; those that come later are counted as `other`.
const KINDS_MAX: usize = 200;
/// Failed attempts of which it is not known yet what becomes of them.
const FAILING_MAX: usize = 10_000;

/// All of it.
pub(crate) struct Observed {
    kinds: Mutex<HashMap<String, Arc<KindMetrics>>>,
    other: Arc<KindMetrics>,
    /// Attempts that failed, until the database has said whether they are tried again.
    failing: Mutex<HashMap<i64, Arc<KindMetrics>>>,
    gauges: Mutex<HashMap<String, Gauges>>,
    stale: Metric,
    stale_counted: AtomicUsize,
    watchers: Watchers,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observed {
    pub(crate) fn new(context: &Context) -> Result<Self> {
        Ok(Self {
            kinds: Mutex::default(),
            other: Arc::new(KindMetrics::new(context, "other")?),
            failing: Mutex::default(),
            gauges: Mutex::default(),
            stale: context.metrics().counter(
                "stale_total",
                "Endings that were dropped, because the job had been given to another host",
                &[],
            )?,
            stale_counted: AtomicUsize::new(0),
            watchers: Watchers::default(),
        })
    }

    /// The metrics of a kind.
    pub(crate) fn kind(&self, context: &Context, kind: &str) -> Arc<KindMetrics> {
        let mut kinds = locked(&self.kinds);
        if let Some(known) = kinds.get(kind) {
            return Arc::clone(known);
        }
        if kinds.len() >= KINDS_MAX {
            return Arc::clone(&self.other);
        }
        let made = KindMetrics::new(context, kind).map_or_else(
            |error| {
                debug!(error = %error, kind, "a kind is counted among the others");
                Arc::clone(&self.other)
            },
            Arc::new,
        );
        kinds.insert(kind.to_owned(), Arc::clone(&made));
        made
    }

    /// Those of kinds that nobody works here.
    pub(crate) fn other(&self) -> &Arc<KindMetrics> {
        &self.other
    }

    /// An attempt goes on for a while.
    pub(crate) fn goes_on(&self, job: &Job, lease: &Lease) {
        self.tell(&of(job, &lease.queue_name), "running", None, &[]);
    }

    /// Whether somebody looks at what jobs do.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.are_there()
    }

    /// A worker has fetched a job.
    pub(crate) fn fetched(&self, job: &Job, queue: &str) {
        self.tell(&of(job, queue), "running", None, &[]);
    }

    /// A worker has said how its job ended.
    pub(crate) fn reported(&self, settled: &Settled, error: &[u8]) {
        let state = match &*settled.state {
            "completed" => "completed",
            "retryable" => "failed",
            "discarded" => "discarded",
            "cancelled" => "cancelled",
            _ => "snoozed",
        };
        let held = Duration::try_from_secs_f64(settled.held_seconds).ok();
        let job = Which {
            id: settled.job,
            kind: &settled.kind,
            queue: &settled.queue_name,
            attempt: settled.attempt,
        };
        self.tell(&job, state, held, error);
    }

    fn tell(&self, job: &Which<'_>, state: &'static str, took: Option<Duration>, error: &[u8]) {
        if self.is_watched() {
            self.watchers.tell(job, state, took, error);
        }
    }

    /// An attempt has ended.
    pub(crate) fn ended(
        &self,
        kind: &Arc<KindMetrics>,
        job: &Job,
        lease: &Lease,
        begun: Instant,
        ending: &Ending,
    ) {
        let took = begun.elapsed();
        kind.run.record(took.as_secs_f64());
        let state = match ending.state {
            State::Completed => {
                kind.completed.record(1.0);
                "completed"
            }
            State::Failed | State::Discarded => {
                kind.failed.record(1.0);
                let mut failing = locked(&self.failing);
                if failing.len() < FAILING_MAX {
                    failing.insert(job.id, Arc::clone(kind));
                }
                if ending.state == State::Failed {
                    "failed"
                } else {
                    "discarded"
                }
            }
            State::Cancelled => {
                kind.cancelled.record(1.0);
                "cancelled"
            }
            State::Snoozed => "snoozed",
        };
        self.tell(
            &of(job, &lease.queue_name),
            state,
            Some(took),
            &ending.error,
        );
    }

    /// What became of jobs whose ending has been written down; those that are not among them were somebody else's.
    pub(crate) fn settled(&self, asked: impl Iterator<Item = i64>, settled: &[(i64, String)]) {
        let mut failing = locked(&self.failing);
        if failing.is_empty() {
            return;
        }
        for (job, state) in settled {
            if let Some(kind) = failing.remove(job) {
                match &**state {
                    "retryable" => kind.retried.record(1.0),
                    "discarded" => kind.discarded.record(1.0),
                    _ => {}
                }
            }
        }
        for job in asked {
            failing.remove(&job);
        }
    }

    /// The number of dropped endings since the start.
    fn count_stale(&self, total: usize) {
        let before = self.stale_counted.swap(total, Ordering::Relaxed);
        let more = u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX);
        self.stale.record(f64::from(more));
    }

    /// What jobs of this host do from now on, for somebody who looks.
    pub(crate) fn watch(&self) -> watch::Watch {
        self.watchers.watch()
    }
}

fn of<'a>(job: &'a Job, queue: &'a str) -> Which<'a> {
    Which {
        id: job.id,
        kind: &job.kind,
        queue,
        attempt: job.attempt,
    }
}

impl KindMetrics {
    /// What became of a job that somebody had fetched.
    pub(crate) fn settled(&self, state: &str, held_seconds: f64) {
        self.run.record(held_seconds);
        let counters: &[&Metric] = match state {
            "completed" => &[&self.completed],
            "retryable" => &[&self.failed, &self.retried],
            "discarded" => &[&self.failed, &self.discarded],
            "cancelled" => &[&self.cancelled],
            _ => &[],
        };
        for counter in counters {
            counter.record(1.0);
        }
    }

    /// An attempt begins. `now` is the database's time.
    pub(crate) fn begin(&self, job: &Job, now: Timestamp) -> Instant {
        if job.attempt == 1 {
            let waited = now.as_second() - crate::context::enqueued_at(job.id).as_second();
            // An id knows the second of its job: what began in the same one has waited for less than one.
            self.wait
                .record(f64::from(i32::try_from(waited.max(0)).unwrap_or(i32::MAX)));
        }
        Instant::now()
    }
}
