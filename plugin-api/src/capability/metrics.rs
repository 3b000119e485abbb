//! Metrics of the plugin on the host's `/metrics`, named `nself_<plugin>_<name>`.

use std::sync::Arc;

use serde_json::Value;

use super::granted;
use crate::{abi::capability::metrics::kind, cx::Handles, error::Result};

/// Makes metrics.
pub struct Metrics<'a>(pub(crate) &'a Arc<Handles>);

/// One metric with its labels. Recording costs no look-up; keep it.
#[derive(Clone)]
pub struct Metric {
    handles: Arc<Handles>,
    number: u64,
}

impl Metrics<'_> {
    /// A counter.
    ///
    /// # Errors
    ///
    /// `METRIC_INVALID` when the name or its labels do not fit those of the same name.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Metric> {
        self.metric(kind::COUNTER, name, help, labels)
    }

    /// A gauge.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Metric> {
        self.metric(kind::GAUGE, name, help, labels)
    }

    /// A histogram, in seconds or bytes.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Metric> {
        self.metric(kind::HISTOGRAM, name, help, labels)
    }

    fn metric(&self, kind: u32, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Metric> {
        let labels: Value = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let metrics = granted!(self, metrics, "nself.metrics/1")?;
        let number = metrics
            .metric(
                kind,
                name.into(),
                help.into(),
                labels.to_string().as_str().into(),
            )
            .into_result()?;
        Ok(Metric {
            handles: Arc::clone(self.0),
            number,
        })
    }
}

impl Metric {
    /// Adds to a counter, sets a gauge, observes into a histogram.
    pub fn record(&self, value: f64) {
        if let Some(metrics) = &self.handles.metrics {
            metrics.record(self.number, value);
        }
    }
}
