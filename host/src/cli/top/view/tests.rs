//! What two looks come to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn answer(uptime_s: u32, metrics: &str) -> Value {
    let plugin = |id: &str, state: &str, isolation: Value| {
        json!({"id": id, "state": state, "degraded": id == "notes", "isolation": isolation,
               "reason": (id == "notes").then_some("5 panics")})
    };
    json!({
        "status": {
            "version": "1.2.3", "pid": 7, "uptime_s": uptime_s, "environment": "development",
            "gateway": "http://127.0.0.1:3000", "database": "PostgreSQL 15", "database_state": "running",
            "plugins": [
                plugin("auth", "started", "host".into()),
                plugin("notes", "started", "process".into()),
                plugin("idle", "stopped", Value::Null),
            ],
        },
        "usage": {
            "auth": {"memory_bytes": null, "database": {"busy": 2, "open": 3, "max": 5, "waiting": 0}},
            "notes": {"memory_bytes": 10_485_760, "database": null},
        },
        "connections": {"busy": 1, "open": 2, "max": 10, "waiting": 0},
        "metrics": metrics,
    })
}

fn read(at: Instant, uptime_s: u32, metrics: &str) -> Look {
    Look::read(answer(uptime_s, metrics), at).expect("an answer")
}

/// One look, a minute after an hour.
fn look() -> Look {
    look_at(Instant::now())
}

fn look_at(at: Instant) -> Look {
    let metrics = "process_cpu_seconds_total 100\n\
        nself_http_requests_total{plugin=\"auth\",route=\"/a\",status=\"2xx\"} 1000\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.005\"} 1000\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.01\"} 1000\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.025\"} 1000\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"+Inf\"} 1000\n\
        nself_jobs_completed_total{kind=\"x\"} 10\n";
    read(at, 3660, metrics)
}

/// The next one.
fn later() -> Look {
    later_than(Instant::now())
}

fn later_than(before: Instant) -> Look {
    let metrics = "process_cpu_seconds_total 102\nprocess_resident_memory_bytes 67108864\n\
        process_threads 9\nprocess_open_fds 30\nprocess_max_fds 1024\nnself_http_connections 12\n\
        nself_http_requests_total{plugin=\"auth\",route=\"/a\",status=\"2xx\"} 1380\n\
        nself_http_requests_total{plugin=\"auth\",route=\"/b\",status=\"4xx\"} 20\n\
        nself_http_requests_total{plugin=\"notes\",route=\"/n\",status=\"2xx\"} 38\n\
        nself_http_requests_total{plugin=\"notes\",route=\"/n\",status=\"5xx\"} 2\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.005\"} 1000\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.01\"} 1380\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"0.025\"} 1400\n\
        nself_http_request_duration_seconds_bucket{plugin=\"auth\",route=\"/a\",le=\"+Inf\"} 1400\n\
        nself_http_request_duration_seconds_bucket{plugin=\"notes\",route=\"/n\",le=\"0.005\"} 0\n\
        nself_http_request_duration_seconds_bucket{plugin=\"notes\",route=\"/n\",le=\"0.01\"} 40\n\
        nself_http_request_duration_seconds_bucket{plugin=\"notes\",route=\"/n\",le=\"0.025\"} 40\n\
        nself_http_request_duration_seconds_bucket{plugin=\"notes\",route=\"/n\",le=\"+Inf\"} 40\n\
        nself_http_in_flight{plugin=\"auth\"} 3\nnself_http_shed_total{plugin=\"notes\"} 1\n\
        nself_plugin_panics_total{plugin=\"notes\"} 1\nnself_plugin_restarts_total{plugin=\"notes\"} 2\n\
        nself_hub_connections 40\nnself_hub_topics 5\nnself_hub_frames 6\nnself_hub_dropped_total 4\n\
        nself_jobs_completed_total{kind=\"x\"} 90\nnself_jobs_failed_total{kind=\"x\"} 4\nnself_jobs_retried_total{kind=\"x\"} 4\n\
        nself_jobs_queue_depth{queue=\"default\",state=\"available\"} 7\nnself_jobs_queue_depth{queue=\"default\",state=\"running\"} 2\n\
        nself_jobs_queue_depth{queue=\"default\",state=\"retryable\"} 1\nnself_jobs_queue_oldest_seconds{queue=\"default\"} 12\n\
        nself_jobs_queue_depth{queue=\"mail\",state=\"discarded\"} 3\nnself_jobs_queue_depth{queue=\"mail\",state=\"scheduled\"} 4\n\
        nself_jobs_queue_paused{queue=\"mail\"} 1\n";
    read(before + Duration::from_secs(4), 3664, metrics)
}

#[track_caller]
fn near(got: f64, expected: f64) {
    assert!(
        (got - expected).abs() < expected / 100.0 + 1e-9,
        "{got}, not {expected}"
    );
}

/// What two looks come to that are four seconds apart.
pub(crate) fn four_seconds() -> View {
    let before = Instant::now();
    View::between(Some(&look_at(before)), &later_than(before))
}

#[test]
fn rates_are_what_was_counted_between_two_looks() {
    let view = four_seconds();
    near(view.over_s, 4.0);
    near(view.host.cpu_percent, 50.0);
    near(view.requests.per_s, 110.0);
    near(view.requests.client_errors_per_s, 5.0);
    near(view.requests.server_errors_per_s, 0.5);
    near(view.requests.shed_per_s, 0.25);
    let auth = view.plugins.iter().find(|row| row.id == "auth");
    near(auth.expect("its row").requests.per_s, 100.0);
    near(view.jobs.expect("there are queues").completed_per_s, 20.0);
}

#[test]
fn without_a_look_before_they_are_since_the_start() {
    let view = View::between(None, &later());
    near(view.over_s, 3664.0);
    near(view.requests.per_s, 1440.0 / 3664.0);
    near(view.host.cpu_percent, 10_200.0 / 3664.0);
}

#[test]
fn another_process_has_counted_from_nothing() {
    let before = later();
    let mut other = answer(2, "process_cpu_seconds_total 1\n");
    other["status"]["pid"] = 8.into();
    let other = Look::read(other, Instant::now()).expect("an answer");
    let view = View::between(Some(&before), &other);
    near(view.over_s, 2.0);
    near(view.host.cpu_percent, 50.0);
}

#[test]
fn a_counter_that_began_anew_is_no_rate_below_zero() {
    let now = read(
        later().at + Duration::from_secs(4),
        3668,
        "process_cpu_seconds_total 103\n",
    );
    let view = View::between(Some(&later()), &now);
    near(view.requests.per_s, 0.0);
    assert!(view.requests.p99_ms.is_none());
}

#[test]
fn two_looks_at_once_are_not_divided_by_nothing() {
    let now = look();
    let view = View::between(Some(&now), &now);
    assert!(view.requests.per_s.is_finite());
}

#[track_caller]
fn check_first(by: Sort, expected: &str) {
    let mut view = four_seconds();
    view.sort(by);
    assert_eq!(view.plugins[0].id, expected, "by {}", by.name());
}

#[test]
fn plugins_are_sorted_by_what_matters() {
    check_first(Sort::Requests, "auth");
    check_first(Sort::Errors, "notes");
    check_first(Sort::Latency, "auth");
    check_first(Sort::InFlight, "auth");
    check_first(Sort::Name, "auth");
    let mut order = Sort::Requests;
    for _ in 0..5 {
        order = order.next();
    }
    assert_eq!(order, Sort::Requests, "round and round");
}

#[test]
fn an_answer_of_another_version_is_told() {
    let error = Look::read(json!({"status": {}}), Instant::now()).expect_err("no answer");
    assert_eq!(error.code, "HOST_LOST");
}
