//! A database whose clock jumps.

use nself_plugin_testkit::TestHost;
use serde_json::json;
use tokio_postgres::Client;

use super::FIRES;
use crate::stage::{count, create, host, nothing, until_count, until_outcomes};

/// Puts a clock in front of the database's own, for the plugin's sessions only: `clock_timestamp` is looked up in their path.
async fn put_clock(host: &TestHost, sql: &Client) {
    let login: String = host
        .sql_as("scheduler")
        .await
        .query_one("select quote_ident(session_user)", &[])
        .await
        .expect("the plugin has a login")
        .get(0);
    let put = format!(
        "create schema clock; \
         create table clock.wrong (ahead interval not null); \
         insert into clock.wrong values ('0'); \
         create function clock.clock_timestamp() returns timestamptz language sql volatile \
             as 'select pg_catalog.clock_timestamp() + w.ahead from clock.wrong w'; \
         grant usage on schema clock to {login}; grant select on clock.wrong to {login}; \
         alter role {login} in database \"{}\" set search_path = clock, pg_catalog, scheduler, public, pg_temp",
        host.database().name(),
    );
    sql.batch_execute(&put).await.expect("a clock");
    // Sessions that are open know nothing of it.
    let cut = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and quote_ident(usename) = '{login}'"
    );
    sql.batch_execute(&cut).await.expect("they are cut");
}

async fn jump(sql: &Client, ahead: &str) {
    let jump = format!("update clock.wrong set ahead = '{ahead}'");
    sql.batch_execute(&jump).await.expect("it jumps");
}

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
    put_clock(&host, &sql).await;

    // Nobody is told of it.
    jump(&sql, "1 hour").await;
    until_caught_up(&sql).await;
    let fired = count(&sql, TENS).await;
    assert!(fired >= 6, "{fired} times of an hour");
    assert_no_gap(&sql).await;
    let from = format!("{TENS} and f.nominal_at = to_timestamp({first})");
    assert_eq!(count(&sql, &from).await, 1, "from the first one on");

    for (ahead, name) in [("0", "back"), ("-1 hour", "further-back")] {
        jump(&sql, ahead).await;
        until_looked(&sql, name).await;
        assert_eq!(count(&sql, TENS).await, fired, "none of them again");
    }

    jump(&sql, "2 hours").await;
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
