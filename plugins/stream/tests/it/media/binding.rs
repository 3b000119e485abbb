//! A session's token is of use to its player only.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};

use super::home::{Home, Player, SESSIONS};
use crate::stage::{builder, sign};

#[tokio::test]
async fn a_stolen_token_is_of_no_use_to_another_device_person_or_family() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let (device, other_device) = (home.device().await, home.device().await);
    let of_person = home.play_on(&person.token, device).await;
    let television = home.device().await;
    let of_television = home.play(&home.token_of_device(television)).await;
    let (theirs, stranger, _) = home.neighbour().await;
    let stranger = home.host.token_of(stranger, Some((Role::Owner, theirs)));
    let elsewhere = home
        .host
        .token_of(person.id, Some((Role::AdultMember, theirs)));
    let thief = |player: &Player, bearer: &str, device: Option<Uuid>| Player {
        bearer: bearer.to_owned(),
        device,
        ..player.clone()
    };
    for stolen in [
        thief(&of_person, &person.token, None),
        thief(&of_person, &person.token, Some(other_device)),
        thief(&of_person, &home.owner(), Some(device)),
        thief(&of_person, &home.token_of_device(device), None),
        thief(&of_person, &stranger, Some(device)),
        thief(&of_person, &elsewhere, Some(device)),
        thief(&of_television, &home.token_of_device(other_device), None),
        thief(
            &of_television,
            &home.token_of_device(other_device),
            Some(television),
        ),
        thief(&of_television, &home.owner(), Some(television)),
        Player {
            token: of_person.token.clone(),
            ..of_television.clone()
        },
        Player {
            token: "guessed".to_owned(),
            ..of_person.clone()
        },
        Player {
            session: Uuid::now_v7(),
            ..of_person.clone()
        },
    ] {
        for what in ["heartbeat", "pause", "end"] {
            let answer = home.say(&stolen, what, "playing").await;
            let got = (answer.status, answer.code());
            assert_eq!(got, (404, "STREAM_SESSION_NOT_FOUND".to_owned()), "{what}");
        }
    }
    // Also at a host that has never heard of it.
    let second = home.host.beside().start().await;
    let path = format!("{SESSIONS}/{}/heartbeat", of_person.session);
    let body = json!({"token": of_person.token});
    let asked = second
        .post(&path)
        .token(&home.owner())
        .json(&body)
        .send()
        .await;
    assert_eq!(asked.status, 404);
    let body = json!({"token": of_person.token, "device_id": device});
    let asked = second
        .post(&path)
        .token(&person.token)
        .json(&body)
        .send()
        .await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    for player in [&of_person, &of_television] {
        let _ = home.beat(player).await.expect_status(200);
    }
    second.stop().await;
    home.host.stop().await;
}

#[tokio::test]
async fn nothing_that_is_stored_lets_anybody_play() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let dump = "select (select string_agg(s::text, '') from stream.sessions s), \
        (select string_agg(encode(k.sealed, 'hex'), '') from stream.playback_keys k), \
        (select string_agg(a::text, '') from nself.audit_log a)";
    let row = home.sql.query_one(dump, &[]).await.expect("a row");
    let stored = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let signature = player.address.rsplit('=').next().expect("a signature");
    for at in 0..3 {
        assert!(!stored(at).is_empty());
        assert!(!stored(at).contains(&player.token), "the token is stored");
        assert!(!stored(at).contains(signature), "the signature is stored");
    }
    // 256 bits of each.
    assert_eq!((player.token.len(), signature.len()), (43, 43));
    home.host.stop().await;
}

#[tokio::test]
async fn those_who_manage_the_family_end_its_sessions_and_no_others() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let admin = home.person(Role::Admin).await;
    let player = home.play(&person.token).await;
    let (theirs, stranger, _) = home.neighbour().await;
    let stranger = home.host.token_of(stranger, Some((Role::Owner, theirs)));
    let path = format!("{SESSIONS}/{}", player.session);
    for (bearer, expected) in [
        (&person.token, 403),
        (&stranger, 404),
        (&admin.token, 204),
        (&home.owner(), 404),
    ] {
        let answer = home.host.delete(&path).token(bearer).send().await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    let gone = home.beat(&player).await;
    assert_eq!(gone.status, 410, "{}", gone.text());
    assert_eq!(home.verified(&player.address).await, 403);
    let audited = home.audited().await;
    let (action, target, details) = audited.last().expect("it is written down");
    assert_eq!(
        (&**action, &**target, &details["reason"]),
        (
            "stream.session_ended",
            &*player.session.to_string(),
            &json!("removed")
        )
    );
    home.host.stop().await;
}

#[tokio::test]
async fn a_person_s_other_sign_in_is_another_player_and_the_same_one_takes_its_place_over() {
    let fixture = builder()
        .plugin("nself-plugin-fixture")
        .secret("fixture-key", "a key of the tests");
    let home = Home::on(fixture.start().await).await;
    let keys = home.host.post("/fixture/keys").send().await;
    let _ = keys.expect_status(200);
    let bearer = async |sign_in: Uuid| {
        let claims = json!({
            "iss": "fixture", "aud": "fixture", "sub": home.owner, "sid": sign_in, "exp": 4_000_000_000_u64, "epoch": 0,
            "https://hasura.io/jwt/claims": {
                "x-hasura-user-id": home.owner, "x-hasura-family-id": home.id,
                "x-hasura-default-role": "OWNER", "x-hasura-allowed-roles": ["OWNER", "user"],
            },
        });
        sign(&home.host, &claims).await
    };
    let (browser, phone) = (bearer(Uuid::now_v7()).await, bearer(Uuid::now_v7()).await);
    let first = home.play(&browser).await;
    let stolen = Player {
        bearer: phone.clone(),
        ..first.clone()
    };
    assert_eq!(home.beat(&stolen).await.status, 404);
    let on_phone = home.play(&phone).await;
    let again = home.play(&browser).await;
    assert_eq!(home.end_of(first.session).await, "replaced");
    for player in [&on_phone, &again] {
        let _ = home.beat(player).await.expect_status(200);
    }
    home.host.stop().await;
}
