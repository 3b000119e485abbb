//! Jobs and schedules: declared by one plugin, found and called by another that keeps queues or watches the clock.

use nself_plugin_testkit::{Answer, LIMIT, TestHost, eventually};
use serde_json::{Value, json};

use crate::fixture;

/// The fixture finds and calls, `fixture-caller` declares.
async fn both() -> TestHost {
    fixture()
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await
}

async fn run(host: &TestHost, kind: &str, payload: Value) -> Answer {
    let path = format!("/fixture/jobs/fixture-caller.{kind}");
    host.post(&path).json(&payload).send().await
}

async fn generation(host: &TestHost, seen: u64) -> u64 {
    let path = format!("/fixture/changed?seen={seen}");
    let answer = host.get(&path).send().await.expect_status(200);
    answer.data().as_u64().expect("a generation is a number")
}

/// What is listed of a plugin.
async fn declared(host: &TestHost, plugin: &str) -> Option<Value> {
    let list = host.get("/fixture/handlers").send().await.json();
    let list = list.as_array().expect("a list of plugins");
    list.iter().find(|one| one["plugin"] == plugin).cloned()
}

async fn keep(host: &TestHost, name: &str) {
    let sql = host.sql().await;
    let insert = "insert into fixture.items (name) values ($1)";
    let kept = sql.execute(insert, &[&name]).await;
    kept.expect("an item can be kept");
}

async fn is_kept(host: &TestHost, name: &str) {
    let sql = host.sql().await;
    eventually(name, async || {
        let row = sql.query_one("select fixture.is_kept($1)", &[&name]).await;
        row.expect("items can be read")
            .get::<_, bool>(0)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_plugins_declare_is_listed() {
    let host = both().await;
    let job = |kind: &str| json!({"kind": kind, "queue": null, "attempts_max": null, "timeout_ms": null, "keep": null});
    let mut add = job("fixture-caller.add");
    add["queue"] = json!("sums");
    add["attempts_max"] = json!(5);
    add["timeout_ms"] = json!(30_000);
    add["keep"] = json!("failed");
    let expected = json!({
        "plugin": "fixture-caller", "version": env!("CARGO_PKG_VERSION"),
        "jobs": [
            add, job("fixture-caller.nothing"), job("fixture-caller.tell"), job("fixture-caller.fail"),
            job("fixture-caller.wait"),
        ],
        "schedules": [{"name": "tick", "cron": "*/5 * * * *", "timezone": "Europe/Berlin"}],
    });
    assert_eq!(declared(&host, "fixture-caller").await, Some(expected));
    let none = declared(&host, "fixture").await.expect("it runs");
    assert_eq!(none["jobs"], json!([]));
    host.stop().await;
}

#[tokio::test]
async fn a_job_is_worked_where_its_kind_is_declared_and_its_result_comes_back() {
    let host = both().await;
    let sum = run(&host, "add", json!({"a": 40, "b": 2})).await;
    assert_eq!(sum.expect_status(200).json(), json!({"sum": 42}));
    let nothing = run(&host, "nothing", json!(null)).await;
    assert_eq!(nothing.expect_status(200).json(), json!(null));
    let told = run(&host, "tell", json!(null)).await;
    let expected = json!({
        "id": 7, "kind": "fixture-caller.tell", "attempt": 2, "attempts_max": 3, "is_last": false,
        "queue": "tests", "tags": ["a", "b"], "errors": 1,
        "scheduled_at": null, "fired_at": null, "previous": null, "ended_batch": null,
    });
    assert_eq!(told.expect_status(200).json(), expected);
    host.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_says_whether_and_when_it_is_worth_another() {
    let host = both().await;
    let unreadable = run(&host, "add", json!({"a": "many"})).await;
    assert_eq!(
        (unreadable.status, &*unreadable.code()),
        (422, "JOB_PAYLOAD")
    );
    let later = run(&host, "fail", json!("later")).await;
    assert_eq!((later.status, &*later.code()), (503, "NOT_NOW"));
    assert_eq!(later.headers["retry-after"], "90");
    let never = run(&host, "fail", json!("never")).await;
    assert_eq!((never.status, &*never.code()), (422, "JOB_DISCARD"));
    let unknown = run(&host, "dance", json!(null)).await;
    assert_eq!(
        (unknown.status, &*unknown.code()),
        (404, "JOB_KIND_UNKNOWN")
    );
    host.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_attempt_and_counts_against_its_plugin() {
    let host = both().await;
    assert_eq!(run(&host, "fail", json!("panic")).await.status, 500);
    assert_eq!(host.panics("fixture-caller").await, 1);
    assert_eq!(host.panics("fixture").await, 0);
    let next = run(&host, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!(next.expect_status(200).json(), json!({"sum": 2}));
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_cancels_its_handler() {
    let host = both().await;
    // The route's time ends long before somebody keeps such an item.
    let hurried = host.post("/fixture/hurried-jobs/fixture-caller.wait");
    let hurried = hurried.json(&json!("nobody")).send().await;
    assert_eq!(hurried.status, 504);
    eventually("the handler being dropped", async || {
        let dropped = host.get("/caller/dropped").send().await.data();
        (dropped == 1).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_that_drains_finishes_its_jobs_and_takes_no_others() {
    let host = both().await;
    let seen = generation(&host, 0).await;
    let ending = async {
        is_kept(&host, "waiting for the end").await;
        let disabled = host.registry().disable("fixture-caller", LIMIT, false);
        let draining = async {
            assert_ne!(generation(&host, seen).await, seen);
            assert_eq!(declared(&host, "fixture-caller").await, None);
            let late = run(&host, "add", json!({"a": 1, "b": 1})).await;
            assert_eq!((late.status, &*late.code()), (503, "HANDLER_UNAVAILABLE"));
            assert!(late.headers.contains_key("retry-after"));
            keep(&host, "the end").await;
        };
        let (disabled, ()) = tokio::join!(disabled, draining);
        disabled.expect("nobody needs it")
    };
    let (waited, disabled) = tokio::join!(run(&host, "wait", json!("the end")), ending);
    assert_eq!(waited.expect_status(200).json(), json!("it is here"));
    assert!(disabled[0].clean, "{disabled:?}");
    let gone = run(&host, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!((gone.status, &*gone.code()), (404, "JOB_KIND_UNKNOWN"));
    let enabled = host.registry().enable("fixture-caller").await;
    let _ = enabled.expect("it starts again");
    let again = run(&host, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!(again.expect_status(200).json(), json!({"sum": 2}));
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_outlasts_the_drain_is_cut_off_and_not_blamed_on_its_handler() {
    let host = both().await;
    let ending = async {
        is_kept(&host, "waiting for nobody").await;
        let grace = std::time::Duration::ZERO;
        let disabled = host
            .registry()
            .disable("fixture-caller", grace, false)
            .await;
        disabled.expect("nobody needs it")
    };
    let (cut, disabled) = tokio::join!(run(&host, "wait", json!("nobody")), ending);
    assert_eq!((cut.status, &*cut.code()), (503, "HANDLER_STOPPED"));
    assert!(!disabled[0].clean, "{disabled:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_schedule_runs_for_the_time_at_which_it_was_due() {
    let host = both().await;
    let due = "2026-01-01T00:05:00Z";
    let ran = host
        .post("/fixture/schedules/fixture-caller/tick")
        .body(due);
    let _ = ran.send().await.expect_status(204);
    is_kept(&host, &format!("tick {due}")).await;
    for path in ["fixture-caller/tock", "fixture/tick"] {
        let unknown = host.post(&format!("/fixture/schedules/{path}")).body(due);
        let unknown = unknown.send().await;
        assert_eq!(
            (unknown.status, &*unknown.code()),
            (404, "SCHEDULE_UNKNOWN")
        );
    }
    host.stop().await;
}
