//! Jobs that hurt the host that works them.

use std::time::SystemTime;

use nself_plugin_testkit::{HostProcess, eventually};
use serde_json::json;

use super::ledger::{assert_each_done_once, by_job, bystander, enqueue, enqueue_kind, runs};
use crate::stage::{count, until_count};

const OVER: &str = "select count(*) from jobs.jobs where state in ('completed', 'discarded')";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_its_process_is_found_after_three_lives_and_its_neighbours_survive() {
    let host = bystander().await;
    let sql = host.sql().await;
    let poison = enqueue(&sql, 1, &json!({"manner": "abort"}), &json!({})).await[0];
    let neighbours = enqueue(&sql, 40, &json!({"ms": 60}), &json!({})).await;
    let mut lives: Vec<HostProcess> = Vec::new();
    // As a supervisor does: whenever it ends, another one is started.
    let all = i64::try_from(neighbours.len()).expect("few") + 1;
    while count(&sql, OVER).await < all {
        let mut life = host.process_beside().start().await;
        eventually("it dies, or all is done", async || {
            let is_over = !life.runs() || count(&sql, OVER).await == all;
            is_over.then_some(())
        })
        .await;
        lives.push(life);
        assert!(lives.len() <= 5, "they die again and again");
    }
    assert_eq!(lives.len(), 4, "three died of it");

    let dead = sql
        .query("select id, error ->> 'code', attempt from jobs.dead", &[])
        .await
        .expect("discarded jobs");
    let dead: Vec<(i64, String, i16)> = dead
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(dead, [(poison, "JOB_KILLS_HOST".to_owned(), 3)]);
    let runs = runs(&sql).await;
    assert_eq!(by_job(&runs)[&poison].len(), 3);
    let others: Vec<_> = runs.into_iter().filter(|run| run.job != poison).collect();
    assert_each_done_once(&others, &neighbours);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_hold_their_thread_panic_or_never_return_end_no_host_and_no_other_job() {
    let host = bystander().await;
    let sql = host.sql().await;
    let other = host.process_beside().start().await;
    let never = json!({"timeout": 1.0, "attempts_max": 1});
    enqueue(&sql, 5, &json!({"manner": "never"}), &never).await;
    // A machine may have no more than two threads for all handlers.
    enqueue(
        &sql,
        1,
        &json!({"manner": "block", "ms": 3_000}),
        &json!({}),
    )
    .await;
    enqueue(
        &sql,
        3,
        &json!({"manner": "panic"}),
        &json!({"attempts_max": 1}),
    )
    .await;
    until_count(&sql, "select count(*) from ledger.runs", 9).await;
    let quick = enqueue(&sql, 50, &json!({"key": "quick"}), &json!({})).await;
    until_count(&sql, OVER, 59).await;
    let codes = sql
        .query(
            "select error ->> 'code', count(*) from jobs.dead group by 1 order by 1",
            &[],
        )
        .await
        .expect("discarded jobs");
    let codes: Vec<(String, i64)> = codes.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("JOB_TIMEOUT".to_owned(), 5),
        ("PLUGIN_PANIC".to_owned(), 3),
    ];
    assert_eq!(codes, expected);
    let quick_runs: Vec<_> = runs(&sql)
        .await
        .into_iter()
        .filter(|run| run.key == "quick")
        .collect();
    assert_each_done_once(&quick_runs, &quick);
    assert!(quick_runs.iter().all(|run| run.process == other.pid()));
    assert_eq!(count(&sql, "select count(*) from jobs.hosts").await, 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_handlers_hold_all_threads_but_one_the_host_lives_and_completes_what_others_have_done()
 {
    let host = bystander().await;
    let sql = host.sql().await;
    let other = host.process_beside().start().await;
    until_count(&sql, "select count(*) from jobs.hosts", 1).await;
    // One lease, in which what is done at once and what holds its thread take turns, for longer than this test waits.
    let threads = std::thread::available_parallelism()
        .map_or(4, usize::from)
        .max(4);
    let mixed = "select jobs.enqueue_many(jsonb_agg(case when n % 2 = 0 then '{\"kind\": \"ledger.hold\", \"payload\": {\"ms\": 600000}}'::jsonb \
        else '{\"kind\": \"ledger.nothing\"}'::jsonb end order by n)) from generate_series(1, $1::bigint) n";
    let holders = i64::try_from(threads).expect("few") - 1;
    sql.query(mixed, &[&(2 * holders)]).await.expect("enqueued");
    let done = "select count(*) from jobs.finished where kind = 'ledger.nothing'";
    until_count(&sql, done, holders).await;
    eventually("the host names what holds its threads", async || {
        let told = other.log_text().matches("blocks a thread").count();
        (i64::try_from(told).is_ok_and(|told| told >= holders)).then_some(())
    })
    .await;
    // It goes on: what comes is claimed, worked and written down, and it says that it lives.
    for _ in 0..3 {
        enqueue_kind(&sql, "ledger.once", 10, &json!({}), &json!({})).await;
        until_count(&sql, "select count(*) from jobs.ready", 0).await;
    }
    let done = "select count(*) from jobs.finished where kind = 'ledger.once'";
    until_count(&sql, done, 30).await;
    let row = sql.query_one("select seen_at from jobs.hosts", &[]).await;
    let seen: SystemTime = row.expect("the host").get(0);
    eventually("it is seen again", async || {
        let query = "select seen_at > $1 from jobs.hosts";
        let row = sql.query_one(query, &[&seen]).await;
        row.expect("the host").get::<_, bool>(0).then_some(())
    })
    .await;
    let held = "select count(*) from jobs.jobs where kind = 'ledger.hold' and state = 'running' and attempt = 1";
    assert_eq!(count(&sql, held).await, holders, "they still hold");
    drop(other);
    host.stop().await;
}
