//! What is looked after beside the fires: times by newer zone data, history that grows old, and what an idle host costs.

use std::time::Duration;

use nself_plugin_testkit::{TestHost, until_quiet};
use serde_json::json;
use tokio_postgres::Client;

use crate::stage::{act, create, host, nothing};

async fn run(sql: &Client, statements: &str) {
    sql.batch_execute(statements).await.expect("it runs");
}

#[tokio::test]
async fn times_that_older_zone_data_gave_are_computed_anew_when_a_host_starts() {
    let host = host().await;
    let sql = host.sql().await;
    let zone = json!({"zone": "Europe/Berlin"});
    for name in [
        "right", "older", "unknown", "mended", "over", "missed", "newer",
    ] {
        create(&host, name, "30 2 1 7 *", nothing(), zone.clone()).await;
    }
    run(
        &sql,
        "update scheduler.schedules set zones_version = '2000a' where owner = 'api' and name <> 'right'; \
         update scheduler.schedules set next_at = next_at + interval '1 hour', due_at = due_at + interval '1 hour' where name in ('older', 'newer'); \
         update scheduler.schedules set zones_version = '9999z' where name = 'newer'; \
         update scheduler.schedules set zone = 'Mars/Olympus' where name = 'unknown'; \
         update scheduler.schedules set next_at = null, due_at = null where name in ('mended', 'over'); \
         update scheduler.schedules set trouble = 'the zone was not known' where name = 'mended'; \
         update scheduler.schedules set paused_at = now(), paused_by = 'test', next_at = '2026-01-01Z', due_at = '2026-01-01Z' \
             where name = 'missed'",
    )
    .await;
    let second = host.beside().start().await;
    let states = "select s.name, case when s.next_at is null then 'none' when s.next_at = r.next_at then 'right' \
                      when s.next_at = r.next_at + interval '1 hour' then 'late' else 'past' end, \
                      s.due_at is not null, s.trouble, s.zones_version = r.zones_version \
                  from scheduler.schedules s, scheduler.schedules r where r.name = 'right' and s.owner = 'api'";
    let rows = sql.query(states, &[]).await.expect("the schedules");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let name: &str = row.get(0);
        let (next, is_due, trouble, is_current): (&str, bool, Option<String>, bool) =
            (row.get(1), row.get(2), row.get(3), row.get(4));
        let expected = match name {
            "right" | "older" | "mended" => ("right", true, true),
            // The time that was known last is shown, and nothing is fired.
            "unknown" => ("right", false, true),
            "over" => ("none", false, true),
            // What is due already is for the tick to decide about.
            "missed" => ("past", true, true),
            // Another host knows more than this one.
            _ => ("late", true, false),
        };
        assert_eq!((next, is_due, is_current), expected, "{name}");
        let is_troubled = trouble.is_some_and(|trouble| trouble.contains("Mars/Olympus"));
        assert_eq!(is_troubled, name == "unknown", "{name}");
    }
    second.stop().await;
    host.stop().await;
}

/// Runs a task of the plugin, as the host does on its period.
async fn run_task(host: &TestHost, name: &str) {
    let running = host.running("scheduler").await;
    let tasks = &running.manifest().tasks;
    let number = tasks.iter().position(|task| task.name == name);
    let number = number.and_then(|number| u32::try_from(number).ok());
    let ran = running.instance().run_task(number.expect("a task"));
    nself_plugin_testkit::within(name, ran)
        .await
        .expect("the task runs");
}

#[tokio::test]
async fn fires_and_one_off_events_go_when_they_are_too_old_and_what_waits_stays() {
    let host = host().await;
    let sql = host.sql().await;
    create(&host, "yearly", "0 0 1 1 *", nothing(), json!({})).await;
    act(&host, "yearly", "run", json!({})).await;
    // More than one statement deletes.
    run(
        &sql,
        "insert into scheduler.fires (schedule_id, nominal_at, origin, fired_at, outcome) \
         select s.id, now() - interval '8 days' - n * interval '1 second', 'time', now() - interval '8 days' - n * interval '1 second', 'fired' \
             from scheduler.schedules s, generate_series(1, 25000) n where s.name = 'yearly' \
         union all select s.id, now() - interval '6 days', 'time', now() - interval '6 days', 'failed' from scheduler.schedules s where s.name = 'yearly' \
         union all select s.id, now() - interval '9 days', 'time', now() - interval '9 days', 'waiting' from scheduler.schedules s where s.name = 'yearly'; \
         insert into scheduler.schedules (name, owner, spec, target, action, zones_version, created_at, last_fired_at, next_at) values \
             ('fired-long-ago', 'event', '@at 2026-01-01T00:00:00Z', '{}', '{}', '9999z', now() - interval '9 days', now() - interval '8 days', null), \
             ('fired-of-late', 'event', '@at 2026-01-01T00:00:00Z', '{}', '{}', '9999z', now() - interval '9 days', now() - interval '6 days', null), \
             ('still-to-come', 'event', '@at 2999-01-01T00:00:00Z', '{}', '{}', '9999z', now() - interval '9 days', null, '2999-01-01Z')",
    )
    .await;
    run_task(&host, "prune").await;
    let kept = "select string_agg(f.origin || ' ' || f.outcome, ', ' order by f.fired_at) from scheduler.fires f \
                join scheduler.schedules s on s.id = f.schedule_id where s.name = 'yearly'";
    let kept: String = sql.query_one(kept, &[]).await.expect("fires").get(0);
    assert_eq!(kept, "time waiting, time failed, manual fired");
    let events = "select string_agg(name, ', ' order by name) from scheduler.schedules where owner = 'event'";
    let events: String = sql.query_one(events, &[]).await.expect("events").get(0);
    assert_eq!(events, "fired-of-late, still-to-come");
    host.stop().await;
}

#[tokio::test]
async fn an_idle_host_with_a_hundred_thousand_schedules_asks_the_database_less_than_twice_a_second()
{
    // Without the fixtures of other tests, which are not idle.
    let host = TestHost::builder()
        .plugin("nself-plugin-jobs")
        .plugin("nself-plugin-scheduler")
        .start()
        .await;
    let sql = host.sql().await;
    run(
        &sql,
        "insert into scheduler.schedules (name, owner, spec, target, action, next_at, due_at, zones_version) \
         select 's' || n, 'api', '0 0 1 1 *', '{}', '{}', now() + n * interval '1 minute' + interval '1 day', \
             now() + n * interval '1 minute' + interval '1 day', '9999z' from generate_series(1, 100000) n",
    )
    .await;
    run(&sql, "vacuum analyze scheduler.schedules").await;
    // The goal is one a second, and 0.8 was measured when all is quiet; the bound leaves room for the server's own upkeep.
    // The server tidies up after the rows as well.
    let stretch = Duration::from_secs(15);
    let rate = until_quiet(&sql, "an idle host with 100,000 schedules", stretch, 2.0).await;
    assert!(rate > 0.0, "it is counted");
    host.stop().await;
}
