//! What people do: priorities, queues that are paused, limited and drained, discarded jobs.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{count, enqueue, host, job, submit, until, until_count};

async fn post(host: &TestHost, path: &str, body: Value) -> Value {
    let answer = host.post(path).operator().json(&body).send().await;
    answer.expect_status(200).data()
}

async fn put(host: &TestHost, path: &str, body: &Value) {
    let answer = host.put(path).operator().json(body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Actions of the audit log, the oldest first.
async fn audited(sql: &Client) -> Vec<String> {
    let query = "select action from nself.audit_log where source = '/plugins/jobs' order by at, id";
    let rows = sql.query(query, &[]).await.expect("the log");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_the_schemas_of_a_pause_and_of_limits_do_not_allow_is_refused() {
    let host = host().await;
    for body in [json!([null]), json!([]), json!({"reason": "x".repeat(501)})] {
        for action in ["pause", "drain"] {
            let path = format!("/v1/jobs/queues/default/{action}");
            let refused = host.post(&path).operator().json(&body).send().await;
            assert_eq!((refused.status, &*refused.code()), (422, "BODY_INVALID"));
        }
    }
    let queue = "/v1/jobs/queues/default";
    let drain = host.post(&format!("{queue}/drain")).operator();
    let drained = drain.json(&json!({"wait_seconds": 61})).send().await;
    assert_eq!((drained.status, &*drained.code()), (422, "BODY_INVALID"));
    for (name, amount) in [
        ("running_max", 1_000_001),
        ("running_max", -1),
        ("running_per_key_max", 0),
        ("burst", 0),
    ] {
        let limits = host.put(&format!("{queue}/limits")).operator();
        let set = limits.json(&json!({name: amount})).send().await;
        assert_eq!((set.status, &*set.code()), (422, "JOB_OPTION"), "{name}");
    }
    host.stop().await;
}

#[tokio::test]
async fn nothing_of_a_paused_queue_begins_until_it_is_resumed_and_who_did_it_is_known() {
    let host = host().await;
    let sql = host.sql().await;
    let paused = post(
        &host,
        "/v1/jobs/queues/default/pause",
        json!({"reason": "the mail server is down"}),
    )
    .await;
    assert_eq!(paused["pause_reason"], "the mail server is down");
    assert!(
        paused["paused_by"]
            .as_str()
            .is_some_and(|by| !by.is_empty())
    );
    let first = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    let second = submit(&sql, "fixture-caller.tell", json!({}), json!({})).await;
    // What is behind them in another queue is worked, so they had their chance.
    let other = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"queue": "talk"}),
    )
    .await;
    until(&host, other, "completed").await;
    for id in [first, second] {
        assert_eq!(job(&host, id).await["state"], "available");
    }
    let resumed = post(&host, "/v1/jobs/queues/default/resume", json!({})).await;
    assert_eq!(
        (&resumed["paused_at"], &resumed["pause_reason"]),
        (&Value::Null, &Value::Null)
    );
    until(&host, first, "completed").await;
    until(&host, second, "completed").await;
    assert_eq!(
        audited(&sql).await,
        ["jobs.queue_paused", "jobs.queue_resumed"]
    );
    for path in ["pause", "resume", "drain"] {
        let path = format!("/v1/jobs/queues/nobody/{path}");
        let answer = host.post(&path).operator().json(&json!({})).send().await;
        assert_eq!(answer.code(), "JOB_QUEUE_NOT_FOUND");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_queue_is_drained_when_nothing_of_it_runs() {
    let host = host().await;
    let sql = host.sql().await;
    let running = enqueue(&host, "fixture-caller.wait", json!("word"), json!({})).await;
    until(&host, running, "running").await;
    let drained = post(
        &host,
        "/v1/jobs/queues/default/drain",
        json!({"wait_seconds": 0}),
    )
    .await;
    assert_eq!(drained, json!({"queue": "default", "running": 1}));
    let draining = post(
        &host,
        "/v1/jobs/queues/default/drain",
        json!({"wait_seconds": 60}),
    );
    let releasing = async {
        sql.execute("select fixture.keep('word')", &[])
            .await
            .expect("kept");
    };
    let (drained, ()) = tokio::join!(draining, releasing);
    assert_eq!(drained, json!({"queue": "default", "running": 0}));
    until(&host, running, "completed").await;
    let after = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    assert_eq!(job(&host, after).await["state"], "available");
    host.stop().await;
}

#[tokio::test]
async fn limits_are_set_as_a_whole_and_hold_at_once() {
    let host = host().await;
    let sql = host.sql().await;
    let limit = async |name: &str, body: Value| {
        let path = format!("/v1/jobs/queues/{name}");
        host.put(&path).operator().json(&body).send().await
    };
    let limits = json!({"running_max": 1, "running_per_key_max": 1, "rate": {"per_second": 1000, "burst": 50}});
    let set = limit("default", limits).await.expect_status(200).data();
    assert_eq!(
        (&set["running_max"], &set["rate"]),
        (
            &json!(1),
            &json!({"per_second": 1000.0, "burst": 50, "by": "queue"})
        )
    );
    let first = submit(&sql, "fixture-caller.wait", json!("one"), json!({})).await;
    until(&host, first, "running").await;
    let second = submit(&sql, "fixture-caller.tell", json!({}), json!({})).await;
    until_count(&sql, "select count(*) from jobs.ready", 1).await;
    // A place more, and the one that waits begins.
    let set = limit("default", json!({"running_max": 2}))
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&set["rate"], &set["running_per_key_max"]),
        (&Value::Null, &Value::Null)
    );
    until(&host, second, "completed").await;
    sql.execute("select fixture.keep('one')", &[])
        .await
        .expect("kept");
    until(&host, first, "completed").await;

    let made = limit("letters", json!({"worker": "pull"}))
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&made["name"], &made["worker"]),
        (&json!("letters"), &json!("pull"))
    );
    for (name, body) in [
        ("UPPER", json!({})),
        ("x", json!({"worker": "robots"})),
        ("x", json!({"rate": {"per_second": 0}})),
        ("x", json!({"rate": {"per_second": 1, "by": "moon"}})),
        ("x", json!({"running_per_key_max": 0})),
    ] {
        let answer = limit(name, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "JOB_OPTION".to_owned()),
            "{name} {body}"
        );
    }
    assert_eq!(audited(&sql).await, ["jobs.queue_limited"; 3]);
    host.stop().await;
}

#[tokio::test]
async fn jobs_that_wait_for_their_key_begin_when_its_limit_is_taken_away() {
    let host = host().await;
    let sql = host.sql().await;
    let limit = json!({"running_per_key_max": 1});
    let path = "/v1/jobs/queues/default";
    put(&host, path, &limit).await;
    let key = json!({"concurrency_key": "one"});
    let first = submit(&sql, "fixture-caller.wait", json!("word"), key.clone()).await;
    until(&host, first, "running").await;
    let second = submit(&sql, "fixture-caller.tell", json!({}), key.clone()).await;
    until_count(&sql, "select count(*) from jobs.waiting", 1).await;
    put(&host, path, &json!({})).await;
    until(&host, second, "completed").await;
    sql.execute("select fixture.keep('word')", &[])
        .await
        .expect("kept");
    until(&host, first, "completed").await;
    // Nothing is noted for a limit that nobody has.
    assert_eq!(count(&sql, "select count(*) from jobs.freed").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_queue_that_was_for_hosts_is_left_to_workers_that_fetch_and_comes_back() {
    let host = host().await;
    let path = "/v1/jobs/queues/default";
    let give_to = async |worker: &str| {
        let body = json!({"worker": worker});
        put(&host, path, &body).await;
    };
    let before = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, before, "completed").await;
    give_to("pull").await;
    let id = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    let other = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"queue": "talk"}),
    )
    .await;
    until(&host, other, "completed").await;
    assert_eq!(job(&host, id).await["state"], "available");
    give_to("host").await;
    until(&host, id, "completed").await;
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_has_not_begun_gets_another_priority() {
    let host = host().await;
    let sql = host.sql().await;
    post(&host, "/v1/jobs/queues/default/pause", json!({})).await;
    let ready = submit(&sql, "fixture-caller.tell", json!({}), json!({})).await;
    let later = submit(
        &sql,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    for id in [ready, later] {
        let path = format!("/v1/jobs/{id}/priority");
        let changed = post(&host, &path, json!({"priority": 0})).await;
        assert_eq!(changed, json!({"id": id, "priority": 0}));
        assert_eq!(job(&host, id).await["priority"], 0);
    }
    let refuse = async |id: i64, priority: i64| {
        let path = format!("/v1/jobs/{id}/priority");
        let answer = host
            .post(&path)
            .operator()
            .json(&json!({"priority": priority}));
        let answer = answer.send().await;
        (answer.status, answer.code())
    };
    assert_eq!(refuse(ready, 10).await, (422, "JOB_OPTION".to_owned()));
    assert_eq!(refuse(1, 1).await, (404, "JOB_NOT_FOUND".to_owned()));
    post(&host, "/v1/jobs/queues/default/resume", json!({})).await;
    until(&host, ready, "completed").await;
    assert_eq!(refuse(ready, 1).await, (409, "JOB_STATE".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn discarded_jobs_are_listed_retried_by_kind_and_removed_for_good() {
    let host = host().await;
    let sql = host.sql().await;
    let mut dead = Vec::new();
    for queue in ["default", "talk"] {
        dead.push(
            enqueue(
                &host,
                "fixture-caller.fail",
                json!("never"),
                json!({"queue": queue}),
            )
            .await,
        );
    }
    let big = json!({"text": "x".repeat(5_000)});
    let odd = enqueue(
        &host,
        "fixture-caller.fail",
        big,
        json!({"attempts_max": 1}),
    )
    .await;
    for id in dead.iter().chain([&odd]) {
        until(&host, *id, "discarded").await;
    }
    let listed = host.get("/v1/jobs/dead?queue=talk").operator().send().await;
    let listed = listed.expect_status(200).data();
    assert_eq!(listed["jobs"][0]["id"], dead[1]);
    assert_eq!(listed["jobs"][0]["error_code"], "JOB_DISCARD");

    // They fail again, and are not taken again by the same request.
    let retried = post(&host, "/v1/jobs/dead/retry", json!({"queue": "talk"})).await;
    assert_eq!(retried, json!({"retried": 1, "is_partial": false}));
    let retried = post(
        &host,
        "/v1/jobs/dead/retry",
        json!({"kind": "nobody.knows"}),
    )
    .await;
    assert_eq!(retried["retried"], 0);
    until_count(&sql, "select count(*) from jobs.dead", 3).await;
    let retried = post(
        &host,
        "/v1/jobs/dead/retry",
        json!({"kind": "fixture-caller.fail"}),
    )
    .await;
    assert_eq!(retried["retried"], 3);
    until_count(&sql, "select count(*) from jobs.dead", 3).await;

    let remove = async |id: i64| {
        let path = format!("/v1/jobs/dead/{id}");
        let answer = host.delete(&path).operator().send().await;
        (answer.status, answer.text())
    };
    assert_eq!(remove(odd).await.0, 204);
    assert_eq!(count(&sql, "select count(*) from jobs.payloads").await, 0);
    assert!(remove(odd).await.1.contains("JOB_NOT_FOUND"));
    let later = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    assert!(remove(later).await.1.contains("JOB_STATE"));
    host.stop().await;
}

#[tokio::test]
async fn what_an_operator_does_to_a_job_is_audited() {
    let host = host().await;
    let sql = host.sql().await;
    let id = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    post(
        &host,
        &format!("/v1/jobs/{id}/priority"),
        json!({"priority": 1}),
    )
    .await;
    let answer = host
        .post(&format!("/v1/jobs/{id}/cancel"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let again = host
        .post(&format!("/v1/jobs/{id}/cancel"))
        .operator()
        .send()
        .await;
    assert_eq!(again.code(), "JOB_STATE");
    eventually("the audit log", async || {
        (audited(&sql).await == ["jobs.job_reprioritised", "jobs.job_cancelled"]).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn limits_are_set_and_taken_away_by_themselves_and_the_queue_keeps_its_workers() {
    let host = host().await;
    let sql = host.sql().await;
    put(&host, "/v1/jobs/queues/letters", &json!({"worker": "pull"})).await;
    let path = "/v1/jobs/queues/letters/limits";
    let limits = json!({"running_max": 4, "rate": "30/minute", "burst": 2, "by": "key"});
    put(&host, path, &limits).await;
    let shown = host.get("/v1/jobs/queues/letters").operator().send().await;
    let shown = shown.expect_status(200).data();
    assert_eq!(
        (&shown["worker"], &shown["running_max"], &shown["rate"]),
        (
            &json!("pull"),
            &json!(4),
            &json!({"per_second": 0.5, "burst": 2, "by": "key"})
        )
    );
    let removed = host.delete(path).operator().send().await;
    let removed = removed.expect_status(200).data();
    assert_eq!(
        (
            &removed["worker"],
            &removed["running_max"],
            &removed["rate"]
        ),
        (&json!("pull"), &Value::Null, &Value::Null)
    );
    assert_eq!(audited(&sql).await, ["jobs.queue_limited"; 3]);
    for rate in ["fast", "3/fortnight", "0/second", "-1/minute", "inf/hour"] {
        let body = json!({"rate": rate});
        let answer = host.put(path).operator().json(&body).send().await;
        assert_eq!(answer.code(), "JOB_OPTION", "{rate}");
    }
    let nobody = "/v1/jobs/queues/nobody/limits";
    for answer in [
        host.put(nobody).operator().json(&json!({})).send().await,
        host.delete(nobody).operator().send().await,
    ] {
        assert_eq!(answer.code(), "JOB_QUEUE_NOT_FOUND");
    }
    host.stop().await;
}
