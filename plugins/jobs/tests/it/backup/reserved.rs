//! Who may enqueue what acts on the whole of the operator's data.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use super::{builder, count};
use crate::stage::{submit, until_count};

/// Calls as a service with the scope `jobs` does.
async fn call(host: &TestHost, path: &str, body: &Value) -> (u16, String) {
    let answer = host.post(path).token(TestHost::SERVICE_KEY).json(body);
    let answer = answer.send().await;
    let code = if answer.status < 400 {
        String::new()
    } else {
        answer.code()
    };
    (answer.status, code)
}

#[tokio::test]
async fn a_service_enqueues_neither_backups_nor_pruning_at_no_door() {
    let host = builder().start().await;
    let refused = (403, "JOB_KIND_RESERVED".to_owned());
    let nothing = json!({"kind": "fixture-caller.nothing"});
    for kind in ["jobs.base_backup", "jobs.db_backup", "jobs.prune"] {
        let job = json!({"kind": kind, "payload": {}, "options": {"delay": 3600}});
        assert_eq!(call(&host, "/v1/jobs", &job).await, refused);
        let many = json!([nothing, job]);
        assert_eq!(call(&host, "/v1/jobs/batch", &many).await, refused);
        let chain = json!({"kind": "fixture-caller.nothing", "options": {"then": [nothing, job]}});
        assert_eq!(call(&host, "/v1/jobs", &chain).await, refused);
        assert_eq!(
            call(&host, "/v1/jobs/batch", &json!([chain])).await,
            refused
        );
        let deep = json!({"kind": "fixture-caller.nothing", "options": {"then": [chain]}});
        assert_eq!(call(&host, "/v1/jobs", &deep).await, refused);
        for then in [&job, &chain] {
            let batch = json!({"name": "all", "then": then});
            assert_eq!(call(&host, "/v1/jobs/batches", &batch).await, refused);
        }
    }
    assert_eq!(call(&host, "/v1/jobs", &nothing).await.0, 201);
    let sql = host.sql().await;
    let theirs = "select count(*) from jobs.jobs where kind like 'jobs.%'";
    assert_eq!(count(&sql, theirs).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn an_operator_and_sql_of_the_owner_enqueue_them() {
    let host = builder().start().await;
    let sql = host.sql().await;
    submit(&sql, "jobs.prune", json!({}), json!({})).await;
    let job = json!({"kind": "jobs.prune"});
    let chain = json!({"kind": "fixture-caller.nothing", "options": {"then": [job]}});
    for job in [job, chain] {
        let answer = host.post("/v1/jobs").operator().json(&job).send().await;
        assert_eq!(answer.status, 201);
    }
    let pruned = "select count(*) from jobs.finished where kind = 'jobs.prune'";
    until_count(&sql, pruned, 3).await;
    host.stop().await;
}
