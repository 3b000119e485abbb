//! Plugins that do not come back: handlers that never answer or block their thread, steps of a start that hang.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::lifecycle::plugin_file::{bad, hello};
use crate::lifecycle::project::{Project, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_come_back_keeps_nobody_else_waiting() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let host = project.start();
    let token = project.token();

    let answer = host.caller().await.get("/bad/never").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.code(), "TIMEOUT");
    let counts = host.caller().await.get("/bad/counts").await;
    assert_eq!(counts.json()["data"]["dropped"], 1, "its future is dropped");

    // Two at once: as many as a small machine has cores.
    let begun = Instant::now();
    let blocked = [host.address; 2].map(|address| {
        tokio::spawn(async move {
            let caller = crate::lifecycle::caller::Caller::connect(address).await;
            caller.unwrap().get("/bad/block/3000").await.status
        })
    });
    let mut longest = Duration::ZERO;
    let mut answered = 0;
    while !blocked.iter().all(tokio::task::JoinHandle::is_finished) {
        let asked = Instant::now();
        let mut caller = host.caller().await.with_token(&token);
        assert_eq!(caller.get("/hello/notes").await.status, 200);
        longest = longest.max(asked.elapsed());
        answered += 1;
    }
    for blocked in join_all(blocked).await {
        assert_eq!(blocked.unwrap(), 204);
    }
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert!(
        longest < Duration::from_millis(1_500),
        "another plugin's caller waited {longest:?}, {answered} were answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_while_it_starts_is_refused_in_time_with_its_reason() {
    let project = Project::served("[plugins]\nstart_timeout_ms = 300\n").await;
    project.enable("bad", &bad("1.0.0-create-hangs"));
    project.enable("hello", &hello());
    let host = project.start();
    let token = project.token();
    let reason = project.plugin("bad")["reason"].to_string();
    for part in [
        "bad did not return from create or start within 300ms",
        "start_timeout_ms",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    project.nself(&["plugin", "disable", "bad"]).done();
    project.nself(&["plugin", "remove", "bad", "--yes"]).done();
    for version in ["1.0.1-start-hangs", "1.0.2-create-blocks"] {
        project.put("bad", &bad(version));
        project
            .nself(&["plugin", "enable", "bad"])
            .refused(1, &["bad did not return from create or start within 300ms"]);
        let mut caller = host.caller().await.with_token(&token);
        eventually("hello answers", async || {
            (caller.get("/hello/notes").await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_blocks_a_thread_is_named_while_it_does_and_counted() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let host = project.start();
    let token = project.token();
    let blocking = tokio::spawn({
        let mut caller = host.caller().await;
        async move { caller.get("/bad/block/1500").await.status }
    });
    let named = [
        "\"WARN\"",
        "a plugin blocks a thread",
        "\"plugin\":\"bad\"",
        "GET /bad/block/{ms}",
    ];
    eventually("it is named", async || {
        (host.logged(&named) == 1).then_some(())
    })
    .await;
    assert!(!blocking.is_finished(), "it is named while it blocks");
    let mut caller = host.caller().await.with_token(&token);
    assert_eq!(caller.get("/hello/notes").await.status, 200);
    assert_eq!(blocking.await.unwrap(), 204);
    eventually("its end is told", async || {
        (host.logged(&["free again", "\"plugin\":\"bad\"", "blocked_ms"]) == 1).then_some(())
    })
    .await;

    // What waits does not block.
    assert_eq!(caller.get("/bad/slow/400").await.status, 200);
    let metrics = String::from_utf8(caller.get("/metrics").await.body.to_vec()).unwrap();
    let counted = "nself_plugin_blocked_total{plugin=\"bad\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert_eq!(host.logged(&["blocks a thread"]), 1);
}
