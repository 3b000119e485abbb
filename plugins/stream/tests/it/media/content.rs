//! What is there for whom.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};

use super::home::{Home, Person, device, film};

/// What a person is answered who wants to see such a film.
async fn asked(home: &Home, person: &Person, but: &str) -> String {
    let film = film(&home.sql, home.id, but).await;
    let answer = home.ask(&person.token, json!({"content_id": film})).await;
    if answer.status == 201 {
        return "admitted".to_owned();
    }
    format!("{} {}", answer.status, answer.code())
}

const NOTHING: &str = "404 STREAM_CONTENT_NOT_FOUND";

#[tokio::test]
async fn a_role_plays_what_it_may_see() {
    let home = Home::with("sessions_per_user = 100\nsessions_per_family = 100").await;
    let adult = home.person(Role::AdultMember).await;
    let youth = home.person(Role::YouthMember).await;
    let child = home.person(Role::ChildMember).await;
    for (person, but, expected) in [
        (&adult, "", "admitted"),
        (&adult, "visibility = 'adults_only'", "admitted"),
        (&adult, "visibility = 'private'", NOTHING),
        (&adult, "deleted_at = now()", NOTHING),
        (&adult, "kind = 'photo', mime_type = 'image/png'", NOTHING),
        (
            &adult,
            "state = 'processing'",
            "409 STREAM_CONTENT_NOT_READY",
        ),
        (&youth, "", "admitted"),
        (&youth, "visibility = 'adults_only'", NOTHING),
        (&child, "", NOTHING),
        (&child, "child_approved_at = now()", "admitted"),
        (
            &child,
            "child_approved_at = now(), visibility = 'adults_only'",
            NOTHING,
        ),
    ] {
        assert_eq!(asked(&home, person, but).await, expected, "{but}");
    }
    let own = format!("visibility = 'private', author_id = '{}'", adult.member);
    assert_eq!(asked(&home, &adult, &own).await, "admitted");
    assert_eq!(asked(&home, &youth, &own).await, NOTHING);
    home.host.stop().await;
}

#[tokio::test]
async fn a_child_plays_what_its_guardian_allows() {
    let home = Home::with("sessions_per_user = 100").await;
    let youth = home.person(Role::YouthMember).await;
    let set = "insert into public.parental_controls (family_id, member_id, content_rating) values ($1, $2, 'from_13')";
    home.change(set, &[home.id, youth.member]).await;
    for (rating, expected) in [
        ("all_ages", "admitted"),
        ("from_13", "admitted"),
        ("from_16", "403 STREAM_NOT_ENTITLED"),
        ("adults", "403 STREAM_NOT_ENTITLED"),
    ] {
        let but = format!("content_rating = '{rating}'");
        assert_eq!(asked(&home, &youth, &but).await, expected, "{rating}");
    }
    let forbid = "update public.parental_controls set can_watch = false where member_id = $1";
    home.change(forbid, &[youth.member]).await;
    let refused = home.ask_film(&youth.token).await.expect_status(403);
    assert_eq!(refused.json()["details"]["reason"], "can_watch");
    home.host.stop().await;
}

#[tokio::test]
async fn a_live_event_plays_while_it_is_live() {
    let home = Home::new().await;
    let make = "insert into public.live_events (family_id, title, planned_at) values ($1, 'Wedding', now()) returning id";
    let row = home.sql.query_one(make, &[&home.id]).await;
    let event: Uuid = row.expect("an event").get(0);
    let body = json!({"content_id": event, "content_kind": "live"});
    let early = home.ask(&home.owner(), body.clone()).await;
    assert_eq!(early.code(), "STREAM_CONTENT_NOT_READY");
    let begin = "update public.live_events set state = 'live', started_at = now() where id = $1";
    home.change(begin, &[event]).await;
    let admitted = home
        .ask(&home.owner(), body.clone())
        .await
        .expect_status(201);
    let session = admitted.data()["id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    let end = "update public.live_events set state = 'ended', ended_at = now() where id = $1";
    home.change(end, &[event]).await;
    assert_eq!(home.end_of(session.expect("an id")).await, "not_ready");
    // It is no media item.
    let wrong = home.ask(&home.owner(), json!({"content_id": event})).await;
    assert_eq!(wrong.status, 404);
    home.host.stop().await;
}

#[tokio::test]
async fn what_is_another_family_s_is_not_there() {
    let home = Home::new().await;
    let (theirs, stranger, their_film) = home.neighbour().await;
    let their_device = device(&home.sql, theirs).await;
    let owner = home.owner();
    let asked = home.ask(&owner, json!({"content_id": their_film})).await;
    assert_eq!(
        (asked.status, &*asked.code()),
        (404, "STREAM_CONTENT_NOT_FOUND")
    );
    let body = json!({"content_id": home.film, "device_id": their_device});
    let asked = home.ask(&owner, body).await;
    assert_eq!(
        (asked.status, &*asked.code()),
        (404, "STREAM_DEVICE_NOT_FOUND")
    );
    // Who is a member there and says to be one here.
    let liar = home.host.token_of(stranger, Some((Role::Owner, home.id)));
    assert_eq!(home.ask_film(&liar).await.status, 404);
    // The database itself holds them apart.
    let insert = "insert into stream.sessions \
        (family_id, device_id, media_item_id, role, priority, token_hash, user_limit, family_limit) \
        values ($1, $2, $3, 'DEVICE', 'normal', sha256('x'), 1, 1)";
    let device = home.device().await;
    for (device, film, key) in [
        (their_device, home.film, "sessions_device_id_fkey"),
        (device, their_film, "sessions_media_item_id_fkey"),
    ] {
        let refused = home.sql.execute(insert, &[&home.id, &device, &film]).await;
        let refused = refused.expect_err("it is another family's");
        let said = refused
            .as_db_error()
            .and_then(|error| error.constraint().map(str::to_owned));
        assert_eq!(said.as_deref(), Some(key));
    }
    home.host.stop().await;
}

#[tokio::test]
async fn a_device_that_was_revoked_plays_nothing() {
    let home = Home::new().await;
    let device = home.device().await;
    let revoke = "update public.devices set revoked_at = now() where id = $1";
    home.change(revoke, &[device]).await;
    for (bearer, body) in [
        (
            home.token_of_device(device),
            json!({"content_id": home.film}),
        ),
        (
            home.owner(),
            json!({"content_id": home.film, "device_id": device}),
        ),
    ] {
        let refused = home.ask(&bearer, body).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (404, "STREAM_DEVICE_NOT_FOUND")
        );
    }
    home.host.stop().await;
}
