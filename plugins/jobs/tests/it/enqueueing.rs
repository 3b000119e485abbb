//! How jobs come in.

use serde_json::json;

use crate::stage::{count, enqueue, host, job, submit, until};

#[tokio::test]
async fn a_job_exists_exactly_when_the_transaction_of_its_cause_commits() {
    let host = host().await;
    let mut sql = host.sql().await;
    let tx = sql.transaction().await.expect("a transaction");
    let sum = json!({"a": 1, "b": 2});
    let dropped: i64 = tx
        .query_one("select jobs.enqueue('fixture-caller.add', $1)", &[&sum])
        .await
        .expect("enqueued")
        .get(0);
    tx.rollback().await.expect("rolled back");
    let tx = sql.transaction().await.expect("a transaction");
    let kept: i64 = tx
        .query_one("select jobs.enqueue('fixture-caller.tell', $1)", &[&sum])
        .await
        .expect("enqueued")
        .get(0);
    tx.commit().await.expect("committed");
    until(&host, kept, "completed").await;
    let answer = host
        .get(&format!("/v1/jobs/{dropped}"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.code(), "JOB_NOT_FOUND");
    host.stop().await;
}

#[tokio::test]
async fn another_plugin_enqueues_in_its_own_transaction_and_reaches_nothing_else() {
    let host = host().await;
    let stranger = host.sql_as("fixture").await;
    let refused = stranger.query_one("select jobs.enqueue('a.b')", &[]).await;
    let refused = refused.expect_err("the fixture has not asked for it");
    assert_eq!(
        refused.code().map(|code| code.code().to_owned()),
        Some("42501".to_owned())
    );
    host.stop().await;
}

#[tokio::test]
async fn a_bad_option_is_refused_by_name_with_what_was_expected() {
    let host = host().await;
    for (options, told) in [
        (
            json!({"priorty": 1}),
            "option \"priorty\": expected one of queue, priority",
        ),
        (
            json!({"priority": 10}),
            "option \"priority\": expected an integer from 0 (first) to 9, found 10",
        ),
        (
            json!({"delay": "soon"}),
            "option \"delay\": expected seconds as a number or an interval",
        ),
        (json!({"delay": -1}), "option \"delay\": expected seconds"),
        (
            json!({"run_at": "tomorrow at tea"}),
            "option \"run_at\": expected a time",
        ),
        (
            json!({"family_id": "x"}),
            "option \"family_id\": expected a UUID",
        ),
        (
            json!({"queue": "Not A Name"}),
            "option \"queue\": expected the name of a queue",
        ),
        (
            json!({"retry": {"strategy": "hope"}}),
            "option \"retry.strategy\": expected",
        ),
        (
            json!({"retry": {"bas": 1}}),
            "option \"retry.bas\": expected",
        ),
        (
            json!({"unique": {"policy": "none"}}),
            "option \"unique.policy\": expected",
        ),
        (
            json!({"tags": "red"}),
            "option \"tags\": expected at most 20 texts",
        ),
        (
            json!({"batch": "x"}),
            "option \"batch\": expected the id of a batch",
        ),
        (json!([1]), "option \"options\": expected an object"),
    ] {
        let body = json!({"kind": "a.b", "options": options});
        let answer = host.post("/v1/jobs").operator().json(&body).send().await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "JOB_OPTION".to_owned()),
            "{options}"
        );
        let text = answer.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        assert!(text.starts_with(told), "{options}: {text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_payload_of_a_megabyte_is_worked_and_a_larger_one_than_a_job_may_have_is_refused() {
    let host = host().await;
    let megabyte = "x".repeat(1 << 20);
    let id = enqueue(
        &host,
        "fixture-caller.tell",
        json!({"text": megabyte}),
        json!({}),
    )
    .await;
    until(&host, id, "completed").await;
    let sql = host.sql().await;
    assert_eq!(
        count(&sql, "select count(*) from jobs.payloads").await,
        0,
        "it is gone with its job"
    );

    let body = json!({"kind": "a.b", "payload": {"text": "x".repeat(3 << 20)}});
    let answer = host.post("/v1/jobs").operator().json(&body).send().await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, "JOB_TOO_LARGE".to_owned())
    );
    host.stop().await;
}

#[tokio::test]
async fn text_that_the_database_cannot_store_is_refused_and_spoils_no_other_job() {
    let host = host().await;
    let bad = host
        .post("/v1/jobs")
        .operator()
        .json(&json!({"kind": "fixture-caller.nothing", "payload": {"text": "\u{0}"}}));
    let good = enqueue(&host, "fixture-caller.tell", json!({}), json!({}));
    let (bad, good) = tokio::join!(bad.send(), good);
    assert_eq!((bad.status, bad.code()), (422, "JOB_OPTION".to_owned()));
    until(&host, good, "completed").await;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let answer = host
        .post("/v1/jobs")
        .operator()
        .header("content-type", "application/json")
        .body(format!(r#"{{"kind": "a.b", "payload": {deep}}}"#))
        .send()
        .await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    host.stop().await;
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let host = host().await;
    let id = enqueue(
        &host,
        "fixture-caller.tell",
        json!({}),
        json!({"delay": 0.3}),
    )
    .await;
    assert_eq!(job(&host, id).await["state"], "scheduled");
    let done = until(&host, id, "completed").await;
    assert_eq!(done["result"]["attempt"], 1);
    host.stop().await;
}

#[tokio::test]
async fn of_unique_jobs_with_one_key_one_is_enqueued_until_it_has_ended() {
    let host = host().await;
    let sql = host.sql().await;
    let options = json!({"unique": "invoice-7", "delay": 3600});
    let first = submit(
        &sql,
        "fixture-caller.nothing",
        json!({"n": 1}),
        options.clone(),
    )
    .await;
    assert_eq!(
        submit(&sql, "fixture-caller.nothing", json!({"n": 2}), options).await,
        first
    );
    let merged = json!({"unique": {"key": "invoice-7", "policy": "merge"}, "delay": 3600});
    assert_eq!(
        submit(&sql, "fixture-caller.nothing", json!({"m": 3}), merged).await,
        first
    );
    assert_eq!(job(&host, first).await["payload"], json!({"n": 1, "m": 3}));
    let replaced = json!({"unique": {"key": "invoice-7", "policy": "replace"}, "delay": 3600});
    assert_eq!(
        submit(&sql, "fixture-caller.nothing", json!({"n": 4}), replaced).await,
        first
    );
    let answer = host
        .post(&format!("/v1/jobs/{first}/retry"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.status, 200);
    until(&host, first, "completed").await;
    let second = submit(
        &sql,
        "fixture-caller.nothing",
        json!({}),
        json!({"unique": "invoice-7"}),
    )
    .await;
    assert_ne!(second, first);
    until(&host, second, "completed").await;
    let window = json!({"unique": {"key": "daily", "window": "1 day"}});
    let once = submit(&sql, "fixture-caller.nothing", json!({}), window.clone()).await;
    until(&host, once, "completed").await;
    assert_eq!(
        submit(&sql, "fixture-caller.nothing", json!({}), window).await,
        once,
        "within the window"
    );
    host.stop().await;
}

#[tokio::test]
async fn one_of_many_transactions_at_once_gets_a_unique_key() {
    let host = host().await;
    let enqueue = async || {
        let sql = host.sql().await;
        submit(
            &sql,
            "fixture-caller.wait",
            json!("never"),
            json!({"unique": "one"}),
        )
        .await
    };
    let ids = [(); 8].map(|()| enqueue());
    let mut ids = nself_plugin_api::futures_util::future::join_all(ids).await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let answer = host
        .post(&format!("/v1/jobs/{}/cancel", ids[0]))
        .operator()
        .send()
        .await;
    assert_eq!(answer.status, 200);
    until(&host, ids[0], "cancelled").await;
    host.stop().await;
}
