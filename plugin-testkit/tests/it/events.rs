//! Events: emitted in a transaction, heard by a subscription.

use nself_plugin_api::uuid::Uuid;
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::started;

async fn heard(host: &TestHost, count: usize) -> Vec<(Uuid, Value)> {
    let sql = host.sql().await;
    eventually("the events", async || {
        let rows = sql
            .query(
                "select event_id, data from fixture.heard order by event_id",
                &[],
            )
            .await;
        let rows = rows.expect("what was heard can be read");
        let rows: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        (rows.len() >= count).then_some(rows)
    })
    .await
}

async fn emit(host: &TestHost, event: Value) -> Uuid {
    let emitted = host
        .post("/fixture/events")
        .json(&event)
        .send()
        .await
        .expect_status(201);
    emitted
        .data()
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an event has an id")
}

#[tokio::test]
async fn an_event_is_heard_exactly_when_its_transaction_commits() {
    let host = started().await;
    let family = Uuid::now_v7();
    let first = emit(&host, json!({"data": {"number": 1}, "family_id": family})).await;
    emit(&host, json!({"data": {"number": 2}, "roll_back": true})).await;
    let third = emit(&host, json!({"data": {"number": 3}})).await;
    let mut expected = [(first, json!({"number": 1})), (third, json!({"number": 3}))];
    // Ids of one millisecond are in no order.
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(heard(&host, 2).await, expected);
    let sql = host.sql().await;
    let whose = sql
        .query_one(
            "select family_id from fixture.heard where event_id = $1",
            &[&first],
        )
        .await;
    assert_eq!(
        whose.expect("it was heard").get::<_, Option<Uuid>>(0),
        Some(family)
    );
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_that_has_started_misses_nothing() {
    let host = started().await;
    let sql = host.sql().await;
    let cursor = sql
        .query_opt(
            "select from nself.event_cursors where subscriber like 'fixture/%'",
            &[],
        )
        .await;
    assert!(
        cursor.expect("cursors can be read").is_some(),
        "its reader may begin later, its place in the log is kept from the start"
    );
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn an_event_whose_handler_fails_comes_again() {
    let host = started().await;
    let id = emit(&host, json!({"data": {"fail": true}})).await;
    assert_eq!(heard(&host, 1).await[0].0, id);
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_emits_only_the_types_that_it_was_granted() {
    let host = started().await;
    let refused = host
        .post("/fixture/events")
        .json(&json!({"kind": "family.deleted"}))
        .send()
        .await;
    assert_eq!((refused.status, &*refused.code()), (500, "DATABASE_ERROR"));
    let sql = host.sql().await;
    let count = sql
        .query_one(
            "select count(*) from nself.events where type = 'family.deleted'",
            &[],
        )
        .await;
    assert_eq!(count.expect("events can be counted").get::<_, i64>(0), 0);
    drop(sql);
    host.stop().await;
}
