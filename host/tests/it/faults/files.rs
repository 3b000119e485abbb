//! No more files can be opened: who is connected is served, who comes has to wait, and it is over when there are some again.

use std::time::{Duration, Instant};

use crate::lifecycle::caller::Caller;
use crate::lifecycle::plugin_file::hello;
use crate::lifecycle::project::{Project, eventually};

/// So few that a test soon has them all.
const FILES: u32 = 100;

/// So long the host tries, ten times a second.
const TRIES: Duration = Duration::from_secs(2);

/// What the log says then.
const LACK: [&str; 2] = ["cannot accept connections", "\"limit\":100"];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_files_serves_who_is_connected_and_says_once_what_it_lacks() {
    let project = Project::served("").await;
    project.enable("hello", &hello());
    let host = project.start_with_files(FILES);
    let mut connected = host.caller().await.with_token(&project.token());
    assert_eq!(connected.get("/hello/notes").await.status, 200);

    // The kernel shakes hands with those whom the host cannot take.
    let mut crowd = Vec::new();
    for _ in 0..FILES {
        crowd.push(Caller::connect(host.address).await.unwrap());
    }
    eventually("the host lacks files", async || {
        (host.logged(&LACK) > 0).then_some(())
    })
    .await;
    let until = Instant::now() + TRIES;
    while Instant::now() < until {
        assert_eq!(connected.get("/hello/notes").await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let metrics = connected.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let value = |name: &str| {
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse::<f64>().unwrap()
    };
    let open = value("process_open_fds");
    assert!(
        open >= f64::from(FILES) * 0.9,
        "{open} of {FILES}: the alert would not see it"
    );
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") > 1.0);
    assert_eq!(host.logged(&LACK[..1]), 1, "it is said once");

    let last = crowd.pop().unwrap();
    drop(crowd);
    let mut last = last.with_token(&project.token());
    assert_eq!(
        last.get("/hello/notes").await.status,
        200,
        "whoever waited is served"
    );
    assert_eq!(host.caller().await.get("/livez").await.status, 200);
    project.nself(&["status"]).done();
}
