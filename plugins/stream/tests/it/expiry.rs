//! Tokens end; connections end with them, unless a newer one comes.

use std::{sync::Arc, time::Instant};

use futures_util::future::join_all;
use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};
use nself_plugin_testkit::{TestHost, WrongClock};

use crate::{
    stage::{Client, builder, publish},
    storm,
};

/// The life of a token of the tests.
const LIFE: i64 = 3_600;

async fn stage() -> (TestHost, Arc<WrongClock>) {
    let clock = Arc::<WrongClock>::default();
    let host = builder()
        .config("[plugins.stream.config]\nexpired_grace_seconds = 120")
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    (host, clock)
}

#[tokio::test]
async fn a_connection_ends_with_its_token_and_the_grace_whatever_is_published() {
    let (host, clock) = stage().await;
    let mut client =
        Client::connect(host.address(), &host.token(Role::Owner, Uuid::now_v7())).await;
    let _ = client.subscribe("public:a").await;
    // Within the grace it goes on.
    clock.set_ahead(LIFE + 1);
    let sql = host.sql().await;
    publish(&sql, "public:a", json!(1)).await;
    assert_eq!(client.publication().await["data"], 1);
    clock.set_ahead(LIFE + 122);
    assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_whose_tokens_end_at_once_are_all_told_so_and_come_again_with_newer_ones() {
    let clock = Arc::<WrongClock>::default();
    let host = builder()
        .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000")
        .config("[plugins.stream.config]\nexpired_grace_seconds = 120")
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let family = Uuid::now_v7();
    let people: Vec<_> = (0..storm::clients()).map(|_| Uuid::now_v7()).collect();
    let token = |person: &Uuid| host.token_of(*person, Some((Role::Owner, family)));
    let request = json!({"channel": "chat:a"});
    let all_come = || {
        // All at once, so that they end in the same second.
        let tokens: Vec<_> = people.iter().map(token).collect();
        join_all(tokens.into_iter().map(async |token| {
            let mut client = storm::come(host.address(), &token).await;
            let _ = storm::subscribe(&mut client, request.clone()).await;
            client
        }))
    };
    let mut audience = all_come().await;
    clock.set_ahead(LIFE - 10);
    let mut stays = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = stays.subscribe("public:a").await;
    let sql = host.sql().await;
    let begun = Instant::now();
    clock.set_ahead(LIFE + 122);
    // Whatever is published meanwhile.
    for number in 1..=20 {
        publish(&sql, &format!("family:{family}:chat:a"), json!(number)).await;
    }
    for client in &mut audience {
        assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    }
    println!("{:?} until all were told", begun.elapsed());
    let back = all_come().await;
    publish(&sql, "public:a", json!(1)).await;
    assert_eq!(stays.publication().await["data"], 1);
    drop(back);
    host.stop().await;
}

#[tokio::test]
async fn a_token_that_has_ended_begins_nothing() {
    let (host, clock) = stage().await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    clock.set_ahead(2 * LIFE);
    let mut client = Client::open(host.address()).await;
    assert_eq!(
        client.refusal("connect", json!({"token": token})).await,
        109
    );
    host.stop().await;
}

#[tokio::test]
async fn a_newer_token_of_the_same_person_lets_the_connection_go_on() {
    let (host, clock) = stage().await;
    let family = Uuid::now_v7();
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = client.subscribe("public:a").await;
    clock.set_ahead(LIFE - 10);
    let refreshed = client
        .ask("refresh", json!({"token": host.token(Role::Owner, family)}))
        .await;
    assert_eq!(refreshed["refresh"]["expires"], true, "{refreshed}");
    assert!(
        refreshed["refresh"]["ttl"].as_u64().expect("a number") > 3_000,
        "{refreshed}"
    );
    // Far beyond the first one's end; two looks of the keeper later it would be gone.
    clock.set_ahead(LIFE + 500);
    let sql = host.sql().await;
    for number in 1..=20 {
        publish(&sql, "public:a", json!(number)).await;
        assert_eq!(client.publication().await["data"], number);
    }
    host.stop().await;
}

/// Of a host whose clock is so many seconds ahead of the one that tokens are made by.
async fn check_wrong_by(skew: i64) {
    let (host, clock) = stage().await;
    let family = Uuid::now_v7();
    let made_at = |seconds| {
        clock.set_ahead(seconds);
        let token = host.token(Role::Owner, family);
        clock.set_ahead(seconds + skew);
        token
    };
    let token = made_at(0);
    let mut client = Client::open(host.address()).await;
    let connected = client.ask("connect", json!({"token": token})).await;
    // It is told how long its token lasts by the clock that will end it.
    let ttl = connected["connect"]["ttl"].as_i64().expect("a number");
    assert!(
        ttl <= LIFE - skew && ttl > LIFE - skew - 200,
        "{skew}: {ttl}"
    );
    let _ = client.subscribe("public:a").await;
    let newer = made_at(LIFE - skew - 10);
    let refreshed = client.ask("refresh", json!({"token": newer})).await;
    assert_eq!(refreshed["refresh"]["expires"], true, "{skew}: {refreshed}");
    clock.set_ahead(skew + LIFE + 200);
    publish(&host.sql().await, "public:a", json!(1)).await;
    assert_eq!(client.publication().await["data"], 1, "{skew}");
    clock.set_ahead(2 * LIFE + 200);
    assert_eq!(client.end().await.0, 3005, "{skew}");
    // Near its end a token is good or not by the host's clock; one that was made then is good in any case.
    let (token, newer) = (made_at(0), made_at(LIFE - 20));
    let mut late = Client::open(host.address()).await;
    let answer = late.ask("connect", json!({"token": token})).await;
    assert_eq!(answer["connect"].is_object(), skew < 20, "{skew}: {answer}");
    assert!(
        skew < 20 || answer["error"]["code"] == 109,
        "{skew}: {answer}"
    );
    let _ = Client::connect(host.address(), &newer).await;
    host.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_fast_or_slow_by_half_a_minute_keeps_nobody_out() {
    check_wrong_by(30).await;
    check_wrong_by(-30).await;
}

#[tokio::test]
async fn nobody_becomes_another_on_a_live_connection() {
    let (host, clock) = stage().await;
    let family = Uuid::now_v7();
    let person = Uuid::now_v7();
    let mine = host.token_of(person, Some((Role::Owner, family)));
    for token in [
        host.token(Role::Owner, family),
        host.token_of(person, Some((Role::Owner, Uuid::now_v7()))),
        "no token".to_owned(),
        String::new(),
    ] {
        let mut client = Client::connect(host.address(), &mine).await;
        client.command("refresh", json!({"token": token})).await;
        assert_eq!(client.end().await, (3500, "invalid token".to_owned()));
    }
    // One that has ended as well sends the client for a newer one.
    let mut client = Client::connect(host.address(), &mine).await;
    clock.set_ahead(-2 * LIFE);
    let old = host.token_of(person, Some((Role::Owner, family)));
    clock.set_ahead(0);
    client.command("refresh", json!({"token": old})).await;
    assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn a_newer_token_with_a_lesser_role_takes_away_what_it_may_not() {
    let (host, _clock) = stage().await;
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let adult = host.token_of(person, Some((Role::AdultMember, family)));
    let child = host.token_of(person, Some((Role::ChildMember, family)));
    let mut client = Client::connect(host.address(), &adult).await;
    let _ = client.subscribe("typing:kitchen").await;
    let _ = client.subscribe("public:a").await;
    let refreshed = client.ask("refresh", json!({"token": child})).await;
    assert!(refreshed["refresh"].is_object(), "{refreshed}");
    let push = client.push().await;
    assert_eq!(
        (&push["channel"], &push["unsubscribe"]["code"]),
        (&json!("typing:kitchen"), &json!(2000))
    );
    assert_eq!(
        client
            .refusal("subscribe", json!({"channel": "typing:kitchen"}))
            .await,
        103
    );
    publish(&host.sql().await, "public:a", json!(1)).await;
    assert_eq!(client.publication().await["data"], 1);
    host.stop().await;
}
