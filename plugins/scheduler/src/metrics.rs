//! What `/metrics` tells of schedules.

use nself_plugin_api::{Context, Result, capability::metrics::Metric};

use crate::store::tick::{Fired, Move};

/// The plugin's metrics.
pub(crate) struct Metrics {
    fired: Metric,
    skipped: Metric,
    failed: Metric,
    missed: Metric,
    late_seconds: Metric,
}

impl Metrics {
    pub(crate) fn register(context: &Context) -> Result<Self> {
        let metrics = context.metrics();
        let outcome = |outcome| {
            let help = "Times of schedules by what became of them";
            metrics.counter("fires_total", help, &[("outcome", outcome)])
        };
        Ok(Self {
            fired: outcome("fired")?,
            skipped: outcome("skipped")?,
            failed: outcome("failed")?,
            missed: metrics.counter(
                "missed_total",
                "Looks at a schedule that found times for which nothing is fired any more",
                &[],
            )?,
            late_seconds: metrics.histogram(
                "late_seconds",
                "How much later than they should have been schedules were fired",
                &[],
            )?,
        })
    }

    /// Counts a tick.
    pub(crate) fn note(&self, moves: &[Move], fired: &[Fired]) {
        for one in fired {
            if let Some(ms) = one.late_ms.and_then(|ms| i32::try_from(ms).ok()) {
                self.late_seconds.record(f64::from(ms.max(0)) / 1_000.0);
            }
        }
        let count = |metric: &Metric, amount: fn(&Move) -> i64| {
            let amount: i64 = moves.iter().map(amount).sum();
            if let Ok(amount) = i32::try_from(amount)
                && amount > 0
            {
                metric.record(f64::from(amount));
            }
        };
        count(&self.fired, |one| one.fired);
        count(&self.skipped, |one| one.skipped);
        count(&self.failed, |one| one.failed);
        count(&self.missed, |one| one.missed);
    }
}
