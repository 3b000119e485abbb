//! npm's centrifuge, unchanged.

use std::{collections::VecDeque, process::Stdio, sync::Arc};

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, WrongClock, node_scripts, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use crate::stage::{builder, family, host, publish, until_nobody_listens};

/// The client in its process, which ends with this.
struct Script {
    _child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was printed and nobody has asked for.
    kept: VecDeque<Value>,
}

impl Script {
    async fn start(host: &TestHost, token: &str) -> Self {
        let scripts = node_scripts!("tests/clients").await;
        let mut command = scripts.script("client.mjs");
        let url = format!("ws://{}/connection/websocket", host.address());
        command
            .env("URL", url)
            .env("TOKEN", token)
            .stdin(Stdio::piped());
        let mut child = scripts.start(&mut command);
        let input = child.stdin.take().expect("it takes commands");
        let printed = child.stdout.take().expect("what it prints is read");
        let lines = BufReader::new(printed).lines();
        let mut script = Self {
            _child: child,
            input,
            lines,
            kept: VecDeque::new(),
        };
        script.order(json!({"do": "connect"})).await;
        script
    }

    /// Gives a command; what came of it.
    async fn order(&mut self, command: Value) -> Value {
        let written = self
            .input
            .write_all(format!("{command}\n").as_bytes())
            .await;
        written.expect("it takes commands");
        let done = command["do"].clone();
        self.next(&format!("{command}"), |line| line["done"] == done)
            .await
    }

    /// The next line of that kind; others before it are kept for later.
    async fn next(&mut self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&is_meant) {
            return self.kept.remove(at).expect("it is there");
        }
        loop {
            let line = within(what, self.lines.next_line()).await;
            let line = line.expect("it can be read").expect("the client goes on");
            let line: Value = line
                .parse()
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            if is_meant(&line) {
                return line;
            }
            self.kept.push_back(line);
        }
    }

    async fn event(&mut self, event: &str) -> Value {
        self.next(event, |line| line["event"] == event).await
    }

    async fn subscribe(&mut self, channel: &str) -> Value {
        self.order(json!({"do": "subscribe", "channel": channel}))
            .await;
        self.event("subscribed").await
    }

    /// The data of the next publication.
    async fn data(&mut self) -> Value {
        self.event("publication").await["data"].clone()
    }
}

/// How many are said to be there.
fn clients(presence: &Value) -> usize {
    let clients = presence["result"]["clients"].as_object();
    clients.expect("presence has clients").len()
}

#[tokio::test]
async fn it_connects_subscribes_publishes_and_looks_around() {
    let host = host().await;
    let family = Uuid::now_v7();
    let mut first = Script::start(&host, &host.token(Role::Owner, family)).await;
    let mut second = Script::start(&host, &host.token(Role::AdultMember, family)).await;
    let id = second.event("connected").await["client"].clone();
    let begun = first.subscribe("chat:kitchen").await;
    assert_eq!(
        (&begun["recoverable"], &begun["wasRecovering"]),
        (&json!(true), &json!(false))
    );
    let _ = second.subscribe("chat:kitchen").await;
    let joined = first
        .next("a join", |line| {
            line["event"] == "join" && line["client"] == id
        })
        .await;
    assert_eq!(joined["channel"], "chat:kitchen");
    let data = json!({"text": "Grüße, 你好", "n": 1.5});
    let sent = second
        .order(json!({"do": "publish", "channel": "chat:kitchen", "data": data}))
        .await;
    assert_eq!(sent["error"], json!(null), "{sent}");
    for client in [&mut first, &mut second] {
        let publication = client.event("publication").await;
        assert_eq!(
            (&publication["data"], &publication["offset"]),
            (&data, &json!(1))
        );
        assert!(publication["user"].is_string(), "{publication}");
    }
    let there = first
        .order(json!({"do": "presence", "channel": "chat:kitchen"}))
        .await;
    assert_eq!(clients(&there), 2, "{there}");
    let stats = first
        .order(json!({"do": "presenceStats", "channel": "chat:kitchen"}))
        .await;
    assert_eq!(stats["result"], json!({"numClients": 2, "numUsers": 2}));
    let history = first
        .order(json!({"do": "history", "channel": "chat:kitchen", "options": {"limit": 10}}))
        .await;
    assert_eq!(
        history["result"]["publications"][0]["data"], data,
        "{history}"
    );
    assert_eq!(history["result"]["offset"], 1);
    let unknown = first
        .order(json!({"do": "rpc", "method": "anything", "data": {}}))
        .await;
    assert_eq!(unknown["error"], 104);
    second
        .order(json!({"do": "unsubscribe", "channel": "chat:kitchen"}))
        .await;
    assert_eq!(first.event("leave").await["client"], id);
    second.order(json!({"do": "disconnect"})).await;
    let gone = second.event("disconnected").await;
    assert_eq!(gone["code"], 0, "it was asked to");
    host.stop().await;
}

#[tokio::test]
async fn it_recovers_what_it_missed_while_it_was_cut_off() {
    let host = host().await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:news");
    let sql = host.sql().await;
    let mut client = Script::start(&host, &host.token(Role::Owner, family)).await;
    let _ = client.subscribe(&channel).await;
    publish(&sql, &channel, json!(0)).await;
    assert_eq!(client.data().await, 0);
    for cut in 0..3 {
        client.order(json!({"do": "cut"})).await;
        for number in 1..=5 {
            publish(&sql, &channel, json!(cut * 5 + number)).await;
        }
        let back = client.event("subscribed").await;
        assert_eq!(
            (&back["wasRecovering"], &back["recovered"]),
            (&json!(true), &json!(true))
        );
        for number in 1..=5 {
            assert_eq!(client.data().await, cut * 5 + number);
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn it_is_told_when_not_all_can_be_recovered() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.few]\nhistory_size = 2")
        .start()
        .await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:few:a");
    let sql = host.sql().await;
    let mut client = Script::start(&host, &host.token(Role::Owner, family)).await;
    let _ = client.subscribe(&channel).await;
    client.order(json!({"do": "disconnect"})).await;
    until_nobody_listens(&host).await;
    for number in 1..=5 {
        publish(&sql, &channel, json!(number)).await;
    }
    client.order(json!({"do": "connect"})).await;
    let back = client.event("subscribed").await;
    assert_eq!(
        (&back["wasRecovering"], &back["recovered"]),
        (&json!(true), &json!(false))
    );
    publish(&sql, &channel, json!(6)).await;
    assert_eq!(client.data().await, 6);
    host.stop().await;
}

#[tokio::test]
async fn another_family_s_channel_is_refused_and_not_asked_for_again() {
    let host = host().await;
    let theirs = format!("family:{}:news", Uuid::now_v7());
    let mut client = Script::start(&host, &host.token(Role::Owner, Uuid::now_v7())).await;
    client
        .order(json!({"do": "subscribe", "channel": theirs}))
        .await;
    assert_eq!(client.event("unsubscribed").await["code"], 102);
    let history = client
        .order(json!({"do": "history", "channel": theirs, "options": {"limit": 1}}))
        .await;
    assert_eq!(history["error"], 102);
    let publish = client
        .order(json!({"do": "publish", "channel": theirs, "data": 1}))
        .await;
    assert_eq!(publish["error"], 102);
    host.stop().await;
}

#[tokio::test]
async fn it_brings_a_newer_token_when_the_old_one_has_ended() {
    let clock = Arc::<WrongClock>::default();
    let host = builder()
        .config("[plugins.stream.config]\nexpired_grace_seconds = 0")
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let family = Uuid::now_v7();
    let mut client = Script::start(&host, &host.token(Role::Owner, family)).await;
    let _ = client.subscribe("public:a").await;
    clock.set_ahead(7_200);
    let newer = host.token(Role::Owner, family);
    client.order(json!({"do": "token", "token": newer})).await;
    // Sent away with 3005 it comes again, is told that its token has ended, and asks for another.
    let away = client
        .next("3005", |line| {
            line["event"] == "connecting" && line["code"] == 3005
        })
        .await;
    assert_eq!(away["reason"], "connection expired");
    let _ = client.event("token wanted").await;
    let back = client.event("subscribed").await;
    assert_eq!(
        (&back["wasRecovering"], &back["recovered"]),
        (&json!(true), &json!(true))
    );
    publish(&host.sql().await, "public:a", json!("on")).await;
    assert_eq!(client.data().await, "on");
    host.stop().await;
}

#[tokio::test]
async fn a_token_that_is_none_ends_it_for_good() {
    let host = host().await;
    let mut client = Script::start(&host, "no token").await;
    let gone = client.event("disconnected").await;
    assert_eq!(
        (&gone["code"], &gone["reason"]),
        (&json!(3500), &json!("invalid token"))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_member_who_is_removed_is_unsubscribed_and_does_not_come_again() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let mut client = Script::start(&host, &token).await;
    let _ = client.subscribe("typing:kitchen").await;
    let remove = "select public.remove_member($1, $2, null)";
    sql.execute(remove, &[&family, &member])
        .await
        .expect("they are removed");
    assert_eq!(client.event("unsubscribed").await["code"], 2000);
    host.stop().await;
}

#[tokio::test]
async fn it_hears_what_the_server_subscribes_it_to_and_recovers_that_too() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.user]\non_connect = true\nhistory_size = 100")
        .config("[plugins.stream.config.namespaces.home]\non_connect = true\njoin_leave = true")
        .start()
        .await;
    let (family, person, other) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let own = format!("user:{person}");
    let home = format!("family:{family}:home");
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let mut client = Script::start(&host, &token).await;
    let subscribed = client.event("server subscribed").await;
    assert_eq!(
        (&subscribed["channel"], &subscribed["wasRecovering"]),
        (&json!(home), &json!(false))
    );
    assert_eq!(client.event("server subscribed").await["channel"], own);
    assert_eq!(
        client.event("server join").await["user"],
        person.to_string()
    );
    let theirs = host.token_of(other, Some((Role::Owner, family)));
    let mut second = Script::start(&host, &theirs).await;
    assert_eq!(client.event("server join").await["user"], other.to_string());
    let sql = host.sql().await;
    publish(&sql, &own, json!("one")).await;
    let told = client.event("server publication").await;
    assert_eq!((&told["data"], &told["offset"]), (&json!("one"), &json!(1)));
    client.order(json!({"do": "cut"})).await;
    for number in 2..=4 {
        publish(&sql, &own, json!(number)).await;
    }
    let back = client
        .next("back in its own channel", |line| {
            line["event"] == "server subscribed" && line["channel"] == *own
        })
        .await;
    assert_eq!(
        (&back["wasRecovering"], &back["recovered"]),
        (&json!(true), &json!(true))
    );
    for number in 2..=4 {
        assert_eq!(client.event("server publication").await["data"], number);
    }
    second.order(json!({"do": "disconnect"})).await;
    let left = client
        .next("who has left", |line| {
            line["event"] == "server leave" && line["user"] == other.to_string()
        })
        .await;
    assert_eq!(left["channel"], home);
    // By a program, while it is connected.
    for (method, more) in [
        ("subscribe", json!({"hello": 1})),
        ("unsubscribe", json!(null)),
    ] {
        let request = json!({"user": person, "channel": "public:a", "data": more});
        let call = host.post(&format!("/api/{method}")).operator();
        let _ = call.json(&request).send().await.expect_status(200);
        let event = client
            .next(method, |line| {
                line["event"] == format!("server {method}d") && line["channel"] == "public:a"
            })
            .await;
        if method == "subscribe" {
            publish(&sql, "public:a", json!("all")).await;
            assert_eq!(client.event("server publication").await["data"], "all");
            assert_eq!(event["data"], more);
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn it_takes_what_was_published_in_one_transaction_one_by_one() {
    let host = host().await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:news");
    let sql = host.sql().await;
    let token = host.token(Role::Owner, family);
    let mut client = Script::start(&host, &token).await;
    let _ = client.subscribe(&channel).await;
    let all = "select stream.publish($1, to_jsonb(n)) from generate_series(1, 200) n";
    let published = sql.query(all, &[&channel]).await;
    published.expect("a transaction");
    for number in 1..=200 {
        let event = client.event("publication").await;
        assert_eq!(
            (&event["offset"], &event["data"]),
            (&json!(number), &json!(number))
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn it_puts_documents_together_from_what_has_changed() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.board]\nhistory_size = 100\ndeltas = true")
        .start()
        .await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:board:plan");
    let sql = host.sql().await;
    let token = host.token(Role::Owner, family);
    let mut client = Script::start(&host, &token).await;
    let mut other = Script::start(&host, &token).await;
    let options = json!({"delta": "fossil"});
    client
        .order(json!({"do": "subscribe", "channel": channel, "options": options}))
        .await;
    let _ = client.event("subscribed").await;
    // Beside one that takes no deltas.
    let _ = other.subscribe(&channel).await;
    let document = |number: i32| {
        let lines: Vec<_> = (0..100)
            .map(|line| json!({"line": line, "text": "Grüße, 你好 😀", "changed": line == number}))
            .collect();
        json!({"number": number, "lines": lines})
    };
    for number in 1..=10 {
        publish(&sql, &channel, document(number)).await;
        assert_eq!(client.data().await, document(number));
        assert_eq!(other.data().await, document(number));
    }
    let stats = client
        .order(json!({"do": "deltaStats", "channel": channel}))
        .await;
    let stats = &stats["result"];
    assert_eq!(
        (&stats["numFullPayloads"], &stats["numDeltaPayloads"]),
        (&json!(1), &json!(9))
    );
    assert!(stats["compressionRatio"].as_f64() > Some(0.7), "{stats}");
    // What it missed comes whole, and what follows goes on from there.
    client.order(json!({"do": "cut"})).await;
    for number in 11..=13 {
        publish(&sql, &channel, document(number)).await;
    }
    let back = client.event("subscribed").await;
    assert_eq!(back["recovered"], true, "{back}");
    for number in 14..=16 {
        publish(&sql, &channel, document(number)).await;
    }
    for number in 11..=16 {
        assert_eq!(client.data().await, document(number));
    }
    host.stop().await;
}
