//! What a plugin may count, and what is refused.
use nself_plugin_api::abi::capability::metrics::{Metrics, kind};
use prometheus::TextEncoder;

use super::*;

/// A hub and the registry that it has joined.
struct Page {
    hub: Arc<MetricsHub>,
    registry: Registry,
}

fn page() -> Page {
    let registry = Registry::new();
    Page {
        hub: MetricsHub::new(&registry).expect("a fresh registry"),
        registry,
    }
}

impl Page {
    fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("text")
    }
}

fn metrics(page: &Page, plugin: &str) -> Metrics {
    let grant = Grant {
        plugin: plugin.into(),
        version: "1.0.0".into(),
        requires: Arc::default(),
        destinations: Arc::default(),
    };
    Metrics::new(Arc::new(MetricsCapability::new(
        Arc::clone(&page.hub),
        &grant,
    )))
}

fn make(metrics: &Metrics, kind: u32, name: &str, labels: &str) -> Result<u64, Error> {
    metrics
        .metric(kind, name.into(), "Help.".into(), labels.into())
        .into_result()
}

fn count(metrics: &Metrics, name: &str, labels: &str) -> u64 {
    make(metrics, kind::COUNTER, name, labels).expect("a counter")
}

#[track_caller]
fn check_refused(metrics: &Metrics, kind: u32, name: &str, labels: &str, code: &str, reason: &str) {
    let error = make(metrics, kind, name, labels).expect_err(name);
    assert_eq!(error.code.to_text(), code);
    assert!(
        error.cause.to_text().contains(reason),
        "{}",
        error.cause.to_text()
    );
}

#[test]
fn each_kind_shows_in_the_text() {
    let page = page();
    let plugin = metrics(&page, "live-stream");
    let sent = count(&plugin, "sent_total", r#"{"room":"a"}"#);
    plugin.record(sent, 2.0);
    plugin.record(sent, 1.5);
    plugin.record(
        make(&plugin, kind::GAUGE, "open", "{}").expect("a gauge"),
        -3.0,
    );
    plugin.record(
        make(&plugin, kind::HISTOGRAM, "took_seconds", "").expect("a histogram"),
        0.02,
    );
    plugin.record(
        make(&plugin, kind::HISTOGRAM, "size_bytes", "").expect("a histogram"),
        2000.0,
    );
    let text = page.render();
    for line in [
        r#"nself_live_stream_sent_total{plugin="live-stream",room="a"} 3.5"#,
        r#"nself_live_stream_open{plugin="live-stream"} -3"#,
        r#"nself_live_stream_took_seconds_bucket{plugin="live-stream",le="0.01"} 0"#,
        r#"nself_live_stream_took_seconds_bucket{plugin="live-stream",le="0.025"} 1"#,
        r#"nself_live_stream_size_bytes_bucket{plugin="live-stream",le="4096"} 1"#,
        "# TYPE nself_live_stream_sent_total counter",
        "# HELP nself_live_stream_open Help.",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in\n{text}"
        );
    }
}

#[test]
fn the_same_metric_has_the_same_number() {
    let plugin = metrics(&page(), "a");
    let one = count(&plugin, "x", r#"{"k":"1","l":"2"}"#);
    assert_eq!(count(&plugin, "x", r#"{"l":"2","k":"1"}"#), one);
    assert_ne!(count(&plugin, "x", r#"{"l":"1","k":"1"}"#), one);
}

#[test]
fn a_metric_that_does_not_fit_is_refused() {
    let page = page();
    let plugin = metrics(&page, "a");
    count(&plugin, "x", r#"{"k":"1"}"#);
    let invalid = |kind: u32, name: &str, labels: &str, reason: &str| {
        check_refused(&plugin, kind, name, labels, "METRIC_INVALID", reason);
    };
    invalid(
        kind::GAUGE,
        "x",
        r#"{"k":"1"}"#,
        "is a counter already, not a gauge",
    );
    invalid(kind::COUNTER, "x", "{}", "has the labels [\"k\"] already");
    invalid(
        kind::COUNTER,
        "x",
        r#"{"j":"1"}"#,
        "has the labels [\"k\"] already",
    );
    invalid(9, "y", "", "unknown kind 9");
    for name in [
        "",
        "9x",
        "Upper",
        "a-b",
        "a b",
        "a\n",
        "ä",
        &"n".repeat(101),
    ] {
        invalid(kind::COUNTER, name, "", "name");
    }
    invalid(kind::COUNTER, "y", "[1]", "not a JSON object of strings");
    invalid(
        kind::COUNTER,
        "y",
        r#"{"k":1}"#,
        "not a JSON object of strings",
    );
    invalid(kind::COUNTER, "y", r#"{"plugin":"b"}"#, "reserved");
    invalid(kind::HISTOGRAM, "y", r#"{"le":"1"}"#, "reserved");
    invalid(kind::COUNTER, "y", r#"{"__name__":"1"}"#, "reserved");
    invalid(kind::COUNTER, "y", r#"{"a-b":"1"}"#, "name");
    invalid(
        kind::COUNTER,
        "y",
        &format!(r#"{{"k":"{}"}}"#, "v".repeat(257)),
        "longer than 256",
    );
    invalid(kind::COUNTER, "y", &labels(11), "more than 10 labels");
}

fn labels(count: usize) -> String {
    let labels: serde_json::Map<_, _> = (0..count)
        .map(|number| (format!("l{number}"), "v".into()))
        .collect();
    serde_json::Value::Object(labels).to_string()
}

#[test]
fn two_plugins_cannot_share_a_full_name() {
    let page = page();
    let first = metrics(&page, "a_b");
    count(&first, "x", "");
    check_refused(
        &metrics(&page, "a-b"),
        kind::COUNTER,
        "x",
        "",
        "METRIC_INVALID",
        "as one of plugin a_b",
    );
    check_refused(
        &metrics(&page, "a"),
        kind::COUNTER,
        "b_x",
        "",
        "METRIC_INVALID",
        "as one of plugin a_b",
    );
}

#[test]
fn series_and_metrics_have_a_limit() {
    let page = page();
    let plugin = metrics(&page, "a");
    for id in 0..SERIES_MAX {
        count(&plugin, "x", &format!(r#"{{"id":"{id}"}}"#));
    }
    check_refused(
        &plugin,
        kind::COUNTER,
        "x",
        r#"{"id":"more"}"#,
        "METRIC_LIMIT",
        "use labels with few values",
    );
    count(&plugin, "x", r#"{"id":"7"}"#);
    for number in 1..FAMILIES_MAX {
        count(&plugin, &format!("x{number}"), "");
    }
    check_refused(
        &plugin,
        kind::COUNTER,
        "one_more",
        "",
        "METRIC_LIMIT",
        "put differences into labels",
    );
    count(&metrics(&page, "b"), "x", "");
}

#[test]
fn what_cannot_be_counted_is_left_out() {
    let page = page();
    let plugin = metrics(&page, "a");
    let counter = count(&plugin, "x", "");
    let histogram = make(&plugin, kind::HISTOGRAM, "h", "").expect("a histogram");
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        plugin.record(counter, value);
        plugin.record(histogram, if value < 0.0 { f64::NAN } else { value });
    }
    plugin.record(u64::MAX, 1.0);
    let text = page.render();
    assert!(text.contains("nself_a_x{plugin=\"a\"} 0\n"), "{text}");
    assert!(text.contains("nself_a_h_count{plugin=\"a\"} 0\n"), "{text}");
}

#[test]
fn metrics_go_with_the_last_instance_that_uses_them() {
    let page = page();
    let old = metrics(&page, "a");
    old.record(count(&old, "kept", ""), 1.0);
    count(&old, "gone", "");
    let new = metrics(&page, "a");
    new.record(count(&new, "kept", ""), 1.0);
    drop(old);
    let text = page.render();
    assert!(text.contains("nself_a_kept{plugin=\"a\"} 2\n"), "{text}");
    assert!(!text.contains("gone"), "{text}");
    drop(new);
    assert_eq!(page.render(), "");
    let other = metrics(&page, "a");
    make(&other, kind::GAUGE, "kept", "").expect("a name that is free again may become anything");
    assert_eq!(
        page.render().lines().last(),
        Some(r#"nself_a_kept{plugin="a"} 0"#)
    );
}

#[test]
fn plugins_join_the_hosts_own_metrics() {
    let page = page();
    let own = prometheus::Counter::new("nself_requests_total", "Help.").expect("a counter");
    page.registry.register(Box::new(own)).expect("a free name");
    let plugin = metrics(&page, "a");
    for id in ["2", "1"] {
        count(&plugin, "x", &format!(r#"{{"id":"{id}"}}"#));
    }
    let text = page.render();
    let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let sorted = [
        r#"nself_a_x{id="1",plugin="a"} 0"#,
        r#"nself_a_x{id="2",plugin="a"} 0"#,
        "nself_requests_total 0",
    ];
    assert_eq!(values, sorted);
    assert!(
        MetricsHub::new(&page.registry).is_err(),
        "a registry has one hub"
    );
}

#[test]
fn an_upgrade_may_change_a_metric_and_the_old_version_goes_on() {
    let page = page();
    let old = metrics(&page, "a");
    let number = count(&old, "x", "");
    let new = metrics(&page, "a");
    new.record(
        make(&new, kind::GAUGE, "x", r#"{"k":"v"}"#).expect("the newer one decides"),
        5.0,
    );
    old.record(number, 1.0);
    check_refused(
        &old,
        kind::COUNTER,
        "x",
        "",
        "METRIC_INVALID",
        "is a gauge already, not a counter",
    );
    drop(old);
    let text = page.render();
    assert!(
        text.contains("nself_a_x{k=\"v\",plugin=\"a\"} 5\n"),
        "{text}"
    );
}

#[test]
fn recording_from_many_threads_while_metrics_are_made_loses_nothing() {
    let page = page();
    let plugin = metrics(&page, "a");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let plugin = &plugin;
            scope.spawn(move || {
                for round in 0..200 {
                    let own = count(
                        plugin,
                        "own",
                        &format!(r#"{{"t":"{thread}","r":"{round}"}}"#),
                    );
                    plugin.record(own, 1.0);
                    plugin.record(count(plugin, "shared", ""), 1.0);
                }
            });
        }
    });
    let text = page.render();
    assert!(
        text.contains("nself_a_shared{plugin=\"a\"} 800\n"),
        "{text}"
    );
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("nself_a_own{") && line.ends_with(" 1"))
            .count(),
        800
    );
}
