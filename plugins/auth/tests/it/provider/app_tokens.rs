//! ID tokens that native apps bring.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_testkit::{Answer, TestClock, TestHost};
use serde_json::{Value, json};

use super::{
    REACH_LOOPBACK, TRUSTED,
    fake::{Issuer, Key},
    id_of, stage,
};
use crate::stage::{Session, Stage};

pub(super) const NONCE: &str = "nonce of the app";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_secs()
}

pub(super) fn configured(issuer: &str) -> String {
    format!(
        "[plugins.auth.config.providers.place]\nissuer = \"{issuer}\"\nclient_id = \"nself\"\n\
         app_client_ids = [\"nself-phone\"]\n{TRUSTED}"
    )
}

pub(super) fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "alice", "aud": "nself-phone", "iat": now(), "exp": now() + 600, "nonce": NONCE,
        "email": "alice@example.org", "email_verified": "true", "jti": uuid::Uuid::now_v7(),
    })
}

async fn show(stage: &Stage, token: &str, nonce: &str) -> Answer {
    let body = json!({"id_token": token, "nonce": nonce});
    stage.post("/auth/oauth/place/id-token", &body).await
}

#[tokio::test]
async fn an_app_signs_in_by_the_token_that_the_system_gave_it_once() {
    let key = Key::new("one");
    let issuer = Issuer::open(vec![key.jwk.clone()], |_, _| ()).await;
    let stage = stage(&[REACH_LOOPBACK, &configured(issuer.issuer())]).await;
    let token = key.sign("one", &claims(issuer.issuer()));
    let session = Session(show(&stage, &token, NONCE).await.expect_status(200).data());
    assert_eq!(session.0["user"]["email"], "alice@example.org");
    let replayed = show(&stage, &token, NONCE).await;
    assert_eq!(
        (replayed.status, &*replayed.code()),
        (401, "ID_TOKEN_INVALID")
    );
    // Where the system shows the nonce around, the app gives it the hash.
    let mut hashed = claims(issuer.issuer());
    hashed["nonce"] = json!(sha256_hex(NONCE));
    let again = show(&stage, &key.sign("one", &hashed), NONCE).await;
    assert_eq!(
        id_of(&Session(again.expect_status(200).data())),
        id_of(&session)
    );
    stage.host.stop().await;
}

fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let bytes = Sha256::digest(text);
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[tokio::test]
async fn a_token_that_is_not_genuine_or_not_for_us_is_refused_with_one_answer() {
    let (key, forger) = (Key::new("one"), Key::new("one"));
    let issuer = Issuer::open(vec![key.jwk.clone()], |_, _| ()).await;
    let stage = stage(&[REACH_LOOPBACK, &configured(issuer.issuer())]).await;
    let good = claims(issuer.issuer());
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign("one", &claims)
    };
    let genuine = key.sign("one", &good);
    let (header, rest) = genuine.split_once('.').expect("a token has parts");
    let (payload, signature) = rest.split_once('.').expect("a token has parts");
    let with_header = |header: &Value| {
        format!(
            "{}.{payload}.{signature}",
            URL_SAFE_NO_PAD.encode(header.to_string())
        )
    };
    let richer = URL_SAFE_NO_PAD.encode(good.to_string().replace("alice", "admin"));
    let refused = [
        forger.sign("one", &good),
        format!("{header}.{richer}.{signature}"),
        format!("{header}.{payload}."),
        with_header(&json!({"alg": "none", "kid": "one"})),
        with_header(&json!({"alg": "HS256", "kid": "one"})),
        with_header(&json!({"alg": "RS256", "kid": "one"})),
        with_header(&json!({"alg": "ES256", "kid": "../one"})),
        with_header(&json!({"alg": "ES256", "kid": "one", "crit": ["b64"]})),
        with_header(&json!({"alg": "ES256", "jwk": forger.jwk, "kid": "two"})),
        changed("iss", json!("https://elsewhere.example")),
        changed("aud", json!("somebody-else")),
        changed("aud", json!(["nself", "somebody-else"])),
        changed("azp", json!("somebody-else")),
        changed("exp", json!(now() - 120)),
        changed("iat", json!(now() + 600)),
        changed("nonce", json!("another")),
        changed("nonce", Value::Null),
        "a.b.c".to_owned(),
        "x".repeat(16_384),
    ];
    for token in &refused {
        let answer = show(&stage, token, NONCE).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "ID_TOKEN_INVALID"),
            "{token:.200}"
        );
    }
    let _ = show(&stage, &genuine, "another nonce")
        .await
        .expect_status(401);
    let _ = show(&stage, &genuine, NONCE).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_a_minute() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::open(vec![old.jwk.clone()], |_, _| ()).await;
    let start = i64::try_from(now()).expect("a time") * 1_000_000;
    let clock = Arc::new(TestClock::new(start));
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .secret("auth-providers", "{\"place\": \"secret\"}")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config(REACH_LOOPBACK)
        .config(&configured(issuer.issuer()))
        .clock(Arc::clone(&clock));
    let stage = Stage {
        host: host.start().await,
    };
    let asked = || issuer.asked_for_keys.load(Ordering::SeqCst);
    let token = |key: &Key, kid: &str| key.sign(kid, &claims(issuer.issuer()));
    let _ = show(&stage, &token(&old, "old"), NONCE)
        .await
        .expect_status(200);
    assert_eq!(asked(), 1);
    issuer.keys.lock().expect("whole").push(new.jwk.clone());
    for invented in ["a", "b", "c"] {
        let _ = show(&stage, &token(&new, invented), NONCE)
            .await
            .expect_status(401);
    }
    let _ = show(&stage, &token(&new, "new"), NONCE)
        .await
        .expect_status(401);
    assert_eq!(asked(), 1, "a minute has not passed");
    clock.advance(Duration::from_secs(61));
    let _ = show(&stage, &token(&new, "new"), NONCE)
        .await
        .expect_status(200);
    assert_eq!(asked(), 2);
    // A key that was withdrawn counts until the set is read again, which is within a day at most.
    issuer.keys.lock().expect("whole").remove(0);
    clock.advance(Duration::from_secs(24 * 3_600));
    let _ = show(&stage, &token(&old, "old"), NONCE)
        .await
        .expect_status(401);
    stage.host.stop().await;
}
