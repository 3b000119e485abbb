//! The metrics of one kind.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nself_plugin_api::{Context, Result, capability::metrics::Metric};

/// A first poll that takes longer holds its thread.
const SWIFT: Duration = Duration::from_millis(10);
/// Swift polls in a row after which a kind is taken for one whose polls are.
const SWIFT_POLLS: u32 = 20;

/// Counters and histograms with the label `kind`.
pub(crate) struct KindMetrics {
    pub completed: Metric,
    pub failed: Metric,
    pub retried: Metric,
    pub discarded: Metric,
    pub cancelled: Metric,
    pub wait: Metric,
    pub run: Metric,
    swift_polls: AtomicU32,
}

impl KindMetrics {
    pub(super) fn new(context: &Context, kind: &str) -> Result<Self> {
        let metrics = context.metrics();
        let labels = [("kind", kind)];
        let counter = |name, help| metrics.counter(name, help, &labels);
        Ok(Self {
            completed: counter("completed_total", "Jobs completed")?,
            failed: counter("failed_total", "Attempts that failed")?,
            retried: counter(
                "retried_total",
                "Failed attempts after which a job is tried again",
            )?,
            discarded: counter("discarded_total", "Jobs given up")?,
            cancelled: counter("cancelled_total", "Jobs cancelled while they ran")?,
            wait: metrics.histogram(
                "wait_seconds",
                "From enqueueing to the first attempt, in whole seconds; a wanted delay counts",
                &labels,
            )?,
            run: metrics.histogram("run_seconds", "How long an attempt took", &labels)?,
            swift_polls: AtomicU32::new(0),
        })
    }

    /// Whether handlers of this kind have shown that they do not hold the thread on which they begin.
    pub(crate) fn is_swift(&self) -> bool {
        self.swift_polls.load(Ordering::Relaxed) >= SWIFT_POLLS
    }

    /// The first poll of an attempt took so long.
    pub(crate) fn polled(&self, took: Duration) {
        if took >= SWIFT {
            self.swift_polls.store(0, Ordering::Relaxed);
        } else if !self.is_swift() {
            self.swift_polls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for KindMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindMetrics").finish_non_exhaustive()
    }
}
