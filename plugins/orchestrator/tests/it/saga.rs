//! The saga of the README, as it stands there.

use serde_json::{Value, json};

use crate::{
    stage::{builder, history, put, start, until},
    stub::{Asked, Reply, Stub},
};

const README: &str = include_str!("../../README.md");
const HOTEL: &str = "https://hotel.example";
const BANK: &str = "https://bank.example";

/// The page's tasks, its servers mapped to one that is there.
fn saga(server: &Stub) -> String {
    let (_, section) = README
        .split_once("## Undoing what was done")
        .expect("the page tells of sagas");
    let block = section
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let (tasks, _) = block.expect("the section has an example");
    assert!(tasks.contains(HOTEL) && tasks.contains(BANK), "{tasks}");
    let here = |name: &str| format!("http://{}/{name}", server.address);
    let tasks = tasks
        .replace(HOTEL, &here("hotel"))
        .replace(BANK, &here("bank"));
    format!("document: {{dsl: '1.0.0', namespace: test, name: saga, version: '1.0.0'}}\n{tasks}")
}

/// A hotel that has a room when the path says so, and a bank that takes money or answers with another status.
async fn world(hotel: u16, bank: u16) -> Stub {
    Stub::open(move |asked: &Asked, _| match asked.line().as_str() {
        "POST /hotel/bookings" => Reply::json(hotel, &json!({"id": "room 7"})),
        "DELETE /hotel/bookings/room%207" => Reply::json(200, &json!({"free": true})),
        "POST /bank/payments" => Reply::json(bank, &json!({"paid": true})),
        line => panic!("nobody asks for {line}"),
    })
    .await
}

/// Runs it to its end: the run, and what was asked for, each with its key.
async fn ran(server: &Stub, status: &str) -> (Value, Vec<(String, String)>) {
    let host = builder().config(&server.egress()).start().await;
    put(&host, "saga", &saga(server)).await;
    let started = start(&host, "saga", json!({}), 25).await;
    let run = until(&host, &started["id"], status).await;
    let rows = history(&host, &run["id"]).await;
    let retried = rows.iter().filter(|row| row["status"] == "retried");
    assert_eq!(retried.count(), 0, "{rows:?}");
    host.stop().await;
    let asked = server.asked();
    let keys = asked
        .iter()
        .map(|one| (one.line(), one.header("idempotency-key").to_owned()));
    (run, keys.collect())
}

fn lines(asked: &[(String, String)]) -> Vec<&str> {
    asked.iter().map(|(line, _)| line.as_str()).collect()
}

#[tokio::test]
async fn what_was_booked_is_unbooked_when_the_payment_fails() {
    let server = world(201, 402).await;
    let (run, asked) = ran(&server, "faulted").await;
    let undone = [
        "POST /hotel/bookings",
        "POST /bank/payments",
        "DELETE /hotel/bookings/room%207",
    ];
    assert_eq!(lines(&asked), undone, "{run}");
    let error = &run["error"];
    assert_eq!(
        (&error["type"], &error["status"]),
        (&json!("https://trips.example/undone"), &json!(409)),
        "{run}"
    );
    let mut keys: Vec<&String> = asked.iter().map(|(_, key)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "each has a key of its own: {asked:?}");
    assert!(keys.iter().all(|key| !key.is_empty()));
}

#[tokio::test]
async fn what_was_not_booked_is_not_unbooked() {
    let server = world(503, 200).await;
    let (run, asked) = ran(&server, "faulted").await;
    assert_eq!(lines(&asked), ["POST /hotel/bookings"], "{run}");
    assert_eq!(run["error"]["status"], 409, "{run}");
}

#[tokio::test]
async fn nothing_is_undone_when_all_goes_well() {
    let server = world(201, 200).await;
    let (run, asked) = ran(&server, "completed").await;
    assert_eq!(
        lines(&asked),
        ["POST /hotel/bookings", "POST /bank/payments"],
        "{run}"
    );
    assert_eq!(run["output"], json!({"paid": true}));
}
