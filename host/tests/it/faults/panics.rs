//! A plugin that panics wherever it can.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::lifecycle::caller::{Caller, socket};
use crate::lifecycle::plugin_file::{bad, hello, namesake};
use crate::lifecycle::project::{Host, Project, eventually};

/// Where a handler panics, what the caller gets, and what the log says.
const HANDLERS: [(&str, u16, &str); 5] = [
    ("/bad/panic/before", 500, "before the first await"),
    ("/bad/panic/after", 500, "after an await"),
    ("/bad/panic/payload", 500, "the payload was dropped"),
    ("/bad/panic/drop", 500, "a bomb was dropped"),
    ("/bad/panic/cancel", 504, "a bomb was dropped"),
];

/// Panics of a plugin, as `/metrics` counts them.
async fn panics(host: &Host, plugin: &str) -> u64 {
    let metrics = host.caller().await.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let name = format!("nself_plugin_panics_total{{plugin=\"{plugin}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn others_answer(host: &Host, token: &str) {
    let mut caller = host.caller().await.with_token(token);
    assert_eq!(caller.get("/hello/notes").await.status, 200);
    assert_eq!(caller.get("/livez").await.status, 200);
}

async fn check_handler(host: &Host, path: &str, status: u16, message: &str) {
    let before = panics(host, "bad").await;
    let mut caller = host.caller().await;
    let answer = caller.get(path).await;
    assert_eq!(answer.status, status, "{path}");
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains(message), "{path} shows its panic: {text}");
    assert!(panics(host, "bad").await > before, "{path} is not counted");
    assert_eq!(
        caller.get("/bad/version").await.status,
        200,
        "the connection lives on after {path}"
    );
    let id = answer.header("x-request-id").to_owned();
    let line = ["plugin panicked", "\"bad\"", message, "panics.rs:", &id];
    let line: &[&str] = match path {
        // The bomb and the payload stand in another file.
        "/bad/panic/before" | "/bad/panic/after" => &line,
        _ => &["plugin panicked", "\"bad\"", message, "faults.rs:", &id],
    };
    eventually(path, async || (host.logged(line) > 0).then_some(())).await;
}

async fn check_stream(host: &Host) {
    let failure = host
        .caller()
        .await
        .try_get("/bad/panic/stream")
        .await
        .expect_err("a body that ends in a panic must not look whole");
    assert!(failure.contains("cut"), "{failure}");
    let line = ["plugin panicked", "in the middle of a body", "request_id"];
    eventually("the log", async || (host.logged(&line) > 0).then_some(())).await;
}

async fn check_socket(host: &Host) {
    let mut socket = socket(host.address, "/bad/panic/socket").await.unwrap();
    socket.send(Message::text("now")).await.unwrap();
    let closed = loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.unwrap(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(u16::from(closed.code), 1011);
    let line = ["plugin panicked", "in a socket", "request_id"];
    eventually("the log", async || (host.logged(&line) > 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_only_what_it_happened_in_and_is_counted_and_logged() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let mut host = project.start();
    let token = project.token();
    for (path, status, message) in HANDLERS {
        check_handler(&host, path, status, message).await;
        others_answer(&host, &token).await;
    }
    check_stream(&host).await;
    check_socket(&host).await;
    others_answer(&host, &token).await;

    let plugin = project.plugin("bad");
    assert_eq!(plugin["degraded"], true, "{plugin}");
    assert_eq!(plugin["state"], "started", "{plugin}");
    project.nself(&["status"]).done();
    let ready = host.caller().await.get("/readyz").await;
    assert_eq!(ready.json()["parts"]["bad"]["state"], "degraded");
    assert_eq!(ready.json()["parts"]["hello"]["state"], "started");

    let before = panics(&host, "bad").await;
    many_panics(&host).await;
    assert_eq!(panics(&host, "bad").await, before + 2_000);
    assert_eq!(panics(&host, "hello").await, 0);
    assert!(host.runs());
}

/// Four callers with five hundred panics each.
async fn many_panics(host: &Host) {
    let calls = async |mut caller: Caller| {
        for _ in 0..500 {
            assert_eq!(caller.get("/bad/panic/before").await.status, 500);
        }
    };
    let callers = [
        host.caller().await,
        host.caller().await,
        host.caller().await,
        host.caller().await,
    ];
    futures_util::future::join_all(callers.map(calls)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_panics_before_it_runs_is_refused_and_one_whose_task_panics_is_degraded() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0-create-panics"));
    project.enable("hello", &hello());
    let host = project.start();
    let token = project.token();
    others_answer(&host, &token).await;
    let plugin = project.plugin("bad");
    assert_eq!(plugin["state"], "failed", "{plugin}");
    let reason = plugin["reason"].as_str().unwrap();
    assert!(
        reason.contains("create panics, as the version says"),
        "{reason}"
    );
    let ready = host.caller().await.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["parts"]["bad"]["state"], "failed");

    project.nself(&["plugin", "disable", "bad"]).done();
    project.nself(&["plugin", "remove", "bad", "--yes"]).done();
    for (version, reason) in [
        ("1.0.1-start-panics", "start panics, as the version says"),
        ("1.0.2-create-panics-with-payload", "it panicked"),
        ("1.0.3-start-fails", "it does not want to"),
    ] {
        project.put("bad", &bad(version));
        project
            .nself(&["plugin", "enable", "bad"])
            .refused(1, &["bad failed in", reason]);
        others_answer(&host, &token).await;
    }

    project.put("bad", &bad("1.0.4-task-panics"));
    project.nself(&["plugin", "enable", "bad"]).done();
    let line = [
        "plugin panicked",
        "task panics, as the version says",
        "lifecycle.rs:",
    ];
    eventually("three panics of the task", async || {
        (host.logged(&line) >= 3).then_some(())
    })
    .await;
    eventually("degraded", async || {
        (project.plugin("bad")["degraded"] == true).then_some(())
    })
    .await;
    let plugin = project.plugin("bad");
    let reason = plugin["reason"].as_str().unwrap();
    assert!(reason.contains("task work failed"), "{reason}");
    others_answer(&host, &token).await;
    assert_eq!(
        host.caller().await.get("/bad/version").await.status,
        200,
        "its routes still answer"
    );

    // A plugin that is fine in the same process, from the same code.
    project.put("good", &namesake("good"));
    project.nself(&["plugin", "enable", "good"]).done();
    assert_eq!(host.caller().await.get("/good/version").await.status, 200);
}
