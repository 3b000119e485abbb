//! Numbers of the HTTP side. Each route resolves its handles once, when the table is built: counting a request
//! takes no lock and no look-up.

use std::time::Duration;

use http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::{proxy_protocol::Refusals, table::RouteTable};

/// Seconds: from a look into memory to the longest request that the defaults allow.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The families of the HTTP side.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    panics: IntCounterVec,
    pub(super) proxy_protocol_refusals: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
    /// Requests that no route took.
    pub(super) unmatched: RouteMetrics,
}

/// The handles of one route.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    classes: [IntCounter; 5],
    duration: Histogram,
    panics: IntCounter,
}

impl HttpMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When the registry already has them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let name = |name: &str, help: &str| Opts::new(format!("nself_http_{name}"), help);
        let requests = name("requests_total", "Requests answered, by status class");
        let requests = IntCounterVec::new(requests, &["plugin", "route", "status"])?;
        let duration = name(
            "request_duration_seconds",
            "Time from the request's head to the answer's head",
        );
        let duration = HistogramOpts::from(duration).buckets(BUCKETS.to_vec());
        let duration = HistogramVec::new(duration, &["plugin", "route"])?;
        let in_flight = IntGaugeVec::new(
            name("in_flight", "Requests, streams and sockets being served"),
            &["plugin"],
        )?;
        let panics =
            IntCounterVec::new(name("panics_total", "Handlers that panicked"), &["plugin"])?;
        let connections = IntGauge::with_opts(name("connections", "Open connections"))?;
        let proxy_protocol_refusals = Refusals::counter();
        let families: [Box<dyn Collector>; 6] = [
            Box::new(requests.clone()),
            Box::new(duration.clone()),
            Box::new(in_flight.clone()),
            Box::new(panics.clone()),
            Box::new(proxy_protocol_refusals.clone()),
            Box::new(connections.clone()),
        ];
        for family in families {
            registry.register(family)?;
        }
        let unmatched = resolve(&requests, &duration, &panics, "host", "none");
        Ok(Self {
            requests,
            duration,
            in_flight,
            panics,
            proxy_protocol_refusals,
            connections,
            unmatched,
        })
    }

    /// The handles of one route.
    pub(super) fn route(&self, plugin: &str, route: &str) -> RouteMetrics {
        resolve(&self.requests, &self.duration, &self.panics, plugin, route)
    }

    /// The counter of a plugin's panics: for the bridge, whose guard catches them before they get here.
    pub fn panics(&self, plugin: &str) -> IntCounter {
        self.panics.with_label_values(&[plugin])
    }

    /// Brings the gauges up to date; call before the registry is gathered.
    pub fn observe(&self, table: &RouteTable) {
        for generation in table.generations() {
            let in_flight = i64::try_from(generation.served()).unwrap_or(i64::MAX);
            self.in_flight
                .with_label_values(&[&**generation.plugin()])
                .set(in_flight);
        }
    }
}

fn resolve(
    requests: &IntCounterVec,
    duration: &HistogramVec,
    panics: &IntCounterVec,
    plugin: &str,
    route: &str,
) -> RouteMetrics {
    RouteMetrics {
        classes: CLASSES.map(|class| requests.with_label_values(&[plugin, route, class])),
        duration: duration.with_label_values(&[plugin, route]),
        panics: panics.with_label_values(&[plugin]),
    }
}

impl RouteMetrics {
    pub(super) fn answered(&self, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.classes[class].inc();
        self.duration.observe(elapsed.as_secs_f64());
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }
}
