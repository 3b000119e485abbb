//! What nobody keeps, where there is a Redis: it carries that between hosts, and nothing hangs on its being there.

use std::{collections::VecDeque, future::poll_fn};

use futures_util::{Stream, StreamExt};
use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{HostProcess, RedisServer, TestHost, eventually, within};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client as Sql, NoTls};

use crate::stage::{Client, builder, call, publish};

/// As Redis knows it.
const CHANNEL: &str = "stream@0:publications";

/// Two hosts, of which one is a process of its own, on one Redis.
struct Stage {
    redis: RedisServer,
    first: TestHost,
    second: HostProcess,
    family: Uuid,
    user: Uuid,
}

impl Stage {
    async fn set() -> Self {
        let redis = RedisServer::start().await;
        // As often as the test wants.
        let often = "[plugins.stream.config]\ncommands_per_second = 10_000\n
            [plugins.stream.config.namespaces.typing]\nephemeral = true\nmessage_bytes_max = 1_000
            publish = [\"OWNER\"]\npublish_per_second = 10_000
            [plugins.stream.config.namespaces.board]\nhistory_size = 100\npublish = [\"OWNER\"]";
        let first = builder()
            .config(&redis.config())
            .config(often)
            .start()
            .await;
        let second = first.process_beside().start().await;
        Self {
            redis,
            first,
            second,
            family: Uuid::now_v7(),
            user: Uuid::now_v7(),
        }
    }

    /// Clients of both hosts, which listen to both channels.
    async fn clients(&self) -> (Client, Client) {
        let whose = Some((Role::Owner, self.family));
        let token = self.first.token_of(self.user, whose);
        let mut here = Client::connect(self.first.address(), &token).await;
        let mut there = Client::connect(self.second.address(), &token).await;
        for client in [&mut here, &mut there] {
            let _ = client.subscribe("typing:kitchen").await;
            let _ = client.subscribe("board:kitchen").await;
        }
        (here, there)
    }

    /// Waits until Redis has both hosts.
    async fn until_both_listen(&self) {
        eventually("both hosts have subscribed at Redis", async || {
            let counts: (String, i64) = self.redis.ask(&["PUBSUB", "NUMSUB", CHANNEL]).await;
            (counts.1 == 2).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.second.kill().await;
        self.first.stop().await;
    }
}

/// The payloads that the hosts are notified of, while the client lives.
async fn notifications(host: &TestHost) -> (Sql, mpsc::UnboundedReceiver<String>) {
    let connected = host.database().config().connect(NoTls).await;
    let (client, mut connection) = connected.expect("the database is open");
    let (heard, payloads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message {
                // A test that has ended hears no more.
                let _ = heard.send(notification.payload().to_owned());
            }
        }
    });
    let listens = client.batch_execute("listen nself_stream").await;
    listens.expect("anybody may listen");
    (client, payloads)
}

/// Publishes a number, as the client is let; whether it was taken.
async fn type_number(client: &mut Client, number: usize) -> bool {
    let request = json!({"channel": "typing:kitchen", "data": number});
    let answer = client.ask("publish", request).await;
    if answer["publish"].is_object() {
        return true;
    }
    assert_eq!(answer["error"]["code"], 100, "{answer}");
    assert_eq!(answer["error"]["temporary"], true, "{answer}");
    false
}

/// The next command that publishes something with that in it.
async fn published(commands: &mut (impl Stream<Item = String> + Unpin), what: &str) -> String {
    let is_it = |line: &String| line.contains("PUBLISH") && line.contains(what);
    loop {
        let line = within("a command", commands.next()).await;
        let line = line.expect("Redis is watched");
        if is_it(&line) {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_keeps_goes_by_redis_and_not_by_a_notification() {
    let stage = Stage::set().await;
    let (mut here, mut there) = stage.clients().await;
    stage.until_both_listen().await;
    assert_eq!(stage.redis.channels().await, [CHANNEL]);
    let (_client, mut notified) = notifications(&stage.first).await;
    let mut commands = stage.redis.commands().await;

    let channel = format!("family:{}:typing:kitchen", stage.family);
    assert!(type_number(&mut here, 4711).await);
    let published_line = published(&mut commands, "4711").await;
    assert!(published_line.contains(CHANNEL), "{published_line}");
    let request = json!({"channel": channel, "data": "by a program"});
    let answer = call(&stage.first, "publish", request).await;
    assert!(answer["result"].is_object(), "{answer}");
    let board = format!("family:{}:board:kitchen", stage.family);
    let request = json!({"channel": board, "data": "in passing", "skip_history": true});
    let _ = call(&stage.first, "publish", request).await;
    for client in [&mut here, &mut there] {
        for expected in [json!(4711), json!("by a program"), json!("in passing")] {
            assert_eq!(client.publication().await["data"], expected);
        }
    }

    // What is no publication of this plugin's is heard by nobody: another one's channel, and orders.
    let told = json!({"kind": "publication", "channel": channel, "data": "of another"});
    let other = ["PUBLISH", "other@0:publications", &told.to_string()];
    let () = stage.redis.ask(&other).await;
    let whom = json!({"user": stage.user, "client": ""});
    let order = json!({"kind": "disconnect", "channel": "", "info": whom});
    for what in [order.to_string(), "{".to_owned(), "\u{0}".to_owned()] {
        let () = stage.redis.ask(&["PUBLISH", CHANNEL, &what]).await;
    }
    // A transaction is told by a notification when it commits, which Redis could not.
    let sql = stage.first.sql().await;
    publish(&sql, &channel, json!("by SQL")).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.publication().await["data"], "by SQL");
    }
    let mut publications = Vec::new();
    while publications.is_empty() {
        let payload = within("a notification", notified.recv()).await;
        let payload = payload.expect("it goes on");
        let told: Value = payload.parse().unwrap_or_default();
        if told["kind"] == "publication" {
            publications.push(told["data"].clone());
        }
    }
    assert_eq!(publications, ["by SQL"], "the first one and the only one");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_what_nobody_keeps_goes_on_and_the_rest_is_refused_for_now() {
    let stage = Stage::set().await;
    let (mut here, mut there) = stage.clients().await;
    stage.until_both_listen().await;
    let outage = stage.first.database_away().await;
    for number in 1..=20 {
        assert!(type_number(&mut here, number).await);
        assert_eq!(there.publication().await["data"], number);
    }
    let request = json!({"channel": "board:kitchen", "data": "kept"});
    let refused = here.ask("publish", request.clone()).await;
    assert_eq!(refused["error"]["code"], 100, "{refused}");
    assert_eq!(refused["error"]["temporary"], true, "{refused}");
    outage.end().await;
    eventually("what is kept is taken again", async || {
        let answer = here.ask("publish", request.clone()).await;
        answer["publish"].is_object().then_some(())
    })
    .await;
    assert_eq!(there.publication().await["data"], "kept");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_die_and_come_back_and_nobody_is_sent_away() {
    let mut stage = Stage::set().await;
    let (mut here, mut there) = stage.clients().await;
    stage.until_both_listen().await;
    for number in 1..=20 {
        assert!(type_number(&mut here, number).await);
        assert_eq!(there.publication().await["data"], number);
    }

    stage.redis.kill();
    // Of those that were on their way nobody knows; whoever publishes them is told so, and the next go another way.
    let mut taken = VecDeque::new();
    for number in 21..=60 {
        if type_number(&mut here, number).await {
            taken.push_back(number);
        }
    }
    assert!(taken.len() >= 39, "{taken:?}");
    let sql = stage.first.sql().await;
    let board = format!("family:{}:board:kitchen", stage.family);
    for number in 1..=20 {
        publish(&sql, &board, json!(number)).await;
    }
    let mut kept = 0;
    while kept < 20 || !taken.is_empty() {
        let publication = there.publication().await;
        if publication["offset"].is_number() {
            kept += 1;
            assert_eq!(publication["offset"], kept);
            assert_eq!(publication["data"], kept);
        } else {
            assert_eq!(publication["data"], taken.pop_front().unwrap_or_default());
        }
    }

    stage.redis.run().await;
    stage.until_both_listen().await;
    let mut commands = stage.redis.commands().await;
    for number in 61..=80 {
        assert!(type_number(&mut here, number).await);
        assert_eq!(there.publication().await["data"], number);
    }
    let _ = published(&mut commands, ":80").await;
    stage.end().await;
}
