//! What people see: pages of jobs, queues, what happens at the moment.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{builder, count, enqueue, host, submit, until, until_count};

async fn list(host: &nself_plugin_testkit::TestHost, query: &str) -> Value {
    let answer = host.get(&format!("/v1/jobs?{query}")).operator().send();
    answer.await.expect_status(200).data()
}

fn ids(page: &Value) -> Vec<i64> {
    let jobs = page["jobs"].as_array().expect("jobs");
    jobs.iter().filter_map(|job| job["id"].as_i64()).collect()
}

#[tokio::test]
async fn jobs_are_listed_by_state_page_by_page_the_newest_first() {
    let host = host().await;
    let sql = host.sql().await;
    let mut made = Vec::new();
    for n in 0..7 {
        let options = json!({"delay": 3600, "priority": n % 3});
        made.push(submit(&sql, "fixture-caller.nothing", json!({}), options).await);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = list(&host, &format!("state=scheduled&limit=3{before}")).await;
        seen.extend(ids(&page));
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let all = list(&host, "").await;
    assert_eq!(ids(&all), made);
    assert_eq!(all["jobs"][0]["state"], "scheduled");
    assert!(
        all["jobs"][0]["payload"].is_null(),
        "a list holds no inputs"
    );
    host.stop().await;
}

#[tokio::test]
async fn each_state_lists_its_own_jobs() {
    let host = host().await;
    let sql = host.sql().await;
    let done = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    let failed = enqueue(&host, "fixture-caller.fail", json!("later"), json!({})).await;
    let dead = enqueue(&host, "fixture-caller.fail", json!("never"), json!({})).await;
    let running = enqueue(&host, "fixture-caller.wait", json!("never kept"), json!({})).await;
    let later = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    let gone = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    let paused = json!({"name": "still"});
    sql.execute(
        "insert into jobs.queues (name, worker) values ('still', 'pull')",
        &[],
    )
    .await
    .expect("a queue that nobody works on");
    let mut waiting = Vec::new();
    for family in [None, Some(Uuid::now_v7())] {
        let options = json!({"queue": paused["name"], "family_id": family});
        waiting.push(submit(&sql, "fixture-caller.tell", json!({}), options).await);
    }
    let cancelled = host.post(&format!("/v1/jobs/{gone}/cancel")).operator();
    assert_eq!(cancelled.send().await.status, 200);
    until(&host, done, "completed").await;
    until(&host, failed, "retryable").await;
    until(&host, dead, "discarded").await;
    until(&host, running, "running").await;
    waiting.reverse();
    for (state, expected) in [
        ("completed", vec![done]),
        ("retryable", vec![failed]),
        ("discarded", vec![dead]),
        ("running", vec![running]),
        ("scheduled", vec![later]),
        ("cancelled", vec![gone]),
        ("available", waiting),
    ] {
        let page = list(&host, &format!("state={state}")).await;
        assert_eq!(ids(&page), expected, "{state}");
        assert_eq!(page["jobs"][0]["state"], state);
        let of_queue = list(&host, &format!("state={state}&queue=nobody")).await;
        assert_eq!(ids(&of_queue), Vec::<i64>::new(), "{state} of no queue");
    }
    let retryable = list(&host, "state=retryable").await;
    assert_eq!(retryable["jobs"][0]["error_code"], "NOT_NOW");
    let answer = host.get("/v1/jobs?state=lost").operator().send().await;
    assert_eq!(
        (answer.status, answer.code()),
        (422, "JOB_OPTION".to_owned())
    );
    let cancelled = host.post(&format!("/v1/jobs/{running}/cancel")).operator();
    assert_eq!(cancelled.send().await.status, 200);
    until(&host, running, "cancelled").await;
    host.stop().await;
}

#[tokio::test]
async fn a_page_holds_only_what_the_filter_names() {
    let host = host().await;
    let sql = host.sql().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let make = async |kind: &str, more: Value| {
        let mut options = json!({"delay": 3600});
        let more = more.as_object().expect("options").clone();
        options.as_object_mut().expect("options").extend(more);
        submit(&sql, kind, json!({}), options).await
    };
    let red = make("a.red", json!({"tags": ["hot", "red"]})).await;
    let ours_job = make("a.blue", json!({"family_id": ours, "queue": "talk"})).await;
    let theirs_job = make("a.blue", json!({"family_id": theirs})).await;
    for (filter, expected) in [
        ("kind=a.red".to_owned(), vec![red]),
        ("tag=hot".to_owned(), vec![red]),
        ("queue=talk".to_owned(), vec![ours_job]),
        (format!("family_id={ours}"), vec![ours_job]),
        ("kind=a.blue".to_owned(), vec![theirs_job, ours_job]),
        (
            "since=2020-01-01T00:00:00Z".to_owned(),
            vec![theirs_job, ours_job, red],
        ),
        ("since=2090-01-01T00:00:00Z".to_owned(), vec![]),
        (format!("before={red}"), vec![]),
    ] {
        assert_eq!(ids(&list(&host, &filter).await), expected, "{filter}");
    }
    host.stop().await;
}

#[tokio::test]
async fn who_may_enqueue_may_look_and_a_family_may_not() {
    let host = host().await;
    let scoped = host
        .get("/v1/jobs/stats")
        .role(nself_plugin_api::manifest::Role::Owner, Uuid::now_v7());
    assert_eq!(scoped.send().await.status, 403);
    for path in ["/v1/jobs", "/v1/jobs/queues"] {
        let family = host
            .get(path)
            .role(nself_plugin_api::manifest::Role::Owner, Uuid::now_v7());
        assert_eq!(family.send().await.status, 403, "{path}");
        assert_eq!(host.get(path).operator().send().await.status, 200, "{path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_queue_shows_what_is_in_it_and_the_metrics_count_it() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "insert into jobs.queues (name, worker) values ('still', 'pull');
         select jobs.enqueue('a.b', '{}', '{\"queue\": \"still\"}') from generate_series(1, 3);
         select jobs.enqueue('a.b', '{}', '{\"queue\": \"still\", \"family_id\": \"019aa000-0000-7000-8000-000000000001\"}');
         select jobs.enqueue('a.b', '{}', '{\"queue\": \"still\", \"delay\": 3600}') from generate_series(1, 2);",
    )
    .await
    .expect("jobs wait");
    let queue = host.get("/v1/jobs/queues/still").operator().send().await;
    let queue = queue.expect_status(200).data();
    assert_eq!(
        (
            &queue["available"],
            &queue["scheduled"],
            &queue["running"],
            &queue["worker"]
        ),
        (&json!(4), &json!(2), &json!(0), &json!("pull"))
    );
    assert!(
        queue["oldest_seconds"]
            .as_f64()
            .is_some_and(|age| (0.0..600.0).contains(&age))
    );
    let answer = host.get("/v1/jobs/queues/nobody").operator().send().await;
    assert_eq!(answer.code(), "JOB_QUEUE_NOT_FOUND");
    let stats = host.get("/v1/jobs/stats").operator().send().await;
    assert_eq!(stats.expect_status(200).data()["available"], 4);

    let dead = enqueue(&host, "fixture-caller.fail", json!("never"), json!({})).await;
    until(&host, dead, "discarded").await;
    let done = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, done, "completed").await;
    let later = enqueue(&host, "fixture-caller.fail", json!("later"), json!({})).await;
    until(&host, later, "retryable").await;
    let metric = async |series: &str| {
        nself_plugin_testkit::eventually(series, async || {
            let text = host.metrics().await;
            let line = text.lines().find(|line| {
                let (name, labels) = series.split_once('{').expect("labels");
                line.starts_with(&format!("{name}{{"))
                    && labels
                        .trim_end_matches('}')
                        .split(',')
                        .all(|label| line.contains(label))
            })?;
            let value: f64 = line.rsplit(' ').next()?.parse().ok()?;
            (value > 0.0).then_some(value)
        })
        .await
    };
    for (series, expected) in [
        (
            "nself_jobs_completed_total{kind=\"fixture-caller.tell\"}",
            1.0,
        ),
        ("nself_jobs_failed_total{kind=\"fixture-caller.fail\"}", 2.0),
        (
            "nself_jobs_discarded_total{kind=\"fixture-caller.fail\"}",
            1.0,
        ),
        (
            "nself_jobs_retried_total{kind=\"fixture-caller.fail\"}",
            1.0,
        ),
        (
            "nself_jobs_run_seconds_count{kind=\"fixture-caller.tell\"}",
            1.0,
        ),
        (
            "nself_jobs_wait_seconds_count{kind=\"fixture-caller.tell\"}",
            1.0,
        ),
        (
            "nself_jobs_queue_depth{queue=\"still\",state=\"available\"}",
            4.0,
        ),
        (
            "nself_jobs_queue_depth{queue=\"still\",state=\"scheduled\"}",
            2.0,
        ),
    ] {
        assert!(
            (metric(series).await - expected).abs() < f64::EPSILON,
            "{series}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn what_jobs_do_is_told_while_it_happens() {
    let host = host().await;
    let tail = host
        .get("/v1/jobs/tail?kind=fixture-caller.fail")
        .operator();
    let mut events = tail.events().await;
    enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    let id = enqueue(&host, "fixture-caller.fail", json!("never"), json!({})).await;
    let seen = events.next().await.expect("an event");
    let news: Value = serde_json::from_str(&seen.data).expect("JSON");
    assert_eq!(
        (&*seen.event, &news["id"], &news["code"], &news["queue"]),
        (
            "discarded",
            &json!(id),
            &json!("JOB_DISCARD"),
            &json!("default")
        )
    );
    drop(events);
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_ends_lets_its_watchers_go() {
    let host = builder().start().await;
    let mut events = host.get("/v1/jobs/tail").operator().events().await;
    let ended = async {
        while let Some(event) = events.next().await {
            assert!(!event.data.is_empty());
        }
    };
    let disabled = host
        .registry()
        .disable("jobs", nself_plugin_testkit::LIMIT / 2, true);
    let ((), disabled) = tokio::join!(ended, disabled);
    let disabled = disabled.expect("it is disabled");
    assert!(disabled.iter().all(|changed| changed.clean));
    host.stop().await;
}

#[tokio::test]
async fn a_million_jobs_are_no_reason_to_read_a_million() {
    let host = host().await;
    let sql = host.sql().await;
    // Enough that reading all of them shows in the plan's buffers.
    sql.batch_execute(
        "insert into jobs.queues (name, worker) values ('still', 'pull');
         insert into jobs.ready (queue, kind, payload) select q.id, 'a.b', '{}' from jobs.queues q, generate_series(1, 100000) where q.name = 'still';
         insert into jobs.later (queue, kind, payload, run_at) select q.id, 'a.b', '{}', now() + interval '1 day' from jobs.queues q, generate_series(1, 100000) where q.name = 'still';",
    )
    .await
    .expect("a backlog");
    let buffers = async |query: &str| {
        let row = sql
            .query_one(
                &format!("explain (analyze, buffers, format json) {query}"),
                &[],
            )
            .await
            .expect("a plan");
        let plan: Value = row.get(0);
        let plan = &plan[0]["Plan"];
        let blocks = |name: &str| plan[name].as_i64().unwrap_or_default();
        blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
    };
    for state in ["null", "'available'", "'scheduled'"] {
        let read = buffers(&format!(
            "select * from jobs.list({state}, null, null, null, null, null, null, 100, 2000)"
        ))
        .await;
        assert!(read < 4_000, "{state}: {read} blocks");
    }
    let read = buffers("select * from jobs.queue_stats(1000)").await;
    assert!(read < 6_000, "{read} blocks");
    assert_eq!(
        count(
            &sql,
            "select available from jobs.queue_stats(1000, 'still')"
        )
        .await,
        1_000
    );
    until_count(&sql, "select count(*) from jobs.leases", 0).await;
    host.stop().await;
}
