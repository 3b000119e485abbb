//! Places: how many there are, and what those are told who get none.

use futures_util::future::join_all;
use nself_plugin_api::{prelude::Role, serde_json::json};

use super::home::{Home, SESSIONS};

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_at_once_as_many_are_admitted_as_there_are_places() {
    let home = Home::new().await;
    let second = home.host.beside().start().await;
    for round in 1..=5 {
        let person = home.person(Role::AdultMember).await;
        let body = json!({"content_id": home.film});
        let asked = (0..50).map(|at| {
            let host = if at % 2 == 0 { &home.host } else { &second };
            host.post(SESSIONS).token(&person.token).json(&body).send()
        });
        let answers = join_all(asked).await;
        let admitted = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(admitted, 3, "round {round}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!((answer.status, &*answer.code()), (429, "STREAM_LIMIT"));
        }
        let query = "select count(*) from stream.sessions where user_id = $1";
        let row = home.sql.query_one(query, &[&person.id]).await;
        let there: i64 = row.expect("they are counted").get(0);
        assert_eq!(there, 3, "round {round}");
        // Their places are the family's, too.
        let end = "select stream.end_one($1, s.id, 'test', null) from stream.sessions s where s.ended_at is null";
        let _ = home.sql.query(end, &[&home.id]).await.expect("they end");
    }
    second.stop().await;
    home.host.stop().await;
}

#[tokio::test]
async fn who_gets_no_place_is_told_why_and_when_to_come_again() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    for _ in 0..3 {
        let _ = home.play(&person.token).await;
    }
    let denied = home.ask_film(&person.token).await.expect_status(429);
    let details = denied.json()["details"].take();
    assert_eq!(
        (&details["reason"], &details["limit"], &details["active"]),
        (&json!("per_user"), &json!(3), &json!(3))
    );
    let after = details["retry_after"].as_u64().expect("seconds");
    assert!((1..=600).contains(&after), "{details}");
    assert_eq!(denied.headers["retry-after"], after.to_string());
    // Nothing is left of what was not admitted.
    assert_eq!(home.audited().await.len(), 3);
    home.host.stop().await;
}

#[tokio::test]
async fn a_family_has_as_many_places_as_its_operator_or_the_installation_says() {
    let home = Home::with("sessions_per_family = 2\nsessions_per_content = 1").await;
    let first = home.person(Role::AdultMember).await;
    let second = home.person(Role::YouthMember).await;
    let _ = home.play(&first.token).await;
    let denied = home.ask_film(&second.token).await.expect_status(429);
    assert_eq!(denied.json()["details"]["reason"], "per_content");
    let other = super::home::film(&home.sql, home.id, "").await;
    let third = super::home::film(&home.sql, home.id, "").await;
    let other = json!({"content_id": other});
    let _ = home.ask(&second.token, other).await.expect_status(201);
    let third = json!({"content_id": third});
    let denied = home
        .ask(&second.token, third.clone())
        .await
        .expect_status(429);
    let details = denied.json()["details"].take();
    assert_eq!(
        (&details["reason"], &details["limit"]),
        (&json!("per_family"), &json!(2))
    );
    let allow = "update public.family_quotas set streams_max = 3 where family_id = $1";
    home.change(allow, &[home.id]).await;
    let _ = home.ask(&second.token, third).await.expect_status(201);
    home.host.stop().await;
}

#[tokio::test]
async fn a_guardian_gives_a_child_fewer_places_than_others_have() {
    let home = Home::new().await;
    let child = home.person(Role::YouthMember).await;
    let limit = "insert into public.parental_controls (family_id, member_id, streams_max) values ($1, $2, 1)";
    home.change(limit, &[home.id, child.member]).await;
    let _ = home.play(&child.token).await;
    let denied = home.ask_film(&child.token).await.expect_status(429);
    assert_eq!(denied.json()["details"]["limit"], 1);
    home.host.stop().await;
}

#[tokio::test]
async fn the_same_device_takes_its_own_place_over() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let device = home.device().await;
    let first = home.play_on(&person.token, device).await;
    let second = home.play_on(&person.token, device).await;
    assert_eq!(home.end_of(first.session).await, "replaced");
    assert_eq!(home.beat(&first).await.code(), "STREAM_SESSION_ENDED");
    let _ = home.beat(&second).await.expect_status(200);
    // A machine by itself is that machine, whoever used it before.
    let alone = home.play(&home.token_of_device(device)).await;
    assert_eq!(home.end_of(second.session).await, "replaced");
    assert!(home.is_open(alone.session).await);
    home.host.stop().await;
}

#[tokio::test]
async fn people_see_what_they_play_and_those_who_manage_see_the_family() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let mine = home.play(&person.token).await;
    let other = home.play(&home.owner()).await;
    let listed = async |bearer: &str, path: &str| {
        let answer = home.host.get(path).token(bearer).send().await;
        let data = answer.expect_status(200).data();
        let list = data.as_array().expect("a list").clone();
        list.iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&person.token, SESSIONS).await, [json!(mine.session)]);
    let family = format!("{SESSIONS}/family");
    assert_eq!(
        listed(&home.owner(), &family).await,
        [json!(other.session), json!(mine.session)]
    );
    let refused = home.host.get(&family).token(&person.token).send().await;
    assert_eq!(refused.status, 403);
    let (theirs, stranger, _) = home.neighbour().await;
    let stranger = home.host.token_of(stranger, Some((Role::Owner, theirs)));
    assert!(listed(&stranger, &family).await.is_empty());
    home.host.stop().await;
}
