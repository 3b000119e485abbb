//! Channels that others on the host are subscribed to: what was delivered to them a moment ago is not asked for again. And what becomes
//! of publications for which there is no room.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};

use nself_plugin_testkit::eventually;

use crate::stage::{Client, builder, call, host, publish};

/// Takes away what the plugin reads the log with, but for the news.
pub(crate) const AWAY: &str = "
alter function stream.locate(text) rename to locate_away;
alter function stream.history(text, bigint, bigint, boolean) rename to history_away;";
pub(crate) const BACK: &str = "
alter function stream.locate_away(text) rename to locate;
alter function stream.history_away(text, bigint, bigint, boolean) rename to history;";

pub(crate) fn offsets(publications: &Value) -> Vec<i64> {
    let publications = publications.as_array().map(Vec::as_slice);
    let offsets = publications.unwrap_or_default().iter();
    offsets.filter_map(|one| one["offset"].as_i64()).collect()
}

#[tokio::test]
async fn who_comes_back_to_where_others_are_costs_no_query() {
    let host = host().await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:news");
    let mut stays = Client::connect(host.address(), &token).await;
    let epoch = stays.subscribe(&channel).await["epoch"].clone();
    for number in 1..=6 {
        publish(&sql, &channel, json!({"number": number})).await;
        assert_eq!(stays.publication().await["offset"], number);
    }

    sql.batch_execute(AWAY).await.expect("a superuser may");
    let from = |offset: i64| json!({"channel": &channel, "recover": true, "offset": offset, "epoch": &epoch});
    let mut back = Client::connect(host.address(), &token).await;
    let result = back.subscribe_with(from(2)).await;
    assert_eq!(offsets(&result["publications"]), [3, 4, 5, 6], "{result}");
    assert_eq!(result["publications"][0]["data"], json!({"number": 3}));
    assert_eq!(
        (&result["recovered"], &result["offset"], &result["epoch"]),
        (&json!(true), &json!(6), &epoch)
    );
    let mut current = Client::connect(host.address(), &token).await;
    let result = current.subscribe_with(from(6)).await;
    assert_eq!(
        (&result["recovered"], offsets(&result["publications"])),
        (&json!(true), vec![])
    );
    // What is not there has to be asked for: nobody is in this one, and the others are from elsewhere.
    let mut cold = Client::connect(host.address(), &token).await;
    let nobody = json!({"channel": format!("{channel}:quiet"), "recover": true, "offset": 0, "epoch": &epoch});
    let mut other = from(6);
    other["epoch"] = json!("another");
    for request in [nobody, other, from(7)] {
        assert_eq!(cold.refusal("subscribe", request).await, 100);
    }
    sql.batch_execute(BACK).await.expect("a superuser may");

    publish(&sql, &channel, json!({"number": 7})).await;
    for client in [&mut stays, &mut back, &mut current] {
        assert_eq!(client.publication().await["offset"], 7);
    }
    host.stop().await;
}

#[tokio::test]
async fn a_history_that_was_taken_away_is_not_remembered_either() {
    let host = host().await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:news");
    let mut stays = Client::connect(host.address(), &token).await;
    let epoch = stays.subscribe(&channel).await["epoch"].clone();
    for number in 1..=3 {
        publish(&sql, &channel, json!({"number": number})).await;
        stays.publication().await;
    }
    let removed = call(&host, "history_remove", json!({"channel": &channel})).await;
    assert_eq!(removed, json!({"result": {}}));
    let request = json!({"channel": &channel, "recover": true, "offset": 1, "epoch": &epoch});
    eventually("the host has heard of it", async || {
        let mut back = Client::connect(host.address(), &token).await;
        let result = back.subscribe_with(request.clone()).await;
        (result["publications"].is_null() && result["recovered"].is_null()).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn what_replaces_what_was_before_reaches_who_does_not_keep_up_at_last() {
    const LARGE: usize = 60_000;
    let host = builder()
        .config("[plugins.stream.config]\nqueue_bytes_max = 65_536\nping_seconds = 300")
        .config("[plugins.stream.config.namespaces.scores]\nslow_consumer = \"latest\"")
        .start()
        .await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:scores:1");
    let mut reader = Client::connect(host.address(), &token).await;
    reader.subscribe(&channel).await;
    let mut sleeper = Client::connect(host.address(), &token).await;
    sleeper.subscribe(&channel).await;
    let filling = "x".repeat(LARGE);
    let mut last = 0;
    while host.metric("nself_hub_dropped_total").await < 1.0 {
        assert!(
            last < 2_000,
            "what the kernel keeps for a client has an end"
        );
        for _ in 0..20 {
            last += 1;
            publish(&sql, &channel, json!([last, &filling])).await;
            assert_eq!(reader.publication().await["data"][0], last);
        }
    }
    // It is there still, has missed some, and ends where the others are.
    let mut heard = vec![];
    while heard.last() != Some(&last) {
        heard.extend(sleeper.publication().await["data"][0].as_i64());
    }
    assert!(heard.is_sorted() && heard.len() < usize::try_from(last).expect("a count"));
    host.stop().await;
}
