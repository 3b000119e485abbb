//! A plugin that is disabled finishes what it has begun, until its time is over.

use futures_util::StreamExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::caller::{Caller, socket};
use super::plugin_file::bad;
use super::project::{Host, Project, eventually};

/// The request is on its way: the host counts it.
async fn begun(host: &Host, path: &'static str) -> tokio::task::JoinHandle<(u16, String)> {
    let mut caller = Caller::connect(host.address).await.unwrap();
    tokio::spawn(async move {
        let answer = caller.try_get(path).await;
        answer.map_or_else(
            |failure| (0, failure),
            |answer| (answer.status, answer.header("retry-after").to_owned()),
        )
    })
}

async fn in_flight(host: &Host, count: u64) {
    let name = "nself_http_in_flight{plugin=\"bad\"} ";
    eventually("the request is in flight", async || {
        let metrics = host.caller().await.get("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        (line? == count.to_string()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_finishes_and_what_comes_meanwhile_is_told_to_come_back() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let slow = begun(&host, "/bad/slow/3000").await;
    let mut open = socket(host.address, "/bad/socket").await.unwrap();
    in_flight(&host, 2).await;

    std::thread::scope(|scope| {
        let disabling =
            scope.spawn(|| project.nself(&["plugin", "disable", "bad", "--drain", "20"]));
        let told = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(eventually(
                "503 while it drains",
                async || {
                    let answer = host.caller().await.get("/bad/version").await;
                    (answer.status == 503).then_some(answer)
                },
            ))
        });
        assert_eq!(told.code(), "PLUGIN_STOPPING");
        assert_eq!(told.header("retry-after"), "1");
        assert_eq!(project.plugin("bad")["state"], "draining");
        disabling.join().unwrap().done();
    });
    assert_eq!(slow.await.unwrap().0, 200, "the request in flight finished");
    let closed = loop {
        if let Message::Close(frame) = open.next().await.unwrap().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(
        u16::from(closed.code),
        1012,
        "sockets are told to reconnect"
    );
    assert_eq!(host.caller().await.get("/bad/version").await.status, 404);
    assert_eq!(project.plugin("bad")["state"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_by_the_deadline_is_cut_and_its_future_dropped_once() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let host = project.start();
    let slow = begun(&host, "/bad/slow/20000").await;
    in_flight(&host, 1).await;
    let asked = std::time::Instant::now();
    project.put("bad", &bad("1.1.0"));
    let upgraded = project
        .nself(&["plugin", "upgrade", "bad", "--drain", "1", "--json"])
        .done()
        .data();
    assert_eq!(upgraded["clean"], false, "{upgraded}");
    assert_eq!(slow.await.unwrap(), (503, "1".to_owned()), "cut off");
    assert!(asked.elapsed() < std::time::Duration::from_secs(10));
    eventually("the future is dropped", async || {
        (host.logged(&["a request was dropped before it was done"]) > 0).then_some(())
    })
    .await;
    assert_eq!(
        host.logged(&["a request was dropped before it was done"]),
        1
    );
    let answer = host.caller().await.get("/bad/version").await;
    assert_eq!(answer.json()["data"], "1.1.0");
}
