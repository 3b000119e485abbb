//! The plugin that is the identity provider: its keys verify, and what it takes back is refused at once.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use nself_plugin_api::uuid::Uuid;
use nself_plugin_testkit::{LIMIT, TestHost};
use serde_json::{Value, json};

use crate::started;

/// Long after the test, in seconds since 1970.
const UNTIL: u64 = 4_000_000_000;

/// A host whose fixture has registered a key.
async fn issuing() -> TestHost {
    let host = started().await;
    let _ = host.post("/fixture/keys").send().await.expect_status(200);
    host
}

/// A token of the session, signed by the plugin.
async fn token(host: &TestHost, session: Uuid, claims: Value) -> String {
    let user = Uuid::now_v7();
    let mut all = json!({
        "iss": "fixture", "aud": "fixture", "sub": user, "sid": session, "exp": UNTIL,
        "https://hasura.io/jwt/claims": {"x-hasura-user-id": user, "x-hasura-default-role": "user"},
    });
    for (name, value) in claims.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    let head = json!({"alg": "ES256", "kid": "fixture-1", "typ": "JWT"});
    let signed = format!(
        "{}.{}",
        BASE64.encode(head.to_string()),
        BASE64.encode(all.to_string())
    );
    let signature = host
        .post("/fixture/token")
        .body(signed.clone())
        .send()
        .await
        .expect_status(200)
        .body;
    format!("{signed}.{}", BASE64.encode(signature))
}

async fn check(host: &TestHost, token: &str, status: u16, code: &str) {
    let answer = host.get("/fixture/anybody").token(token).send().await;
    assert_eq!((answer.status, &*answer.code()), (status, code));
}

async fn tell(host: &TestHost, path: &str, body: Value) {
    let _ = host.post(path).json(&body).send().await.expect_status(204);
}

#[tokio::test]
async fn a_token_that_the_plugin_signed_passes_until_its_session_is_revoked() {
    let host = issuing().await;
    let (session, other) = (Uuid::now_v7(), Uuid::now_v7());
    let (mine, others) = (
        token(&host, session, json!({})).await,
        token(&host, other, json!({})).await,
    );
    check(&host, &mine, 200, "").await;
    let ended = json!({"session": session, "until": UNTIL});
    tell(&host, "/fixture/revoke", ended).await;
    check(&host, &mine, 401, "SESSION_REVOKED").await;
    check(&host, &others, 200, "").await;
    host.stop().await;
}

#[tokio::test]
async fn older_tokens_of_a_session_are_refused_and_newer_ones_pass() {
    let host = issuing().await;
    let session = Uuid::now_v7();
    let (none, first, second) = (
        token(&host, session, json!({})).await,
        token(&host, session, json!({"epoch": 1})).await,
        token(&host, session, json!({"epoch": 2})).await,
    );
    for token in [&none, &first, &second] {
        check(&host, token, 200, "").await;
    }
    let changed = json!({"session": session, "epoch": 2, "until": u64::MAX});
    tell(&host, "/fixture/refuse-older", changed).await;
    check(&host, &none, 401, "TOKEN_OUTDATED").await;
    check(&host, &first, 401, "TOKEN_OUTDATED").await;
    check(&host, &second, 200, "").await;
    let anothers = token(&host, Uuid::now_v7(), json!({})).await;
    check(&host, &anothers, 200, "").await;
    host.stop().await;
}

#[tokio::test]
async fn an_epoch_that_is_no_number_makes_no_token() {
    let host = issuing().await;
    for epoch in [json!("2"), json!(-1), json!(1.5), json!(null)] {
        let token = token(&host, Uuid::now_v7(), json!({"epoch": epoch})).await;
        check(&host, &token, 401, "TOKEN_INVALID").await;
    }
    host.stop().await;
}

#[tokio::test]
async fn the_keys_of_a_disabled_plugin_are_gone() {
    let host = issuing().await;
    let token = token(&host, Uuid::now_v7(), json!({})).await;
    check(&host, &token, 200, "").await;
    let registry = host.registry();
    let disabled = registry.disable("fixture", LIMIT, false).await;
    let _ = disabled.expect("nobody needs it");
    let enabled = registry.enable("fixture").await;
    let _ = enabled.expect("it starts again");
    check(&host, &token, 401, "TOKEN_INVALID").await;
    host.stop().await;
}
