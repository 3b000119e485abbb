//! Gauges of the queues: read every fifteen seconds, by a query whose cost has a limit (see `jobs.queue_stats`).

use nself_plugin_api::{capability::metrics::Metric, prelude::*};

use super::locked;
use crate::{Jobs, store, store::queues::Queue};

/// Queues with gauges of their own, in the order of their names.
const QUEUES_MAX: usize = 150;

/// The gauges of one queue.
pub(super) struct Gauges {
    depths: [Metric; 5],
    oldest: Metric,
    is_paused: Metric,
}

impl Gauges {
    fn new(context: &Context, queue: &str) -> Result<Self> {
        let metrics = context.metrics();
        let help = "Jobs of a queue that have not ended well, by state; counted to 10000";
        let depth =
            |state| metrics.gauge("queue_depth", help, &[("queue", queue), ("state", state)]);
        let labels = [("queue", queue)];
        Ok(Self {
            depths: [
                depth("available")?,
                depth("scheduled")?,
                depth("retryable")?,
                depth("running")?,
                depth("discarded")?,
            ],
            oldest: metrics.gauge(
                "queue_oldest_seconds",
                "Age of the oldest available job; a wanted delay counts",
                &labels,
            )?,
            is_paused: metrics.gauge("queue_paused", "Whether nothing of it begins", &labels)?,
        })
    }

    fn set(&self, queue: &Queue) {
        let depths = [
            queue.available,
            queue.scheduled,
            queue.retryable,
            queue.running,
            queue.discarded,
        ];
        for (gauge, depth) in self.depths.iter().zip(depths) {
            gauge.record(f64::from(i32::try_from(depth).unwrap_or(i32::MAX)));
        }
        self.oldest.record(queue.oldest_seconds.unwrap_or(0.0));
        self.is_paused
            .record(f64::from(u8::from(queue.paused_at.is_some())));
    }
}

/// Reads them.
pub(crate) async fn refresh(cx: Cx<Jobs>) -> Result<()> {
    let queues = store::queues::all(&cx.db(), None).await?;
    let observed = &cx.plugin().observed;
    let stale = cx
        .plugin()
        .engine
        .stale
        .load(std::sync::atomic::Ordering::Relaxed);
    observed.count_stale(stale);
    let mut gauges = locked(&observed.gauges);
    for queue in queues.iter().take(QUEUES_MAX) {
        if !gauges.contains_key(&queue.name) {
            gauges.insert(queue.name.clone(), Gauges::new(&cx, &queue.name)?);
        }
        if let Some(gauges) = gauges.get(&queue.name) {
            gauges.set(queue);
        }
    }
    Ok(())
}
