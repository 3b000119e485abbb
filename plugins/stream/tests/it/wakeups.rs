//! Hosts that cannot listen ask, and hear the same.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, eventually};

use crate::stage::{Client, builder, call, count, publish};

const ASKS: &str = "[plugins.stream.config]\nwakeup = \"poll\"\npoll_ms = 20";
const LISTENS: &str = "[plugins.stream.config]\nwakeup = \"notify\"";

/// The next push of that kind.
async fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let push = client.push().await;
        if push[kind].is_object() {
            return push[kind].clone();
        }
    }
}

#[tokio::test]
async fn a_host_that_asks_hears_all_that_others_tell() {
    let asks = builder().config(ASKS).start().await;
    for config in [ASKS, LISTENS] {
        let other = asks.beside().config(config).start().await;
        check(&asks, &other).await;
        other.stop().await;
    }
    asks.stop().await;
}

async fn check(asks: &TestHost, other: &TestHost) {
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let token = asks.token_of(person, Some((Role::Owner, family)));
    let mut here = Client::connect(asks.address(), &token).await;
    let mut there = Client::connect(other.address(), &token).await;
    let _ = here.subscribe("chat:kitchen").await;
    let _ = there.subscribe("chat:kitchen").await;
    // Itself and the other, in whatever order.
    let _ = next(&mut here, "join").await;
    let _ = next(&mut here, "join").await;
    for client in [&mut here, &mut there] {
        let _ = client.subscribe("typing:kitchen").await;
    }
    let sql = asks.sql().await;
    for number in 1..=5 {
        publish(
            &sql,
            &format!("family:{family}:chat:kitchen"),
            json!(number),
        )
        .await;
        for client in [&mut here, &mut there] {
            assert_eq!(next(client, "pub").await["data"], number);
        }
    }
    // What nobody keeps: of a client on either host, and of a transaction.
    let _ = there
        .ask(
            "publish",
            json!({"channel": "typing:kitchen", "data": "there"}),
        )
        .await;
    next_is(&mut here, &mut there, "there").await;
    let _ = here
        .ask(
            "publish",
            json!({"channel": "typing:kitchen", "data": "here"}),
        )
        .await;
    next_is(&mut here, &mut there, "here").await;
    publish(
        &sql,
        &format!("family:{family}:typing:kitchen"),
        json!("by SQL"),
    )
    .await;
    next_is(&mut here, &mut there, "by SQL").await;
    let channel = format!("family:{family}:typing:kitchen");
    eventually("both hosts say what they have", async || {
        let all = call(other, "channels", json!({})).await;
        (all["result"]["channels"][&channel]["num_clients"] == 2).then_some(())
    })
    .await;
    let _ = call(other, "disconnect", json!({"user": person})).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.end().await.0, 3503);
    }
}

/// Both are told that, once.
async fn next_is(here: &mut Client, there: &mut Client, data: &str) {
    for client in [here, there] {
        assert_eq!(next(client, "pub").await["data"], data);
    }
}

#[tokio::test]
async fn a_host_that_asks_listens_to_nothing_and_is_missed_by_nobody_when_it_has_gone() {
    let host = builder().config(ASKS).start().await;
    let sql = host.sql().await;
    let listening = "select count(*) from pg_stat_activity \
        where datname = current_database() and query ilike 'listen %nself_stream%'";
    assert_eq!(count(&sql, listening).await, 0);
    assert_eq!(count(&sql, "select count(*) from stream.pollers").await, 1);
    let mut client = Client::connect(host.address(), &host.token_of(Uuid::now_v7(), None)).await;
    let _ = client.subscribe("public:a").await;
    publish(&sql, "public:a", json!(1)).await;
    assert_eq!(client.publication().await["data"], 1);
    // The database goes with the last who could start a host on it.
    let kept = host.beside();
    host.stop().await;
    assert_eq!(count(&sql, "select count(*) from stream.pollers").await, 0);
    drop(kept);
}
