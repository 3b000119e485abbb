//! How jobs end.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{count, enqueue, host, job, submit, until, until_count};

#[tokio::test]
async fn a_job_is_worked_and_what_came_of_it_is_kept() {
    let host = host().await;
    let id = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"tags": ["red"], "queue": "talk"}),
    )
    .await;
    let done = until(&host, id, "completed").await;
    let result = &done["result"];
    assert_eq!(result["id"], id);
    assert_eq!(
        (&result["attempt"], &result["queue"], &result["tags"]),
        (&json!(1), &json!("talk"), &json!(["red"]))
    );
    assert_eq!(done["queue"], "talk");
    host.stop().await;
}

#[tokio::test]
async fn thousands_of_jobs_are_each_worked_once() {
    let host = host().await;
    let sql = host.sql().await;
    let batch = "select count(*) from jobs.enqueue_many('fixture-caller.nothing', array(select jsonb_build_object('n', n) from generate_series(1, 1000) n))";
    for _ in 0..5 {
        assert_eq!(count(&sql, batch).await, 1_000);
    }
    until_count(
        &sql,
        "select count(distinct id) from jobs.finished where state = 'completed'",
        5_000,
    )
    .await;
    assert_eq!(
        count(&sql, "select count(*) from jobs.finished").await,
        5_000
    );
    until_count(
        &sql,
        "select count(*) from jobs.jobs where state <> 'completed'",
        0,
    )
    .await;
    until_count(&sql, "select count(*) from jobs.leases", 0).await;
    host.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_comes_again_when_it_says_and_one_that_gives_up_is_discarded() {
    let host = host().await;
    let later = enqueue(&host, "fixture-caller.fail", json!("later"), json!({})).await;
    let never = enqueue(&host, "fixture-caller.fail", json!("never"), json!({})).await;
    let waiting = until(&host, later, "retryable").await;
    assert_eq!(waiting["meta"]["errors"][0]["code"], "NOT_NOW");
    let failed_at = waiting["meta"]["errors"][0]["at"].as_str();
    assert!(waiting["run_at"].as_str() > failed_at);
    let discarded = until(&host, never, "discarded").await;
    assert_eq!(
        (&discarded["error"]["code"], &discarded["attempt"]),
        (&json!("JOB_DISCARD"), &json!(1))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_panics_is_tried_as_often_as_it_may_and_then_discarded_with_all_its_errors() {
    let host = host().await;
    let options =
        json!({"attempts_max": 3, "retry": {"strategy": "fixed", "base": 0.01, "jitter": "none"}});
    let id = enqueue(&host, "fixture-caller.fail", json!("panic"), options).await;
    let discarded = until(&host, id, "discarded").await;
    let errors = discarded["meta"]["errors"].as_array().expect("errors");
    let attempts: Vec<&Value> = errors.iter().map(|error| &error["attempt"]).collect();
    assert_eq!(attempts, [&json!(1), &json!(2), &json!(3)]);
    let answer = host
        .post(&format!("/v1/jobs/{id}/retry"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.expect_status(200).data()["state"], "available");
    until(&host, id, "discarded").await;
    host.stop().await;
}

#[tokio::test]
async fn a_job_of_a_kind_that_nobody_works_says_so_and_waits() {
    let host = host().await;
    let id = enqueue(&host, "nobody.knows", json!({}), json!({})).await;
    let waiting = until(&host, id, "scheduled").await;
    assert_eq!(waiting["meta"]["errors"][0]["code"], "JOB_KIND_UNKNOWN");
    assert_eq!(waiting["attempt"], 0, "it costs no attempt");
    host.stop().await;
}

#[tokio::test]
async fn a_kind_that_this_host_has_not_heard_of_yet_is_not_taken_for_unknown() {
    let host = host().await;
    until(
        &host,
        enqueue(&host, "nobody.knows", json!({}), json!({})).await,
        "scheduled",
    )
    .await;
    let sql = host.sql().await;
    // As a plugin of another host declares it, whose word for it is still on its way: the host is told of the job alone, by the
    // same commit.
    let declared = "with known as ( \
            insert into jobs.kinds (kind, queue, declared_by) values ('elsewhere.known', jobs.queue_id('default'), 'elsewhere') returning kind, queue \
        ), job as ( \
            insert into jobs.ready (queue, kind, payload) select k.queue, k.kind, '{}' from known k returning id, queue \
        ) select j.id, jobs.ring(j.queue) from job j";
    let row = sql.query_one(declared, &[]).await;
    let id: i64 = row.expect("a kind and a job of it").get(0);
    let waiting = until(&host, id, "scheduled").await;
    assert_eq!(
        waiting["meta"]["errors"],
        json!(null),
        "it waits for its plugin"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_dropped_and_fails() {
    let host = host().await;
    let id = enqueue(
        &host,
        "fixture-caller.wait",
        json!("never kept"),
        json!({"timeout": 0.2, "attempts_max": 1}),
    )
    .await;
    let discarded = until(&host, id, "discarded").await;
    assert_eq!(discarded["error"]["code"], "JOB_TIMEOUT");
    let dropped = eventually("the handler is dropped", async || {
        let answer = host.get("/caller/dropped").send().await;
        Some(answer.text()).filter(|text| text.contains('1'))
    });
    dropped.await;
    host.stop().await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_worker() {
    let host = host().await;
    let waiting = enqueue(
        &host,
        "fixture-caller.nothing",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    let answer = host
        .post(&format!("/v1/jobs/{waiting}/cancel?reason=no%20need"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.expect_status(200).data()["state"], "scheduled");
    assert_eq!(job(&host, waiting).await["state"], "cancelled");

    let running = enqueue(&host, "fixture-caller.wait", json!("never kept"), json!({})).await;
    until(&host, running, "running").await;
    let answer = host
        .post(&format!("/v1/jobs/{running}/cancel"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.expect_status(200).data()["state"], "running");
    until(&host, running, "cancelled").await;
    let again = host
        .post(&format!("/v1/jobs/{running}/cancel"))
        .operator()
        .send()
        .await;
    assert_eq!((again.status, again.code()), (409, "JOB_STATE".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn a_long_job_does_not_hold_up_what_was_claimed_with_it() {
    let host = host().await;
    let sql = host.sql().await;
    let tx = "select jobs.enqueue('fixture-caller.wait', '\"a\"'), jobs.enqueue('fixture-caller.wait', '\"b\"'), jobs.enqueue('fixture-caller.nothing')";
    let row = sql.query_one(tx, &[]).await.expect("it is enqueued");
    let (a, b, quick): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    until(&host, quick, "completed").await;
    // Each of the two gets a lease of its own after a while.
    until_count(
        &sql,
        "select count(*) from jobs.leases where cardinality(ids) = 1",
        2,
    )
    .await;
    for name in ["a", "b"] {
        sql.execute("select fixture.keep($1)", &[&name])
            .await
            .expect("it is kept");
    }
    assert_eq!(until(&host, a, "completed").await["result"], "it is here");
    until(&host, b, "completed").await;
    host.stop().await;
}

#[tokio::test]
async fn a_result_that_the_database_cannot_store_ends_its_job_and_no_other() {
    let host = host().await;
    let sql = host.sql().await;
    let good = submit(
        &sql,
        "fixture-caller.add",
        json!({"a": 1, "b": 2}),
        json!({"keep": "all"}),
    )
    .await;
    let done = until(&host, good, "completed").await;
    assert_eq!(done["result"], json!({"sum": 3}));
    host.stop().await;
}

#[tokio::test]
async fn the_end_of_a_job_is_told_also_when_another_plugin_ended_it() {
    let host = host().await;
    let sql = host.sql().await;
    let id = submit(
        &sql,
        "fixture-caller.nothing",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    sql.batch_execute(
        "grant usage on schema jobs to public; grant execute on function jobs.cancel(bigint, text) to public",
    )
    .await
    .expect("as a capability would grant it");
    let stranger = host.sql_as("fixture").await;
    let was = stranger.query_one("select jobs.cancel($1)", &[&id]).await;
    assert_eq!(was.expect("it may").get::<_, String>(0), "scheduled");
    let told = format!(
        "select count(*) from nself.events where type = 'jobs.job_cancelled' and subject = '{id}' and source = '/plugins/jobs'"
    );
    until_count(&sql, &told, 1).await;
    host.stop().await;
}

#[tokio::test]
async fn jobs_of_a_plugin_that_is_disabled_wait_for_it_and_lose_no_attempt() {
    let host = host().await;
    let caller = "fixture-caller";
    let grace = std::time::Duration::from_secs(5);
    // One that comes and goes before anybody has looked has no kinds yet.
    eventually("its kinds are known", async || {
        let kind = host.get("/v1/jobs/kinds/fixture-caller.tell");
        (kind.operator().send().await.status == 200).then_some(())
    })
    .await;
    host.registry()
        .disable(caller, grace, false)
        .await
        .expect("disabled");
    let id = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"attempts_max": 1}),
    )
    .await;
    until(&host, id, "scheduled").await;
    host.registry().enable(caller).await.expect("enabled");
    let done = until(&host, id, "completed").await;
    assert_eq!(
        (&done["attempt"], &done["result"]["errors"]),
        (&json!(1), &json!(0))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_transaction_that_wants_to_end_a_job_and_stays_open_holds_up_no_other_job() {
    let host = host().await;
    let sql = host.sql().await;
    let both = "select jobs.enqueue('fixture-caller.wait', '\"a\"'), jobs.enqueue('fixture-caller.wait', '\"b\"')";
    let row = sql.query_one(both, &[]).await.expect("they are enqueued");
    let (unwanted, wanted): (i64, i64) = (row.get(0), row.get(1));
    until(&host, unwanted, "running").await;
    until(&host, wanted, "running").await;
    let mut other = host.sql().await;
    let tx = other.transaction().await.expect("a transaction");
    tx.execute("select jobs.cancel($1)", &[&unwanted])
        .await
        .expect("it is asked");
    sql.execute("select fixture.keep('b')", &[])
        .await
        .expect("kept");
    until(&host, wanted, "completed").await;
    let after = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, after, "completed").await;
    assert_eq!(job(&host, unwanted).await["state"], "running");
    tx.commit().await.expect("it was still open");
    until(&host, unwanted, "cancelled").await;
    until_count(&sql, "select count(*) from jobs.cancels", 0).await;
    host.stop().await;
}
