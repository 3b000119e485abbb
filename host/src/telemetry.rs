//! Logs, metrics and traces.

pub mod logs;
pub mod metrics;
pub mod trace;
mod writer;

pub use logs::{LogError, Telemetry, init};
pub use metrics::Metrics;
pub use trace::TraceContext;
