//! Workflows that start by themselves: at times, after pauses, on events; and by schedules that name them.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stage::{builder, definition, host, put, until};

const NOTHING: &str = "  - tell:\n      set: {told: '${ $workflow.input }'}\n";

/// With the plugin that keeps times.
fn timed() -> TestHostBuilder {
    builder().plugin("nself-plugin-scheduler")
}

fn scheduled(name: &str, version: &str, schedule: &str) -> String {
    let more = format!("schedule: {schedule}\n");
    definition(name, &more, NOTHING).replace("version: '1.0.0'", &format!("version: '{version}'"))
}

async fn apply(host: &TestHost, text: &str) {
    let request = host.post("/v1/workflow-definitions").operator();
    let answer = request.body(text.to_owned()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn remove(host: &TestHost, name: &str, version: &str) {
    let path = format!("/v1/workflows/test/{name}/{version}");
    assert_eq!(host.delete(&path).operator().send().await.status, 204);
}

async fn count(sql: &Client, query: &str) -> i64 {
    sql.query_one(query, &[]).await.expect("it is asked").get(0)
}

async fn until_count(sql: &Client, query: &str, wanted: i64) {
    eventually(&format!("{query} counts {wanted}"), async || {
        (count(sql, query).await == wanted).then_some(())
    })
    .await;
}

/// The times of a workflow as the plugin that keeps them has them.
async fn until_kept(sql: &Client, name: &str, spec: Option<&str>) {
    eventually(&format!("{name} is kept as {spec:?}"), async || {
        let found = sql
            .query_opt(
                "select s.spec from scheduler.schedules s where s.name = $1 and s.owner = 'kept:workflows'",
                &[&name],
            )
            .await
            .expect("schedules");
        let found: Option<String> = found.map(|row| row.get(0));
        (found.as_deref() == spec).then_some(())
    })
    .await;
}

/// Lets a time come.
async fn make_due(sql: &Client, name: &str) {
    let due = "with moved as (update scheduler.schedules set next_at = clock_timestamp(), due_at = clock_timestamp() where name = $1 returning 1) \
               select pg_notify('nself_scheduler', '') from moved";
    assert_eq!(
        sql.query(due, &[&name]).await.expect("it is moved").len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_starts_each_of_its_runs_once_over_all_hosts_until_the_definition_goes() {
    let host = timed().start().await;
    let second = host.beside().start().await;
    let sql = host.sql().await;
    apply(&host, &scheduled("often", "1.0.0", "{every: {seconds: 1}}")).await;
    eventually("some runs have started", async || {
        let started = "select count(*) from orchestrator.instances where name = 'often'";
        (count(&sql, started).await >= 3).then_some(())
    })
    .await;
    let rest = "update scheduler.schedules set paused_at = clock_timestamp(), paused_by = 'test' where owner = 'kept:workflows'";
    sql.execute(rest, &[]).await.expect("it rests");
    let waiting = "select count(*) from jobs.jobs where kind = 'orchestrator.scheduled' and state in ('available', 'scheduled', 'running', 'retryable')";
    until_count(&sql, waiting, 0).await;
    let fired = "select count(*) from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.owner = 'kept:workflows'";
    let runs = "select count(*) from orchestrator.instances where name = 'often' and created_by = 'schedule'";
    assert_eq!(count(&sql, fired).await, count(&sql, runs).await);
    remove(&host, "often", "1.0.0").await;
    until_kept(&sql, "workflow/test/often/every", None).await;
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn the_highest_version_keeps_the_times_and_what_fires_is_that() {
    let host = timed().start().await;
    let sql = host.sql().await;
    let name = "workflow/test/yearly/cron";
    for (version, cron, kept) in [
        ("1.0.0", "0 0 1 1 *", "0 0 1 1 *"),
        ("1.2.0", "0 0 2 1 *", "0 0 2 1 *"),
        // A lower one that comes later is not the latest.
        ("1.1.0", "0 0 3 1 *", "0 0 2 1 *"),
    ] {
        apply(
            &host,
            &scheduled("yearly", version, &format!("{{cron: '{cron}'}}")),
        )
        .await;
        until_kept(&sql, name, Some(kept)).await;
    }
    make_due(&sql, name).await;
    let started =
        "select count(*) from orchestrator.instances where version = '1.2.0' and name = 'yearly'";
    until_count(&sql, started, 1).await;
    remove(&host, "yearly", "1.2.0").await;
    until_kept(&sql, name, Some("0 0 3 1 *")).await;
    // One that has no schedule ends it.
    apply(
        &host,
        &definition("yearly", "", NOTHING).replace("1.0.0'\n  meta", "2.0.0'\n  meta"),
    )
    .await;
    until_kept(&sql, name, None).await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.instances").await,
        1
    );
    host.stop().await;
}

#[tokio::test]
async fn a_time_that_means_nothing_is_refused_where_somebody_can_tell() {
    let host = timed().start().await;
    for schedule in ["{cron: 'every day'}", "{every: {milliseconds: 10}}"] {
        let request = host.post("/v1/workflow-definitions").operator();
        let answer = request
            .body(scheduled("bad", "1.0.0", schedule))
            .send()
            .await;
        assert_eq!(answer.code(), "WORKFLOW_INVALID", "{}", answer.text());
        assert!(answer.text().contains("schedule"), "{}", answer.text());
    }
    host.stop().await;
}

#[tokio::test]
async fn times_wait_for_a_plugin_that_keeps_them() {
    let host = host().await;
    let sql = host.sql().await;
    apply(&host, &scheduled("daily", "1.0.0", "{cron: '0 0 * * *'}")).await;
    let told = "select count(*) from jobs.jobs j where j.kind = 'orchestrator.schedules' and j::text like '%WORKFLOW_NO_SCHEDULER%'";
    eventually("the job says what is missing", async || {
        (count(&sql, told).await > 0).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_pause_begins_when_the_run_before_has_ended_and_only_one_runs_at_a_time() {
    let host = host().await;
    let sql = host.sql().await;
    let text = definition(
        "again",
        "schedule: {after: {milliseconds: 100}}\n",
        "  - rest:\n      wait: {milliseconds: 100}\n",
    );
    apply(&host, &text).await;
    let ended = "select count(*) from orchestrator.instances where ended_at is not null";
    eventually("some runs have ended", async || {
        (count(&sql, ended).await >= 3).then_some(())
    })
    .await;
    remove(&host, "again", "1.0.0").await;
    // One that goes on always has a run or the job of the next one.
    let left = "select (select count(*) from orchestrator.instances where ended_at is null) + (select count(*) from jobs.jobs \
                where kind = 'orchestrator.again' and state in ('available', 'scheduled', 'running', 'retryable'))";
    until_count(&sql, left, 0).await;
    let early = "select count(*) from (select created_at - lag(ended_at) over (order by created_at) as pause from orchestrator.instances) as t \
                 where pause < interval '100 milliseconds'";
    assert_eq!(count(&sql, early).await, 0);
    host.stop().await;
}

async fn tell(host: &TestHost, event: &Value) {
    let request = host.post("/v1/events").operator();
    let request = request.header("content-type", "application/cloudevents+json");
    let answer = request.body(event.to_string()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn event(id: &str, kind: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/kitchen", "type": kind, "data": data})
}

#[tokio::test]
async fn an_event_starts_a_run_once_and_is_its_input() {
    let host = host().await;
    let sql = host.sql().await;
    let on = "{on: {one: {with: {type: org.example.tea, data: '${ .cup > 1 }'}}}}";
    apply(&host, &scheduled("tea", "1.0.0", on)).await;
    tell(&host, &event("0", "org.example.coffee", &json!({"cup": 9}))).await;
    tell(&host, &event("1", "org.example.tea", &json!({"cup": 1}))).await;
    for _ in 0..2 {
        tell(&host, &event("2", "org.example.tea", &json!({"cup": 2}))).await;
    }
    let completed = "select count(*) from orchestrator.instances where status = 'completed'";
    until_count(&sql, completed, 1).await;
    // The job that hands an event over may be worked twice.
    let again = "select jobs.enqueue('orchestrator.event', jsonb_build_object('event', e.id)) from orchestrator.events e";
    sql.query(again, &[]).await.expect("they are enqueued");
    tell(&host, &event("3", "org.example.tea", &json!({"cup": 3}))).await;
    until_count(&sql, completed, 2).await;
    let waiting = "select count(*) from jobs.jobs where kind = 'orchestrator.event' and state in ('available', 'scheduled', 'running', 'retryable')";
    until_count(&sql, waiting, 0).await;
    let cups = "select string_agg(i.output #>> '{told,0,data,cup}', ',' order by i.created_at) from orchestrator.instances i";
    let cups: String = sql.query_one(cups, &[]).await.expect("runs").get(0);
    assert_eq!(cups, "2,3");
    remove(&host, "tea", "1.0.0").await;
    tell(&host, &event("4", "org.example.tea", &json!({"cup": 4}))).await;
    until_count(&sql, waiting, 0).await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.instances").await,
        2
    );
    host.stop().await;
}

#[tokio::test]
async fn several_events_are_gathered_for_each_family_by_itself() {
    let host = host().await;
    let sql = host.sql().await;
    let on = "{on: {all: [{with: {type: org.example.milk}}, {with: {type: org.example.tea}}]}}";
    apply(&host, &scheduled("both", "1.0.0", on)).await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let by = async |family: Uuid, id: &str, kind: &str| {
        let request = host.post("/v1/events").role(Role::Owner, family);
        let request = request.header("content-type", "application/cloudevents+json");
        let body = event(id, kind, &json!({"of": family})).to_string();
        assert_eq!(request.body(body).send().await.status, 200);
    };
    by(ours, "1", "org.example.milk").await;
    by(theirs, "2", "org.example.tea").await;
    until_count(&sql, "select count(*) from orchestrator.gatherings", 2).await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.instances").await,
        0
    );
    by(ours, "3", "org.example.tea").await;
    let completed = "select count(*) from orchestrator.instances where status = 'completed'";
    until_count(&sql, completed, 1).await;
    let row = sql
        .query_one(
            "select i.family_id, i.output from orchestrator.instances i",
            &[],
        )
        .await
        .expect("the run");
    let (family, output): (Uuid, Value) = (row.get(0), row.get(1));
    assert_eq!(family, ours);
    let of: Vec<&Value> = (0..2).map(|at| &output["told"][at]["data"]["of"]).collect();
    assert_eq!(of, [&json!(ours), &json!(ours)]);
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.gatherings").await,
        1
    );
    host.stop().await;
}

#[tokio::test]
async fn of_the_hosts_events_those_are_kept_that_somebody_may_hear() {
    let host = host().await;
    let sql = host.sql().await;
    // It runs and listens to nothing.
    let sleeping = definition("sleep", "", "  - rest:\n      wait: {days: 30}\n");
    put(&host, "sleep", &sleeping).await;
    let asleep = crate::stage::start(&host, "sleep", json!({}), 0).await;
    until(&host, &asleep["id"], "waiting").await;
    let emit = "select nself.emit_event($1, 'x', '{}')";
    sql.query(emit, &[&"test.unheard"])
        .await
        .expect("it is told");
    apply(
        &host,
        &scheduled("heard", "1.0.0", "{on: {one: {with: {type: test.heard}}}}"),
    )
    .await;
    sql.query(emit, &[&"test.heard"]).await.expect("it is told");
    let started =
        "select count(*) from orchestrator.instances where name = 'heard' and status = 'completed'";
    until_count(&sql, started, 1).await;
    let kept =
        "select string_agg(e.type, ',') from orchestrator.events e where e.type like 'test.%'";
    let kept: String = sql.query_one(kept, &[]).await.expect("events").get(0);
    assert_eq!(kept, "test.heard");
    host.stop().await;
}

#[tokio::test]
async fn a_schedule_names_a_workflow_and_each_fire_is_a_run() {
    let host = timed().start().await;
    let sql = host.sql().await;
    put(&host, "named", &definition("named", "", NOTHING)).await;
    let family = Uuid::now_v7();
    let target = json!({"workflow": {
        "namespace": "test", "name": "named", "input": {"cup": 2}, "options": {"family_id": family},
    }});
    let schedule = json!({"name": "tea-time", "spec": "0 0 1 1 *", "target": target});
    let made = host
        .post("/v1/schedules")
        .operator()
        .json(&schedule)
        .send()
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    make_due(&sql, "tea-time").await;
    let completed = "select count(*) from orchestrator.instances i where i.status = 'completed' and i.output = '{\"told\": {\"cup\": 2}}'";
    until_count(&sql, completed, 1).await;
    let row = sql
        .query_one("select i.family_id from orchestrator.instances i", &[])
        .await
        .expect("the run");
    assert_eq!(row.get::<_, Uuid>(0), family);
    // One that is not there is no reason to try again.
    let again = "select jobs.enqueue('orchestrator.start', '{\"namespace\": \"test\", \"name\": \"gone\"}')";
    sql.query(again, &[]).await.expect("it is enqueued");
    let discarded =
        "select count(*) from jobs.jobs where kind = 'orchestrator.start' and state = 'discarded'";
    until_count(&sql, discarded, 1).await;
    host.stop().await;
}
