//! Who gives way when there is no place left.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
};

use super::home::{Home, Person, Player};
use crate::stage::Client;

/// A person who plays in all places there are: one that plays on, one of low priority, one that is paused, one that is idle.
async fn crowded(home: &Home, person: &Person) -> [Player; 4] {
    let playing = home.play(&person.token).await;
    let low = home
        .play_with(&person.token, json!({"priority": "low"}))
        .await;
    let paused = home.play(&person.token).await;
    let idle = home.play(&person.token).await;
    let _ = home
        .say(&paused, "pause", "playing")
        .await
        .expect_status(200);
    let _ = home
        .say(&idle, "heartbeat", "idle")
        .await
        .expect_status(200);
    home.until_it_is(idle.session, "idle").await;
    home.until_it_is(paused.session, "paused").await;
    [playing, low, paused, idle]
}

const SETTINGS: &str = "sessions_per_user = 4";

#[tokio::test]
async fn first_the_idle_give_way_then_the_paused_then_those_of_low_priority_and_nobody_else() {
    let home = Home::with(SETTINGS).await;
    let person = home.person(Role::AdultMember).await;
    let [playing, low, paused, idle] = crowded(&home, &person).await;
    for victim in [&idle, &paused, &low] {
        let body = json!({"content_id": home.film});
        let admitted = home.ask(&person.token, body).await.expect_status(201);
        assert_eq!(admitted.data()["evicted"], json!([victim.session]));
        assert_eq!(home.end_of(victim.session).await, "evicted");
    }
    let denied = home.ask_film(&person.token).await;
    assert_eq!((denied.status, &*denied.code()), (429, "STREAM_LIMIT"));
    assert!(home.is_open(playing.session).await);
    home.host.stop().await;
}

#[tokio::test]
async fn of_several_the_oldest_gives_way_and_low_priority_takes_nothing_from_its_like() {
    let home = Home::with("sessions_per_user = 2").await;
    let person = home.person(Role::AdultMember).await;
    let low = json!({"priority": "low"});
    let first = home.play_with(&person.token, low.clone()).await;
    let second = home.play_with(&person.token, low).await;
    let body = json!({"content_id": home.film, "priority": "low"});
    let denied = home.ask(&person.token, body).await;
    assert_eq!(denied.status, 429);
    let _ = home.play(&person.token).await;
    assert_eq!(home.end_of(first.session).await, "evicted");
    assert!(home.is_open(second.session).await);
    home.host.stop().await;
}

#[tokio::test]
async fn a_player_that_gives_way_is_told_at_once_and_it_is_written_down() {
    let home = Home::with("sessions_per_user = 1").await;
    let person = home.person(Role::AdultMember).await;
    let mut socket = Client::connect(home.host.address(), &person.token).await;
    let _ = socket.subscribe(&format!("user:{}", person.id)).await;
    let player = home.play(&person.token).await;
    let _ = home
        .say(&player, "pause", "paused")
        .await
        .expect_status(200);
    let next = home.play(&person.token).await;
    let told = socket.publication().await["data"].clone();
    assert_eq!(
        told,
        json!({"type": "stream.session_ended", "session_id": player.session, "reason": "evicted"})
    );
    let gone = home.beat(&player).await.expect_status(410);
    assert_eq!(gone.json()["details"]["reason"], "evicted");
    assert_eq!(home.verified(&player.address).await, 403);
    assert_eq!(home.verified(&next.address).await, 204);
    let audited: Vec<(String, String, Value)> = home.audited().await;
    let audited: Vec<_> = audited
        .iter()
        .map(|(action, target, details)| (&**action, &**target, details["reason"].as_str()))
        .collect();
    let (first, second) = (player.session.to_string(), next.session.to_string());
    assert_eq!(
        audited,
        [
            ("stream.session_admitted", &*first, None),
            ("stream.session_ended", &*first, Some("evicted")),
            ("stream.session_admitted", &*second, None),
        ]
    );
    home.host.stop().await;
}
