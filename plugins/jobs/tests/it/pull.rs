//! Workers that fetch jobs over HTTP.

use std::time::SystemTime;

use nself_plugin_testkit::{Answer, LIMIT, TestHost, eventually, within};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{
    clients::Script,
    stage::{builder, count, enqueue, job, submit, until, until_count},
};

/// A host with a queue that workers fetch from.
async fn host() -> TestHost {
    let host = builder().start().await;
    open_queue(&host).await;
    host
}

async fn open_queue(host: &TestHost) {
    let sql = host.sql().await;
    sql.execute(
        "insert into jobs.queues (name, worker) values ('letters', 'pull')",
        &[],
    )
    .await
    .expect("a queue");
}

/// Calls as a worker does.
async fn call(host: &TestHost, path: &str, body: Value) -> Answer {
    host.post(path)
        .token(TestHost::SERVICE_KEY)
        .json(&body)
        .send()
        .await
}

/// Fetches as a worker does.
async fn fetch(host: &TestHost, wishes: Value) -> Vec<Value> {
    let mut body = json!({"worker": "test", "jobs_max": 10});
    for (key, value) in wishes.as_object().expect("fields") {
        body[key] = value.clone();
    }
    let answer = call(host, "/v1/jobs/queues/letters/fetch", body).await;
    let jobs = answer.expect_status(200).data();
    jobs.as_array().expect("a list").clone()
}

async fn letter(host: &TestHost, payload: Value, mut options: Value) -> i64 {
    options["queue"] = json!("letters");
    enqueue(host, "letters.print", payload, options).await
}

/// The one job that there is to fetch, and its lease.
async fn fetch_one(host: &TestHost) -> (Value, String) {
    let mut jobs = fetch(host, json!({})).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let job = jobs.remove(0);
    let lease = job["lease"].as_str().expect("a lease").to_owned();
    (job, lease)
}

fn lease(lease: &str, action: &str) -> String {
    format!("/v1/jobs/leases/{lease}/{action}")
}

#[track_caller]
fn lost(answer: &Answer) {
    assert_eq!((answer.status, &*answer.code()), (409, "JOB_LEASE_LOST"));
}

#[tokio::test]
async fn a_worker_fetches_a_job_says_that_it_lives_and_completes_it() {
    let host = host().await;
    let large = "x".repeat(10_000);
    let id = letter(
        &host,
        json!({"text": large}),
        json!({"tags": ["a"], "attempts_max": 3}),
    )
    .await;
    let (fetched, held) = fetch_one(&host).await;
    assert_eq!(
        (
            &fetched["id"],
            &fetched["kind"],
            &fetched["queue"],
            &fetched["attempt"],
            &fetched["attempts_max"],
            &fetched["tags"]
        ),
        (
            &json!(id),
            &json!("letters.print"),
            &json!("letters"),
            &json!(1),
            &json!(3),
            &json!(["a"])
        )
    );
    assert_eq!(fetched["payload"]["text"], large);
    let beat = call(
        &host,
        &lease(&held, "heartbeat"),
        json!({"progress": {"page": 2}, "lease_seconds": 300}),
    )
    .await;
    let beat = beat.expect_status(200).data();
    assert_eq!(beat["is_wanted"], true);
    assert!(beat["expires_at"].as_str() > fetched["expires_at"].as_str());
    let shown = job(&host, id).await;
    assert_eq!(
        (&shown["state"], &shown["progress"]),
        (&json!("running"), &json!({"page": 2}))
    );
    let lines = json!({"lines": [{"message": "one"}, {"level": "warn", "message": "two"}]});
    let logged = call(&host, &lease(&held, "logs"), lines).await;
    assert_eq!(logged.status, 204);
    let done = call(
        &host,
        &lease(&held, "complete"),
        json!({"result": {"pages": 2}}),
    )
    .await;
    assert_eq!(
        done.expect_status(200).data(),
        json!({"id": id, "state": "completed"})
    );
    let done = job(&host, id).await;
    assert_eq!(
        (&done["state"], &done["result"]),
        (&json!("completed"), &json!({"pages": 2}))
    );
    let sql = host.sql().await;
    let logged = format!(
        "select count(*) from jobs.logs where id = {id} and (level, message) in (('info', 'one'), ('warn', 'two'))"
    );
    assert_eq!(count(&sql, &logged).await, 2);
    assert_eq!(count(&sql, "select count(*) from jobs.payloads").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn an_attempt_fails_is_put_off_or_gives_up_as_its_worker_says() {
    let host = host().await;
    let id = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let failure = json!({"code": "PRINTER_AWAY", "message": "no printer", "retry_after": 0});
    let failed = call(&host, &lease(&held, "fail"), failure).await;
    assert_eq!(failed.expect_status(200).data()["state"], "retryable");
    let (second, held) = fetch_one(&host).await;
    assert_eq!(
        (&second["attempt"], &second["errors"][0]["code"]),
        (&json!(2), &json!("PRINTER_AWAY"))
    );
    let put_off = call(&host, &lease(&held, "snooze"), json!({"delay": 0})).await;
    assert_eq!(put_off.expect_status(200).data()["state"], "snoozed");
    let (third, held) = fetch_one(&host).await;
    assert_eq!(
        third["attempt"], 2,
        "the attempt that was put off does not count"
    );
    let over = json!({"code": "PAPER_GONE", "discard": true});
    let over = call(&host, &lease(&held, "fail"), over).await;
    assert_eq!(over.expect_status(200).data()["state"], "discarded");
    assert_eq!(job(&host, id).await["error"]["code"], "PAPER_GONE");
    host.stop().await;
}

/// The mark of who sleeps on the queue of the tests, moved by so many seconds.
fn mark(moved: f64) -> String {
    format!(
        "select until + make_interval(secs => {moved}) from jobs.sleepers s join jobs.queues q on q.id = s.queue where q.name = 'letters'"
    )
}

async fn moment(sql: &Client, query: &str) -> Option<SystemTime> {
    let row = sql.query_opt(query, &[]).await.expect("the query runs");
    row.map(|row| row.get(0))
}

/// When the host has looked around for the last time.
async fn looked(sql: &Client) -> Option<SystemTime> {
    moment(sql, "select seen_at from jobs.hosts").await
}

#[tokio::test]
async fn a_worker_that_waits_is_woken_by_the_commit() {
    let host = host().await;
    let sql = host.sql().await;
    // A host also looks around every two seconds. So: until it has not, between the commit and the answer.
    eventually("the commit wakes the worker", async || {
        let waits = fetch(&host, json!({"wait_seconds": 60, "jobs_max": 1}));
        let commits = async {
            let asleep =
                eventually("the worker sleeps", async || moment(&sql, &mark(1.0)).await).await;
            // The worker's own looks are over after half a second: what moves the mark then is the host's look.
            eventually("it sleeps for long", async || {
                moment(&sql, &mark(0.0))
                    .await
                    .filter(|until| *until > asleep)
            })
            .await;
            let before = looked(&sql).await;
            let id = submit(
                &sql,
                "letters.print",
                json!({}),
                json!({"queue": "letters"}),
            )
            .await;
            (id, before)
        };
        let (jobs, (id, before)) = tokio::join!(waits, commits);
        let after = looked(&sql).await;
        assert_eq!(jobs[0]["id"], id);
        (before == after).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn workers_that_wait_in_line_get_one_job_each() {
    let host = host().await;
    let wish = || fetch(&host, json!({"wait_seconds": 60, "jobs_max": 1}));
    let enqueued = async {
        for n in 0..3 {
            letter(&host, json!({"n": n}), json!({})).await;
        }
    };
    let all = async { tokio::join!(wish(), wish(), wish(), enqueued) };
    let (a, b, c, ()) = within("a job for each", all).await;
    let mut ids: Vec<i64> = [a, b, c]
        .iter()
        .filter_map(|jobs| jobs[0]["id"].as_i64())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    host.stop().await;
}

#[tokio::test]
async fn a_wait_ends_with_nothing_and_with_the_plugin() {
    let host = host().await;
    assert_eq!(
        fetch(&host, json!({"wait_seconds": 0.2})).await,
        Vec::<Value>::new()
    );
    let sql = host.sql().await;
    let waits = fetch(&host, json!({"wait_seconds": 60}));
    let ends = async {
        until_count(&sql, "select count(*) from jobs.sleepers s join jobs.queues q on q.id = s.queue where q.name = 'letters' and s.until > now()", 1).await;
        host.registry()
            .disable("jobs", LIMIT, false)
            .await
            .expect("it is disabled");
    };
    let both = Box::pin(async { tokio::join!(waits, ends) });
    let (jobs, ()) = within("the end of the wait", both).await;
    assert_eq!(jobs, Vec::<Value>::new());
    host.stop().await;
}

#[tokio::test]
async fn a_job_of_a_worker_that_is_not_heard_of_goes_to_another_and_the_first_has_lost_it() {
    let host = host().await;
    let id = letter(&host, json!({}), json!({})).await;
    let mut jobs = fetch(&host, json!({"lease_seconds": 1})).await;
    let first = jobs.remove(0)["lease"]
        .as_str()
        .expect("a lease")
        .to_owned();
    let (second, held) = eventually("the job comes back", async || {
        let mut jobs = fetch(&host, json!({})).await;
        let job = (!jobs.is_empty()).then(|| jobs.remove(0))?;
        let lease = job["lease"].as_str().expect("a lease").to_owned();
        Some((job, lease))
    })
    .await;
    assert_eq!((&second["id"], &second["attempt"]), (&json!(id), &json!(2)));
    assert_eq!(second["errors"][0]["code"], "LEASE_EXPIRED");
    for (action, body) in [
        ("heartbeat", json!({})),
        ("logs", json!({"lines": [{"message": "late"}]})),
        ("complete", json!({"result": "late"})),
        ("fail", json!({"code": "LATE"})),
        ("snooze", json!({"delay": 1})),
    ] {
        lost(&call(&host, &lease(&first, action), body).await);
    }
    let running = job(&host, id).await;
    assert_eq!(
        (&running["state"], &running["attempt"]),
        (&json!("running"), &json!(2))
    );
    let done = call(&host, &lease(&held, "complete"), json!({})).await;
    assert_eq!(done.status, 200);
    assert_eq!(job(&host, id).await["state"], "completed");
    lost(&call(&host, &lease(&held, "complete"), json!({})).await);
    assert_eq!(
        count(&host.sql().await, "select count(*) from jobs.logs").await,
        0
    );
    host.stop().await;
}

#[tokio::test]
async fn a_worker_learns_that_its_job_is_not_wanted_any_more_and_whatever_it_says_then_ends_it() {
    let host = host().await;
    let stopped = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let cancel = async |id: i64| {
        let answer = host
            .post(&format!("/v1/jobs/{id}/cancel"))
            .operator()
            .send()
            .await;
        assert_eq!(answer.status, 200);
    };
    cancel(stopped).await;
    let beat = call(&host, &lease(&held, "heartbeat"), json!({})).await;
    assert_eq!(beat.expect_status(200).data()["is_wanted"], false);
    let failed = call(&host, &lease(&held, "fail"), json!({"code": "STOPPED"})).await;
    assert_eq!(failed.expect_status(200).data()["state"], "cancelled");
    assert_eq!(job(&host, stopped).await["state"], "cancelled");
    // One whose worker has gone away is not tried again either.
    let abandoned = letter(&host, json!({}), json!({})).await;
    assert_eq!(fetch(&host, json!({"lease_seconds": 1})).await.len(), 1);
    cancel(abandoned).await;
    until(&host, abandoned, "cancelled").await;
    // What was done before it was heard of stays done.
    let done = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    cancel(done).await;
    let completed = call(&host, &lease(&held, "complete"), json!({})).await;
    assert_eq!(completed.expect_status(200).data()["state"], "completed");
    host.stop().await;
}

#[tokio::test]
async fn many_reports_are_one_request_and_each_has_its_answer() {
    let host = host().await;
    for n in 0..4 {
        letter(&host, json!({"n": n}), json!({})).await;
    }
    let held: Vec<Value> = fetch(&host, json!({}))
        .await
        .iter()
        .map(|job| job["lease"].clone())
        .collect();
    let nobodys = json!("00000000-0000-4000-8000-000000000000");
    let reports = json!([
        {"lease": held[0], "action": "heartbeat", "progress": 1},
        {"lease": held[0], "action": "logs", "lines": [{"message": "a line"}]},
        {"lease": held[0], "action": "complete", "result": {"n": 0}},
        {"lease": held[0], "action": "fail", "code": "TWICE"},
        {"lease": held[1], "action": "fail", "code": "NO_INK", "message": "no ink"},
        {"lease": held[2], "action": "snooze", "delay": 60},
        {"lease": held[3], "action": "snooze"},
        {"lease": nobodys, "action": "complete"},
        {"lease": nobodys, "action": "heartbeat"},
    ]);
    let answers = call(&host, "/v1/jobs/leases/batch", reports)
        .await
        .expect_status(200)
        .data();
    let said: Vec<&str> = answers
        .as_array()
        .expect("a list")
        .iter()
        .map(|answer| {
            answer["code"]
                .as_str()
                .or(answer["state"].as_str())
                .unwrap_or("fine")
        })
        .collect();
    assert_eq!(
        said,
        [
            "fine",
            "fine",
            "completed",
            "JOB_LEASE_LOST",
            "retryable",
            "snoozed",
            "JOB_OPTION",
            "JOB_LEASE_LOST",
            "JOB_LEASE_LOST"
        ]
    );
    assert_eq!(answers[0]["is_wanted"], true);
    host.stop().await;
}

#[tokio::test]
async fn a_result_that_the_database_cannot_store_discards_its_job_and_no_other() {
    let host = host().await;
    for n in 0..2 {
        letter(&host, json!({"n": n}), json!({})).await;
    }
    let held: Vec<Value> = fetch(&host, json!({}))
        .await
        .iter()
        .map(|job| job["lease"].clone())
        .collect();
    let reports = json!([
        {"lease": held[0], "action": "complete", "result": "\0"},
        {"lease": held[1], "action": "complete", "result": "good"},
    ]);
    let answers = call(&host, "/v1/jobs/leases/batch", reports)
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&answers[0]["state"], &answers[1]["state"]),
        (&json!("discarded"), &json!("completed"))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_limit_of_the_queue_holds_for_workers_and_an_end_lets_the_next_begin() {
    let host = host().await;
    host.sql()
        .await
        .execute(
            "update jobs.queues set running_max = 1 where name = 'letters'",
            &[],
        )
        .await
        .expect("a limit");
    for n in 0..2 {
        letter(&host, json!({"n": n}), json!({})).await;
    }
    let (first, held) = fetch_one(&host).await;
    assert_eq!(fetch(&host, json!({})).await, Vec::<Value>::new());
    let waits = fetch(&host, json!({"wait_seconds": 60}));
    let complete = lease(&held, "complete");
    let ends = call(&host, &complete, json!({}));
    let (jobs, ended) = within("the next job", async { tokio::join!(waits, ends) }).await;
    assert_eq!(ended.status, 200);
    assert_eq!(jobs.len(), 1);
    assert!(jobs[0]["id"].as_i64() > first["id"].as_i64());
    host.stop().await;
}

#[tokio::test]
async fn two_hosts_give_each_job_to_one_worker() {
    let host = host().await;
    let second = host.beside().start().await;
    let sql = host.sql().await;
    let many = "select count(*) from jobs.enqueue_many('letters.print', array(select '{}'::jsonb from generate_series(1, 200)), '{\"queue\": \"letters\"}')";
    assert_eq!(count(&sql, many).await, 200);
    let drain = async |host: &TestHost| {
        let mut ids = Vec::new();
        loop {
            let jobs = fetch(host, json!({"jobs_max": 7})).await;
            if jobs.is_empty() {
                return ids;
            }
            ids.extend(jobs.iter().filter_map(|job| job["id"].as_i64()));
        }
    };
    let (a, b) = tokio::join!(drain(&host), drain(&second));
    let mut all = [a, b].concat();
    assert_eq!(all.len(), 200);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200);
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn only_queues_of_workers_are_fetched_from_and_only_with_the_scope() {
    let host = host().await;
    let wish = json!({"worker": "test"});
    for (queue, status, code) in [
        ("default", 409, "JOB_QUEUE_NOT_PULL"),
        ("nowhere", 404, "JOB_QUEUE_NOT_FOUND"),
    ] {
        let answer = call(
            &host,
            &format!("/v1/jobs/queues/{queue}/fetch"),
            wish.clone(),
        )
        .await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{queue}");
    }
    for bad in [
        json!({"worker": ""}),
        json!({"worker": "test", "jobs_max": 0}),
        json!({"worker": "test", "jobs_max": 1001}),
        json!({"worker": "test", "wait_seconds": 61}),
        json!({"worker": "test", "lease_seconds": 0}),
    ] {
        let answer = call(&host, "/v1/jobs/queues/letters/fetch", bad.clone()).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (422, "JOB_OPTION"),
            "{bad}"
        );
    }
    let anybody = host
        .post("/v1/jobs/queues/letters/fetch")
        .json(&wish)
        .send()
        .await;
    assert_eq!(anybody.status, 401);
    let member = host.token(nself_plugin_api::prelude::Role::Owner, uuid::Uuid::now_v7());
    let member = host
        .post("/v1/jobs/queues/letters/fetch")
        .token(&member)
        .json(&wish)
        .send()
        .await;
    assert_eq!(member.status, 403);
    host.stop().await;
}

#[tokio::test]
async fn a_worker_in_node_does_it_with_nothing_but_fetch() {
    let host = host().await;
    let base = format!("http://{}", host.address());
    let worker = Script::start(
        "worker.mjs",
        &[("BASE_URL", &base), ("TOKEN", TestHost::SERVICE_KEY)],
    )
    .await;
    let fails = letter(&host, json!({"text": "again", "fails": true}), json!({})).await;
    let done = until(&host, fails, "completed").await;
    assert_eq!(done["result"], json!({"upper": "AGAIN", "attempt": 2}));
    let stop = letter(&host, json!({"text": "stop"}), json!({})).await;
    worker.ended().await;
    assert_eq!(
        job(&host, stop).await["result"],
        json!({"upper": "STOP", "attempt": 1})
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_whose_attempt_ends_while_somebody_wants_to_end_it_is_not_tried_again() {
    let host = host().await;
    let sql = host.sql().await;
    let id = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let mut other = host.sql().await;
    let tx = other.transaction().await.expect("a transaction");
    tx.execute("select jobs.cancel($1)", &[&id])
        .await
        .expect("it is asked");
    let failed = json!({"code": "PRINTER_AWAY", "retry_after": 3600});
    let failed = call(&host, &lease(&held, "fail"), failed).await;
    assert_eq!(failed.expect_status(200).data()["state"], "retryable");
    tx.commit().await.expect("it was still open");
    until(&host, id, "cancelled").await;
    until_count(&sql, "select count(*) from jobs.cancels", 0).await;
    host.stop().await;
}

#[tokio::test]
async fn what_became_of_fetched_jobs_is_counted_by_their_kinds() {
    let host = host().await;
    let endings = [
        ("complete", json!({})),
        ("fail", json!({"code": "PRINTER_AWAY", "retry_after": 3600})),
        ("fail", json!({"code": "PRINTER_GONE", "discard": true})),
        ("snooze", json!({"delay": 3600})),
    ];
    for (action, said) in endings {
        letter(&host, json!({}), json!({})).await;
        let (_, held) = fetch_one(&host).await;
        let said = call(&host, &lease(&held, action), said).await;
        assert_eq!(said.status, 200, "{action}");
    }
    let unwanted = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let path = format!("/v1/jobs/{unwanted}/cancel");
    let asked = host.post(&path).operator().send().await;
    assert_eq!(asked.status, 200);
    let failed = call(
        &host,
        &lease(&held, "fail"),
        json!({"code": "PRINTER_AWAY"}),
    )
    .await;
    assert_eq!(failed.expect_status(200).data()["state"], "cancelled");
    let expected = [
        ("completed_total", 1),
        ("failed_total", 2),
        ("retried_total", 1),
        ("discarded_total", 1),
        ("cancelled_total", 1),
        ("run_seconds_count", 5),
        ("wait_seconds_count", 5),
    ];
    let text = host.metrics().await;
    for (name, value) in expected {
        let line = format!("nself_jobs_{name}{{kind=\"letters.print\",plugin=\"jobs\"}} {value}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn what_workers_do_is_told_while_it_happens() {
    let host = host().await;
    let tail = host.get("/v1/jobs/tail?queue=letters").operator();
    let mut events = tail.events().await;
    let mut seen = async || {
        let event = within("something is told", events.next()).await;
        let event = event.expect("the stream goes on");
        let news: Value = serde_json::from_str(&event.data).expect("JSON");
        (event.event, news)
    };
    let done = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let (state, news) = seen().await;
    assert_eq!(
        (&*state, &news["id"], &news["kind"], &news["attempt"]),
        ("running", &json!(done), &json!("letters.print"), &json!(1))
    );
    let completed = call(&host, &lease(&held, "complete"), json!({})).await;
    assert_eq!(completed.status, 200);
    let (state, news) = seen().await;
    assert_eq!(
        (&*state, &news["id"], &news["queue"]),
        ("completed", &json!(done), &json!("letters"))
    );
    assert!(news["took_ms"].as_f64() >= Some(0.0), "{news}");

    let failed = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    assert_eq!(seen().await.0, "running");
    let failure = json!({"code": "PRINTER_AWAY", "message": "no paper"});
    let told = call(&host, &lease(&held, "fail"), failure).await;
    assert_eq!(told.status, 200);
    let (state, news) = seen().await;
    assert_eq!(
        (&*state, &news["id"], &news["code"], &news["message"]),
        (
            "failed",
            &json!(failed),
            &json!("PRINTER_AWAY"),
            &json!("no paper")
        )
    );
    // What is too late changes nothing, so nothing is told of it.
    lost(&call(&host, &lease(&held, "complete"), json!({})).await);
    let last = letter(&host, json!({}), json!({"priority": 0})).await;
    fetch(&host, json!({"jobs_max": 1})).await;
    let (state, news) = seen().await;
    assert_eq!((&*state, &news["id"]), ("running", &json!(last)));
    host.stop().await;
}

#[tokio::test]
async fn an_error_before_its_end_is_not_what_became_of_a_job() {
    let host = host().await;
    let listed = async || {
        let answer = host.get("/v1/jobs?queue=letters").operator().send().await;
        let job = answer.expect_status(200).data()["jobs"][0].take();
        (job["state"].clone(), job["error_code"].clone())
    };
    let id = letter(&host, json!({}), json!({})).await;
    let (_, held) = fetch_one(&host).await;
    let failure = json!({"code": "PRINTER_AWAY", "retry_after": 0});
    let told = call(&host, &lease(&held, "fail"), failure).await;
    assert_eq!(told.status, 200);
    let again = fetch(&host, json!({"wait_seconds": 60})).await;
    let held = again[0]["lease"].as_str().expect("a lease");
    assert_eq!(listed().await, (json!("running"), json!("PRINTER_AWAY")));
    let done = call(&host, &lease(held, "complete"), json!({})).await;
    assert_eq!(done.status, 200);
    assert_eq!(listed().await, (json!("completed"), Value::Null));
    // Whoever looks closer sees what happened.
    let shown = job(&host, id).await;
    assert_eq!(shown["meta"]["errors"][0]["code"], "PRINTER_AWAY");
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_has_not_heard_that_its_queue_was_given_to_workers_claims_nothing_of_it() {
    let host = builder().start().await;
    let sql = host.sql().await;
    let kind = "fixture-caller.nothing";
    let queues = ["letters", "others"];
    // The host works both, and sleeps on both.
    for queue in queues {
        let first = enqueue(&host, kind, json!({}), json!({"queue": queue})).await;
        until(&host, first, "completed").await;
    }
    let asleep = "select count(distinct q.name) from jobs.sleepers s join jobs.queues q on q.id = s.queue \
        where q.name in ('letters', 'others') and s.until > clock_timestamp()";
    until_count(&sql, asleep, 2).await;
    let order = "select count(*) from jobs.queues l, jobs.queues o where l.name = 'letters' and o.name = 'others' and l.id < o.id";
    assert_eq!(
        count(&sql, order).await,
        1,
        "the host looks at letters first"
    );
    // Nobody is told: this is the moment before a host hears of it.
    let given = "update jobs.queues set worker = 'pull' where name = 'letters'";
    assert_eq!(sql.execute(given, &[]).await.expect("it is given away"), 1);
    // One commit, which wakes the host for both. When it has worked the second, it has looked at the first.
    let both = "select jobs.enqueue($1, '{}', '{\"queue\": \"letters\"}'), jobs.enqueue($1, '{}', '{\"queue\": \"others\"}')";
    let row = sql
        .query_one(both, &[&kind])
        .await
        .expect("they are enqueued");
    let (letter, other): (i64, i64) = (row.get(0), row.get(1));
    until(&host, other, "completed").await;
    let letter_now = job(&host, letter).await;
    assert_eq!(
        (&letter_now["state"], &letter_now["attempt"]),
        (&json!("available"), &json!(0))
    );
    let (fetched, lease_of_it) = fetch_one(&host).await;
    assert_eq!(fetched["id"], letter);
    let done = call(&host, &lease(&lease_of_it, "complete"), json!({})).await;
    assert_eq!(done.status, 200);
    until(&host, letter, "completed").await;
    host.stop().await;
}
