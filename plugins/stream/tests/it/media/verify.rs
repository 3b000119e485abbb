//! What an address is good for, and for how long.

use std::sync::Arc;

use nself_plugin_api::serde_json::json;
use nself_plugin_testkit::WrongClock;

use super::home::{Home, film};
use crate::stage::builder;

#[tokio::test]
async fn an_address_plays_what_it_was_made_for_and_nothing_else() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let other = film(&home.sql, home.id, "").await;
    let (place, words) = player.address.split_once('?').expect("it is signed");
    let signature = words.rsplit('=').next().expect("a signature");
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = player.address.replace(
        &format!("signature={signature}"),
        &format!("signature={flipped}{}", &signature[1..]),
    );
    let segment = format!("{place}/720p/1.ts?{words}");
    let hole = place.rfind('/').expect("a path");
    for (address, expected) in [
        (player.address.as_str(), 204),
        (&*segment, 204),
        (
            &*format!("https://media.example.org{}", player.address),
            204,
        ),
        (&*tampered, 401),
        (place, 401),
        ("", 401),
        (&*player.address.replace("expires=", "expires=9"), 401),
        (
            &*player
                .address
                .replace(&player.session.to_string(), &other.to_string()),
            401,
        ),
        (
            &*player
                .address
                .replace(&home.id.to_string(), &other.to_string()),
            401,
        ),
        (&*format!("{}/{other}?{words}", &place[..hole]), 401),
        (&*format!("{place}/../{other}?{words}"), 403),
        (&*format!("{place}/%2e%2e/{other}?{words}"), 403),
        (&*format!("/private{place}?{words}"), 403),
    ] {
        assert_eq!(home.verified(address).await, expected, "{address}");
    }
    let asked = home.host.post("/v1/stream/verify");
    let asked = asked.json(&json!({"url": player.address})).send().await;
    let good = asked.expect_status(200).data();
    assert_eq!(
        (&good["session_id"], &good["content_id"], &good["family_id"]),
        (&json!(player.session), &json!(home.film), &json!(home.id))
    );
    let refused = home
        .host
        .post("/v1/stream/verify")
        .json(&json!({"url": tampered}));
    assert_eq!(refused.send().await.code(), "STREAM_ADDRESS_UNSIGNED");
    home.host.stop().await;
}

#[tokio::test]
async fn an_address_ends_and_the_next_one_is_good_at_every_host() {
    let clock = Arc::new(WrongClock::default());
    let host = builder().wrong_clock(Arc::clone(&clock)).start().await;
    let home = Home::on(host).await;
    let player = home.play(&home.owner()).await;
    assert_eq!(home.verified(&player.address).await, 204);
    let second = home.host.beside().start().await;
    let elsewhere = async |address: &str| {
        let asked = second
            .get("/v1/stream/verify")
            .header("x-original-uri", address);
        asked.send().await.status
    };
    assert_eq!(elsewhere(&player.address).await, 204);
    clock.set_ahead(301);
    assert_eq!(home.verified(&player.address).await, 401);
    let renewed = home.beat(&player).await.expect_status(200).data();
    let address = renewed["playback_url"].as_str().expect("an address");
    assert_eq!(home.verified(address).await, 204);
    second.stop().await;
    home.host.stop().await;
}

#[tokio::test]
async fn an_address_plays_nothing_once_its_session_has_ended_anywhere() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let second = home.host.beside().start().await;
    let _ = home.say(&player, "end", "idle").await.expect_status(204);
    assert_eq!(home.verified(&player.address).await, 403);
    nself_plugin_testkit::eventually("the other host has heard of it", async || {
        let asked = second
            .get("/v1/stream/verify")
            .header("x-original-uri", &player.address);
        (asked.send().await.status == 403).then_some(())
    })
    .await;
    second.stop().await;
    // One that starts later hears of it as well.
    let third = home.host.beside().start().await;
    nself_plugin_testkit::eventually("a new host has heard of it", async || {
        let asked = third
            .get("/v1/stream/verify")
            .header("x-original-uri", &player.address);
        (asked.send().await.status == 403).then_some(())
    })
    .await;
    third.stop().await;
    home.host.stop().await;
}
