//! Postgres and the host killed under load: what was acknowledged is there afterwards.

use std::collections::HashSet;

use rustix::process::Signal;
use uuid::Uuid;

use super::load::{Load, Tally};
use super::plugin_file::hello;
use super::project::{Host, Project, eventually, send_signal, until};

/// Whether notes are written again.
async fn writes(host: &Host, token: &str) -> Option<()> {
    let mut caller = host.caller().await.with_token(token);
    let draft = bytes::Bytes::from_static(b"{\"title\":\"again\"}");
    let answer = caller.send(http::Method::POST, "/hello/notes", draft).await;
    (answer.ok()?.status == 201).then_some(())
}

/// Every note in the table, whatever page it is on.
async fn stored(host: &Host, token: &str) -> HashSet<Uuid> {
    let mut caller = host.caller().await.with_token(token);
    let mut ids = HashSet::new();
    let mut path = "/hello/notes".to_owned();
    loop {
        let page = caller.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let notes = page.json()["data"].as_array().unwrap().clone();
        let Some(last) = notes.last() else {
            return ids;
        };
        path = format!("/hello/notes?before={}", last["id"].as_str().unwrap());
        ids.extend(
            notes
                .iter()
                .map(|note| note["id"].as_str().unwrap().parse::<Uuid>().unwrap()),
        );
    }
}

#[track_caller]
fn nothing_lost(tally: &Tally, stored: &HashSet<Uuid>) {
    let lost = tally
        .stored
        .iter()
        .filter(|id| !stored.contains(id))
        .count();
    assert_eq!(lost, 0, "of {} acknowledged", tally.stored.len());
    assert!(tally.stored.len() > 20, "{}", tally.stored.len());
}

/// Notes that this host has acknowledged.
async fn acknowledged(host: &Host) -> Option<u64> {
    let metrics = host.caller().await.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let series =
        "nself_http_requests_total{plugin=\"hello\",route=\"POST /hello/notes\",status=\"2xx\"} ";
    let count = text.lines().find_map(|line| line.strip_prefix(series))?;
    count.parse().ok()
}

async fn some_writes(host: &Host) {
    let before = acknowledged(host).await.unwrap_or(0);
    eventually("the load writes", async || {
        (acknowledged(host).await? > before + 50).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_killed_postgres_nor_a_killed_host_loses_an_acknowledged_write() {
    let project = Project::embedded("[plugins.hello.config]\npage_size = 200\n");
    project.enable("hello", &hello());
    let mut host = project.start();
    let token = project.token();

    // Postgres dies; the host stays.
    let load = Load::on(host.address).writing(4, &token);
    some_writes(&host).await;
    let before = project.postmaster().expect("a cluster runs");
    send_signal(before, Signal::KILL);
    eventually("another postmaster", async || {
        (project.postmaster()? != before).then_some(())
    })
    .await;
    eventually("writes again", async || writes(&host, &token).await).await;
    let tally = load.end().await;
    for (_, failure) in &tally.failures {
        let honest = failure.starts_with("503") || failure.starts_with("500");
        assert!(honest && failure.contains("\"code\""), "{failure}");
    }
    assert!(host.runs());
    nothing_lost(&tally, &stored(&host, &token).await);

    // The host dies; Postgres stays, and the next host finds it.
    let load = Load::on(host.address).writing(4, &token);
    some_writes(&host).await;
    host.signal(Signal::KILL);
    host.ended();
    let first = load.end().await;
    let survivor = project.postmaster();
    let mut host = project.start();
    assert_eq!(project.postmaster(), survivor, "the cluster was adopted");
    nothing_lost(&first, &stored(&host, &token).await);

    // A stop takes the cluster along.
    let cluster = project.postmaster().unwrap();
    project.nself(&["stop"]).done();
    assert!(host.ended().success());
    until("no postmaster", || {
        !std::path::Path::new(&format!("/proc/{cluster}")).exists()
    });
}
