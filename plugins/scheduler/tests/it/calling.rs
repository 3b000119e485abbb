//! Schedules that call capabilities of other plugins, and those that only operators make.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{act, builder, count, create, make_due, show, until_count, until_outcomes};

/// A host with a plugin that sends mails.
async fn host(more: &str) -> TestHost {
    builder()
        .plugin("nself-plugin-mail")
        .config(&format!("{more}\n[plugins.mail.listen]\n1025 = 0"))
        .start()
        .await
}

fn letter(to: &str) -> Value {
    let letter = json!({"to": to, "subject": "Bins", "text": "Put them out."});
    json!({"capability": {"id": "mail.send/1", "method": "send", "payload": letter, "options": {"attempts_max": 2}}})
}

/// The error of the one job that was given up.
async fn given_up(sql: &Client) -> Value {
    let error = "select error from jobs.dead where kind = 'scheduler.capability_call'";
    eventually("the job is given up", async || {
        let row = sql.query_opt(error, &[]).await.expect("it is asked");
        row.map(|row| row.get(0))
    })
    .await
}

#[tokio::test]
async fn a_schedule_calls_a_capability_that_the_operator_lets_it_call() {
    let host = host("[plugins.scheduler]\ncapabilities = [\"mail.send/1\"]").await;
    let sql = host.sql().await;
    create(
        &host,
        "bins",
        "0 0 1 1 *",
        letter("ada@example.org"),
        json!({}),
    )
    .await;
    make_due(&sql, "bins").await;
    until_outcomes(&sql, "bins", &["fired"]).await;
    let done = "select count(*) from jobs.finished where kind = 'scheduler.capability_call' and result ->> 'status' = 'queued'";
    until_count(&sql, done, 1).await;
    let sent = "select count(*) from mail.messages where subject = 'Bins'";
    assert_eq!(count(&sql, sent).await, 1);
    // A call that is wrong stays wrong.
    create(&host, "nobody", "0 0 1 1 *", letter("nobody"), json!({})).await;
    make_due(&sql, "nobody").await;
    assert_eq!(given_up(&sql).await["code"], "JOB_DISCARD");
    host.stop().await;
}

#[tokio::test]
async fn what_the_operator_does_not_name_is_not_called() {
    let host = host("").await;
    let sql = host.sql().await;
    create(
        &host,
        "bins",
        "0 0 1 1 *",
        letter("ada@example.org"),
        json!({}),
    )
    .await;
    make_due(&sql, "bins").await;
    let error = given_up(&sql).await;
    assert_eq!(
        error["message"],
        "mail.send/1 is not named in [plugins.scheduler] capabilities"
    );
    assert_eq!(count(&sql, "select count(*) from mail.messages").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn only_operators_let_a_schedule_make_archives_of_the_database() {
    let host = builder().start().await;
    let target = json!({"job": {"kind": "jobs.db_backup", "payload": {"keep": 7}}});
    let service = async |method: &str, path: &str, body: Value| {
        let request = host.request(method, path).token(TestHost::SERVICE_KEY);
        let answer = request.json(&body).send().await;
        (answer.status, answer.code())
    };
    let refused = (403, "SCHEDULE_RESERVED".to_owned());
    let chained = json!({"job": {
        "kind": "fixture-caller.nothing", "options": {"then": [{"kind": "jobs.db_backup", "payload": {"keep": 1}}]}
    }});
    for target in [&target, &chained] {
        let body = json!({"name": "mine", "spec": "* * * * * *", "target": target});
        assert_eq!(service("POST", "/v1/schedules", body).await, refused);
    }
    let harmless = json!({"name": "mine", "spec": "0 0 1 1 *", "target": {"job": {"kind": "fixture-caller.nothing"}}});
    assert_eq!(service("POST", "/v1/schedules", harmless).await.0, 201);
    let body = json!({"name": "mine", "spec": "* * * * * *", "target": target});
    assert_eq!(service("PUT", "/v1/schedules/mine", body).await, refused);

    // The operator's own: nobody else fires it out of turn.
    create(&host, "nightly", "0 0 1 1 *", target, json!({})).await;
    let run = service("POST", "/v1/schedules/nightly/run", json!({})).await;
    assert_eq!(run, refused);
    let window = json!({"from": "2020-01-01T00:00:00Z", "to": "2024-01-01T00:00:00Z"});
    let backfill = service("POST", "/v1/schedules/nightly/backfill", window).await;
    assert_eq!(backfill, refused);
    assert_eq!(show(&host, "nightly").await["fired_total"], 0);
    let sql = host.sql().await;
    let archives = "select count(*) from jobs.jobs where kind = 'jobs.db_backup'";
    assert_eq!(count(&sql, archives).await, 0);
    act(&host, "nightly", "run", json!({})).await;
    let made =
        "select count(*) from jobs.finished where kind = 'jobs.db_backup' and state = 'completed'";
    until_count(&sql, made, 1).await;
    host.stop().await;
}
