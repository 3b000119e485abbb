//! Events reach a run in the order in which they came, whatever becomes of the jobs that bring them.

use std::net::SocketAddr;

use nself_plugin_api::futures_util::future::join;
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{act, builder, count, definition, host, put, run, start, until, until_count};

/// Hears numbers until the end of them comes.
const HEAR: &str = "  - hear:\n      listen: {to: {any: [{with: {type: number}}], until: {one: {with: {type: end}}}}}\n";
/// The same with a list of tasks for each.
const EACH: &str = "  - hear:\n      listen: {to: {any: [{with: {type: number}}], until: {one: {with: {type: end}}}}}\n      foreach: {item: number, do: [{note: {set: {number: '${ $number }'}}}]}\n      output: {as: '[.[].number]'}\n";

fn event(id: &str, kind: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": kind, "data": data})
}

fn number(number: usize) -> Value {
    event(&number.to_string(), "number", &json!(number))
}

fn the_end() -> Value {
    event("end", "end", &json!(null))
}

async fn send(host: &TestHost, at: SocketAddr, event: &Value) {
    let request = host.post("/v1/events").at(at).operator();
    let request = request.header("content-type", "application/cloudevents+json");
    let answer = request.body(event.to_string()).send().await;
    assert_eq!(answer.expect_status(200).data()["new"], 1);
}

/// Starts a run of these tasks that listens.
async fn listen(host: &TestHost, name: &str, tasks: &str) -> Value {
    put(host, name, &definition(name, "", tasks)).await;
    let id = start(host, name, json!({}), 0).await["id"].clone();
    until(host, &id, "waiting").await;
    id
}

async fn heard(host: &TestHost, id: &Value) -> Vec<Value> {
    let ended = until(host, id, "completed").await;
    ended["output"].as_array().expect("a list").clone()
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<Value> {
    range.map(|number| json!(number)).collect()
}

/// How often runs have taken an event.
const TAKEN: &str = "select count(*) from orchestrator.deliveries";

/// Brings an event onto the log; the job that hands it over is somebody else's matter.
async fn log(sql: &Client, event: &Value) {
    sql.execute(
        "insert into orchestrator.events (source, event_id, type, is_trusted, event) values ('/test', $1, $2, true, $3)",
        &[&event["id"].as_str(), &event["type"].as_str(), event],
    )
    .await
    .expect("it is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_events_back_to_back_are_heard_in_their_order_by_all_who_listen() {
    let host = host().await;
    let mut runs = Vec::new();
    for (name, tasks) in [("hear", HEAR), ("each", EACH), ("hear-too", HEAR)] {
        runs.push(listen(&host, name, tasks).await);
    }
    for n in 1..=50 {
        send(&host, host.address(), &number(n)).await;
    }
    send(&host, host.address(), &the_end()).await;
    for id in &runs {
        assert_eq!(heard(&host, id).await, numbers(1..=50), "{id}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_sender_sends_to_two_hosts_in_turns_is_heard_in_its_order() {
    let host = builder().start().await;
    let other = host.beside().start().await;
    let id = listen(&host, "hear", HEAR).await;
    for n in 1..=50 {
        let at = [host.address(), other.address()][n % 2];
        send(&host, at, &number(n)).await;
    }
    send(&host, other.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, numbers(1..=50));
    other.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_send_at_the_same_time_each_is_heard_in_the_order_of_its_own() {
    let host = builder().start().await;
    let other = host.beside().start().await;
    let id = listen(&host, "each", EACH).await;
    let sends = async |at: SocketAddr, from: usize| {
        for n in from..from + 40 {
            send(&host, at, &number(n)).await;
        }
    };
    join(sends(host.address(), 100), sends(other.address(), 200)).await;
    send(&host, host.address(), &the_end()).await;
    let heard = heard(&host, &id).await;
    assert_eq!(heard.len(), 80);
    for from in [100_u64, 200] {
        let own = heard.iter().filter_map(Value::as_u64);
        let own: Vec<u64> = own.filter(|n| (from..from + 100).contains(n)).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
    other.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_with_events_in_its_hands_does_not_change_their_order() {
    let host = builder().start().await;
    let id = listen(&host, "hear", HEAR).await;
    let doomed = host.process_beside().start().await;
    for n in 1..=40 {
        send(&host, host.address(), &number(n)).await;
    }
    doomed.kill().await;
    for n in 41..=50 {
        send(&host, host.address(), &number(n)).await;
    }
    send(&host, host.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, numbers(1..=50));
    host.stop().await;
}

#[tokio::test]
async fn an_event_whose_job_is_late_is_heard_before_the_next_one() {
    let host = host().await;
    let sql = host.sql().await;
    let id = listen(&host, "hear", HEAR).await;
    // Its job may be with a host that died, or wait to be tried again.
    log(&sql, &number(1)).await;
    send(&host, host.address(), &number(2)).await;
    until_count(&sql, TAKEN, 2).await;
    send(&host, host.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, numbers(1..=2));
    host.stop().await;
}

#[tokio::test]
async fn an_event_that_is_committed_after_one_with_a_higher_number_is_not_lost() {
    let host = host().await;
    let (sql, slow) = (host.sql().await, host.sql().await);
    let id = listen(&host, "hear", HEAR).await;
    slow.batch_execute("begin").await.expect("it begins");
    log(&slow, &number(1)).await;
    send(&host, host.address(), &number(2)).await;
    until_count(&sql, TAKEN, 1).await;
    let hand_over = "select jobs.enqueue('orchestrator.event', jsonb_build_object('event', e.id)) from orchestrator.events e where e.event_id = '1'";
    slow.batch_execute(hand_over).await.expect("it has a job");
    slow.batch_execute("commit").await.expect("it is there");
    until_count(&sql, TAKEN, 2).await;
    send(&host, host.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, [json!(2), json!(1)]);
    host.stop().await;
}

#[tokio::test]
async fn what_comes_while_a_run_is_suspended_is_heard_in_its_order_when_it_goes_on() {
    let host = host().await;
    let sql = host.sql().await;
    let id = listen(&host, "hear", HEAR).await;
    act(&host, &id, "suspend").await.expect_status(200).data();
    for n in 1..=20 {
        send(&host, host.address(), &number(n)).await;
    }
    let under_way = "select count(*) from jobs.jobs where kind = 'orchestrator.event' and state in ('available', 'running', 'retryable')";
    until_count(&sql, under_way, 0).await;
    assert_eq!(count(&sql, TAKEN).await, 0);
    act(&host, &id, "resume").await.expect_status(200).data();
    send(&host, host.address(), &number(21)).await;
    send(&host, host.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, numbers(1..=21));
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_comes_to_listen_late_hears_all_that_came_and_what_comes_then_after_it() {
    let host = host().await;
    // More than are shown to a run in one transaction.
    let tasks = format!("  - go:\n      listen: {{to: {{one: {{with: {{type: go}}}}}}}}\n{HEAR}");
    let id = listen(&host, "late", &tasks).await;
    let batch: Vec<Value> = (1..=450).map(number).collect();
    let request = host.post("/v1/events").operator();
    let request = request.header("content-type", "application/cloudevents-batch+json");
    let sent = request.body(json!(batch).to_string()).send().await;
    assert_eq!(sent.data()["new"], 450);
    send(&host, host.address(), &event("go", "go", &json!(null))).await;
    for n in 451..=460 {
        send(&host, host.address(), &number(n)).await;
    }
    send(&host, host.address(), &the_end()).await;
    assert_eq!(heard(&host, &id).await, numbers(1..=460));
    host.stop().await;
}

#[tokio::test]
async fn an_event_that_one_task_has_taken_is_not_given_to_the_next_one_that_listens() {
    let host = host().await;
    let sql = host.sql().await;
    let one = "listen: {to: {one: {with: {type: number}}}}";
    let tasks = format!("  - first:\n      {one}\n  - second:\n      {one}\n");
    let id = listen(&host, "two", &tasks).await;
    send(&host, host.address(), &number(1)).await;
    until_count(&sql, TAKEN, 1).await;
    // A job may be worked once more: its host died before it said that it was done.
    let again = "select jobs.enqueue('orchestrator.event', jsonb_build_object('event', e.id)) from orchestrator.events e";
    sql.batch_execute(again).await.expect("it is worked again");
    let under_way = "select count(*) from jobs.jobs where kind like 'orchestrator.%' and state in ('available', 'running', 'retryable')";
    until_count(&sql, under_way, 0).await;
    assert_eq!(run(&host, &id).await["status"], "waiting");
    send(&host, host.address(), &number(2)).await;
    assert_eq!(heard(&host, &id).await, numbers(2..=2));
    host.stop().await;
}
