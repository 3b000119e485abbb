//! Signing keys: published before they sign, and as long as their tokens live.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

async fn key_set(stage: &Stage) -> Value {
    let answer = stage
        .host
        .get("/.well-known/jwks.json")
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    answer.json()
}

fn kid(session: &Session) -> String {
    let header = jsonwebtoken::decode_header(session.access()).expect("a token has a header");
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    header.kid.expect("it names its key")
}

#[tokio::test]
async fn the_key_set_has_what_verifiers_insist_on_and_no_private_part() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let set = key_set(&stage).await;
    let keys = set["keys"].as_array().expect("a list of keys");
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["kid"], kid(&session).as_str());
    assert_eq!(
        (&keys[0]["alg"], &keys[0]["use"]),
        (&json!("ES256"), &json!("sig"))
    );
    assert_eq!(keys[0].get("d"), None);
    let claims = session.claims();
    assert_eq!(claims["aud"], json!([claims["iss"], "hasura"]));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_new_key_takes_over_and_the_old_ones_tokens_stay_good() {
    let stage = Stage::open().await;
    let before = stage.person("ada@example.org").await;
    let rotate = async |body: Value| {
        let request = stage.host.post("/auth/admin/keys/rotate").operator();
        request.json(&body).send().await.expect_status(200).data()
    };
    let prepared = rotate(json!({})).await;
    assert_eq!(prepared.as_array().map(Vec::len), Some(2));
    let same = Session(
        stage
            .refresh(before.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(
        kid(&same),
        kid(&before),
        "a key that nobody knows yet does not sign"
    );
    let states = rotate(json!({"now": true})).await;
    let states: Vec<&str> = states
        .as_array()
        .expect("a list of keys")
        .iter()
        .filter_map(|key| key["state"].as_str())
        .collect();
    assert_eq!(states, ["retiring", "active"]);
    let after = Session(
        stage
            .refresh(same.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_ne!(kid(&after), kid(&before));
    for session in [&before, &after] {
        let _ = stage
            .get_as(session, "/auth/me")
            .send()
            .await
            .expect_status(200);
    }
    let refused = stage
        .host
        .get("/auth/admin/keys")
        .token(after.access())
        .send()
        .await;
    assert_eq!(refused.status, 403);
    stage.host.stop().await;
}

#[tokio::test]
async fn all_hosts_of_a_database_sign_with_the_same_keys_and_hear_what_ends() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let beside = stage.host.beside().start().await;
    let here = beside.get("/auth/me").token(session.access()).send().await;
    let _ = here.expect_status(200);
    let _ = stage
        .post_as(&session, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    eventually("the other host refuses the token", async || {
        let answer = beside.get("/auth/me").token(session.access()).send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    beside.stop().await;
    stage.host.stop().await;
}
