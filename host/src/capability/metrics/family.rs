//! Families: one name, one kind, one set of label names, many series.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use nself_plugin_api::abi::capability::metrics::kind;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts,
    core::Collector, proto::MetricFamily,
};

use super::{FAMILIES_MAX, MetricError, SERIES_MAX, name::check_name};

/// Upper bounds in seconds: half a millisecond to a minute.
const BUCKETS_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// Upper bounds in bytes: 256 B to 256 MiB, times four.
const BUCKETS_BYTES: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl TryFrom<u32> for Kind {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            kind::COUNTER => Ok(Self::Counter),
            kind::GAUGE => Ok(Self::Gauge),
            kind::HISTOGRAM => Ok(Self::Histogram),
            _ => Err(format!("has the unknown kind {number}")),
        }
    }
}

/// What one number of a plugin stands for.
#[derive(Clone)]
pub(super) enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Series {
    /// Adds, sets or observes. What a counter or histogram cannot take (negative, not a number) is left out.
    pub(super) fn record(&self, value: f64) {
        match self {
            Self::Counter(counter) if value >= 0.0 && value.is_finite() => counter.inc_by(value),
            Self::Gauge(gauge) => gauge.set(value),
            Self::Histogram(histogram) if value.is_finite() => histogram.observe(value),
            Self::Counter(_) | Self::Histogram(_) => {}
        }
    }
}

/// A metric that a plugin asks for.
pub(super) struct Wanted<'a> {
    pub(super) plugin: &'a Arc<str>,
    pub(super) generation: u64,
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    /// In the order of their names.
    pub(super) labels: &'a [(String, String)],
}

impl Wanted<'_> {
    fn full_name(&self) -> String {
        format!("nself_{}_{}", self.plugin.replace('-', "_"), self.name)
    }

    fn invalid(&self, reason: impl Into<String>) -> MetricError {
        MetricError::Invalid {
            plugin: Arc::clone(self.plugin),
            name: self.name.to_owned(),
            reason: reason.into(),
        }
    }

    fn limit(&self, reason: impl Into<String>) -> MetricError {
        MetricError::Limit {
            plugin: Arc::clone(self.plugin),
            name: self.name.to_owned(),
            reason: reason.into(),
        }
    }
}

/// All families of all plugins, by full name.
#[derive(Default)]
pub(super) struct Families(HashMap<String, Family>);

impl Families {
    /// The series that `wanted` names, made if it is new.
    pub(super) fn series(&mut self, wanted: &Wanted<'_>) -> Result<Series, MetricError> {
        let full_name = wanted.full_name();
        if let Some(family) = self.0.get(&full_name) {
            if family.plugin != *wanted.plugin {
                return Err(wanted.invalid(format!(
                    "is called {full_name}, as one of plugin {}",
                    family.plugin
                )));
            }
            if let Err(difference) = family.compare(wanted) {
                // An upgrade may change a metric while the old version still drains. The old one then records into
                // the void; the newest generation's idea of the metric counts.
                if family
                    .users
                    .last()
                    .is_some_and(|newest| *newest >= wanted.generation)
                {
                    return Err(wanted.invalid(difference));
                }
                self.0.remove(&full_name);
            }
        }
        if !self.0.contains_key(&full_name) {
            self.check_new(wanted)?;
        }
        let family = match self.0.entry(full_name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let family = Family::new(entry.key(), wanted)
                    .map_err(|error| wanted.invalid(format!("does not fit: {error}")))?;
                entry.insert(family)
            }
        };
        family.users.insert(wanted.generation);
        family.series(wanted)
    }

    fn check_new(&self, wanted: &Wanted<'_>) -> Result<(), MetricError> {
        check_name(wanted.name).map_err(|reason| wanted.invalid(reason))?;
        let of_plugin = self
            .0
            .values()
            .filter(|family| family.plugin == *wanted.plugin);
        if of_plugin.count() >= FAMILIES_MAX {
            return Err(wanted.limit(format!(
                "is one more than {FAMILIES_MAX}: put differences into labels"
            )));
        }
        Ok(())
    }

    /// Takes away what only this generation used.
    pub(super) fn leave(&mut self, generation: u64) {
        self.0
            .retain(|_, family| !family.users.remove(&generation) || !family.users.is_empty());
    }

    /// All values as they are now.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        // A family whose only series failed has none, which the text format does not allow.
        self.0
            .values()
            .filter(|family| !family.series.is_empty())
            .flat_map(|family| family.vec.collector().collect())
            .collect()
    }
}

struct Family {
    plugin: Arc<str>,
    kind: Kind,
    label_names: Vec<String>,
    vec: MetricVec,
    series: HashMap<Vec<String>, Series>,
    users: BTreeSet<u64>,
}

enum MetricVec {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl MetricVec {
    fn collector(&self) -> &dyn Collector {
        match self {
            Self::Counter(vec) => vec,
            Self::Gauge(vec) => vec,
            Self::Histogram(vec) => vec,
        }
    }
}

impl Family {
    fn new(full_name: &str, wanted: &Wanted<'_>) -> Result<Self, prometheus::Error> {
        let help = if wanted.help.is_empty() {
            wanted.name
        } else {
            wanted.help
        };
        let opts = Opts::new(full_name, help).const_label("plugin", &**wanted.plugin);
        let names: Vec<&str> = wanted
            .labels
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let vec = match wanted.kind {
            Kind::Counter => MetricVec::Counter(CounterVec::new(opts, &names)?),
            Kind::Gauge => MetricVec::Gauge(GaugeVec::new(opts, &names)?),
            Kind::Histogram => {
                let buckets = if wanted.name.ends_with("_bytes") {
                    BUCKETS_BYTES
                } else {
                    BUCKETS_SECONDS
                };
                MetricVec::Histogram(HistogramVec::new(
                    HistogramOpts::from(opts).buckets(buckets.to_vec()),
                    &names,
                )?)
            }
        };
        Ok(Self {
            plugin: Arc::clone(wanted.plugin),
            kind: wanted.kind,
            label_names: names.into_iter().map(str::to_owned).collect(),
            vec,
            series: HashMap::new(),
            users: BTreeSet::new(),
        })
    }

    /// Says how the metric differs from the one that exists.
    fn compare(&self, wanted: &Wanted<'_>) -> Result<(), String> {
        if self.kind != wanted.kind {
            return Err(
                format!("is a {:?} already, not a {:?}", self.kind, wanted.kind).to_lowercase(),
            );
        }
        let same = self
            .label_names
            .iter()
            .eq(wanted.labels.iter().map(|(name, _)| name));
        if same {
            Ok(())
        } else {
            Err(format!("has the labels {:?} already", self.label_names))
        }
    }

    fn series(&mut self, wanted: &Wanted<'_>) -> Result<Series, MetricError> {
        let values: Vec<String> = wanted
            .labels
            .iter()
            .map(|(_, value)| value.clone())
            .collect();
        if let Some(series) = self.series.get(&values) {
            return Ok(series.clone());
        }
        if self.series.len() >= SERIES_MAX {
            return Err(wanted.limit(format!(
                "has {SERIES_MAX} series: use labels with few values, never ids"
            )));
        }
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let series = match &self.vec {
            MetricVec::Counter(vec) => vec.get_metric_with_label_values(&refs).map(Series::Counter),
            MetricVec::Gauge(vec) => vec.get_metric_with_label_values(&refs).map(Series::Gauge),
            MetricVec::Histogram(vec) => vec
                .get_metric_with_label_values(&refs)
                .map(Series::Histogram),
        };
        let series = series.map_err(|error| wanted.invalid(format!("does not fit: {error}")))?;
        self.series.insert(values, series.clone());
        Ok(series)
    }
}
