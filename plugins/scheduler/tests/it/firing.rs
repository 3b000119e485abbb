//! Fires: each time once, over all hosts, whatever dies.

use jiff::Timestamp;
use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{
    act, builder, count, create, endless, host, make_due, nothing, outcomes, show, until_count,
    until_outcomes,
};

#[tokio::test]
async fn three_hosts_on_one_database_fire_each_time_once() {
    let first = host().await;
    let (second, third) = (first.beside().start().await, first.beside().start().await);
    let sql = first.sql().await;
    for number in 0..10 {
        let more = json!({"overlap": "allow", "missed": "all"});
        create(
            &first,
            &format!("second-{number}"),
            "* * * * * *",
            nothing(),
            more,
        )
        .await;
    }
    let of_these = "from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.owner = 'api'";
    eventually("fifty fires", async || {
        let fired = count(&sql, &format!("select count(*) {of_these}")).await;
        (fired >= 50).then_some(())
    })
    .await;
    sql.execute(
        "update scheduler.schedules set paused_at = now(), paused_by = 'test'",
        &[],
    )
    .await
    .expect("they are paused");
    let fires = count(&sql, &format!("select count(*) {of_these}")).await;
    let jobs = "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'";
    assert_eq!(
        count(&sql, jobs).await,
        fires,
        "a job for each fire, and no other"
    );
    let gaps = format!(
        "select count(*) from (select 1 {of_these} group by s.id \
         having count(*) <> extract(epoch from max(f.nominal_at) - min(f.nominal_at)) + 1) g"
    );
    assert_eq!(count(&sql, &gaps).await, 0, "no second is left out");
    for host in [third, second, first] {
        host.stop().await;
    }
}

#[tokio::test]
async fn a_host_that_dies_between_due_and_commit_has_fired_nothing_and_the_next_one_does() {
    let host = host().await;
    let beside = host.beside().start().await;
    let (sql, mut other) = (host.sql().await, host.sql().await);
    create(&host, "yearly", "0 0 1 1 *", nothing(), json!({})).await;
    let hold = other.transaction().await.expect("a transaction");
    hold.batch_execute("lock table scheduler.fires in access exclusive mode")
        .await
        .expect("it is locked");
    make_due(&sql, "yearly").await;
    let stuck = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' \
                 and query like '%scheduler.fire(%'";
    let pid: i32 = eventually("a tick waits for the lock", async || {
        sql.query_opt(stuck, &[])
            .await
            .expect("it is asked")
            .map(|row| row.get(0))
    })
    .await;
    assert_eq!(
        count(
            &sql,
            "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'"
        )
        .await,
        0
    );
    sql.execute("select pg_terminate_backend($1)", &[&pid])
        .await
        .expect("it is cut");
    hold.rollback().await.expect("the lock is given back");
    until_outcomes(&sql, "yearly", &["fired"]).await;
    until_count(
        &sql,
        "select count(*) from jobs.finished where kind = 'fixture-caller.nothing'",
        1,
    )
    .await;
    assert_eq!(show(&host, "yearly").await["fired_total"], 1);
    beside.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn a_time_that_was_fired_is_not_fired_again_even_if_the_schedule_is_put_back() {
    let host = host().await;
    let sql = host.sql().await;
    create(
        &host,
        "yearly",
        "0 0 1 1 *",
        nothing(),
        json!({"overlap": "allow"}),
    )
    .await;
    make_due(&sql, "yearly").await;
    until_outcomes(&sql, "yearly", &["fired"]).await;
    let again = "update scheduler.schedules s set next_at = f.nominal_at, due_at = f.nominal_at from scheduler.fires f where f.schedule_id = s.id";
    sql.execute(again, &[]).await.expect("it is put back");
    sql.batch_execute("notify nself_scheduler")
        .await
        .expect("hosts are told");
    let next = "select count(*) from scheduler.schedules where name = 'yearly' and next_at > now() + interval '1 minute'";
    until_count(&sql, next, 1).await;
    assert_eq!(outcomes(&sql, "yearly").await, ["fired"]);
    assert_eq!(
        count(
            &sql,
            "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'"
        )
        .await,
        1
    );
    host.stop().await;
}

#[tokio::test]
async fn what_a_downtime_left_out_is_made_up_for_as_each_schedule_says() {
    let host = host().await;
    let sql = host.sql().await;
    // Half an hour from now, so that no time of the hours before is one of the last minute.
    let minute: i32 = sql
        .query_one("select (extract(minute from now())::int + 30) % 60", &[])
        .await
        .expect("a minute")
        .get(0);
    let spec = format!("{minute} * * * *");
    for (name, more) in [
        ("none", json!({"missed": "skip"})),
        ("one", json!({"missed": "last"})),
        ("all", json!({"missed": "all", "overlap": "allow"})),
        (
            "two",
            json!({"missed": "all", "missed_max": 2, "overlap": "allow"}),
        ),
        (
            "recent",
            json!({"missed": "all", "missed_window_seconds": 7_200, "overlap": "allow"}),
        ),
    ] {
        create(&host, name, &spec, nothing(), more).await;
    }
    let away = "update scheduler.schedules set next_at = next_at - interval '4 hours', due_at = due_at - interval '4 hours' where owner = 'api'";
    sql.execute(away, &[]).await.expect("time goes by");
    sql.batch_execute("notify nself_scheduler")
        .await
        .expect("hosts are told");
    let next = "select count(*) from scheduler.schedules where owner = 'api' and next_at > now()";
    until_count(&sql, next, 5).await;
    for (name, fired) in [
        ("none", 0),
        ("one", 1),
        ("all", 4),
        ("two", 2),
        ("recent", 2),
    ] {
        assert_eq!(outcomes(&sql, name).await.len(), fired, "{name}");
    }
    assert_eq!(show(&host, "all").await["missed_total"], 0);
    assert_eq!(show(&host, "none").await["missed_total"], 1);
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_is_not_over_is_treated_as_the_schedule_says() {
    let host = host().await;
    let sql = host.sql().await;
    for overlap in ["skip", "queue_one", "allow", "cancel_previous"] {
        create(
            &host,
            overlap,
            "0 0 1 1 *",
            endless(),
            json!({"overlap": overlap}),
        )
        .await;
        make_due(&sql, overlap).await;
        until_outcomes(&sql, overlap, &["fired"]).await;
        make_due(&sql, overlap).await;
    }
    until_outcomes(&sql, "skip", &["fired", "skipped"]).await;
    until_outcomes(&sql, "allow", &["fired", "fired"]).await;
    until_outcomes(&sql, "cancel_previous", &["fired", "fired"]).await;
    let cancelled =
        "select count(*) from jobs.finished where kind = 'nobody.knows' and state = 'cancelled'";
    until_count(&sql, cancelled, 1).await;

    until_outcomes(&sql, "queue_one", &["fired", "waiting"]).await;
    make_due(&sql, "queue_one").await;
    until_outcomes(&sql, "queue_one", &["fired", "waiting", "skipped"]).await;
    let job = show(&host, "queue_one").await["last_job_id"]
        .as_i64()
        .expect("a job");
    sql.execute("select jobs.cancel($1)", &[&job])
        .await
        .expect("the first run ends");
    until_outcomes(&sql, "queue_one", &["fired", "fired", "skipped"]).await;
    let shown = show(&host, "queue_one").await;
    assert!(shown["waiting_at"].is_null(), "{shown}");
    assert_ne!(shown["last_job_id"], job);
    host.stop().await;
}

#[tokio::test]
async fn a_target_that_is_refused_fails_alone_and_says_why() {
    let host = host().await;
    let sql = host.sql().await;
    let wrong = json!({"job": {"kind": "a.b", "options": {"moon": "full"}}});
    create(&host, "wrong", "0 0 1 1 *", wrong, json!({})).await;
    create(&host, "right", "0 0 1 1 *", nothing(), json!({})).await;
    make_due(&sql, "wrong").await;
    make_due(&sql, "right").await;
    until_outcomes(&sql, "right", &["fired"]).await;
    until_outcomes(&sql, "wrong", &["failed"]).await;
    let answer = host
        .get("/v1/schedules/wrong/fires")
        .operator()
        .send()
        .await;
    let fires = answer.expect_status(200).data();
    assert!(
        fires[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("moon")),
        "{fires}"
    );
    host.stop().await;
}

#[tokio::test]
async fn an_event_is_told_with_the_time_that_it_is_for() {
    let host = host().await;
    let sql = host.sql().await;
    let target = json!({"event": {"type": "schedule.nightly", "data": {"a": 1}}});
    create(&host, "nightly", "0 0 1 1 *", target, json!({})).await;
    act(&host, "nightly", "run", json!({})).await;
    let event = sql
        .query_one(
            "select data, subject from nself.events where type = 'schedule.nightly'",
            &[],
        )
        .await
        .expect("it was told");
    let (data, subject): (serde_json::Value, String) = (event.get(0), event.get(1));
    assert_eq!((&data["a"], &*subject), (&json!(1), "nightly"));
    assert!(
        data["scheduled_at"].is_string() && data["fired_at"].is_string(),
        "{data}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_is_told_the_time_that_it_is_for_and_its_payload_stays_as_it_was_given() {
    let host = host().await;
    let sql = host.sql().await;
    let target = json!({"job": {"kind": "fixture-caller.tell", "payload": {"a": 1}}});
    create(&host, "yearly", "0 0 1 1 *", target, json!({})).await;
    make_due(&sql, "yearly").await;
    let query = "select j.payload, j.result, to_jsonb(date_trunc('second', f.nominal_at)), to_jsonb(f.fired_at) \
                 from jobs.finished j join scheduler.fires f on f.job_id = j.id where j.kind = 'fixture-caller.tell'";
    let row = eventually("its job is done", async || {
        sql.query_opt(query, &[]).await.expect("it is asked")
    })
    .await;
    let (payload, told): (Value, Value) = (row.get(0), row.get(1));
    assert_eq!(payload, json!({"a": 1}));
    for (field, column) in [("scheduled_at", 2), ("fired_at", 3)] {
        let stored: Value = row.get(column);
        let instant = |value: &Value| {
            value
                .as_str()
                .and_then(|text| text.parse::<Timestamp>().ok())
        };
        assert!(instant(&told[field]).is_some(), "{told}");
        assert_eq!(instant(&told[field]), instant(&stored), "{field}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_schedule_mails_what_it_was_told_to() {
    let host = builder()
        .plugin("nself-plugin-mail")
        .config("[plugins.mail.listen]\n1025 = 0")
        .start()
        .await;
    let letter = json!({"to": "ada@example.org", "subject": "Bins", "text": "Put them out."});
    let target = json!({"job": {"kind": "jobs.send_email", "payload": letter}});
    create(&host, "bins", "0 0 1 1 *", target, json!({})).await;
    make_due(&host.sql().await, "bins").await;
    let mail = eventually("the mail is caught", async || {
        let page = host.get("/api/v2/messages").send().await.expect_status(200);
        page.json()["items"].get(0).cloned()
    })
    .await;
    let headers = &mail["Content"]["Headers"];
    assert_eq!(
        (&headers["To"][0], &headers["Subject"][0]),
        (&json!("ada@example.org"), &json!("Bins"))
    );
    let body = mail["Content"]["Body"].as_str().unwrap_or_default();
    assert!(body.contains("Put them out."), "{mail}");
    host.stop().await;
}

#[tokio::test]
async fn a_schedule_that_a_plugin_declares_runs_in_that_plugin() {
    let host = host().await;
    let sql = host.sql().await;
    let declared = "select count(*) from scheduler.schedules where name = 'fixture-caller/tick' and zone = 'Europe/Berlin'";
    until_count(&sql, declared, 1).await;
    act(&host, "fixture-caller%2Ftick", "run", json!({})).await;
    // It may fire by itself as well while the test runs: it is one of every five minutes.
    let ticked = "select least(count(*), 1) from fixture.items where name like 'tick %'";
    until_count(&sql, ticked, 1).await;
    let answer = host
        .delete("/v1/schedules/fixture-caller%2Ftick")
        .operator()
        .send()
        .await;
    assert_eq!(answer.code(), "SCHEDULE_OWNED");
    host.stop().await;
}

#[tokio::test]
async fn what_is_due_among_a_hundred_thousand_is_found_by_an_index() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "insert into scheduler.schedules (name, owner, spec, target, action, next_at, due_at, zones_version) \
         select 's' || n, 'api', '0 0 1 1 *', '{}', '{}', now() + n * interval '1 minute' + interval '1 hour', \
             now() + n * interval '1 minute' + interval '1 hour', '9999z' from generate_series(1, 100000) n; \
         analyze scheduler.schedules",
    )
    .await
    .expect("they are there");
    let take = "explain with clock as materialized (select clock_timestamp() as now) \
                select (select now from clock) as now, s.* from scheduler.schedules s \
                where s.paused_at is null and s.due_at is not null and s.due_at <= (select now from clock) \
                order by s.due_at limit 500 for update of s skip locked";
    let peek = "explain select clock_timestamp(), \
                (select min(s.due_at) from scheduler.schedules s where s.paused_at is null and s.due_at is not null)";
    for query in [take, peek] {
        let rows = sql.query(query, &[]).await.expect("it is explained");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains("schedules_due") && !plan.contains("Seq Scan"),
            "{plan}"
        );
    }
    create(&host, "yearly", "0 0 1 1 *", nothing(), json!({})).await;
    make_due(&sql, "yearly").await;
    until_outcomes(&sql, "yearly", &["fired"]).await;
    host.stop().await;
}

#[tokio::test]
async fn a_thousand_schedules_of_one_second_are_fired_and_their_next_second_as_well() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "insert into scheduler.schedules (name, owner, spec, target, action, next_at, due_at, zones_version) \
         select 'd' || n, 'api', '0 0 1 1 *', '{}', '{\"kind\": \"fixture-caller.nothing\", \"payload\": {}, \"options\": {}}', \
             t.at, t.at, '9999z' from generate_series(1, 1000) n, (select clock_timestamp() as at) t; \
         notify nself_scheduler",
    )
    .await
    .expect("they are there");
    // What other schedules fire meanwhile is not counted.
    let finished = "select count(*) from jobs.finished where kind = 'fixture-caller.nothing'";
    until_count(&sql, finished, 1_000).await;
    sql.batch_execute(
        "update scheduler.schedules s set next_at = t.at, due_at = t.at from (select clock_timestamp() as at) t where owner = 'api'; \
         notify nself_scheduler",
    )
    .await
    .expect("they are due again");
    let fired = "select count(*) from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id \
                 where s.owner = 'api' and f.outcome = 'fired'";
    until_count(&sql, fired, 2_000).await;
    let late = "select percentile_cont(0.99) within group (order by late_ms) from scheduler.fires";
    let late: f64 = sql.query_one(late, &[]).await.expect("it is asked").get(0);
    println!("99 of 100 were fired within {late} ms");
    until_count(&sql, finished, 2_000).await;
    host.stop().await;
}
