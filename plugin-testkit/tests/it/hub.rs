//! Fan-out to sockets, seen from their clients: who is sent what, what becomes of those that do not keep up, and how all of it ends.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future::join_all};
use nself_plugin_testkit::{TestHost, eventually, within};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::fixture;

/// For disabling a plugin.
const LIMIT: Duration = Duration::from_secs(60);
/// Larger than what the kernel keeps for a client that does not read is published in steps of this.
const LARGE: usize = 60_000;
const QUEUE: u64 = 512 * 1024;

type Socket = WebSocketStream<TcpStream>;

async fn started() -> TestHost {
    let many = "[http]\nconcurrency_per_plugin = 4_000";
    fixture().config(many).start().await
}

/// A client that is in the topic.
async fn join(host: &TestHost, topic: &str) -> Socket {
    let path = format!("/fixture/fan?topic={topic}&queue_bytes_max={QUEUE}");
    let mut socket = host.get(&path).websocket().await.expect("an upgrade");
    assert_eq!(text(&mut socket).await, "joined");
    socket
}

async fn next(socket: &mut Socket) -> Message {
    let message = within("a message", socket.next()).await;
    message.expect("it is open").expect("a message")
}

async fn text(socket: &mut Socket) -> String {
    let message = next(socket).await;
    let text = message.to_text().expect("text").trim_end();
    assert!(message.is_text(), "{message:?}");
    text.to_owned()
}

async fn number(socket: &mut Socket) -> u64 {
    text(socket).await.parse().expect("a number")
}

/// Code and reason with which it is closed, behind whatever comes before.
async fn closed(socket: &mut Socket) -> (u16, String) {
    loop {
        if let Message::Close(frame) = next(socket).await {
            let frame = frame.expect("a code");
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}

/// Publishes `count` numbers from `first` on; how many were told.
async fn publish(host: &TestHost, topic: &str, first: u64, count: u64, bytes: usize) -> u64 {
    let path = format!("/fixture/fan?topic={topic}&first={first}&count={count}&bytes={bytes}");
    let told = host.post(&path).send().await.expect_status(200);
    told.data().as_u64().expect("a number")
}

async fn members(host: &TestHost, topic: &str) -> u64 {
    let state = host
        .get("/fixture/fan/state")
        .send()
        .await
        .expect_status(200);
    state.data()["members"][topic].as_u64().unwrap_or_default()
}

/// Bytes that wait for the connection for which most do.
async fn most_waiting(host: &TestHost) -> u64 {
    let state = host.get("/fixture/fan/state").send().await.data();
    let waiting = state["waiting"].as_array().expect("a list").iter();
    let most = waiting.filter_map(serde_json::Value::as_u64).max();
    most.expect("somebody is connected")
}

async fn gauge(host: &TestHost, name: &str, expected: f64) {
    eventually(&format!("{name} is {expected}"), async || {
        let is_so = (host.metric(name).await - expected).abs() < 0.5;
        is_so.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscribers_get_each_message_once_and_in_order() {
    const SUBSCRIBERS: u64 = 1_000;
    const MESSAGES: u64 = 200;
    let host = started().await;
    let mut sockets = Vec::new();
    for _ in 0..SUBSCRIBERS {
        sockets.push(join(&host, "news").await);
    }
    let reading = join_all(sockets.iter_mut().map(async |socket| {
        for expected in 0..MESSAGES {
            assert_eq!(number(socket).await, expected);
        }
    }));
    let publishing = async {
        for step in 0..MESSAGES / 50 {
            let told = publish(&host, "news", step * 50, 50, 100).await;
            assert_eq!(told, SUBSCRIBERS);
        }
    };
    tokio::join!(reading, publishing);
    // What one says goes to the others, and not to itself.
    let (first, others) = sockets.split_first_mut().expect("there are some");
    first.send(Message::text("mine")).await.expect("it is open");
    for other in &mut *others {
        assert_eq!(text(other).await, "mine");
    }
    let bytes = Message::binary(vec![0, 159, 146, 150]);
    first.send(bytes.clone()).await.expect("it is open");
    assert_eq!(next(first).await, bytes, "the next that it hears");
    // Nothing is kept of what was sent.
    gauge(&host, "nself_hub_frames", 0.0).await;
    drop(sockets);
    gauge(&host, "nself_hub_connections", 0.0).await;
    assert_eq!(members(&host, "news").await, 0);
    host.stop().await;
}

/// Publishes large numbers, which `reader` reads at once and `sleeper` does not, until `is_enough`; the number of the last.
async fn publish_until(
    host: &TestHost,
    topic: &str,
    reader: &mut Socket,
    is_enough: impl AsyncFn() -> bool,
) -> u64 {
    const STEP: u64 = 4;
    for first in (0..4_000).step_by(4) {
        assert_eq!(publish(host, topic, first, STEP, LARGE).await, 2);
        // The other one is kept by nobody.
        for expected in first..first + STEP {
            assert_eq!(number(reader).await, expected);
        }
        if is_enough().await {
            return first + STEP - 1;
        }
    }
    panic!("the kernel keeps everything for a client that does not read");
}

/// What a client has been sent, until the number `last`.
async fn numbers_until(socket: &mut Socket, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(number(socket).await);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_costs_bounded_memory_and_is_closed_and_the_others_hear_everything() {
    let host = started().await;
    let mut sleeper = join(&host, "news").await;
    let mut reader = join(&host, "news").await;
    let is_closing = async || {
        let state = host.get("/fixture/fan/state").send().await.data();
        let waiting = state["waiting"].as_array().expect("a list");
        let bounded =
            |bytes: &serde_json::Value| bytes.as_u64().is_some_and(|bytes| bytes <= QUEUE);
        assert!(waiting.iter().all(bounded), "{state}");
        let closing = state["closing"].as_array().expect("a list");
        closing.iter().any(|closing| closing == true)
    };
    publish_until(&host, "news", &mut reader, is_closing).await;
    assert!((host.metric("nself_hub_slow_total").await - 1.0).abs() < 0.5);
    // Only the frame that has begun waits for it, and what is behind it.
    assert!(most_waiting(&host).await <= LARGE as u64 + 100);

    // It gets what was on its way without a gap, and then why there is no more.
    let mut expected = 0;
    let close = loop {
        match next(&mut sleeper).await {
            Message::Close(close) => break close.expect("a code"),
            message => {
                let text = message.to_text().expect("text").trim_end();
                assert_eq!(text, expected.to_string());
                expected += 1;
            }
        }
    };
    assert_eq!((u16::from(close.code), &*close.reason), (3008, "slow"));
    drop(sleeper);
    eventually("it is out of the topic", async || {
        (members(&host, "news").await == 1).then_some(())
    })
    .await;
    drop(reader);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_replaces_what_was_before_only_the_newest_waits() {
    let host = started().await;
    let mut sleeper = join(&host, "latest").await;
    let mut reader = join(&host, "latest").await;
    let is_enough = async || host.metric("nself_hub_dropped_total").await > 8.0;
    let last = publish_until(&host, "latest", &mut reader, is_enough).await;
    // Nothing but the frame that has begun and the newest waits, however much there would be room for.
    assert!(most_waiting(&host).await <= 2 * (LARGE as u64 + 100));
    let heard = numbers_until(&mut sleeper, last).await;
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!(heard.len() as u64 + 8 <= last, "{heard:?}");
    // It is as good as new.
    assert_eq!(publish(&host, "latest", 9_000, 1, 10).await, 2);
    assert_eq!(number(&mut sleeper).await, 9_000);
    drop((sleeper, reader));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_stale_in_a_second_the_oldest_go() {
    let host = started().await;
    let mut sleeper = join(&host, "oldest").await;
    let mut reader = join(&host, "oldest").await;
    let is_enough = async || host.metric("nself_hub_dropped_total").await > 8.0;
    let last = publish_until(&host, "oldest", &mut reader, is_enough).await;
    let heard = numbers_until(&mut sleeper, last).await;
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!(heard.len() as u64 + 8 <= last, "{heard:?}");
    assert!(
        heard.ends_with(&[last - 3, last - 2, last - 1, last]),
        "{heard:?}"
    );
    drop((sleeper, reader));
    host.stop().await;
}

#[tokio::test]
async fn a_deadline_closes_a_connection_unless_it_is_taken_away() {
    let host = started().await;
    let mut goes = join(&host, "news").await;
    let mut stays = join(&host, "news").await;
    for said in ["expire", "stay"] {
        stays.send(Message::text(said)).await.expect("it is open");
    }
    goes.send(Message::text("expire"))
        .await
        .expect("it is open");
    assert_eq!(closed(&mut goes).await, (3005, "expired".to_owned()));
    drop(goes);
    eventually("it is out of the topic", async || {
        (members(&host, "news").await == 1).then_some(())
    })
    .await;
    assert_eq!(publish(&host, "news", 7, 1, 1).await, 1);
    assert_eq!(number(&mut stays).await, 7);
    drop(stays);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_host_that_stops_are_told_to_come_back_one_after_the_other() {
    const CLIENTS: usize = 300;
    let host = started().await;
    let mut sockets = Vec::new();
    for _ in 0..CLIENTS {
        sockets.push(join(&host, "news").await);
    }
    let began = Instant::now();
    let reading = join_all(sockets.iter_mut().map(async |socket| {
        let code = closed(socket).await;
        while socket.next().await.is_some() {}
        assert_eq!(code, (3001, "shutdown".to_owned()));
    }));
    tokio::join!(reading, host.stop());
    // The window is 600 ms for so many; a loaded machine makes it longer, and nothing shorter.
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_sockets_that_panic_nor_of_a_plugin_that_ends() {
    let host = started().await;
    let mut falls = join(&host, "news").await;
    let mut stays = join(&host, "news").await;
    let mut elsewhere = join(&host, "weather").await;
    falls
        .send(Message::text("panic"))
        .await
        .expect("it is open");
    assert_eq!(closed(&mut falls).await.0, 1011);
    drop(falls);
    gauge(&host, "nself_hub_connections", 2.0).await;
    assert_eq!(publish(&host, "news", 1, 1, 1).await, 1);
    assert_eq!(number(&mut stays).await, 1);
    gauge(&host, "nself_hub_topics", 2.0).await;

    // A topic that its plugin loses keeps nothing else.
    elsewhere
        .send(Message::text("forget"))
        .await
        .expect("it is open");
    assert_eq!(publish(&host, "weather", 2, 1, 1).await, 1);
    assert_eq!(number(&mut elsewhere).await, 2);
    let disabling = host.registry().disable("fixture", LIMIT, false);
    let reading = join_all([&mut stays, &mut elsewhere].map(async |socket| {
        assert_eq!(closed(socket).await.0, 3001);
        while socket.next().await.is_some() {}
    }));
    let (disabled, _) = tokio::join!(disabling, reading);
    disabled.expect("it ends");
    gauge(&host, "nself_hub_connections", 0.0).await;
    gauge(&host, "nself_hub_frames", 0.0).await;
    gauge(&host, "nself_hub_topics", 1.0).await;
    host.stop().await;
}
