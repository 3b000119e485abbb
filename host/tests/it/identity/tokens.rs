//! Access tokens: which pass, and for how long.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use nself::identity::{IdentityError, KeySet, Kind, Verifier, VerifierSettings};
use nself::plugin::manifest::Role;
use serde_json::{Value, json};

use super::issuer::{
    FAMILY, ISSUER, Issuer, NOW, SESSION, USER, claims, claims_with, key_set, verifier,
};

#[test]
fn the_three_algorithms_pass_and_say_who_calls() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let issuer = Issuer::new(algorithm, "k1");
        let (verifier, _) = verifier(&issuer);
        let principal = verifier.verify(&issuer.sign(&claims())).unwrap();
        assert_eq!(
            (principal.kind, principal.role),
            (Kind::User, Some(Role::AdultMember)),
            "{algorithm:?}"
        );
        assert_eq!(principal.user_id.unwrap().to_string(), USER);
        assert_eq!(principal.family_id.unwrap().to_string(), FAMILY);
        assert_eq!(principal.session_id.unwrap().to_string(), SESSION);
    }
}

#[track_caller]
fn check_claims(changes: &Value, expected: Result<(), IdentityError>) {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    let (verifier, _) = verifier(&issuer);
    let got = verifier
        .verify(&issuer.sign(&claims_with(changes)))
        .map(drop);
    assert_eq!(got, expected, "{changes}");
}

#[test]
fn a_token_for_somebody_else_or_for_another_time_is_refused() {
    check_claims(&json!({"aud": "nself"}), Ok(()));
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"aud": ["hasura"]}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"exp": null}),
        json!({"nbf": NOW + 60}),
        json!({"https://hasura.io/jwt/claims": {"x-hasura-user-id": "not a uuid"}}),
    ] {
        check_claims(&changes, Err(IdentityError::Invalid));
    }
    check_claims(&json!({"exp": NOW - 60}), Err(IdentityError::Expired));
    check_claims(&json!({"exp": u64::MAX}), Ok(()));
    check_claims(&json!({"exp": NOW - 4, "nbf": NOW + 4}), Ok(())); // clocks differ a little
}

#[track_caller]
fn check_forged(what: &str, issuer: &Issuer, token: &str) {
    let (verifier, _) = verifier(issuer);
    assert_eq!(
        verifier.verify(token).unwrap_err(),
        IdentityError::Invalid,
        "{what}"
    );
}

#[test]
fn forgeries_are_refused() {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    let other = Issuer::new(Algorithm::ES256, "k1");
    let good = issuer.sign(&claims());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    check_forged("signed by somebody else", &issuer, &other.sign(&claims()));
    check_forged("no signature", &issuer, &format!("{head}.{body}."));
    check_forged(
        "a signature of zeros",
        &issuer,
        &format!("{head}.{body}.{}", "A".repeat(86)),
    );
    // {"alg":"none","kid":"k1"}
    check_forged(
        "alg none",
        &issuer,
        &format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{body}."),
    );
    check_forged(
        "another body",
        &issuer,
        &format!(
            "{head}.{}.{signature}",
            &other.sign(&json!({})).split('.').nth(1).unwrap()
        ),
    );
    let public = serde_json::to_vec(&issuer.jwk()).unwrap();
    let hs256 = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    check_forged(
        "the public key as a secret",
        &issuer,
        &encode(&hs256, &claims(), &EncodingKey::from_secret(&public)).unwrap(),
    );
    let unknown = Header {
        kid: Some("k2".to_owned()),
        ..issuer.header()
    };
    check_forged(
        "an unknown key",
        &issuer,
        &encode(&unknown, &claims(), &issuer.key).unwrap(),
    );
    let critical = Header {
        crit: Some(vec!["x".to_owned()]),
        ..issuer.header()
    };
    check_forged(
        "a critical extension",
        &issuer,
        &encode(&critical, &claims(), &issuer.key).unwrap(),
    );
    let id_token = Header {
        typ: Some("id+jwt".to_owned()),
        ..issuer.header()
    };
    check_forged(
        "a token of another kind",
        &issuer,
        &encode(&id_token, &claims(), &issuer.key).unwrap(),
    );
    let brought = Header {
        jwk: Some(other.jwk()),
        jku: Some("https://evil.example/jwks".to_owned()),
        ..other.header()
    };
    check_forged(
        "a key that the token brings",
        &issuer,
        &encode(&brought, &claims(), &other.key).unwrap(),
    );
    check_forged(
        "too long",
        &issuer,
        &issuer.sign(&claims_with(&json!({"x": "y".repeat(9_000)}))),
    );
    for garbage in ["", ".", "..", "a.b.c", "....", "\0"] {
        check_forged("garbage", &issuer, garbage);
    }
}

#[test]
fn a_remembered_token_is_forgotten_when_its_time_is_up() {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    let (verifier, hands) = verifier(&issuer);
    let token = issuer.sign(&claims());
    verifier.verify(&token).unwrap();
    hands.forward(304);
    assert!(
        verifier.verify(&token).is_ok(),
        "the leeway is five seconds"
    );
    hands.forward(1);
    assert_eq!(verifier.verify(&token).unwrap_err(), IdentityError::Expired);
}

#[test]
fn a_revoked_session_ends_its_remembered_tokens_and_no_others() {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    let (verifier, hands) = verifier(&issuer);
    let (token, other) = (
        issuer.sign(&claims()),
        issuer.sign(&claims_with(&json!({"sid": FAMILY}))),
    );
    verifier.verify(&token).unwrap();
    verifier.revoke(
        SESSION.parse().unwrap(),
        hands.now() + Duration::from_secs(300),
    );
    assert_eq!(verifier.verify(&token).unwrap_err(), IdentityError::Revoked);
    assert!(verifier.verify(&other).is_ok());
    hands.forward(304);
    assert_eq!(
        verifier.verify(&token).unwrap_err(),
        IdentityError::Revoked,
        "as long as the token would have lived"
    );
}

#[test]
fn replaced_keys_end_remembered_tokens_and_the_new_ones_work_at_once() {
    let (old, new) = (
        Issuer::new(Algorithm::ES256, "k1"),
        Issuer::new(Algorithm::EdDSA, "k2"),
    );
    let verifier = Verifier::new(super::issuer::Hands::new().settings(Vec::new())).unwrap();
    let (old_token, new_token) = (old.sign(&claims()), new.sign(&claims()));
    assert_eq!(
        verifier.verify(&old_token).unwrap_err(),
        IdentityError::Invalid,
        "no keys, no tokens"
    );
    verifier.set_keys("auth", old.key_set()).unwrap();
    verifier.verify(&old_token).unwrap();
    verifier
        .set_keys("auth", key_set(&[old.jwk(), new.jwk()]))
        .unwrap();
    assert!(
        verifier.verify(&old_token).is_ok() && verifier.verify(&new_token).is_ok(),
        "both while keys rotate"
    );
    verifier.set_keys("auth", new.key_set()).unwrap();
    assert_eq!(
        verifier.verify(&old_token).unwrap_err(),
        IdentityError::Invalid
    );
    verifier.remove_keys("auth").unwrap();
    assert_eq!(
        verifier.verify(&new_token).unwrap_err(),
        IdentityError::Invalid
    );
}

#[test]
fn what_is_kept_of_a_token_is_good_as_long_as_its_session_and_its_key() {
    let (issuer, same_id) = (
        Issuer::new(Algorithm::ES256, "k1"),
        Issuer::new(Algorithm::ES256, "k1"),
    );
    let (verifier, hands) = verifier(&issuer);
    let receipt = |changes: &Value| {
        let token = issuer.sign(&claims_with(changes));
        verifier.receive(&token).expect("it is good").1
    };
    let (ended, outdated, other) = (
        receipt(&json!({})),
        receipt(&json!({"sid": USER})),
        receipt(&json!({"sid": FAMILY})),
    );
    let until = hands.now() + Duration::from_secs(300);
    verifier.revoke(SESSION.parse().unwrap(), until);
    verifier.refuse_older(USER.parse().unwrap(), outdated.epoch + 1, until);
    assert_eq!(verifier.check(&ended), Err(IdentityError::Revoked));
    assert_eq!(verifier.check(&outdated), Err(IdentityError::Outdated));
    assert_eq!(verifier.check(&other), Ok(()));
    hands.forward(1_000_000);
    assert_eq!(
        verifier.check(&other),
        Ok(()),
        "when it expires was known before"
    );
    let verifier = Verifier::new(super::issuer::Hands::new().settings(Vec::new())).unwrap();
    let newest = Issuer::new(Algorithm::EdDSA, "k2");
    let keys = |first: &Issuer| key_set(&[newest.jwk(), first.jwk()]);
    verifier.set_keys("auth", keys(&issuer)).unwrap();
    assert_eq!(
        verifier.check(&other),
        Ok(()),
        "the same key in another ring"
    );
    verifier.set_keys("auth", keys(&same_id)).unwrap();
    assert_eq!(
        verifier.check(&other),
        Err(IdentityError::Outdated),
        "another key under its id"
    );
    verifier.remove_keys("auth").unwrap();
    assert_eq!(verifier.check(&other), Err(IdentityError::Outdated));
}

#[test]
fn a_plugin_cannot_take_over_the_key_id_of_another() {
    let (first, second) = (
        Issuer::new(Algorithm::ES256, "k1"),
        Issuer::new(Algorithm::ES256, "k1"),
    );
    let (verifier, _) = verifier(&first);
    verifier.set_keys("evil", second.key_set()).unwrap();
    assert!(verifier.verify(&first.sign(&claims())).is_ok());
    assert_eq!(
        verifier.verify(&second.sign(&claims())).unwrap_err(),
        IdentityError::Invalid
    );
}

#[track_caller]
fn check_keys(set: KeySet, reason: &str) {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    let (verifier, _) = verifier(&issuer);
    let error = verifier.set_keys("auth", set).unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
    assert!(
        verifier.verify(&issuer.sign(&claims())).is_ok(),
        "the keys in force stay"
    );
}

#[test]
fn keys_that_may_not_verify_are_refused_with_the_reason() {
    let issuer = Issuer::new(Algorithm::ES256, "k1");
    check_keys(
        Issuer::new(Algorithm::HS256, "k1").key_set(),
        "shared secret",
    );
    check_keys(
        KeySet {
            jwks: "{}".to_owned(),
            ..issuer.key_set()
        },
        "not a JSON Web Key Set",
    );
    check_keys(
        KeySet {
            issuer: String::new(),
            ..issuer.key_set()
        },
        "need an issuer",
    );
    check_keys(
        KeySet {
            audiences: Vec::new(),
            ..issuer.key_set()
        },
        "at least one audience",
    );
    let edit = |key: &str, value: Value| {
        let mut jwk = serde_json::to_value(issuer.jwk()).unwrap();
        jwk[key] = value;
        KeySet {
            jwks: json!({"keys": [jwk]}).to_string(),
            issuer: ISSUER.to_owned(),
            audiences: vec!["nself".to_owned()],
        }
    };
    check_keys(edit("alg", json!("HS256")), "does not fit");
    check_keys(edit("use", json!("enc")), "not \"sig\"");
    check_keys(edit("kid", Value::Null), "no kid");
    check_keys(edit("crv", json!("P-384")), "use ES256");
    let rsa =
        json!({"kty": "RSA", "kid": "k1", "n": "A".repeat(20) + &"x".repeat(170), "e": "AQAB"});
    check_keys(
        KeySet {
            jwks: json!({"keys": [rsa]}).to_string(),
            ..issuer.key_set()
        },
        "2048 bits",
    );
}

#[test]
fn a_bad_configured_set_stops_the_start() {
    let keys = vec![KeySet {
        jwks: "[]".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["a".to_owned()],
    }];
    assert!(
        Verifier::new(VerifierSettings {
            keys,
            ..VerifierSettings::default()
        })
        .is_err()
    );
}
