//! The key that signs addresses is turned while people watch.

use std::sync::Arc;

use nself_plugin_api::serde_json::{Value, json};
use nself_plugin_testkit::{TestHost, WrongClock, eventually};

use super::home::{Home, Player};
use crate::stage::{builder, count};

async fn turn(host: &TestHost, body: Value) -> Value {
    let asked = host.post("/v1/stream/playback-key/turn").operator();
    asked.json(&body).send().await.expect_status(200).data()
}

fn key_of(address: &str) -> i64 {
    let words = address.split('&');
    let mut keys = words.filter_map(|word| word.strip_prefix("key="));
    keys.next()
        .and_then(|key| key.parse().ok())
        .expect("it is signed")
}

/// The address that a heartbeat brings.
async fn renewed(home: &Home, player: &Player) -> String {
    let answer = home.beat(player).await.expect_status(200);
    answer.data()["playback_url"]
        .as_str()
        .expect("an address")
        .to_owned()
}

#[tokio::test]
async fn who_watches_while_the_key_is_turned_notices_nothing() {
    let clock = Arc::<WrongClock>::default();
    let patient = "[plugins.stream.config.media]\ntimeout_seconds = 600\nidle_seconds = 600";
    let host = builder()
        .config(patient)
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let home = Home::on(host).await;
    let second = home
        .host
        .beside()
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let player = home.play(&home.owner()).await;
    let old = player.address.clone();
    let turned = turn(&home.host, json!({})).await;
    // For a minute the old one goes on, so that every host knows the new one when it signs.
    let still = renewed(&home, &player).await;
    assert_eq!(key_of(&still), key_of(&old));
    clock.set_ahead(61);
    let new = renewed(&home, &player).await;
    assert_eq!(json!(key_of(&new)), turned["key"]);
    assert_ne!(key_of(&new), key_of(&old));
    for address in [&old, &new] {
        assert_eq!(home.verified(address).await, 204);
        eventually("the other host knows both keys", async || {
            let asked = second
                .get("/v1/stream/verify")
                .header("x-original-uri", address);
            (asked.send().await.status == 204).then_some(())
        })
        .await;
    }
    // When no address by the old one can be left, it goes.
    let keys = "select count(*) from stream.playback_keys";
    let drop_them = "select stream.drop_playback_keys()";
    home.sql
        .execute(drop_them, &[])
        .await
        .expect("nothing is dropped");
    assert_eq!(count(&home.sql, keys).await, 2);
    home.change(
        "update stream.playback_keys set signs_at = signs_at - interval '12 minutes'",
        &[],
    )
    .await;
    home.sql
        .execute(drop_them, &[])
        .await
        .expect("the old one is dropped");
    assert_eq!(count(&home.sql, keys).await, 1);
    for host in [&home.host, &second] {
        eventually("the old key is forgotten", async || {
            let asked = host.get("/v1/stream/verify").header("x-original-uri", &old);
            (asked.send().await.status == 401).then_some(())
        })
        .await;
    }
    assert_eq!(home.verified(&new).await, 204);
    let audited =
        "select count(*) from nself.audit_log where action = 'stream.playback_key_turned'";
    assert_eq!(count(&home.sql, audited).await, 1);
    second.stop().await;
    home.host.stop().await;
}

#[tokio::test]
async fn a_key_that_somebody_else_has_is_good_for_nothing_at_once() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let turned = turn(&home.host, json!({"at_once": true})).await;
    assert_eq!(home.verified(&player.address).await, 401);
    let new = renewed(&home, &player).await;
    assert_eq!(json!(key_of(&new)), turned["key"]);
    assert_eq!(home.verified(&new).await, 204);
    // Numbers go round, and a host that starts later signs by the same key.
    home.change("update stream.playback_keys set id = 255", &[])
        .await;
    assert_eq!(turn(&home.host, json!({})).await["key"], 1);
    let later = home.host.beside().start().await;
    let asked = later
        .get("/v1/stream/verify")
        .header("x-original-uri", &new);
    assert_eq!(
        asked.send().await.status,
        401,
        "its number is another one now"
    );
    later.stop().await;
    home.host.stop().await;
}

#[tokio::test]
async fn a_key_is_turned_by_itself_when_it_is_old_enough() {
    let home = Home::new().await;
    home.change(
        "update stream.playback_keys set created_at = now() - interval '31 days'",
        &[],
    )
    .await;
    // The task that sees to it runs when a host starts, on one of them.
    let second = home.host.beside();
    home.host.stop().await;
    let second = second.start().await;
    eventually("there is a new key", async || {
        let keys = count(&home.sql, "select count(*) from stream.playback_keys").await;
        (keys == 2).then_some(())
    })
    .await;
    second.stop().await;
}

#[tokio::test]
async fn nobody_but_a_program_with_its_key_turns_it() {
    let home = Home::new().await;
    for token in [home.owner(), String::new()] {
        let asked = home.host.post("/v1/stream/playback-key/turn").token(&token);
        let refused = asked.json(&json!({})).send().await.status;
        assert!([401, 403, 404].contains(&refused), "{refused}");
    }
    assert_eq!(
        count(&home.sql, "select count(*) from stream.playback_keys").await,
        1
    );
    home.host.stop().await;
}
