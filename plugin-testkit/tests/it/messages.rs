//! Messages between hosts: by Redis, or not at all.

use std::time::{Duration, Instant};

use nself_plugin_testkit::{Answer, EventReader, RedisServer, TestHost, eventually, within};
use serde_json::json;

use crate::{fixture, started};

/// More than any machine takes to say no, and less than a host waits for an answer.
const AT_ONCE: Duration = Duration::from_millis(700);

async fn host(redis: &RedisServer) -> TestHost {
    fixture().config(&redis.config()).start().await
}

async fn try_publish(host: &TestHost, channel: &str, message: &str) -> Answer {
    let publish = host.post(&format!("/fixture/messages/{channel}"));
    publish.body(message.to_owned()).send().await
}

async fn publish(host: &TestHost, channel: &str, message: &str) {
    let published = try_publish(host, channel, message).await;
    let _ = published.expect_status(204);
}

/// Publishes as soon as that is possible.
async fn publish_when_it_is_back(host: &TestHost, channel: &str, message: &str) {
    eventually("messages are carried again", async || {
        (try_publish(host, channel, message).await.status == 204).then_some(())
    })
    .await;
}

async fn hear(host: &TestHost, path: &str) -> EventReader {
    host.get(path).events().await
}

/// The channel, or `missed`, and the message.
async fn next(reader: &mut EventReader) -> (String, String) {
    let event = within("a message", reader.next()).await;
    let event = event.expect("the subscription goes on");
    (event.event, event.data)
}

fn message(channel: &str, text: &str) -> (String, String) {
    (channel.to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_message_reaches_who_is_subscribed_on_every_host_and_no_other_plugin() {
    let redis = RedisServer::start().await;
    let first = fixture().plugin("nself-plugin-fixture-caller");
    let first = first.config(&redis.config()).start().await;
    let second = first.beside().start().await;
    let carried = first.get("/fixture/messages").send().await;
    assert_eq!(carried.expect_status(200).data(), true);

    let mut here = hear(&first, "/fixture/messages/news,weather,news").await;
    let mut there = hear(&second, "/fixture/messages/news").await;
    let mut others = hear(&second, "/caller/messages/news").await;
    let channels = [
        "fixture-caller@0:news",
        "fixture@0:news",
        "fixture@0:weather",
    ];
    assert_eq!(redis.channels().await, channels);

    publish(&first, "news", "one").await;
    let posted = first.post("/caller/messages/news").body("theirs");
    let _ = posted.send().await.expect_status(204);
    publish(&second, "weather", "rain").await;
    publish(&second, "news", "two").await;
    for expected in [("news", "one"), ("weather", "rain"), ("news", "two")] {
        assert_eq!(next(&mut here).await, message(expected.0, expected.1));
    }
    for expected in ["one", "two"] {
        assert_eq!(next(&mut there).await, message("news", expected));
    }
    assert_eq!(next(&mut others).await.1, "theirs");

    drop((here, there, others));
    eventually("Redis is told that nobody listens any more", async || {
        redis.channels().await.is_empty().then_some(())
    })
    .await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn after_a_cut_it_is_subscribed_again_and_told_that_it_may_have_missed_something() {
    let mut redis = RedisServer::start().await;
    let host = host(&redis).await;
    let mut before = hear(&host, "/fixture/messages/news").await;
    publish(&host, "news", "one").await;
    assert_eq!(next(&mut before).await, message("news", "one"));

    // One of the two connections is enough. That nobody answers on the other is found out by asking.
    for connections in ["pubsub", "normal"] {
        let cut: i64 = redis.ask(&["CLIENT", "KILL", "TYPE", connections]).await;
        assert!(cut > 0, "{connections}");
        assert_eq!(next(&mut before).await, message("missed", ""));
        publish_when_it_is_back(&host, "news", connections).await;
        assert_eq!(next(&mut before).await, message("news", connections));
    }

    redis.kill();
    eventually("it is known that Redis is away", async || {
        let refused = try_publish(&host, "news", "lost").await.expect_status(503);
        (refused.code() == "PUBSUB_AWAY").then_some(())
    })
    .await;
    let mut meanwhile = hear(&host, "/fixture/messages/news").await;
    redis.run().await;
    publish_when_it_is_back(&host, "news", "three").await;
    for reader in [&mut before, &mut meanwhile] {
        assert_eq!(next(reader).await, message("missed", ""));
        assert_eq!(next(reader).await, message("news", "three"));
    }
    host.stop().await;
}

#[tokio::test]
async fn a_host_starts_before_redis() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let host = host(&redis).await;
    let refused = try_publish(&host, "news", "lost").await.expect_status(503);
    assert_eq!(refused.code(), "PUBSUB_AWAY");
    let mut early = hear(&host, "/fixture/messages/news").await;
    redis.run().await;
    publish_when_it_is_back(&host, "news", "one").await;
    assert_eq!(next(&mut early).await, message("missed", ""));
    assert_eq!(next(&mut early).await, message("news", "one"));
    host.stop().await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_once() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    publish(&host, "news", "one").await;
    let hanging = redis.hang().await;
    let uncertain = try_publish(&host, "news", "two").await.expect_status(503);
    assert_eq!(uncertain.code(), "PUBSUB_UNCERTAIN");
    let asked = Instant::now();
    let away = try_publish(&host, "news", "three").await.expect_status(503);
    assert_eq!(away.code(), "PUBSUB_AWAY");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    drop(hanging);
    publish_when_it_is_back(&host, "news", "four").await;
    host.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_a_bound_and_keeps_nobody_waiting() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    let hold = host.post("/fixture/held-messages/news").send().await;
    let _ = hold.expect_status(204);
    let mut reader = hear(&host, "/fixture/messages/news").await;
    let large = "m".repeat(100_000);
    for _ in 0..60 {
        publish(&host, "news", &large).await;
        assert_eq!(next(&mut reader).await, message("news", &large));
    }
    let waited = host.get("/fixture/held-messages").send().await;
    let waited = waited.expect_status(200).data();
    assert_eq!(
        waited,
        json!({"messages": 41, "missed": 1}),
        "of four mebibytes"
    );
    publish(&host, "news", "later").await;
    assert_eq!(next(&mut reader).await, message("news", "later"));
    let waited = host.get("/fixture/held-messages").send().await;
    let waited = waited.expect_status(200).data();
    assert_eq!(waited, json!({"messages": 1, "missed": 0}));
    host.stop().await;
}

#[tokio::test]
async fn what_no_channel_can_carry_is_refused() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    let refused = try_publish(&host, &"n".repeat(513), "one").await;
    let refused = refused.expect_status(400);
    assert_eq!(refused.code(), "PUBSUB_CHANNEL_INVALID");
    let many = vec!["n"; 1_025].join(",");
    let refused = host.get(&format!("/fixture/messages/{many}")).send().await;
    let refused = refused.expect_status(400);
    assert_eq!(refused.code(), "PUBSUB_CHANNEL_INVALID");
    let refused = try_publish(&host, "news", &"m".repeat(1 << 20 | 1)).await;
    let refused = refused.expect_status(413);
    assert_eq!(refused.code(), "PUBSUB_MESSAGE_TOO_LARGE");
    publish(&host, &"n".repeat(512), &"m".repeat(1 << 20)).await;
    host.stop().await;
}

#[tokio::test]
async fn a_redis_that_lets_the_host_into_no_channel_is_told_apart_from_one_that_is_away() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    publish(&host, "news", "one").await;
    let () = redis
        .ask(&["ACL", "SETUSER", "default", "resetchannels"])
        .await;
    let refused = try_publish(&host, "news", "two").await.expect_status(500);
    assert_eq!(refused.code(), "PUBSUB_REFUSED");
    let refused = host.get("/fixture/messages/news").send().await;
    assert_eq!(refused.expect_status(500).code(), "PUBSUB_REFUSED");
    let () = redis
        .ask(&["ACL", "SETUSER", "default", "allchannels"])
        .await;
    publish(&host, "news", "three").await;
    host.stop().await;
}

#[tokio::test]
async fn without_redis_it_is_said_that_nothing_carries_messages() {
    let host = started().await;
    let carried = host.get("/fixture/messages").send().await;
    assert_eq!(carried.expect_status(200).data(), false);
    let refused = try_publish(&host, "news", "one").await.expect_status(503);
    assert_eq!(refused.code(), "PUBSUB_OFF");
    let refused = host.get("/fixture/messages/news").send().await;
    assert_eq!(refused.expect_status(503).code(), "PUBSUB_OFF");
    host.stop().await;
}
