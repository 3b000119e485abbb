//! Centrifugo's server API: programs with a key publish and steer.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};
use nself_plugin_testkit::eventually;

use crate::stage::{Client, call, host};

#[tokio::test]
async fn programs_publish_and_read_what_is_kept() {
    let host = host().await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:news");
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let begun = client.subscribe(&channel).await;
    let request = json!({"channel": channel, "data": {"n": 1}, "tags": {"a": "b"}, "idempotency_key": "k", "skip_history": false});
    let published = call(&host, "publish", request.clone()).await;
    let expected = json!({"result": {"offset": 1, "epoch": begun["epoch"]}});
    assert_eq!(published, expected);
    // Said twice, it is one.
    assert_eq!(call(&host, "publish", request).await, expected);
    let publication = client.publication().await;
    assert_eq!(
        (&publication["data"], &publication["tags"]),
        (&json!({"n": 1}), &json!({"a": "b"}))
    );
    let both = json!({"channels": [channel, "nothing:of:the:kind"], "data": 2});
    let sent = call(&host, "broadcast", both).await;
    let responses = &sent["result"]["responses"];
    assert_eq!(responses[0]["result"]["offset"], 2, "{sent}");
    assert_eq!(responses[1]["error"]["code"], 102, "{sent}");
    assert_eq!(client.publication().await["data"], 2);
    let history = call(
        &host,
        "history",
        json!({"channel": channel, "limit": 10, "reverse": true}),
    )
    .await;
    let history = &history["result"];
    assert_eq!(
        (&history["offset"], &history["epoch"]),
        (&json!(2), &begun["epoch"])
    );
    assert_eq!(
        (
            &history["publications"][0]["data"],
            &history["publications"][1]["offset"]
        ),
        (&json!(2), &json!(1))
    );
    let typing = json!({"channel": format!("family:{family}:typing:a"), "data": 1});
    assert_eq!(call(&host, "publish", typing).await, json!({"result": {}}));
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_an_error_with_centrifugo_s_code() {
    let host = host().await;
    let family = Uuid::now_v7();
    let large = "x".repeat(70_000);
    for (method, request, code) in [
        (
            "publish",
            json!({"channel": "chat:kitchen", "data": 1}),
            102,
        ),
        (
            "publish",
            json!({"channel": "public:a", "data": large}),
            107,
        ),
        ("publish", json!({"channel": "public:a", "data": "\0"}), 107),
        (
            "publish",
            json!({"channel": format!("family:{family}:typing:a"), "data": 1, "tags": {"a": large}}),
            107,
        ),
        (
            "publish",
            json!({"channel": "public:a", "data": 1, "idempotency_key": large}),
            107,
        ),
        (
            "history",
            json!({"channel": format!("family:{family}:typing:a")}),
            108,
        ),
        (
            "history",
            json!({"channel": "public:a", "since": {"offset": 1, "epoch": "other"}}),
            112,
        ),
        ("presence", json!({"channel": "public:a"}), 108),
        ("publish", json!({"channel": "public:a"}), 107),
        (
            "publish",
            json!({"channel": "public:a", "b64data": "bm8ganNvbg=="}),
            107,
        ),
        (
            "publish",
            json!({"channel": "public:a", "data": 1, "skip_history": true, "idempotency_key": "k"}),
            107,
        ),
        ("disconnect", json!({"user": ""}), 107),
    ] {
        let answer = call(&host, method, request.clone()).await;
        assert_eq!(
            answer["error"]["code"],
            code,
            "{method} {:.100}",
            request.to_string()
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn programs_see_who_is_there_and_send_them_away_on_every_host() {
    let host = host().await;
    let second = host.beside().start().await;
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let channel = format!("family:{family}:chat:kitchen");
    let token = host.token_of(person, Some((Role::Owner, family)));
    let mut here = Client::connect(host.address(), &token).await;
    let mut there = Client::connect(second.address(), &token).await;
    let mut other = Client::connect(host.address(), &host.token(Role::Admin, family)).await;
    for client in [&mut here, &mut there, &mut other] {
        let _ = client.subscribe("chat:kitchen").await;
    }
    eventually("all three are there", async || {
        let stats = call(&host, "presence_stats", json!({"channel": channel})).await;
        (stats == json!({"result": {"num_clients": 3, "num_users": 2}})).then_some(())
    })
    .await;
    let present = call(&second, "presence", json!({"channel": channel})).await;
    let present = present["result"]["presence"]
        .as_object()
        .expect("clients")
        .clone();
    assert!(
        present
            .values()
            .any(|one| one["user"] == *person.to_string()),
        "{present:?}"
    );
    eventually("both hosts are listed with their clients", async || {
        let info = call(&host, "info", json!({})).await;
        let nodes = info["result"]["nodes"].as_array().expect("nodes").clone();
        let clients: i64 = nodes
            .iter()
            .filter_map(|node| node["num_clients"].as_i64())
            .sum();
        (nodes.len() == 2 && clients == 3).then_some(())
    })
    .await;
    let batch = json!({"commands": [
        {"unsubscribe": {"user": person, "channel": channel}},
        {"publish": {"channel": "public:a", "data": 1}},
        {"publish": {"channel": "no channel", "data": 1}},
        {},
    ]});
    let done = call(&host, "batch", batch).await;
    let replies = done["replies"].as_array().expect("replies");
    assert_eq!(replies[0], json!({"unsubscribe": {}}), "{done}");
    assert_eq!(replies[1]["publish"]["offset"], 1, "{done}");
    assert_eq!(
        (&replies[2]["error"]["code"], &replies[3]["error"]["code"]),
        (&json!(102), &json!(104))
    );
    for client in [&mut here, &mut there] {
        let unsubscribed = loop {
            let push = client.push().await;
            if push["unsubscribe"].is_object() {
                break push["unsubscribe"]["code"].clone();
            }
        };
        assert_eq!(unsubscribed, 2000);
    }
    let gone = call(&second, "disconnect", json!({"user": person})).await;
    assert_eq!(gone, json!({"result": {}}));
    for client in [&mut here, &mut there] {
        assert_eq!(client.end().await, (3503, "force disconnect".to_owned()));
    }
    let answer = other.ask("ping", json!({})).await;
    assert!(answer["ping"].is_object(), "{answer}");
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn what_skips_the_history_is_heard_by_who_is_there_and_kept_for_nobody() {
    let host = host().await;
    let mut client = Client::connect(host.address(), &host.token_of(Uuid::now_v7(), None)).await;
    let _ = client.subscribe("public:a").await;
    let fleeting = json!({"channel": "public:a", "data": "now", "skip_history": true});
    assert_eq!(
        call(&host, "publish", fleeting).await,
        json!({"result": {}})
    );
    let told = client.publication().await;
    assert_eq!(
        (&told["data"], &told["offset"]),
        (&json!("now"), &json!(null))
    );
    // {"n": 1}
    let kept = json!({"channels": ["public:a"], "b64data": "eyJuIjogMX0="});
    let sent = call(&host, "broadcast", kept).await;
    assert_eq!(
        sent["result"]["responses"][0]["result"]["offset"], 1,
        "{sent}"
    );
    assert_eq!(client.publication().await["data"], json!({"n": 1}));
    let history = call(
        &host,
        "history",
        json!({"channel": "public:a", "limit": -1}),
    )
    .await;
    let kept = history["result"]["publications"].as_array().map(Vec::len);
    assert_eq!(kept, Some(1), "{history}");
    host.stop().await;
}

#[tokio::test]
async fn a_program_says_how_connections_end_and_which_go_on() {
    let host = host().await;
    let second = host.beside().start().await;
    let person = Uuid::now_v7();
    let token = host.token_of(person, None);
    let mut stays = Client::open(host.address()).await;
    let connected = stays.ask("connect", json!({"token": token})).await;
    let client = connected["connect"]["client"].clone();
    let mut here = Client::connect(host.address(), &token).await;
    let mut there = Client::connect(second.address(), &token).await;
    let request = json!({"user": person, "whitelist": [client, "no client"],
        "disconnect": {"code": 4242, "reason": "moved to another server"}});
    assert_eq!(
        call(&host, "disconnect", request).await,
        json!({"result": {}})
    );
    for client in [&mut here, &mut there] {
        let expected = (4242, "moved to another server".to_owned());
        assert_eq!(client.end().await, expected);
    }
    let answer = stays.ask("ping", json!({})).await;
    assert!(answer["ping"].is_object(), "{answer}");
    second.stop().await;
    host.stop().await;
}
