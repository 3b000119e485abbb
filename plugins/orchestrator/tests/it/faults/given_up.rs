//! Jobs that the jobs plugin gives up. None of them may leave its run standing still.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::stage::{count, definition, ended, host, put, start, until};

/// Discards the job of a sleeping run's timer, as the jobs plugin does, and tells of it.
async fn discard(host: &TestHost, run: &Value, code: &str) {
    let sql = host.sql().await;
    let run = run.as_str().expect("an id");
    let discard = format!(
        "with gone as (delete from jobs.later l where l.payload ->> 'instance' = '{run}' returning l.*) \
         insert into jobs.dead (id, queue, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload, error) \
         select g.id, g.queue, g.priority, 3, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta, g.payload, \
             jsonb_build_object('code', '{code}') from gone g returning id"
    );
    let id: i64 = sql.query_one(&discard, &[]).await.expect("a job").get(0);
    let tell = "select nself.emit_event('jobs.job_discarded', $1::bigint::text, jsonb_build_object('id', $1::bigint, 'kind', 'orchestrator.timer'))";
    let told = host.sql_as("jobs").await.query(tell, &[&id]).await;
    told.expect("the event is told");
}

#[tokio::test]
async fn a_run_goes_on_when_hosts_died_of_its_job_and_ends_when_its_job_is_lost_for_good() {
    let host = host().await;
    let tasks = "  - rest:\n      wait: {days: 1}\n  - done:\n      set: {done: true}\n";
    put(&host, "rest", &definition("rest", "", tasks)).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = start(&host, "rest", json!({}), 0).await["id"].clone();
        until(&host, &run, "waiting").await;
        runs.push(run);
    }
    discard(&host, &runs[0], "JOB_KILLS_HOST").await;
    let went_on = ended(&host, &runs[0]).await;
    assert_eq!(went_on["output"], json!({"done": true}), "{went_on}");

    discard(&host, &runs[1], "JOB_TIMEOUT").await;
    let lost = ended(&host, &runs[1]).await;
    assert_eq!(
        (&lost["status"], &lost["error"]["instance"]),
        (&json!("faulted"), &json!("/do/0/rest")),
        "{lost}"
    );
    assert!(lost["error"].to_string().contains("JOB_TIMEOUT"), "{lost}");
    let sql = host.sql().await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.needs").await,
        0
    );
    host.stop().await;
}
