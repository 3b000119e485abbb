//! A host that is told to end while it works.

use nself_plugin_testkit::Signal;
use serde_json::json;
use uuid::Uuid;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_wants_to_end_is_ended_when_its_host_gives_it_back() {
    let host = bystander().await;
    let sql = host.sql().await;
    let ids = enqueue(&sql, 2, &json!({}), &json!({})).await;
    // A host that ends before it hears of it.
    let other: Uuid = sql
        .query_one(
            "insert into jobs.hosts (name) values ('other') returning id",
            &[],
        )
        .await
        .expect("a host")
        .get(0);
    let claim = "select (c.picked).ids from jobs.claim(1::smallint, $1, 10, array_fill(0::bigint, array[10]), true, null) c";
    let claimed: Vec<i64> = sql
        .query_one(claim, &[&other])
        .await
        .expect("it claims")
        .get(0);
    assert_eq!(claimed, ids);
    let was: String = sql
        .query_one("select jobs.cancel($1)", &[&ids[0]])
        .await
        .expect("it is asked")
        .get(0);
    assert_eq!(was, "running");
    let given_back: i64 = sql
        .query_one("select jobs.hand_back($1)", &[&other])
        .await
        .expect("it ends")
        .get(0);
    assert_eq!(given_back, 2);
    let states: (String, String) = sql
        .query_one("select jobs.state($1), jobs.state($2)", &[&ids[0], &ids[1]])
        .await
        .map(|row| (row.get(0), row.get(1)))
        .expect("their states");
    assert_eq!(states, ("cancelled".to_owned(), "available".to_owned()));
    assert_eq!(count(&sql, "select count(*) from jobs.cancels").await, 0);
    host.stop().await;
}
