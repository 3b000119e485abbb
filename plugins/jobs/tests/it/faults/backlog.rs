//! Much that waits, and transactions that stay open.

use std::collections::BTreeSet;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::ledger::{
    assert_each_done_once, builder, bystander, enqueue_kind, runs, until_completed,
};
use crate::stage::{count, until_count};

/// Enqueues plain jobs by the thousand.
async fn fill(sql: &Client, thousands: i64, options: &serde_json::Value) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..thousands {
        ids.extend(enqueue_kind(sql, "ledger.once", 1_000, &json!({}), options).await);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_are_worked_while_a_transaction_stays_open() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let mut holder = host.sql().await;
    let tx = holder.transaction().await.expect("a transaction");
    // It has a number of its own and a snapshot: nothing that is deleted from now on goes away.
    tx.batch_execute(
        "set transaction isolation level repeatable read; select pg_current_xact_id()",
    )
    .await
    .expect("it is open");
    let ids = fill(&sql, 20, &json!({})).await;
    until_completed(&sql, ids.len()).await;
    tx.commit().await.expect("it was still open");
    assert_each_done_once(&runs(&sql).await, &ids);
    host.stop().await;
}

/// Keeps a queue busy until the ids that are drawn now lie well below those that are claimed.
async fn work_past(sql: &Client, id: i64) -> usize {
    let mut amount = 0;
    let passed = format!(
        "select (clock_timestamp() > jobs.created_at({id}) + interval '4 seconds')::integer::bigint"
    );
    while count(sql, &passed).await == 0 {
        amount += enqueue_kind(sql, "ledger.once", 20, &json!({}), &json!({}))
            .await
            .len();
        until_count(sql, "select count(*) from jobs.ready", 0).await;
    }
    amount
}

async fn late_commit(host: &TestHost, sql: &Client, is_asleep: bool) -> usize {
    let mut late = host.sql().await;
    let tx = late.transaction().await.expect("a transaction");
    let id: i64 = tx
        .query_one("select jobs.enqueue('ledger.once')", &[])
        .await
        .expect("it is enqueued")
        .get(0);
    let others = work_past(sql, id).await;
    if is_asleep {
        until_count(sql, "select count(*) from jobs.leases", 0).await;
        until_count(sql, "select count(*) from jobs.sleepers", 1).await;
    }
    tx.commit().await.expect("it is committed");
    eventually("the late job is worked", async || {
        let ran = format!("select count(*) from ledger.runs where job_id = {id}");
        (count(sql, &ran).await == 1).then_some(())
    })
    .await;
    others + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_committed_long_after_it_was_enqueued_is_found() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let busy = late_commit(&host, &sql, false).await;
    let asleep = late_commit(&host, &sql, true).await;
    until_completed(&sql, busy + asleep).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_reads_no_more_of_a_large_backlog_than_of_a_small_one() {
    let host = bystander().await;
    let sql = host.sql().await;
    let mut pages = Vec::new();
    for (thousands, later) in [(1, 1), (50, 15)] {
        // Statistics of an empty table, of a small and of a large one.
        for analyse in ["select 1", "analyze jobs.ready, jobs.later"] {
            fill(&sql, thousands, &json!({})).await;
            fill(&sql, later, &json!({"delay": 86_400})).await;
            sql.batch_execute(analyse).await.expect("statistics");
            pages.push(claim_pages(&sql).await);
        }
    }
    // All plans are by index: four times the pages of the smallest leave room for a deeper tree, a scan would be thousands.
    let most = pages[0] * 4 + 400;
    assert!(pages.iter().all(|read| *read <= most), "{pages:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_among_families_reads_as_little_with_plans_that_were_made_for_an_empty_table() {
    let host = bystander().await;
    let sql = host.sql().await;
    // A session keeps the plans of its first claims.
    for _ in 0..8 {
        claim_pages(&sql).await;
    }
    let families = [Uuid::now_v7(), Uuid::now_v7()].map(|family| json!({"family_id": family}));
    let mut pages = Vec::new();
    for thousands in [1, 20] {
        for family in &families {
            fill(&sql, thousands, family).await;
        }
        pages.push(claim_pages(&sql).await);
    }
    assert!(pages[1] <= pages[0] * 4 + 400, "{pages:?}");
    host.stop().await;
}

/// Pages that a claim of 100 jobs reads, all statements of its functions together. The claim is not committed.
async fn claim_pages(sql: &Client) -> i64 {
    sql.batch_execute("begin").await.expect("a transaction");
    let rows = sql
        .query(
            "explain (analyze, buffers, format json) \
             select * from jobs.claim(1::smallint, gen_random_uuid(), 100, array_fill(0::bigint, array[10]), true, null)",
            &[],
        )
        .await
        .expect("it is explained");
    let plan: serde_json::Value = rows[0].get(0);
    let scans = "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_xact_user_tables \
        where schemaname = 'jobs' and relname in ('ready', 'later', 'waiting', 'suspects')";
    assert_eq!(
        count(sql, scans).await,
        0,
        "no table of jobs is read from one end to the other"
    );
    sql.batch_execute("rollback").await.expect("rolled back");
    let top = &plan[0]["Plan"];
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .iter()
        .filter_map(|field| top[field].as_i64())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_job_of_a_family_does_not_wait_for_thousands_of_another_on_two_hosts() {
    let host = builder().start().await;
    let sql = host.sql().await;
    sql.execute("update jobs.queues set running_max = 10", &[])
        .await
        .expect("a limit");
    let _second = host.process_beside().start().await;
    until_count(&sql, "select count(*) from jobs.hosts", 2).await;
    let crowd = json!({"family_id": Uuid::now_v7()});
    let ids = fill(&sql, 10, &crowd).await;
    let single = json!({"family_id": Uuid::now_v7()});
    let single = enqueue_kind(&sql, "ledger.once", 1, &json!({}), &single).await[0];
    until_completed(&sql, ids.len() + 1).await;
    let runs = runs(&sql).await;
    let place = runs.iter().position(|run| run.job == single);
    let place = place.expect("it ran");
    assert!(place < 9_000, "{place} of the crowd ran before it");
    let processes: BTreeSet<u32> = runs.iter().map(|run| run.process).collect();
    assert_eq!(processes.len(), 2, "both hosts took part");
    host.stop().await;
}
