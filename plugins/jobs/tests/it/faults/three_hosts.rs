//! Three hosts on one queue.

use std::time::SystemTime;

use nself_plugin_testkit::{Signal, eventually};
use serde_json::json;

use super::ledger::{
    assert_each_done_once, builder, by_job, enqueue, enqueue_keys, held_by, most_at_once, runs,
    until_begun, until_completed,
};
use crate::stage::{count, until_count};

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_run_each_job_once_and_keep_the_limits_while_one_sleeps_and_wakes() {
    // No two of them can have all that the queue may run.
    let few = "[plugins.jobs.config]\njobs_at_once = 4";
    let host = builder().config(few).start().await;
    let sql = host.sql().await;
    sql.execute(
        "update jobs.queues set running_max = 10, running_per_key_max = 1",
        &[],
    )
    .await
    .expect("limits");
    let second = host.process_beside().start().await;
    let third = host.process_beside().start().await;
    let mut ids = enqueue_keys(&sql, 40, 6, 300).await;
    until_begun(&sql, second.pid(), 2).await;
    until_begun(&sql, third.pid(), 2).await;
    // It is stopped with jobs in its hands.
    eventually("the third host holds jobs", async || {
        third.signal(Signal::STOP);
        let held = held_by(&sql, &third).await;
        if held == 0 {
            third.signal(Signal::CONT);
            if count(&sql, "select count(*) from jobs.ready").await == 0 {
                ids.extend(enqueue_keys(&sql, 40, 1, 300).await);
            }
        }
        (held > 0).then_some(())
    })
    .await;
    let stopped: SystemTime = sql
        .query_one("select clock_timestamp()", &[])
        .await
        .expect("the database has a clock")
        .get(0);
    until_completed(&sql, ids.len()).await;
    // It is dead for the others even if a statement that was under way when it was stopped has ended its last job.
    until_count(&sql, "select count(*) from jobs.hosts", 2).await;
    third.signal(Signal::CONT);
    eventually("it sees that it was taken for dead", async || {
        let log = third.log_text();
        log.contains("was taken for dead").then_some(())
    })
    .await;
    // It begins anew, and what it did too late changed nothing.
    until_count(&sql, "select count(*) from jobs.hosts", 3).await;
    let ran = format!(
        "select count(*) from ledger.runs where process = {} and started_at > (select max(started_at) from jobs.hosts)",
        third.pid()
    );
    eventually("it works again", async || {
        ids.extend(enqueue(&sql, 20, &json!({"key": "later", "ms": 5}), &json!({})).await);
        (count(&sql, &ran).await > 0).then_some(())
    })
    .await;
    until_completed(&sql, ids.len()).await;

    let runs = runs(&sql).await;
    let stopped_there = Some((third.pid(), stopped));
    let taken =
        |run: &super::ledger::Run| by_job(&runs)[&run.job].len() > 1 && run.process == third.pid();
    let first: Vec<_> = runs.iter().filter(|run| !taken(run)).cloned().collect();
    assert_each_done_once(&first, &ids);
    let until_then: Vec<_> = runs
        .iter()
        .filter(|run| run.key != "later")
        .cloned()
        .collect();
    let by_key = most_at_once(&until_then, |run| run.key.clone(), stopped_there);
    assert!(by_key.values().all(|most| *most == 1), "{by_key:?}");
    let in_all = most_at_once(&until_then, |_| String::new(), stopped_there);
    assert!(in_all[""] <= 10, "{in_all:?}");
    host.stop().await;
}
