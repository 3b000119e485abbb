//! Proving again who one is: what it takes, what it gives, and for how long.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::{
    app::App,
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

fn is_elevated(session: &Session) -> bool {
    session.claims()["https://hasura.io/jwt/claims"]
        .get("x-hasura-auth-elevated")
        .is_some()
}

#[tokio::test]
async fn where_there_is_a_second_factor_a_fresh_proof_needs_it_too() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let other = Session(stage.login(ADA, PASSWORD).await.expect_status(200).data());
    let (app, _) = stage.enroll(&ada).await;
    let other = Session(
        stage
            .refresh(other.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(
        (&other.claims()["acr"], is_elevated(&other)),
        (&json!("aal1"), false)
    );
    let prove = async |proof: Value| stage.post_as(&other, "/auth/reauthenticate", &proof).await;

    let alone = prove(json!({"password": PASSWORD}))
        .await
        .expect_status(403);
    assert_eq!(alone.code(), "SECOND_FACTOR_REQUIRED");
    assert_eq!(
        alone.json()["details"]["methods"],
        json!(["totp", "recovery"])
    );
    for (proof, status) in [
        (json!({"code": app.code()}), 401),
        (
            json!({"password": "wrong password", "code": app.code()}),
            401,
        ),
        (
            json!({"password": PASSWORD, "code": App::wrong_code()}),
            401,
        ),
        (
            json!({"password": PASSWORD, "recovery_code": "ABCD-EFGH-IJKL-MNOP"}),
            401,
        ),
        (json!({}), 401),
    ] {
        let refused = prove(proof.clone()).await;
        assert_eq!(refused.status, status, "{proof}: {}", refused.text());
    }
    let proved = prove(json!({"password": PASSWORD, "code": app.code()})).await;
    let proved = Session(proved.expect_status(200).data());
    let claims = proved.claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("aal2"), &json!(["pwd", "otp", "mfa"]))
    );
    assert!(is_elevated(&proved));
    let later = Session(
        stage
            .refresh(proved.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(
        later.claims()["acr"],
        "aal2",
        "what the session has become it stays"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_fresh_proof_ends_after_its_time_and_a_refresh_does_not_make_it_longer() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (_, ada) = stage.enroll(&ada).await;
    assert!(is_elevated(&ada));
    let sql = stage.host.sql().await;
    let until = async || -> std::time::SystemTime {
        let read = "select elevated_until from auth.sessions where elevated_until is not null";
        sql.query_one(read, &[]).await.expect("it reads").get(0)
    };
    let before = until().await;
    let ada = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    assert!(is_elevated(&ada));
    assert_eq!(until().await, before);
    let expiry = ada.claims()["exp"].as_u64().expect("a token ends");
    let limit = before
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    assert!(
        expiry <= limit.as_secs(),
        "a token that tells of it does not outlive it"
    );

    sql.batch_execute("update auth.sessions set elevated_until = now() - interval '1 second'")
        .await
        .expect("time passes");
    let ada = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    assert!(!is_elevated(&ada));
    assert_eq!(
        ada.claims()["acr"],
        "aal2",
        "the factors stay shown, only not a moment ago"
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_change_of_factors_needs_both_of_them_a_moment_ago() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (app, aal2) = stage.enroll(&ada).await;
    let changes = [
        ("POST", "/auth/mfa/totp/enroll"),
        ("POST", "/auth/mfa/recovery-codes"),
        ("POST", "/auth/passkeys/register/options"),
        ("DELETE", "/auth/mfa/totp"),
    ];
    let refused = async |session: &Session, why: &str| {
        for (method, path) in changes {
            let request = stage.host.request(method, path).token(session.access());
            let answer = request.json(&json!({})).send().await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (403, "STEP_UP_REQUIRED"),
                "{why}: {path}"
            );
        }
    };
    // The session's token from before the enrolment is fresh, and says nothing of a second factor.
    refused(&ada, "one factor").await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set elevated_until = now() - interval '1 second'")
        .await
        .expect("time passes");
    let old = Session(
        stage
            .refresh(aal2.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    refused(&old, "long ago").await;

    let proof = json!({"password": PASSWORD, "code": app.code()});
    let fresh = stage.post_as(&old, "/auth/reauthenticate", &proof).await;
    let fresh = Session(fresh.expect_status(200).data());
    let twice = stage
        .post_as(&fresh, "/auth/mfa/totp/enroll", &json!({}))
        .await;
    assert_eq!((twice.status, &*twice.code()), (409, "TOTP_ENROLLED"));
    let remove = || {
        stage
            .host
            .delete("/auth/mfa/totp")
            .token(fresh.access())
            .send()
    };
    let _ = remove().await.expect_status(200);
    let gone = remove().await.expect_status(404);
    assert_eq!(gone.code(), "TOTP_NOT_FOUND");
    let left = stage
        .get_as(&fresh, "/auth/mfa")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        left["recovery_codes_left"], 0,
        "they stood for what is gone"
    );
    assert!(stage.login(ADA, PASSWORD).await.expect_status(200).data()["access_token"].is_string());
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_enrolment_ends_what_other_sessions_were_allowed_by_one_factor() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let other = Session(stage.login(ADA, PASSWORD).await.expect_status(200).data());
    assert!(is_elevated(&other));
    let (_, _) = stage.enroll(&ada).await;
    eventually("the other session's fresh token ends", async || {
        let answer = stage.get_as(&other, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let other = Session(
        stage
            .refresh(other.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert!(!is_elevated(&other));
    let _ = stage
        .get_as(&other, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}
