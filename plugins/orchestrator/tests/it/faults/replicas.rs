//! Two hosts on one database, of which one dies.

use nself_plugin_api::futures_util::future::join_all;
use nself_plugin_testkit::eventually;
use serde_json::json;

use crate::stage::{builder, count, definition, put, send, start, until, until_count};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_had_in_its_hands_when_it_died_its_neighbour_takes_over() {
    let host = builder().start().await;
    let sql = host.sql().await;
    // Half of them wait for an event, half for their time; both hosts have some under way.
    let hear = "  - rest:\n      wait: {milliseconds: 400}\n  - hear:\n      listen: {to: {one: {with: {type: org.example.tea}}}}\n";
    put(&host, "hear", &definition("hear", "", hear)).await;
    let doomed = host.process_beside().start().await;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(start(&host, "hear", json!({}), 0).await["id"].clone());
    }
    let by_doomed = format!(
        "select count(*) from jobs.leases l join jobs.hosts h on h.id = l.host where h.name like '% process {}'",
        doomed.pid()
    );
    // It may have none when all are done by the other one; then it dies with empty hands.
    let waiting = "select count(*) from orchestrator.needs where kind = 'event'";
    eventually("it has something in its hands", async || {
        let is_over = count(&sql, &by_doomed).await > 0 || count(&sql, waiting).await == 20;
        is_over.then_some(())
    })
    .await;
    doomed.kill().await;
    until_count(&sql, waiting, 20).await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/kitchen", "type": "org.example.tea", "data": {"cup": 1}});
    send(&host, &event).await.expect_status(200).data();
    for run in &runs {
        let ended = until(&host, run, "completed").await;
        assert_eq!(ended["output"], json!([{"cup": 1}]));
    }
    let taken = "select count(*) from orchestrator.deliveries";
    assert_eq!(count(&sql, taken).await, 20, "each has it once");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_comes_to_two_hosts_at_the_same_time_is_taken_once() {
    let host = builder().start().await;
    let other = host.beside().start().await;
    let sql = host.sql().await;
    // It hears two events before it ends: one that were taken twice would be its end.
    let hear = "  - hear:\n      listen:\n        to: {any: [{with: {type: org.example.tea}}], until: '(. | length) >= 2'}\n";
    put(&host, "two", &definition("two", "", hear)).await;
    let run = start(&host, "two", json!({}), 0).await["id"].clone();
    until(&host, &run, "waiting").await;
    let tea = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/kitchen", "type": "org.example.tea", "data": {"id": id}});
    let post = |id: &'static str, address| {
        host.post("/v1/events")
            .at(address)
            .operator()
            .header("content-type", "application/cloudevents+json")
            .body(tea(id).to_string())
            .send()
    };
    let answers = join_all((0..8).map(|n| {
        post(
            "1",
            if n % 2 == 0 {
                host.address()
            } else {
                other.address()
            },
        )
    }))
    .await;
    let new: u64 = answers
        .iter()
        .map(|answer| answer.data()["new"].as_u64().expect("a number"))
        .sum();
    assert_eq!(new, 1, "one of them is new");
    let left =
        "select count(*) from jobs.jobs where kind = 'orchestrator.event' and state <> 'completed'";
    until_count(&sql, left, 0).await;
    assert_eq!(crate::stage::run(&host, &run).await["status"], "waiting");
    post("2", host.address()).await.expect_status(200).data();
    let ended = until(&host, &run, "completed").await;
    assert_eq!(ended["output"], json!([{"id": "1"}, {"id": "2"}]));
    other.stop().await;
    host.stop().await;
}
