//! Work off the event loop and beside requests, time, metrics.

use std::{sync::Arc, time::Duration};

use nself_plugin_testkit::{TestClock, eventually};
use serde_json::json;

use crate::{fixture, started};

#[tokio::test]
async fn blocking_work_runs_on_another_thread_and_its_panic_stays_there() {
    let host = started().await;
    let done = host
        .get("/fixture/blocking")
        .send()
        .await
        .expect_status(200);
    assert_eq!(done.data(), json!({"sum": 500_500, "elsewhere": true}));
    let failed = host
        .get("/fixture/blocking-panic")
        .send()
        .await
        .expect_status(200);
    assert_eq!(failed.data(), json!({"failed": 500}));
    assert_eq!(host.panics("fixture").await, 1);
    host.stop().await;
}

#[tokio::test]
async fn spawned_work_is_dropped_when_it_is_cancelled_and_when_the_plugin_ends() {
    let host = started().await;
    let running = host.running("fixture").await;
    for _ in 0..2 {
        let _ = host.post("/fixture/spawn").send().await.expect_status(204);
    }
    eventually("both being dropped", async || {
        let dropped = host.post("/fixture/cancel").send().await.data();
        (dropped == 2).then_some(())
    })
    .await;
    let _ = host.post("/fixture/spawn").send().await.expect_status(204);
    drop(running);
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_sleeps_as_long_as_the_clock_says() {
    let clock = Arc::new(TestClock::new(1_767_225_600_000_000));
    let host = fixture().clock(Arc::clone(&clock)).start().await;
    let moving = async {
        eventually("the sleeper", async || (clock.sleepers() > 0).then_some(())).await;
        clock.advance(Duration::from_secs(3_600));
    };
    let asked = host.get("/fixture/sleep?seconds=3600").send();
    let (slept, ()) = tokio::join!(asked, moving);
    assert_eq!(
        slept.expect_status(200).data(),
        json!({"took_s": 3_600, "measured_s": 3_600})
    );
    host.stop().await;
}

#[tokio::test]
async fn a_metric_of_a_plugin_is_among_the_hosts() {
    let host = started().await;
    for _ in 0..3 {
        let _ = host.post("/fixture/press").send().await.expect_status(204);
    }
    let series = "nself_fixture_pressed_total{plugin=\"fixture\"}";
    assert!(
        (host.metric(series).await - 3.0).abs() < f64::EPSILON,
        "{}",
        host.metrics().await
    );
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_knows_who_it_is_and_where_it_runs() {
    let host = started().await;
    let about = host.get("/fixture/about").send().await.data();
    assert_eq!(
        (&about["plugin"], &about["environment"]),
        (&json!("fixture"), &json!("development"))
    );
    host.stop().await;
}
