//! Runs that are steered: cancelled, suspended, resumed, tried again.

use serde_json::json;

use crate::stage::{Ledger, act, builder, definition, host, put, run, start, until};

#[tokio::test]
async fn a_timer_sleeps_as_a_delayed_job_and_a_cancelled_run_leaves_nothing() {
    let host = host().await;
    put(
        &host,
        "sleep",
        &definition("sleep", "", "  - rest:\n      wait: {days: 30}\n"),
    )
    .await;
    let started = start(&host, "sleep", json!({}), 0).await;
    until(&host, &started["id"], "waiting").await;
    let sql = host.sql().await;
    let asleep = "select count(*) from jobs.jobs j where j.kind = 'orchestrator.timer' and j.state = 'scheduled'";
    let count =
        async |query: &str| -> i64 { sql.query_one(query, &[]).await.expect("it is asked").get(0) };
    assert_eq!(count(asleep).await, 1);
    assert_eq!(act(&host, &started["id"], "cancel").await.status, 200);
    until(&host, &started["id"], "cancelled").await;
    assert_eq!(count(asleep).await, 0);
    assert_eq!(count("select count(*) from orchestrator.needs").await, 0);
    assert_eq!(
        act(&host, &started["id"], "resume").await.code(),
        "WORKFLOW_RUN_STATE"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_is_suspended_takes_nothing_in_until_it_goes_on() {
    let host = host().await;
    let tasks = "  - rest:\n      wait: {milliseconds: 1500}\n  - done:\n      set: {done: true}\n";
    put(&host, "rest", &definition("rest", "", tasks)).await;
    let started = start(&host, "rest", json!({}), 0).await;
    until(&host, &started["id"], "waiting").await;
    assert_eq!(
        act(&host, &started["id"], "suspend").await.data()["status"],
        "suspended"
    );
    let sql = host.sql().await;
    nself_plugin_testkit::eventually("its timer fires", async || {
        let gone = "select count(*) from jobs.jobs j where j.kind = 'orchestrator.timer'";
        let left: i64 = sql.query_one(gone, &[]).await.expect("it is asked").get(0);
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(run(&host, &started["id"]).await["status"], "suspended");
    assert_eq!(act(&host, &started["id"], "resume").await.status, 200);
    let ended = until(&host, &started["id"], "completed").await;
    assert_eq!(ended["output"], json!({"done": true}));
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_failed_goes_on_from_the_task_that_failed() {
    let ledger = Ledger::open(&[200, 500, 200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let task = |name: &str| {
        format!(
            "  - {name}:\n      call: http\n      with: {{method: get, endpoint: 'http://{}/{name}'}}\n",
            ledger.address
        )
    };
    let tasks = task("first") + &task("second");
    put(&host, "two", &definition("two", "", &tasks)).await;
    let started = start(&host, "two", json!({}), 25).await;
    let failed = until(&host, &started["id"], "faulted").await;
    assert_eq!(failed["error"]["status"], 500, "{failed}");
    assert_eq!(act(&host, &started["id"], "retry").await.status, 200);
    until(&host, &started["id"], "completed").await;
    let heads: Vec<String> = ledger.seen().into_iter().map(|(_, head)| head).collect();
    let firsts = heads
        .iter()
        .filter(|head| head.starts_with("GET /first"))
        .count();
    assert_eq!((heads.len(), firsts), (3, 1), "{heads:?}");
    host.stop().await;
}
