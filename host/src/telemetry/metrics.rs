//! Metrics: one registry, families that others ask for by name, Prometheus text out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, PullingGauge, Registry,
    TextEncoder,
};

/// Bounds of latency histograms, seconds: half a millisecond to ten seconds.
pub const LATENCY_BOUNDS_S: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Why a family cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// The name is taken by a family of another kind or with other labels.
    #[error(
        "metric `{name}` already exists as another kind or with other labels: choose another name"
    )]
    Taken {
        /// The family's name.
        name: String,
    },
    /// Not a name, or not labels.
    #[error("metric `{name}` cannot be made: names and labels consist of letters, digits and `_`")]
    Invalid {
        /// The family's name.
        name: String,
        /// What the registry says.
        #[source]
        source: prometheus::Error,
    },
}

/// The process's metrics. Cheap to clone: all clones share one registry.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<HashMap<String, Known>>>,
}

/// A family and the labels that it was made with.
struct Known {
    labels: Vec<String>,
    family: Family,
}

#[derive(Clone)]
enum Family {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Histogram(HistogramVec),
}

impl Metrics {
    /// A registry that knows the host's version and what the process uses.
    pub fn new() -> Self {
        let metrics = Self::default();
        let info = metrics.gauge(
            "nself_build_info",
            "Version of the host; always 1.",
            &["version"],
        );
        let info = info.expect("the first family of a fresh registry fits");
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        super::process::register(&metrics);
        metrics
    }

    /// The counter of this name; made when it is not there. Names end in `_total`.
    pub fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricError> {
        let make = || IntCounterVec::new(Opts::new(name, help), labels).map(Family::Counter);
        match self.family(name, labels, make)? {
            Family::Counter(counter) => Ok(counter),
            Family::Gauge(_) | Family::Histogram(_) => Err(MetricError::Taken {
                name: name.to_owned(),
            }),
        }
    }

    /// The gauge of this name; made when it is not there.
    pub fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, MetricError> {
        let make = || IntGaugeVec::new(Opts::new(name, help), labels).map(Family::Gauge);
        match self.family(name, labels, make)? {
            Family::Gauge(gauge) => Ok(gauge),
            Family::Counter(_) | Family::Histogram(_) => Err(MetricError::Taken {
                name: name.to_owned(),
            }),
        }
    }

    /// The histogram of this name; made when it is not there. `bounds` are upper bounds, in the unit of the name.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> Result<HistogramVec, MetricError> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        match self.family(name, labels, || {
            HistogramVec::new(options, labels).map(Family::Histogram)
        })? {
            Family::Histogram(histogram) => Ok(histogram),
            Family::Counter(_) | Family::Gauge(_) => Err(MetricError::Taken {
                name: name.to_owned(),
            }),
        }
    }

    /// A gauge without labels whose value `read` says each time somebody looks.
    pub fn pulled(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), MetricError> {
        let invalid = |source| MetricError::Invalid {
            name: name.to_owned(),
            source,
        };
        let gauge = PullingGauge::new(name, help, Box::new(read)).map_err(invalid)?;
        self.registry.register(Box::new(gauge)).map_err(invalid)
    }

    /// Adds a collector of one's own.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// The registry itself, for code that makes its families with the prometheus crate.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        encoded(&self.registry.gather())
    }

    /// The same of these families only, without counters and histograms that have counted nothing: routes that nobody calls.
    pub fn render_only(&self, names: &[String]) -> String {
        let mut families = self.registry.gather();
        families.retain(|family| names.iter().any(|name| name == family.name()));
        for family in &mut families {
            let kind = family.get_field_type();
            let samples = family.mut_metric();
            samples.retain(|sample| match kind {
                MetricType::COUNTER => sample.get_counter().get_value() != 0.0,
                MetricType::HISTOGRAM => sample.get_histogram().get_sample_count() != 0,
                _ => true,
            });
        }
        families.retain(|family| !family.get_metric().is_empty());
        encoded(&families)
    }

    /// A plugin's next version asks for the same families again: it gets those that are there.
    fn family(
        &self,
        name: &str,
        labels: &[&str],
        make: impl FnOnce() -> prometheus::Result<Family>,
    ) -> Result<Family, MetricError> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = families.get(name) {
            let same = known
                .labels
                .iter()
                .map(String::as_str)
                .eq(labels.iter().copied());
            return if same {
                Ok(known.family.clone())
            } else {
                Err(MetricError::Taken {
                    name: name.to_owned(),
                })
            };
        }
        let invalid = |source| MetricError::Invalid {
            name: name.to_owned(),
            source,
        };
        let family = make().map_err(invalid)?;
        let collector: Box<dyn Collector> = match &family {
            Family::Counter(counter) => Box::new(counter.clone()),
            Family::Gauge(gauge) => Box::new(gauge.clone()),
            Family::Histogram(histogram) => Box::new(histogram.clone()),
        };
        self.registry.register(collector).map_err(invalid)?;
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let known = Known {
            labels,
            family: family.clone(),
        };
        families.insert(name.to_owned(), known);
        Ok(family)
    }
}

fn encoded(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(families, &mut text);
    encoded.expect("gathered families encode into memory");
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_asked_for_twice_is_one_and_renders() {
        let metrics = Metrics::new();
        for _ in 0..2 {
            metrics
                .counter("notes_total", "Notes.", &["kind"])
                .expect("it fits")
                .with_label_values(&["new"])
                .inc();
        }
        assert!(
            metrics.render().contains("notes_total{kind=\"new\"} 2\n"),
            "{}",
            metrics.render()
        );
    }

    #[test]
    fn the_process_shows_what_it_uses() {
        let text = Metrics::new().render();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))
                .expect("the family is there");
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse().ok())
                .expect("a number")
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0, "{text}");
        assert!(
            value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0,
            "{text}"
        );
        assert!(value("process_cpu_seconds_total") > 0.0, "{text}");
        assert!(
            text.contains("# TYPE process_cpu_seconds_total counter\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_asked_for_renders_alone_and_without_what_has_counted_nothing() {
        let metrics = Metrics::new();
        let notes = metrics.counter("notes_total", "Notes.", &["kind"]);
        let notes = notes.expect("it fits");
        notes.with_label_values(&["new"]).inc();
        notes.with_label_values(&["old"]).reset();
        let depth = metrics.gauge("depth", "Depth.", &["of"]);
        depth.expect("it fits").with_label_values(&["sea"]).set(0);
        let took = metrics.histogram("took_seconds", "Took.", &["what"], &[1.0]);
        let took = took.expect("it fits");
        took.with_label_values(&["sleep"]).observe(0.5);
        took.with_label_values(&["never"]);
        let names = ["notes_total", "depth", "took_seconds", "absent"].map(str::to_owned);
        let text = metrics.render_only(&names);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "depth{of=\"sea\"} 0",
                "notes_total{kind=\"new\"} 1",
                "took_seconds_bucket{what=\"sleep\",le=\"1\"} 1",
                "took_seconds_bucket{what=\"sleep\",le=\"+Inf\"} 1",
                "took_seconds_sum{what=\"sleep\"} 0.5",
                "took_seconds_count{what=\"sleep\"} 1",
            ]
        );
    }

    #[test]
    fn a_taken_or_impossible_name_is_an_error() {
        let metrics = Metrics::new();
        metrics
            .counter("notes_total", "Notes.", &[])
            .expect("it fits");
        assert!(matches!(
            metrics.gauge("notes_total", "Notes.", &[]),
            Err(MetricError::Taken { .. })
        ));
        assert!(matches!(
            metrics.counter("notes_total", "Notes.", &["x"]),
            Err(MetricError::Taken { .. })
        ));
        assert!(matches!(
            metrics.counter("not a name", "Notes.", &[]),
            Err(MetricError::Invalid { .. })
        ));
    }
}
