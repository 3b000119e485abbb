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
    shed: IntCounterVec,
    pub(super) proxy_protocol_refusals: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
}

/// The handles of one route.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    classes: [IntCounter; 5],
    duration: Histogram,
    panics: IntCounter,
    shed: IntCounter,
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
        let shed = name(
            "shed_total",
            "Requests that were refused because their plugin had as many as it may have at once",
        );
        let shed = IntCounterVec::new(shed, &["plugin"])?;
        let connections = IntGauge::with_opts(name("connections", "Open connections"))?;
        let proxy_protocol_refusals = Refusals::counter();
        let families: [Box<dyn Collector>; 7] = [
            Box::new(requests.clone()),
            Box::new(duration.clone()),
            Box::new(in_flight.clone()),
            Box::new(panics.clone()),
            Box::new(shed.clone()),
            Box::new(proxy_protocol_refusals.clone()),
            Box::new(connections.clone()),
        ];
        for family in families {
            registry.register(family)?;
        }
        Ok(Self {
            requests,
            duration,
            in_flight,
            panics,
            shed,
            proxy_protocol_refusals,
            connections,
        })
    }

    /// The handles of one route.
    pub(super) fn route(&self, plugin: &str, route: &str) -> RouteMetrics {
        RouteMetrics {
            classes: CLASSES.map(|class| self.requests.with_label_values(&[plugin, route, class])),
            duration: self.duration.with_label_values(&[plugin, route]),
            panics: self.panics.with_label_values(&[plugin]),
            shed: self.shed.with_label_values(&[plugin]),
        }
    }

    /// The counter of a plugin's panics: for the bridge, whose guard catches them before they get here.
    pub fn panics(&self, plugin: &str) -> IntCounter {
        self.panics.with_label_values(&[plugin])
    }

    /// The counter of requests that were refused because a plugin had as many as it may have at once.
    pub fn shed(&self, plugin: &str) -> IntCounter {
        self.shed.with_label_values(&[plugin])
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

impl RouteMetrics {
    pub(super) fn answered(&self, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.classes[class].inc();
        self.duration.observe(elapsed.as_secs_f64());
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    pub(super) fn shed(&self) {
        self.shed.inc();
    }
}
