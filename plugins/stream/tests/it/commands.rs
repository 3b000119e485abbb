//! The protocol, frame by frame: commands, their answers, and how a connection ends.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::eventually;

use crate::stage::{Client, builder, count, host, publish};

#[tokio::test]
async fn a_connection_begins_with_a_token_that_is_good() {
    let host = host().await;
    let mut client = Client::open(host.address()).await;
    assert_eq!(client.refusal("connect", json!({"token": ""})).await, 101);
    let token = host.token(Role::Owner, Uuid::now_v7());
    let connected = client
        .ask("connect", json!({"token": token, "name": "js"}))
        .await;
    let connected = &connected["connect"];
    assert_eq!(connected["expires"], true);
    assert!(
        connected["ttl"].as_u64().expect("a number") > 3_000,
        "{connected}"
    );
    assert_eq!(
        (&connected["ping"], &connected["pong"]),
        (&json!(25), &json!(true))
    );
    // Whose it is has been said.
    client.command("connect", json!({"token": token})).await;
    assert_eq!(client.end().await, (3501, "bad request".to_owned()));
    let mut forged = Client::open(host.address()).await;
    let token = format!("{}x", host.token(Role::Owner, Uuid::now_v7()));
    forged.command("connect", json!({"token": token})).await;
    assert_eq!(forged.end().await, (3500, "invalid token".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn what_is_no_command_ends_the_connection() {
    let host = host().await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    for said in [
        "{",
        "[]",
        "hello",
        "{\"id\":1}{\"id\":2}",
        "{\"id\":-1,\"rpc\":{}}",
        "{\"rpc\":{}}",
        "{\"id\":9}",
    ] {
        let mut client = Client::connect(host.address(), &token).await;
        client.say(said).await;
        assert_eq!(
            client.end().await,
            (3501, "bad request".to_owned()),
            "{said}"
        );
    }
    // Nor does anything go before the token.
    let mut client = Client::open(host.address()).await;
    client
        .command("subscribe", json!({"channel": "public:a"}))
        .await;
    assert_eq!(client.end().await.0, 3501);
    host.stop().await;
}

#[tokio::test]
async fn several_commands_come_in_one_frame_and_are_answered_in_order() {
    let host = host().await;
    let mut client = Client::open(host.address()).await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let batch = [
        json!({"id": 1, "connect": {"token": token}}),
        json!({"id": 2, "subscribe": {"channel": "chat:kitchen"}}),
        json!({}),
        json!({"id": 3, "publish": {"channel": "chat:kitchen", "data": {"text": "hi"}}}),
        json!({"send": {"data": 1}}),
        json!({"id": 4, "ping": {}}),
        json!({"id": 5, "unsubscribe": {"channel": "chat:kitchen"}}),
        json!({"id": 6, "unsubscribe": {"channel": "chat:kitchen"}}),
    ];
    client
        .say(&batch.map(|command| command.to_string()).join("\n"))
        .await;
    for (id, result) in [
        (1, "connect"),
        (2, "subscribe"),
        (3, "publish"),
        (4, "ping"),
        (5, "unsubscribe"),
        (6, "unsubscribe"),
    ] {
        let answer = client.answer(id).await;
        assert!(answer[result].is_object(), "{id}: {answer}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_publication_reaches_its_subscribers_with_offset_and_publisher() {
    let host = host().await;
    let family = Uuid::now_v7();
    let mut writer = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let mut reader = Client::connect(host.address(), &host.token(Role::AdultMember, family)).await;
    let whole = format!("family:{family}:chat:kitchen");
    let begun = writer.subscribe("chat:kitchen").await;
    // The same channel by its whole name.
    let same = reader.subscribe(&whole).await;
    assert_eq!(begun["epoch"], same["epoch"]);
    assert_eq!(
        (&begun["recoverable"], &begun["positioned"]),
        (&json!(true), &json!(true))
    );
    let text = json!({"text": "Tea?", "é": [1, 2.5, null]});
    let published = writer
        .ask("publish", json!({"channel": "chat:kitchen", "data": text}))
        .await;
    assert!(published["publish"].is_object(), "{published}");
    for (client, spelled) in [(&mut writer, "chat:kitchen"), (&mut reader, &*whole)] {
        // Who comes and goes is told as well.
        let push = loop {
            let push = client.push().await;
            if push["pub"].is_object() {
                break push;
            }
        };
        assert_eq!(push["channel"], spelled);
        let publication = &push["pub"];
        assert_eq!(
            (&publication["data"], &publication["offset"]),
            (&text, &json!(1))
        );
        assert!(publication["info"]["user"].is_string() && publication["time"].is_number());
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_not_kept_reaches_who_is_there_and_leaves_nothing() {
    let host = host().await;
    let family = Uuid::now_v7();
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let begun = client.subscribe("typing:kitchen").await;
    assert_eq!(begun, json!({}));
    let sent = client
        .ask("publish", json!({"channel": "typing:kitchen", "data": "…"}))
        .await;
    assert!(sent["publish"].is_object(), "{sent}");
    let publication = client.publication().await;
    assert_eq!(
        (&publication["data"], &publication["offset"]),
        (&json!("…"), &json!(null))
    );
    let sql = host.sql().await;
    // From a transaction as well, with what it says about it.
    let publish = "select stream.publish($1, '\"sql\"', '{\"tags\": {\"a\": \"b\"}}')";
    let channel = format!("family:{family}:typing:kitchen");
    sql.execute(publish, &[&channel])
        .await
        .expect("it is published");
    let publication = client.publication().await;
    assert_eq!(
        (&publication["data"], &publication["tags"]),
        (&json!("sql"), &json!({"a": "b"}))
    );
    assert_eq!(
        count(&sql, "select count(*) from stream.publications").await,
        0
    );
    assert_eq!(
        client
            .refusal("history", json!({"channel": "typing:kitchen"}))
            .await,
        108
    );
    host.stop().await;
}

#[tokio::test]
async fn commands_that_cannot_be_are_refused_with_centrifugo_s_codes() {
    let host = builder()
        .config("[plugins.stream.config]\nchannels_per_connection = 2")
        .config("[plugins.stream.config.namespaces.small]\npublish = [\"OWNER\"]\nmessage_bytes_max = 10\npublish_per_second = 1")
        .start()
        .await;
    let mut client =
        Client::connect(host.address(), &host.token(Role::Owner, Uuid::now_v7())).await;
    let _ = client.subscribe("public:a").await;
    let _ = client.subscribe("public:b").await;
    for (command, request, code) in [
        ("subscribe", json!({"channel": "public:a"}), 105),
        ("subscribe", json!({"channel": "public:c"}), 106),
        ("publish", json!({"channel": "small:a"}), 107),
        (
            "publish",
            json!({"channel": "small:a", "data": "0123456789"}),
            106,
        ),
        ("publish", json!({"channel": "small:a", "data": "\0"}), 107),
        ("publish", json!({"channel": "small:a", "data": 1}), 111),
        ("presence", json!({"channel": "public:a"}), 108),
        ("history", json!({"channel": "small:a", "limit": 1}), 108),
        ("rpc", json!({"method": "anything", "data": {}}), 104),
        (
            "sub_refresh",
            json!({"channel": "public:a", "token": "x"}),
            108,
        ),
    ] {
        let refused = client.refusal(command, request.clone()).await;
        assert_eq!(refused, code, "{command} {request}");
    }
    host.stop().await;
}

#[tokio::test]
async fn who_is_there_is_known_to_all_who_are() {
    let host = host().await;
    let family = Uuid::now_v7();
    let mut first = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = first.subscribe("chat:kitchen").await;
    assert!(first.push().await["join"]["info"]["user"].is_string());
    let second_token = host.token(Role::AdultMember, family);
    let mut second = Client::open(host.address()).await;
    let connected = second.ask("connect", json!({"token": second_token})).await;
    let id = connected["connect"]["client"]
        .as_str()
        .expect("an id")
        .to_owned();
    let _ = second.subscribe("chat:kitchen").await;
    assert_eq!(first.push().await["join"]["info"]["client"], *id);
    let there = first
        .ask("presence", json!({"channel": "chat:kitchen"}))
        .await;
    let there = there["presence"]["presence"].as_object().expect("clients");
    assert_eq!(there.len(), 2);
    assert_eq!(there[&id]["client"], *id);
    let stats = second
        .ask("presence_stats", json!({"channel": "chat:kitchen"}))
        .await;
    assert_eq!(
        stats["presence_stats"],
        json!({"num_clients": 2, "num_users": 2})
    );
    second.close().await;
    assert_eq!(first.push().await["leave"]["info"]["client"], *id);
    eventually("one is there", async || {
        let stats = first
            .ask("presence_stats", json!({"channel": "chat:kitchen"}))
            .await;
        (stats["presence_stats"]["num_clients"] == 1).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_ended_and_one_that_does_goes_on() {
    let host = builder()
        .config("[plugins.stream.config]\nping_seconds = 1\npong_seconds = 10")
        .start()
        .await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let mut answers = Client::connect(host.address(), &token).await;
    let mut silent = Client::connect(host.address(), &token).await;
    let (end, ()) = tokio::join!(silent.end_without_pong(), async {
        for _ in 0..3 {
            answers.ping().await;
        }
    });
    assert_eq!(end, (3012, "no pong".to_owned()));
    let answer = answers.ask("ping", json!({})).await;
    assert!(answer["ping"].is_object(), "{answer}");
    host.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let host = builder()
        .config("[plugins.stream.config]\nconnections_per_user = 2")
        .start()
        .await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let mut first = Client::connect(host.address(), &token).await;
    let mut second = Client::connect(host.address(), &token).await;
    // Only when it is known that the others are there it is sent away for good.
    let third = async || {
        let mut third = Client::open(host.address()).await;
        let id = third.command("connect", json!({"token": token})).await;
        third.answer_or_end(id).await
    };
    let told = third().await.expect("it is to come again");
    assert_eq!(
        (&told["error"]["code"], &told["error"]["temporary"]),
        (&json!(111), &json!(true))
    );
    let sent_away = eventually("it is sent away", async || third().await.err());
    let (end, (), ()) = tokio::join!(sent_away, first.ping(), second.ping());
    assert_eq!(end, (3504, "connection limit".to_owned()));
    first.close().await;
    eventually("there is room again", async || {
        let mut again = Client::open(host.address()).await;
        let id = again.command("connect", json!({"token": token})).await;
        again.is_answered(id).await.then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn who_asks_too_much_is_told_to_ask_again_and_still_publishes() {
    let host = builder()
        .config("[plugins.stream.config]\ncommands_per_second = 1\nchannels_per_connection = 4")
        .start()
        .await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let mut client = Client::connect(host.address(), &token).await;
    let said: Vec<_> = (100..200)
        .map(|id| json!({"id": id, "presence_stats": {"channel": "chat:kitchen"}}).to_string())
        .collect();
    client.say(&said.join("\n")).await;
    let mut refused = 0;
    for id in 100..200 {
        let answer = client.answer(id).await;
        if answer["error"]["code"] == 111 {
            assert_eq!(answer["error"]["temporary"], true, "{answer}");
            refused += 1;
        }
    }
    // Five may come at once; for all to be answered, they would have to take a minute and a half.
    assert!(refused > 0, "all of them were answered");
    let published = client
        .ask("publish", json!({"channel": "chat:kitchen", "data": 1}))
        .await;
    assert!(published["publish"].is_object(), "{published}");
    host.stop().await;
}

#[tokio::test]
async fn deltas_are_for_who_asks_where_the_namespace_has_them() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.board]\nhistory_size = 10\ndeltas = true")
        .start()
        .await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let board = format!("family:{family}:board:a");
    let mut client = Client::connect(host.address(), &token).await;
    for (channel, has) in [(&*board, json!(true)), ("public:a", json!(null))] {
        let request = json!({"channel": channel, "delta": "fossil"});
        let begun = client.subscribe_with(request).await;
        assert_eq!(begun["delta"], has, "{channel}");
    }
    let sql = host.sql().await;
    publish(&sql, "public:a", json!({"n": 1})).await;
    assert_eq!(client.publication().await["data"], json!({"n": 1}));
    // What has little in common with the one before comes whole.
    for data in [json!({"n": 1}), json!(["something", "else"])] {
        publish(&sql, &board, data.clone()).await;
        let publication = client.publication().await;
        let text = publication["data"].as_str().expect("a text");
        assert_eq!(text.parse::<Value>().expect("JSON"), data);
        assert_eq!(publication["delta"], json!(null));
    }
    let mut other = Client::connect(host.address(), &token).await;
    other
        .command("subscribe", json!({"channel": board, "delta": "other"}))
        .await;
    assert_eq!(other.end().await, (3501, "bad request".to_owned()));
    host.stop().await;
}
