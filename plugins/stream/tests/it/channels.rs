//! What other families, other users and other roles reach: nothing, under whatever name.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};

use crate::stage::{Client, host, publish};

/// The commands that name a channel.
const COMMANDS: [&str; 5] = [
    "subscribe",
    "publish",
    "history",
    "presence",
    "presence_stats",
];

#[tokio::test]
async fn no_spelling_of_another_family_s_channel_is_answered() {
    let host = host().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, ours)).await;
    let id = theirs.to_string();
    let names = [
        (format!("family:{id}:chat:kitchen"), 102),
        (format!("family:{}:chat:kitchen", id.to_uppercase()), 102),
        (format!("family:{}:chat:kitchen", theirs.simple()), 102),
        (format!("FAMILY:{id}:chat:kitchen"), 102),
        (format!("user:{id}"), 102),
        (format!("family::{id}:chat:kitchen"), 107),
        (format!("family:{ours}:../{id}:chat"), 107),
        (format!("family:{ours}:..:..:{id}:chat"), 107),
        (format!("family%3A{id}%3Achat%3Akitchen"), 107),
        (format!("family:{id}:chat:kitchen\0"), 107),
        (format!("family\u{ff1a}{id}\u{ff1a}chat"), 107),
        (format!("f\u{0430}mily:{id}:chat:kitchen"), 107),
        (format!("family:{id}:{}", "a".repeat(10_000)), 107),
        (String::new(), 107),
    ];
    for command in COMMANDS {
        for (name, code) in &names {
            let request = json!({"channel": name, "data": 1});
            let refused = client.refusal(command, request).await;
            assert_eq!(refused, *code, "{command} {name:.80}");
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_published_in_one_family_is_heard_in_no_other() {
    let host = host().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let mut mine = Client::connect(host.address(), &host.token(Role::Owner, ours)).await;
    let mut other = Client::connect(host.address(), &host.token(Role::Owner, theirs)).await;
    // The same word, in each family its own channel.
    for client in [&mut mine, &mut other] {
        let _ = client.subscribe("typing:kitchen").await;
        // No namespace is called so, and nothing else is guessed.
        assert_eq!(
            client
                .refusal("subscribe", json!({"channel": "news"}))
                .await,
            102
        );
        let _ = client.subscribe("public:status").await;
    }
    let published = mine
        .ask(
            "publish",
            json!({"channel": "typing:kitchen", "data": "ours"}),
        )
        .await;
    assert!(published["publish"].is_object(), "{published}");
    assert_eq!(mine.publication().await["data"], "ours");
    // What everybody hears comes after it, so the other one would have heard it by now.
    publish(&host.sql().await, "public:status", json!("everybody")).await;
    assert_eq!(other.publication().await["data"], "everybody");
    host.stop().await;
}

#[tokio::test]
async fn a_role_does_what_its_namespace_lets_it_do() {
    let host = host().await;
    let family = Uuid::now_v7();
    for (role, channel, subscribes, publishes) in [
        (Role::AdultMember, "chat:kitchen", true, true),
        (Role::ChildMember, "chat:kitchen", false, false),
        (Role::Device, "chat:kitchen", false, false),
        (Role::Device, "family", true, false),
        (Role::Owner, "family", true, false),
        (Role::ChildMember, "public:status", true, false),
    ] {
        let mut client = Client::connect(host.address(), &host.token(role, family)).await;
        let channel = match channel {
            "family" => format!("family:{family}:news"),
            channel => channel.to_owned(),
        };
        for (command, may) in [("subscribe", subscribes), ("publish", publishes)] {
            let answer = client
                .ask(command, json!({"channel": channel, "data": 1}))
                .await;
            let expected = if may { json!(null) } else { json!(103) };
            assert_eq!(
                answer["error"]["code"], expected,
                "{role:?} {command} {channel}"
            );
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn who_has_no_family_has_the_own_and_the_public_channels() {
    let host = host().await;
    let user = Uuid::now_v7();
    let mut client = Client::connect(host.address(), &host.token_of(user, None)).await;
    let _ = client.subscribe(&format!("user:{user}")).await;
    let _ = client.subscribe("public:status").await;
    assert_eq!(
        client
            .refusal("subscribe", json!({"channel": "chat:kitchen"}))
            .await,
        102
    );
    publish(
        &host.sql().await,
        &format!("user:{user}"),
        json!({"to": "me"}),
    )
    .await;
    assert_eq!(client.publication().await["data"]["to"], "me");
    host.stop().await;
}
