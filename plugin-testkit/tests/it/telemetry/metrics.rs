//! The same numbers as on `/metrics`.

use std::collections::BTreeSet;

use nself_plugin_testkit::{
    Collector, attribute, eventually,
    otlp::metrics::v1::{Metric, metric::Data, number_data_point::Value},
};

use crate::fixture;

/// The metric of that name, once it has come.
async fn metric(collector: &Collector, name: &str) -> Metric {
    eventually(name, async || {
        collector
            .metrics()
            .into_iter()
            .find(|metric| metric.name == name)
    })
    .await
}

#[tokio::test]
async fn every_family_is_exported_as_what_it_is() {
    let collector = Collector::start();
    let config = format!("{}traces_exporter = \"none\"\n", collector.config());
    let host = fixture().config(&config).start().await;
    for _ in 0..3 {
        host.post("/fixture/press").send().await;
    }
    eventually("three presses", async || {
        let pressed = metric(&collector, "nself_fixture_pressed_total").await;
        let Some(Data::Sum(sum)) = pressed.data else {
            panic!("{pressed:?}")
        };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let [point] = &sum.data_points[..] else {
            panic!("{sum:?}")
        };
        assert_eq!(
            attribute(&point.attributes, "plugin").as_deref(),
            Some("fixture")
        );
        assert!(point.start_time_unix_nano > 0);
        assert!(point.time_unix_nano > point.start_time_unix_nano);
        (point.value == Some(Value::AsDouble(3.0))).then_some(())
    })
    .await;

    let gauge = metric(&collector, "process_open_fds").await;
    let Some(Data::Gauge(gauge)) = gauge.data else {
        panic!("{gauge:?}")
    };
    assert!(matches!(gauge.data_points[0].value, Some(Value::AsDouble(files)) if files > 3.0));

    let duration = metric(&collector, "nself_http_request_duration_seconds").await;
    assert!(
        duration.description.starts_with("Time from"),
        "{duration:?}"
    );
    let Some(Data::Histogram(histogram)) = duration.data else {
        panic!("{duration:?}")
    };
    assert_eq!(histogram.aggregation_temporality, 2);
    let route = |key: &str| Some(key.to_owned());
    let presses = histogram
        .data_points
        .iter()
        .find(|point| attribute(&point.attributes, "route") == route("POST /fixture/press"));
    let presses = presses.expect("the route has a series");
    assert_eq!(
        (presses.count, presses.bucket_counts.iter().sum()),
        (3, 3_u64)
    );
    assert_eq!(
        presses.bucket_counts.len(),
        presses.explicit_bounds.len() + 1
    );
    assert!(presses.explicit_bounds.is_sorted() && presses.explicit_bounds[0] > 0.0);
    assert!(presses.sum.is_some_and(|sum| sum > 0.0) && presses.start_time_unix_nano > 0);

    let shown = host.metrics().await;
    let shown: BTreeSet<String> = shown
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    let is_here = async || {
        let metrics = collector.metrics().into_iter();
        let exported: BTreeSet<String> = metrics.map(|metric| metric.name).collect();
        (exported == shown).then_some(())
    };
    eventually("the same families", is_here).await;
    assert!(
        collector
            .exports()
            .iter()
            .all(|export| export.path == "/v1/metrics")
    );
    host.stop().await;
}
