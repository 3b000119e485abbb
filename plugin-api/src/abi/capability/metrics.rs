//! Metrics of the plugin on the host's `/metrics`.

use crate::abi::{bytes::Str, error::Outcome, interface::interface};

/// `kind` of a metric.
pub mod kind {
    /// Only grows.
    pub const COUNTER: u32 = 1;
    /// Goes up and down.
    pub const GAUGE: u32 = 2;
    /// Distribution, in seconds or bytes.
    pub const HISTOGRAM: u32 = 3;
}

interface! {
    /// Names get the prefix `nself_<plugin>_`.
    pub interface Metrics: MetricsProvider / MetricsTable = "nself.metrics/1" {
        /// The metric of that name and these labels (a JSON object of strings); the same number for the same metric.
        sync fn metric(kind: u32, name: Str<'_>, help: Str<'_>, labels: Str<'_>) -> Outcome<u64>;
        /// Adds to a counter, sets a gauge, observes into a histogram.
        sync fn record(metric: u64, value: f64);
    }
}
