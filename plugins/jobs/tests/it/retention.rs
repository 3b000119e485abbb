//! Nothing only grows: what is old goes, and only that.

use serde_json::json;
use tokio_postgres::Client;

use crate::stage::{count, enqueue, host, until, until_count};

/// Prunes as the task does, until nothing is left to prune.
async fn prune(sql: &Client) {
    while count(sql, "select jobs.prune(7, 30)").await > 0 {}
}

async fn run(sql: &Client, statements: &str) {
    sql.batch_execute(statements).await.expect("it runs");
}

#[tokio::test]
async fn finished_jobs_go_by_the_day_with_their_partition() {
    let host = host().await;
    let sql = host.sql().await;
    let fresh = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, fresh, "completed").await;
    for days in [6, 9] {
        run(
            &sql,
            &format!(
                "do $$ declare day date := (now() at time zone 'UTC')::date - {days}; begin
                     execute format('create table jobs.%I partition of jobs.finished for values from (%L) to (%L)',
                         'finished_' || to_char(day, 'YYYYMMDD'), day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
                     insert into jobs.finished (id, queue, state, attempt, kind, finished_at)
                         values ({days}, 1, 'completed', 1, 'a.b', day::timestamp at time zone 'UTC' + interval '1 hour');
                 end $$"
            ),
        )
        .await;
    }
    assert_eq!(count(&sql, "select count(*) from jobs.finished").await, 3);
    prune(&sql).await;
    assert_eq!(
        count(&sql, "select count(*) from jobs.finished where id = 6").await,
        1
    );
    assert_eq!(
        count(&sql, "select count(*) from jobs.finished where id = 9").await,
        0
    );
    until(&host, fresh, "completed").await;
    host.stop().await;
}

#[tokio::test]
async fn who_reads_finished_jobs_for_long_holds_up_pruning_and_not_those_who_complete() {
    let host = host().await;
    let sql = host.sql().await;
    let mut reader = host.sql().await;
    run(
        &sql,
        "do $$ declare day date := (now() at time zone 'UTC')::date - 20; begin
             execute format('create table jobs.%I partition of jobs.finished for values from (%L) to (%L)',
                 'finished_' || to_char(day, 'YYYYMMDD'), day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
         end $$",
    )
    .await;
    let partitions = "select count(*) from pg_inherits where inhparent = 'jobs.finished'::regclass";
    let before = count(&sql, partitions).await;
    let tx = reader.transaction().await.expect("a transaction");
    tx.query("select count(*) from jobs.finished", &[])
        .await
        .expect("it reads");
    assert_eq!(
        count(&sql, "select jobs.prune(7, 30)").await,
        0,
        "it gives up after a moment"
    );
    let id = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, id, "completed").await;
    tx.rollback().await.expect("it has read enough");
    prune(&sql).await;
    assert_eq!(count(&sql, partitions).await, before - 1);
    host.stop().await;
}

#[tokio::test]
async fn everything_else_that_is_old_goes_in_small_portions() {
    let host = host().await;
    let sql = host.sql().await;
    run(
        &sql,
        "insert into jobs.payloads select n, '{}' from generate_series(1, 6000) n;
         insert into jobs.dead (id, queue, kind, error, failed_at) select n, 1, 'a.b', '{}', now() - interval '31 days' from generate_series(1, 6000) n;
         insert into jobs.dead (id, queue, kind, error) values (7000, 1, 'a.b', '{}');
         insert into jobs.uniques (queue, key, id, until) select 1, int4send(n), n, now() - interval '2 minutes' from generate_series(1, 6000) n;
         insert into jobs.uniques (queue, key, id, until) values (1, 'kept', 1, now() + interval '1 day'), (1, 'running', 2, null);
         insert into jobs.logs (id, level, message, at) select 1, 'info', '', now() - interval '31 days' from generate_series(1, 6000);
         insert into jobs.logs (id, level, message) values (7000, 'info', '');
         insert into jobs.progress (id, progress, at) values (1, '1', now() - interval '8 days'), (7000, '1', now());
         insert into jobs.rates (queue, key, next_at) values (1, 'old', now() - interval '2 hours'), (1, 'new', now());
         insert into jobs.sleepers (queue, worker, until) values (99, gen_random_uuid(), now() - interval '2 hours');
         insert into jobs.batches (name, created_at, is_sealed, finished_at) values ('ended', now() - interval '9 days', true, now() - interval '8 days');
         insert into jobs.batches (name, created_at) values ('never sealed', now() - interval '8 days'), ('open', now());
         insert into jobs.batches (name, created_at, total, pending) values ('has a job', now() - interval '8 days', 1, 1);",
    )
    .await;
    prune(&sql).await;
    for (rows, left) in [
        ("jobs.dead", 1),
        ("jobs.payloads", 0),
        ("jobs.uniques", 2),
        ("jobs.logs", 1),
        ("jobs.progress", 1),
        ("jobs.rates", 1),
        ("jobs.sleepers where queue = 99", 0),
        ("jobs.batches where name in ('open', 'has a job')", 2),
        ("jobs.batches", 2),
    ] {
        assert_eq!(
            count(&sql, &format!("select count(*) from {rows}")).await,
            left,
            "{rows}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_worked_off_queue_leaves_nothing_behind_but_its_history() {
    let host = host().await;
    let sql = host.sql().await;
    let batch = "select jobs.open_batch()::text";
    let batch: String = sql.query_one(batch, &[]).await.expect("a batch").get(0);
    let big = json!({"text": "x".repeat(5_000)});
    let options = json!({"unique": "one", "concurrency_key": "k", "rate_key": "r", "batch": batch, "tags": ["t"]});
    let id = enqueue(&host, "fixture-caller.tell", big, options).await;
    until(&host, id, "completed").await;
    for table in [
        "ready",
        "later",
        "waiting",
        "suspects",
        "leases",
        "freed",
        "payloads",
        "uniques",
        "batch_jobs",
        "dead",
        "logs",
        "progress",
        "rates",
    ] {
        assert_eq!(
            count(&sql, &format!("select count(*) from jobs.{table}")).await,
            0,
            "{table}"
        );
    }
    host.stop().await;
}

/// Bytes of all tables with their indices, but those of the history, which goes by the day.
const SIZE: &str = "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c \
    where c.relnamespace = 'jobs'::regnamespace and c.relkind = 'r' and not c.relispartition";

/// Works off 1,000 jobs of each of three ways through the tables, and cleans up behind them; the size after that.
async fn drain(sql: &Client) -> i64 {
    for (kind, payload, options) in [
        ("fixture-caller.nothing", json!({}), json!(null)),
        // With results, which are not kept.
        ("fixture-caller.add", json!({"a": 1, "b": 2}), json!(null)),
        (
            "fixture-caller.nothing",
            json!({"large": "x".repeat(3_000)}),
            json!({"keep": "none", "unique": "payload", "concurrency_key": "a"}),
        ),
    ] {
        let enqueue = "select count(*) from jobs.enqueue_many($1, \
            array(select $2::jsonb || jsonb_build_object('n', n) from generate_series(1, 1000) n), nullif($3, 'null'::jsonb))";
        let row = sql.query_one(enqueue, &[&kind, &payload, &options]).await;
        assert_eq!(row.expect("they are enqueued").get::<_, i64>(0), 1_000);
    }
    let left = "select (select count(*) from jobs.ready) + (select count(*) from jobs.later) + (select count(*) from jobs.leases)";
    until_count(sql, left, 0).await;
    let tables = "select c.oid::regclass::text from pg_class c where c.relnamespace = 'jobs'::regnamespace and c.relkind = 'r'";
    for row in sql.query(tables, &[]).await.expect("the catalogue reads") {
        let vacuum = format!("vacuum {}", row.get::<_, String>(0));
        sql.batch_execute(&vacuum).await.expect("it is cleaned up");
    }
    count(sql, SIZE).await
}

#[tokio::test]
async fn drain_after_drain_the_tables_keep_their_size() {
    let host = host().await;
    let sql = host.sql().await;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        sizes.push(drain(&sql).await);
    }
    // The second has room that the first left, as far as that can be used again at once. Without that each adds as much as the first.
    let (early, late) = (sizes[1], sizes[5]);
    assert!(late * 2 <= early * 3, "bytes after each drain: {sizes:?}");
    host.stop().await;
}
