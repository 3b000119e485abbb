//! Jobs that belong together, and jobs that follow each other.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{count, enqueue, host, job, submit, until, until_count};

async fn open(host: &TestHost, body: Value) -> String {
    let answer = host
        .post("/v1/jobs/batches")
        .operator()
        .json(&body)
        .send()
        .await;
    let batch = answer.expect_status(201).data();
    batch["id"].as_str().expect("an id").to_owned()
}

async fn post(host: &TestHost, path: &str) -> Value {
    host.post(path)
        .operator()
        .send()
        .await
        .expect_status(200)
        .data()
}

/// The job of a kind that was enqueued last.
async fn last_of(host: &TestHost, kind: &str) -> i64 {
    eventually(&format!("a job of the kind {kind}"), async || {
        let page = host
            .get(&format!("/v1/jobs?kind={kind}&limit=1"))
            .operator();
        page.send().await.data()["jobs"][0]["id"].as_i64()
    })
    .await
}

#[tokio::test]
async fn the_callback_of_a_batch_is_enqueued_when_its_last_job_has_ended() {
    let host = host().await;
    let sql = host.sql().await;
    let then =
        json!({"kind": "fixture-caller.tell", "payload": {"a": 1}, "options": {"tags": ["after"]}});
    let batch = open(&host, json!({"name": "night", "then": then})).await;
    let good = enqueue(
        &host,
        "fixture-caller.nothing",
        json!({}),
        json!({"batch": batch}),
    )
    .await;
    let bad = enqueue(
        &host,
        "fixture-caller.fail",
        json!("never"),
        json!({"batch": batch}),
    )
    .await;
    until(&host, good, "completed").await;
    until(&host, bad, "discarded").await;
    let path = format!("/v1/jobs/batches/{batch}");
    let shown = host
        .get(&path)
        .operator()
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (
            &shown["total"],
            &shown["pending"],
            &shown["failed"],
            &shown["is_sealed"]
        ),
        (&json!(2), &json!(0), &json!(1), &json!(false)),
        "it still takes jobs"
    );
    let sealed = post(&host, &format!("{path}/seal")).await;
    assert!(!sealed["finished_at"].is_null());
    let callback = last_of(&host, "fixture-caller.tell").await;
    let done = until(&host, callback, "completed").await;
    assert_eq!(done["result"]["tags"], json!(["after"]));
    assert_eq!(done["payload"], json!({"a": 1}), "as it was given");
    let ended =
        json!({"id": batch, "name": "night", "total": 2, "failed": 1, "is_cancelled": false});
    assert_eq!(done["meta"]["ended_batch"], ended);
    assert_eq!(done["result"]["ended_batch"], ended, "its handler knows");
    post(&host, &format!("{path}/seal")).await;
    let again = "select count(*) from jobs.finished where kind = 'fixture-caller.tell'";
    assert_eq!(count(&sql, again).await, 1, "once");
    let options = json!({"batch": batch});
    let refused = json!({"kind": "a.b", "options": options});
    let answer = host.post("/v1/jobs").operator().json(&refused).send().await;
    assert_eq!(
        (answer.status, answer.code()),
        (422, "JOB_OPTION".to_owned())
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_is_not_enqueued_does_not_join_its_batch() {
    let host = host().await;
    let batch = open(&host, json!({})).await;
    let options = json!({"batch": batch, "unique": "one", "delay": 3600});
    let first = enqueue(&host, "fixture-caller.nothing", json!({}), options.clone()).await;
    assert_eq!(
        enqueue(&host, "fixture-caller.nothing", json!({}), options).await,
        first
    );
    let path = format!("/v1/jobs/batches/{batch}");
    let shown = host.get(&path).operator().send().await.data();
    assert_eq!((&shown["total"], &shown["pending"]), (&json!(1), &json!(1)));
    host.stop().await;
}

#[tokio::test]
async fn a_discarded_job_that_is_retried_belongs_to_its_batch_again() {
    let host = host().await;
    let sql = host.sql().await;
    let batch = open(&host, json!({"then": {"kind": "fixture-caller.tell"}})).await;
    let bad = enqueue(
        &host,
        "fixture-caller.fail",
        json!("never"),
        json!({"batch": batch}),
    )
    .await;
    until(&host, bad, "discarded").await;
    let waits = enqueue(
        &host,
        "fixture-caller.wait",
        json!("word"),
        json!({"batch": batch}),
    )
    .await;
    let path = format!("/v1/jobs/batches/{batch}");
    post(&host, &format!("{path}/seal")).await;
    post(&host, &format!("/v1/jobs/{bad}/retry")).await;
    until_count(
        &sql,
        &format!("select count(*) from jobs.dead where id = {bad}"),
        1,
    )
    .await;
    let shown = host.get(&path).operator().send().await.data();
    assert_eq!(
        (&shown["pending"], &shown["failed"], &shown["finished_at"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    sql.execute("select fixture.keep('word')", &[])
        .await
        .expect("kept");
    until(&host, waits, "completed").await;
    last_of(&host, "fixture-caller.tell").await;
    // Its batch has ended: it is worked for itself.
    post(&host, &format!("/v1/jobs/{bad}/retry")).await;
    until(&host, bad, "discarded").await;
    let shown = host.get(&path).operator().send().await.data();
    assert_eq!(
        (&shown["pending"], &shown["failed"]),
        (&json!(0), &json!(1))
    );
    host.stop().await;
}

#[tokio::test]
async fn all_of_a_batch_is_ended_those_that_wait_at_once_and_those_that_run_by_their_workers() {
    let host = host().await;
    let sql = host.sql().await;
    let batch = open(&host, json!({"then": {"kind": "fixture-caller.tell"}})).await;
    let running = enqueue(
        &host,
        "fixture-caller.wait",
        json!("never kept"),
        json!({"batch": batch}),
    )
    .await;
    until(&host, running, "running").await;
    let many = "select count(*) from jobs.enqueue_many('fixture-caller.nothing', array(select '{}'::jsonb from generate_series(1, 1200)), \
        jsonb_build_object('batch', $1::text, 'delay', 3600))";
    sql.query_one(many, &[&batch]).await.expect("enqueued");
    let path = format!("/v1/jobs/batches/{batch}");
    let cancelled = post(&host, &format!("{path}/cancel?reason=no%20need")).await;
    assert!(!cancelled["cancelled_at"].is_null());
    until(&host, running, "cancelled").await;
    let callback = last_of(&host, "fixture-caller.tell").await;
    let told = &job(&host, callback).await["meta"]["ended_batch"];
    assert_eq!(
        (&told["failed"], &told["is_cancelled"]),
        (&json!(1_201), &json!(true))
    );
    assert_eq!(count(&sql, "select count(*) from jobs.batch_jobs").await, 0);
    for path in ["", "/seal", "/cancel"] {
        let path = format!("/v1/jobs/batches/019aa000-0000-7000-8000-000000000000{path}");
        let method = if path.ends_with("00") { "GET" } else { "POST" };
        let answer = host.request(method, &path).operator().send().await;
        assert_eq!(answer.code(), "JOB_BATCH_NOT_FOUND", "{path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_batch_is_opened_filled_and_sealed_in_one_transaction() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "do $$ declare b uuid := jobs.open_batch('sums', '{\"kind\": \"fixture-caller.tell\"}'); begin
             perform jobs.enqueue('fixture-caller.nothing', '{}', jsonb_build_object('batch', b)) from generate_series(1, 20);
             perform jobs.seal_batch(b);
         end $$",
    )
    .await
    .expect("a batch");
    let callback = last_of(&host, "fixture-caller.tell").await;
    let told = until(&host, callback, "completed").await["meta"]["ended_batch"].clone();
    assert_eq!((&told["total"], &told["failed"]), (&json!(20), &json!(0)));
    let bad = json!({"then": {"payload": {}}});
    let answer = host
        .post("/v1/jobs/batches")
        .operator()
        .json(&bad)
        .send()
        .await;
    assert_eq!(answer.code(), "JOB_OPTION");
    host.stop().await;
}

#[tokio::test]
async fn the_jobs_of_a_chain_follow_each_other_and_know_what_came_of_the_one_before() {
    let host = host().await;
    let sql = host.sql().await;
    let chain = json!({"then": [
        {"kind": "fixture-caller.add", "payload": {"a": 1, "b": 2}, "options": {"keep": "all"}},
        {"kind": "fixture-caller.tell", "payload": {"last": true}},
    ]});
    let first = submit(&sql, "fixture-caller.add", json!({"a": 20, "b": 22}), chain).await;
    let last = last_of(&host, "fixture-caller.tell").await;
    let told = until(&host, last, "completed").await;
    assert_eq!(told["payload"], json!({"last": true}));
    assert_eq!(told["meta"]["previous"], json!({"sum": 3}));
    assert_eq!(told["result"]["previous"], json!({"sum": 3}));
    let middle = told["meta"]["parent"].as_i64().expect("a parent");
    let middle = until(&host, middle, "completed").await;
    assert_eq!(middle["meta"]["previous"], json!({"sum": 42}));
    assert_eq!(middle["meta"]["parent"], first);
    host.stop().await;
}

#[tokio::test]
async fn a_chain_ends_with_a_job_that_is_discarded() {
    let host = host().await;
    let sql = host.sql().await;
    let chain = json!({"then": [{"kind": "fixture-caller.tell"}]});
    let id = submit(&sql, "fixture-caller.fail", json!("never"), chain).await;
    until(&host, id, "discarded").await;
    let all = "select count(*) from jobs.jobs where kind = 'fixture-caller.tell'";
    assert_eq!(count(&sql, all).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_large_result_is_told_to_the_next_job_of_a_chain_wherever_that_is_worked() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute("insert into jobs.queues (name, worker) values ('pages', 'pull')")
        .await
        .expect("a queue");
    let chain = json!({"queue": "pages", "then": [
        {"kind": "fixture-caller.tell", "payload": {"unchanged": true}},
        {"kind": "pages.print", "payload": {"unchanged": true}, "options": {"queue": "pages"}},
    ]});
    let first = submit(&sql, "pages.print", json!({}), chain).await;
    let page = "0123456789".repeat(1_000);
    let noise: Vec<String> = (0..200).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    let large = json!({"page": page, "noise": noise});
    let (job, lease) = fetch_page(&host).await;
    assert_eq!(
        (&job["id"], &job["previous"]),
        (&json!(first), &Value::Null)
    );
    let path = format!("/v1/jobs/leases/{lease}/complete");
    let done = host.post(&path).token(TestHost::SERVICE_KEY);
    let done = done.json(&json!({"result": large})).send().await;
    assert_eq!(done.status, 200);

    let second = last_of(&host, "fixture-caller.tell").await;
    let told = until(&host, second, "completed").await;
    assert_eq!(told["result"]["previous"], large);
    let (job, _) = fetch_page(&host).await;
    assert_eq!(job["payload"], json!({"unchanged": true}));
    assert_eq!(job["previous"], told["result"]);
    let shown = crate::stage::job(&host, job["id"].as_i64().expect("an id")).await;
    assert_eq!(shown["meta"]["previous"], told["result"]);
    assert_eq!(shown["payload"], json!({"unchanged": true}));
    let carried = "select pg_column_size(metas)::bigint from jobs.leases";
    let carried = count(&sql, carried).await;
    assert!(carried < 2_000, "{carried} bytes travel with the job");
    host.stop().await;
}

/// Fetches the one job of the queue `pages`; with its lease.
async fn fetch_page(host: &TestHost) -> (Value, String) {
    let wish = json!({"worker": "test", "wait_seconds": 60});
    let request = host
        .post("/v1/jobs/queues/pages/fetch")
        .token(TestHost::SERVICE_KEY);
    let jobs = request.json(&wish).send().await.expect_status(200).data();
    let lease = jobs[0]["lease"].as_str().expect("a job").to_owned();
    (jobs[0].clone(), lease)
}

#[tokio::test]
async fn a_batch_is_ended_while_its_jobs_end_and_nobody_waits_in_a_circle() {
    let host = host().await;
    let sql = host.sql().await;
    let batch = open(&host, json!({"then": {"kind": "fixture-caller.tell"}})).await;
    let options = json!({"batch": batch, "delay": 3600});
    let held = enqueue(&host, "fixture-caller.nothing", json!({}), options).await;
    let options = json!({"batch": batch});
    let running = enqueue(&host, "fixture-caller.wait", json!("word"), options).await;
    until(&host, running, "running").await;
    let mut other = host.sql().await;
    let tx = other.transaction().await.expect("a transaction");
    tx.execute("select from jobs.later where id = $1 for update", &[&held])
        .await
        .expect("it is locked");
    let path = format!("/v1/jobs/batches/{batch}/cancel");
    let ending = post(&host, &path);
    let meanwhile = async {
        let waits = "select count(*) from pg_stat_activity \
            where wait_event_type = 'Lock' and query like 'select jobs.cancel_batch%'";
        until_count(&sql, waits, 1).await;
        sql.execute("select fixture.keep('word')", &[])
            .await
            .expect("kept");
        until(&host, running, "completed").await;
        tx.commit().await.expect("it was still open");
    };
    let (ended, ()) = tokio::join!(ending, meanwhile);
    assert_eq!(
        (&ended["pending"], &ended["failed"]),
        (&json!(0), &json!(1))
    );
    until(&host, held, "cancelled").await;
    let callback = last_of(&host, "fixture-caller.tell").await;
    assert_eq!(
        job(&host, callback).await["meta"]["ended_batch"]["is_cancelled"],
        true
    );
    host.stop().await;
}

#[tokio::test]
async fn batches_are_listed_page_by_page_the_newest_first() {
    let host = host().await;
    let mut made = Vec::new();
    for n in 0..3 {
        made.push(open(&host, json!({"name": format!("night {n}")})).await);
    }
    post(&host, &format!("/v1/jobs/batches/{}/seal", made[0])).await;
    post(&host, &format!("/v1/jobs/batches/{}/cancel", made[1])).await;
    made.reverse();
    let list = async |query: &str| {
        let answer = host.get(&format!("/v1/jobs/batches?{query}")).operator();
        let page = answer.send().await.expect_status(200).data();
        let ids = page["batches"].as_array().expect("batches").iter();
        let ids: Vec<String> = ids
            .map(|batch| batch["id"].as_str().expect("an id").to_owned())
            .collect();
        (ids, page["next"].clone())
    };
    let (first, next) = list("limit=2").await;
    assert_eq!(first, made[..2]);
    let next = next.as_str().expect("another page").to_owned();
    let (second, next) = list(&format!("limit=2&before={next}")).await;
    assert_eq!((second, next), (made[2..].to_vec(), Value::Null));
    for (state, expected) in [
        ("open", &made[..1]),
        ("cancelled", &made[1..2]),
        ("finished", &made[1..]),
    ] {
        assert_eq!(list(&format!("state={state}")).await.0, expected, "{state}");
    }
    let answer = host.get("/v1/jobs/batches?state=gone").operator();
    assert_eq!(answer.send().await.code(), "JOB_OPTION");
    host.stop().await;
}
