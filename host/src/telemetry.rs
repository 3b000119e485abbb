//! Logs, metrics and traces.

pub mod logs;
pub mod metrics;
mod process;
pub mod trace;
mod writer;

pub use logs::{LogError, Telemetry, init};
pub use metrics::Metrics;
pub use trace::TraceContext;
