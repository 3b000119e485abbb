//! How a host ends: asked to, told twice, killed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::caller::Caller;
use super::load::Load;
use super::plugin_file::{bad, hello};
use super::project::Project;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_fails_no_request_that_was_under_way() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let mut host = project.start();
    let token = project.token();
    let load = Load::on(host.address)
        .getting(4, "/bad/slow/50")
        .getting(2, "/bad/stream")
        .speaking(2, "/bad/socket")
        .writing(2, &token);
    let mut caller = Caller::connect(host.address).await.unwrap();
    let long = tokio::spawn(async move { caller.try_get("/bad/slow/1500").await });
    let mut warm = host.caller().await;
    for _ in 0..50 {
        assert_eq!(warm.get("/bad/slow/5").await.status, 200);
    }
    host.signal(Signal::TERM);
    let told = Instant::now();
    let status = tokio::task::block_in_place(|| host.ended());
    assert!(status.success(), "{status}: {}", host.log_text());
    assert!(told.elapsed() < Duration::from_secs(20));
    assert_eq!(long.await.unwrap().map(|answer| answer.status), Ok(200));
    let tally = load.end().await;
    let lost: Vec<_> = tally
        .failures
        .iter()
        .filter(|(sent, _)| *sent < told)
        .collect();
    assert!(lost.is_empty(), "lost although sent before: {lost:?}");
    assert!(tally.good > 0);
    assert_eq!(host.logged(&["panicked"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let mut host = project.start();
    let mut caller = Caller::connect(host.address).await.unwrap();
    let long = tokio::spawn(async move { caller.try_get("/bad/slow/60000").await });
    super::project::eventually("it is under way", async || {
        let metrics = host.caller().await.get("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        text.contains("nself_http_in_flight{plugin=\"bad\"} 1")
            .then_some(())
    })
    .await;
    let told = Instant::now();
    host.signal(Signal::TERM);
    super::project::eventually("it is stopping", async || {
        (host.logged(&["\"stopping\""]) > 0).then_some(())
    })
    .await;
    host.signal(Signal::TERM);
    tokio::task::block_in_place(|| host.ended());
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "took {:?}",
        told.elapsed()
    );
    assert!(long.await.unwrap().is_err(), "cut off");
}
