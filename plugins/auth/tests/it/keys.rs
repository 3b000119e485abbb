//! Signing keys: published before they sign, and as long as their tokens live.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::{
    anonymous::sweep,
    stage::{PASSWORD, Session, Stage},
};

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
    let by_operator = |what: &str| {
        let action = format!("auth.signing_key_{what}");
        (action, "operator/operator".to_owned())
    };
    let expected = ["published", "promoted"].map(by_operator);
    assert_eq!(told(&stage).await, expected);
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

/// What the audit log says of keys: what was done, and by whom.
async fn told(stage: &Stage) -> Vec<(String, String)> {
    let sql = stage.host.sql().await;
    let read = "select action, actor from nself.audit_log where action like 'auth.signing\\_key\\_%' order by at, id";
    let rows = sql.query(read, &[]).await.expect("the log reads");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn keys_turn_by_their_age_and_one_is_gone_once_its_last_token_has_ended() {
    let stage = Stage::open().await;
    let before = stage.person("ada@example.org").await;
    let sql = stage.host.sql().await;
    let pass = async |change: &str| {
        sql.batch_execute(change).await.expect("time passes");
        sweep(&stage).await;
        let set = key_set(&stage).await;
        let keys = set["keys"].as_array().expect("a list of keys");
        let kids = keys.iter().map(|key| key["kid"].as_str().expect("a name"));
        kids.map(str::to_owned).collect::<Vec<String>>()
    };
    let sign_in = async || {
        let answer = stage.login("ada@example.org", PASSWORD).await;
        Session(answer.expect_status(200).data())
    };
    let open = async |session: &Session| stage.get_as(session, "/auth/me").send().await.status;
    let young = pass("update auth.signing_keys set published_at = now() - interval '28 days', active_at = now() - interval '28 days'").await;
    assert_eq!(young, [kid(&before)]);
    let published =
        pass("update auth.signing_keys set active_at = now() - interval '29 days'").await;
    assert_eq!(published.len(), 2, "the next one is known a day before");
    assert_eq!(kid(&sign_in().await), kid(&before), "and does not sign yet");

    let promote = "update auth.signing_keys set published_at = now() - interval '25 hours' where state = 'next'";
    let promoted = pass(promote).await;
    let after = sign_in().await;
    assert_eq!(promoted, [kid(&before), kid(&after)]);
    assert_ne!(kid(&after), kid(&before));
    assert_eq!((open(&before).await, open(&after).await), (200, 200));

    // Fifteen minutes of its last token, five of who keeps the key set, one of clocks.
    let kept = pass("update auth.signing_keys set retired_at = now() - interval '20 minutes 30 seconds' where state = 'retiring'").await;
    assert_eq!((kept.len(), open(&before).await), (2, 200));
    let left = pass("update auth.signing_keys set retired_at = now() - interval '22 minutes' where state = 'retiring'").await;
    assert_eq!(left, [kid(&after)]);
    assert_eq!((open(&before).await, open(&after).await), (401, 200));
    let gone = "select count(*) from auth.signing_keys where state = 'gone' and sealed is null";
    let gone = sql.query_one(gone, &[]).await.expect("a count");
    assert_eq!(gone.get::<_, i64>(0), 1, "its private part is forgotten");

    let by_age = |what: &str| (format!("auth.signing_key_{what}"), "auth.keys".to_owned());
    let told = told(&stage).await;
    assert_eq!(told, ["published", "promoted", "gone"].map(by_age));
    drop(sql);
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
