//! Hosts that are killed.

use nself_plugin_testkit::{LIMIT, TestHost, eventually};
use serde_json::json;

use super::{FIRES, assert_each_second_once, create_every_second, end, until_fired};
use crate::stage::{count, create, host, make_due, nothing, until_count, until_outcomes};

/// Lets a host fire nothing from here on: it has the database and is beside those that do.
async fn stand_by(host: &TestHost) {
    let disabled = host.registry().disable("scheduler", LIMIT, false).await;
    disabled.unwrap_or_else(|refusal| panic!("{refusal}"));
}

/// A number below `limit` that is another one each time.
fn any_below(limit: i64) -> i64 {
    let random = uuid::Uuid::now_v7().as_u128() & 0xffff_ffff;
    i64::try_from(random).unwrap_or_default() % limit
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_random_moments_fire_each_second_once() {
    let host = host().await;
    let sql = host.sql().await;
    create_every_second(&host).await;
    stand_by(&host).await;
    for _ in 0..6 {
        let other = host.process_beside().start().await;
        until_fired(&sql, any_below(20)).await;
        other.kill().await;
    }
    let _last = host.process_beside().start().await;
    until_fired(&sql, 10).await;
    end(&sql).await;
    assert_each_second_once(&sql).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_between_due_and_commit_has_fired_nothing_and_the_next_one_does() {
    let host = host().await;
    let (sql, mut other) = (host.sql().await, host.sql().await);
    create(&host, "yearly", "0 0 1 1 *", nothing(), json!({})).await;
    stand_by(&host).await;
    let doomed = host.process_beside().start().await;
    let hold = other.transaction().await.expect("a transaction");
    hold.batch_execute("lock table scheduler.fires in access exclusive mode")
        .await
        .expect("it is locked");
    make_due(&sql, "yearly").await;
    let stuck = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' \
                 and query like '%scheduler.fire(%'";
    let session: i32 = eventually("its tick waits for the lock", async || {
        let found = sql.query_opt(stuck, &[]).await.expect("it is asked");
        found.map(|row| row.get(0))
    })
    .await;
    doomed.kill().await;
    hold.rollback().await.expect("the lock is given back");
    // The server finds out that nobody is there any more.
    let sessions = format!("select count(*) from pg_stat_activity where pid = {session}");
    until_count(&sql, &sessions, 0).await;
    assert_eq!(count(&sql, FIRES).await, 0);
    let jobs = "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'";
    assert_eq!(count(&sql, jobs).await, 0);

    let _next = host.process_beside().start().await;
    until_outcomes(&sql, "yearly", &["fired"]).await;
    let finished = "select count(*) from jobs.finished where kind = 'fixture-caller.nothing'";
    until_count(&sql, finished, 1).await;
    let fired = "select fired_total from scheduler.schedules where name = 'yearly'";
    assert_eq!(count(&sql, fired).await, 1);
    host.stop().await;
}
