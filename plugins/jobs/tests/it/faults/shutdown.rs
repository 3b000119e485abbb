//! A host that is told to end while it works.

use nself_plugin_testkit::Signal;
use serde_json::json;

use super::ledger::{
    assert_each_done_once, bystander, enqueue, runs, until_begun, until_completed,
};
use crate::stage::count;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_finishes_what_it_has_begun_and_gives_the_rest_back() {
    let host = bystander().await;
    let sql = host.sql().await;
    let few = "[plugins.jobs.config]\njobs_at_once = 20";
    let mut other = host.process_beside().config(few).start().await;
    let ids = enqueue(&sql, 400, &json!({"ms": 150}), &json!({})).await;
    until_begun(&sql, other.pid(), 30).await;
    other.signal(Signal::TERM);
    let status = other.ended().await;
    assert!(status.success(), "{status}: {}", other.log_text());

    let half = runs(&sql).await;
    assert!(half.len() < ids.len(), "it did not wait for all of them");
    assert!(
        half.iter().all(|run| run.ended.is_some()),
        "what was begun was finished"
    );
    for (query, expected) in [
        ("select count(*) from jobs.leases", 0),
        ("select count(*) from jobs.hosts", 0),
        (
            "select count(*) from jobs.jobs where state <> 'completed' and attempt > 0",
            0,
        ),
    ] {
        assert_eq!(count(&sql, query).await, expected, "{query}");
    }
    let finished = count(&sql, "select count(*) from jobs.finished").await;
    assert_eq!(
        usize::try_from(finished).ok(),
        Some(half.len()),
        "and written down"
    );

    let _next = host.process_beside().start().await;
    until_completed(&sql, ids.len()).await;
    let runs = runs(&sql).await;
    assert_each_done_once(&runs, &ids);
    assert!(runs.iter().all(|run| run.attempt == 1));
    host.stop().await;
}
