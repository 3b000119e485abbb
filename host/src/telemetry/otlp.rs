//! Traces and metrics to a collector: OTLP over HTTP, in Protocol Buffers, as the OpenTelemetry protocol 1 has it.
//!
//! Whatever the collector does costs only what is exported. Spans go through a queue with an end, in batches; what has no room, and what the
//! collector does not take after some tries, is dropped and counted. Metrics are those of `/metrics`, as they are at that moment.

mod client;
mod metrics;
mod settings;
mod spans;
pub(super) mod wire;

use std::{sync::Arc, time::Duration};

use prometheus::{IntCounterVec, proto::MetricFamily};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tracing::warn;

use self::{client::Client, metrics::Readings, wire::Message};
use super::{MetricError, Metrics, trace::Tracer};
use crate::capability::http::Egress;

pub use self::settings::{OtlpError, OtlpSettings};

/// Spans that wait; what comes on top of them is dropped. The specification's default.
const QUEUE_SPANS_MAX: usize = 2_048;

/// The version of the conventions by which attributes are named.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// Counts spans and data points that nobody gets. There from the start, also where nothing is exported, so that a rule for it finds
/// something to look at.
#[derive(Clone)]
pub struct Dropped(IntCounterVec);

/// There was no room in the queue.
const QUEUE_FULL: &str = "queue_full";
/// The collector was not there, or had no time, at each of some tries.
const UNREACHABLE: &str = "unreachable";
/// The collector said no.
const REFUSED: &str = "refused";
/// The collector took the others that were sent along.
const REJECTED: &str = "rejected";

impl Dropped {
    /// The counter, at 0.
    ///
    /// # Errors
    ///
    /// When somebody has taken its name.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricError> {
        let counter = metrics.counter(
            "nself_otlp_dropped_total",
            "Spans and data points that were not exported, by signal and reason",
            &["signal", "reason"],
        )?;
        let dropped = Self(counter);
        dropped.add(Signal::Traces, QUEUE_FULL, 0);
        for signal in [Signal::Traces, Signal::Metrics] {
            for reason in [UNREACHABLE, REFUSED, REJECTED] {
                dropped.add(signal, reason, 0);
            }
        }
        Ok(dropped)
    }

    fn add(&self, signal: Signal, reason: &str, count: u64) {
        let counter = self.0.with_label_values(&[signal.name(), reason]);
        counter.inc_by(count);
    }
}

/// Everything that is measured, at the moment of the call.
pub type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// What sends traces and metrics. Dropped, it ends at once; [`stop`](Self::stop) sends what is left.
pub struct Exporter {
    tracer: Option<Tracer>,
    tasks: Vec<JoinHandle<()>>,
    stopping: watch::Sender<bool>,
}

impl Exporter {
    /// Starts to send. The collector is not asked whether it is there.
    ///
    /// # Errors
    ///
    /// When the certificates that it is to be trusted by cannot be read.
    pub fn start(
        settings: &OtlpSettings,
        egress: &Egress,
        dropped: &Dropped,
        gather: Gather,
    ) -> Result<Self, OtlpError> {
        let (stopping, stops) = watch::channel(false);
        let client = Arc::new(Client::new(settings, egress, dropped.clone(), stops)?);
        let mut tasks = Vec::new();
        let mut tracer = None;
        if settings.traces {
            let (sender, queue) = mpsc::channel(QUEUE_SPANS_MAX);
            let overflow = dropped.0.with_label_values(&["traces", QUEUE_FULL]);
            tracer = Some(Tracer::new(settings.sampler, sender, overflow));
            tasks.push(tokio::spawn(spans::send(Arc::clone(&client), queue)));
        }
        if settings.metrics {
            let readings = Readings::new(gather);
            let every = settings.metric_interval;
            tasks.push(tokio::spawn(metrics::send(client, readings, every)));
        }
        Ok(Self {
            tracer,
            tasks,
            stopping,
        })
    }

    /// Who gets spans, if traces are exported.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// Sends what is left, as far as it goes out in time.
    pub async fn stop(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.stopping.send_replace(true);
        for mut task in self.tasks.drain(..) {
            if timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                warn!("the last traces or metrics could not be exported in time");
            }
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Asks the collector at each address whether it takes what is sent to it, with messages that have nothing in them.
///
/// # Errors
///
/// What is wrong with the settings, or what the collector says.
pub async fn probe(settings: &OtlpSettings, egress: &Egress) -> Result<(), String> {
    let (_stopping, stops) = watch::channel(false);
    let nobody = Metrics::default();
    let dropped = Dropped::register(&nobody).map_err(|error| error.to_string())?;
    let client =
        Client::new(settings, egress, dropped, stops).map_err(|error| error.to_string())?;
    for signal in settings.signals() {
        let answered = client.ask(signal, Vec::new()).await;
        answered.map_err(|reason| format!("{}: {reason}", signal.name()))?;
    }
    Ok(())
}

/// The envelope of both signals: what was measured in this process, by the host.
fn enveloped(
    resource: &Message,
    field: u32,
    items: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Vec<u8> {
    let mut scope = Message::default();
    scope
        .bytes(1, b"nself")
        .bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut of_scope = Message::default();
    of_scope.message(1, &scope);
    for item in items {
        of_scope.message(field, item.as_ref());
    }
    of_scope.bytes(3, SCHEMA_URL.as_bytes());
    let mut of_resource = Message::default();
    of_resource
        .message(1, resource)
        .message(2, &of_scope)
        .bytes(3, SCHEMA_URL.as_bytes());
    let mut request = Message::default();
    request.message(1, &of_resource);
    request.into_bytes()
}
