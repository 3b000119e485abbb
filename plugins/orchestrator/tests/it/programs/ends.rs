//! Nothing of a program outlives its time, whatever it does against that.

use std::path::Path;

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use super::{alive, host, path, run, shared_folder, shell, until_gone, until_written, word};
use crate::stage::{act, definition, ended, put, start};

/// A shell that no signal but the last one ends, which has children in other sessions of which one is nobody's child any more; it says
/// when all of that is there, and goes on for ever.
fn stubborn(word: &str, ready: &Path) -> String {
    let ready = ready.display();
    format!(
        "trap '' TERM INT HUP; \
         setsid sh -c 'trap \"\" TERM; : > {ready}.1; while :; do sleep 3600; done' {word} & \
         (setsid sh -c 'trap \"\" TERM; : > {ready}.2; while :; do sleep 3600; done' {word} &) ; \
         until test -e {ready}.1 -a -e {ready}.2; do sleep 0.05; done; \
         echo \"$IDEMPOTENCY_KEY\" >> {ready}; while :; do sleep 3600; done; : {word}"
    )
}

async fn begun(host: &TestHost, name: &str, tasks: &str, ready: &Path) -> Value {
    put(host, name, &definition(name, "", tasks)).await;
    let started = start(host, name, json!({}), 0).await;
    until_written(ready).await;
    started["id"].clone()
}

#[tokio::test]
async fn a_run_that_is_cancelled_and_a_task_that_takes_too_long_end_all_that_they_run() {
    let host = host("\"shell\"", "").await;
    let folder = shared_folder();
    let (cancelled, timed) = (word(), word());
    let ready = path(&folder, "cancelled");
    let tasks = shell(&stubborn(&cancelled, &ready), &json!({}));
    let id = begun(&host, "cancelled", &tasks, &ready).await;
    assert!(alive(&cancelled).len() >= 3, "{:?}", alive(&cancelled));
    assert_eq!(act(&host, &id, "cancel").await.status, 200);
    until_gone(&cancelled).await;
    assert_eq!(ended(&host, &id).await["status"], "cancelled");

    let ready = path(&folder, "timed");
    let mut tasks = shell(&stubborn(&timed, &ready), &json!({}));
    tasks.push_str("      timeout: {after: {seconds: 3}}\n");
    let id = begun(&host, "timed", &tasks, &ready).await;
    let ended = ended(&host, &id).await;
    assert_eq!(ended["error"]["status"], 408, "{ended}");
    until_gone(&timed).await;
    host.stop().await;
}

#[tokio::test]
async fn one_that_takes_longer_than_the_operator_lets_it_is_a_timeout() {
    let host = host("\"shell\"", "seconds_max = 1").await;
    let word = word();
    let ended = run(
        &host,
        "late",
        &shell(&format!("sleep 3600; : {word}"), &json!({})),
    )
    .await;
    assert_eq!(ended["error"]["status"], 408, "{ended}");
    assert_eq!(
        ended["error"]["detail"], "it took longer than 1 s",
        "{ended}"
    );
    until_gone(&word).await;
    host.stop().await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let host = host("\"shell\"", "").await;
    let word = word();
    // It holds the output open, too, which nobody waits for.
    let daemon = format!("setsid sh -c 'while :; do sleep 3600; done' {word} & echo left");
    let ended = run(&host, "left", &shell(&daemon, &json!({}))).await;
    assert_eq!(ended["output"], "left\n", "{ended}");
    until_gone(&word).await;
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_is_killed_takes_its_programs_along_and_they_run_again_under_their_key() {
    let mut host = host("\"shell\"", "").await;
    let folder = shared_folder();
    let (word, ready) = (word(), path(&folder, "ready"));
    let again = format!(
        "if test -e {0}; then echo \"$IDEMPOTENCY_KEY\" >> {0}; echo again; exit; fi; {1}",
        ready.display(),
        stubborn(&word, &ready)
    );
    let id = begun(&host, "again", &shell(&again, &json!({})), &ready).await;
    host.kill().await;
    until_gone(&word).await;
    host.start_again().await;
    let ended = ended(&host, &id).await;
    assert_eq!(ended["output"], "again\n", "{ended}");
    let key = format!("{}/it\n", id.as_str().expect("an id"));
    assert_eq!(until_written(&ready).await, key.repeat(2));
    host.stop().await;
}
