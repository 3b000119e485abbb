//! What is told of jobs: lines and progress by their handlers, and how they end by events.

use nself_plugin_api::bytes::Bytes;
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{count, enqueue, host, job, until};

async fn sql(host: &TestHost, statement: &str) {
    let sql = host.sql().await;
    sql.execute(statement, &[]).await.expect("it runs");
}

/// Calls `jobs.queue/1` as another plugin does.
async fn call(host: &TestHost, method: &str, payload: Value) -> Result<Value, String> {
    let running = host.running("jobs").await;
    let payload = Bytes::from(payload.to_string());
    let answer = running
        .instance()
        .call(0, method.into(), payload.into())
        .await;
    match answer {
        Ok(answer) => {
            let answer: Bytes = answer.into();
            Ok(serde_json::from_slice(&answer).expect("JSON"))
        }
        Err(refusal) => Err(refusal.code.to_text()),
    }
}

#[tokio::test]
async fn a_job_shows_what_its_handler_wrote_down_and_how_far_it_is() {
    let host = host().await;
    let id = enqueue(&host, "fixture-caller.wait", json!("word"), json!({})).await;
    until(&host, id, "running").await;
    for n in 0..120 {
        let line = json!({"id": id, "level": "warn", "message": format!("step {n}")});
        call(&host, "log", line).await.expect("it is written");
    }
    for done in [10, 50] {
        let progress = json!({"id": id, "progress": {"percent": done}});
        call(&host, "progress", progress)
            .await
            .expect("it is written");
    }
    let shown = job(&host, id).await;
    assert_eq!(shown["progress"], json!({"percent": 50}));
    let logs = shown["logs"].as_array().expect("lines");
    let ends = (
        &logs[0]["message"],
        &logs[99]["message"],
        &logs[99]["level"],
    );
    assert_eq!(
        (logs.len(), ends),
        (100, (&json!("step 20"), &json!("step 119"), &json!("warn")))
    );
    let too_long = json!({"id": id, "progress": "x".repeat(2_000_000)});
    let refused = call(&host, "progress", too_long).await;
    assert!(refused.is_err_and(|text| text.contains("JOB_OPTION")));
    sql(&host, "select fixture.keep('word')").await;
    until(&host, id, "completed").await;
    host.stop().await;
}

#[tokio::test]
async fn another_plugin_makes_batches_and_looks_at_queues() {
    let host = host().await;
    let batch = call(&host, "batch_open", json!({"name": "x"}))
        .await
        .expect("a batch");
    let which = json!({"id": batch["id"]});
    let job =
        json!({"kind": "fixture-caller.tell", "options": {"batch": batch["id"], "delay": 3600}});
    call(&host, "enqueue", job).await.expect("it is enqueued");
    let shown = call(&host, "batch_show", which.clone())
        .await
        .expect("a batch");
    assert_eq!(shown["pending"], 1);
    let ended = call(&host, "batch_cancel", which.clone())
        .await
        .expect("a batch");
    assert_eq!(
        (&ended["pending"], &ended["failed"]),
        (&json!(0), &json!(1))
    );
    let sealed = call(&host, "batch_seal", which).await.expect("a batch");
    assert_eq!(sealed["is_sealed"], true);
    let queues = call(&host, "queues", json!({})).await.expect("queues");
    assert!(
        queues
            .as_array()
            .is_some_and(|queues| queues.iter().any(|queue| queue["name"] == "default"))
    );
    let unknown = call(&host, "dance", json!({})).await;
    assert!(unknown.is_err_and(|text| text.contains("JOB_METHOD")));
    host.stop().await;
}

/// What the fixture, which subscribes to `jobs.*`, has heard of a job.
async fn heard(host: &TestHost, id: i64) -> Value {
    let sql = host.sql().await;
    eventually(&format!("an event of job {id}"), async || {
        let query = "select jsonb_build_object('type', type, 'data', data, 'family_id', family_id) from fixture.heard \
            where (data ->> 'id')::bigint = $1";
        let rows = sql.query(query, &[&id]).await.expect("what was heard");
        assert!(rows.len() < 2, "once for each job");
        rows.first().map(|row| row.get::<_, Value>(0))
    })
    .await
}

#[tokio::test]
async fn a_subscriber_hears_of_discarded_and_cancelled_jobs_and_of_completed_ones_that_ask_for_it()
{
    let host = host().await;
    let sql = host.sql().await;
    let family = uuid::Uuid::now_v7();
    let options = json!({"tags": ["red"], "family_id": family});
    let dead = enqueue(&host, "fixture-caller.fail", json!("never"), options).await;
    let gone = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 3600}),
    )
    .await;
    let cancelled = host.post(&format!("/v1/jobs/{gone}/cancel")).operator();
    assert_eq!(cancelled.send().await.status, 200);
    let silent = enqueue(&host, "fixture-caller.tell", json!({}), json!({})).await;
    until(&host, silent, "completed").await;
    let told = enqueue(
        &host,
        "fixture-caller.add",
        json!({"a": 1, "b": 2}),
        json!({"announce": true}),
    )
    .await;

    let event = heard(&host, dead).await;
    assert_eq!(
        (
            &event["type"],
            &event["family_id"],
            &event["data"]["error"]["code"],
            &event["data"]["tags"]
        ),
        (
            &json!("jobs.job_discarded"),
            &json!(family),
            &json!("JOB_DISCARD"),
            &json!(["red"])
        )
    );
    assert_eq!(heard(&host, gone).await["type"], "jobs.job_cancelled");
    let event = heard(&host, told).await;
    assert_eq!(
        (&event["type"], &event["data"]["result"]),
        (&json!("jobs.job_completed"), &json!({"sum": 3}))
    );
    let all = "select count(*) from nself.events where type like 'jobs.%'";
    assert_eq!(
        count(&sql, all).await,
        3,
        "a plain job that completes is no event"
    );
    host.stop().await;
}
