//! Coming back: with everything that was missed, or told that it is not everything.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, eventually};

use crate::stage::{Client, builder, publish};

/// A channel with seven publications, of which the first ones are not kept.
struct Stage {
    host: TestHost,
    token: String,
    channel: String,
    epoch: Value,
}

impl Stage {
    async fn set() -> Self {
        let host = builder()
            .config("[plugins.stream.config]\nrecovery_max = 4")
            .config("[plugins.stream.config.namespaces.log]\nhistory_size = 5")
            .start()
            .await;
        let family = Uuid::now_v7();
        let token = host.token(Role::Owner, family);
        let channel = format!("family:{family}:log:a");
        let mut client = Client::connect(host.address(), &token).await;
        let epoch = client.subscribe(&channel).await["epoch"].clone();
        let sql = host.sql().await;
        for number in 1..=7 {
            publish(&sql, &channel, json!(number)).await;
            assert_eq!(client.publication().await["offset"], number);
        }
        client.close().await;
        Self {
            host,
            token,
            channel,
            epoch,
        }
    }

    /// Comes back from a position.
    async fn recover(&self, offset: i64, epoch: &Value) -> Value {
        let mut client = Client::connect(self.host.address(), &self.token).await;
        let request =
            json!({"channel": self.channel, "recover": true, "offset": offset, "epoch": epoch});
        client.subscribe_with(request).await
    }
}

#[tokio::test]
async fn a_client_is_given_what_it_missed_or_told_that_it_cannot_be() {
    let stage = Stage::set().await;
    for (offset, recovered) in [
        (7, Some(0)),
        (6, Some(1)),
        (3, Some(4)),
        (2, None),
        (0, None),
        (8, None),
        (-1, None),
        (i64::MIN, None),
        (i64::MAX, None),
    ] {
        let result = stage.recover(offset, &stage.epoch).await;
        assert_eq!(result["was_recovering"], true, "{offset}: {result}");
        assert_eq!(result["offset"], 7, "{offset}: {result}");
        let publications = result["publications"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if let Some(amount) = recovered {
            assert_eq!(result["recovered"], true, "{offset}: {result}");
            let offsets: Vec<_> = publications
                .iter()
                .map(|one| one["offset"].as_i64())
                .collect();
            let expected: Vec<_> = (offset + 1..=7).map(Some).collect();
            assert_eq!((offsets.len(), offsets), (amount, expected));
        } else {
            assert_eq!(result["recovered"], json!(null), "{offset}: {result}");
            assert!(publications.is_empty(), "{offset}: {result}");
        }
    }
    let other = stage.recover(6, &json!("another")).await;
    assert_eq!(
        (&other["recovered"], &other["epoch"]),
        (&json!(null), &stage.epoch)
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn who_would_rather_have_nothing_than_a_gap_is_refused() {
    let stage = Stage::set().await;
    for (offset, flag, refused) in [(6, 2, false), (2, 2, true), (2, 1, false), (2, 3, true)] {
        let mut client = Client::connect(stage.host.address(), &stage.token).await;
        let request = json!({
            "channel": stage.channel, "recover": true, "offset": offset, "epoch": stage.epoch, "flag": flag,
        });
        let answer = client.ask("subscribe", request).await;
        let code = if refused { json!(112) } else { json!(null) };
        assert_eq!(answer["error"]["code"], code, "{offset} {flag}: {answer}");
        // Whatever came of it, it may ask for the channel again.
        let again = client.ask("subscribe", json!({"channel": stage.channel, "flag": flag}));
        assert_eq!(again.await["subscribe"].is_object(), refused);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_channel_that_was_made_anew_has_nothing_to_recover() {
    let stage = Stage::set().await;
    let mut client = Client::connect(stage.host.address(), &stage.token).await;
    let _ = client.subscribe(&stage.channel).await;
    let sql = stage.host.sql().await;
    let emptied = sql
        .batch_execute("truncate stream.channels, stream.publications")
        .await;
    emptied.expect("a superuser may");
    // Who was there is told to come again.
    let push = client.push().await;
    assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
    let again = stage.recover(6, &stage.epoch).await;
    assert_eq!(
        (&again["recovered"], &again["offset"]),
        (&json!(null), &json!(null))
    );
    assert_ne!(again["epoch"], stage.epoch);
    stage.host.stop().await;
}

#[tokio::test]
async fn history_is_read_forwards_backwards_and_from_a_position() {
    let stage = Stage::set().await;
    let mut client = Client::connect(stage.host.address(), &stage.token).await;
    let whole = json!([3, 4, 5, 6, 7]);
    for (more, expected) in [
        (json!({}), json!([])),
        (json!({"limit": 2}), json!([3, 4])),
        (json!({"limit": -1}), json!([3, 4, 5, 6])),
        (json!({"limit": 2, "reverse": true}), json!([7, 6])),
        (
            json!({"limit": 2, "since": {"offset": 5, "epoch": stage.epoch}}),
            json!([6, 7]),
        ),
        (
            json!({"limit": 2, "since": {"offset": 5, "epoch": stage.epoch}, "reverse": true}),
            json!([4, 3]),
        ),
        (
            json!({"limit": 2, "since": {"offset": 7, "epoch": stage.epoch}}),
            json!([]),
        ),
    ] {
        let mut request = more.clone();
        request["channel"] = json!(stage.channel);
        let answer = client.ask("history", request).await;
        let history = &answer["history"];
        let offsets = history["publications"]
            .as_array()
            .map(|all| all.iter().map(|one| one["offset"].clone()).collect());
        assert_eq!(
            offsets.map(Value::Array),
            Some(expected),
            "{more}: {answer}, of {whole}"
        );
        assert_eq!(
            (&history["offset"], &history["epoch"]),
            (&json!(7), &stage.epoch)
        );
    }
    let request =
        json!({"channel": stage.channel, "limit": 1, "since": {"offset": 5, "epoch": "another"}});
    assert_eq!(client.refusal("history", request).await, 112);
    stage.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_while_others_publish_misses_nothing_and_gets_nothing_twice() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.log]\nhistory_size = 10000")
        .config("[plugins.stream.config]\nrecovery_max = 10000")
        .start()
        .await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:log:a");
    let sql = host.sql().await;
    let name = channel.clone();
    let writing = tokio::spawn(async move {
        for number in 1..=600 {
            publish(&sql, &name, json!(number)).await;
        }
    });
    let token = host.token(Role::Owner, family);
    let mut position = (0, json!(""));
    let mut received = Vec::new();
    while received.len() < 600 {
        let mut client = Client::connect(host.address(), &token).await;
        let request = json!({"channel": channel, "recover": position.1 != "", "offset": position.0, "epoch": position.1});
        let result = client.subscribe_with(request).await;
        if position.1 == "" {
            // What was before the first subscription was never promised.
            received.extend(1..=result["offset"].as_i64().unwrap_or_default());
        } else {
            assert_eq!(result["recovered"], true, "{result}");
            let recovered = result["publications"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            received.extend(recovered.iter().filter_map(|one| one["offset"].as_i64()));
        }
        let wanted = (received.len() + 40).min(600);
        while received.len() < wanted {
            let publication = client.publication().await;
            assert_eq!(publication["offset"], publication["data"]);
            received.extend(publication["offset"].as_i64());
        }
        position = (
            *received.last().expect("something"),
            result["epoch"].clone(),
        );
        client.close().await;
    }
    writing.await.expect("the writer ends");
    let expected: Vec<i64> = (1..=600).collect();
    assert_eq!(received, expected);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_up_is_cut_off_and_the_others_are_not() {
    let host = builder()
        .config("[plugins.stream.config]\nqueue_bytes_max = 65536\nrecovery_max = 10000")
        .config("[plugins.stream.config.namespaces.log]\nhistory_size = 10000")
        .start()
        .await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:log:a");
    let token = host.token(Role::Owner, family);
    let mut slow = Client::connect(host.address(), &token).await;
    let begun = slow.subscribe(&channel).await;
    let mut reader = Client::connect(host.address(), &token).await;
    let _ = reader.subscribe(&channel).await;
    let sql = host.sql().await;
    let text = "x".repeat(30_000);
    for number in 1..=600 {
        publish(&sql, &channel, json!({"number": number, "text": text})).await;
        assert_eq!(reader.publication().await["data"]["number"], number);
    }
    // It is told, where it still takes anything; it is sent away in any case.
    let (code, reason) = slow.end().await;
    assert!(
        matches!((code, &*reason), (3008, "slow") | (1000 | 1006, _)),
        "{code} {reason}"
    );
    let mut back = Client::connect(host.address(), &token).await;
    let request =
        json!({"channel": channel, "recover": true, "offset": 0, "epoch": begun["epoch"]});
    let recovered = back.subscribe_with(request).await;
    assert_ne!(
        recovered["recovered"], true,
        "18 MB are not recovered through a queue of 64 KiB"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_cut_connection_to_the_database_loses_nothing() {
    let host = builder().start().await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:news");
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = client.subscribe(&channel).await;
    let sql = host.sql().await;
    for number in 1..=5 {
        // Other tests have their databases on the same server.
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database() and usename like '%\\_stream'";
        sql.execute(cut, &[]).await.expect("a superuser may");
        publish(&sql, &channel, json!(number)).await;
        assert_eq!(client.publication().await["data"], number);
    }
    eventually("the ephemeral ones are heard again", async || {
        let sent = client
            .ask("publish", json!({"channel": "typing:a", "data": 1}))
            .await;
        sent["publish"].is_object().then_some(())
    })
    .await;
    host.stop().await;
}
