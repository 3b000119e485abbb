//! Publications that become visible together, as those of one transaction do: who takes all that comes is sent them as lines of one frame.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use tokio_postgres::Client as Sql;

use crate::stage::{Client, builder, host, publish};

/// Publishes texts of so many bytes in one transaction, the number of each at its beginning.
async fn burst(sql: &Sql, channel: &str, amount: i32, bytes: i32) {
    let all = "select stream.publish($1, to_jsonb(rpad(n::text || ' ', $3, 'x'))) from generate_series(1, $2) n";
    let published = sql.query(all, &[&channel, &amount, &bytes]).await;
    published.unwrap_or_else(|error| panic!("{channel}: {error:?}"));
}

/// The next publications that have come in so many frames; how many were in each, and their offsets.
async fn frames(client: &mut Client, amount: usize) -> (Vec<usize>, Vec<i64>) {
    let (mut lines, mut offsets) = (Vec::new(), Vec::new());
    while lines.len() < amount {
        let frame = client.next_frame().await;
        let of = |line: &Value| line["push"]["pub"]["offset"].as_i64();
        lines.push(frame.len());
        offsets.extend(frame.iter().filter_map(of));
    }
    (lines, offsets)
}

#[tokio::test]
async fn a_burst_is_one_frame_however_the_channel_is_called() {
    let host = host().await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:news");
    let mut first = Client::connect(host.address(), &token).await;
    let mut second = Client::connect(host.address(), &token).await;
    for client in [&mut first, &mut second] {
        client.subscribe(&channel).await;
    }
    burst(&sql, &channel, 20, 50).await;
    for client in [&mut first, &mut second] {
        assert_eq!(frames(client, 1).await, (vec![20], (1..=20).collect()));
    }
    // One that comes by itself is as it always was.
    publish(&sql, &channel, json!("alone")).await;
    for client in [&mut first, &mut second] {
        let expected = json!({"channel": channel, "pub": {"data": "alone", "offset": 21}});
        let mut alone = client.next_frame().await;
        let mut push = alone.remove(0)["push"].take();
        assert!(push["pub"]["time"].is_i64() && alone.is_empty(), "{push}");
        let publication = push["pub"].as_object_mut().expect("a publication");
        publication.remove("time");
        assert_eq!(push, expected);
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_much_comes_in_several_frames_and_in_order() {
    let host = host().await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:news");
    let mut client = Client::connect(host.address(), &token).await;
    client.subscribe(&channel).await;
    burst(&sql, &channel, 5, 7_000).await;
    let expected = (vec![2, 2, 1], (1..=5).collect());
    assert_eq!(frames(&mut client, 3).await, expected);
    host.stop().await;
}

#[tokio::test]
async fn who_takes_deltas_is_told_each_by_itself_beside_who_takes_all() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.board]\nhistory_size = 10\ndeltas = true")
        .start()
        .await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:board:a");
    let mut whole = Client::connect(host.address(), &token).await;
    whole.subscribe(&channel).await;
    let mut deltas = Client::connect(host.address(), &token).await;
    let request = json!({"channel": channel, "delta": "fossil"});
    deltas.subscribe_with(request).await;
    burst(&sql, &channel, 4, 500).await;
    assert_eq!(frames(&mut whole, 1).await, (vec![4], vec![1, 2, 3, 4]));
    for offset in 1..=4 {
        let mut frame = deltas.next_frame().await;
        let publication = frame.remove(0)["push"]["pub"].take();
        assert!(frame.is_empty() && publication["offset"] == offset);
        let is_delta = publication["delta"] == json!(true);
        assert_eq!(is_delta, offset > 1, "{publication}");
    }
    host.stop().await;
}

#[tokio::test]
async fn what_may_be_dropped_for_the_newest_is_a_frame_of_its_own() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.scores]\nslow_consumer = \"latest\"")
        .start()
        .await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let channel = format!("family:{family}:scores:1");
    let mut client = Client::connect(host.address(), &token).await;
    client.subscribe(&channel).await;
    burst(&sql, &channel, 6, 50).await;
    for number in 1..=6 {
        let frame = client.next_frame().await;
        let [line] = &*frame else {
            panic!("{frame:?}");
        };
        let data = line["push"]["pub"]["data"].as_str().expect("a text");
        assert!(data.starts_with(&format!("{number} ")), "{data}");
    }
    host.stop().await;
}
