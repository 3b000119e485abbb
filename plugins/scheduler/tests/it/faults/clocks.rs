//! A database whose clock jumps.

use nself_plugin_testkit::DatabaseClock;
use serde_json::json;
use tokio_postgres::Client;

use super::FIRES;
use crate::stage::{count, create, host, nothing, until_count, until_outcomes};

/// Waits until the schedule's next time is later than the clock that jumped shows now.
async fn until_caught_up(sql: &Client) {
    let behind = "select count(*) from scheduler.schedules where name = 'tens' and next_at <= clock.clock_timestamp()";
    until_count(sql, behind, 0).await;
}

/// Lets the hosts look once more: a schedule that is due now by the clock that jumped is fired.
async fn until_looked(sql: &Client, name: &str) {
    let due = "with moved as (update scheduler.schedules set next_at = clock.clock_timestamp(), due_at = clock.clock_timestamp() \
               where name = $1 returning 1) select pg_notify('nself_scheduler', '') from moved";
    sql.query_one(due, &[&name]).await.expect("it is due");
    until_outcomes(sql, name, &["fired"]).await;
}

const TENS: &str = "select count(*) from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.name = 'tens'";

/// Checks that the times from the first fire to the last follow each other.
async fn assert_no_gap(sql: &Client) {
    let gaps = "select count(*) from (select 1 from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.name = 'tens' \
                group by s.next_at having count(*) <> extract(epoch from max(f.nominal_at) - min(f.nominal_at)) / 600 + 1 \
                    or s.next_at <> max(f.nominal_at) + interval '10 minutes') g";
    assert_eq!(count(sql, gaps).await, 0);
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_either_way_makes_no_time_fire_twice_and_none_be_lost() {
    let host = host().await;
    let second = host.beside().start().await;
    let sql = host.sql().await;
    let all = json!({"overlap": "allow", "missed": "all"});
    create(&host, "tens", "*/10 * * * *", nothing(), all).await;
    let first =
        "select extract(epoch from next_at)::bigint from scheduler.schedules where name = 'tens'";
    let first = count(&sql, first).await;
    for name in ["back", "further-back", "ahead"] {
        create(&host, name, "0 0 1 1 *", nothing(), json!({})).await;
    }
    let clock = DatabaseClock::put(&host, "scheduler").await;
    clock.cut_sessions().await;

    // Nobody is told of it.
    clock.jump("1 hour").await;
    until_caught_up(&sql).await;
    let fired = count(&sql, TENS).await;
    assert!(fired >= 6, "{fired} times of an hour");
    assert_no_gap(&sql).await;
    let from = format!("{TENS} and f.nominal_at = to_timestamp({first})");
    assert_eq!(count(&sql, &from).await, 1, "from the first one on");

    for (ahead, name) in [("0", "back"), ("-1 hour", "further-back")] {
        clock.jump(ahead).await;
        until_looked(&sql, name).await;
        assert_eq!(count(&sql, TENS).await, fired, "none of them again");
    }

    clock.jump("2 hours").await;
    until_caught_up(&sql).await;
    until_looked(&sql, "ahead").await;
    assert_no_gap(&sql).await;
    let later = count(&sql, TENS).await;
    assert!(later >= fired + 6, "{later} times of two hours");
    let pause = "update scheduler.schedules set paused_at = now(), paused_by = 'test'";
    sql.execute(pause, &[]).await.expect("they are paused");
    let jobs = "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'";
    assert_eq!(count(&sql, jobs).await, count(&sql, FIRES).await);
    second.stop().await;
    host.stop().await;
}
