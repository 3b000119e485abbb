//! The metrics of one kind.

use std::fmt;

use nself_plugin_api::{Context, Result, capability::metrics::Metric};

/// Counters and histograms with the label `kind`.
pub(crate) struct KindMetrics {
    pub completed: Metric,
    pub failed: Metric,
    pub retried: Metric,
    pub discarded: Metric,
    pub cancelled: Metric,
    pub wait: Metric,
    pub run: Metric,
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
        })
    }
}

impl fmt::Debug for KindMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindMetrics").finish_non_exhaustive()
    }
}
