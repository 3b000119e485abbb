//! The registry's families as OTLP has them: sums that only grow, gauges, histograms with bounds. Names and labels are those of `/metrics`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};
use tokio::{
    select,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    Gather, Signal,
    client::Client,
    enveloped,
    wire::{Message, Value},
};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: everything since the start.
const CUMULATIVE: u64 = 2;

/// Sends everything each time that `every` has passed, and once at the end.
pub(super) async fn send(client: Arc<Client>, readings: Readings, every: Duration) {
    let readings = Arc::new(readings);
    let mut ticks = interval_at(Instant::now() + every, every);
    // One that came late says all that the missed ones would have said.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_end = select! {
            () = client.stopping() => true,
            _ = ticks.tick() => false,
        };
        let (readings, resource) = (Arc::clone(&readings), client.resource().clone());
        // Some of what is measured is read from files.
        let taken = spawn_blocking(move || readings.message(&resource)).await;
        if let Ok((message, points)) = taken {
            client.send(Signal::Metrics, message, points).await;
        }
        if is_end {
            return;
        }
    }
}

/// What is measured, since when.
pub(super) struct Readings {
    gather: Gather,
    start: u64,
}

impl Readings {
    pub(super) fn new(gather: Gather) -> Self {
        Self {
            gather,
            start: nanos_now(),
        }
    }

    /// An `ExportMetricsServiceRequest`, and how many data points are in it.
    fn message(&self, resource: &Message) -> (Vec<u8>, u64) {
        let families = (self.gather)();
        let points = families.iter().map(|family| family.get_metric().len());
        let points = points.sum::<usize>() as u64;
        let span = Period {
            start: self.start,
            now: nanos_now(),
        };
        let metrics = families
            .iter()
            .map(|family| metric(family, span).into_bytes());
        (enveloped(resource, 2, metrics), points)
    }
}

fn nanos_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of Unix time.
#[derive(Clone, Copy)]
struct Period {
    start: u64,
    now: u64,
}

fn metric(family: &MetricFamily, period: Period) -> Message {
    let mut metric = Message::default();
    metric
        .bytes(1, family.name().as_bytes())
        .bytes(2, family.help().as_bytes());
    let mut data = Message::default();
    let points = family.get_metric();
    match family.get_field_type() {
        MetricType::COUNTER => {
            for one in points {
                let value = one.get_counter().get_value();
                data.message(1, &number(one, Some(period.start), period.now, value));
            }
            data.number(2, CUMULATIVE).number(3, 1);
            metric.message(7, &data);
        }
        MetricType::HISTOGRAM => {
            for one in points {
                data.message(1, &histogram(one, period));
            }
            data.number(2, CUMULATIVE);
            metric.message(9, &data);
        }
        // The host makes no summaries, and what has no type has a value that may go anywhere.
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {
            for one in points {
                let value = one.get_gauge().get_value();
                data.message(1, &number(one, None, period.now, value));
            }
            metric.message(5, &data);
        }
    }
    metric
}

/// A `NumberDataPoint`.
fn number(metric: &Metric, start: Option<u64>, now: u64, value: f64) -> Message {
    let mut point = Message::default();
    point
        .fixed64(2, start.unwrap_or_default())
        .fixed64(3, now)
        .double(4, value);
    attributes(&mut point, 7, metric.get_label());
    point
}

/// A `HistogramDataPoint`. Its buckets count what is in each of them, where Prometheus' count what is below their bound.
fn histogram(metric: &Metric, period: Period) -> Message {
    let histogram: &Histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter();
    let finite = finite.filter(|bucket| bucket.upper_bound().is_finite());
    let (bounds, below): (Vec<f64>, Vec<u64>) = finite
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .unzip();
    // What is counted while it is read may be in a bucket and not yet in the count.
    let count = histogram
        .get_sample_count()
        .max(below.last().copied().unwrap_or_default());
    let ends = below.iter().copied().chain([count]);
    let starts = [0].into_iter().chain(below.iter().copied());
    let counts: Vec<u64> = ends
        .zip(starts)
        .map(|(end, start)| end.saturating_sub(start))
        .collect();
    let mut point = Message::default();
    point
        .fixed64(2, period.start)
        .fixed64(3, period.now)
        .fixed64(4, count)
        .double(5, histogram.get_sample_sum())
        .packed(6, counts.iter().map(|count| count.to_le_bytes()))
        .packed(7, bounds.iter().map(|bound| bound.to_le_bytes()));
    attributes(&mut point, 9, metric.get_label());
    point
}

fn attributes(point: &mut Message, field: u32, labels: &[LabelPair]) {
    for label in labels {
        point.attribute(field, label.name(), Value::Text(label.value()));
    }
}
