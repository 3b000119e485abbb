//! Logs, metrics and traces.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
pub mod logs;
pub mod metrics;
pub mod otlp;
mod process;
mod sampler;
pub(crate) mod statement;
pub mod trace;
mod writer;

pub use logs::{LogError, Telemetry, init};
pub use metrics::{MetricError, Metrics};
pub(crate) use process::resident_bytes;
