//! A worker that is done after its job was given to another.

use nself_plugin_testkit::eventually;
use serde_json::json;

use super::ledger::{by_job, bystander, enqueue, runs, until_completed};
use crate::stage::{count, until_count};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_says_of_a_job_that_was_taken_from_it_changes_nothing() {
    let host = bystander().await;
    let sql = host.sql().await;
    let worker = host.process_beside().start().await;
    let ids = enqueue(&sql, 5, &json!({"first_ms": 1_500}), &json!({})).await;
    until_count(&sql, "select count(*) from ledger.runs", 5).await;
    // As a rescue does that takes the host for dead.
    let taken = "select jobs.put_back(array(select id from jobs.leases), 'HOST_DIED', 'as a test says', true)";
    assert_eq!(count(&sql, taken).await, 5);
    until_completed(&sql, ids.len()).await;
    // The first attempts end as well, later.
    until_count(
        &sql,
        "select count(*) from ledger.runs where ended_at is not null",
        10,
    )
    .await;
    for (_, runs) in by_job(&runs(&sql).await) {
        let attempts: Vec<i32> = runs.iter().map(|run| run.attempt).collect();
        assert_eq!(attempts, [1, 2]);
        assert!(runs[0].ended > runs[1].ended, "{runs:?}");
    }
    eventually("it counts what it said too late", async || {
        let told = worker.log_text().contains("had been given to others");
        told.then_some(())
    })
    .await;
    // What comes after them is written down all the same, and nothing of theirs.
    let after = enqueue(&sql, 1, &json!({}), &json!({})).await;
    until_completed(&sql, ids.len() + after.len()).await;
    assert_eq!(
        count(&sql, "select count(*) from jobs.finished where attempt = 2").await,
        5
    );
    host.stop().await;
}
