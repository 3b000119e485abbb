//! Forged access tokens and forged session variables, at every door.
//!
//! A key of the test is put beside the plugin's own, so that a token can be wrong in one point and right in all others: a
//! bad signature would hide every other check.

use std::{io::ErrorKind, net::TcpListener};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

/// Made for this test, and known to the host in it.
const KNOWN: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKaikoKmqgrbTwFg+\n\
BUlBZtwPTuUUu5O56X7xz0IamoShRANCAASJ0Sv59Tra5xbCQdgAom355NKavZzv\n\
seVXEXsR8Bsb6rGh1bE4BKOtZosQexm866D2ssJbmaSoPsdhEmAc27sG\n\
-----END PRIVATE KEY-----\n\
";

/// Its public part, as a thief of published keys has it.
const KNOWN_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEidEr+fU62ucWwkHYAKJt+eTSmr2c\n\
77HlVxF7EfAbG+qxodWxOASjrWaLEHsZvOug9rLCW5mkqD7HYRJgHNu7Bg==\n\
-----END PUBLIC KEY-----\n\
";

/// Made for this test, and known to nobody.
const STRANGERS: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1vCWnixJvT8B5oOV\n\
ptLNUMb1etSTHGQ/4pfW/r3xE6ahRANCAAQ1tT710Yg2lRx+wWS6joAVuBvcg+ld\n\
3C2b5hTvJJ5Ymb9l/UzhfSUuwLPuQNLMAexD9/8qwIYwdgw0b66v04Nd\n\
-----END PRIVATE KEY-----\n\
";

fn known_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "idEr-fU62ucWwkHYAKJt-eTSmr2c77HlVxF7EfAbG-o",
        "y": "saHVsTgEo61mixB7GbzroPaywluZpKg-x2ESYBzbuwY",
    })
}

fn strangers_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "NbU-9dGINpUcfsFkuo6AFbgb3IPpXdwtm-YU7ySeWJk",
        "y": "v2X9TOF9JS7As-5A0swB7EP3_yrAhjB2DDRvrq_Tg10",
    })
}

/// Both parts of a token, without a signature.
fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn signed(header: &Value, claims: &Value, pem: &str) -> String {
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("it is a key");
    with_signature(header, claims, &key, Algorithm::ES256)
}

fn shared(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let key = EncodingKey::from_secret(secret);
    with_signature(header, claims, &key, Algorithm::HS256)
}

fn with_signature(header: &Value, claims: &Value, key: &EncodingKey, by: Algorithm) -> String {
    let unsigned = unsigned(header, claims);
    let signature = crypto::sign(unsigned.as_bytes(), key, by).expect("it is signed");
    format!("{unsigned}.{signature}")
}

/// `base` with a key set to something else; null takes it away.
fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut changed = base.clone();
    let object = changed.as_object_mut().expect("it is an object");
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    changed
}

/// A token with one other claim, and right in all others.
pub(crate) fn right_but(session: &Session, name: &str, value: Value) -> String {
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "known"});
    signed(&header, &with(&session.claims(), name, value), KNOWN)
}

/// Puts the test's key beside the plugin's, as one that signs no more and still verifies.
pub(crate) async fn publish(stage: &Stage) {
    let sql = stage.host.sql().await;
    let insert = "insert into auth.signing_keys \
        (kid, algorithm, jwk, sealed, state, published_at, active_at, retired_at) \
        values ('known', 'ES256', $1, 'none', 'retiring', now(), now(), now())";
    sql.execute(insert, &[&known_jwk()])
        .await
        .expect("there is another key");
    sql.batch_execute("select pg_notify('auth', 'keys')")
        .await
        .expect("it is told");
}

/// Tokens that are wrong in one point each, and what the point is.
fn forgeries(session: &Session, jwks: &str, trap: &str) -> Vec<(&'static str, String)> {
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).expect("it is not that late");
    let claims = session.claims();
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "known"});
    let alg = |name: &str| with(&header, "alg", json!(name));
    let kid = |kid: &str| with(&header, "kid", json!(kid));
    let real = session.access();
    let (parts, signature) = real.rsplit_once('.').expect("a token has a signature");
    let known = signed(&header, &claims, KNOWN);
    let hs256 = |kid: Value| with(&alg("HS256"), "kid", kid);
    let own = jsonwebtoken::decode_header(real).expect("a header").kid;
    let own = json!(own.expect("a token names its key"));
    let claim = |name: &str, value: Value| signed(&header, &with(&claims, name, value), KNOWN);
    let headed = |name: &str, value: Value| signed(&with(&header, name, value), &claims, KNOWN);
    // A stranger's signature, with the stranger's key offered along.
    let offered = |name: &str, value: Value, kid: &str| {
        let header = with(&with(&header, "kid", json!(kid)), name, value);
        signed(&header, &claims, STRANGERS)
    };
    vec![
        (
            "no algorithm",
            format!("{}.", unsigned(&alg("none"), &claims)),
        ),
        (
            "no algorithm, oddly written",
            format!("{}.", unsigned(&alg("nOnE"), &claims)),
        ),
        (
            "no algorithm, a signature",
            format!("{}.{signature}", unsigned(&alg("none"), &claims)),
        ),
        ("no algorithm, two parts", unsigned(&alg("none"), &claims)),
        ("an empty signature", format!("{parts}.")),
        ("no signature", parts.to_owned()),
        (
            "a signature of zeros",
            format!("{parts}.{}", "A".repeat(86)),
        ),
        (
            "another's signature",
            format!("{parts}.{}", known.rsplit('.').next().unwrap_or_default()),
        ),
        (
            "the key set as a secret",
            shared(&hs256(own.clone()), &claims, jwks.as_bytes()),
        ),
        (
            "the key as a secret",
            shared(
                &hs256(json!("known")),
                &claims,
                known_jwk().to_string().as_bytes(),
            ),
        ),
        (
            "the PEM as a secret",
            shared(&hs256(json!("known")), &claims, KNOWN_PUBLIC.as_bytes()),
        ),
        ("an empty secret", shared(&hs256(own), &claims, b"")),
        (
            "a secret that is no secret",
            shared(&hs256(json!("known")), &claims, b"your-256-bit-secret"),
        ),
        (
            "another algorithm in the header",
            signed(&alg("RS256"), &claims, KNOWN),
        ),
        (
            "a stranger's key under our name",
            signed(&header, &claims, STRANGERS),
        ),
        (
            "an unknown key",
            signed(&kid("unknown"), &claims, STRANGERS),
        ),
        (
            "a path as the key",
            shared(&hs256(json!("../../../../dev/null")), &claims, b""),
        ),
        (
            "a query as the key",
            signed(&kid("' or '1'='1"), &claims, STRANGERS),
        ),
        (
            "an address as the key",
            signed(&kid(trap), &claims, STRANGERS),
        ),
        (
            "jku",
            offered("jku", json!(format!("{trap}/jwks.json")), "theirs"),
        ),
        (
            "jku under our name",
            offered("jku", json!(format!("{trap}/jwks.json")), "known"),
        ),
        (
            "x5u",
            offered("x5u", json!(format!("{trap}/x5u.pem")), "theirs"),
        ),
        ("jwk", offered("jwk", strangers_jwk(), "theirs")),
        (
            "jwk under our name",
            offered("jwk", strangers_jwk(), "known"),
        ),
        ("something critical", headed("crit", json!(["b64"]))),
        ("an ID token's type", headed("typ", json!("id+jwt"))),
        (
            "a sign-out token's type",
            headed("typ", json!("logout+jwt")),
        ),
        ("expired", claim("exp", json!(now - 60))),
        ("without an end", claim("exp", json!(null))),
        ("not yet valid", claim("nbf", json!(now + 3_600))),
        (
            "for another audience",
            claim("aud", json!(["somebody-else"])),
        ),
        ("for nobody", claim("aud", json!(null))),
        (
            "of another issuer",
            claim("iss", json!("http://localhost:3000.evil.example")),
        ),
        ("of nobody", claim("iss", json!(null))),
        ("a person and a machine", {
            let mut hasura = claims["https://hasura.io/jwt/claims"].clone();
            hasura["x-hasura-device-id"] = hasura["x-hasura-user-id"].clone();
            claim("https://hasura.io/jwt/claims", hasura)
        }),
        (
            "longer than a token is",
            claim("filler", json!("x".repeat(8 * 1024))),
        ),
    ]
}

#[tokio::test]
async fn no_forged_token_opens_anything_and_no_address_in_one_is_visited() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    trap.set_nonblocking(true).expect("it does not wait");
    let address = format!("http://{}", trap.local_addr().expect("it has an address"));
    publish(&stage).await;
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "known"});
    let right = signed(&header, &session.claims(), KNOWN);
    eventually("a token that is right in all points is taken", async || {
        let answer = stage.host.get("/auth/me").token(&right).send().await;
        (answer.status == 200).then_some(())
    })
    .await;
    let jwks = stage.host.get("/.well-known/jwks.json").send().await.text();
    for (point, token) in forgeries(&session, &jwks, &address) {
        for path in ["/auth/me", "/user"] {
            let answer = stage.host.get(path).token(&token).send().await;
            let code = answer.code();
            let is_refused = ["TOKEN_INVALID", "TOKEN_EXPIRED"].contains(&code.as_str());
            assert!(
                answer.status == 401 && is_refused,
                "{point}: {}",
                answer.text()
            );
        }
        // A public route takes its bearer for nobody.
        let verified = stage.host.post("/token/verify").token(&token).send().await;
        assert_eq!(verified.status, 401, "{point}");
        let asked = stage
            .host
            .post("/auth/token/introspect")
            .token(TestHost::SERVICE_KEY);
        let asked = asked.body(format!("token={token}")).send().await;
        let told = asked.expect_status(200).json();
        // Whom a token is about is the asking service's matter.
        if point != "a person and a machine" {
            assert_eq!(told, json!({"active": false}), "{point}");
        }
    }
    let huge = signed(
        &header,
        &with(&session.claims(), "filler", json!("x".repeat(64 * 1024))),
        KNOWN,
    );
    let refused = stage.host.get("/auth/me").token(&huge).send().await;
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    let visited = trap.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(
        visited,
        Err(ErrorKind::WouldBlock),
        "somebody followed an address"
    );
    stage.host.stop().await;
}

/// What Hasura takes from a request without a token where it is told to, and what its clients send along.
const VARIABLES: [(&str, &str); 5] = [
    ("x-hasura-role", "admin"),
    ("x-hasura-allowed-roles", "admin,OWNER"),
    ("x-hasura-admin-secret", "nhost-admin-secret"),
    (
        "x-hasura-auth-elevated",
        "00000000-0000-7000-8000-000000000000",
    ),
    ("x-hasura-family-id", "00000000-0000-7000-8000-000000000000"),
];

#[tokio::test]
async fn session_variables_in_a_request_are_nothing_to_us() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let eve = stage.person("eve@example.org").await;
    let adas = ada.0["user"]["id"].as_str().expect("an id").to_owned();
    let dressed = |method: &str, path: &str, token: Option<&str>| {
        let mut request = stage.host.request(method, path);
        for (name, value) in VARIABLES {
            request = request.header(name, value);
        }
        request = request.header("x-hasura-user-id", &adas);
        match token {
            Some(token) => request.token(token),
            None => request,
        }
    };
    for path in [
        "/auth/me",
        "/auth/sessions",
        "/auth/tokens",
        "/user",
        "/auth/admin/keys",
    ] {
        let nobody = dressed("GET", path, None).send().await;
        assert_eq!(nobody.status, 401, "{path}");
        let plain = stage.get_as(&eve, path).send().await;
        let with = dressed("GET", path, Some(eve.access())).send().await;
        assert_eq!(
            (with.status, with.text()),
            (plain.status, plain.text()),
            "{path}"
        );
    }
    let path = format!(
        "/auth/sessions/{}",
        ada.0["session_id"].as_str().expect("an id")
    );
    let foreign = dressed("DELETE", &path, Some(eve.access())).send().await;
    assert_eq!(foreign.status, 404);
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set elevated_until = now() - interval '1 minute'")
        .await
        .expect("time passes");
    let plain = Session(stage.refresh(eve.refresh()).await.expect_status(200).data());
    let change = json!({"newPassword": "another password 7"});
    let refused = dressed("POST", "/user/password", Some(plain.access()))
        .json(&change)
        .send()
        .await;
    let refused = refused.expect_status(403).json();
    assert_eq!(refused["error"], "elevated-claim-required");
    drop(sql);
    stage.host.stop().await;
}
