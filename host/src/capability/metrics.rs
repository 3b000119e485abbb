//! `nself.metrics/1`: metrics of a plugin on the host's `/metrics`, named `nself_<plugin>_<name>`, labelled `plugin`.
//!
//! Making a metric takes a lock and checks everything; recording is an index into a table that only grows, and one atomic.
//! Families belong to the plugin and are shared by its generations: over an upgrade a counter goes on where it was.

mod family;
mod name;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use nself_plugin_api::abi::{
    bytes::Str,
    capability::metrics::MetricsProvider,
    error::{Error, Outcome},
};
use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use self::{
    family::{Families, Series, Wanted},
    name::parse_labels,
};
use super::{Grant, error::error};

/// Series of one metric: every combination of label values that was ever recorded.
pub const SERIES_MAX: usize = 1_000;
/// Metrics of one plugin.
pub const FAMILIES_MAX: usize = 200;

/// Why a metric cannot be made.
#[derive(Debug, thiserror::Error)]
enum MetricError {
    #[error("metric {name:?} of plugin {plugin} {reason}")]
    Invalid {
        plugin: Arc<str>,
        name: String,
        reason: String,
    },
    #[error("metric {name:?} of plugin {plugin} {reason}")]
    Limit {
        plugin: Arc<str>,
        name: String,
        reason: String,
    },
}

impl From<MetricError> for Error {
    fn from(cause: MetricError) -> Self {
        let (code, message) = match cause {
            MetricError::Invalid { .. } => {
                ("METRIC_INVALID", "a metric of this plugin is not valid")
            }
            MetricError::Limit { .. } => ("METRIC_LIMIT", "this plugin has too many metrics"),
        };
        error(500, code, message, cause)
    }
}

/// The metrics of all plugins.
#[derive(Default)]
pub struct MetricsHub {
    families: Mutex<Families>,
    generations: AtomicU64,
}

impl MetricsHub {
    /// A hub whose metrics join the host's own in `registry`.
    ///
    /// # Errors
    ///
    /// When `registry` has a hub already.
    pub fn new(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let hub = Arc::new(Self::default());
        registry.register(Box::new(HubCollector(Arc::clone(&hub))))?;
        Ok(hub)
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        // Each change of the families is one insertion or removal: behind a poisoned lock they are still whole.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the registry holds of a hub.
struct HubCollector(Arc<MetricsHub>);

impl Collector for HubCollector {
    /// None, because they come and go: a registry remembers what it is told here for good, even after `unregister`, and
    /// a plugin could never change help or labels of a metric without a restart of the host.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.families().collect()
    }
}

/// `nself.metrics/1` of one plugin instance. Dropped, its metrics go, except those that another instance uses.
pub struct MetricsCapability {
    hub: Arc<MetricsHub>,
    plugin: Arc<str>,
    /// Later instances have higher numbers.
    generation: u64,
    numbers: Mutex<HashMap<Key, u64>>,
    table: boxcar::Vec<Series>,
}

/// Name of the metric and its labels, in the order of their names.
type Key = (String, Vec<(String, String)>);

impl MetricsCapability {
    /// Metrics for the plugin that holds `grant`.
    pub fn new(hub: Arc<MetricsHub>, grant: &Grant) -> Self {
        let generation = hub.generations.fetch_add(1, Ordering::Relaxed);
        Self {
            hub,
            plugin: Arc::clone(&grant.plugin),
            generation,
            numbers: Mutex::default(),
            table: boxcar::Vec::new(),
        }
    }

    fn find_or_make(
        &self,
        kind: u32,
        name: &str,
        help: &str,
        labels: &str,
    ) -> Result<u64, MetricError> {
        let labels = parse_labels(labels).map_err(|reason| self.invalid(name, reason))?;
        let wanted = Wanted {
            plugin: &self.plugin,
            generation: self.generation,
            kind: kind
                .try_into()
                .map_err(|reason| self.invalid(name, reason))?,
            name,
            help,
            labels: &labels,
        };
        // An entry is added last: behind a poisoned lock the table is still whole.
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.hub.families().series(&wanted)?;
        let number = *numbers
            .entry((name.to_owned(), labels))
            .or_insert_with(|| self.table.push(series) as u64);
        Ok(number)
    }

    fn invalid(&self, name: &str, reason: String) -> MetricError {
        MetricError::Invalid {
            plugin: Arc::clone(&self.plugin),
            name: name.to_owned(),
            reason,
        }
    }
}

impl MetricsProvider for MetricsCapability {
    fn metric(&self, kind: u32, name: Str<'_>, help: Str<'_>, labels: Str<'_>) -> Outcome<u64> {
        self.find_or_make(kind, name.as_str(), help.as_str(), labels.as_str())
            .map_err(Error::from)
            .into()
    }

    fn record(&self, metric: u64, value: f64) {
        if let Some(series) = usize::try_from(metric)
            .ok()
            .and_then(|number| self.table.get(number))
        {
            series.record(value);
        }
    }
}

impl Drop for MetricsCapability {
    fn drop(&mut self) {
        self.hub.families().leave(self.generation);
    }
}

#[cfg(test)]
mod tests;
