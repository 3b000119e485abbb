//! Hasura's authentication hook.

use nself_plugin_testkit::{Answer, Request, TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

const SECRET: &str = "a secret of the hook";

async fn stage() -> Stage {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config("[plugins.auth.config]\nsign_up = \"open\"")
        .secret("hasura-webhook-secret", SECRET)
        .start()
        .await;
    Stage { host }
}

fn ask<'a>(stage: &'a Stage, session: &Session) -> Request<'a> {
    let request = stage.get_as(session, "/auth/hasura/webhook");
    request.header("x-hasura-webhook-secret", SECRET)
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!((answer.status, &*answer.code()), (401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn hasura_is_told_who_calls_until_the_session_ends() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    let answer = ask(&stage, &ada).send().await.expect_status(200);
    let variables = answer.json();
    assert_eq!(variables["x-hasura-role"], "user");
    assert_eq!(variables["x-hasura-user-id"], ada.0["user"]["id"]);
    let fields = variables.as_object().expect("an object");
    assert!(fields.values().all(Value::is_string), "{variables}");
    assert!(!fields.contains_key("x-hasura-allowed-roles"));
    let age = answer.headers["cache-control"]
        .to_str()
        .expect("it is text");
    assert!(age.starts_with("max-age="), "{age}");
    let admin = ask(&stage, &ada)
        .header("x-hasura-role", "admin")
        .send()
        .await;
    refused(&admin);
    let by_address = format!("/auth/hasura/webhook?secret={}", SECRET.replace(' ', "%20"));
    let _ = stage
        .get_as(&ada, &by_address)
        .send()
        .await
        .expect_status(200);
    let _ = stage
        .post_as(&ada, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    eventually("the hook refuses the token", async || {
        let answer = ask(&stage, &ada).send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_but_hasura_is_told_and_nobody_is_nobody() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    refused(&stage.get_as(&ada, "/auth/hasura/webhook").send().await);
    let wrong = stage.get_as(&ada, "/auth/hasura/webhook");
    refused(
        &wrong
            .header("x-hasura-webhook-secret", "another")
            .send()
            .await,
    );
    let without = stage.host.get("/auth/hasura/webhook");
    refused(
        &without
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    let operator = stage.host.get("/auth/hasura/webhook").operator();
    refused(
        &operator
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    let forged = stage.host.get("/auth/hasura/webhook").token("a.b.c");
    refused(
        &forged
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn without_a_secret_the_hook_is_closed() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    for secret in ["", "x"] {
        let request = stage.get_as(&ada, "/auth/hasura/webhook");
        refused(
            &request
                .header("x-hasura-webhook-secret", secret)
                .send()
                .await,
        );
    }
    stage.host.stop().await;
}

/// As Hasura posts it: the caller's headers, and what was asked.
fn described(headers: &Value) -> Value {
    json!({"headers": headers, "request": {"operationName": null, "query": "{ families { id } }", "variables": null}})
}

async fn ask_by_post(stage: &Stage, headers: &Value) -> Answer {
    let request = stage.host.post("/auth/hasura/webhook");
    let request = request.header("x-hasura-webhook-secret", SECRET);
    request.json(&described(headers)).send().await
}

fn of(session: &Session) -> Value {
    json!({"Authorization": format!("Bearer {}", session.access()), "User-Agent": "curl"})
}

#[tokio::test]
async fn by_post_hasura_is_told_the_same_until_the_session_ends() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    let by_get = ask(&stage, &ada).send().await.expect_status(200);
    let by_post = ask_by_post(&stage, &of(&ada)).await.expect_status(200);
    assert_eq!(by_post.json(), by_get.json());
    let age = by_post.headers["cache-control"].to_str();
    assert!(age.expect("it is text").starts_with("max-age="));
    let mut admin = of(&ada);
    admin["X-Hasura-Role"] = json!("admin");
    refused(&ask_by_post(&stage, &admin).await);
    let mut user = of(&ada);
    user["X-Hasura-Role"] = json!("user");
    let _ = ask_by_post(&stage, &user).await.expect_status(200);
    // Headers that are too long for a request have room in a body.
    let mut long = of(&ada);
    long["x-long"] = json!("x".repeat(100_000));
    let _ = ask_by_post(&stage, &long).await.expect_status(200);
    let by_address = format!("/auth/hasura/webhook?secret={}", SECRET.replace(' ', "%20"));
    let told = stage.post(&by_address, &described(&of(&ada))).await;
    let _ = told.expect_status(200);
    let mut added = of(&ada);
    added["X-Hasura-Webhook-Secret"] = json!(SECRET);
    let told = stage.post("/auth/hasura/webhook", &described(&added)).await;
    let _ = told.expect_status(200);
    let _ = stage
        .post_as(&ada, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    eventually("the hook refuses the token", async || {
        let answer = ask_by_post(&stage, &of(&ada)).await;
        (answer.status == 401).then(|| refused(&answer))
    })
    .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn by_post_nobody_but_hasura_is_told_and_nobody_is_nobody() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    let without = stage
        .post("/auth/hasura/webhook", &described(&of(&ada)))
        .await;
    refused(&without);
    let mut wrong = of(&ada);
    wrong["x-hasura-webhook-secret"] = json!("another");
    refused(&stage.post("/auth/hasura/webhook", &described(&wrong)).await);
    let operator = TestHost::OPERATOR_KEY;
    for headers in [
        json!({}),
        json!({"x-api-key": operator}),
        json!({"Authorization": format!("Bearer {operator}")}),
        json!({"Authorization": "Bearer a.b.c"}),
        json!({"Authorization": ada.access()}),
        json!({"Authorization": format!("Bearer {}", ada.refresh())}),
        json!({
            "Authorization": format!("Bearer {}", ada.access()),
            "authorization": format!("Bearer {}", ada.access()),
        }),
    ] {
        refused(&ask_by_post(&stage, &headers).await);
    }
    // Who calls stands in the body: what signs in to the hook itself is nobody's.
    let own = stage
        .host
        .post("/auth/hasura/webhook")
        .token(ada.access())
        .header("x-hasura-webhook-secret", SECRET);
    refused(&own.json(&described(&json!({}))).send().await);
    let missing = stage
        .host
        .post("/auth/hasura/webhook")
        .header("x-hasura-webhook-secret", SECRET);
    let missing = missing.json(&json!({"request": {}})).send().await;
    assert_eq!(missing.code(), "BODY_INVALID");
    stage.host.stop().await;
}

#[tokio::test]
async fn the_hook_needs_no_database() {
    let stage = stage().await;
    let (ada, eve) = (
        stage.person("ada@example.org").await,
        stage.person("eve@example.org").await,
    );
    let _ = stage
        .post_as(&eve, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    stage.refused(&eve, "SESSION_REVOKED").await;
    let away = stage.host.database_away().await;
    let _ = ask(&stage, &ada).send().await.expect_status(200);
    let _ = ask_by_post(&stage, &of(&ada)).await.expect_status(200);
    refused(&ask_by_post(&stage, &of(&eve)).await);
    away.end().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn by_post_a_token_of_a_role_that_is_no_more_is_refused() {
    let stage = stage().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let member = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let path = format!("/auth/families/{family}/members/{}", member.member_id());
    let body = json!({"role": "CHILD_MEMBER"});
    let lowered = stage.send_as(&owner, "PATCH", &path, &body).await;
    let _ = lowered.expect_status(200);
    eventually("the hook refuses the older token", async || {
        let answer = ask_by_post(&stage, &of(&member)).await;
        (answer.status == 401).then(|| refused(&answer))
    })
    .await;
    let newer = Session(
        stage
            .refresh(member.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let told = ask_by_post(&stage, &of(&newer)).await.expect_status(200);
    assert_eq!(told.json()["x-hasura-role"], "CHILD_MEMBER");
    stage.host.stop().await;
}
