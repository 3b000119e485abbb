//! Registering: what becomes of an address, and what an answer tells of it.

use serde_json::json;

use crate::stage::{PASSWORD, Stage};

#[tokio::test]
async fn an_account_begins_with_the_proof_of_its_address() {
    let stage = Stage::set().await;
    let body = json!({"email": "Ada@Example.org", "password": PASSWORD, "display_name": "Ada"});
    let registered = stage.post("/auth/register", &body).await.expect_status(202);
    assert_eq!(registered.headers["cache-control"], "no-store");
    let refused = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(401);
    assert_eq!(
        refused.code(),
        "CREDENTIALS_INVALID",
        "the address is not proved yet"
    );
    let token = stage.mailed_token("ada@example.org", "verify-email").await;
    let verified = stage
        .post("/auth/verify-email", &json!({"token": token}))
        .await;
    let session = verified.expect_status(200).data();
    assert_eq!(session["user"]["email"], "ada@example.org");
    assert_eq!(session["user"]["is_email_verified"], true);
    let again = stage
        .post("/auth/verify-email", &json!({"token": token}))
        .await;
    assert_eq!((again.status, &*again.code()), (401, "CODE_INVALID"));
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_answered_like_a_free_one_and_its_owner_is_told() {
    let stage = Stage::set().await;
    stage.person("ada@example.org").await;
    let body = json!({"email": "ada@example.org", "password": "another password 7"});
    let taken = stage.post("/auth/register", &body).await;
    let free = json!({"email": "bob@example.org", "password": "another password 7"});
    let free = stage.post("/auth/register", &free).await;
    assert_eq!((taken.status, taken.text()), (free.status, free.text()));
    let hint = stage.mails("ada@example.org").await.len();
    nself_plugin_testkit::eventually("the owner's mail", async || {
        (stage.mails("ada@example.org").await.len() > hint.min(1)).then_some(())
    })
    .await;
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    let _ = stage
        .login("ada@example.org", "another password 7")
        .await
        .expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_who_register_one_address_at_once_one_gets_it() {
    let stage = Stage::open().await;
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let many = (0..10).map(|_| stage.post("/auth/register", &body));
    let mut answers: Vec<u16> = futures_util::future::join_all(many)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [&[201_u16][..], &[409; 9]].concat());
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_no_account_is_refused_with_the_reason() {
    let stage = Stage::set().await;
    for (email, password, code) in [
        ("ada", PASSWORD, "EMAIL_INVALID"),
        ("ada\u{ff20}example.org", PASSWORD, "EMAIL_INVALID"),
        (
            "ada@example.org\r\nbcc: eve@example.org",
            PASSWORD,
            "EMAIL_INVALID",
        ),
        ("ada@example.org\0", PASSWORD, "EMAIL_INVALID"),
        ("ada@example.org", "short", "PASSWORD_TOO_SHORT"),
        ("ada@example.org", "password", "PASSWORD_COMMON"),
        ("lovelace@example.org", "lovelace1", "PASSWORD_COMMON"),
        ("ada@example.org", &"a b".repeat(43), "PASSWORD_TOO_LONG"),
    ] {
        let body = json!({"email": email, "password": password});
        let answer = stage.post("/auth/register", &body).await;
        assert_eq!((answer.status, &*answer.code()), (422, code), "{email:?}");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"email\":1}",
        "{\"__proto__\":{}}",
        &"[".repeat(100_000),
    ] {
        let sent = stage
            .host
            .post("/auth/register")
            .header("content-type", "application/json");
        let answer = sent.body(body.to_owned()).send().await;
        assert!(
            (400..500).contains(&answer.status),
            "{body:.20}: {}",
            answer.status
        );
        assert!(!answer.code().is_empty());
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn where_sign_up_is_closed_nobody_registers() {
    let stage = Stage::with("[plugins.auth.config]\nsign_up = \"closed\"").await;
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let refused = stage.post("/auth/register", &body).await.expect_status(403);
    assert_eq!(refused.code(), "SIGN_UP_CLOSED");
    stage.host.stop().await;
}
