//! What `/metrics` tells of mails.

use nself_plugin_api::{Context, Result, capability::metrics::Metric};

/// The plugin's metrics.
pub(crate) struct Metrics {
    pub sent: Metric,
    pub retried: Metric,
    pub failed: Metric,
    pub suppressed: Metric,
    pub caught: Metric,
    pub queue_depth: Metric,
    pub queue_oldest_seconds: Metric,
}

impl Metrics {
    pub(crate) fn register(context: &Context) -> Result<Self> {
        let metrics = context.metrics();
        let counter = |name, help| metrics.counter(name, help, &[]);
        Ok(Self {
            sent: counter("sent_total", "Mails delivered")?,
            retried: counter(
                "retried_total",
                "Attempts after which a mail is tried again",
            )?,
            failed: counter("failed_total", "Mails given up")?,
            suppressed: counter(
                "suppressed_total",
                "Mails not sent because of the suppression list",
            )?,
            caught: counter("caught_total", "Mails kept by the catcher")?,
            queue_depth: metrics.gauge("queue_depth", "Mails that wait or are being sent", &[])?,
            queue_oldest_seconds: metrics.gauge(
                "queue_oldest_seconds",
                "How long the oldest mail of the queue waits",
                &[],
            )?,
        })
    }
}
