//! Logs, metrics and traces.

mod json;
pub mod logs;
pub mod metrics;
mod process;
mod writer;

pub use logs::{LogError, Telemetry, init};
pub use metrics::{MetricError, Metrics};
