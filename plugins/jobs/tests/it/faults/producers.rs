//! Those who enqueue: in transactions of their own, with an end of their own, and with a disk that is full.

use std::{collections::HashSet, time::SystemTime};

use nself_plugin_api::futures_util::future::join_all;
use nself_plugin_testkit::TestHost;
use serde_json::json;
use tokio_postgres::Client;

use super::ledger::{
    any_below, assert_each_done_once, builder, by_job, enqueue, runs, until_completed,
};
use crate::stage::{count, until_count};

/// A producer's transactions: the jobs that they enqueued with a commit, and those without one.
struct Produced {
    kept: Vec<i64>,
    dropped: Vec<i64>,
}

async fn produce(host: &TestHost, producer: usize) -> Produced {
    let mut sql = host.sql().await;
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let tx = sql.transaction().await.expect("a transaction");
        let unique = json!({"unique": {"key": format!("key {round}"), "window": "1 hour"}});
        let (payload, options) = if producer.is_multiple_of(4) {
            (json!({"key": format!("key {round}")}), unique)
        } else {
            (json!({}), json!({}))
        };
        let mut jobs: Vec<i64> = Vec::new();
        for _ in 0..=any_below(3) {
            let row = tx
                .query_one(
                    "select jobs.enqueue('ledger.once', $1, $2)",
                    &[&payload, &options],
                )
                .await;
            jobs.push(row.expect("it is enqueued").get(0));
            // The business of the transaction.
            tx.query_one("select pg_sleep($1::bigint / 1000.0)", &[&any_below(40)])
                .await
                .expect("it takes its time");
        }
        if (producer + round).is_multiple_of(3) {
            tx.rollback().await.expect("rolled back");
            dropped.extend(jobs);
        } else {
            tx.commit().await.expect("committed");
            kept.extend(jobs);
        }
    }
    Produced { kept, dropped }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_producers_of_which_a_third_roll_back_make_no_ghost_and_lose_no_job() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let produced = join_all((0..32).map(|producer| produce(&host, producer))).await;
    let kept: HashSet<i64> = produced.iter().flat_map(|one| one.kept.clone()).collect();
    let dropped: HashSet<i64> = produced
        .iter()
        .flat_map(|one| one.dropped.clone())
        .collect();
    let ids: Vec<i64> = kept.iter().copied().collect();
    until_completed(&sql, ids.len()).await;
    let runs = runs(&sql).await;
    assert_each_done_once(&runs, &ids);
    // A job that one transaction found and another one committed is no ghost.
    let ghosts = dropped
        .difference(&kept)
        .filter(|id| by_job(&runs).contains_key(id));
    assert_eq!(ghosts.count(), 0);
    for round in 0..6 {
        let key = format!("key {round}");
        let winners = runs.iter().filter(|run| run.key == key).count();
        assert_eq!(winners, 1, "{key}");
    }
    host.stop().await;
}

/// Looks for somebody who fetches from the queue `fetched`, with marks above all ids: the kinds of jobs found, and whether it is to come
/// back soon.
async fn look(sql: &Client) -> (Vec<String>, bool) {
    let row = sql
        .query_one(
            "select coalesce((f.picked).kinds, '{}'), (f.picked).next_at < clock_timestamp() + interval '1 second' is true \
             from jobs.fetch('fetched', 'a test', 10, 60, array_fill(9007199254740991, array[10]), false, null, \
                 '00000000-0000-0000-0000-00000000000a') f",
            &[],
        )
        .await
        .expect("it looks");
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn who_finds_nothing_comes_back_soon_while_somebody_has_enqueued_and_not_committed() {
    let host = builder().start().await;
    let sql = host.sql().await;
    sql.query_one(
        "select jobs.set_queue('fetched', 'pull', null, null, null, 1, 'queue')",
        &[],
    )
    .await
    .expect("it is made");
    let other = "select jobs.enqueue('a.other', '{}', '{\"queue\": \"elsewhere\"}')";
    let mut producer = host.sql().await;
    let tx = producer.transaction().await.expect("a transaction");
    tx.query_one(other, &[]).await.expect("it is enqueued");
    assert_eq!(look(&sql).await, (vec![], false), "it is for another queue");
    let ours = "select jobs.enqueue('a.job', '{}', '{\"queue\": \"fetched\"}')";
    // Who is asleep is woken by the commit; this one slept through the enqueueing, as far as that could see.
    sql.batch_execute("delete from jobs.sleepers")
        .await
        .expect("nobody sleeps");
    tx.query_one(ours, &[]).await.expect("it is enqueued");
    assert_eq!(look(&sql).await, (vec![], true));
    assert_eq!(look(&sql).await, (vec![], true));
    tx.commit().await.expect("committed");
    let found = (vec!["a.job".to_owned()], false);
    assert_eq!(
        look(&sql).await,
        found,
        "below the marks, where an old id is"
    );
    assert_eq!(look(&sql).await, (vec![], false));
    let tx = producer.transaction().await.expect("a transaction");
    tx.query_one(ours, &[]).await.expect("it is enqueued");
    assert_eq!(look(&sql).await, (vec![], true));
    tx.rollback().await.expect("rolled back");
    assert_eq!(look(&sql).await, (vec![], false));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_enqueued_while_the_host_was_busy_begins_a_moment_after_a_late_commit() {
    let host = builder().start().await;
    let (sql, mut producer) = (host.sql().await, host.sql().await);
    for _ in 0..5 {
        // Somebody else claims, so the host comes again and again and does not fall asleep.
        sql.batch_execute(
            "select pg_advisory_lock(1852138092, id) from jobs.queues where name = 'default';
             delete from jobs.sleepers;
             select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues where name = 'default'",
        )
        .await
        .expect("the host is busy");
        let tx = producer.transaction().await.expect("a transaction");
        let row = tx
            .query_one("select jobs.enqueue('ledger.once')", &[])
            .await;
        let id: i64 = row.expect("it is enqueued").get(0);
        sql.batch_execute("select pg_advisory_unlock_all()")
            .await
            .expect("the host goes on");
        let asleep = "select count(*) from jobs.sleepers s join jobs.queues q on q.id = s.queue where q.name = 'default'";
        until_count(&sql, asleep, 1).await;
        let row = tx.query_one("select clock_timestamp()", &[]).await;
        let before: SystemTime = row.expect("the time").get(0);
        tx.commit().await.expect("committed");
        let done = format!("select count(*) from jobs.finished where id = {id}");
        until_count(&sql, &done, 1).await;
        let late =
            "select extract(epoch from claimed_at - $2)::float8 from jobs.finished where id = $1";
        let row = sql.query_one(late, &[&id, &before]).await;
        let late: f64 = row.expect("it has ended").get(0);
        // By the look around that a host takes every 2.5 s it would be more than this now and then.
        assert!(late < 1.0, "it was claimed {late} s after its commit");
    }
    host.stop().await;
}

/// What a server says that has no room left.
const FULL: &str = "
    create function public.full() returns trigger language plpgsql as $$
    begin
        raise disk_full using message = 'could not extend file \"base/1/2\": No space left on device', hint = 'Check free disk space.';
    end
    $$";

/// Leaves no room, or makes some again. A table at a time: who holds one and wants the next would meet a claim that has that one.
async fn fill_disk(sql: &Client, is_full: bool) {
    if is_full {
        sql.batch_execute(FULL).await.expect("a function");
    }
    for table in ["ready", "leases", "finished"] {
        let change = if is_full {
            format!(
                "create trigger full_disk before insert on jobs.{table} for each statement execute function public.full()"
            )
        } else {
            format!("drop trigger full_disk on jobs.{table}")
        };
        sql.batch_execute(&change).await.expect("a trigger");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_to_who_enqueues_and_work_goes_on_when_there_is_room() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let mut ids = enqueue(&sql, 200, &json!({"ms": 200}), &json!({})).await;
    until_count(&sql, "select least(count(*), 50) from ledger.runs", 50).await;
    fill_disk(&sql, true).await;
    for _ in 0..2 {
        let body = json!({"kind": "ledger.work"});
        let answer = host.post("/v1/jobs").operator().json(&body).send().await;
        assert_eq!(
            (answer.status, answer.code()),
            (503, "DATABASE_FULL".to_owned()),
            "{}",
            answer.text()
        );
    }
    // What was begun ends, and cannot be written down.
    let open = "select count(*) from ledger.runs where ended_at is null";
    until_count(&sql, open, 0).await;
    fill_disk(&sql, false).await;
    ids.extend(enqueue(&sql, 10, &json!({}), &json!({})).await);
    until_completed(&sql, ids.len()).await;
    assert_each_done_once(&runs(&sql).await, &ids);
    assert_eq!(
        count(&sql, "select count(*) from jobs.finished where attempt > 1").await,
        0
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_changes_jobs_holds_up_those_and_no_others() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let pause = "update jobs.queues set paused_at = now(), paused_by = 'a test'";
    sql.batch_execute(pause).await.expect("it is paused");
    let ready = enqueue(&sql, 30, &json!({}), &json!({})).await;
    let later = enqueue(&sql, 30, &json!({}), &json!({"delay": 1})).await;
    let mut changer = host.sql().await;
    let tx = changer.transaction().await.expect("a transaction");
    for id in [ready[0], later[0]] {
        tx.query_one("select jobs.cancel($1)", &[&id])
            .await
            .expect("it is cancelled");
    }
    let go_on = "update jobs.queues set paused_at = null, paused_by = null";
    sql.batch_execute(go_on).await.expect("it goes on");
    until_count(&sql, "select count(*) from ledger.runs", 58).await;
    tx.rollback().await.expect("rolled back");
    let ids = [ready, later].concat();
    until_completed(&sql, ids.len()).await;
    assert_each_done_once(&runs(&sql).await, &ids);
    host.stop().await;
}
