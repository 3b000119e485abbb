//! Schedules that the operator's files define, and Hasura's triggers.

use std::{fs, path::Path};

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::stage::{act, builder, create, make_due, show};

const TWO: &str = "- name: nightly\n  spec: \"30 2 * * *\"\n  zone: Europe/Berlin\n  target:\n    job: {kind: fixture-caller.nothing}\n\
                   - name: often\n  spec: \"@every 90s\"\n  target: {job: {kind: fixture-caller.nothing}}\n";

async fn host_with(key: &str, path: &Path, more: &str) -> TestHost {
    let config = format!(
        "[plugins.scheduler]\n{more}\n[plugins.scheduler.config]\n{key} = {:?}\n",
        path.display().to_string()
    );
    builder().config(&config).start().await
}

async fn apply(host: &TestHost, body: Value) -> Value {
    let answer = host
        .post("/v1/scheduler/apply")
        .operator()
        .json(&body)
        .send()
        .await;
    answer.expect_status(200).data()
}

#[tokio::test]
async fn files_are_applied_at_the_start_and_a_plan_says_what_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.yaml"), TWO).expect("it is written");
    let host = host_with("schedules_directory", directory.path(), "").await;
    assert_eq!(show(&host, "nightly").await["owner"], "file");
    assert_eq!(
        apply(&host, json!({})).await,
        json!({"added": [], "changed": [], "removed": [], "unchanged": 2})
    );

    let changed = TWO.replace("30 2", "45 2").replace("often", "seldom");
    fs::write(directory.path().join("a.yaml"), changed).expect("it is written");
    let plan =
        json!({"added": ["seldom"], "changed": ["nightly"], "removed": ["often"], "unchanged": 0});
    assert_eq!(apply(&host, json!({"dry_run": true})).await, plan);
    assert_eq!(show(&host, "often").await["state"], "active");
    assert_eq!(apply(&host, json!({})).await, plan);
    assert_eq!(show(&host, "nightly").await["spec"], "45 2 * * *");
    host.stop().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_named_with_line_and_field() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.yaml"), TWO).expect("it is written");
    let host = host_with("schedules_directory", directory.path(), "").await;
    for (text, words) in [
        (
            "- name: x\n  spec: '61 * * * *'\n  target: {job: {kind: a}}\n",
            "b.yaml:2: minute",
        ),
        (
            "- name: x\n  spec: '@daily'\n  moon: full\n  target: {}\n",
            "b.yaml:3:",
        ),
        (
            "- name: x\n  spec: '@daily'\n  target: {mail: {}}\n",
            "b.yaml:3: target",
        ),
        (
            "- name: nightly\n  spec: '@daily'\n  target: {job: {kind: a}}\n",
            "a.yaml:1 already",
        ),
        ("- name: [\n", "b.yaml:"),
    ] {
        fs::write(directory.path().join("b.yaml"), text).expect("it is written");
        fs::write(
            directory.path().join("a.yaml"),
            TWO.replace("often", "seldom"),
        )
        .expect("it is written");
        let answer = host
            .post("/v1/scheduler/apply")
            .operator()
            .json(&json!({}))
            .send()
            .await;
        assert_eq!(answer.code(), "SCHEDULE_FILE", "{text}");
        assert!(
            answer.text().contains(words),
            "{} lacks {words}",
            answer.text()
        );
    }
    assert_eq!(show(&host, "often").await["state"], "active");
    host.stop().await;
}

#[tokio::test]
async fn a_cron_trigger_of_hasura_is_delivered_in_its_form_and_tried_again() {
    let webhook = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = webhook.local_addr().expect("its address");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("cron_triggers.yaml");
    let text = format!(
        "- name: eod_reports\n  webhook: http://{address}/eod\n  schedule: 0 22 1 1 *\n  include_in_metadata: true\n  payload:\n    key: value\n  \
         headers:\n    - name: x-secret\n      value_from_env: PATH\n  retry_conf:\n    num_retries: 2\n    retry_interval_seconds: 0\n    \
         timeout_seconds: 20\n    tolerance_seconds: 3600\n  comment: end of day\n"
    );
    fs::write(&file, text).expect("it is written");
    let host = host_with(
        "hasura_cron_triggers",
        &file,
        &format!("egress = [\"{address}\"]"),
    )
    .await;
    let shown = show(&host, "eod_reports").await;
    assert_eq!(
        (&shown["owner"], &shown["missed_window_seconds"]),
        (&json!("hasura"), &json!(3_600))
    );
    make_due(&host.sql().await, "eod_reports").await;
    let (_, first) = received(&webhook, "500 Internal Server Error").await;
    let (head, body) = received(&webhook, "200 OK").await;
    assert_eq!(first["id"], body["id"], "the same event");
    assert!(
        head.starts_with("POST /eod ") && head.to_lowercase().contains("x-secret: /"),
        "{head}"
    );
    assert_eq!(
        (&body["name"], &body["payload"], &body["comment"]),
        (
            &json!("eod_reports"),
            &json!({"key": "value"}),
            &json!("end of day")
        )
    );
    assert!(
        body["scheduled_time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{body}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_one_off_event_is_delivered_at_its_time_and_reads_no_variable_of_the_host() {
    let webhook = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = webhook.local_addr().expect("its address");
    let config = format!("[plugins.scheduler]\negress = [\"{address}\"]\n");
    let host = builder().config(&config).start().await;
    let event = |header: Value| {
        json!({"webhook": format!("http://{address}/once"), "schedule_at": "2026-01-01T00:00:00Z", "payload": {"a": 1},
            "headers": [header], "comment": "once"})
    };
    let answer = host
        .post("/v1/scheduler/events")
        .operator()
        .json(&event(json!({"name": "x-a", "value": "b"})))
        .send()
        .await;
    let id = answer.expect_status(200).json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    // A time long past is out of tolerance, as with Hasura: it is fired by hand.
    act(&host, &format!("scheduled-event%2F{id}"), "run", json!({})).await;
    let (head, body) = received(&webhook, "200 OK").await;
    assert!(head.starts_with("POST /once "), "{head}");
    assert_eq!(
        (&body["payload"], &body["comment"]),
        (&json!({"a": 1}), &json!("once"))
    );
    assert!(
        body["created_at"].is_string() && body.get("name").is_none(),
        "{body}"
    );

    let answer = host
        .post("/v1/scheduler/events")
        .operator()
        .json(&event(json!({"name": "x-a", "value_from_env": "PATH"})))
        .send()
        .await;
    let id = answer.expect_status(200).json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    act(&host, &format!("scheduled-event%2F{id}"), "run", json!({})).await;
    let sql = host.sql().await;
    let error: Value = eventually("the job is discarded", async || {
        let found = sql
            .query_opt(
                "select error from jobs.dead where kind = 'scheduler.webhook'",
                &[],
            )
            .await;
        found.expect("it is asked").map(|row| row.get(0))
    })
    .await;
    assert!(error.to_string().contains("hasura_variables"), "{error}");
    host.stop().await;
}

#[tokio::test]
async fn a_request_is_sent_by_a_job_and_says_what_time_it_is_for() {
    let webhook = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = webhook.local_addr().expect("its address");
    let config = format!("[plugins.jobs]\negress = [\"{address}\"]\n");
    let host = builder().config(&config).start().await;
    let target = json!({"http": {"url": format!("http://{address}/tick"), "body": {"a": 1}}});
    create(&host, "tick", "0 0 1 1 *", target, json!({})).await;
    act(&host, "tick", "run", json!({})).await;
    let (head, body) = received(&webhook, "200 OK").await;
    assert!(
        head.starts_with("POST /tick ") && head.contains("x-scheduled-at: 20"),
        "{head}"
    );
    assert_eq!(body, json!({"a": 1}));
    host.stop().await;
}

/// Takes one request, answers it, and returns its head and body.
async fn received(listener: &TcpListener, status: &str) -> (String, Value) {
    let accepted = nself_plugin_testkit::within("a delivery", listener.accept()).await;
    let (mut stream, _) = accepted.expect("it is accepted");
    let (head, body) = read(&mut stream).await;
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream
        .write_all(answer.as_bytes())
        .await
        .expect("it is answered");
    (head, serde_json::from_slice(&body).expect("JSON"))
}

async fn read(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let length = stream.read(&mut chunk).await.expect("it is read");
        all.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let wanted = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= wanted.unwrap_or(0) {
                return (head.to_owned(), body.as_bytes().to_vec());
            }
        }
        assert!(length > 0, "the request ended early");
    }
}
