//! Limits and turns: exact, in the open.

use std::collections::HashMap;

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stage::{count, host, submit, until_count};

/// The place of each claim in time, as the finished jobs tell it: most that ran at once, by a key.
async fn most_at_once(sql: &Client, key: &str) -> HashMap<String, usize> {
    let rows = sql
        .query(
            &format!("select {key}, claimed_at, finished_at from jobs.finished where kind = 'fixture-caller.nothing' or true"),
            &[],
        )
        .await
        .expect("jobs have finished");
    let mut moments: Vec<(std::time::SystemTime, i32, String)> = Vec::new();
    for row in rows {
        let key: Option<String> = row.get(0);
        let key = key.unwrap_or_default();
        moments.push((row.get(1), 1, key.clone()));
        moments.push((row.get(2), -1, key));
    }
    // An end before a beginning at the same moment.
    moments.sort();
    let (mut now, mut most) = (
        HashMap::<String, i32>::new(),
        HashMap::<String, usize>::new(),
    );
    for (_, change, key) in moments {
        let running = now.entry(key.clone()).or_default();
        *running += change;
        let most = most.entry(key).or_default();
        *most = (*most).max(usize::try_from(*running).unwrap_or(0));
    }
    most
}

#[tokio::test]
async fn a_queue_runs_no_more_at_once_than_it_may_and_all_in_the_end() {
    let host = host().await;
    let sql = host.sql().await;
    sql.execute("update jobs.queues set running_max = 3", &[])
        .await
        .expect("a limit");
    for _ in 0..60 {
        submit(&sql, "fixture-caller.nothing", json!({}), json!({})).await;
    }
    until_count(&sql, "select count(*) from jobs.finished", 60).await;
    let most = most_at_once(&sql, "'all'").await;
    assert!(most["all"] <= 3, "{most:?}");
    host.stop().await;
}

#[tokio::test]
async fn jobs_with_one_concurrency_key_run_one_after_another() {
    let host = host().await;
    let sql = host.sql().await;
    sql.execute("update jobs.queues set running_per_key_max = 1", &[])
        .await
        .expect("a limit");
    for n in 0..60 {
        let key = format!("key {}", n % 3);
        submit(
            &sql,
            "fixture-caller.nothing",
            json!({}),
            json!({"concurrency_key": key, "tags": [key]}),
        )
        .await;
    }
    until_count(&sql, "select count(*) from jobs.finished", 60).await;
    let most = most_at_once(&sql, "meta -> 'tags' ->> 0").await;
    assert_eq!(most.len(), 3);
    assert!(most.values().all(|most| *most == 1), "{most:?}");
    assert_eq!(count(&sql, "select count(*) from jobs.waiting").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_rate_is_kept_in_every_second() {
    let host = host().await;
    let sql = host.sql().await;
    sql.execute(
        "update jobs.queues set rate_per_second = 20, rate_by = 'key', rate_burst = 5",
        &[],
    )
    .await
    .expect("a limit");
    for n in 0..40 {
        submit(&sql, "fixture-caller.nothing", json!({}), json!({"rate_key": if n % 2 == 0 { "even" } else { "odd" }, "tags": [format!("{}", n % 2)]})).await;
    }
    until_count(&sql, "select count(*) from jobs.finished", 40).await;
    let crowded = "select count(*) from jobs.finished a where (select count(*) from jobs.finished b \
        where b.meta -> 'tags' = a.meta -> 'tags' and b.claimed_at >= a.claimed_at and b.claimed_at < a.claimed_at + interval '1 second') > 25";
    assert_eq!(count(&sql, crowded).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn the_one_job_of_a_family_does_not_wait_for_the_thousands_of_another() {
    let host = host().await;
    let sql = host.sql().await;
    sql.execute("update jobs.queues set running_max = 5", &[])
        .await
        .expect("a limit");
    let (crowd, single) = (Uuid::now_v7(), Uuid::now_v7());
    sql.execute(
        "select jobs.enqueue_many('fixture-caller.nothing', array(select '{}'::jsonb from generate_series(1, 3000)), $1)",
        &[&json!({"family_id": crowd})],
    )
    .await
    .expect("a crowd");
    let id = submit(
        &sql,
        "fixture-caller.nothing",
        json!({}),
        json!({"family_id": single}),
    )
    .await;
    until_count(
        &sql,
        &format!("select count(*) from jobs.finished where id = {id}"),
        1,
    )
    .await;
    let before = count(&sql, &format!("select count(*) from jobs.finished where family_id = '{crowd}' and finished_at < (select claimed_at from jobs.finished where id = {id})")).await;
    assert!(before < 2_900, "{before} of the crowd were served first");
    host.stop().await;
}
