//! Event triggers of Hasura, posted as its documentation has them.

use std::collections::HashSet;

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::stage::{builder, count, job, until};

const PATH: &str = "/v1/jobs/hasura/fixture-caller.tell";
const FAMILY: &str = "01900000-0002-7000-8000-000000000100";

/// A row that was inserted.
fn inserted(id: &str) -> Value {
    json!({
        "created_at": "2026-01-02T07:14:21.601701Z",
        "id": id,
        "table": {"schema": "public", "name": "posts"},
        "trigger": {"name": "post_written"},
        "event": {
            "session_variables": {"x-hasura-role": "OWNER", "x-hasura-family-id": FAMILY},
            "op": "INSERT",
            "data": {"old": null, "new": {"id": "42", "family_id": FAMILY, "title": "Eid"}},
            "trace_context": {"trace_id": "1f2b2ad5e5c0d3c1", "span_id": "7d8a"},
        },
        "delivery_info": {"max_retries": 3, "current_retry": 0},
    })
}

async fn post(host: &TestHost, path: &str, event: &Value) -> (u16, Value) {
    let request = host.post(path).token(TestHost::SERVICE_KEY);
    let answer = request.json(event).send().await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn an_event_becomes_a_job_with_the_event_as_its_input() {
    let host = builder().start().await;
    let event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
    let (status, answer) = post(&host, PATH, &event).await;
    assert_eq!(
        (status, &answer["data"]["status"]),
        (200, &json!("enqueued")),
        "{answer}"
    );
    let id = answer["data"]["id"].as_i64().expect("an id");
    let done = until(&host, id, "completed").await;
    assert_eq!(done["kind"], "fixture-caller.tell");
    assert_eq!(done["family_id"], FAMILY);
    host.stop().await;
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_no_other_job_not_even_when_the_first_is_done() {
    let host = builder().start().await;
    let mut event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
    let (_, first) = post(&host, PATH, &event).await;
    let id = first["data"]["id"].as_i64().expect("an id");
    until(&host, id, "completed").await;
    event["delivery_info"] = json!({"max_retries": 3, "current_retry": 1});
    let (status, again) = post(&host, PATH, &event).await;
    assert_eq!(
        (status, &again["data"]),
        (200, &json!({"id": id, "status": "exists"})),
        "{again}"
    );
    // Another event is another job, and so is the same one for work of another kind.
    let (_, other) = post(
        &host,
        PATH,
        &inserted("0e6b4d3c-0000-4000-8000-000000000001"),
    )
    .await;
    assert_eq!(other["data"]["status"], "enqueued");
    let path = "/v1/jobs/hasura/fixture-caller.nothing";
    let (_, elsewhere) = post(&host, path, &event).await;
    assert_eq!(elsewhere["data"]["status"], "enqueued");
    host.stop().await;
}

#[tokio::test]
async fn many_deliveries_of_one_event_at_a_time_are_one_job() {
    let host = builder().start().await;
    let event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
    let path = "/v1/jobs/hasura/nobody.works-it";
    let posts = (0..16).map(|_| post(&host, path, &event));
    let answers = nself_plugin_api::futures_util::future::join_all(posts).await;
    let new = answers.iter().filter(|(status, answer)| {
        assert_eq!(*status, 200, "{answer}");
        answer["data"]["status"] == "enqueued"
    });
    assert_eq!(new.count(), 1, "{answers:?}");
    let ids: HashSet<i64> = answers
        .iter()
        .filter_map(|(_, answer)| answer["data"]["id"].as_i64())
        .collect();
    assert_eq!(ids.len(), 1, "all of them speak of one job: {answers:?}");
    host.stop().await;
}

#[tokio::test]
async fn the_input_is_what_happened_and_not_how_it_was_delivered() {
    let host = builder().start().await;
    let mut event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
    let path = "/v1/jobs/hasura/nobody.works-it";
    let (_, answer) = post(&host, path, &event).await;
    let id = answer["data"]["id"].as_i64().expect("an id");
    event
        .as_object_mut()
        .expect("an object")
        .remove("delivery_info");
    assert_eq!(job(&host, id).await["payload"], event);
    host.stop().await;
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_400_and_makes_no_job() {
    let host = builder().start().await;
    let with = |change: fn(&mut Value)| {
        let mut event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
        change(&mut event);
        event
    };
    let path = "/v1/jobs/hasura/nobody.works-it";
    for (event, told) in [
        (json!({}), "missing field `id`"),
        (json!([]), "this is no event of Hasura"),
        (
            with(|event| event["id"] = json!("")),
            "id: expected 1 to 100 characters",
        ),
        (
            with(|event| event["id"] = json!(7)),
            "invalid type: integer",
        ),
        (
            with(|event| event["event"]["op"] = json!("TRUNCATE")),
            "unknown variant `TRUNCATE`",
        ),
        (
            with(|event| event["event"]["data"]["new"] = json!(null)),
            "event.data: the row that its op speaks of",
        ),
        (
            with(|event| event["event"]["op"] = json!("DELETE")),
            "event.data: the row that its op speaks of",
        ),
        (
            with(|event| event["trigger"] = json!("post_written")),
            "expected struct Named",
        ),
    ] {
        let (status, answer) = post(&host, path, &event).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("JOB_HASURA_EVENT")),
            "{event}: {answer}"
        );
        let text = answer["error"].as_str().expect("a sentence");
        assert!(text.contains(told), "{event}: {text}");
    }
    let cut = host
        .post(path)
        .token(TestHost::SERVICE_KEY)
        .body("{\"id\": ")
        .send()
        .await;
    assert_eq!(
        (cut.status, cut.code()),
        (400, "JOB_HASURA_EVENT".to_owned())
    );
    let sql = host.sql().await;
    assert_eq!(count(&sql, "select count(*) from jobs.uniques").await, 0);
    // A kind that none can be is the caller's mistake too, in the words of enqueueing.
    let (status, answer) = post(&host, "/v1/jobs/hasura/NOT%20A%20KIND", &with(|_| {})).await;
    assert_eq!(
        (status, &answer["code"]),
        (422, &json!("JOB_OPTION")),
        "{answer}"
    );
    host.stop().await;
}

#[tokio::test]
async fn rows_that_change_or_go_and_events_by_hand_are_jobs_too() {
    let host = builder().start().await;
    let path = "/v1/jobs/hasura/nobody.works-it";
    let row = json!({"id": 1});
    for (id, op, data) in [
        ("1", "UPDATE", json!({"old": row, "new": row})),
        ("2", "DELETE", json!({"old": row, "new": null})),
        ("3", "MANUAL", json!({"old": null, "new": row})),
    ] {
        let mut event = inserted(id);
        event["event"] = json!({"op": op, "data": data, "session_variables": null});
        let (status, answer) = post(&host, path, &event).await;
        assert_eq!(
            (status, &answer["data"]["status"]),
            (200, &json!("enqueued")),
            "{op}: {answer}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn nobody_without_the_key_of_hasura_makes_jobs_of_events() {
    let host = builder().start().await;
    let event = inserted("85558393-c75d-4d2f-9c15-e80591b83894");
    let nobody = host.post(PATH).json(&event).send().await;
    assert_eq!(nobody.status, 401);
    let wrong = host
        .post(PATH)
        .token("nsk_somebody_elses")
        .json(&event)
        .send()
        .await;
    assert_eq!(wrong.status, 401);
    let sql = host.sql().await;
    assert_eq!(count(&sql, "select count(*) from jobs.uniques").await, 0);
    host.stop().await;
}
